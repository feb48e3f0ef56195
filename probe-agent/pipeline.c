/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/pipeline.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "probe-agent/batch/packer.h"
#include "probe-agent/batch/samples_table.h"
#include "probe-agent/http/grpc.h"
#include "probe-agent/http/http_label.h"
#include "probe-agent/identity/filter.h"
#include "probe-agent/identity/identity.h"
#include "probe-agent/identity/route.h"

struct pipeline {
	struct pipeline_options opt;
	struct conn_table *conns;
	struct identity_table *identities;
	struct filter_rules *rules;
	struct route_table *routes;
	struct packer *packer;
	uint64_t epoch;
	struct batch_losses before; /* of this epoch, in earlier processes */
	struct batch_samples samples_before; /* likewise: totals only */
	int64_t real_minus_mono_us;
	uint64_t records; /* fed */
	uint64_t events; /* packed */
	uint64_t lost; /* events that could not be packed */
	struct pipeline_tap tap; /* as of the last flush */
};

/* What the values of agent_counters.def are read from. */
struct pipeline_sources {
	uint64_t records;
	struct conn_stats conn;
	struct route_stats route;
	struct tls_stats tls;
	struct identity_stats identity;
};

static uint64_t us(uint64_t ns)
{
	return (ns + 500) / 1000;
}

static int take_batch(struct pipeline *p);

/*
 * Only servers have routes: a client only knows where it connected, and the
 * method that it calls.
 */
static const char *route_of(struct pipeline *p, const char *service,
			    const struct exchange *x)
{
	struct slice method = { 0 };

	if (x->rpc)
		method = grpc_method(x->target);
	if (method.len) /* behind the slash */
		return route_method(p->routes, service, method.data - 1,
				    method.len + 1);
	if (x->role != ROLE_SERVER)
		return "";
	return route_template(p->routes, service, x->target.data,
			      x->target.len);
}

static void on_exchange(void *arg, const struct exchange *x)
{
	struct pipeline *p = arg;
	const struct identity *id = identity_lookup(p->identities, x->end);
	uint64_t span = x->end_ns > x->start_ns ? x->end_ns - x->start_ns : 0;
	char address[HTTP_LABEL_HOST_MAX + 1];
	uint8_t trace[24];
	struct packer_event e = {
		.resource = id->number,
		.method = http_label_method(x->method),
		.scheme = x->tls ? "https" : "http",
		.address = address,
		.role = x->role,
		.status = x->status,
		.outcome = x->outcome,
		.version = x->version,
		.rpc = x->rpc,
		.rpc_status = x->rpc_status,
		.stream = x->stream,
		.start_us = (int64_t)us(x->start_ns) + p->real_minus_mono_us,
		.duration_us = us(span),
		.request_bytes = x->request_bytes,
		.response_bytes = x->response_bytes,
	};
	int full;

	memcpy(e.column, id->column, sizeof(e.column));
	address[0] = '\0';
	if (x->end->local_port && x->end->remote_port) {
		e.local = (struct packer_end){ x->end->local_addr,
					       x->end->local_port };
		e.remote = (struct packer_end){ x->end->remote_addr,
						x->end->remote_port };
	}
	if (x->first_byte_ns > x->start_ns)
		e.ttfb_us = us(x->first_byte_ns - x->start_ns);
	e.route = route_of(p, e.service, x);
	if (x->role != ROLE_SERVER) {
		http_label_host(x, address);
		e.port = x->end->remote_port;
	}
	if (http_label_trace(x->traceparent, trace))
		e.trace = trace;
	full = packer_add(p->packer, &e);
	if (full < 0) {
		p->lost++;
		return;
	}
	p->events++;
	if (full)
		take_batch(p);
}

static bool on_select(void *arg, const struct endpoint *end)
{
	struct pipeline *p = arg;

	return filter_follows(p->rules, end,
			      identity_process(p->identities, end));
}

static int set_up(struct pipeline *p)
{
	const struct agent_config *cfg = p->opt.cfg;
	struct identity_options io = agent_config_identity(cfg);
	struct conn_options co = {
		.max_connections = cfg->capture.max_connections,
		.exchange = on_exchange,
		.select = on_select,
		.arg = p,
		.source = p->opt.source,
		.protos = p->opt.protos,
	};
	struct route_options ro = {
		.patterns = (const char *const *)cfg->routes.patterns,
		.n_patterns = cfg->routes.patterns_count,
		.cap = cfg->routes.cap,
	};
	uint64_t sequence;
	int err;

	outbox_epoch(p->opt.outbox, &p->epoch, &sequence);
	err = identity_new(&p->identities, &io);
	if (!err)
		err = filter_new(&p->rules, &cfg->select);
	if (!err)
		err = route_new(&p->routes, &ro);
	if (!err)
		err = packer_new(&p->packer, cfg->node, p->epoch);
	if (!err) {
		/* A durable outbox continues where the last process ended. */
		outbox_losses(p->opt.outbox, &p->before);
		packer_resume(p->packer, sequence, p->before.packed);
		outbox_samples(p->opt.outbox, &p->samples_before);
		samples_table_resume(packer_samples(p->packer),
				     p->samples_before.read,
				     p->samples_before.dropped);
	}
	if (!err)
		err = conn_new(&p->conns, &co);
	return err;
}

int pipeline_new(struct pipeline **out, const struct pipeline_options *opt)
{
	struct pipeline *p = calloc(1, sizeof(*p));
	int err;

	*out = NULL;
	if (!p)
		return -ENOMEM;
	p->opt = *opt;
	err = set_up(p);
	if (err) {
		pipeline_free(p);
		return err;
	}
	*out = p;
	return 0;
}

