/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an exchange costs the agent, from a recorded tap to an encoded batch in
 * the outbox: the engine pairs, the pipeline says who and which route, the
 * packer encodes. The recording lies in memory, as the ring does. CPU time of
 * one thread; the median of the rounds.
 *
 *	bench: NAME VALUE UNIT goal=G ok|short
 *
 * With "parse", "encode" or "agent": runs one function count_… once, for
 * tests/bench/instructions.py, and says how many events it was.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "probe-agent/batch/packer.h"
#include "probe-agent/config/config.h"
#include "probe-agent/outbox/outbox.h"
#include "probe-agent/pipeline.h"
#include "probe-agent/tap/recording.h"
#include "tests/unit/probe-agent/tap_script.h"

#define ROUNDS 7
#define PASSES 8 /* over the recording, in a round */
#define CONNS 64u
#define EXCHANGES 256u /* of a connection */
#define GOAL_PER_S 3000000.0
#define GOAL_ENGINE_NS 200.0
#define GOAL_RSS_MIB 16

static double cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void die(const char *what, int err)
{
	fprintf(stderr, "bench: %s: %s\n", what, strerror(-err));
	exit(1);
}

/* --- the recording --- */

static void keep(void *arg, const void *rec, size_t len)
{
	int err = recording_write(arg, rec, len);

	if (err)
		die("recording", err);
}

static void exchange(struct script_conn *k, unsigned c, unsigned i)
{
	static const char answer[] = "HTTP/1.1 200 OK\r\nServer: nginx\r\n"
				     "Content-Type: text/html\r\n"
				     "Content-Length: 612\r\n\r\n";
	char request[256];
	int n = snprintf(request, sizeof(request),
			 "GET /shop%u/items/%u HTTP/1.1\r\n"
			 "Host: shop.example\r\nUser-Agent: bench/1\r\n"
			 "Accept: */*\r\n\r\n",
			 (c + i) % 16, i * 7919 % 10007);

	script_read(k, request, (size_t)n);
	script_wait(k, 100000 + i * 997 % 3000000);
	script_write(k, answer, sizeof(answer) - 1);
	script_write_quietly(k, 612);
}

/* Keep-alive connections to a server, in turn. Returns the exchanges. */
static uint64_t record(const char *path)
{
	static struct script_conn conn[CONNS];
	struct conn_options none = { 0 };
	struct script s = { 0 };
	struct recording_writer *w;
	int err = recording_create(&w, path);

	if (err)
		die(path, err);
	script_init(&s, &none);
	s.tee = keep;
	s.tee_arg = w;
	for (unsigned c = 0; c < CONNS; c++)
		script_open(&s, &conn[c],
			    0xffff888100000000 + UINT64_C(2240) * c);
	for (unsigned i = 0; i < EXCHANGES; i++)
		for (unsigned c = 0; c < CONNS; c++)
			exchange(&conn[c], c, i);
	for (unsigned c = 0; c < CONNS; c++)
		script_close(&conn[c], 0);
	script_fini(&s);
	err = recording_close(w);
	if (err)
		die(path, err);
	return (uint64_t)CONNS * EXCHANGES;
}

/* --- the agent --- */

struct agent {
	struct agent_config *cfg;
	struct outbox *outbox;
	struct pipeline *pipeline;
	const struct tape *tape;
	uint64_t bytes; /* encoded */
};

static void empty_outbox(struct agent *a)
{
	struct outbox_item item;

	while (outbox_peek(a->outbox, &item, 0) == 0) {
		a->bytes += item.len;
		outbox_ack(a->outbox, item.epoch, item.sequence);
	}
}

typedef void (*feed_fn)(void *arg, const void *rec, size_t len);

static void feed_pipeline(void *arg, const void *rec, size_t len)
{
	pipeline_feed(((struct agent *)arg)->pipeline, rec, len);
}

static void feed_engine(void *arg, const void *rec, size_t len)
{
	conn_feed(arg, rec, len);
}

