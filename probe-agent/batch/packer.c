/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/batch/packer.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "probe-agent/batch/intern.h"
#include "probe-agent/batch/packer_conns.h"
#include "probe-agent/batch/samples_table.h"
#include "proto/limits.h"

#define TRACE_BYTES 24u
/* Batches until struct batch_info is repeated: an aggregator may be new. */
#define INFO_EVERY 64u

/* Columns of the batch under construction, BATCH_EVENTS long. */
struct columns {
	uint32_t series[BATCH_EVENTS];
	int64_t start_delta_us[BATCH_EVENTS];
	uint64_t duration_us[BATCH_EVENTS], tail_us[BATCH_EVENTS];
	uint64_t request_bytes[BATCH_EVENTS], response_bytes[BATCH_EVENTS];
	uint32_t traced[BATCH_EVENTS];
	uint32_t connection[BATCH_EVENTS], stream[BATCH_EVENTS];
};

/* Identifies the series of an event with a resource number. */
struct known_key {
	uint64_t resource;
	const char *method, *route, *scheme;
	uint32_t address, status, role, outcome, version, port;
	uint32_t untimed;
	uint16_t rpc, rpc_status;
};
static_assert(sizeof(struct known_key) == 64, "compared byte by byte");

/* A cache entry: the series of events with this key, in one batch. */
struct known {
	struct known_key key;
	uint64_t batch; /* the batch's sequence number */
	uint32_t series;
};

#define KNOWN 1024u /* cache entries; a newer one replaces the older */

/* Its row, if a resource's number was in the batch: one look-up for all texts.
 */
struct known_resource {
	uint64_t resource, batch;
	uint32_t row;
};

#define KNOWN_RESOURCES 64u

struct packer {
	char *agent;
	uint64_t epoch, sequence, packed;
	struct intern tables;
	struct known *known;
	struct known_resource resources[KNOWN_RESOURCES];
	struct packer_conns *ends;
	struct samples_table *samples;
	struct columns *columns;
	size_t n, n_traced;
	size_t last_traced; /* index of the last event with a trace */
	uint8_t *trace_ids; /* allocated with the first trace */
	uint32_t streams; /* the OR of all: is there any? */
	int64_t base_us, last_start_us;
	struct batch_info info; /* owned copies */
	bool has_info, tell_info;
};

int packer_new(struct packer **out, const char *agent, uint64_t epoch)
{
	struct packer *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->epoch = epoch;
	p->agent = strdup(agent);
	p->columns = malloc(sizeof(*p->columns));
	p->known = calloc(KNOWN, sizeof(*p->known));
	if (!p->agent || !p->columns || !p->known ||
	    intern_init(&p->tables) != 0 || packer_conns_new(&p->ends) != 0 ||
	    samples_table_new(&p->samples) != 0) {
		packer_free(p);
		return -ENOMEM;
	}
	*out = p;
	return 0;
}

void packer_free(struct packer *p)
{
	if (!p)
		return;
	intern_fini(&p->tables);
	packer_conns_free(p->ends);
	samples_table_free(p->samples);
	batch_info_free(&p->info);
	free(p->trace_ids);
	free(p->known);
	free(p->columns);
	free(p->agent);
	free(p);
}

void packer_resume(struct packer *p, uint64_t sequence, uint64_t packed)
{
	p->sequence = sequence;
	p->packed = packed;
}

int packer_set_info(struct packer *p, const struct batch_info *info)
{
	struct batch_info mine;

	if (batch_info_copy(&mine, info) != 0)
		return -ENOMEM;
	batch_info_free(&p->info);
	p->info = mine;
	p->has_info = p->tell_info = true;
	return 0;
}

static int64_t look_up_texts(struct intern *t, const struct packer_event *e)
{
	uint32_t row[RESOURCE_N];
	int64_t all = 0;

	for (unsigned c = 0; c < RESOURCE_N; c++) {
		int64_t text = intern_string(t, e->column[c]);

		row[c] = (uint32_t)text;
		all |= text;
	}
	return all < 0 ? -ENOMEM : intern_resource(t, row);
}

