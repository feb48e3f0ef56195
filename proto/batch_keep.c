/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/batch_keep.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define TRACE_BYTES 24u
#define END_BYTES 18u
#define GONE UINT32_MAX

static bool is_service(const struct batch *in, uint32_t resource,
		       const char *service)
{
	const struct batch_string *name =
		&in->strings[in->resources.service[resource]];
	const struct batch_string *ns =
		&in->strings[in->resources.namespace_[resource]];

	if (!strcmp(name->data, service))
		return true;
	return ns->len > 0 && !strncmp(service, ns->data, ns->len) &&
	       service[ns->len] == '/' &&
	       !strcmp(service + ns->len + 1, name->data);
}

uint64_t batch_keep_count(const struct batch *in, const char *service)
{
	const struct batch_series *s = &in->series;
	uint64_t n = 0;

	for (size_t i = 0; i < in->events.n; i++)
		n += is_service(in, s->resource[in->events.series[i]], service);
	for (size_t i = 0; i < in->rollups.n; i++)
		if (is_service(in, s->resource[in->rollups.series[i]], service))
			n += in->rollups.count[i];
	return n;
}

/* The memory of the new batch: one allocation, used from front to back. */
struct pool {
	char *at;
};

static void *take_bytes(struct pool *p, size_t bytes)
{
	void *out = p->at;

	p->at += (bytes + 7) / 8 * 8;
	return out;
}

/* By old row: the new row, or GONE if it is not kept. */
struct maps {
	uint32_t *string, *resource, *series;
};

struct keep {
	const struct batch *in;
	struct batch out;
	struct maps map;
	struct pool pool;
};

static uint32_t map_string(struct keep *k, uint32_t old)
{
	struct batch_string *strings =
		(struct batch_string *)(uintptr_t)k->out.strings;

	if (k->map.string[old] == GONE) {
		k->map.string[old] = (uint32_t)k->out.n_strings;
		strings[k->out.n_strings++] = k->in->strings[old];
	}
	return k->map.string[old];
}

static uint32_t *new_column(struct keep *k, size_t n)
{
	return take_bytes(&k->pool, n * sizeof(uint32_t));
}

static uint32_t *string_column(struct keep *k, const uint32_t *old,
			       const uint32_t *map, size_t n)
{
	uint32_t *out = new_column(k, n);

	for (size_t i = 0; i < n; i++)
		if (map[i] != GONE)
			out[map[i]] = map_string(k, old[i]);
	return out;
}

static uint32_t *plain_column(struct keep *k, const uint32_t *old,
			      const uint32_t *map, size_t n)
{
	uint32_t *out = new_column(k, n);

	for (size_t i = 0; i < n; i++)
		if (map[i] != GONE)
			out[map[i]] = old[i];
	return out;
}

static void keep_tables(struct keep *k, const char *service)
{
	const struct batch *in = k->in;
	const struct batch_series *s = &in->series;
	const struct batch_resources *r = &in->resources;
	struct batch_resources *ro = &k->out.resources;
	struct batch_series *so = &k->out.series;
	const uint32_t *m = k->map.resource;
	uint32_t *column;

	for (size_t i = 0; i < r->n; i++)
		k->map.resource[i] = is_service(in, (uint32_t)i, service)
					     ? (uint32_t)ro->n++
					     : GONE;
	for (size_t i = 0; i < s->n; i++)
		k->map.series[i] =
			m[s->resource[i]] != GONE ? (uint32_t)so->n++ : GONE;
	for (size_t i = 0; i < in->n_strings; i++)
		k->map.string[i] = GONE;
	map_string(k, 0); /* "" */
	for (unsigned c = 0; c < RESOURCE_N; c++)
		if (r->column[c])
			ro->column[c] = string_column(k, r->column[c], m, r->n);
	m = k->map.series;
	column = new_column(k, s->n);
	for (size_t i = 0; i < s->n; i++)
		if (m[i] != GONE)
			column[m[i]] = k->map.resource[s->resource[i]];
	so->resource = column;
	so->role = plain_column(k, s->role, m, s->n);
	so->method = string_column(k, s->method, m, s->n);
	so->route = string_column(k, s->route, m, s->n);
	so->status = plain_column(k, s->status, m, s->n);
	so->outcome = plain_column(k, s->outcome, m, s->n);
	so->version = plain_column(k, s->version, m, s->n);
	so->scheme = string_column(k, s->scheme, m, s->n);
	so->address = string_column(k, s->address, m, s->n);
	so->port = plain_column(k, s->port, m, s->n);
	if (s->untimed)
		so->untimed = plain_column(k, s->untimed, m, s->n);
	if (s->rpc)
		so->rpc = plain_column(k, s->rpc, m, s->n);
	if (s->rpc_status)
		so->rpc_status = plain_column(k, s->rpc_status, m, s->n);
}

