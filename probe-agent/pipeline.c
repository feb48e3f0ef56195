/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/pipeline.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/log.h"
#include "probe-agent/batch/packer.h"
#include "probe-agent/batch/samples_table.h"
#include "probe-agent/identity/filter.h"
#include "probe-agent/identity/identity.h"
#include "probe-agent/identity/route.h"

#define HOST_MAX 253 /* of a DNS name */

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
	struct pipeline_tls tls;
};

/* The methods of RFC 9110 and RFC 5789; all others are one label value. */
static const char *method_name(struct slice m)
{
	static const struct slice known[] = {
		{ "GET", 3 },	 { "POST", 4 },	   { "PUT", 3 },
		{ "DELETE", 6 }, { "HEAD", 4 },	   { "OPTIONS", 7 },
		{ "PATCH", 5 },	 { "CONNECT", 7 }, { "TRACE", 5 },
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (known[i].len == m.len &&
		    !memcmp(known[i].data, m.data, m.len))
			return known[i].data;
	return "_OTHER";
}

static void address_text(const struct endpoint *end, char out[HOST_MAX + 1])
{
	if (!inet_ntop(end->family == AF_INET6 ? AF_INET6 : AF_INET,
		       end->remote_addr, out, HOST_MAX + 1))
		out[0] = '\0';
}

/* Characters that a host name may have, in lower case; 0 for all others. */
static const char host_chars[256] = {
	['a'] = 'a', ['A'] = 'a', ['b'] = 'b', ['B'] = 'b', ['c'] = 'c',
	['C'] = 'c', ['d'] = 'd', ['D'] = 'd', ['e'] = 'e', ['E'] = 'e',
	['f'] = 'f', ['F'] = 'f', ['g'] = 'g', ['G'] = 'g', ['h'] = 'h',
	['H'] = 'h', ['i'] = 'i', ['I'] = 'i', ['j'] = 'j', ['J'] = 'j',
	['k'] = 'k', ['K'] = 'k', ['l'] = 'l', ['L'] = 'l', ['m'] = 'm',
	['M'] = 'm', ['n'] = 'n', ['N'] = 'n', ['o'] = 'o', ['O'] = 'o',
	['p'] = 'p', ['P'] = 'p', ['q'] = 'q', ['Q'] = 'q', ['r'] = 'r',
	['R'] = 'r', ['s'] = 's', ['S'] = 's', ['t'] = 't', ['T'] = 't',
	['u'] = 'u', ['U'] = 'u', ['v'] = 'v', ['V'] = 'v', ['w'] = 'w',
	['W'] = 'w', ['x'] = 'x', ['X'] = 'x', ['y'] = 'y', ['Y'] = 'y',
	['z'] = 'z', ['Z'] = 'z', ['0'] = '0', ['1'] = '1', ['2'] = '2',
	['3'] = '3', ['4'] = '4', ['5'] = '5', ['6'] = '6', ['7'] = '7',
	['8'] = '8', ['9'] = '9', ['.'] = '.', ['-'] = '-', ['_'] = '_',
	[':'] = ':',
};

/*
 * The name that a client asked for: the Host header without its port, in lower
 * case. If that can't be a host name, the server's address.
 */
static void server_address(const struct exchange *x, char out[HOST_MAX + 1])
{
	const char *h = x->host.data;
	size_t n = x->host.len, i;
	const char *end;

	if (n && h[0] == '[') {
		end = memchr(h, ']', n);
		n = end ? (size_t)(end - h) - 1 : 0;
		h++;
	} else if (n) {
		end = memchr(h, ':', n);
		if (end)
			n = (size_t)(end - h);
	}
	if (n > HOST_MAX)
		n = 0;
	for (i = 0; i < n && host_chars[(uint8_t)h[i]]; i++)
		out[i] = host_chars[(uint8_t)h[i]];
	if (!n || i < n) {
		address_text(x->end, out);
		return;
	}
	out[n] = '\0';
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

static bool from_hex(const char *hex, size_t bytes, uint8_t *out)
{
	int hi, lo;

	for (size_t i = 0; i < bytes; i++) {
		hi = hex_value(hex[2 * i]);
		lo = hex_value(hex[2 * i + 1]);
		if (hi < 0 || lo < 0)
			return false;
		out[i] = (uint8_t)(hi << 4 | lo);
	}
	return true;
}

/* W3C Trace Context: version-traceid-parentid-flags, "00-" 32 "-" 16 "-" 2. */
static bool parse_traceparent(struct slice t, uint8_t out[24])
{
	static const uint8_t zero[16];

	if (t.len < 55 || t.data[2] != '-' || t.data[35] != '-' ||
	    t.data[52] != '-' || !memcmp(t.data, "ff", 2))
		return false;
	return from_hex(t.data + 3, 16, out) &&
	       from_hex(t.data + 36, 8, out + 16) && memcmp(out, zero, 16) &&
	       memcmp(out + 16, zero, 8);
}

static uint64_t us(uint64_t ns)
{
	return (ns + 500) / 1000;
}

static int take_batch(struct pipeline *p);

static void on_exchange(void *arg, const struct exchange *x)
{
	struct pipeline *p = arg;
	const struct identity *id = identity_lookup(p->identities, x->end);
	uint64_t span = x->end_ns > x->start_ns ? x->end_ns - x->start_ns : 0;
	char address[HOST_MAX + 1];
	uint8_t trace[24];
	struct packer_event e = {
		.resource = id->number,
		.service = id->service,
		.namespace_ = id->namespace_,
		.instance = id->instance,
		.container = id->container,
		.executable = id->executable,
		.method = method_name(x->method),
		.scheme = x->tls ? "https" : "http",
		.address = address,
		.role = x->role,
		.status = x->status,
		.outcome = x->outcome,
		.version = x->version,
		.start_us = (int64_t)us(x->start_ns) + p->real_minus_mono_us,
		.duration_us = us(span),
		.request_bytes = x->request_bytes,
		.response_bytes = x->response_bytes,
	};
	int full;

	address[0] = '\0';
	if (x->end->local_port && x->end->remote_port) {
		e.local = (struct packer_end){ x->end->local_addr,
					       x->end->local_port };
		e.remote = (struct packer_end){ x->end->remote_addr,
						x->end->remote_port };
	}
	if (x->first_byte_ns > x->start_ns)
		e.ttfb_us = us(x->first_byte_ns - x->start_ns);
	/* Only servers have routes; a client only knows where it connected. */
	if (x->role == ROLE_SERVER) {
		e.route = route_template(p->routes, e.service, x->target.data,
					 x->target.len);
	} else {
		e.route = "";
		server_address(x, address);
		e.port = x->end->remote_port;
	}
	if (parse_traceparent(x->traceparent, trace))
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
			      identity_lookup(p->identities, end));
}

static void on_ignore(void *arg, uint64_t sock, uint64_t born_ns)
{
	struct pipeline *p = arg;

	p->opt.ignore(p->opt.arg, sock, born_ns);
}

static int on_progress(void *arg, uint64_t sock, uint64_t born_ns,
		       struct tap_rec_progress *out, uint64_t *last_bytes)
{
	struct pipeline *p = arg;

	return p->opt.progress(p->opt.arg, sock, born_ns, out, last_bytes);
}

static int set_up(struct pipeline *p)
{
	const struct agent_config *cfg = p->opt.cfg;
	struct identity_options io = {
		.node = cfg->node,
		.rules = cfg->services,
		.n_rules = cfg->services_count,
	};
	struct conn_options co = {
		.max_connections = cfg->capture.max_connections,
		.exchange = on_exchange,
		.ignore = p->opt.ignore ? on_ignore : NULL,
		.select = on_select,
		.progress = p->opt.progress ? on_progress : NULL,
		.arg = p,
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
	outbox_stats(p->opt.outbox, &os);
	memset(l, 0, sizeof(*l));
	l->rolled_up = os.rolled_up_events;
	l->dropped[LOSS_RING] = p->tap.kernel[TAP_C_LOST_REQUESTS];
	l->dropped[LOSS_GAP] = cs->lost_gap;
	l->dropped[LOSS_TABLE] = cs->lost_table;
	l->dropped[LOSS_BUFFER] = cs->lost_buffer + p->lost;
	l->captured = p->events + l->dropped[LOSS_RING] + cs->lost_gap +
		      cs->lost_table + l->dropped[LOSS_BUFFER];
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
	int err;

	if (tap->kernel[TAP_C_LOST_REQUESTS] !=
		    p->tap.kernel[TAP_C_LOST_REQUESTS] ||
	    tap->kernel[TAP_C_LOST_RECORDS] !=
		    p->tap.kernel[TAP_C_LOST_RECORDS])
		conn_doubt(p->conns);
	p->tap = *tap;
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
