/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_AGGREGATOR_TRAFFIC_H
#define TESTS_UNIT_AGGREGATOR_TRAFFIC_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/views/views.h"
#include "proto/batch.h"
#include "proto/buckets.h"

/*
 * Random batches, and the plain list of requests that they stand for: the
 * truth that tests compare with. Nothing here is shared with what is tested
 * but the encoder.
 */

struct truth_event {
	char service[32], namespace_[16], instance[16], method[16], route[32],
		scheme[8], address[16];
	uint32_t role, status, outcome, version, port;
	uint32_t rpc, rpc_status, stream;
	int64_t end_us;
	uint64_t duration_us, request_bytes, response_bytes;
};

struct truth {
	struct truth_event *event;
	size_t n, cap;
};

struct traffic {
	uint64_t seed;
	unsigned services, routes; /* how many different ones */
};

static inline uint64_t traffic_random(struct traffic *t)
{
	t->seed ^= t->seed << 13;
	t->seed ^= t->seed >> 7;
	t->seed ^= t->seed << 17;
	return t->seed * 0x2545f4914f6cdd1d >> 11;
}

static inline void truth_add(struct truth *t, const struct truth_event *e)
{
	if (t->n == t->cap) {
		t->cap = t->cap ? 2 * t->cap : 1024;
		t->event = realloc(t->event, t->cap * sizeof(*t->event));
		assert(t->event);
	}
	t->event[t->n++] = *e;
}

/* Takes the place of interning: strings are simply repeated. */
struct strings {
	struct batch_string *string;
	size_t n;
};

static inline uint32_t strings_add(struct strings *s, const char *text)
{
	if (!*text)
		return 0;
	s->string = realloc(s->string, (s->n + 1) * sizeof(*s->string));
	assert(s->string);
	s->string[s->n] =
		(struct batch_string){ .data = strdup(text),
				       .len = (uint32_t)strlen(text) };
	return (uint32_t)s->n++;
}

static inline void traffic_event(struct traffic *t, int64_t now_us,
				 struct truth_event *e)
{
	static const char *const methods[] = { "GET", "POST", "DELETE", "" };
	static const uint32_t statuses[] = { 200, 201, 302, 404, 500, 503, 0 };

	memset(e, 0, sizeof(*e));
	snprintf(e->service, sizeof(e->service), "svc-%u",
		 (unsigned)(traffic_random(t) % t->services));
	if (traffic_random(t) % 3 == 0)
		strcpy(e->namespace_, "shop");
	if (traffic_random(t) % 2)
		snprintf(e->instance, sizeof(e->instance), "i-%u",
			 (unsigned)(traffic_random(t) % 2));
	strcpy(e->method, methods[traffic_random(t) % 4]);
	e->role = 1 + traffic_random(t) % 2;
	if (e->role == 1)
		snprintf(e->route, sizeof(e->route), "/r/%u",
			 (unsigned)(traffic_random(t) % t->routes));
	strcpy(e->scheme, traffic_random(t) % 4 ? "http" : "https");
	if (e->role == 2) {
		strcpy(e->address, "db.internal");
		e->port = 8080 + traffic_random(t) % 2;
	}
	e->status = statuses[traffic_random(t) % 7];
	if (e->status == 0)
		e->outcome = 1 + traffic_random(t) % 4;
	e->version = traffic_random(t) % 5 ? 11 : 10;
	if (traffic_random(t) % 3 == 0) {
		e->version = 20;
		e->stream = 1 + 2 * (traffic_random(t) % 5000);
	}
	if (e->stream && traffic_random(t) % 2) {
		e->rpc = 1 + traffic_random(t) % 2;
		e->rpc_status = traffic_random(t) % 18;
		snprintf(e->route, sizeof(e->route), "/pkg.Svc/M%u",
			 (unsigned)(traffic_random(t) % t->routes));
	}
	e->duration_us =
		traffic_random(t) % 8 == 0
			? traffic_random(t) % 3
			: traffic_random(t) >> (30 + traffic_random(t) % 20);
	e->duration_us %= 40000000;
	e->request_bytes = traffic_random(t) % 3 ? 0 : traffic_random(t) % 9000;
	e->response_bytes = traffic_random(t) >> (40 + traffic_random(t) % 8);
	e->end_us = now_us - (int64_t)(traffic_random(t) % 25000000);
}

static inline void traffic_ends(struct traffic *t, uint32_t role,
				uint8_t *local, uint8_t *remote)
{
	uint8_t *client = role == 2 ? local : remote;
	uint8_t *server = role == 2 ? remote : local;

	client[0] = traffic_random(t) % 4 ? 10 : 127;
	client[3] = 1;
	client[17] = (uint8_t)(1 + traffic_random(t) % 5);
	server[0] = client[0];
	server[3] = 2;
	server[17] = 80;
}

