/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/batch.h"
#include "proto/batch_checks.h"
#include "proto/limits.h"
#include "proto/redtap.pb-c.h"

/* protobuf-c wants writable columns, and only reads them when packing. */
static void *unconst(const void *p)
{
	return (void *)(uintptr_t)p;
}

/* Every message of a batch, filled in with borrowed columns. */
struct wire {
	Redtap__Batch batch;
	Redtap__Resources resources;
	Redtap__Series series;
	Redtap__Events events;
	Redtap__Rollups rollups;
	Redtap__Losses losses;
	Redtap__Info info;
	Redtap__Samples samples;
};

#define COLUMN(m, field, column, count)                                        \
	do {                                                                   \
		(m)->n_##field = (count);                                      \
		(m)->field = unconst(column);                                  \
	} while (0)

/* Whether a column says anything: NULL and all "" need not be sent. */
static bool says_something(const uint32_t *column, size_t n)
{
	for (size_t i = 0; column && i < n; i++)
		if (column[i])
			return true;
	return false;
}

static void put_resources(struct wire *w, const struct batch_resources *r)
{
	Redtap__Resources *m = &w->resources;

	if (r->n == 0)
		return;
		/* Older aggregators want the first five, and know no others. */
#define PUT(name, text)                                                        \
	if (RESOURCE_##name <= RESOURCE_executable ||                          \
	    says_something(r->name, r->n))                                     \
		COLUMN(m, name, r->name, r->n);
	RESOURCE_COLUMNS(PUT)
#undef PUT
	w->batch.resources = m;
}

static void put_series(struct wire *w, const struct batch_series *s)
{
	Redtap__Series *m = &w->series;

	if (s->n == 0)
		return;
	COLUMN(m, resource, s->resource, s->n);
	COLUMN(m, role, s->role, s->n);
	COLUMN(m, method, s->method, s->n);
	COLUMN(m, route, s->route, s->n);
	COLUMN(m, status, s->status, s->n);
	COLUMN(m, outcome, s->outcome, s->n);
	COLUMN(m, version, s->version, s->n);
	COLUMN(m, scheme, s->scheme, s->n);
	COLUMN(m, address, s->address, s->n);
	COLUMN(m, port, s->port, s->n);
	if (says_something(s->untimed, s->n))
		COLUMN(m, untimed, s->untimed, s->n);
	if (says_something(s->rpc, s->n))
		COLUMN(m, rpc, s->rpc, s->n);
	if (says_something(s->rpc_status, s->n))
		COLUMN(m, rpc_status, s->rpc_status, s->n);
	w->batch.series = m;
}

static void put_events(struct wire *w, const struct batch_events *e)
{
	Redtap__Events *m = &w->events;

	if (e->n == 0)
		return;
	COLUMN(m, series, e->series, e->n);
	COLUMN(m, start_delta_us, e->start_delta_us, e->n);
	COLUMN(m, duration_us, e->duration_us, e->n);
	COLUMN(m, tail_us, e->tail_us, e->n);
	COLUMN(m, request_bytes, e->request_bytes, e->n);
	COLUMN(m, response_bytes, e->response_bytes, e->n);
	COLUMN(m, traced, e->traced, e->n_traced);
	m->trace_ids.len = e->n_traced * 24;
	m->trace_ids.data = unconst(e->trace_ids);
	if (e->connection) {
		COLUMN(m, connection, e->connection, e->n);
		m->connection_local.len = e->n_connections * 18;
		m->connection_local.data = unconst(e->connection_local);
		m->connection_remote.len = e->n_connections * 18;
		m->connection_remote.data = unconst(e->connection_remote);
		if (e->stream)
			COLUMN(m, stream, e->stream, e->n);
	}
	w->batch.events = m;
}

