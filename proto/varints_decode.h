/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROTO_VARINTS_DECODE_H
#define PROTO_VARINTS_DECODE_H

#include "proto/varints.h"
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#ifdef __SSE2__
#include <immintrin.h>
#endif

/*
 * The decoder of varints.c and varints_bmi2.c: one source, compiled for two
 * kinds of processor. No other file includes this.
 */

#define BLOCK 64u
#define STOPS 0x8080808080808080u
#define REACH 16u /* bytes after a block that may be loaded */
#define WORD 8u
#define VALUE_MAX 10u

#define PAIR uint64_t __attribute__((vector_size(16)))
#define FOUR uint32_t __attribute__((vector_size(16)))

/* The type of a column's values. */
enum varints_kind { U64, S64, U32 };

/*
 * Values of up to eight bytes that are not decoded yet: each byte of a word has
 * a group of 7 bits. Holds at most the values that end in one block.
 */
struct varints_raw {
	_Alignas(16) uint64_t word[BLOCK + VARINTS_SLACK];
	size_t n;
};

struct varints_column {
	enum varints_kind kind;
	union {
		void *memory;
		uint64_t *u64;
		uint32_t *u32;
	};
	size_t n; /* values written */
	uint64_t bits; /* the OR of all values */
};

/* Returns a bit for each byte of a block: it is the last of its value. */
static inline uint64_t ends_of(const uint8_t *p)
{
	uint64_t more = 0;

#ifdef __SSE2__
	for (unsigned i = 0; i < BLOCK; i += 16) {
		__m128i v = _mm_loadu_si128((const void *)(p + i));

		more |= (uint64_t)(unsigned)_mm_movemask_epi8(v) << i;
	}
#else
	for (unsigned i = 0; i < BLOCK; i += 8) {
		uint64_t w;

		memcpy(&w, p + i, sizeof(w));
		more |= ((w & STOPS) >> 7) * 0x0102040810204080u >> 56 << i;
	}
#endif
	return ~more;
}

/* Joins groups of 7 bits, which have a byte each, in both words. */
static inline PAIR squeeze(PAIR w)
{
	w -= (w & 0x7f007f007f007f00u) >> 1;
	w = (w & 0x00003fff00003fffu) | (w & 0x3fff00003fff0000u) >> 2;
	return (w & 0x000000000fffffffu) | (w & 0x0fffffff00000000u) >> 4;
}

static inline PAIR unzigzag(PAIR v)
{
	return v >> 1 ^ -(v & 1);
}

/* Writes the raw values, two or four at a time, and so beyond the last. */
static inline __attribute__((always_inline)) void
put_raw(struct varints_column *c, struct varints_raw *r, enum varints_kind kind)
{
	PAIR bits = { 0 };

	memset(r->word + r->n, 0, VARINTS_SLACK * sizeof(r->word[0]));
	if (kind == U32) {
		for (size_t i = 0; i < r->n; i += 4) {
			PAIR a = *(PAIR *)&r->word[i];
			PAIR b = *(PAIR *)&r->word[i + 2];
			FOUR v;

			a = squeeze(a);
			b = squeeze(b);
			bits |= a | b;
			v = __builtin_shufflevector((FOUR)a, (FOUR)b, 0, 2, 4,
						    6);
			memcpy(c->u32 + c->n + i, &v, sizeof(v));
		}
	} else {
		for (size_t i = 0; i < r->n; i += 2) {
			PAIR v = squeeze(*(PAIR *)&r->word[i]);

			if (kind == S64)
				v = unzigzag(v);
			memcpy(c->u64 + c->n + i, &v, sizeof(v));
		}
	}
	c->bits |= bits[0] | bits[1];
	c->n += r->n;
	r->n = 0;
}

static inline __attribute__((always_inline)) void
put(struct varints_column *c, uint64_t v, enum varints_kind kind)
{
	c->bits |= v;
	if (kind == U32)
		c->u32[c->n++] = (uint32_t)v;
	else
		c->u64[c->n++] = kind == S64 ? v >> 1 ^ -(v & 1) : v;
}

/* Writes a value of nine or ten bytes. False: it is longer. */
static __attribute__((noinline)) bool put_long(struct varints_column *c,
					       const uint8_t *p, size_t len,
					       enum varints_kind kind)
{
	uint64_t v = 0;

	if (len > VALUE_MAX)
		return false;
	for (size_t i = 0; i < len; i++)
		v |= (uint64_t)(p[i] & 0x7f) << 7 * i;
	put(c, v, kind);
	return true;
}

/* Writes a block of values of one byte each. */
static inline __attribute__((always_inline)) void
put_short(struct varints_column *c, const uint8_t *p, enum varints_kind kind)
{
	for (size_t i = 0; i < BLOCK; i++) {
		uint64_t v = p[i];

		if (kind == U32)
			c->u32[c->n + i] = (uint32_t)v;
		else
			c->u64[c->n + i] = kind == S64 ? v >> 1 ^ -(v & 1) : v;
	}
	c->n += BLOCK;
}

/*
 * Writes the values that end in the block at p; ends has a bit for each of its
 * bytes that ends one. *start is where the first value begins, and becomes
 * where the next one does. False: a value is too long.
 */
