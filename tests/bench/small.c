/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a small batch costs the engine: decoded, offered to the ledger, logged,
 * committed, counted in all views, its reply encoded. A fleet's cost is agents
 * times batches, so this is the figure that must not grow. The gate is one of
 * memory (below): sockets would make the count a matter of luck.
 *
 * With "small": runs count_small() for tests/bench/instructions.py, and says
 * how many batches it was. Without: CPU time per batch, and its ratio to what a
 * batch of 8,192 events takes.
 *
 *	bench: NAME VALUE UNIT goal=G ok|short
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "aggregator/engine/engine_state.h"
#include "common/clock.h"
#include "common/log.h"
#include "proto/batch.h"
#include "proto/limits.h"

#define SMALL_EVENTS 5u
#define AGENTS 5000u
#define GROUP 50u /* batches per transaction */
#define ROUTES 7u
#define COUNTED_AGENTS 500u
#define FULL 32u /* large batches per round */
#define ROUNDS 7
#define GOAL_US 15

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "small: %s\n", what);
	exit(1);
}

/* --- a gate of memory, instead of the aggregator's --- */

static uint64_t replied_bytes;

int gate_open(struct gate **out, const struct gate_options *opt)
{
	(void)opt;
	*out = NULL;
	return 0;
}

int gate_renew_tls(struct gate *g, const char *cert_file, const char *key_file,
		   const char *ca_file)
{
	(void)g;
	(void)cert_file;
	(void)key_file;
	(void)ca_file;
	return 0;
}

void gate_close(struct gate *g)
{
	(void)g;
}

void gate_wait(struct gate *g, const struct gate_enough *enough,
	       uint64_t until_ns)
{
	(void)g;
	(void)enough;
	(void)until_ns;
}

size_t gate_collect(struct gate *g, struct gate_request *out, size_t max,
		    size_t max_bytes)
{
	(void)g;
	(void)out;
	(void)max;
	(void)max_bytes;
	return 0;
}

size_t gate_queued(struct gate *g, size_t *bytes)
{
	(void)g;
	*bytes = 0;
	return 0;
}

void gate_wake(struct gate *g)
{
	(void)g;
}

void gate_stop(struct gate *g)
{
	(void)g;
}

bool gate_may_be(struct gate *g, const struct gate_request *r,
		 const char *agent)
{
	(void)g;
	(void)r;
	(void)agent;
	return true;
}

void gate_reply(struct gate *g, struct gate_request *r,
		const struct reply *reply, bool rubbish)
{
	uint8_t data[REPLY_BYTES_MAX];

	(void)g;
	(void)rubbish;
	if (reply->status != REPLY_ACCEPTED || reply->duplicate) {
		fprintf(stderr, "small: status %d %s\n", (int)reply->status,
			reply->reason);
		exit(1);
	}
	replied_bytes += reply_put(reply, data);
	r->data = NULL;
}

void gate_flush(struct gate *g)
{
	(void)g;
}

void gate_stats(struct gate *g, struct gate_stats *out)
{
	(void)g;
	memset(out, 0, sizeof(*out));
}

/* --- batches --- */

struct message {
	void *data;
	size_t len;
};

/* Batch number sequence of an agent, with n events on a few routes. */
static struct message make_message(unsigned agent, uint64_t sequence,
				   unsigned n)
{
	static uint32_t zero[ROUTES], one[ROUTES], route[ROUTES],
		status[ROUTES], get[ROUTES];
	static uint32_t row[BATCH_EVENTS];
	static int64_t delta[BATCH_EVENTS];
	static uint64_t duration[BATCH_EVENTS], nothing[BATCH_EVENTS];
	static struct batch_string text[3 + ROUTES] = { { "", 0 },
							{ "shop", 4 },
							{ "GET", 3 } };
	static char routes[ROUTES][16];
	struct batch b = {
		.epoch = 1,
		.sequence = sequence,
		.base_us = clock_real_us(),
		.strings = text,
		.n_strings = 3 + ROUTES,
		.losses = { .captured = sequence * n, .packed = sequence * n },
	};
	struct push push = { .protocol = PROTOCOL_VERSION,
			     .sent_us = b.base_us };
	char name[32];
	struct message m;
	void *data;
	size_t len;

	snprintf(name, sizeof(name), "small-%05u", agent);
	b.agent = name;
	for (unsigned i = 0; i < ROUTES; i++) {
		snprintf(routes[i], sizeof(routes[i]), "/%u/{id}", i);
		text[3 + i] =
			(struct batch_string){ routes[i], strlen(routes[i]) };
		one[i] = 1;
		get[i] = 2;
		route[i] = 3 + i;
		status[i] = i % 5 ? 200 : 500;
	}
	for (unsigned i = 0; i < n; i++) {
		row[i] = (agent + i) % ROUTES;
		delta[i] = i > 0;
		duration[i] = (sequence * 31 + i * 977) % 1300000;
	}
	b.resources = (struct batch_resources){
		.n = 1, .column = { one, zero, zero, zero, zero }
	};
	b.series = (struct batch_series){ .n = ROUTES,
					  .resource = zero,
					  .role = one,
					  .method = get,
					  .route = route,
					  .status = status,
					  .outcome = zero,
					  .version = zero,
					  .scheme = zero,
					  .address = zero,
					  .port = zero };
	b.events = (struct batch_events){ .n = n,
					  .series = row,
					  .start_delta_us = delta,
					  .duration_us = duration,
					  .tail_us = nothing,
					  .request_bytes = nothing,
					  .response_bytes = nothing };
	if (batch_encode(&b, &data, &len))
		die("batch_encode");
	push.batch = data;
	push.batch_len = len;
	if (push_encode(&push, &m.data, &m.len))
		die("push_encode");
	free(data);
	return m;
}

