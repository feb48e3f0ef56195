/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "probe-agent/synth/fleet_timer.h"

#define TIMERS 257

/* The earliest, found by looking at all of them. */
static uint64_t earliest(const struct fleet_timer *t)
{
	uint64_t first = UINT64_MAX;

	for (unsigned i = 0; i < TIMERS; i++)
		if (t[i].place > 0 && t[i].at_ns < first)
			first = t[i].at_ns;
	return first;
}

static void the_first_is_the_earliest_whatever_was_set(void **state)
{
	static struct fleet_timer timer[TIMERS];
	struct fleet_timers heap;
	uint64_t x = 88172645463325252u;

	(void)state;
	assert_int_equal(fleet_timers_init(&heap, TIMERS), 0);
	assert_null(fleet_timers_first(&heap));
	for (unsigned step = 0; step < 20000; step++) {
		struct fleet_timer *t, *first;

		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		t = &timer[(x >> 20) % TIMERS];
		/* More are set than cleared at first, then the other way. */
		if ((x >> 40) % 10 < (step < 10000 ? 7u : 3u))
			fleet_timer_set(&heap, t, (x >> 11) % 1000);
		else
			fleet_timer_clear(&heap, t);
		first = fleet_timers_first(&heap);
		assert_int_equal(first ? first->at_ns : UINT64_MAX,
				 earliest(timer));
	}
	for (unsigned i = 0; i < TIMERS; i++)
		fleet_timer_clear(&heap, &timer[i]);
	assert_null(fleet_timers_first(&heap));
	fleet_timers_fini(&heap);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_is_the_earliest_whatever_was_set),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
