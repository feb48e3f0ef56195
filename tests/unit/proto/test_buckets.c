/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "proto/buckets.h"

/*
 * The truth: is v above scale * 2^(i/8)? In long double (64 bits of mantissa):
 * good for v < 2^53, where no integer is as near to an irrational boundary as
 * the rounding. Whole powers of two are computed exactly.
 */
static int above(uint64_t v, int i, long double scale)
{
	int octave = i >= 0 ? i / 8 : -((-i + 7) / 8);
	long double rest = exp2l((i - 8 * octave) / 8.0L);
	long double bound = ldexpl(scale * rest, octave);

	if (i % 8 == 0)
		bound = ldexpl(scale, octave); /* exact */
	return (long double)v > bound;
}

static void check_native(uint64_t v, int index, long double scale)
{
	if (above(v, index, scale) || !above(v, index - 1, scale))
		fail_msg("value %llu is not in bucket %d",
			 (unsigned long long)v, index);
}

static void seconds_are_exact_at_every_boundary_and_beside_it(void **state)
{
	(void)state;
	for (int i = BUCKET_NATIVE_SECONDS_MIN; i < 8 * 33; i++) {
		uint64_t upper = bucket_native_seconds_upper(i);
		long double real = 1e6L * exp2l(i / 8.0L);

		assert_true(upper == (uint64_t)floorl(real) || i % 8 == 0);
		for (uint64_t v = upper > 2 ? upper - 2 : 1; v <= upper + 2;
		     v++)
			check_native(v, bucket_native_seconds(v), 1e6L);
	}
}

static void bytes_are_exact_at_every_boundary_and_beside_it(void **state)
{
	(void)state;
	for (int i = BUCKET_NATIVE_BYTES_MIN; i < 8 * 53; i++) {
		uint64_t upper = bucket_native_bytes_upper(i);

		for (uint64_t v = upper > 2 ? upper - 2 : 1; v <= upper + 2;
		     v++)
			check_native(v, bucket_native_bytes(v), 1.0L);
	}
}

static void every_small_value_is_exact(void **state)
{
	(void)state;
	for (uint64_t v = 1; v < 2000000; v++) {
		check_native(v, bucket_native_seconds(v), 1e6L);
		check_native(v, bucket_native_bytes(v), 1.0L);
	}
}

static void known_values_have_their_known_index(void **state)
{
	(void)state;
	assert_int_equal(bucket_native_seconds(1000000), 0); /* 1 s = 2^0 */
	assert_int_equal(bucket_native_seconds(1000001), 1);
	assert_int_equal(bucket_native_seconds(2000000), 8);
	assert_int_equal(bucket_native_seconds(500000), -8);
	assert_int_equal(bucket_native_seconds(1), BUCKET_NATIVE_SECONDS_MIN);
	assert_int_equal(bucket_native_seconds(UINT64_MAX),
			 BUCKET_NATIVE_SECONDS_MAX);
	assert_int_equal(bucket_native_bytes(1), 0);
	assert_int_equal(bucket_native_bytes(2), 8);
	assert_int_equal(bucket_native_bytes(8192), 8 * 13);
	assert_int_equal(bucket_native_bytes(8193), 8 * 13 + 1);
	assert_int_equal(bucket_native_bytes(UINT64_MAX),
			 BUCKET_NATIVE_BYTES_MAX);
	assert_int_equal(bucket_native_bytes(1ull << 63), 8 * 63);
}

static void native_upper_is_the_last_value_of_its_bucket(void **state)
{
	(void)state;
	for (int i = BUCKET_NATIVE_SECONDS_MIN; i < BUCKET_NATIVE_SECONDS_MAX;
	     i++) {
		uint64_t upper = bucket_native_seconds_upper(i);

		assert_true(bucket_native_seconds(upper) <= i);
		assert_true(bucket_native_seconds(upper + 1) > i);
	}
	for (int i = BUCKET_NATIVE_BYTES_MIN; i < BUCKET_NATIVE_BYTES_MAX;
	     i++) {
		uint64_t upper = bucket_native_bytes_upper(i);

		assert_true(bucket_native_bytes(upper) <= i);
		assert_true(bucket_native_bytes(upper + 1) > i);
	}
	assert_true(bucket_native_seconds_upper(353) == UINT64_MAX);
	assert_true(bucket_native_bytes_upper(512) == UINT64_MAX);
	assert_true(bucket_native_seconds_upper(-160) == 0);
	assert_true(bucket_native_bytes_upper(-1) == 0);
}

