/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an event costs to decode and to count, with the default views: batches
 * of 8,192 events over so many series. CPU time of one thread; the median of
 * the rounds. With a number, one round over that many series, for callgrind;
 * with anything after it, all rounds.
 *
 *	bench: NAME VALUE UNIT goal=G ok|short
 *
 * With "fold" or "edges", which has connections and joins them: runs
 * count_fold() or count_edges() over 1,000 series, for
 * tests/bench/instructions.py, and says how many events it was.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "aggregator/fold/fold.h"
#include "proto/batch.h"
#include "proto/limits.h"

#define ROUNDS 7
#define SERVICES 20u
#define GOAL_NS 60
#define GOAL_NS_MANY 150 /* a series for every other event */

static double cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static uint64_t rnd(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s * 0x2545f4914f6cdd1d >> 20;
}

struct made {
	void *data;
	size_t len;
};

/*
 * Gives each two events of b a connection of 64 and the roles of its ends: row
 * 2 k is a server's, row 2 k + 1 a client's.
 */
static void connect_events(struct batch *b)
{
	static uint8_t local[128][18], remote[128][18];
	static uint32_t role[BATCH_EVENTS], row[BATCH_EVENTS];
	static uint32_t series[BATCH_EVENTS];
	static uint64_t duration[BATCH_EVENTS];
	static int64_t delta[BATCH_EVENTS];

	for (unsigned k = 0; k < 128; k++) {
		uint8_t *client = k % 2 ? local[k] : remote[k];
		uint8_t *server = k % 2 ? remote[k] : local[k];

		client[0] = server[0] = 10;
		client[3] = 1;
		client[17] = (uint8_t)(k / 2 + 1);
		server[3] = 2;
		server[17] = 80;
	}
	for (size_t i = 0; i < b->series.n; i++)
		role[i] = 1 + i % 2;
	for (size_t i = 0; i < b->events.n; i++) {
		series[i] = b->events.series[i] / 2 * 2 + i % 2;
		row[i] = (uint32_t)(i % 128) + 1;
		/* The client waits longer, and began no later. */
		delta[i] = i % 2 ? -5 : 25;
		duration[i] = i % 2 ? 1000000 : b->events.duration_us[i];
	}
	b->series.role = role;
	b->events.series = series;
	b->events.duration_us = duration;
	b->events.start_delta_us = delta;
	b->events.connection = row;
	b->events.n_connections = 128;
	b->events.connection_local = local[0];
	b->events.connection_remote = remote[0];
}

/* Servers answering mostly 200, in some milliseconds; series [from, from+n). */
static struct made make_batch(uint64_t *seed, unsigned from, unsigned n,
			      bool connected)
{
	static char text[40000][32];
	static struct batch_string string[40000];
	static uint32_t u32[16][BATCH_EVENTS];
	static uint64_t u64[4][BATCH_EVENTS];
	static int64_t delta[BATCH_EVENTS];
	struct made m;
	struct batch b = { .agent = "node-1",
			   .epoch = 1,
			   .sequence = 1,
			   .base_us = 1700000000000000 };
	size_t n_strings = 4 + SERVICES;

	strcpy(text[0], "");
	strcpy(text[1], "GET");
	strcpy(text[2], "http");
	strcpy(text[3], "i");
	for (unsigned i = 0; i < SERVICES; i++) {
		snprintf(text[4 + i], sizeof(text[0]), "service-%u", i);
		u32[0][i] = 4 + i;
		u32[1][i] = 3;
	}
	for (unsigned i = 0; i < n; i++) {
		snprintf(text[n_strings], sizeof(text[0]),
			 "/api/v1/thing%u/{id}", (from + i) / SERVICES);
		u32[2][i] = (from + i) % SERVICES;
		u32[3][i] = 1;
		u32[4][i] = 1;
		u32[5][i] = (uint32_t)n_strings++;
		u32[6][i] = i % 50 ? 200 : 503;
		u32[7][i] = 11;
		u32[8][i] = 2;
	}
	for (size_t i = 0; i < n_strings; i++)
		string[i] = (struct batch_string){ text[i],
						   (uint32_t)strlen(text[i]) };
	for (size_t i = 0; i < BATCH_EVENTS; i++) {
		u32[10][i] = (uint32_t)(rnd(seed) % n);
		delta[i] = (int64_t)(rnd(seed) % 60);
		u64[0][i] = 500 + (rnd(seed) % 4096) * (rnd(seed) % 16);
		u64[1][i] = 40;
		u64[3][i] = 100 + rnd(seed) % 20000;
	}
	b.n_strings = n_strings;
	b.strings = string;
	b.resources =
		(struct batch_resources){ .n = SERVICES,
					  .column = { u32[0], u32[9], u32[1],
						      u32[9], u32[9] } };
	b.series = (struct batch_series){
		.n = n,
		.resource = u32[2],
		.role = u32[3],
		.method = u32[4],
		.route = u32[5],
		.status = u32[6],
		.outcome = u32[9],
		.version = u32[7],
		.scheme = u32[8],
		.address = u32[9],
		.port = u32[9],
	};
	b.events = (struct batch_events){ .n = BATCH_EVENTS,
					  .series = u32[10],
					  .start_delta_us = delta,
					  .duration_us = u64[0],
					  .tail_us = u64[1],
					  .request_bytes = u64[2],
					  .response_bytes = u64[3] };
	if (connected)
		connect_events(&b);
	if (batch_encode(&b, &m.data, &m.len) < 0)
		abort();
	return m;
}

