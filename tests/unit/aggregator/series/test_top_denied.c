/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "aggregator/series/top_denied.h"

/* Any function that spreads: splitmix64's. */
static uint64_t spread(uint64_t x)
{
	x += 0x9e3779b97f4a7c15;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31;
}

static void ask(struct top_denied *a, unsigned who, uint64_t set)
{
	char name[16];
	int len = snprintf(name, sizeof(name), "job-%u", who);

	top_denied_add(a, name, (size_t)len, spread(who),
		       spread(set << 20 | who));
}

static void names_who_asks_for_most(void **state)
{
	struct top_denied a = { 0 };

	(void)state;
	assert_null(top_denied_worst(&a));
	for (uint64_t set = 0; set < 3000; set++)
		ask(&a, 3, set);
	for (uint64_t set = 0; set < 1000; set++)
		for (unsigned who = 0; who < 3; who++)
			ask(&a, who, set);
	assert_string_equal(top_denied_worst(&a)->name, "job-3");
	assert_in_range(top_denied_worst(&a)->sets, 2400, 3600);
	top_denied_fini(&a);
}

static void the_same_set_again_and_again_counts_once(void **state)
{
	struct top_denied a = { 0 };

	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		ask(&a, 1, 7);
		if (i < 20)
			ask(&a, 2, i);
	}
	assert_string_equal(top_denied_worst(&a)->name, "job-2");
	assert_in_range(top_denied_worst(&a)->sets, 15, 25);
	top_denied_fini(&a);
}

/* A hundred times as many others as there are places, taking turns. */
static void finds_the_worst_among_many_others(void **state)
{
	struct top_denied a = { 0 };

	(void)state;
	for (uint64_t set = 0; set < 20000; set++) {
		ask(&a, (unsigned)(1 + spread(set) % (100 * TOP_DENIED)), set);
		if (set % 3 == 0)
			ask(&a, 0, set);
		assert_true(a.n <= TOP_DENIED);
	}
	assert_string_equal(top_denied_worst(&a)->name, "job-0");
	top_denied_fini(&a);
}

static void cuts_a_long_name_between_characters(void **state)
{
	struct top_denied a = { 0 };
	char name[600];

	(void)state;
	/* Two bytes each: 255 would be in the middle of one. */
	memset(name, 'x', sizeof(name));
	for (size_t i = 0; i + 1 < sizeof(name); i += 2)
		memcpy(name + i, "\xc3\xa9", 2);
	top_denied_add(&a, name, sizeof(name), 1, 1);
	assert_int_equal(strlen(top_denied_worst(&a)->name), 254);
	assert_memory_equal(top_denied_worst(&a)->name, name, 254);
	top_denied_fini(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_who_asks_for_most),
		cmocka_unit_test(the_same_set_again_and_again_counts_once),
		cmocka_unit_test(finds_the_worst_among_many_others),
		cmocka_unit_test(cuts_a_long_name_between_characters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