/* A value and the upper bound of its rollup bucket must be inseparable. */
static void check_rollup(uint64_t v, const uint64_t *bounds, size_t n)
{
	uint64_t us = bucket_seconds_upper(bucket_seconds(v));
	uint64_t bytes = bucket_bytes_upper(bucket_bytes(v));

	assert_true(us >= v && bytes >= v);
	assert_int_equal(bucket_seconds(us), bucket_seconds(v));
	assert_int_equal(bucket_bytes(bytes), bucket_bytes(v));
	if (v == 0) {
		assert_true(us == 0 && bytes == 0);
		return;
	}
	assert_int_equal(bucket_native_seconds(us), bucket_native_seconds(v));
	assert_int_equal(bucket_native_bytes(bytes), bucket_native_bytes(v));
	for (size_t i = 0; i < n; i++) {
		if ((v <= bounds[i]) != (us <= bounds[i]))
			fail_msg("%llu and %llu are on two sides of %llu µs",
				 (unsigned long long)v, (unsigned long long)us,
				 (unsigned long long)bounds[i]);
		if ((v <= bounds[i]) != (bytes <= bounds[i]))
			fail_msg("%llu and %llu are on two sides of %llu bytes",
				 (unsigned long long)v,
				 (unsigned long long)bytes,
				 (unsigned long long)bounds[i]);
	}
}

static void rollup_buckets_keep_native_and_round_bounds_apart(void **state)
{
	/* OTel's default durations, then sizes, then other round numbers. */
	static const uint64_t bounds[] = {
		5000,
		10000,
		25000,
		50000,
		75000,
		100000,
		250000,
		500000,
		750000,
		1000000,
		2500000,
		5000000,
		7500000,
		10000000,
		0,
		1,
		2,
		3,
		15,
		150,
		400,
		60000000,
		30000000,
		1000000000000,
		7500000000000,
	};
	static const uint64_t sizes[] = {
		32,	64,	128,	256,	 512,	   1024,
		2048,	4096,	8192,	16384,	 32768,	   65536,
		131072, 262144, 524288, 1048576, 16777216, 1073741824,
	};
	size_t n = sizeof(bounds) / sizeof(*bounds);

	(void)state;
	for (size_t i = 0; i < n; i++)
		for (uint64_t d = 0; d < 5; d++)
			check_rollup(bounds[i] + d - (bounds[i] < 2 ? 0 : 2),
				     bounds, n);
	for (uint64_t v = 0; v < 300000; v++)
		check_rollup(v, bounds, n);
	for (uint64_t v = 300000; v < 1ull << 60; v += v / 997)
		check_rollup(v, bounds, n);
	for (uint64_t v = 0; v < 300000; v++) {
		uint64_t up = bucket_bytes_upper(bucket_bytes(v));

		for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
			assert_true((v <= sizes[i]) == (up <= sizes[i]));
	}
	check_rollup(UINT64_MAX, bounds, n);
	check_rollup(UINT64_MAX - 1, bounds, n);
}

static void rollup_indexes_rise_with_the_value(void **state)
{
	int last_s = BUCKET_ZERO, last_b = BUCKET_ZERO;

	(void)state;
	for (uint64_t v = 1; v < 1ull << 62; v += 1 + v / 311) {
		assert_true(bucket_seconds(v) >= last_s);
		assert_true(bucket_bytes(v) >= last_b);
		last_s = bucket_seconds(v);
		last_b = bucket_bytes(v);
	}
}

static void upper_takes_any_index(void **state)
{
	uint64_t last_s = 0, last_b = 0;

	(void)state;
	for (int i = -3000; i < 3000; i++) {
		assert_true(bucket_seconds_upper(i) >= last_s);
		assert_true(bucket_bytes_upper(i) >= last_b);
		last_s = bucket_seconds_upper(i);
		last_b = bucket_bytes_upper(i);
	}
	assert_true(bucket_seconds_upper(INT32_MIN) == 0);
	assert_true(bucket_seconds_upper(INT32_MAX) == UINT64_MAX);
	assert_true(bucket_bytes_upper(INT32_MIN) == 0);
	assert_true(bucket_bytes_upper(INT32_MAX) == UINT64_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			seconds_are_exact_at_every_boundary_and_beside_it),
		cmocka_unit_test(
			bytes_are_exact_at_every_boundary_and_beside_it),
		cmocka_unit_test(every_small_value_is_exact),
		cmocka_unit_test(known_values_have_their_known_index),
		cmocka_unit_test(native_upper_is_the_last_value_of_its_bucket),
		cmocka_unit_test(
			rollup_buckets_keep_native_and_round_bounds_apart),
		cmocka_unit_test(rollup_indexes_rise_with_the_value),
		cmocka_unit_test(upper_takes_any_index),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