/*
 * The streams of the kept events. They are differences within a connection, so
 * they are computed again.
 */
static uint32_t *keep_streams(struct keep *k)
{
	const struct batch_events *e = &k->in->events;
	size_t rows = e->n_connections + 1, n = 0;
	uint32_t *out = new_column(k, e->n);
	uint32_t *was = new_column(k, rows), *is = new_column(k, rows);

	memset(was, 0, rows * sizeof(*was));
	memset(is, 0, rows * sizeof(*is));
	for (size_t i = 0; i < e->n; i++) {
		uint32_t row = e->connection[i];
		uint32_t stream = batch_stream_get(&was[row], e->stream[i]);

		if (k->map.series[e->series[i]] != GONE)
			out[n++] = batch_stream_put(&is[row], stream);
	}
	return out;
}

/* Keeps the connections of kept events, renumbered in the order of use. */
static void keep_connections(struct keep *k, uint32_t *connection)
{
	const struct batch_events *e = &k->in->events;
	struct batch_events *out = &k->out.events;
	uint32_t *row = new_column(k, e->n_connections + 1);
	uint8_t *local = take_bytes(&k->pool, e->n_connections * END_BYTES);
	uint8_t *remote = take_bytes(&k->pool, e->n_connections * END_BYTES);
	size_t n = 0;

	memset(row, 0, (e->n_connections + 1) * sizeof(*row));
	for (size_t i = 0; i < out->n; i++) {
		uint32_t old = connection[i];

		if (old == 0)
			continue;
		if (row[old] == 0) {
			memcpy(local + n * END_BYTES,
			       e->connection_local + (old - 1) * END_BYTES,
			       END_BYTES);
			memcpy(remote + n * END_BYTES,
			       e->connection_remote + (old - 1) * END_BYTES,
			       END_BYTES);
			row[old] = (uint32_t)++n;
		}
		connection[i] = row[old];
	}
	if (n == 0)
		return;
	if (e->stream)
		out->stream = keep_streams(k);
	out->connection = connection;
	out->n_connections = n;
	out->connection_local = local;
	out->connection_remote = remote;
}

/* Keeps events. Starts and traces are deltas, so they are computed again. */
static void keep_events(struct keep *k)
{
	const struct batch_events *e = &k->in->events;
	struct batch_events *out = &k->out.events;
	uint32_t *series = new_column(k, e->n);
	uint32_t *traced = new_column(k, e->n_traced);
	uint32_t *connection = e->connection ? new_column(k, e->n) : NULL;
	int64_t *start = take_bytes(&k->pool, e->n * 8);
	uint64_t *value[4];
	const uint64_t *old[4] = { e->duration_us, e->tail_us, e->request_bytes,
				   e->response_bytes };
	uint8_t *ids = take_bytes(&k->pool, e->n_traced * TRACE_BYTES);
	int64_t now = 0, last = 0;
	size_t n = 0, next = 0, at = 0, last_traced = 0;

	for (unsigned c = 0; c < 4; c++)
		value[c] = take_bytes(&k->pool, e->n * 8);
	for (size_t i = 0; i < e->n; i++) {
		bool has_trace = false;

		now += e->start_delta_us[i];
		if (next < e->n_traced && at + e->traced[next] == i) {
			at = i;
			has_trace = true;
			next++;
		}
		if (k->map.series[e->series[i]] == GONE)
			continue;
		series[n] = k->map.series[e->series[i]];
		start[n] = now - last;
		last = now;
		for (unsigned c = 0; c < 4; c++)
			value[c][n] = old[c][i];
		if (connection)
			connection[n] = e->connection[i];
		if (has_trace) {
			memcpy(ids + out->n_traced * TRACE_BYTES,
			       e->trace_ids + (next - 1) * TRACE_BYTES,
			       TRACE_BYTES);
			traced[out->n_traced++] = (uint32_t)(n - last_traced);
			last_traced = n;
		}
		n++;
	}
	out->n = n;
	out->series = series;
	out->start_delta_us = start;
	out->duration_us = value[0];
	out->tail_us = value[1];
	out->request_bytes = value[2];
	out->response_bytes = value[3];
	out->traced = traced;
	out->trace_ids = ids;
	if (connection)
		keep_connections(k, connection);
}

