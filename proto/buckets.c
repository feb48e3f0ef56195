/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/buckets.h"

#include <stddef.h>

/* floor(2^63 * 10^6 * 2^(k/8) / 2^20), k = 1 … 8: 1 s is just below 2^20 µs. */
const struct bucket_octave bucket_octave_seconds = {
	.bound = { 0x851e5ddc7f9a447e, 0x912ab8eb868bef75, 0x9e4e3c6fecde59ab,
		   0xaca22c7fbd771b14, 0xbc42169a6f7a7d91, 0xcd4c06a4e1143813,
		   0xdfe0c0b0f7619f98, 0xf424000000000000, UINT64_MAX },
	.guess = { 0, 1, 1, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 7, 8 },
};

/* floor(2^63 * 2^(k/8)) for k = 0 … 7. */
const struct bucket_octave bucket_octave_bytes = {
	.bound = { 0x8000000000000000, 0x8b95c1e3ea8bd6e6, 0x9837f0518db8a96f,
		   0xa5fed6a9b15138ea, 0xb504f333f9de6484, 0xc5672a115506dadd,
		   0xd744fccad69d6af4, 0xeac0c6e7dd24392e, UINT64_MAX },
	.guess = { 0, 1, 2, 2, 3, 4, 4, 5, 5, 6, 6, 7, 7, 7, 8, 8 },
};

/* Boundary k of the power of two 2^exponent, rounded down. */
static uint64_t boundary(const struct bucket_octave *o, unsigned k,
			 unsigned exponent)
{
	return o->bound[k] >> (63 - exponent);
}

uint64_t bucket_native_seconds_upper(int index)
{
	unsigned i = (unsigned)(index - 1 + 8 * 20); /* 0: just above 1 µs */

	if (index < BUCKET_NATIVE_SECONDS_MIN)
		return 0;
	if (index >= BUCKET_NATIVE_SECONDS_MAX)
		return UINT64_MAX;
	return boundary(&bucket_octave_seconds, i % 8, i / 8);
}

uint64_t bucket_native_bytes_upper(int index)
{
	unsigned i = (unsigned)index;

	if (index < BUCKET_NATIVE_BYTES_MIN)
		return 0;
	if (index >= BUCKET_NATIVE_BYTES_MAX)
		return UINT64_MAX;
	return boundary(&bucket_octave_bytes, i % 8, i / 8);
}

static const uint64_t pow10_u64[20] = {
	1u,
	10u,
	100u,
	1000u,
	10000u,
	100000u,
	1000000u,
	10000000u,
	100000000u,
	1000000000u,
	10000000000u,
	100000000000u,
	1000000000000u,
	10000000000000u,
	100000000000000u,
	1000000000000000u,
	10000000000000000u,
	100000000000000000u,
	1000000000000000000u,
	10000000000000000000u,
};

/*
 * Greatest round number <= v, or 0 for v = 0. The table has twice the factors,
 * so that they are integers. 1.5, 2.5 and 7.5 themselves are rounded down,
 * which changes nothing: no integer is between.
 */
static uint64_t round_below(uint64_t v)
{
	static const uint8_t twice[] = { 2, 3, 4, 5, 6, 8, 10, 12, 15 };
	int bits = 64 - __builtin_clzll(v | 1);
	int digits = bits * 1233 >> 12; /* bits * log10(2), may be 1 short */
	uint64_t p, best = 0;

	if (v == 0)
		return 0;
	if (digits > 19 || pow10_u64[digits] > v)
		digits--;
	p = pow10_u64[digits];
	for (size_t i = 0; i < sizeof(twice); i++) {
		uint64_t whole = twice[i] / 2 * p;
		uint64_t half = twice[i] % 2 * (p / 2);

		if (whole / p != twice[i] / 2 || whole > UINT64_MAX - half ||
		    whole + half > v)
			break;
		best = whole + half;
	}
	return best;
}

/* The round number where the bucket (below, upper] is cut, or upper if none. */
static uint64_t cut(uint64_t below, uint64_t upper)
{
	/* A round number that equals upper cuts nothing. */
	uint64_t r = upper > 0 ? round_below(upper - 1) : 0;

	return r > below ? r : upper;
}

int bucket_seconds(uint64_t us)
{
	int native;

	if (us == 0)
		return BUCKET_ZERO;
	native = bucket_native_seconds(us);
	return 2 * native + (us > cut(bucket_native_seconds_upper(native - 1),
				      bucket_native_seconds_upper(native)));
}

int bucket_bytes(uint64_t bytes)
{
	int native;

	if (bytes == 0)
		return BUCKET_ZERO;
	native = bucket_native_bytes(bytes);
	return 2 * native + (bytes > cut(bucket_native_bytes_upper(native - 1),
					 bucket_native_bytes_upper(native)));
}

uint64_t bucket_seconds_upper(int index)
{
	int native = index >> 1;

	if (native < BUCKET_NATIVE_SECONDS_MIN)
		return 0;
	if (index & 1)
		return bucket_native_seconds_upper(native);
	return cut(bucket_native_seconds_upper(native - 1),
		   bucket_native_seconds_upper(native));
}

uint64_t bucket_bytes_upper(int index)
{
	int native = index >> 1;

	if (native < BUCKET_NATIVE_BYTES_MIN)
		return 0;
	if (index & 1)
		return bucket_native_bytes_upper(native);
	return cut(bucket_native_bytes_upper(native - 1),
		   bucket_native_bytes_upper(native));
}