static void put_rollups(struct wire *w, const struct batch_rollups *r)
{
	Redtap__Rollups *m = &w->rollups;

	if (r->n == 0)
		return;
	COLUMN(m, series, r->series, r->n);
	COLUMN(m, window_delta_s, r->window_delta_s, r->n);
	COLUMN(m, count, r->count, r->n);
	COLUMN(m, duration_sum_us, r->duration_sum_us, r->n);
	COLUMN(m, request_bytes_sum, r->request_bytes_sum, r->n);
	COLUMN(m, response_bytes_sum, r->response_bytes_sum, r->n);
	COLUMN(m, duration_buckets, r->duration.buckets, r->n);
	COLUMN(m, duration_index, r->duration.index, r->duration.n_entries);
	COLUMN(m, duration_count, r->duration.count, r->duration.n_entries);
	COLUMN(m, request_buckets, r->request.buckets, r->n);
	COLUMN(m, request_index, r->request.index, r->request.n_entries);
	COLUMN(m, request_count, r->request.count, r->request.n_entries);
	COLUMN(m, response_buckets, r->response.buckets, r->n);
	COLUMN(m, response_index, r->response.index, r->response.n_entries);
	COLUMN(m, response_count, r->response.count, r->response.n_entries);
	m->detail = r->detail;
	w->batch.rollups = m;
}

static void put_losses(struct wire *w, const struct batch_losses *l)
{
	static const struct batch_losses none;
	Redtap__Losses *m = &w->losses;

	if (memcmp(l, &none, sizeof(none)) == 0)
		return;
	m->captured = l->captured;
	m->packed = l->packed;
	m->rolled_up = l->rolled_up;
	COLUMN(m, dropped, l->dropped, LOSS_STAGES);
	COLUMN(m, counters, l->counters, AGENT_COUNTERS);
	COLUMN(m, gauges, l->gauges, AGENT_GAUGES);
	COLUMN(m, gaps, l->gaps, GAP_REASONS);
	w->batch.losses = m;
}

static void put_info(struct wire *w, const struct batch_info *i)
{
	Redtap__Info *m = &w->info;

	if (!i->version && !i->kernel && !i->capture && i->n_probes == 0)
		return;
	/* NULL and "" are both left out of the message. */
	m->version = unconst(i->version);
	m->kernel = unconst(i->kernel);
	m->capture = unconst(i->capture);
	COLUMN(m, probes, i->probes, i->n_probes);
	COLUMN(m, probe_attached, i->probe_attached, i->n_probes);
	w->batch.info = m;
}

static int put_strings(struct wire *w, const struct batch *b)
{
	char **strings;

	if (b->n_strings == 0)
		return 0;
	strings = malloc(b->n_strings * sizeof(*strings));
	if (!strings)
		return -ENOMEM;
	for (size_t i = 0; i < b->n_strings; i++)
		strings[i] = unconst(b->strings[i].data);
	w->batch.n_strings = b->n_strings;
	w->batch.strings = strings;
	return 0;
}

int batch_encode(const struct batch *b, void **data, size_t *len)
{
	struct wire w = {
		.batch = REDTAP__BATCH__INIT,
		.resources = REDTAP__RESOURCES__INIT,
		.series = REDTAP__SERIES__INIT,
		.events = REDTAP__EVENTS__INIT,
		.rollups = REDTAP__ROLLUPS__INIT,
		.losses = REDTAP__LOSSES__INIT,
		.info = REDTAP__INFO__INIT,
		.samples = REDTAP__SAMPLES__INIT,
	};
	size_t size;
	uint8_t *p = NULL;
	void *samples = NULL;
	int err;

	err = put_strings(&w, b);
	if (err)
		return err;
	w.batch.agent = unconst(b->agent);
	w.batch.epoch = b->epoch;
	w.batch.sequence = b->sequence;
	w.batch.first_sequence = b->first_sequence;
	w.batch.base_us = b->base_us;
	put_resources(&w, &b->resources);
	put_series(&w, &b->series);
	put_events(&w, &b->events);
	put_rollups(&w, &b->rollups);
	put_losses(&w, &b->losses);
	put_info(&w, &b->info);
	if (samples_any(&b->samples)) {
		err = batch_put_samples(&w.samples, &b->samples, &samples);
		if (err)
			goto out;
		w.batch.samples = &w.samples;
	}

	size = redtap__batch__get_packed_size(&w.batch);
	if (size > LIMIT_MESSAGE_BYTES) {
		err = -EMSGSIZE;
		goto out;
	}
	p = malloc(size > 0 ? size : 1);
	if (!p) {
		err = -ENOMEM;
		goto out;
	}
	*len = redtap__batch__pack(&w.batch, p);
	*data = p;
out:
	free(samples);
	free(w.batch.strings);
	return err;
}
