/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/varints_bmi2.h"
#include "proto/varints_decode.h"

#if defined(__x86_64__) && !defined(__clang__)
#define QUICK(name, p, len, out, room)                                         \
	do {                                                                   \
		if (varints_bmi2())                                            \
			return varints_bmi2_##name(p, len, out, room);         \
	} while (0)
#else
#define QUICK(name, p, len, out, room)
#endif

#define BYTES int8_t __attribute__((vector_size(16)))

size_t varints_count(const uint8_t *p, size_t len)
{
	size_t n = 0;
	BYTES v;

	while (len >= sizeof(v)) {
		size_t rounds = len / sizeof(v);
		BYTES sum = { 0 };

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

/*
 * For few values: what decode() does first costs more than all of these. An
 * agent's batch has some twenty columns, most of them short.
 */
static inline __attribute__((always_inline)) int
decode_few(const uint8_t *p, size_t len, void *out, size_t room,
	   enum varints_kind kind)
{
	struct varints_column c = { .kind = kind, .memory = out };
	const uint8_t *end = p + len;

	while (p < end) {
		const uint8_t *start = p;
		uint64_t v = 0;

		if (c.n == room)
			return -ENOTSUP;
		do {
			if (p - start == VALUE_MAX)
				return -ENOTSUP;
			v |= (uint64_t)(*p & 0x7f) << 7 * (p - start);
		} while (*p++ >= 0x80);
		put(&c, v, kind);
	}
	return kind == U32 && c.bits >> 32 ? -ENOTSUP : (int)c.n;
}

int varints_u64(const uint8_t *p, size_t len, uint64_t *out, size_t room)
{
	if (len <= VARINTS_FEW_BYTES)
		return decode_few(p, len, out, room, U64);
	QUICK(u64, p, len, out, room);
	return decode(p, len, out, room, U64);
}

int varints_s64(const uint8_t *p, size_t len, int64_t *out, size_t room)
{
	if (len <= VARINTS_FEW_BYTES)
		return decode_few(p, len, out, room, S64);
	QUICK(s64, p, len, out, room);
	return decode(p, len, out, room, S64);
}

int varints_u32(const uint8_t *p, size_t len, uint32_t *out, size_t room)
{
	if (len <= VARINTS_FEW_BYTES)
		return decode_few(p, len, out, room, U32);
	QUICK(u32, p, len, out, room);
	return decode(p, len, out, room, U32);
}