static int64_t look_up_resource(struct packer *p, const struct packer_event *e)
{
	struct known_resource *k = &p->resources[e->resource % KNOWN_RESOURCES];
	uint64_t batch = p->sequence + 1;
	int64_t row;

	if (e->resource && k->resource == e->resource && k->batch == batch)
		return k->row;
	row = look_up_texts(&p->tables, e);
	if (row >= 0)
		*k = (struct known_resource){ e->resource, batch,
					      (uint32_t)row };
	return row;
}

static int64_t look_up_series(struct packer *p, const struct packer_event *e,
			      int64_t address)
{
	struct intern *t = &p->tables;
	int64_t row = look_up_resource(p, e);
	int64_t method = intern_string(t, e->method);
	int64_t route = intern_string(t, e->route);
	int64_t scheme = intern_string(t, e->scheme);

	if ((row | method | route | scheme) < 0)
		return -ENOMEM;
	return intern_series(t,
			     (uint32_t[INTERN_SERIES_WIDTH]){
				     (uint32_t)row,
				     e->role,
				     (uint32_t)method,
				     (uint32_t)route,
				     e->status <= LIMIT_STATUS ? e->status : 0,
				     e->outcome,
				     e->version,
				     (uint32_t)scheme,
				     (uint32_t)address,
				     e->port,
				     e->untimed,
				     e->rpc,
				     e->rpc_status,
			     });
}

/*
 * Nearly every event is of a series that the batch already has: then one lookup
 * in the cache replaces ten in the tables.
 */
static int64_t event_series(struct packer *p, const struct packer_event *e)
{
	int64_t address = e->address && *e->address
				  ? intern_string(&p->tables, e->address)
				  : 0;
	struct known_key key = {
		.resource = e->resource,
		.method = e->method,
		.route = e->route,
		.scheme = e->scheme,
		.address = (uint32_t)address,
		.status = e->status,
		.role = e->role,
		.outcome = e->outcome,
		.version = e->version,
		.port = e->port,
		.untimed = e->untimed,
		.rpc = (uint16_t)e->rpc,
		.rpc_status = (uint16_t)e->rpc_status,
	};
	uint64_t batch = p->sequence + 1;
	struct known *k;
	uint64_t h;
	int64_t series;

	if (address < 0 || e->resource == 0)
		return address < 0 ? address : look_up_series(p, e, address);
	h = intern_mix(key.resource ^ (uintptr_t)key.route,
		       (uintptr_t)key.method ^ (uint64_t)key.status << 32 ^
			       key.address ^ (uint64_t)key.port << 16);
	k = &p->known[h % KNOWN];
	if (k->batch == batch && memcmp(&k->key, &key, sizeof(key)) == 0)
		return k->series;
	series = look_up_series(p, e, address);
	if (series >= 0)
		*k = (struct known){ key, batch, (uint32_t)series };
	return series;
}

static uint64_t clamp(uint64_t v, uint64_t limit)
{
	return v < limit ? v : limit - 1;
}

static int add_trace(struct packer *p, const uint8_t *trace)
{
	if (!p->trace_ids) {
		p->trace_ids = malloc((size_t)BATCH_EVENTS * TRACE_BYTES);
		if (!p->trace_ids)
			return -ENOMEM;
	}
	memcpy(p->trace_ids + p->n_traced * TRACE_BYTES, trace, TRACE_BYTES);
	p->columns->traced[p->n_traced] = (uint32_t)(p->n - p->last_traced);
	p->last_traced = p->n;
	p->n_traced++;
	return 0;
}

static bool full(const struct packer *p)
{
	return p->n >= BATCH_EVENTS || intern_full(&p->tables);
}