/* The whole recording in memory, where the kernel's ring would be. */
struct tape {
	uint64_t *data; /* length in words, length in bytes, record; … */
	size_t n;
};

static void load(struct tape *t, const char *path)
{
	struct recording_reader *r;
	const void *rec;
	size_t len, cap = 0;
	int err = recording_open(&r, path);

	memset(t, 0, sizeof(*t));
	while (!err && (err = recording_read(r, &rec, &len)) == 1) {
		size_t words = (len + 7) / 8;

		if (t->n + 2 + words > cap) {
			cap = (t->n + 2 + words) * 2;
			t->data = reallocarray(t->data, cap, sizeof(uint64_t));
			if (!t->data)
				die(path, -ENOMEM);
		}
		t->data[t->n++] = words;
		t->data[t->n++] = len;
		memcpy(&t->data[t->n], rec, len);
		t->n += words;
		err = 0;
	}
	if (err < 0)
		die(path, err);
	recording_reader_free(r);
}

static void feed_all(const struct tape *t, feed_fn feed, void *arg)
{
	for (size_t i = 0; i < t->n; i += 2 + t->data[i])
		feed(arg, &t->data[i + 2], t->data[i + 1]);
}

#define COUNTED static __attribute__((noinline, noclone))

COUNTED void count_agent(struct agent *a)
{
	static const struct pipeline_tap tap;
	int err;

	feed_all(a->tape, feed_pipeline, a);
	err = pipeline_flush(a->pipeline, &tap);
	if (err)
		die("flush", err);
	empty_outbox(a);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void print(const char *name, double value, const char *unit, double goal,
		  bool ok)
{
	printf("bench: %s %.6g %s goal=%g %s\n", name, value, unit, goal,
	       ok ? "ok" : "short");
}

static void count_exchange(void *arg, const struct exchange *x)
{
	(void)x;
	++*(uint64_t *)arg;
}

/* The state machines alone, from the same recording. */
COUNTED void count_parse(const struct tape *tape, struct conn_table *t)
{
	feed_all(tape, feed_engine, t);
}

static double engine_ns(const struct tape *tape, uint64_t exchanges,
			unsigned passes)
{
	uint64_t seen = 0;
	struct conn_options co = { .exchange = count_exchange, .arg = &seen };
	struct conn_table *t;
	double start;
	int err = conn_new(&t, &co);

	if (err)
		die("engine", err);
	start = cpu_ns();
	for (unsigned i = 0; i < passes; i++)
		count_parse(tape, t);
	start = cpu_ns() - start;
	conn_free(t);
	if (seen != exchanges * passes)
		die("engine: not every exchange came out", -EBADMSG);
	return start / (double)seen;
}

static void agent_open(struct agent *a, const struct tape *tape)
{
	struct cli_settings flags = { 0 };
	struct outbox_options oo = { 0 };
	struct pipeline_options po = { 0 };
	int err;

	memset(a, 0, sizeof(*a));
	a->tape = tape;
	err = agent_config_load(&a->cfg, &flags);
	if (!err)
		err = outbox_open(&a->outbox, &oo);
	po.cfg = a->cfg;
	po.outbox = a->outbox;
	if (!err)
		err = pipeline_new(&a->pipeline, &po);
	if (err)
		die("agent", err);
}

static void agent_close(struct agent *a)
{
	pipeline_free(a->pipeline);
	outbox_close(a->outbox);
	agent_config_free(a->cfg);
}

static void measure(const struct tape *tape, uint64_t exchanges)
{
	double ns[ROUNDS], engine[ROUNDS];
	struct agent a;
	struct rusage u;

	agent_open(&a, tape);
	count_agent(&a);
	for (unsigned r = 0; r < ROUNDS; r++) {
		uint64_t before = pipeline_events(a.pipeline);
		double start = cpu_ns();

		for (unsigned i = 0; i < PASSES; i++)
			count_agent(&a);
		ns[r] = (cpu_ns() - start) / (double)(PASSES * exchanges);
		if (pipeline_events(a.pipeline) - before != PASSES * exchanges)
			die("not every exchange was packed", -EBADMSG);
	}
	getrusage(RUSAGE_SELF, &u);
	for (unsigned r = 0; r < ROUNDS; r++)
		engine[r] = engine_ns(tape, exchanges, PASSES);
	qsort(ns, ROUNDS, sizeof(*ns), compare);
	qsort(engine, ROUNDS, sizeof(*engine), compare);
	print("agent_engine", engine[ROUNDS / 2], "ns/request", GOAL_ENGINE_NS,
	      engine[ROUNDS / 2] <= GOAL_ENGINE_NS);
	print("agent_rss", (double)u.ru_maxrss / 1024, "MiB", GOAL_RSS_MIB,
	      u.ru_maxrss <= GOAL_RSS_MIB * 1024);
	printf("# %.1f bytes/event\n",
	       (double)a.bytes / (double)pipeline_events(a.pipeline));
	print("agent_events", 1e9 / ns[ROUNDS / 2], "events/s", GOAL_PER_S,
	      1e9 / ns[ROUNDS / 2] >= GOAL_PER_S);
	agent_close(&a);
}

/* --- instructions --- */

static char service[8][16], route[40][32];

/* As a busy node packs: 8 services, 40 routes each, mostly 200. */
COUNTED uint64_t count_encode(struct packer *p)
{
	struct batch_losses none = { 0 };
	uint64_t sequence, n = 0;
	size_t len;
	void *data;

	for (uint32_t x = 1, full = 0; !full; n++, x = x * 69069 + 12345) {
		struct packer_event e = {
			.resource = 1 + (x >> 29),
			.service = service[x >> 29],
			.namespace_ = "shop",
			.instance = "node-1",
			.container = "",
			.executable = "nginx",
			.method = "GET",
			.route = route[(x >> 16) % 40],
			.scheme = "http",
			.address = "",
			.role = 1,
			.status = x >> 24 & 15 ? 200 : 404,
			.version = 11,
			.start_us = 1700000000000000 + (int64_t)n * 40,
			.duration_us = 500 + (x >> 12) % 65536,
			.ttfb_us = 400,
			.response_bytes = 100 + (x >> 10) % 20000,
		};

		full = (uint32_t)packer_add(p, &e);
	}
	if (packer_take(p, &none, &data, &len, &sequence))
		die("encode", -EBADMSG);
	free(data);
	return n;
}

static uint64_t count(const char *what, const struct tape *tape,
		      uint64_t exchanges)
{
	struct packer *packer;
	struct agent a;
	uint64_t n = 0;

	if (strcmp(what, "parse") == 0) {
		engine_ns(tape, exchanges, 2);
		return exchanges * 2;
	}
	if (strcmp(what, "encode") == 0) {
		for (unsigned i = 0; i < 8; i++)
			snprintf(service[i], sizeof(*service), "service-%u", i);
		for (unsigned i = 0; i < 40; i++)
			snprintf(route[i], sizeof(*route),
				 "/api/v1/thing%u/{id}", i);
		if (packer_new(&packer, "node-1", 1))
			die("packer", -ENOMEM);
		n = count_encode(packer) + count_encode(packer);
		packer_free(packer);
		return n;
	}
	agent_open(&a, tape);
	count_agent(&a);
	count_agent(&a);
	agent_close(&a);
	return exchanges * 2;
}

int main(int argc, char **argv)
{
	char dir[] = "/tmp/redtap-bench-XXXXXX", path[sizeof(dir) + 8];
	uint64_t exchanges;
	struct tape tape;

	if (!mkdtemp(dir))
		die(dir, -errno);
	snprintf(path, sizeof(path), "%s/tap", dir);
	exchanges = record(path);
	load(&tape, path);
	unlink(path);
	rmdir(dir);
	if (argc > 1)
		printf("counted: %s %llu\n", argv[1],
		       (unsigned long long)count(argv[1], &tape, exchanges));
	else
		measure(&tape, exchanges);
	free(tape.data);
	return 0;
}
