/* SPDX-License-Identifier: Apache-2.0 */
/*
 * push URL AGENT [EPOCH]: sends requests to an aggregator as an agent would, so
 * that a test knows every duration exactly. Lines "DURATION_US STATUS TRACED"
 * on standard input, one a request of a server; TRACED is 0 or 1. With EPOCH
 * each line is an agent's start of its own, from that epoch on. With "edges" in
 * its place it sends both sides of each request, joined by a connection: the
 * client, a service "caller", waits 1 ms longer. Ends with 0 once all of them
 * were acknowledged.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <nng/nng.h>
#include <nng/protocol/reqrep0/req.h>
#include <nng/supplemental/util/platform.h>

#include "common/clock.h"
#include "proto/batch.h"
#include "proto/limits.h"

#define STATUSES 64 /* different ones */
#define FIRST_STRINGS 6
#define END_BYTES 18 /* of a connection: address and port */

struct requests {
	uint64_t duration[BATCH_EVENTS], zero[BATCH_EVENTS];
	int64_t start[BATCH_EVENTS];
	uint32_t series[BATCH_EVENTS], traced[BATCH_EVENTS];
	uint8_t ids[BATCH_EVENTS][24];
	size_t n, n_traced, last_traced;
};

static uint32_t statuses[STATUSES], n_statuses;

static void die(const char *what)
{
	fprintf(stderr, "push: %s\n", what);
	exit(1);
}

/* Row of the series with this status; a new one if need be. */
static uint32_t row_of(unsigned status)
{
	for (uint32_t i = 0; i < n_statuses; i++)
		if (statuses[i] == status)
			return i;
	if (n_statuses == STATUSES)
		die("too many statuses");
	statuses[n_statuses] = status;
	return n_statuses++;
}

static int read_requests(struct requests *r, size_t max, uint64_t *seen)
{
	unsigned long long us;
	unsigned status, traced;

	r->n = r->n_traced = r->last_traced = 0;
	while (r->n < max && scanf("%llu %u %u", &us, &status, &traced) == 3) {
		r->duration[r->n] = us;
		r->series[r->n] = row_of(status);
		if (traced) {
			uint64_t id = ++*seen;

			r->traced[r->n_traced] =
				(uint32_t)(r->n - r->last_traced);
			r->last_traced = r->n;
			memset(r->ids[r->n_traced], 0xab, 24);
			memcpy(r->ids[r->n_traced++] + 16, &id, 8);
		}
		r->n++;
	}
	return r->n > 0;
}

static void fill(struct batch *b, const struct requests *r, uint64_t captured)
{
	static const struct batch_string strings[] = {
		{ "", 0 },    { "pushed", 6 },	{ "pushed-1", 8 },
		{ "GET", 3 }, { "/x/{id}", 7 }, { "http", 4 },
	};
	static uint32_t row[STATUSES], one[STATUSES];
	static uint32_t method[STATUSES], route[STATUSES], scheme[STATUSES];
	static uint32_t version[STATUSES];
	static const uint32_t service = 1, instance = 2, none;

	for (uint32_t i = 0; i < STATUSES; i++) {
		one[i] = 1; /* server */
		method[i] = 3;
		route[i] = 4;
		scheme[i] = 5;
		version[i] = 11;
	}
	b->n_strings = FIRST_STRINGS;
	b->strings = strings;
	b->resources = (struct batch_resources){
		.n = 1, .column = { &service, &none, &instance, &none, &none }
	};
	b->series = (struct batch_series){ .n = n_statuses,
					   .resource = row,
					   .role = one,
					   .method = method,
					   .route = route,
					   .status = statuses,
					   .outcome = row,
					   .version = version,
					   .scheme = scheme,
					   .address = row,
					   .port = row };
	b->events = (struct batch_events){ .n = r->n,
					   .series = r->series,
					   .start_delta_us = r->start,
					   .duration_us = r->duration,
					   .tail_us = r->zero,
					   .request_bytes = r->zero,
					   .response_bytes = r->zero,
					   .n_traced = r->n_traced,
					   .traced = r->traced,
					   .trace_ids = r->ids[0] };
	b->losses.captured = b->losses.packed = captured;
}

/* One end of request i on loopback: both sides name the two the same way. */
static void put_end(uint8_t *to, size_t i, bool server)
{
	static const uint8_t loopback[4] = { 127, 0, 0, 1 };
	uint16_t port = server ? 80 : (uint16_t)(1024 + i);

	memset(to, 0, END_BYTES);
	memcpy(to, loopback, sizeof(loopback));
	to[16] = (uint8_t)(port >> 8);
	to[17] = (uint8_t)port;
}

