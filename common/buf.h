/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_BUF_H
#define COMMON_BUF_H

#include <stddef.h>
#include <stdint.h>

/*
 * A growable run of bytes. Zero-initialised is empty. An error sticks: after
 * one append that failed the others do nothing, so a long composition checks
 * buf.err once, at its end. Not locked.
 */
struct buf {
	char *data; /* not NUL-terminated unless buf_str() was called */
	size_t len, cap;
	size_t max; /* limit of len; 0: none */
	int err; /* 0, -ENOMEM, -EMSGSIZE (over max) */
};

void buf_fini(struct buf *b); /* frees; empty and reusable after */
void buf_reset(struct buf *b); /* len 0, err 0; keeps the memory and max */

/* Room for n more bytes: their address, or NULL (err set). len stays. */
void *buf_reserve(struct buf *b, size_t n);
/* All return b->err. */
int buf_append(struct buf *b, const void *data, size_t n);
int buf_puts(struct buf *b, const char *s);
int buf_putc(struct buf *b, char c);
int buf_put_u64(struct buf *b, uint64_t v); /* decimal */
int buf_put_i64(struct buf *b, int64_t v);
int buf_printf(struct buf *b, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* The content with a NUL after it, or NULL (err set). Borrowed. */
const char *buf_str(struct buf *b);
/* Moves the content out: malloc'd, the caller's. NULL if err is set. */
void *buf_take(struct buf *b, size_t *len);

#endif /* COMMON_BUF_H */
