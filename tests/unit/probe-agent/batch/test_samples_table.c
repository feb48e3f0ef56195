/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "probe-agent/batch/samples_table.h"
#include "proto/limits.h"

static struct samples_table *table;
static struct batch_arena *arena;

static const char *const names[] = { "function", "cpu" };
static const uint64_t bounds[] = { 1, 2, 4 };

static struct samples_family counter = {
	.name = "starts_total",
	.help = "Starts.",
	.program = "timers",
	.kind = SAMPLES_COUNTER,
	.multiplier = 1,
	.label = names,
	.n_labels = 2,
};
static struct samples_family histogram = {
	.name = "latency_seconds",
	.unit = "seconds",
	.program = "timers",
	.kind = SAMPLES_HISTOGRAM,
	.multiplier = 1e-9,
	.label = names,
	.n_labels = 1,
	.bound = bounds,
	.n_bounds = 3,
};
static struct samples_family gauge = {
	.name = "depth",
	.program = "timers",
	.kind = SAMPLES_GAUGE,
	.multiplier = 1,
	.label = names,
	.n_labels = 1,
};

static uint32_t series_of(const struct samples_family *f, const char *a,
			  const char *b)
{
	int64_t family = samples_table_family(table, f), series;

	assert_true(family >= 0);
	series = samples_table_series(table, (uint32_t)family,
				      (const char *const[]){ a, b });
	assert_true(series >= 0);
	return (uint32_t)series;
}

static void *bytes;
static size_t n_bytes;

/* What waits, as a batch that went over the wire. */
static void take(struct batch *out, bool *whole)
{
	struct batch b = { .agent = "n", .epoch = 1, .sequence = 1 };
	const char *reason = NULL;
	struct intern strings;
	void *memory, *tables;

	assert_int_equal(intern_init(&strings), 0);
	assert_int_equal(
		samples_table_fill(table, &strings, &b.samples, whole, &memory),
		0);
	assert_int_equal(intern_tables(&strings, &b, &tables), 0);
	free(bytes);
	assert_int_equal(batch_encode(&b, &bytes, &n_bytes), 0);
	free(memory);
	free(tables);
	intern_fini(&strings);
	if (batch_decode(arena, bytes, n_bytes, out, &reason) != 0)
		fail_msg("%s", reason);
}

static const char *text(const struct batch *b, uint32_t id)
{
	return b->strings[id].data;
}

static void increments_of_a_series_add_up(void **state)
{
	struct batch b;
	bool whole;

	(void)state;
	samples_table_add(table, series_of(&counter, "tick", "0"), 3);
	samples_table_add(table, series_of(&counter, "tock", "0"), 1);
	samples_table_add(table, series_of(&counter, "tick", "0"), 4);
	assert_true(samples_table_pending(table));
	take(&b, &whole);
	assert_true(whole);
	assert_int_equal(b.samples.n_families, 1);
	assert_string_equal(text(&b, b.samples.name[0]), "starts_total");
	assert_string_equal(text(&b, b.samples.help[0]), "Starts.");
	assert_int_equal(b.samples.n_series, 2);
	assert_string_equal(text(&b, b.samples.label_value[0]), "tick");
	assert_int_equal(b.samples.n_counters, 2);
	assert_int_equal(b.samples.increment[0], 7);
	assert_int_equal(b.samples.increment[1], 1);
	samples_table_sent(table);
	assert_false(samples_table_pending(table));
}

static void what_was_sent_is_not_sent_again(void **state)
{
	struct batch b;
	bool whole;

	(void)state;
	samples_table_add(table, series_of(&counter, "tick", "0"), 3);
	take(&b, &whole);
	samples_table_sent(table);
	samples_table_add(table, series_of(&counter, "tock", "1"), 5);
	take(&b, &whole);
	assert_int_equal(b.samples.n_counters, 1);
	assert_int_equal(b.samples.increment[0], 5);
	assert_string_equal(text(&b, b.samples.label_value[0]), "tock");
	samples_table_sent(table);
}

