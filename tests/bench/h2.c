/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a request in HTTP/2 costs the engine, and what a connection: calls of
 * gRPC as a busy client makes them, with a trace context each, so that every
 * header block inserts into the table. The calls lie in memory; the pieces are
 * made by the kernel's walker beforehand. CPU time of one thread; the median of
 * the rounds.
 *
 *	bench: NAME VALUE UNIT goal=G ok|short
 *
 * With "h2": runs count_h2() once, for tests/bench/instructions.py.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <nghttp2/nghttp2.h>

#include "bpf/tap.h"
#include "probe-agent/http/h2_frame.h"
#include "tests/unit/probe-agent/http/h2_kernel.h"

#define ROUNDS 7
#define REQUESTS 20000u
#define AT_ONCE 10u /* requests under way */
#define CONNECTIONS 1000u
#define GOAL_NS 2000.0
#define GOAL_CONNECTION_BYTES 16384.0

static double cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void die(const char *what)
{
	fprintf(stderr, "bench: %s\n", what);
	exit(1);
}

/* --- the pieces of a conversation --- */

struct tape {
	struct h2_piece *pieces;
	size_t n, room;
	struct h2_kernel kernel;
	nghttp2_hd_deflater *encoder[2];
	uint8_t call[1024];
	size_t len; /* of the call */
};

static void keep(void *arg, const struct h2_piece *p)
{
	struct tape *t = arg;
	uint8_t *copy = malloc(p->len + 1);

	if (t->n == t->room) {
		t->room = t->room ? 2 * t->room : 1024;
		t->pieces =
			reallocarray(t->pieces, t->room, sizeof(*t->pieces));
	}
	if (!copy || !t->pieces)
		die("no memory");
	memcpy(copy, p->data, p->len);
	t->pieces[t->n] = *p;
	t->pieces[t->n++].data = copy;
}

static void put_head(struct tape *t, size_t len, uint8_t type, uint8_t flags,
		     uint32_t stream)
{
	const uint8_t head[] = { (uint8_t)(len >> 16),
				 (uint8_t)(len >> 8),
				 (uint8_t)len,
				 type,
				 flags,
				 (uint8_t)(stream >> 24),
				 (uint8_t)(stream >> 16),
				 (uint8_t)(stream >> 8),
				 (uint8_t)stream };

	memcpy(t->call + t->len, head, sizeof(head));
	t->len += sizeof(head);
}

#define NV(name, value)                                                        \
	{                                                                      \
		(uint8_t *)(uintptr_t)(name), (uint8_t *)(uintptr_t)(value),   \
			strlen(name), strlen(value), 0                         \
	}

static void put_headers(struct tape *t, int dir, uint8_t flags, uint32_t stream,
			const nghttp2_nv *nv, size_t n)
{
	uint8_t block[512];
	ssize_t len = nghttp2_hd_deflate_hd(t->encoder[dir], block,
					    sizeof(block), nv, n);

	if (len < 0)
		die("a block is too long");
	put_head(t, (size_t)len, H2_HEADERS, flags | H2_FLAG_END_HEADERS,
		 stream);
	memcpy(t->call + t->len, block, (size_t)len);
	t->len += (size_t)len;
}

static void put_data(struct tape *t, uint8_t flags, uint32_t stream, size_t len)
{
	put_head(t, len, H2_DATA, flags, stream);
	memset(t->call + t->len, 0, len);
	t->len += len;
}

static void end_call(struct tape *t, int dir, uint64_t time_ns)
{
	h2_kernel_call(&t->kernel, dir, t->call, t->len, time_ns, time_ns + 1);
	t->len = 0;
}

static void put_request(struct tape *t, uint32_t stream, uint64_t time_ns)
{
	char path[64], trace[64];

	snprintf(path, sizeof(path), "/shop.v1.Carts/Method%u",
		 stream / 2 % 10);
	snprintf(trace, sizeof(trace), "00-%032x-%016x-01",
		 stream * 2654435761u, stream * 7919);
	const nghttp2_nv request[] = { NV(":method", "POST"),
				       NV(":scheme", "http"),
				       NV(":path", path),
				       NV(":authority", "carts:8080"),
				       NV("content-type", "application/grpc"),
				       NV("te", "trailers"),
				       NV("user-agent", "grpc-go/1.60"),
				       NV("traceparent", trace) };

	put_headers(t, TAP_RX, 0, stream, request, 8);
	put_data(t, H2_FLAG_END_STREAM, stream, 100);
	end_call(t, TAP_RX, time_ns);
}