/* A row of the series table for every event: rows repeat, as they may. */
static inline void traffic_batch(struct traffic *t, const char *agent,
				 uint64_t epoch, uint64_t sequence,
				 int64_t now_us, size_t n, struct truth *truth,
				 uint64_t *captured, void **data, size_t *len)
{
	struct strings s = { 0 };
	uint32_t *u32 = calloc(20 * n + 20, sizeof(*u32));
	uint8_t *ends = calloc(2 * n + 2, 18);
	uint64_t *u64 = calloc(5 * n + 5, sizeof(*u64));
	int64_t *delta = calloc(n + 1, sizeof(*delta));
	uint32_t *col[20];
	struct batch b = { .agent = agent,
			   .epoch = epoch,
			   .sequence = sequence,
			   .base_us = now_us };
	int64_t before = now_us;
	int err;

	assert(u32 && u64 && delta && ends);
	for (size_t i = 0; i < 20; i++)
		col[i] = u32 + i * n;
	s.string = calloc(1, sizeof(*s.string));
	s.string[0] = (struct batch_string){ .data = strdup(""), .len = 0 };
	s.n = 1;
	for (size_t i = 0; i < n; i++) {
		struct truth_event e;
		int64_t start;

		traffic_event(t, now_us, &e);
		col[0][i] = strings_add(&s, e.service);
		col[1][i] = strings_add(&s, e.namespace_);
		col[2][i] = strings_add(&s, e.instance);
		col[5][i] = (uint32_t)i; /* resource */
		col[6][i] = e.role;
		col[7][i] = strings_add(&s, e.method);
		col[8][i] = strings_add(&s, e.route);
		col[9][i] = e.status;
		col[10][i] = e.outcome;
		col[11][i] = e.version;
		col[12][i] = strings_add(&s, e.scheme);
		col[13][i] = strings_add(&s, e.address);
		col[14][i] = e.port;
		col[15][i] = (uint32_t)i; /* series */
		col[17][i] = e.rpc;
		col[18][i] = e.rpc_status;
		start = e.end_us - (int64_t)e.duration_us;
		delta[i] = start - before;
		before = start;
		u64[i] = e.duration_us;
		u64[n + i] = e.duration_us / 3; /* tail */
		u64[2 * n + i] = e.request_bytes;
		u64[3 * n + i] = e.response_bytes;
		if (!*e.instance)
			snprintf(e.instance, sizeof(e.instance), "%s", agent);
		if (!*e.method)
			strcpy(e.method, "_OTHER");
		/* A few connections, so that some sides find each other. */
		col[16][i] = traffic_random(t) % 3 ? (uint32_t)i + 1 : 0;
		/* Each is the first of its connection in the batch. */
		col[19][i] = 2 * e.stream;
		traffic_ends(t, e.role, ends + 18 * i, ends + 18 * (n + i));
		truth_add(truth, &e);
	}
	*captured += n;
	b.n_strings = s.n;
	b.strings = s.string;
	b.resources = (struct batch_resources){ .n = n,
						.service = col[0],
						.namespace_ = col[1],
						.instance = col[2],
						.container = col[3],
						.executable = col[4] };
	b.series = (struct batch_series){ .n = n,
					  .resource = col[5],
					  .role = col[6],
					  .method = col[7],
					  .route = col[8],
					  .status = col[9],
					  .outcome = col[10],
					  .version = col[11],
					  .scheme = col[12],
					  .address = col[13],
					  .port = col[14],
					  .rpc = col[17],
					  .rpc_status = col[18] };
	b.events = (struct batch_events){ .n = n,
					  .series = col[15],
					  .start_delta_us = delta,
					  .duration_us = u64,
					  .tail_us = u64 + n,
					  .request_bytes = u64 + 2 * n,
					  .response_bytes = u64 + 3 * n,
					  .connection = col[16],
					  .stream = col[19],
					  .n_connections = n,
					  .connection_local = ends,
					  .connection_remote = ends + 18 * n };
	b.losses.captured = *captured;
	b.losses.packed = *captured;
	b.info = (struct batch_info){ .version = "1.0",
				      .kernel = "6.1",
				      .capture = "syscall" };
	err = batch_encode(&b, data, len);
	assert(!err);
	for (size_t i = 0; i < s.n; i++)
		free((void *)(uintptr_t)s.string[i].data);
	free(s.string);
	free(ends);
	free(u32);
	free(u64);
	free(delta);
}

/* --- what is expected --- */

static const char *const truth_codes[17] = {
	"OK",
	"CANCELLED",
	"UNKNOWN",
	"INVALID_ARGUMENT",
	"DEADLINE_EXCEEDED",
	"NOT_FOUND",
	"ALREADY_EXISTS",
	"PERMISSION_DENIED",
	"RESOURCE_EXHAUSTED",
	"FAILED_PRECONDITION",
	"ABORTED",
	"OUT_OF_RANGE",
	"UNIMPLEMENTED",
	"INTERNAL",
	"UNAVAILABLE",
	"DATA_LOSS",
	"UNAUTHENTICATED",
};

/* Whether a view of plain requests, or of calls, counts the event. */
static inline bool truth_in_view(const struct view *v,
				 const struct truth_event *e)
{
	return (v->roles >> e->role & 1) &&
	       (v->calls == VIEW_CALLS_TOO ||
		(v->calls == VIEW_CALLS_ONLY) == (e->rpc != 0));
}

static inline void truth_error(const struct truth_event *e, char out[24])
{
	static const char *const outcome[] = { "", "aborted",
					       "connection_reset", "timeout",
					       "malformed_response" };

	static const char *const server_codes[17] = {
		[2] = "UNKNOWN",	[4] = "DEADLINE_EXCEEDED",
		[12] = "UNIMPLEMENTED", [13] = "INTERNAL",
		[14] = "UNAVAILABLE",	[15] = "DATA_LOSS",
	};
	uint32_t code = e->rpc_status ? e->rpc_status - 1 : 0;

	out[0] = 0;
	if (code && e->role == 2)
		strcpy(out, truth_codes[code]);
	else if (server_codes[code])
		strcpy(out, server_codes[code]);
	else if (e->outcome)
		strcpy(out, outcome[e->outcome]);
	else if (e->status >= (e->role == 2 ? 400u : 500u))
		snprintf(out, 24, "%u", e->status);
}

#endif /* TESTS_UNIT_AGGREGATOR_TRAFFIC_H */