/* A batch that could not be encoded is filled again, with all in it. */
static void filling_twice_gives_the_same(void **state)
{
	struct batch b;
	bool whole;

	(void)state;
	samples_table_add(table, series_of(&counter, "tick", "0"), 3);
	take(&b, &whole);
	take(&b, &whole);
	assert_int_equal(b.samples.n_counters, 1);
	assert_int_equal(b.samples.increment[0], 3);
	samples_table_sent(table);
}

static void buckets_and_sums_add_up(void **state)
{
	struct batch b;
	uint32_t s;
	bool whole;

	(void)state;
	s = series_of(&histogram, "open", NULL);
	samples_table_add_bucket(table, s, 0, 2);
	samples_table_add_bucket(table, s, 3, 1);
	samples_table_add_bucket(table, s, 0, 5);
	samples_table_add_sum(table, s, 40);
	samples_table_add_sum(table, s, 2);
	take(&b, &whole);
	assert_int_equal(b.samples.n_histograms, 1);
	assert_int_equal(b.samples.sum[0], 42);
	assert_int_equal(b.samples.n_buckets[0], 2);
	assert_int_equal(b.samples.bucket[0], 0);
	assert_int_equal(b.samples.count[0], 7);
	assert_int_equal(b.samples.bucket[1], 3);
	assert_int_equal(b.samples.count[1], 1);
	assert_int_equal(b.samples.n_bounds[0], 3);
	samples_table_sent(table);
}

static void a_set_of_gauges_replaces_the_one_before(void **state)
{
	struct batch b;
	int64_t f;
	bool whole;

	(void)state;
	f = samples_table_family(table, &gauge);
	samples_table_begin_gauges(table, (uint32_t)f);
	samples_table_set(table, series_of(&gauge, "a", NULL), 1);
	samples_table_set(table, series_of(&gauge, "b", NULL), 2);
	samples_table_begin_gauges(table, (uint32_t)f);
	samples_table_set(table, series_of(&gauge, "b", NULL), -3);
	take(&b, &whole);
	assert_int_equal(b.samples.n_gauge_families, 1);
	assert_int_equal(b.samples.n_gauges, 1);
	assert_int_equal(b.samples.value[0], -3);
	assert_string_equal(text(&b, b.samples.label_value[0]), "b");
	samples_table_sent(table);
	/* An empty set is sent, too: its series are gone. */
	f = samples_table_family(table, &gauge);
	samples_table_begin_gauges(table, (uint32_t)f);
	take(&b, &whole);
	assert_int_equal(b.samples.n_gauge_families, 1);
	assert_int_equal(b.samples.n_gauges, 0);
	samples_table_sent(table);
	assert_false(samples_table_pending(table));
}

static void programs_keep_what_they_ran_until_it_is_sent(void **state)
{
	struct samples_program a = { .name = "a", .reason = "", .runs = 5 };
	struct samples_program c = { .name = "c", .reason = "", .runs = 1 };
	struct samples_map m = { .name = "m", .entries = 3 };
	struct batch b;
	bool whole;

	(void)state;
	samples_table_begin_programs(table);
	samples_table_program(table, &a);
	samples_table_begin_programs(table);
	samples_table_program(table, &c);
	samples_table_program(table, &a);
	samples_table_map(table, &m);
	take(&b, &whole);
	assert_true(b.samples.told);
	assert_int_equal(b.samples.n_programs, 2);
	assert_int_equal(b.samples.runs[0], 1);
	assert_int_equal(b.samples.runs[1], 10);
	assert_int_equal(b.samples.map_program[0], 1);
	samples_table_sent(table);
	samples_table_begin_programs(table);
	samples_table_program(table, &a);
	take(&b, &whole);
	assert_int_equal(b.samples.runs[0], 5);
	samples_table_sent(table);
}

