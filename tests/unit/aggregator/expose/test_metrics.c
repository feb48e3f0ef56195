/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "aggregator/expose/metrics.h"

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n > m && !strcmp(s + n - m, end);
}

static void names_follow_the_conventions(void **state)
{
	(void)state;
	for (size_t i = 0; i < metrics_n; i++) {
		const struct metric *m = &metrics[i];
		bool counter = m->type == METRIC_COUNTER;
		char unit[32];

		assert_int_equal(
			strspn(m->name,
			       "abcdefghijklmnopqrstuvwxyz0123456789_"),
			strlen(m->name));
		assert_int_equal(ends_with(m->name, "_total"), counter);
		assert_int_equal(ends_with(m->name, "_info"),
				 m->type == METRIC_INFO);
		snprintf(unit, sizeof(unit), "_%s%s", m->unit,
			 counter ? "_total" : "");
		if (*m->unit && !ends_with(m->name, unit))
			fail_msg("%s is not in %s", m->name, m->unit);
		assert_int_equal(*m->unit != '\0',
				 strstr(m->name, "_seconds") ||
					 strstr(m->name, "_bytes"));
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(m->name, metrics[k].name);
	}
}

static void every_metric_is_explained(void **state)
{
	(void)state;
	for (size_t i = 0; i < metrics_n; i++) {
		const struct metric *m = &metrics[i];

		assert_true(strlen(m->help) > 5 && ends_with(m->help, "."));
		if (!strstr(m->query, m->name))
			fail_msg("the example of %s does not use it", m->name);
	}
}

/* REDTAP_GOLDEN=write makes the page anew: make docs/METRICS.md */
static void the_page_says_what_the_code_shows(void **state)
{
	static const char path[] = "docs/METRICS.md";
	const char *mode = getenv("REDTAP_GOLDEN");
	struct buf page = { 0 };
	char *there = calloc(1, 1 << 20);
	size_t len;
	FILE *f;

	(void)state;
	assert_int_equal(metrics_doc(&page, views_default()), 0);
	assert_non_null(buf_str(&page));
	if (mode && !strcmp(mode, "write")) {
		f = fopen(path, "w");
		assert_non_null(f);
		fputs(page.data, f);
		fclose(f);
	}
	f = fopen(path, "r");
	if (!f)
		fail_msg("%s is missing", path);
	len = fread(there, 1, (1 << 20) - 1, f);
	fclose(f);
	assert_true(len > 0);
	if (strcmp(page.data, there))
		fail_msg("%s is not what metrics.def and views.c say: "
			 "make docs/METRICS.md",
			 path);
	buf_fini(&page);
	free(there);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_follow_the_conventions),
		cmocka_unit_test(every_metric_is_explained),
		cmocka_unit_test(the_page_says_what_the_code_shows),
	};

	return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