static inline __attribute__((always_inline)) bool
put_block(struct varints_column *c, struct varints_raw *r, const uint8_t *p,
	  uint64_t ends, const uint8_t **start, enum varints_kind kind)
{
	static const uint64_t groups[WORD] = {
		0x7f,
		0x7f7f,
		0x7f7f7f,
		0x7f7f7f7f,
		0x7f7f7f7f7f,
		0x7f7f7f7f7f7f,
		0x7f7f7f7f7f7f7f,
		0x7f7f7f7f7f7f7f7f,
	};
	const uint8_t *from = *start;
	size_t n = 0;

	for (; ends != 0; ends &= ends - 1) {
		const uint8_t *end = p + __builtin_ctzll(ends);
		size_t more = (size_t)(end - from);
		uint64_t w;

		if (__builtin_expect(more >= WORD, 0)) {
			r->n = n;
			put_raw(c, r, kind);
			n = 0;
			if (!put_long(c, from, more + 1, kind))
				return false;
		} else {
			memcpy(&w, from, sizeof(w));
			r->word[n++] = w & groups[more];
		}
		from = end + 1;
	}
	*start = from;
	r->n = n;
	put_raw(c, r, kind);
	return true;
}

#ifdef __BMI2__
#define ROUND 8u

/*
 * Writes eight values. If fewer end in the block, the next one is made of the
 * bytes up to the first after the block: they are the next value or a part of
 * it, so no bit enters c->bits that is in no value. Any others are 0.
 */
static inline __attribute__((always_inline)) void
put_round(struct varints_column *c, const uint8_t *p, uint64_t *ends,
	  const uint8_t **start, enum varints_kind kind)
{
	const uint8_t *from = *start;

#pragma GCC unroll 8
	for (unsigned i = 0; i < ROUND; i++) {
		const uint8_t *end = p + _tzcnt_u64(*ends);
		unsigned more = (unsigned)(end - from);
		uint64_t w, v;

		memcpy(&w, from, sizeof(w));
		v = _pext_u64(w, _bzhi_u64(~STOPS, 8 * more + 8));
		if (kind == U32) {
			c->u32[c->n + i] = (uint32_t)v;
			c->bits |= v;
		} else {
			c->u64[c->n + i] = kind == S64 ? v >> 1 ^ -(v & 1) : v;
		}
		*ends = _blsr_u64(*ends);
		from = end + 1;
	}
	*start = from;
}

/* True if a part of a value of more than eight bytes is in the block. */
static inline bool any_long(const uint8_t *p, uint64_t ends,
			    const uint8_t *start)
{
	uint64_t run = ~ends & ~ends >> 1;

	run &= run >> 2;
	run &= run >> 4;
	return run != 0 ||
	       (size_t)(p - start) + (unsigned)_tzcnt_u64(ends) >= WORD;
}

/*
 * Does the same as put_block(), in rounds of eight values; those too many in a
 * round are overwritten by the next round. So the number of values in a block,
 * which is hard to predict too, costs little.
 */
static inline __attribute__((always_inline)) bool
put_rounds(struct varints_column *c, struct varints_raw *r, const uint8_t *p,
	   uint64_t ends, const uint8_t **start, enum varints_kind kind)
{
	const uint8_t *next = p + BLOCK - _lzcnt_u64(ends);
	unsigned n = (unsigned)__builtin_popcountll(ends);

	if (__builtin_expect(any_long(p, ends, *start), 0))
		return put_block(c, r, p, ends, start, kind);
	for (unsigned i = 0; i < n; i += ROUND) {
		put_round(c, p, &ends, start, kind);
		c->n += ROUND;
	}
	c->n -= (ROUND - n % ROUND) % ROUND;
	*start = next;
	return true;
}
#else
#define put_rounds put_block
#endif

static inline __attribute__((always_inline)) int decode(const uint8_t *p,
							size_t len, void *out,
							size_t room,
							enum varints_kind kind)
{
	struct varints_column c = { .kind = kind, .memory = out };
	const uint8_t *start = p, *end = p + len;
	uint8_t last[2 * BLOCK + VALUE_MAX] = { 0 };
	struct varints_raw r;

	for (; (size_t)(end - p) >= BLOCK + REACH; p += BLOCK) {
		uint64_t ends = ends_of(p);

		if (ends == UINT64_MAX && start == p) {
			put_short(&c, p, kind);
			start = p + BLOCK;
		} else if (!put_rounds(&c, &r, p, ends, &start, kind)) {
			return -ENOTSUP;
		}
		if (c.n > room)
			return -ENOTSUP;
	}
	/* Loads read beyond the end, so the rest is copied first. */
	len = (size_t)(end - start);
	if (len >= BLOCK + REACH + VALUE_MAX)
		return -ENOTSUP;
	memcpy(last, start, len);
	start = last;
	for (p = last; p < last + len; p += BLOCK) {
		size_t left = (size_t)(last + len - p);
		uint64_t ends = ends_of(p);

		if (left < BLOCK)
			ends &= (UINT64_C(1) << left) - 1;
		if (c.n > room || !put_block(&c, &r, p, ends, &start, kind))
			return -ENOTSUP;
	}
	if (c.n > room || (kind == U32 && c.bits >> 32))
		return -ENOTSUP;
	return (int)c.n;
}

#endif /* PROTO_VARINTS_DECODE_H */
