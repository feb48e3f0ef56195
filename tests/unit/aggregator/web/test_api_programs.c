/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <jansson.h>

#include "aggregator/web/api_ask.h"
#include "tests/unit/aggregator/sample_snapshot.h"

static const struct snapshot *take(void *arg)
{
	(void)arg;
	return &sample;
}

static void rele(const struct snapshot *s)
{
	(void)s;
}

static int setup(void **state)
{
	const struct api_options opt = { .take = take,
					 .take_all = take,
					 .rele = rele,
					 .telemetry_path = "/metrics" };
	struct api *a;

	assert_int_equal(api_new(&a, &opt), 0);
	*state = a;
	return 0;
}

static int teardown(void **state)
{
	api_free(*state);
	return 0;
}

/* The value of the only argument, "key=value". */
static const char *get(const void *arg, const char *key)
{
	size_t n = strlen(key);

	return !strncmp(arg, key, n) && ((const char *)arg)[n] == '='
		       ? (const char *)arg + n + 1
		       : NULL;
}

static json_t *ask(struct api *a, const char *argument)
{
	const struct api_query q = { get, argument };
	struct buf out = { 0 };
	json_t *o;

	assert_int_equal(api_programs(a, &q, &out), 200);
	o = json_loadb(out.data, out.len, 0, NULL);
	assert_non_null(o);
	buf_fini(&out);
	return o;
}

static json_t *column(json_t *o, const char *table, const char *name)
{
	return json_object_get(table ? json_object_get(o, table) : o, name);
}

static json_int_t number(json_t *o, const char *table, const char *name,
			 size_t i)
{
	json_t *c = column(o, table, name);

	if (table)
		c = json_array_get(c, i);
	assert_true(json_is_integer(c));
	return json_integer_value(c);
}

static const char *text(json_t *o, const char *table, const char *name,
			size_t i)
{
	return json_string_value(json_array_get(column(o, table, name), i));
}

static size_t rows(json_t *o, const char *table, const char *name)
{
	return json_array_size(column(o, table, name));
}

/* Of the program that two nodes have; see sample_snapshot.h. */
static void programs_are_columns_and_a_filter_chooses(void **state)
{
	struct api *a = *state;
	json_t *o = ask(a, "");
	char digest[65] = { 0 };

	memset(digest, '0', 64);
	memcpy(digest, "01ab", 4);
	memcpy(digest + 62, "ff", 2);
	assert_int_equal(number(o, NULL, "total", 0), 2);
	assert_string_equal(text(o, "programs", "node", 1), "node-b");
	assert_string_equal(text(o, "programs", "state", 0), "running");
	assert_string_equal(text(o, "programs", "state", 1), "failed");
	assert_string_equal(text(o, "programs", "digest", 0), digest);
	assert_string_equal(text(o, "programs", "reason", 1),
			    "line 7: \"R1\"\nis no pointer");
	assert_int_equal(number(o, "programs", "runs", 0), 501);
	assert_string_equal(text(o, "maps", "map", 1), "pauses");
	assert_string_equal(text(o, "maps", "guarantee", 1), "racy");
	assert_int_equal(number(o, "maps", "entries", 0), 511);
	assert_string_equal(text(o, "metrics", "type", 2), "histogram");
	assert_int_equal(number(o, "metrics", "overflowed", 0), 5);
	assert_int_equal(rows(o, "increments", "node"), 1);
	/* read = counted + what each stage lost */
	assert_int_equal(number(o, "increments", "read", 0), 1100);
	assert_int_equal(number(o, "increments", "counted", 0), 1002);
	assert_int_equal(number(o, "increments", "ring", 0), 11);
	json_decref(o);
	o = ask(a, "limit=1");
	assert_int_equal(number(o, NULL, "total", 0), 2);
	assert_int_equal(rows(o, "programs", "node"), 1);
	json_decref(o);
	o = ask(a, "filter=no-such");
	assert_int_equal(number(o, NULL, "total", 0), 0);
	assert_int_equal(rows(o, "metrics", "metric"), 0);
	json_decref(o);
}

static void a_limit_that_is_none_is_refused(void **state)
{
	const struct api_query q = { get, "limit=0" };
	struct buf out = { 0 };

	assert_int_equal(api_programs(*state, &q, &out), 400);
	buf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(programs_are_columns_and_a_filter_chooses),
		cmocka_unit_test(a_limit_that_is_none_is_refused),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
