/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_VARINT_H
#define COMMON_VARINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"

/*
 * Integers in the blobs of the store: seven bits per byte, lowest first; the
 * top bit says that more follow. Signed ones are zigzag coded.
 */
static inline int varint_put(struct buf *b, uint64_t v)
{
	uint8_t *p = buf_reserve(b, 10);
	size_t n = 0;

	if (!p)
		return b->err;
	for (; v >= 0x80; v >>= 7)
		p[n++] = (uint8_t)(v | 0x80);
	p[n++] = (uint8_t)v;
	b->len += n;
	return 0;
}

static inline int varint_put_signed(struct buf *b, int64_t v)
{
	return varint_put(b, (uint64_t)v << 1 ^ (uint64_t)(v >> 63));
}

struct varint_reader {
	const uint8_t *at, *end;
	bool bad; /* sticks: cut off, or over ten bytes */
};

static inline uint64_t varint_get(struct varint_reader *r)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 64 && r->at < r->end; shift += 7) {
		uint8_t byte = *r->at++;

		v |= (uint64_t)(byte & 0x7f) << shift;
		if (byte < 0x80)
			return v;
	}
	r->bad = true;
	return 0;
}

static inline int64_t varint_get_signed(struct varint_reader *r)
{
	uint64_t v = varint_get(r);

	return (int64_t)(v >> 1 ^ (0 - (v & 1)));
}

#endif /* COMMON_VARINT_H */
