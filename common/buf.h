/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_BUF_H
#define COMMON_BUF_H

#include <stddef.h>
#include <stdint.h>

/*
 * A growable array of bytes. Zero-initialised, it is empty. An error sticks:
 * after one failed append the others do nothing, so it is enough to check err
 * once, at the end. Not locked.
 */
struct buf {
	char *data; /* not NUL-terminated unless buf_str() was called */
	size_t len, cap;
	size_t max; /* limit of len; 0: none */
	int err; /* 0, -ENOMEM, -EMSGSIZE (over max) */
};

void buf_fini(struct buf *b); /* frees; empty and reusable after */
void buf_reset(struct buf *b); /* len 0, err 0; keeps the memory and max */

/* Makes room for n more bytes and returns their address. NULL: err is set. */
void *buf_reserve(struct buf *b, size_t n);
/* These append, and return b->err. */
int buf_append(struct buf *b, const void *data, size_t n);
int buf_puts(struct buf *b, const char *s);
int buf_putc(struct buf *b, char c);
int buf_put_u64(struct buf *b, uint64_t v); /* decimal */
int buf_put_i64(struct buf *b, int64_t v);
int buf_printf(struct buf *b, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Returns the content with a NUL after it, borrowed. NULL: err is set. */
const char *buf_str(struct buf *b);
/* Moves the content out; malloc'd and the caller's. NULL: err is set. */
void *buf_take(struct buf *b, size_t *len);

#endif /* COMMON_BUF_H */