/* A batch with the client's side of each request of b before the server's. */
static void both_sides(struct batch *out, const struct batch *b)
{
	static struct batch_string strings[FIRST_STRINGS + 2];
	static const uint32_t service[2] = { 1, FIRST_STRINGS };
	static const uint32_t instance[2] = { 2, FIRST_STRINGS + 1 };
	static const uint32_t none[2];
	static uint32_t column[7][2 * STATUSES], series[2 * BATCH_EVENTS];
	static int64_t start[2 * BATCH_EVENTS];
	static uint64_t duration[2 * BATCH_EVENTS], zero[2 * BATCH_EVENTS];
	static uint32_t connection[2 * BATCH_EVENTS];
	static uint8_t end[2][2 * BATCH_EVENTS * END_BYTES];
	uint32_t n = (uint32_t)b->series.n;

	*out = *b;
	memcpy(strings, b->strings, FIRST_STRINGS * sizeof(*strings));
	strings[FIRST_STRINGS] = (struct batch_string){ "caller", 6 };
	strings[FIRST_STRINGS + 1] = (struct batch_string){ "caller-1", 8 };
	out->strings = strings;
	out->n_strings = FIRST_STRINGS + 2;
	out->resources = (struct batch_resources){
		.n = 2, .column = { service, none, instance, none, none }
	};
	for (uint32_t i = 0; i < 2 * n; i++) {
		column[0][i] = i / n; /* resource */
		column[1][i] = 1 + i / n; /* role */
		column[2][i] = b->series.method[i % n];
		column[3][i] = b->series.route[i % n];
		column[4][i] = b->series.status[i % n];
		column[5][i] = b->series.version[i % n];
		column[6][i] = b->series.scheme[i % n];
	}
	out->series = (struct batch_series){ .n = 2 * n,
					     .resource = column[0],
					     .role = column[1],
					     .method = column[2],
					     .route = column[3],
					     .status = column[4],
					     .outcome = (const uint32_t *)zero,
					     .version = column[5],
					     .scheme = column[6],
					     .address = (const uint32_t *)zero,
					     .port = (const uint32_t *)zero };
	for (size_t i = 0; i < 2 * b->events.n; i++) {
		bool server = i % 2;

		series[i] = b->events.series[i / 2] + (server ? 0 : n);
		start[i] = server ? 500 : i == 0 ? 0 : -500;
		duration[i] =
			b->events.duration_us[i / 2] + (server ? 0 : 1000);
		connection[i] = (uint32_t)i + 1;
		put_end(end[0] + i * END_BYTES, i / 2, server);
		put_end(end[1] + i * END_BYTES, i / 2, !server);
	}
	out->events = (struct batch_events){ .n = 2 * b->events.n,
					     .series = series,
					     .start_delta_us = start,
					     .duration_us = duration,
					     .tail_us = zero,
					     .request_bytes = zero,
					     .response_bytes = zero,
					     .n_connections = 2 * b->events.n,
					     .connection = connection,
					     .connection_local = end[0],
					     .connection_remote = end[1] };
	out->losses.captured = out->losses.packed = 2 * b->losses.captured;
}

static enum reply_status ask(nng_socket s, const void *message, size_t len,
			     struct reply *reply)
{
	void *answer;
	size_t answer_len;
	void *copy = malloc(len);

	memcpy(copy, message, len);
	if (nng_send(s, copy, len, 0) ||
	    nng_recv(s, &answer, &answer_len, NNG_FLAG_ALLOC))
		die("no answer");
	if (reply_decode(answer, answer_len, reply))
		die("an answer that makes no sense");
	nng_free(answer, answer_len);
	free(copy);
	return reply->status;
}

static void send_batch(nng_socket s, const struct batch *b)
{
	struct push p = { .protocol = PROTOCOL_VERSION,
			  .sent_us = clock_real_us() };
	struct reply reply;
	void *batch, *message;
	size_t len;

	if (batch_encode(b, &batch, &len))
		die("cannot encode");
	p.batch = batch;
	p.batch_len = len;
	if (push_encode(&p, &message, &len))
		die("cannot encode the envelope");
	while (ask(s, message, len, &reply) == REPLY_BUSY)
		nng_msleep(10);
	if (reply.status != REPLY_ACCEPTED)
		die(reply.reason);
	free(message);
	free(batch);
}

int main(int argc, char **argv)
{
	static struct requests r;
	struct batch b = { .epoch = (uint64_t)clock_real_us() };
	uint64_t captured = 0, traced = 0;
	bool edges = argc == 4 && strcmp(argv[3], "edges") == 0;
	bool starts = argc == 4 && !edges;
	struct batch both;
	nng_socket s;

	if (argc != 3 && argc != 4)
		die("usage: push URL AGENT [EPOCH|edges]");
	if (starts)
		b.epoch = strtoull(argv[3], NULL, 10);
	b.agent = argv[2];
	if (nng_req0_open(&s) || nng_dial(s, argv[1], NULL, 0))
		die("cannot connect");
	nng_socket_set_ms(s, NNG_OPT_RECVTIMEO, 10000);
	while (read_requests(&r, starts ? 1 : BATCH_EVENTS, &traced)) {
		captured = starts ? 1 : captured + r.n;
		fill(&b, &r, captured);
		b.sequence = starts ? 1 : b.sequence + 1;
		b.base_us = clock_real_us() - 1000000;
		if (edges)
			both_sides(&both, &b);
		send_batch(s, edges ? &both : &b);
		b.epoch += starts;
	}
	nng_close(s);
	return 0;
}