/* More than a batch holds: every series goes along exactly once. */
static void what_does_not_fit_goes_with_the_next_batch(void **state)
{
	const unsigned n = LIMIT_SAMPLE_SERIES * 2 + 5;
	uint64_t sum = 0, batches = 0, series = 0;
	struct batch b;
	bool whole;

	(void)state;
	for (unsigned i = 0; i < n; i++) {
		char value[16];

		snprintf(value, sizeof(value), "v%u", i);
		samples_table_add(table, series_of(&counter, value, "0"),
				  i + 1);
	}
	do {
		take(&b, &whole);
		samples_table_sent(table);
		for (size_t i = 0; i < b.samples.n_counters; i++)
			sum += b.samples.increment[i];
		series += b.samples.n_series;
		batches++;
		/* What comes meanwhile is not lost either. */
		if (batches == 1)
			samples_table_add(table, series_of(&counter, "v0", "0"),
					  1000);
	} while (samples_table_pending(table));
	assert_int_equal(batches, 3);
	assert_int_equal(series, n + 1);
	assert_int_equal(sum, (uint64_t)n * (n + 1) / 2 + 1000);
}

static void merging_batches_is_adding_them(void **state)
{
	struct samples_table *other = table, *sum;
	struct batch b;
	bool whole;

	(void)state;
	assert_int_equal(samples_table_new(&sum), 0);
	for (int i = 0; i < 2; i++) {
		struct samples_program p = { .name = "p",
					     .reason = "",
					     .runs = 3 };
		uint32_t s = series_of(&histogram, "x", NULL);

		samples_table_add(table, series_of(&counter, "tick", "0"), 3);
		samples_table_add_bucket(table, s, 1, 4);
		samples_table_add_sum(table, s, 9);
		samples_table_begin_gauges(
			table, (uint32_t)samples_table_family(table, &gauge));
		samples_table_set(table, series_of(&gauge, i ? "b" : "a", NULL),
				  i);
		samples_table_begin_programs(table);
		samples_table_program(table, &p);
		samples_table_count_read(table, 7);
		samples_table_count_dropped(table, SAMPLES_LOST_RING, 2);
		take(&b, &whole);
		samples_table_sent(table);
		assert_int_equal(
			samples_table_merge(sum, &b, SAMPLES_TOTALS_LATEST), 0);
	}
	table = sum;
	take(&b, &whole);
	assert_int_equal(b.samples.n_counters, 1);
	assert_int_equal(b.samples.increment[0], 6);
	assert_int_equal(b.samples.count[0], 8);
	assert_int_equal(b.samples.sum[0], 18);
	assert_int_equal(b.samples.n_gauges, 1);
	assert_string_equal(
		text(&b,
		     b.samples.label_value[b.samples.gauge[0] == 0
						   ? 0
						   : b.samples.n_label_values -
							     1]),
		b.samples.gauge[0] == 0 ? "b" : "x");
	assert_int_equal(b.samples.value[0], 1);
	assert_int_equal(b.samples.runs[0], 6);
	assert_int_equal(b.samples.read, 14);
	assert_int_equal(b.samples.dropped[SAMPLES_LOST_RING], 4);
	table = other;
	samples_table_free(sum);
}

static int setup(void **state)
{
	(void)state;
	return samples_table_new(&table) || batch_arena_new(&arena);
}

static int teardown(void **state)
{
	(void)state;
	samples_table_free(table);
	batch_arena_free(arena);
	free(bytes);
	bytes = NULL;
	return 0;
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(increments_of_a_series_add_up),
		TEST(what_was_sent_is_not_sent_again),
		TEST(filling_twice_gives_the_same),
		TEST(buckets_and_sums_add_up),
		TEST(a_set_of_gauges_replaces_the_one_before),
		TEST(programs_keep_what_they_ran_until_it_is_sent),
		TEST(what_does_not_fit_goes_with_the_next_batch),
		TEST(merging_batches_is_adding_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