struct bench {
	struct engine *engine;
	char dir[64];
	struct message message[GROUP];
	uint64_t sequence; /* of all agents' last batches */
};

/* Makes the next n messages, of agents from the first one on. */
static void make_group(struct bench *x, unsigned first, unsigned n,
		       unsigned events)
{
	for (unsigned i = 0; i < n; i++)
		x->message[i] = make_message(first + i, x->sequence, events);
}

static void free_group(struct bench *x, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		free(x->message[i].data);
}

/* What the engine does with a group that the gate has collected. */
static void take_group(struct bench *x, unsigned n)
{
	const struct engine_due due = { 0 };
	struct engine *e = x->engine;

	batch_arena_reset(e->small);
	e->n_large = 0;
	for (unsigned i = 0; i < n; i++) {
		e->item[i].request = (struct gate_request){
			.data = x->message[i].data,
			.len = x->message[i].len,
			.received_us = clock_real_us(),
		};
		engine_examine(e, &e->item[i]);
	}
	e->n_items = n;
	if (engine_commit(e, &due) < 0)
		die("commit");
	engine_reply(e);
}

static __attribute__((noinline, noclone)) void count_small(struct bench *x,
							   unsigned n)
{
	take_group(x, n);
}

static double cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* CPU time of groups of n batches of agents [0, agents), in ns. */
static double run(struct bench *x, unsigned agents, unsigned n, unsigned events,
		  void (*take)(struct bench *x, unsigned n))
{
	double took = 0;

	x->sequence++;
	for (unsigned first = 0; first < agents; first += n) {
		double start;

		make_group(x, first, n, events);
		start = cpu_ns();
		take(x, n);
		took += cpu_ns() - start;
		free_group(x, n);
	}
	return took;
}

static void bench_open(struct bench *x)
{
	const char *tmp = getenv("TMPDIR");
	struct engine_options opt = { .store_dir = x->dir };

	memset(x, 0, sizeof(*x));
	snprintf(x->dir, sizeof(x->dir), "%s/redtap-small-XXXXXX",
		 tmp ? tmp : "/tmp");
	if (!mkdtemp(x->dir) || engine_new(&x->engine, &opt))
		die(x->dir);
}

static void bench_close(struct bench *x)
{
	static const char *const name[] = { "", "-wal", "-shm" };
	char path[128];

	engine_free(x->engine);
	for (unsigned i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s/redtap.db%s", x->dir, name[i]);
		unlink(path);
	}
	rmdir(x->dir);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void print(void)
{
	double small[ROUNDS], full[ROUNDS];
	struct bench x;

	bench_open(&x);
	run(&x, AGENTS, GROUP, SMALL_EVENTS,
	    take_group); /* makes rows and series */
	for (unsigned r = 0; r < ROUNDS; r++) {
		small[r] = run(&x, AGENTS, GROUP, SMALL_EVENTS, take_group) /
			   AGENTS / 1e3;
		full[r] = run(&x, FULL, FULL / 4, BATCH_EVENTS, take_group) /
			  FULL / 1e3;
	}
	qsort(small, ROUNDS, sizeof(*small), compare);
	qsort(full, ROUNDS, sizeof(*full), compare);
	printf("bench: small_batch_engine %.2f us/batch goal=%d %s\n",
	       small[ROUNDS / 2], GOAL_US,
	       small[ROUNDS / 2] <= GOAL_US ? "ok" : "short");
	printf("bench: full_batch_engine %.1f us/batch\n", full[ROUNDS / 2]);
	printf("bench: small_batch_ratio %.4f x\n",
	       small[ROUNDS / 2] / full[ROUNDS / 2]);
	bench_close(&x);
}

int main(int argc, char **argv)
{
	struct bench x;

	log_init(LOG_LEVEL_ERROR, LOG_FORMAT_LOGFMT);
	if (argc == 1) {
		print();
		return 0;
	}
	if (strcmp(argv[1], "small") != 0)
		return 2;
	bench_open(&x);
	run(&x, COUNTED_AGENTS, GROUP, SMALL_EVENTS, take_group);
	for (unsigned i = 0; i < 3; i++)
		run(&x, COUNTED_AGENTS, GROUP, SMALL_EVENTS, count_small);
	printf("counted: small %u\n", 3 * COUNTED_AGENTS);
	bench_close(&x);
	return 0;
}
