/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "proto/batch.h"
#include "proto/limits.h"

#define S(text)                                                                \
	{                                                                      \
		text, sizeof(text) - 1                                         \
	}

static const struct batch_string strings[] = {
	S(""),	      S("timers"), S("verifier: no"), S("starts"),
	S("x_total"), S("Help."),  S("seconds"),      S("function"),
	S("cpu"),     S("tick"),   S("tock"),	      S("0"),
	S("1"),	      S("open"),   S("latency"),      S("redtap_x"),
	S("9lives"),  S("le"),	   S("other"),
};

#define U32(...) ((uint32_t[]){ __VA_ARGS__ })
#define U64(...) ((uint64_t[]){ __VA_ARGS__ })
#define I64(...) ((int64_t[]){ __VA_ARGS__ })

static uint8_t digest[64];

/* Two programs; a counter of two labels, a gauge, and a histogram. */
static struct batch sample_batch(void)
{
	static uint32_t program[] = { 1, 18 }, state[] = { 0, 2 },
			reason[] = { 0, 2 }, map_program[] = { 0, 0 },
			map_name[] = { 3, 14 }, guarantee[] = { 0, 2 },
			name[] = { 4, 13, 14 }, help[] = { 5, 0, 5 },
			unit[] = { 0, 0, 6 }, of[] = { 1, 1, 1 },
			kind[] = { 1, 2, 3 }, merge[] = { 0, 2, 1 },
			n_labels[] = { 2, 0, 1 }, label_name[] = { 7, 8, 8 },
			n_bounds[] = { 0, 0, 3 }, family[] = { 0, 0, 1, 2 },
			label_value[] = { 9, 11, 10, 12, 11 },
			counter[] = { 0, 1 }, gauge_family[] = { 1 },
			gauge[] = { 2 }, histogram[] = { 3 },
			n_buckets[] = { 2 }, bucket[] = { 0, 3 };
	static uint64_t runs[] = { 7, 0 }, run_ns[] = { 900, 0 },
			trap_ns[] = { 30, 0 }, read_us[] = { 5, 0 },
			entries[] = { 2, 1 }, max_entries[] = { 1024, 8 },
			bound[] = { 0, 1, 1024 },
			increment[] = { LIMIT_INCREMENT - 1, 3 },
			count[] = { 11, 2 }, sum[] = { 99 };
	static int64_t value[] = { -5 };
	static double multiplier[] = { 1, 1, 1e-9 };
	struct batch b = {
		.agent = "n",
		.epoch = 1,
		.sequence = 1,
		.n_strings = sizeof(strings) / sizeof(*strings),
		.strings = strings,
		.samples = {
			.told = true,
			.n_programs = 2,
			.program = program,
			.state = state,
			.reason = reason,
			.digest = digest,
			.runs = runs,
			.run_ns = run_ns,
			.trap_ns = trap_ns,
			.read_us = read_us,
			.n_maps = 2,
			.map_program = map_program,
			.map_name = map_name,
			.guarantee = guarantee,
			.entries = entries,
			.max_entries = max_entries,
			.n_families = 3,
			.n_label_names = 3,
			.n_bound_values = 3,
			.name = name,
			.help = help,
			.unit = unit,
			.of_program = of,
			.kind = kind,
			.merge = merge,
			.n_labels = n_labels,
			.n_bounds = n_bounds,
			.multiplier = multiplier,
			.label_name = label_name,
			.bound = bound,
			.n_series = 4,
			.n_label_values = 5,
			.family = family,
			.label_value = label_value,
			.n_counters = 2,
			.counter = counter,
			.increment = increment,
			.n_gauge_families = 1,
			.gauge_family = gauge_family,
			.n_gauges = 1,
			.gauge = gauge,
			.value = value,
			.n_histograms = 1,
			.histogram = histogram,
			.n_buckets = n_buckets,
			.n_bucket_values = 2,
			.bucket = bucket,
			.count = count,
			.sum = sum,
			.read = 100,
			.dropped = { 1, 2, 3, 4, 5, 6 },
		},
	};

	return b;
}

static struct batch_arena *arena;

