/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_CONFFILE_CHANGES_H
#define COMMON_CONFFILE_CHANGES_H

#include <stdbool.h>
#include <stddef.h>

/*
 * The keys that differ between two configurations, as a comma-separated list
 * for the log. What does not fit is left out. Main thread only.
 */
struct conffile_changes {
	char *text;
	size_t size, len;
};

/* Empties text[], the caller's, and writes to it from now on. */
void conffile_changes_init(struct conffile_changes *c, char *text, size_t size);
/* Adds a key if it differs. */
void conffile_changes_add(struct conffile_changes *c, bool differs,
			  const char *key);

/* NULL is an empty text. */
bool conffile_changes_text(const char *a, const char *b);
bool conffile_changes_list(char *const *a, unsigned n, char *const *b,
			   unsigned m);

#endif /* COMMON_CONFFILE_CHANGES_H */
