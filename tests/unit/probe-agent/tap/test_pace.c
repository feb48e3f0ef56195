/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "probe-agent/tap/pace.h"

#define MS UINT64_C(1000000)
#define MIB (1u << 20)

static void a_quiet_ring_is_looked_at_often(void **state)
{
	(void)state;
	assert_int_equal(pace_ns(0, 0, 4 * MIB), 5 * MS);
	assert_int_equal(pace_ns(0, 20 * MS, 64 * MIB), 5 * MS);
	assert_int_equal(pace_ns(MIB / 64, 5 * MS, 4 * MIB), 5 * MS);
	assert_int_equal(pace_ns(1, 20 * MS, MIB), 5 * MS);
}

/* 150,000 events/s of 500 bytes are a MiB in 14 ms. */
static void a_quarter_of_the_ring_comes_between_two_turns(void **state)
{
	(void)state;
	assert_int_equal(pace_ns(75000 * 20, 20 * MS, 4 * MIB), 13981013);
	assert_int_equal(pace_ns(75000 * 5, 5 * MS, 4 * MIB), 13981013);
	assert_int_equal(pace_ns(MIB, 2 * MS, 4 * MIB), 2 * MS);
	assert_int_equal(pace_ns(4 * MIB, 2 * MS, 4 * MIB), MS / 2);
	/* Much at once, right after the turn before. */
	assert_int_equal(pace_ns(4 * MIB, 0, 4 * MIB), 0);
}

/* However long a quarter takes: another burst has to fit. */
static void the_longest_pause_is_that_of_the_ring(void **state)
{
	(void)state;
	assert_int_equal(pace_ns(MIB, 20 * MS, 4 * MIB), 20 * MS);
	assert_int_equal(pace_ns(MIB, 20 * MS, 64 * MIB), 20 * MS);
	assert_int_equal(pace_ns(MIB / 4, 20 * MS, 2 * MIB), 10 * MS);
	assert_int_equal(pace_ns(MIB / 4, 20 * MS, MIB / 16), MS * 5 / 4);
}

/* Whatever the rate, as long as it holds: at most a quarter is there. */
static void no_rate_fills_more_than_a_quarter(void **state)
{
	uint64_t rate, ns, came; /* bytes per ms */

	(void)state;
	for (rate = 1; rate < 64 * MIB; rate += rate / 3 + 1) {
		ns = pace_ns(rate * 7, 7 * MS, 4 * MIB);
		came = rate * ns / MS;
		assert_true(came <= MIB);
		assert_true(ns == 5 * MS || ns == 20 * MS ||
			    came + rate / MS + 1 >= MIB);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_quiet_ring_is_looked_at_often),
		cmocka_unit_test(a_quarter_of_the_ring_comes_between_two_turns),
		cmocka_unit_test(the_longest_pause_is_that_of_the_ring),
		cmocka_unit_test(no_rate_fills_more_than_a_quarter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