/* NULL: taken, and in *out. */
static const char *decode(const struct batch *b, struct batch *out)
{
	const char *reason = NULL;
	void *data;
	size_t len;
	int err;

	assert_int_equal(batch_encode(b, &data, &len), 0);
	err = batch_decode(arena, data, len, out, &reason);
	assert_true(!err || (err == -EPROTO && reason));
	free(data);
	return err ? reason : NULL;
}

#define SAME(column, n)                                                        \
	assert_memory_equal(out.samples.column, b.samples.column,              \
			    (n) * sizeof(*b.samples.column))

static void every_column_survives_the_way(void **state)
{
	struct batch b = sample_batch(), out;

	(void)state;
	for (size_t i = 0; i < sizeof(digest); i++)
		digest[i] = (uint8_t)(i + 1);
	assert_null(decode(&b, &out));
	assert_true(out.samples.told);
	assert_int_equal(out.samples.n_programs, 2);
	SAME(program, 2);
	SAME(state, 2);
	SAME(reason, 2);
	SAME(digest, 64);
	SAME(runs, 2);
	SAME(run_ns, 2);
	SAME(trap_ns, 2);
	SAME(read_us, 2);
	assert_int_equal(out.samples.n_maps, 2);
	SAME(map_program, 2);
	SAME(map_name, 2);
	SAME(guarantee, 2);
	SAME(entries, 2);
	SAME(max_entries, 2);
	assert_int_equal(out.samples.n_families, 3);
	SAME(name, 3);
	SAME(help, 3);
	SAME(unit, 3);
	SAME(of_program, 3);
	SAME(kind, 3);
	SAME(merge, 3);
	SAME(multiplier, 3);
	SAME(n_labels, 3);
	SAME(n_bounds, 3);
	assert_int_equal(out.samples.n_label_names, 3);
	SAME(label_name, 3);
	assert_int_equal(out.samples.n_bound_values, 3);
	SAME(bound, 3);
	assert_int_equal(out.samples.n_series, 4);
	SAME(family, 4);
	assert_int_equal(out.samples.n_label_values, 5);
	SAME(label_value, 5);
	assert_int_equal(out.samples.n_counters, 2);
	SAME(counter, 2);
	SAME(increment, 2);
	assert_int_equal(out.samples.n_gauge_families, 1);
	SAME(gauge_family, 1);
	assert_int_equal(out.samples.n_gauges, 1);
	SAME(gauge, 1);
	SAME(value, 1);
	assert_int_equal(out.samples.n_histograms, 1);
	SAME(histogram, 1);
	SAME(n_buckets, 1);
	assert_int_equal(out.samples.n_bucket_values, 2);
	SAME(bucket, 2);
	SAME(count, 2);
	SAME(sum, 1);
	assert_int_equal(out.samples.read, 100);
	assert_memory_equal(out.samples.dropped, b.samples.dropped,
			    sizeof(b.samples.dropped));
	assert_int_equal(samples_increments(&out.samples),
			 LIMIT_INCREMENT - 1 + 3 + 11 + 2);
}

static void only_batches_with_samples_speak_protocol_2(void **state)
{
	struct batch b = sample_batch();
	void *data;
	size_t len;

	(void)state;
	assert_int_equal(batch_encode(&b, &data, &len), 0);
	assert_int_equal(batch_protocol(data, len), 2);
	free(data);
	memset(&b.samples, 0, sizeof(b.samples));
	assert_int_equal(batch_encode(&b, &data, &len), 0);
	assert_int_equal(batch_protocol(data, len), 1);
	free(data);
	assert_int_equal(batch_protocol("", 0), 1);
}

