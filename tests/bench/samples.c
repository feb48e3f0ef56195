/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a sample of a user program costs on the wire and in the aggregator:
 * counters with one label that all grew, in as many batches as they need.
 * CPU time of one thread; the median of the rounds. With a number, one round
 * over that many series, for callgrind.
 *
 *	bench: NAME VALUE UNIT goal=G ok|short
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "aggregator/samples/samples.h"
#include "probe-agent/batch/samples_table.h"
#include "proto/batch.h"
#include "proto/limits.h"

#define ROUNDS 7
#define PER_BATCH 10000u
#define SERIES 100000u
#define GOAL_NS 300
#define GOAL_BYTES 6

struct made {
	void *data;
	size_t len;
	size_t text; /* bytes of its strings */
};

static double cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void add_series(struct samples_table *t, unsigned from, unsigned n)
{
	static const char *const label[] = { "key" };
	const struct samples_family f = {
		.name = "bench_total",
		.program = "bench",
		.kind = SAMPLES_COUNTER,
		.multiplier = 1,
		.label = label,
		.n_labels = 1,
	};
	int64_t family = samples_table_family(t, &f);

	if (family < 0)
		abort();
	for (unsigned i = from; i < from + n; i++) {
		char text[16];
		const char *value = text;
		int64_t id;

		snprintf(text, sizeof(text), "%u", i);
		id = samples_table_series(t, (uint32_t)family, &value);
		if (id < 0)
			abort();
		samples_table_add(t, (uint32_t)id, 1 + i % 1000);
	}
}

/* Series [from, from + n) grew, as the agent packs that. */
static struct made make_batch(unsigned from, unsigned n)
{
	struct batch b = { .agent = "node-1",
			   .epoch = 1,
			   .sequence = 1,
			   .base_us = 1700000000000000 };
	void *columns = NULL, *tables = NULL;
	struct made m = { .text = 0 };
	struct samples_table *t;
	struct intern strings;
	bool whole;

	if (samples_table_new(&t) || intern_init(&strings))
		abort();
	add_series(t, from, n);
	if (samples_table_fill(t, &strings, &b.samples, &whole, &columns) ||
	    !whole || intern_tables(&strings, &b, &tables) ||
	    batch_encode(&b, &m.data, &m.len))
		abort();
	for (size_t i = 0; i < b.n_strings; i++)
		m.text += b.strings[i].len + 2; /* their tag and length, too */
	free(columns);
	free(tables);
	intern_fini(&strings);
	samples_table_free(t);
	return m;
}

/* ns per sample of all batches, decoded and counted. */
static double count_all(struct samples *s, struct batch_arena *arena,
			const struct made *made, size_t n, unsigned series)
{
	static uint64_t log_id;
	double start = cpu_ns();
	struct batch b;

	for (size_t i = 0; i < n; i++)
		if (batch_decode(arena, made[i].data, made[i].len, &b, NULL) ||
		    samples_apply(s, &b, ++log_id, 1700000001000000))
			abort();
	return (cpu_ns() - start) / series;
}

static bool say(const char *name, double value, const char *unit, double goal)
{
	printf("bench: %s %.1f %s goal=%.0f %s\n", name, value, unit, goal,
	       value <= goal ? "ok" : "short");
	return value <= goal;
}

int main(int argc, char **argv)
{
	unsigned series = argc > 1 ? (unsigned)atoi(argv[1]) : SERIES;
	const struct samples_options opt = { .max_series = series };
	size_t n = (series + PER_BATCH - 1) / PER_BATCH, len = 0, text = 0;
	struct made *made = calloc(n + 1, sizeof(*made));
	struct batch_arena *arena;
	double first, ns[ROUNDS];
	struct samples *s;

	if (!made || series == 0 || batch_arena_new(&arena) ||
	    samples_new(&s, &opt))
		return 1;
	for (size_t i = 0; i < n; i++) {
		unsigned from = (unsigned)i * PER_BATCH, rest = series - from;

		made[i] = make_batch(from, rest < PER_BATCH ? rest : PER_BATCH);
		len += made[i].len;
		text += made[i].text;
	}
	first = count_all(s, arena, made, n, series);
	for (unsigned i = 0; i < (argc > 1 ? 1 : ROUNDS); i++)
		ns[i] = count_all(s, arena, made, n, series);
	if (argc > 1)
		return 0;
	qsort(ns, ROUNDS, sizeof(*ns), compare);
	printf("series=%u batches=%zu bytes=%zu of them strings=%zu\n", series,
	       n, len, text);
	say("sample_new_ns", first, "ns", 10 * GOAL_NS);
	say("sample_ns", ns[ROUNDS / 2], "ns", GOAL_NS);
	say("sample_bytes", (double)(len - text) / series, "bytes", GOAL_BYTES);
	say("sample_bytes_with_its_label", (double)len / series, "bytes",
	    2 * GOAL_BYTES + 2);
	return 0;
}