int packer_add(struct packer *p, const struct packer_event *e)
{
	struct columns *c = p->columns;
	uint64_t ttfb_us, start_us;
	int64_t series;
	size_t i = p->n;

	assert(!full(p));
	assert(e->role == ROLE_SERVER || e->role == ROLE_CLIENT);
	assert(e->outcome <= LIMIT_OUTCOME && e->port <= UINT16_MAX &&
	       e->version <= LIMIT_HTTP_VERSION && e->rpc <= LIMIT_RPC &&
	       e->rpc_status <= LIMIT_RPC_STATUS);
	series = event_series(p, e);
	if (series < 0 || (e->trace && add_trace(p, e->trace) != 0))
		return -ENOMEM;
	start_us = e->start_us > 0 ? clamp((uint64_t)e->start_us, LIMIT_TIME_US)
				   : 0;
	if (i == 0)
		p->base_us = p->last_start_us = (int64_t)start_us;
	c->series[i] = (uint32_t)series;
	c->start_delta_us[i] = (int64_t)start_us - p->last_start_us;
	p->last_start_us = (int64_t)start_us;
	c->duration_us[i] =
		e->untimed ? 0 : clamp(e->duration_us, LIMIT_DURATION_US);
	ttfb_us = e->ttfb_us;
	if (ttfb_us == 0 || ttfb_us > c->duration_us[i])
		ttfb_us = c->duration_us[i];
	c->tail_us[i] = c->duration_us[i] - ttfb_us;
	c->request_bytes[i] = clamp(e->request_bytes, LIMIT_BODY_BYTES);
	c->response_bytes[i] = clamp(e->response_bytes, LIMIT_BODY_BYTES);
	c->connection[i] = packer_conns_row(p->ends, &e->local, &e->remote);
	c->stream[i] =
		packer_conns_stream(p->ends, c->connection[i], e->stream);
	p->streams |= e->stream;
	p->n++;
	return full(p);
}

struct samples_table *packer_samples(struct packer *p)
{
	return p->samples;
}

size_t packer_pending(const struct packer *p)
{
	return p->n;
}

static void start_over(struct packer *p)
{
	intern_reset(&p->tables);
	packer_conns_reset(p->ends);
	p->n = p->n_traced = p->last_traced = 0;
	p->streams = 0;
}

/* Everything but samples. */
static void put_events(const struct packer *p, struct batch *b)
{
	const struct columns *c = p->columns;

	b->events = (struct batch_events){
		.n = p->n,
		.series = c->series,
		.start_delta_us = c->start_delta_us,
		.duration_us = c->duration_us,
		.tail_us = c->tail_us,
		.request_bytes = c->request_bytes,
		.response_bytes = c->response_bytes,
		.n_traced = p->n_traced,
		.traced = c->traced,
		.trace_ids = p->trace_ids,
	};
	if (packer_conns_table(p->ends, &b->events))
		b->events.connection = c->connection;
	if (b->events.connection && p->streams)
		b->events.stream = c->stream;
	b->losses.packed = p->packed + p->n;
}

/*
 * The samples that fit. Their strings join the batch's, so this comes before
 * the tables. *with: there are some.
 */
static int put_samples(struct packer *p, struct batch *b, bool *with,
		       void **memory)
{
	bool whole;

	*with = samples_table_pending(p->samples);
	*memory = NULL;
	return *with ? samples_table_fill(p->samples, &p->tables, &b->samples,
					  &whole, memory)
		     : 0;
}

static int encode(struct packer *p, struct batch *b, bool *with, void **data,
		  size_t *len)
{
	void *tables = NULL, *columns;
	int err = put_samples(p, b, with, &columns);

	if (!err)
		err = intern_tables(&p->tables, b, &tables);
	if (!err)
		err = batch_encode(b, data, len);
	if (err == -EMSGSIZE && *with && p->n > 0) {
		/* Both are too much for one message: events go first. */
		memset(&b->samples, 0, sizeof(b->samples));
		*with = false;
		err = batch_encode(b, data, len);
	}
	free(tables);
	free(columns);
	return err;
}

int packer_take(struct packer *p, const struct batch_losses *losses,
		void **data, size_t *len, uint64_t *sequence)
{
	struct batch b = {
		.agent = p->agent,
		.epoch = p->epoch,
		.sequence = p->sequence + 1,
		.base_us = p->n > 0 ? p->base_us : clock_real_us(),
		.losses = *losses,
	};
	bool tell, samples;
	int err;

	tell = p->has_info &&
	       (p->tell_info || p->n == 0 || b.sequence % INFO_EVERY == 0);
	put_events(p, &b);
	if (tell)
		b.info = p->info;
	err = encode(p, &b, &samples, data, len);
	if (err)
		return err;
	if (samples)
		samples_table_sent(p->samples);
	if (tell)
		p->tell_info = false;
	p->packed += p->n;
	*sequence = ++p->sequence;
	start_over(p);
	return 0;
}
