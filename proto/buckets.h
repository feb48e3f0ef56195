/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROTO_BUCKETS_H
#define PROTO_BUCKETS_H

#include <stdint.h>

/*
 * Exponential buckets for integer values, exact at every boundary: integer
 * compares only, no floating point. Stateless; any thread.
 *
 * Native buckets are Prometheus' schema 3 over the exposed unit: bucket i holds
 * 2^((i-1)/8) < v <= 2^(i/8), where v is in seconds for durations (given in
 * µs), or in bytes. 0 has no native bucket; it is in the zero bucket.
 *
 * How: shift v left until its top bit is set. Within one power of two there are
 * eight boundaries, each 2^63 times an irrational number (or an exact power),
 * rounded down; an integer is above the boundary if it is above the rounded
 * one. The next four bits leave one candidate, so one compare settles it.
 */

#define BUCKET_NATIVE_SECONDS_MIN (-159) /* 1 µs */
#define BUCKET_NATIVE_SECONDS_MAX 353 /* UINT64_MAX µs */
#define BUCKET_NATIVE_BYTES_MIN 0 /* 1 byte */
#define BUCKET_NATIVE_BYTES_MAX 512 /* UINT64_MAX bytes */

/* The boundaries of one power of two, ascending, and the first to compare. */
struct bucket_octave {
	uint64_t bound[9]; /* the last is a sentinel */
	uint8_t guess[16]; /* by the four bits below the top bit */
};
extern const struct bucket_octave bucket_octave_seconds;
extern const struct bucket_octave bucket_octave_bytes;

/* Number of boundaries below v within its power of two; v > 0. */
static inline int bucket_in_octave(const struct bucket_octave *o, uint64_t v,
				   int leading_zeros)
{
	uint64_t norm = v << leading_zeros;
	unsigned guess = o->guess[norm >> 59 & 15];

	return (int)(guess + (norm > o->bound[guess]));
}

/* Index of a duration > 0 in µs, over seconds. */
static inline int bucket_native_seconds(uint64_t us)
{
	int lz = __builtin_clzll(us);

	return 8 * (63 - lz - 20) + 1 +
	       bucket_in_octave(&bucket_octave_seconds, us, lz);
}

/* Index of a size > 0 in bytes. */
static inline int bucket_native_bytes(uint64_t bytes)
{
	int lz = __builtin_clzll(bytes);

	return 8 * (63 - lz) +
	       bucket_in_octave(&bucket_octave_bytes, bytes, lz);
}

/*
 * Greatest integer value (µs, bytes) that a native bucket holds. Below the
 * ranges above that is 0, beyond them UINT64_MAX.
 */
uint64_t bucket_native_seconds_upper(int index);
uint64_t bucket_native_bytes_upper(int index);

/*
 * Buckets of the rollups (detail 1 on the wire). Each native bucket is cut in
 * two where a round number r falls inside: r is 1, 1.5, 2, 2.5, 3, 4, 5, 6 or
 * 7.5 times a power of ten, in µs or bytes, rounded down; no two fall into one.
 *
 *   index = 2 * native             v <= r, or there is no r inside
 *   index = 2 * native + 1         v > r
 *   index = BUCKET_ZERO            v = 0
 *
 * All values of a bucket are in the same native bucket, and in the same classic
 * bucket for every bound that is round or a native boundary (in bytes: every
 * power of two). So folding bucket_*_upper() instead of each value gives the
 * same histograms to the last count; for other classic bounds a value may be
 * counted up to one native bucket (9 %) too high.
 */
#define BUCKET_ZERO (-1000)
#define BUCKET_DETAIL 1u /* this scheme's number on the wire */

int bucket_seconds(uint64_t us);
int bucket_bytes(uint64_t bytes);

/*
 * Greatest value (µs, bytes) of a rollup bucket; 0 for BUCKET_ZERO. An index
 * beyond every value gives UINT64_MAX, one before every value 0.
 */
uint64_t bucket_seconds_upper(int index);
uint64_t bucket_bytes_upper(int index);

#endif /* PROTO_BUCKETS_H */
