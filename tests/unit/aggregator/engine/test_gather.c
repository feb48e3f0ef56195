/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "aggregator/engine/gather.h"
#include "common/clock.h"
#include "proto/limits.h"

#define STEP_NS (GATHER_INTERVAL_MS * CLOCK_NS_PER_MS)

static const struct gather_limits limits = { .batches_per_s = 10000,
					     .max_ms = 5000 };

static uint32_t with_agents(size_t agents)
{
	struct gather g = { 0 };

	return gather_decide(&g, &limits, agents, STEP_NS);
}

/* An interval in which the engine was busy that much, with such messages. */
static uint32_t interval(struct gather *g, uint64_t *now_ns, unsigned percent,
			 size_t bytes, size_t agents)
{
	*now_ns += STEP_NS;
	gather_note(g, STEP_NS / 100 * percent, 1000, 1000 * bytes);
	return gather_decide(g, &limits, agents, *now_ns);
}

static void a_fleet_sends_no_more_batches_than_its_budget(void **state)
{
	(void)state;
	assert_int_equal(with_agents(0), 0);
	/* Twice a second each is within it: agents do as they like. */
	assert_int_equal(with_agents(5000), 0);
	for (size_t agents = 5010; agents <= 50000; agents += 10)
		assert_int_equal(with_agents(agents), agents / 10);
	/* Beyond the limit, data must not get older. */
	assert_int_equal(with_agents(50001), 5000);
	assert_int_equal(with_agents(10000000), 5000);
}

static void small_batches_that_keep_the_engine_busy_are_gathered(void **state)
{
	struct gather g = { 0 };
	uint64_t now_ns = STEP_NS;
	uint32_t ms = 0, before;

	(void)state;
	gather_decide(&g, &limits, 10, now_ns);
	assert_int_equal(interval(&g, &now_ns, 74, 400, 10), 0);
	assert_int_equal(interval(&g, &now_ns, 76, 400, 10),
			 BATCH_FLUSH_MS * 5 / 4);
	for (unsigned i = 0; i < 20; i++) {
		before = ms;
		ms = interval(&g, &now_ns, 90, 400, 10);
		assert_true(ms > before || ms == limits.max_ms);
	}
	assert_int_equal(ms, limits.max_ms);
	/* In between it stays as it is; then it goes back, all the way. */
	assert_int_equal(interval(&g, &now_ns, 60, 400, 10), limits.max_ms);
	for (unsigned i = 0; i < 30 && ms > 0; i++) {
		before = ms;
		ms = interval(&g, &now_ns, 40, 400, 10);
		assert_true(ms < before);
	}
	assert_int_equal(ms, 0);
}

static void large_batches_are_left_alone(void **state)
{
	struct gather g = { 0 };
	uint64_t now_ns = STEP_NS;

	(void)state;
	gather_decide(&g, &limits, 10, now_ns);
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(interval(&g, &now_ns, 100, 85000, 10), 0);
}

static void the_longer_of_both_counts(void **state)
{
	struct gather g = { 0 };
	uint64_t now_ns = STEP_NS;

	(void)state;
	gather_decide(&g, &limits, 20000, now_ns);
	assert_int_equal(interval(&g, &now_ns, 100, 400, 20000), 2000);
	for (unsigned i = 0; i < 10; i++)
		interval(&g, &now_ns, 100, 400, 20000);
	assert_int_equal(interval(&g, &now_ns, 100, 400, 20000), 5000);
}

static void decides_once_per_interval(void **state)
{
	struct gather g = { 0 };

	(void)state;
	assert_int_equal(gather_decide(&g, &limits, 20000, STEP_NS), 2000);
	assert_int_equal(gather_decide(&g, &limits, 0, 2 * STEP_NS - 1), 2000);
	assert_int_equal(gather_decide(&g, &limits, 0, 2 * STEP_NS), 0);
}

static void a_pause_grows_with_commits_and_with_agents(void **state)
{
	const uint64_t most_ns = 20 * CLOCK_NS_PER_MS;

	(void)state;
	assert_int_equal(gather_pause_ns(0, 0, most_ns), 0);
	assert_int_equal(gather_pause_ns(1000000, 0, most_ns), 3000000);
	assert_int_equal(gather_pause_ns(1000000, 149, most_ns), 3000000);
	assert_int_equal(gather_pause_ns(1000000, 200, most_ns), 4000000);
	assert_int_equal(gather_pause_ns(1000000, 999, most_ns), 19980000);
	assert_int_equal(gather_pause_ns(1000000, 1001, most_ns), most_ns);
	assert_int_equal(gather_pause_ns(1000000000, 1, most_ns), most_ns);
	assert_int_equal(gather_pause_ns(1000000, 100000, 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_fleet_sends_no_more_batches_than_its_budget),
		cmocka_unit_test(
			small_batches_that_keep_the_engine_busy_are_gathered),
		cmocka_unit_test(large_batches_are_left_alone),
		cmocka_unit_test(the_longer_of_both_counts),
		cmocka_unit_test(decides_once_per_interval),
		cmocka_unit_test(a_pause_grows_with_commits_and_with_agents),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