void pipeline_free(struct pipeline *p)
{
	if (!p)
		return;
	conn_free(p->conns);
	packer_free(p->packer);
	route_free(p->routes);
	filter_free(p->rules);
	identity_free(p->identities);
	free(p);
}

int pipeline_set_info(struct pipeline *p, const struct batch_info *info)
{
	return packer_set_info(p->packer, info);
}

int pipeline_feed(struct pipeline *p, const void *record, size_t len)
{
	p->records++;
	return conn_feed(p->conns, record, len);
}

void pipeline_tick(struct pipeline *p, uint64_t now_ns, int64_t real_us)
{
	p->real_minus_mono_us = real_us - (int64_t)us(now_ns);
	conn_tick(p->conns, now_ns);
}

void pipeline_idle(struct pipeline *p)
{
	identity_idle(p->identities);
}

/* captured = packed + dropped, whenever nothing is pending. */
static void losses(struct pipeline *p, struct batch_losses *l)
{
	struct pipeline_sources sources = { .records = p->records,
					    .tls = p->tap.tls };
	const struct pipeline_sources *from = &sources;
	const struct conn_stats *cs = &sources.conn;
	struct outbox_stats os;

	conn_stats(p->conns, &sources.conn);
	route_stats(p->routes, &sources.route);
	identity_stats(p->identities, &sources.identity);
	outbox_stats(p->opt.outbox, &os);
	memset(l, 0, sizeof(*l));
	l->rolled_up = os.rolled_up_events;
	l->gauges[AGENT_GAUGE_H2_STREAMS] = cs->h2.open_streams;
	memcpy(l->gaps, p->tap.gaps, sizeof(l->gaps));
	l->dropped[LOSS_RING] = p->tap.kernel[TAP_C_LOST_REQUESTS];
	l->dropped[LOSS_GAP] = cs->lost_gap;
	l->dropped[LOSS_TABLE] = cs->lost_table;
	l->dropped[LOSS_BUFFER] = cs->lost_buffer + p->lost;
	l->dropped[LOSS_UNSEEN] = cs->lost_unseen;
	l->captured = p->events + l->dropped[LOSS_RING] + cs->lost_gap +
		      cs->lost_table + l->dropped[LOSS_BUFFER] +
		      cs->lost_unseen;
	/* Packed before they were lost: in captured already. */
	l->dropped[LOSS_OUTBOX] = os.dropped_events;
	l->dropped[LOSS_REFUSED] = os.refused_events;
#define KERNEL_COUNTER(NAME, ...)                                              \
	l->counters[AGENT_##NAME] = p->tap.kernel[TAP_C_##NAME];
#define AGENT_COUNTER(NAME, metric, value, ...)                                \
	l->counters[AGENT_##NAME] = value;
#include "proto/agent_counters.def"
}

static void samples_losses(struct pipeline *p)
{
	struct samples_table *t = packer_samples(p->packer);
	const uint64_t *before = p->samples_before.dropped;
	struct outbox_stats os;

	outbox_stats(p->opt.outbox, &os);
	samples_table_set_dropped(t, SAMPLES_LOST_OUTBOX,
				  before[SAMPLES_LOST_OUTBOX] +
					  os.dropped_increments);
	samples_table_set_dropped(t, SAMPLES_LOST_REFUSED,
				  before[SAMPLES_LOST_REFUSED] +
					  os.refused_increments);
}

static void add_before(struct batch_losses *l, const struct batch_losses *b)
{
	l->captured += b->captured;
	l->rolled_up += b->rolled_up;
	for (size_t i = 0; i < LOSS_STAGES; i++)
		l->dropped[i] += b->dropped[i];
	for (size_t i = 0; i < AGENT_COUNTERS; i++)
		l->counters[i] += b->counters[i];
}

static int take_batch(struct pipeline *p)
{
	size_t events = packer_pending(p->packer), len;
	struct batch_losses l;
	uint64_t sequence;
	void *data;
	int err;

	losses(p, &l);
	add_before(&l, &p->before);
	samples_losses(p);
	err = packer_take(p->packer, &l, &data, &len, &sequence);
	if (!err && p->opt.batch)
		p->opt.batch(p->opt.arg, data, len);
	if (!err)
		err = outbox_push(p->opt.outbox, &data, len, p->epoch, sequence,
				  events);
	if (err) {
		log_error("batch lost events=%zu error=\"%s\"", events,
			  strerror(-err));
		p->events -= events;
		p->lost += events;
	}
	return err;
}

int pipeline_flush(struct pipeline *p, const struct pipeline_tap *tap)
{
	if (tap->kernel[TAP_C_LOST_REQUESTS] !=
		    p->tap.kernel[TAP_C_LOST_REQUESTS] ||
	    tap->kernel[TAP_C_LOST_RECORDS] !=
		    p->tap.kernel[TAP_C_LOST_RECORDS])
		conn_doubt(p->conns);
	p->tap = *tap;
	return pipeline_flush_samples(p);
}

int pipeline_flush_samples(struct pipeline *p)
{
	int err;

	do
		err = take_batch(p);
	while (!err && samples_table_pending(packer_samples(p->packer)));
	return err;
}

struct samples_table *pipeline_samples(struct pipeline *p)
{
	return packer_samples(p->packer);
}

size_t pipeline_pending(const struct pipeline *p)
{
	return packer_pending(p->packer) +
	       samples_table_pending(packer_samples(p->packer));
}

uint64_t pipeline_events(const struct pipeline *p)
{
	return p->events;
}

void pipeline_conn_stats(const struct pipeline *p, struct conn_stats *out)
{
	conn_stats(p->conns, out);
}
