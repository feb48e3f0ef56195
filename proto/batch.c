/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/batch.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "proto/batch_arena.h"
#include "proto/batch_checks.h"
#include "proto/batch_unpack.h"
#include "proto/limits.h"
#include "proto/redtap.pb-c.h"
#include "proto/utf8.h"

/* --- checks; each returns NULL or the static reason of a refusal --- */

/*
 * Length of a string with any NULs in it, which strlen() would stop at:
 * protobuf-c allocates exactly one byte more than the length.
 */
static size_t string_len(const char *s)
{
	return s == protobuf_c_empty_string ? 0 : batch_arena_size(s) - 1;
}

static const struct batch_string no_strings = { "", 0 };

static const char *take_strings(struct batch_arena *a, const Redtap__Batch *m,
				struct batch *b)
{
	struct batch_string *strings;

	b->n_strings = 1;
	b->strings = &no_strings;
	if (m->n_strings == 0)
		return NULL;
	if (m->n_strings > LIMIT_STRINGS)
		return "strings: more than LIMIT_STRINGS";
	strings = batch_arena_alloc(a, m->n_strings * sizeof(*strings));
	if (!strings)
		return "decoded size: over the limit";
	for (size_t i = 0; i < m->n_strings; i++) {
		size_t len = string_len(m->strings[i]);

		if (len > LIMIT_STRING_BYTES)
			return "strings: one over LIMIT_STRING_BYTES";
		if (!utf8_valid(m->strings[i], len))
			return "strings: one is not UTF-8 without NUL";
		strings[i].data = m->strings[i];
		strings[i].len = (uint32_t)len;
	}
	if (strings[0].len != 0)
		return "strings: [0] is not empty";
	b->n_strings = m->n_strings;
	b->strings = strings;
	return NULL;
}

/*
 * Checks one column of the resources. One behind the first five may be absent:
 * older agents do not have it.
 */
static const char *check_resource(const uint32_t **column, size_t n_column,
				  size_t n, bool optional, size_t n_strings)
{
	static const uint32_t empty[LIMIT_RESOURCES];

	if (n_column == 0 && optional) {
		*column = empty;
		return NULL;
	}
	if (n_column != n)
		return "resources: columns of unequal length";
	return below_u32(*column, n, n_strings)
		       ? NULL
		       : "resources: index outside strings";
}

static const char *take_resources(const Redtap__Resources *m, struct batch *b)
{
	struct batch_resources *r = &b->resources;
	const char *wrong = NULL;

	if (!m)
		return NULL;
	r->n = m->n_service;
	if (r->n > LIMIT_RESOURCES)
		return "resources: more than LIMIT_RESOURCES";
#define TAKE(name, text)                                                       \
	r->name = m->name;                                                     \
	if (!wrong)                                                            \
		wrong = check_resource(&r->name, m->n_##name, r->n,            \
				       RESOURCE_##name > RESOURCE_executable,  \
				       b->n_strings);
	RESOURCE_COLUMNS(TAKE)
#undef TAKE
	return wrong;
}

