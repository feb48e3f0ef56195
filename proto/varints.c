/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/varints.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define BLOCK 64u
#define STOPS 0x8080808080808080u
#define REACH 8u /* bytes that are loaded for a value */
#define VALUE_MAX 10u

typedef uint64_t pair __attribute__((vector_size(16)));
typedef uint32_t four __attribute__((vector_size(16)));
typedef int8_t bytes16 __attribute__((vector_size(16)));

/* What column is made: the type of its values. */
enum kind { U64, S64, U32 };

/*
 * Values of up to eight bytes on their way: groups of 7 bits, a byte each.
 * Never more than a block ends.
 */
struct raw {
	_Alignas(16) uint64_t word[BLOCK + VARINTS_SLACK];
	size_t n;
};

struct column {
	enum kind kind;
	union {
		void *memory;
		uint64_t *u64;
		uint32_t *u32;
	};
	size_t n; /* values written */
	uint64_t bits; /* all that occur */
};

size_t varints_count(const uint8_t *p, size_t len)
{
	size_t n = 0;

	while (len >= sizeof(bytes16)) {
		size_t rounds = len / sizeof(bytes16);
		bytes16 v, sum = { 0 };

		if (rounds > 127)
			rounds = 127; /* what a byte of sum can hold */
		len -= rounds * sizeof(v);
		for (; rounds > 0; rounds--, p += sizeof(v)) {
			memcpy(&v, p, sizeof(v));
			sum -= v >= 0; /* true is -1 */
		}
		for (unsigned i = 0; i < sizeof(v); i++)
			n += (size_t)sum[i];
	}
	for (; len > 0; len--)
		n += *p++ < 0x80;
	return n;
}

/* Bit by byte: it is the last of its value. */
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

/* Groups of 7 bits, a byte each, moved together. */
static inline pair squeeze(pair w)
{
	w -= (w & 0x7f007f007f007f00u) >> 1;
	w = (w & 0x00003fff00003fffu) | (w & 0x3fff00003fff0000u) >> 2;
	return (w & 0x000000000fffffffu) | (w & 0x0fffffff00000000u) >> 4;
}

static inline pair unzigzag(pair v)
{
	return v >> 1 ^ -(v & 1);
}

/* Two or four at a time, and so beyond the last one. */
static inline __attribute__((always_inline)) void
put_raw(struct column *c, struct raw *r, enum kind kind)
{
	pair bits = { 0 };

	memset(r->word + r->n, 0, VARINTS_SLACK * sizeof(r->word[0]));
	if (kind == U32) {
		for (size_t i = 0; i < r->n; i += 4) {
			pair a = *(pair *)&r->word[i];
			pair b = *(pair *)&r->word[i + 2];
			four v;

			a = squeeze(a);
			b = squeeze(b);
			bits |= a | b;
			v = __builtin_shufflevector((four)a, (four)b, 0, 2, 4,
						    6);
			memcpy(c->u32 + c->n + i, &v, sizeof(v));
		}
	} else {
		for (size_t i = 0; i < r->n; i += 2) {
			pair v = squeeze(*(pair *)&r->word[i]);

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
put(struct column *c, uint64_t v, enum kind kind)
{
	c->bits |= v;
	if (kind == U32)
		c->u32[c->n++] = (uint32_t)v;
	else
		c->u64[c->n++] = kind == S64 ? v >> 1 ^ -(v & 1) : v;
}

/* One of nine or ten bytes, or more: false. */
static __attribute__((noinline)) bool
put_long(struct column *c, const uint8_t *p, size_t len, enum kind kind)
{
	uint64_t v = 0;

	if (len > VALUE_MAX)
		return false;
	for (size_t i = 0; i < len; i++)
		v |= (uint64_t)(p[i] & 0x7f) << 7 * i;
	put(c, v, kind);
	return true;
}

/* A block of values of one byte. */
static inline __attribute__((always_inline)) void
put_short(struct column *c, const uint8_t *p, enum kind kind)
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
 * The values that end in ends, bits of the bytes at p; *start is where the
 * first of them begins, and is left where the next one does.
 */
static inline __attribute__((always_inline)) bool
put_block(struct column *c, struct raw *r, const uint8_t *p, uint64_t ends,
	  const uint8_t **start, enum kind kind)
{
	static const uint64_t groups[REACH] = {
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

		if (__builtin_expect(more >= REACH, 0)) {
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

static inline __attribute__((always_inline)) int
decode(const uint8_t *p, size_t len, void *out, enum kind kind)
{
	struct column c = { .kind = kind, .memory = out };
	const uint8_t *start = p, *end = p + len;
	uint8_t last[2 * BLOCK + VALUE_MAX] = { 0 };
	struct raw r;

	for (; (size_t)(end - p) >= BLOCK + REACH; p += BLOCK) {
		uint64_t ends = ends_of(p);

		if (ends == UINT64_MAX && start == p) {
			put_short(&c, p, kind);
			start = p + BLOCK;
		} else if (!put_block(&c, &r, p, ends, &start, kind)) {
			return -ENOTSUP;
		}
	}
	/* Loads reach over the end of what is left, so they get a copy. */
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
		if (!put_block(&c, &r, p, ends, &start, kind))
			return -ENOTSUP;
	}
	return kind == U32 && c.bits >> 32 ? -ENOTSUP : 0;
}

int varints_u64(const uint8_t *p, size_t len, uint64_t *out)
{
	return decode(p, len, out, U64);
}

int varints_s64(const uint8_t *p, size_t len, int64_t *out)
{
	return decode(p, len, out, S64);
}

int varints_u32(const uint8_t *p, size_t len, uint32_t *out)
{
	return decode(p, len, out, U32);
}
