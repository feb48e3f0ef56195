/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/engine/skew.h"
#include "tests/unit/aggregator/traffic.h"

#define S INT64_C(1000000)
#define NOW (INT64_C(1700000005) * S)

static int64_t shift(int64_t clock_us, size_t events, size_t rollups)
{
	struct push p = { .sent_us = 1, .clock_us = clock_us };
	struct batch b = { .events.n = events, .rollups.n = rollups };

	return skew_shift_us(&p, &b, NOW);
}

static void a_clock_that_is_nearly_right_is_believed(void **state)
{
	(void)state;
	assert_int_equal(shift(NOW, 1, 0), 0);
	assert_int_equal(shift(NOW - SKEW_SLACK_US, 1, 0), 0);
	assert_int_equal(shift(NOW + SKEW_SLACK_US, 1, 0), 0);
	assert_int_equal(shift(NOW - SKEW_SLACK_US - 1, 1, 0),
			 SKEW_SLACK_US + 1);
	assert_int_equal(shift(NOW + 3600 * S, 1, 0), -3600 * S);
	/* Nothing in it that has a time. */
	assert_int_equal(shift(NOW + 3600 * S, 0, 0), 0);
}

static void times_of_no_clock_are_never_moved(void **state)
{
	(void)state;
	assert_int_equal(shift(0, 1, 1), 0);
	assert_int_equal(shift(-5, 1, 1), 0);
}

static void rollups_move_by_whole_windows(void **state)
{
	(void)state;
	assert_int_equal(shift(NOW - 3604 * S, 3, 1), 3600 * S);
	assert_int_equal(shift(NOW - 3606 * S, 3, 1), 3610 * S);
	assert_int_equal(shift(NOW + 3604 * S, 0, 1), -3600 * S);
	assert_int_equal(shift(NOW + 3606 * S, 0, 1), -3610 * S);
}

static void a_moved_batch_is_the_same_but_for_its_base(void **state)
{
	struct traffic t = { .seed = 5, .services = 2, .routes = 3 };
	struct truth truth = { 0 };
	struct batch_arena *arena;
	struct batch b;
	void *data, *moved = NULL;
	size_t len, moved_len;
	int64_t base;
	uint64_t first, captured = 0;

	(void)state;
	traffic_batch(&t, "node", 1, 7, NOW, 101, &truth, &captured, &data,
		      &len);
	assert_int_equal(batch_arena_new(&arena), 0);
	assert_int_equal(batch_decode(arena, data, len, &b, NULL), 0);
	base = b.base_us;
	first = b.events.duration_us[0];
	assert_int_equal(
		skew_move(arena, &b, -3600 * S, data, len, &moved, &moved_len),
		0);
	assert_int_equal(b.base_us, base - 3600 * S);
	assert_int_equal(b.events.n, 101);
	assert_int_equal(b.events.duration_us[0], first);
	assert_string_equal(b.agent, "node");
	assert_int_equal(b.sequence, 7);
	/* What the agent said is still in front, byte for byte. */
	assert_memory_equal(moved, data, len);
	free(moved);
	/* Out of time: refused, and nothing is left behind. */
	assert_true(skew_move(arena, &b, -2 * NOW, data, len, &moved,
			      &moved_len) < 0);
	free(data);
	batch_arena_free(arena);
	free(truth.event);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_clock_that_is_nearly_right_is_believed),
		cmocka_unit_test(times_of_no_clock_are_never_moved),
		cmocka_unit_test(rollups_move_by_whole_windows),
		cmocka_unit_test(a_moved_batch_is_the_same_but_for_its_base),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