static const char *check_series(const Redtap__Series *m, const struct batch *b)
{
	size_t n = m->n_resource;

	if (n > LIMIT_SERIES)
		return "series: more than LIMIT_SERIES";
	if (m->n_role != n || m->n_method != n || m->n_route != n ||
	    m->n_status != n || m->n_outcome != n || m->n_version != n ||
	    m->n_scheme != n || m->n_address != n || m->n_port != n)
		return "series: columns of unequal length";
	if ((m->n_untimed != 0 && m->n_untimed != n) ||
	    (m->n_rpc != 0 && m->n_rpc != n) ||
	    (m->n_rpc_status != 0 && m->n_rpc_status != n))
		return "series: columns of unequal length";
	if (!below_u32(m->resource, n, b->resources.n))
		return "series: index outside resources";
	if (!below_u32(m->method, n, b->n_strings) ||
	    !below_u32(m->route, n, b->n_strings) ||
	    !below_u32(m->scheme, n, b->n_strings) ||
	    !below_u32(m->address, n, b->n_strings))
		return "series: index outside strings";
	for (size_t i = 0; i < n; i++)
		if (m->role[i] != 1 && m->role[i] != 2)
			return "series: unknown role";
	if (!below_u32(m->outcome, n, LIMIT_OUTCOME + 1))
		return "series: unknown outcome";
	if (!below_u32(m->status, n, LIMIT_STATUS + 1))
		return "series: status over LIMIT_STATUS";
	if (!below_u32(m->version, n, LIMIT_HTTP_VERSION + 1))
		return "series: version over LIMIT_HTTP_VERSION";
	if (!below_u32(m->port, n, UINT16_MAX + 1u))
		return "series: port over 65535";
	if (!below_u32(m->untimed, m->n_untimed, 2))
		return "series: untimed is neither 0 nor 1";
	if (!below_u32(m->rpc, m->n_rpc, LIMIT_RPC + 1))
		return "series: rpc over LIMIT_RPC";
	if (!below_u32(m->rpc_status, m->n_rpc_status, LIMIT_RPC_STATUS + 1))
		return "series: rpc_status over LIMIT_RPC_STATUS";
	return NULL;
}

static const char *take_series(const Redtap__Series *m, struct batch *b)
{
	struct batch_series *s = &b->series;
	const char *reason;

	if (!m)
		return NULL;
	reason = check_series(m, b);
	if (reason)
		return reason;
	s->n = m->n_resource;
	s->resource = m->resource;
	s->role = m->role;
	s->method = m->method;
	s->route = m->route;
	s->status = m->status;
	s->outcome = m->outcome;
	s->version = m->version;
	s->scheme = m->scheme;
	s->address = m->address;
	s->port = m->port;
	s->untimed = m->n_untimed > 0 ? m->untimed : NULL;
	s->rpc = m->n_rpc > 0 ? m->rpc : NULL;
	s->rpc_status = m->n_rpc_status > 0 ? m->rpc_status : NULL;
	return NULL;
}

/*
 * True if every start is in [0, LIMIT_TIME_US), so that no sum of deltas
 * overflows. Unsigned: a bad value wraps and shows in the high bits.
 */
static bool times_fit(const int64_t *delta, size_t n, int64_t base)
{
	uint64_t t = (uint64_t)base, bits = 0;

	for (size_t i = 0; i < n; i++) {
		t += (uint64_t)delta[i];
		bits |= t;
	}
	return bits < LIMIT_TIME_US;
}

/*
 * True if no v[i] is above max[i]. All of max are known to be below 2^63, so a
 * negative difference shows in the top bit.
 */
static bool none_above(const uint64_t *v, const uint64_t *max, size_t n)
{
	uint64_t bits = 0;

	for (size_t i = 0; i < n; i++)
		bits |= v[i] | (max[i] - v[i]);
	return bits >> 63 == 0;
}

static const char *check_traced(const Redtap__Events *m, size_t n)
{
	uint64_t at = 0, repeats = 0;

	if (m->n_traced > n)
		return "events: more traced than events";
	if (m->trace_ids.len != m->n_traced * 24)
		return "events: trace_ids are not 24 bytes each";
	for (size_t i = 0; i < m->n_traced; i++) {
		at += m->traced[i];
		repeats += i > 0 && m->traced[i] == 0;
	}
	if (m->n_traced > 0 && at >= n)
		return "events: traced index outside events";
	if (repeats > 0)
		return "events: traced twice";
	return NULL;
}

static const char *check_connections(const Redtap__Events *m, size_t n)
{
	size_t connections = m->connection_local.len / 18;

	if ((m->n_connection != 0 && m->n_connection != n) ||
	    (m->n_stream != 0 && m->n_stream != n))
		return "events: columns of unequal length";
	if (connections > LIMIT_CONNECTIONS)
		return "events: more than LIMIT_CONNECTIONS";
	if (m->connection_local.len != connections * 18 ||
	    m->connection_remote.len != m->connection_local.len)
		return "events: connection ends are not 18 bytes each";
	if (!below_u32(m->connection, m->n_connection, connections + 1))
		return "events: index outside connections";
	return NULL;
}

