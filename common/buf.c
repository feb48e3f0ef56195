/* SPDX-License-Identifier: Apache-2.0 */
#include "common/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUF_FIRST 256

void buf_fini(struct buf *b)
{
	size_t max = b->max;

	free(b->data);
	*b = (struct buf){ .max = max };
}

void buf_reset(struct buf *b)
{
	b->len = 0;
	b->err = 0;
}

void *buf_reserve(struct buf *b, size_t n)
{
	size_t want, cap = b->cap ? b->cap : BUF_FIRST;
	char *data;

	if (b->err)
		return NULL;
	if (__builtin_add_overflow(b->len, n, &want)) {
		b->err = -ENOMEM;
		return NULL;
	}
	if (b->max && want > b->max) {
		b->err = -EMSGSIZE;
		return NULL;
	}
	if (b->data && want <= b->cap)
		return b->data + b->len;
	while (cap < want) {
		if (__builtin_mul_overflow(cap, (size_t)2, &cap)) {
			b->err = -ENOMEM;
			return NULL;
		}
	}
	data = realloc(b->data, cap);
	if (!data) {
		b->err = -ENOMEM;
		return NULL;
	}
	b->data = data;
	b->cap = cap;
	return b->data + b->len;
}

int buf_append(struct buf *b, const void *data, size_t n)
{
	void *to = buf_reserve(b, n);

	if (!to)
		return b->err;
	if (n)
		memcpy(to, data, n);
	b->len += n;
	return 0;
}

int buf_puts(struct buf *b, const char *s)
{
	return buf_append(b, s, strlen(s));
}

int buf_putc(struct buf *b, char c)
{
	return buf_append(b, &c, 1);
}

int buf_put_u64(struct buf *b, uint64_t v)
{
	char text[20];
	size_t at = sizeof(text);

	do {
		text[--at] = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	return buf_append(b, text + at, sizeof(text) - at);
}

int buf_put_i64(struct buf *b, int64_t v)
{
	if (v >= 0)
		return buf_put_u64(b, (uint64_t)v);
	buf_putc(b, '-');
	return buf_put_u64(b, -(uint64_t)v);
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap, again;
	int n;

	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, ap);
	if (n < 0) {
		b->err = b->err ? b->err : -ENOMEM;
	} else if (buf_reserve(b, (size_t)n)) {
		/* vsnprintf() wants room for its NUL, which does not count. */
		size_t max = b->max;

		b->max = 0;
		if (buf_reserve(b, (size_t)n + 1)) {
			vsnprintf(b->data + b->len, (size_t)n + 1, fmt, again);
			b->len += (size_t)n;
		}
		b->max = max;
	}
	va_end(again);
	va_end(ap);
	return b->err;
}

const char *buf_str(struct buf *b)
{
	size_t max = b->max;
	char *end;

	b->max = 0;
	end = buf_reserve(b, 1);
	b->max = max;
	if (!end)
		return NULL;
	*end = '\0';
	return b->data;
}

void *buf_take(struct buf *b, size_t *len)
{
	void *data;

	/* Never NULL on success, empty or not. */
	if (b->err || !buf_reserve(b, b->data ? 0 : 1))
		return NULL;
	data = b->data;
	*len = b->len;
	*b = (struct buf){ .max = b->max };
	return data;
}