struct bench {
	struct fold *fold;
	struct batch_arena *arena;
	uint64_t log_id;
};

static void fold_one(struct bench *x, const struct made *m)
{
	struct fold_input fb = { .log_id = ++x->log_id,
				 .received_us = 1700000001000000 };
	struct batch b;

	if (batch_decode(x->arena, m->data, m->len, &b, NULL) < 0)
		abort();
	fb.batch = &b;
	if (fold_apply(x->fold, &fb) < 0)
		abort();
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static long rss_kib(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return u.ru_maxrss;
}

/* total series; each batch has per_batch of them. */
static void run(unsigned total, unsigned per_batch, unsigned rounds)
{
	struct fold_options o = { .views = views_default(),
				  .max_window_series = 100000,
				  .future_us = 60000000,
				  .past_us = 86400000000 };
	struct bench x = { 0 };
	unsigned n = (total + per_batch - 1) / per_batch;
	unsigned repeat = n < 40 ? 40 / n : 1;
	struct made *m = calloc(n, sizeof(*m));
	const int goal = per_batch < 5000 ? GOAL_NS : GOAL_NS_MANY;
	double ns[ROUNDS];
	uint64_t seed = 42, bytes = 0;
	long before = rss_kib();

	if (!m || fold_new(&x.fold, &o) < 0 || batch_arena_new(&x.arena) < 0)
		abort();
	for (unsigned i = 0; i < n; i++) {
		m[i] = make_batch(&seed, i * per_batch, per_batch, false);
		bytes += m[i].len;
		fold_one(&x, &m[i]);
	}
	for (unsigned r = 0; r < rounds; r++) {
		double start = cpu_ns();

		for (unsigned k = 0; k < repeat; k++)
			for (unsigned i = 0; i < n; i++)
				fold_one(&x, &m[i]);
		ns[r] = (cpu_ns() - start) / repeat / n / BATCH_EVENTS;
	}
	qsort(ns, rounds, sizeof(*ns), compare);
	printf("bench: fold_%u_series_%u_per_batch %.1f ns/event goal=%d %s\n",
	       total, per_batch, ns[rounds / 2], goal,
	       ns[rounds / 2] <= goal ? "ok" : "short");
	printf("# %.1f bytes/event, %ld KiB\n",
	       (double)bytes / n / BATCH_EVENTS, rss_kib() - before);
	for (unsigned i = 0; i < n; i++)
		free(m[i].data);
	free(m);
	batch_arena_free(x.arena);
	fold_free(x.fold);
}

static __attribute__((noinline, noclone)) void
count_fold(struct bench *x, const struct made *m, unsigned times)
{
	while (times--)
		fold_one(x, m);
}

static __attribute__((noinline, noclone)) void
count_edges(struct bench *x, const struct made *m, unsigned times)
{
	while (times--)
		fold_one(x, m);
}

static void count(unsigned times, bool edges)
{
	struct fold_options o = { .views = views_default(),
				  .max_window_series = 100000,
				  .future_us = 60000000,
				  .past_us = 86400000000 };
	struct bench x = { 0 };
	uint64_t seed = 42;
	struct made m = make_batch(&seed, 0, 1000, edges);

	if (fold_new(&x.fold, &o) < 0 || batch_arena_new(&x.arena) < 0)
		abort();
	fold_one(&x, &m);
	(edges ? count_edges : count_fold)(&x, &m, times);
	printf("counted: %s %u\n", edges ? "edges" : "fold",
	       times * BATCH_EVENTS);
	free(m.data);
	batch_arena_free(x.arena);
	fold_free(x.fold);
}

int main(int argc, char **argv)
{
	if (argc > 1 &&
	    (strcmp(argv[1], "fold") == 0 || strcmp(argv[1], "edges") == 0)) {
		count(8, strcmp(argv[1], "edges") == 0);
		return 0;
	}
	if (argc > 1) {
		unsigned n = (unsigned)strtoul(argv[1], NULL, 10);

		run(n, n < 5000 ? n : 5000, argc > 2 ? ROUNDS : 1);
		return 0;
	}
	run(10, 10, ROUNDS);
	run(1000, 1000, ROUNDS);
	run(20000, 500, ROUNDS);
	run(100000, 5000, ROUNDS);
	return 0;
}