static const char *check_events(const Redtap__Events *m, const struct batch *b)
{
	size_t n = m->n_series;
	const char *reason;

	if (n > LIMIT_EVENTS)
		return "events: more than LIMIT_EVENTS";
	if (m->n_start_delta_us != n || m->n_duration_us != n ||
	    m->n_tail_us != n || m->n_request_bytes != n ||
	    m->n_response_bytes != n)
		return "events: columns of unequal length";
	if (!below_u32(m->series, n, b->series.n))
		return "events: index outside series";
	if (!times_fit(m->start_delta_us, n, b->base_us))
		return "events: start outside LIMIT_TIME_US";
	if (!below_u64(m->duration_us, n, LIMIT_DURATION_US))
		return "events: duration over LIMIT_DURATION_US";
	if (!none_above(m->tail_us, m->duration_us, n))
		return "events: tail longer than duration";
	if (!below_u64(m->request_bytes, n, LIMIT_BODY_BYTES) ||
	    !below_u64(m->response_bytes, n, LIMIT_BODY_BYTES))
		return "events: size over LIMIT_BODY_BYTES";
	reason = check_traced(m, n);
	return reason ? reason : check_connections(m, n);
}

static const char *take_events(const Redtap__Events *m, struct batch *b)
{
	struct batch_events *e = &b->events;
	const char *reason;

	if (!m)
		return NULL;
	reason = check_events(m, b);
	if (reason)
		return reason;
	e->n = m->n_series;
	e->series = m->series;
	e->start_delta_us = m->start_delta_us;
	e->duration_us = m->duration_us;
	e->tail_us = m->tail_us;
	e->request_bytes = m->request_bytes;
	e->response_bytes = m->response_bytes;
	e->n_traced = m->n_traced;
	e->traced = m->traced;
	e->trace_ids = m->trace_ids.data;
	e->n_connections = m->connection_local.len / 18;
	e->connection = m->n_connection > 0 ? m->connection : NULL;
	e->connection_local = m->connection_local.data;
	e->connection_remote = m->connection_remote.data;
	e->stream = e->connection && m->n_stream > 0 ? m->stream : NULL;
	return NULL;
}

static const char *take_losses(const Redtap__Losses *m, struct batch_losses *l)
{
	if (!m)
		return NULL;
	if (m->captured >= LIMIT_LOSSES || m->packed >= LIMIT_LOSSES ||
	    m->rolled_up >= LIMIT_LOSSES ||
	    !below_u64(m->dropped, m->n_dropped, LIMIT_LOSSES) ||
	    !below_u64(m->counters, m->n_counters, LIMIT_LOSSES))
		return "losses: counter over LIMIT_LOSSES";
	l->captured = m->captured;
	l->packed = m->packed;
	l->rolled_up = m->rolled_up;
	/* An older or newer peer may know fewer or more stages. */
	for (size_t i = 0; i < LOSS_STAGES && i < m->n_dropped; i++)
		l->dropped[i] = m->dropped[i];
	for (size_t i = 0; i < AGENT_COUNTERS && i < m->n_counters; i++)
		l->counters[i] = m->counters[i];
	for (size_t i = 0; i < AGENT_GAUGES && i < m->n_gauges; i++)
		l->gauges[i] = m->gauges[i];
	for (size_t i = 0; i < GAP_REASONS && i < m->n_gaps; i++)
		l->gaps[i] = m->gaps[i];
	return NULL;
}

static bool label_valid(const char *s)
{
	size_t len = string_len(s);

	return len <= LIMIT_STRING_BYTES && utf8_valid(s, len);
}