static void put_answer(struct tape *t, uint32_t stream, uint64_t time_ns)
{
	const nghttp2_nv answer[] = { NV(":status", "200"),
				      NV("content-type", "application/grpc") };
	const nghttp2_nv end[] = { NV("grpc-status", "0"),
				   NV("grpc-message", "") };

	put_headers(t, TAP_TX, 0, stream, answer, 2);
	put_data(t, 0, stream, 200);
	put_headers(t, TAP_TX, H2_FLAG_END_STREAM, stream, end, 2);
	end_call(t, TAP_TX, time_ns);
}

static void make_tape(struct tape *t, uint32_t requests)
{
	static const uint32_t pos[2];

	memset(t, 0, sizeof(*t));
	t->kernel = (struct h2_kernel){ .piece_max = TAP_PIECE_MAX,
					.sink = keep,
					.arg = t };
	for (int dir = 0; dir < 2; dir++)
		if (nghttp2_hd_deflate_new(&t->encoder[dir], 4096))
			die("no encoder");
	h2_kernel_connect(&t->kernel, H2_START_PREFACE, TAP_RX, pos);
	memcpy(t->call, H2_PREFACE, H2_PREFACE_BYTES);
	t->len = H2_PREFACE_BYTES;
	end_call(t, TAP_RX, 1);
	for (uint32_t i = 0; i < requests + AT_ONCE; i++) {
		if (i < requests)
			put_request(t, 1 + 2 * i, 10 + i);
		if (i >= AT_ONCE)
			put_answer(t, 1 + 2 * (i - AT_ONCE), 10 + i);
	}
}

static void free_tape(struct tape *t)
{
	for (size_t i = 0; i < t->n; i++)
		free((void *)(uintptr_t)t->pieces[i].data);
	free(t->pieces);
	for (int dir = 0; dir < 2; dir++)
		nghttp2_hd_deflate_del(t->encoder[dir]);
}

/* --- the engine --- */

static uint64_t exchanges;

static void on_exchange(void *owner, const struct h2_exchange *x)
{
	(void)owner;
	exchanges += x->rpc_status == 1 && x->method.len == 4 &&
		     x->target.len > 20 && x->host.len == 10 &&
		     x->traceparent.len == 55;
}

static __attribute__((noinline, noclone)) void count_h2(struct h2 *h,
							const struct tape *t)
{
	for (size_t i = 0; i < t->n; i++)
		if (h2_data(h, &t->pieces[i]))
			die("refused");
}

static struct h2 *connect_to(struct h2_env *env)
{
	struct h2 *h;

	if (h2_new(&h, env, H2_START_PREFACE, TAP_RX, NULL))
		die("no connection");
	return h;
}

static double run(struct h2_env *env, const struct tape *t)
{
	struct h2 *h = connect_to(env);
	double start = cpu_ns();

	exchanges = 0;
	count_h2(h, t);
	start = cpu_ns() - start;
	h2_free(h);
	if (exchanges != REQUESTS)
		die("not every request came out as it was");
	return start / REQUESTS;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* What a connection holds that has seen as much as its tables hold. */
static double connection_bytes(struct h2_env *env)
{
	static struct h2 *h[CONNECTIONS];
	struct h2_stats before, after;
	struct tape t;

	make_tape(&t, 100);
	h2_env_stats(env, &before);
	for (size_t i = 0; i < CONNECTIONS; i++) {
		h[i] = connect_to(env);
		count_h2(h[i], &t);
	}
	h2_env_stats(env, &after);
	for (size_t i = 0; i < CONNECTIONS; i++)
		h2_free(h[i]);
	free_tape(&t);
	return (double)(after.window_bytes + after.bytes - before.window_bytes -
			before.bytes) /
		       CONNECTIONS +
	       (double)h2_size();
}

static void print(const char *name, double value, const char *unit, double goal)
{
	printf("bench: %s %.6g %s goal=%g %s\n", name, value, unit, goal,
	       value <= goal ? "ok" : "short");
}

int main(int argc, char **argv)
{
	const struct h2_options opt = { .exchange = on_exchange };
	double ns[ROUNDS];
	struct h2_env *env;
	struct tape t;

	if (h2_env_new(&env, &opt))
		die("no memory");
	make_tape(&t, REQUESTS);
	if (argc > 1 && !strcmp(argv[1], "h2")) {
		run(env, &t);
		printf("counted: h2 %u\n", REQUESTS);
	} else {
		for (int i = 0; i < ROUNDS; i++)
			ns[i] = run(env, &t);
		qsort(ns, ROUNDS, sizeof(*ns), compare);
		print("h2_engine", ns[ROUNDS / 2], "ns/request", GOAL_NS);
		print("h2_connection", connection_bytes(env), "bytes",
		      GOAL_CONNECTION_BYTES);
	}
	free_tape(&t);
	h2_env_free(env);
	return 0;
}