/* One wrong value or length each: the batch is refused, and says which. */
#define REFUSED(change, words)                                                 \
	do {                                                                   \
		struct batch b = sample_batch(), out;                          \
		const char *reason;                                            \
                                                                               \
		change;                                                        \
		reason = decode(&b, &out);                                     \
		if (!reason)                                                   \
			fail_msg("taken: %s", #change);                        \
		assert_string_equal(reason, "samples: " words);                \
	} while (0)

static void lengths_must_agree(void **state)
{
	(void)state;
	REFUSED(b.samples.n_counters = 1; b.samples.counter = U32(0, 0);
		b.samples.n_label_values = 4,
		"label values do not fit the families");
	REFUSED(b.samples.n_bucket_values = 1, "bucket outside its table");
	REFUSED(b.samples.n_buckets = U32(1), "bucket outside its table");
	REFUSED(b.samples.n_labels = U32(2, 0, 2),
		"label or bound outside its table");
	REFUSED(b.samples.n_labels = U32(2, 0, 0),
		"label or bound outside its table");
	REFUSED(b.samples.n_bounds = U32(0, 0, 4),
		"label or bound outside its table");
	REFUSED(b.samples.n_bounds = U32(0, 0, 2),
		"label or bound outside its table");
	REFUSED(b.samples.told = false, "programs that are not told");
}

static void indexes_must_be_inside(void **state)
{
	const uint32_t end = sizeof(strings) / sizeof(*strings);

	(void)state;
	REFUSED(b.samples.program = U32(1, end), "index outside strings");
	REFUSED(b.samples.reason = U32(1, end), "index outside strings");
	REFUSED(b.samples.map_program = U32(0, 2), "index outside programs");
	REFUSED(b.samples.map_name = U32(0, end), "index outside strings");
	REFUSED(b.samples.name = U32(4, 13, end), "index outside strings");
	REFUSED(b.samples.help = U32(4, 13, end), "index outside strings");
	REFUSED(b.samples.unit = U32(4, 13, end), "index outside strings");
	REFUSED(b.samples.of_program = U32(4, 13, end),
		"index outside strings");
	REFUSED(b.samples.label_name = U32(7, 8, end), "index outside strings");
	REFUSED(b.samples.family = U32(0, 0, 1, 3), "index outside families");
	REFUSED(b.samples.label_value = U32(9, 11, 10, 12, end),
		"index outside strings");
	REFUSED(b.samples.counter = U32(0, 4), "index outside series");
	REFUSED(b.samples.gauge = U32(4), "index outside series");
	REFUSED(b.samples.gauge_family = U32(3), "index outside families");
	REFUSED(b.samples.histogram = U32(4), "index outside series");
	REFUSED(b.samples.bucket = U32(0, 4), "bucket outside the bounds");
}

static void values_must_be_in_range(void **state)
{
	(void)state;
	REFUSED(b.samples.state = U32(0, SAMPLES_STATES), "unknown state");
	REFUSED(b.samples.guarantee = U32(0, SAMPLES_GUARANTEES),
		"unknown guarantee");
	REFUSED(b.samples.kind = U32(1, 2, 4), "unknown kind");
	REFUSED(b.samples.kind = U32(0, 2, 3), "unknown kind");
	REFUSED(b.samples.kind = U32(1, 2, 1), "bounds are of histograms");
	REFUSED(b.samples.merge = U32(4, 0, 0), "unknown merge");
	REFUSED(b.samples.merge = U32(2, 0, 0), "unknown merge");
	REFUSED(b.samples.multiplier = ((double[]){ 1, 1, 0 }),
		"multiplier is not above 0");
	REFUSED(b.samples.multiplier = ((double[]){ 1, 1, 0.0 / 0.0 }),
		"multiplier is not above 0");
	REFUSED(b.samples.bound = U64(0, 1, 1), "bounds do not ascend");
	REFUSED(b.samples.increment = U64(0, LIMIT_INCREMENT),
		"increment over LIMIT_INCREMENT");
	REFUSED(b.samples.count = U64(0, LIMIT_INCREMENT),
		"increment over LIMIT_INCREMENT");
	REFUSED(b.samples.sum = U64(LIMIT_INCREMENT),
		"increment over LIMIT_INCREMENT");
	REFUSED(b.samples.run_ns = U64(0, LIMIT_INCREMENT),
		"increment over LIMIT_INCREMENT");
	REFUSED(b.samples.read_us = U64(0, LIMIT_TIME_US),
		"time over LIMIT_TIME_US");
	REFUSED(b.samples.program = U32(1, 1), "a program twice");
	REFUSED(b.samples.map_name = U32(3, 3), "a map twice");
}

static void names_must_be_shown_safely(void **state)
{
	(void)state;
	REFUSED(b.samples.name = U32(15, 13, 14), "not a metric's name");
	REFUSED(b.samples.name = U32(16, 13, 14), "not a metric's name");
	REFUSED(b.samples.name = U32(0, 13, 14), "not a metric's name");
	REFUSED(b.samples.label_name = U32(7, 17, 8), "not a label's name");
	REFUSED(b.samples.label_name = U32(0, 8, 8), "not a label's name");
	REFUSED(b.samples.label_name = U32(8, 8, 8), "a label twice");
}

static void series_belong_to_their_kind(void **state)
{
	(void)state;
	REFUSED(b.samples.counter = U32(0, 2),
		"of another kind than its family");
	REFUSED(b.samples.histogram = U32(0),
		"of another kind than its family");
	REFUSED(b.samples.gauge_family = U32(0),
		"of another kind than its family");
	REFUSED(b.samples.gauge = U32(0), "a gauge without its set");
	REFUSED(b.samples.n_gauge_families = 0, "a gauge without its set");
	REFUSED(b.samples.n_gauge_families = 2;
		b.samples.gauge_family = U32(1, 1), "a set of gauges twice");
}

/* Cut off at every length: never a crash, never bytes beyond the end. */
static void every_prefix_is_taken_or_refused(void **state)
{
	long page = sysconf(_SC_PAGESIZE);
	struct batch b = sample_batch(), out;
	const char *reason;
	char *map;
	void *data;
	size_t len;

	(void)state;
	assert_int_equal(batch_encode(&b, &data, &len), 0);
	assert_true(len < (size_t)page);
	map = mmap(NULL, 2 * (size_t)page, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(map, MAP_FAILED);
	assert_int_equal(mprotect(map + page, (size_t)page, PROT_NONE), 0);
	for (size_t n = 0; n < len; n++) {
		char *at = map + page - n;
		int err;

		memcpy(at, data, n);
		err = batch_decode(arena, at, n, &out, &reason);
		assert_true(!err || err == -EPROTO);
	}
	munmap(map, 2 * (size_t)page);
	free(data);
}

static void limits_hold(void **state)
{
	static uint32_t many[LIMIT_SAMPLE_SERIES + 1];
	static double ones[LIMIT_SAMPLE_FAMILIES + 1];

	(void)state;
	for (size_t i = 0; i < LIMIT_SAMPLE_FAMILIES + 1; i++)
		ones[i] = 1;
	REFUSED(b.samples.n_series = LIMIT_SAMPLE_SERIES + 1;
		b.samples.family = many, "more than LIMIT_SAMPLE_SERIES");
	REFUSED(b.samples.n_families = LIMIT_SAMPLE_FAMILIES + 1;
		b.samples.name = b.samples.help = b.samples.unit = many;
		b.samples.of_program = b.samples.kind = many;
		b.samples.merge = b.samples.n_labels = many;
		b.samples.n_bounds = many;
		b.samples.multiplier = ones, "more than LIMIT_SAMPLE_FAMILIES");
}

static void states_and_stages_have_names(void **state)
{
	(void)state;
	for (unsigned i = 0; i < SAMPLES_STATES; i++)
		assert_non_null(samples_state_name(i));
	assert_null(samples_state_name(SAMPLES_STATES));
	for (unsigned i = 0; i < SAMPLES_STAGES; i++)
		assert_non_null(samples_stage_name(i));
	assert_null(samples_stage_name(SAMPLES_STAGES));
	for (unsigned i = 0; i < SAMPLES_GUARANTEES; i++)
		assert_non_null(samples_guarantee_name(i));
	assert_null(samples_guarantee_name(SAMPLES_GUARANTEES));
	assert_string_equal(samples_kind_name(SAMPLES_HISTOGRAM), "histogram");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_column_survives_the_way),
		cmocka_unit_test(only_batches_with_samples_speak_protocol_2),
		cmocka_unit_test(lengths_must_agree),
		cmocka_unit_test(indexes_must_be_inside),
		cmocka_unit_test(values_must_be_in_range),
		cmocka_unit_test(names_must_be_shown_safely),
		cmocka_unit_test(series_belong_to_their_kind),
		cmocka_unit_test(every_prefix_is_taken_or_refused),
		cmocka_unit_test(limits_hold),
		cmocka_unit_test(states_and_stages_have_names),
	};
	int failed;

	if (batch_arena_new(&arena) != 0)
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	batch_arena_free(arena);
	return failed;
}