static void keep_hist(struct keep *k, const struct batch_rollup_hist *in,
		      struct batch_rollup_hist *out)
{
	const struct batch_rollups *r = &k->in->rollups;
	uint32_t *buckets = new_column(k, r->n);
	int32_t *index = take_bytes(&k->pool, in->n_entries * sizeof(*index));
	uint64_t *count = take_bytes(&k->pool, in->n_entries * sizeof(*count));
	size_t row = 0, at = 0;

	for (size_t i = 0; i < r->n; at += in->buckets[i++]) {
		size_t n = in->buckets[i];

		if (k->map.series[r->series[i]] == GONE)
			continue;
		buckets[row++] = in->buckets[i];
		memcpy(index + out->n_entries, in->index + at,
		       n * sizeof(*index));
		memcpy(count + out->n_entries, in->count + at,
		       n * sizeof(*count));
		out->n_entries += n;
	}
	out->buckets = buckets;
	out->index = index;
	out->count = count;
}

static void keep_rollups(struct keep *k)
{
	const struct batch_rollups *r = &k->in->rollups;
	struct batch_rollups *out = &k->out.rollups;
	const uint64_t *old[4] = { r->count, r->duration_sum_us,
				   r->request_bytes_sum,
				   r->response_bytes_sum };
	uint32_t *series = new_column(k, r->n);
	int64_t *window = take_bytes(&k->pool, r->n * 8);
	uint64_t *value[4];

	for (unsigned c = 0; c < 4; c++)
		value[c] = take_bytes(&k->pool, r->n * 8);
	for (size_t i = 0; i < r->n; i++) {
		if (k->map.series[r->series[i]] == GONE)
			continue;
		series[out->n] = k->map.series[r->series[i]];
		window[out->n] = r->window_delta_s[i];
		for (unsigned c = 0; c < 4; c++)
			value[c][out->n] = old[c][i];
		out->n++;
	}
	out->series = series;
	out->window_delta_s = window;
	out->count = value[0];
	out->duration_sum_us = value[1];
	out->request_bytes_sum = value[2];
	out->response_bytes_sum = value[3];
	keep_hist(k, &r->duration, &out->duration);
	keep_hist(k, &r->request, &out->request);
	keep_hist(k, &r->response, &out->response);
	out->detail = r->detail;
}

/* Enough for every column of the whole batch, each rounded up. */
static size_t pool_bytes(const struct batch *in)
{
	const struct batch_rollups *r = &in->rollups;

	return in->n_strings * (sizeof(struct batch_string) + 4) +
	       in->resources.n * (RESOURCE_N + 1) * 4 + in->series.n * 14 * 4 +
	       in->events.n * (3 * 4 + 5 * 8) +
	       in->events.n_traced * (4 + TRACE_BYTES) +
	       (in->events.n_connections + 1) * (3 * 4 + 2 * END_BYTES) +
	       r->n * (4 * 4 + 5 * 8) +
	       (r->duration.n_entries + r->request.n_entries +
		r->response.n_entries) *
		       12 +
	       96 * 8;
}

int batch_keep_service(const struct batch *in, const char *service,
		       const struct batch_losses *losses, void **data,
		       size_t *len, uint64_t *requests)
{
	struct keep k = { .in = in };
	char *memory;
	int err;

	*requests = batch_keep_count(in, service);
	if (*requests == 0)
		return 0;
	memory = malloc(pool_bytes(in));
	if (!memory)
		return -ENOMEM;
	k.pool.at = memory;
	k.out = (struct batch){
		.agent = in->agent,
		.epoch = in->epoch,
		.sequence = in->sequence,
		.first_sequence = in->first_sequence,
		.base_us = in->base_us,
		.losses = *losses,
		.info = in->info,
	};
	k.out.strings =
		take_bytes(&k.pool, in->n_strings * sizeof(*in->strings));
	k.map.string = new_column(&k, in->n_strings);
	k.map.resource = new_column(&k, in->resources.n);
	k.map.series = new_column(&k, in->series.n);
	keep_tables(&k, service);
	keep_events(&k);
	keep_rollups(&k);
	err = batch_encode(&k.out, data, len);
	free(memory);
	return err;
}
