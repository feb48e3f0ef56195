/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_TOKEN_H
#define COMMON_TOKEN_H

#include <stdbool.h>
#include <stddef.h>

/*
 * A secret that agents and their aggregator share, in a file: its first line,
 * without blanks at both ends. Stateless; any thread.
 */
#define TOKEN_MAX 128u

struct token {
	size_t len; /* 0: none */
	char text[TOKEN_MAX + 1];
};

/*
 * Reads the file. -EINVAL: its first line is empty, too long, or has control
 * characters. Else the error of reading it. Warns if others may read the file.
 */
int token_read(struct token *out, const char *path);

/*
 * Makes a file with a random token, for its owner only. -EEXIST: there is one
 * already. Else the error of writing it.
 */
int token_make(const char *path);

/* Compares in a time that depends on the lengths only. */
bool token_equal(const struct token *t, const char *text, size_t len);

#endif /* COMMON_TOKEN_H */