static const char *take_info(const Redtap__Info *m, struct batch_info *info)
{
	info->version = info->kernel = info->capture = "";
	if (!m)
		return NULL;
	if (!label_valid(m->version) || !label_valid(m->kernel) ||
	    !label_valid(m->capture))
		return "info: not UTF-8 or over LIMIT_STRING_BYTES";
	if (m->n_probes > LIMIT_PROBES)
		return "info: more than LIMIT_PROBES";
	if (m->n_probe_attached != m->n_probes)
		return "info: columns of unequal length";
	for (size_t i = 0; i < m->n_probes; i++)
		if (!label_valid(m->probes[i]))
			return "info: not UTF-8 or over LIMIT_STRING_BYTES";
	info->version = m->version;
	info->kernel = m->kernel;
	info->capture = m->capture;
	info->n_probes = m->n_probes;
	info->probes = (const char *const *)m->probes;
	info->probe_attached = m->probe_attached;
	return NULL;
}

static const char *take_head(const Redtap__Batch *m, struct batch *b)
{
	size_t len = string_len(m->agent);

	if (len == 0)
		return "agent: missing";
	if (len > LIMIT_AGENT_BYTES)
		return "agent: over LIMIT_AGENT_BYTES";
	if (!utf8_valid(m->agent, len))
		return "agent: not UTF-8 without NUL";
	if (m->epoch == 0)
		return "epoch: missing";
	if (m->sequence == 0)
		return "sequence: missing";
	if (m->first_sequence > m->sequence)
		return "first_sequence: after sequence";
	if (m->base_us < 0 || (uint64_t)m->base_us >= LIMIT_TIME_US)
		return "base_us: outside LIMIT_TIME_US";
	b->agent = m->agent;
	b->epoch = m->epoch;
	b->sequence = m->sequence;
	b->first_sequence = m->first_sequence;
	b->base_us = m->base_us;
	return NULL;
}

/* Each table is checked against those it refers to, so the order matters. */
static const char *take_columns(struct batch_arena *a, const Redtap__Batch *m,
				struct batch *b)
{
	const char *reason = take_head(m, b);

	if (!reason)
		reason = take_strings(a, m, b);
	if (!reason)
		reason = take_resources(m->resources, b);
	if (!reason)
		reason = take_series(m->series, b);
	if (!reason)
		reason = take_events(m->events, b);
	if (!reason)
		reason = batch_take_rollups(m->rollups, b);
	if (!reason)
		reason = batch_take_samples(m->samples, b);
	if (!reason)
		reason = take_info(m->info, &b->info);
	if (!reason)
		reason = take_losses(m->losses, &b->losses);
	return reason;
}

int batch_decode_more(struct batch_arena *a, struct batch_arena *columns,
		      const void *data, size_t len, struct batch *out,
		      const char **reason)
{
	const char *why;
	Redtap__Batch *m;

	memset(out, 0, sizeof(*out));
	batch_arena_begin(a);
	if (columns != a)
		batch_arena_reset(columns);
	if (len > LIMIT_MESSAGE_BYTES) {
		why = "message: over LIMIT_MESSAGE_BYTES";
	} else {
		m = batch_unpack(a, columns, data, len);
		if (!m) {
			batch_arena_begin(a); /* what it took is lost */
			m = redtap__batch__unpack(&a->allocator, len, data);
		}
		why = m ? take_columns(a, m, out) : "message: not a batch";
	}
	if (!why)
		return 0;
	memset(out, 0, sizeof(*out));
	if (a->out_of_memory || columns->out_of_memory)
		return -ENOMEM;
	if (reason)
		*reason = why;
	return -EPROTO;
}

int batch_decode_apart(struct batch_arena *a, struct batch_arena *columns,
		       const void *data, size_t len, struct batch *out,
		       const char **reason)
{
	batch_arena_reset(a);
	return batch_decode_more(a, columns, data, len, out, reason);
}

int batch_decode(struct batch_arena *a, const void *data, size_t len,
		 struct batch *out, const char **reason)
{
	return batch_decode_apart(a, a, data, len, out, reason);
}
