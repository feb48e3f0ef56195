/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "proto/batch.h"
#include "proto/buckets.h"
#include "proto/limits.h"
#include "proto/redtap.pb-c.h"

/* --- a batch with something different in every field --- */

static const struct batch_string full_strings[] = {
	{ "", 0 },	 { "shop", 4 },	 { "prod", 4 },	     { "shop-1", 6 },
	{ "c0ffee", 6 }, { "nginx", 5 }, { "GET", 3 },	     { "/a/{id}", 7 },
	{ "http", 4 },	 { "éü€😀", 11 }, { "a.example", 9 },
};

#define U32(...) ((const uint32_t[]){ __VA_ARGS__ })
#define U64(...) ((const uint64_t[]){ __VA_ARGS__ })
#define I64(...) ((const int64_t[]){ __VA_ARGS__ })
#define I32(...) ((const int32_t[]){ __VA_ARGS__ })

static uint8_t full_trace_ids[48];
static uint8_t full_local[36], full_remote[36];

static const char *const full_probes[] = { "read", "write" };

static const struct batch full = {
	.agent = "node-1.example",
	.epoch = 0x1122334455667788,
	.sequence = 77,
	.first_sequence = 70,
	.base_us = 1700000000000000,
	.n_strings = 11,
	.strings = full_strings,
	.resources = { .n = 2,
		       .service = U32(1, 1),
		       .namespace_ = U32(2, 0),
		       .instance = U32(3, 0),
		       .container = U32(4, 0),
		       .executable = U32(5, 9),
		       .pod_uid = U32(0, 7),
		       .pod = U32(0, 0), /* says nothing: is not sent */
		       .k8s_namespace = U32(2, 2),
		       .container_name = U32(0, 10),
		       .image = U32(8, 0),
		       .labels = U32(9, 6) },
	.series = { 3, U32(0, 1, 0), U32(1, 2, 1), U32(6, 6, 6),
		    U32(7, 9, 0), U32(200, 0, 503), U32(0, 2, 0),
		    U32(11, 10, 11), U32(8, 8, 8), U32(0, 10, 0),
		    U32(0, 65535, 80), U32(0, 1, 0), U32(1, 0, LIMIT_RPC),
		    U32(1, 0, LIMIT_RPC_STATUS) },
	.events = {
		.n = 5,
		.series = U32(0, 1, 2, 0, 1),
		.start_delta_us = I64(-5000000, 17, -1, 0, 1 << 20),
		.duration_us = U64(0, 300, 70000, LIMIT_DURATION_US - 1, 5),
		.tail_us = U64(0, 1, 70000, 128, 4),
		.request_bytes = U64(0, 1, 127, 128, LIMIT_BODY_BYTES - 1),
		.response_bytes = U64(612, 0, 16383, 16384, 3),
		.n_traced = 2,
		.traced = U32(1, 3),
		.trace_ids = full_trace_ids,
		.n_connections = 2,
		.connection = U32(0, 1, 2, 1, 0),
		.connection_local = full_local,
		.connection_remote = full_remote,
		.stream = U32(0, 2, UINT32_MAX, 127, 128),
	},
	.rollups = {
		.n = 2,
		.series = U32(2, 0),
		.window_delta_s = I64(-10, 120),
		.count = U64(5, 7),
		.duration_sum_us = U64(12345678, 7 * (LIMIT_DURATION_US - 1)),
		.request_bytes_sum = U64(0, 9),
		.response_bytes_sum = U64(99, 0),
		.duration = { U32(2, 1), I32(-31, 40, BUCKET_ZERO),
			      U64(2, 3, 7), 3 },
		.request = { U32(1, 1), I32(BUCKET_ZERO, 3), U64(5, 7), 2 },
		.response = { U32(1, 2), I32(1, 2, 1025), U64(5, 6, 1), 3 },
		.detail = BUCKET_DETAIL,
	},
	.info = { "1.2.3", "6.18.0", "syscall", 2, full_probes, U32(1, 0) },
};

static struct batch full_batch(void)
{
	struct batch b = full;

	for (size_t i = 0; i < sizeof(full_trace_ids); i++)
		full_trace_ids[i] = (uint8_t)(i * 7);
	for (size_t i = 0; i < sizeof(full_local); i++) {
		full_local[i] = (uint8_t)(200 - i);
		full_remote[i] = (uint8_t)(i * 3);
	}
	b.losses.captured = 1000;
	b.losses.packed = 900;
	b.losses.rolled_up = 12;
	for (uint64_t i = 0; i < LOSS_STAGES; i++)
		b.losses.dropped[i] = i + 3;
	for (uint64_t i = 0; i < AGENT_COUNTERS; i++)
		b.losses.counters[i] = i * i;
	for (uint64_t i = 0; i < AGENT_GAUGES; i++)
		b.losses.gauges[i] = 70 + i;
	for (uint64_t i = 0; i < GAP_REASONS; i++)
		b.losses.gaps[i] = 90 + i;
	return b;
}

static void assert_column(const void *a, const void *b, size_t n)
{
	if (n > 0)
		assert_memory_equal(a, b, n);
}

#define SAME(table, column, n)                                                 \
	assert_column(a->table.column, b->table.column,                        \
		      (n) * sizeof(*a->table.column))

static void assert_tables_equal(const struct batch *a, const struct batch *b)
{
	size_t n = a->resources.n;

	assert_int_equal(n, b->resources.n);
	for (unsigned c = 0; c < RESOURCE_N; c++)
		SAME(resources, column[c], n);
	n = a->series.n;
	assert_int_equal(n, b->series.n);
	SAME(series, resource, n);
	SAME(series, role, n);
	SAME(series, method, n);
	SAME(series, route, n);
	SAME(series, status, n);
	SAME(series, outcome, n);
	SAME(series, version, n);
	SAME(series, scheme, n);
	SAME(series, address, n);
	SAME(series, port, n);
	assert_int_equal(!a->series.untimed, !b->series.untimed);
	if (a->series.untimed)
		SAME(series, untimed, n);
	assert_int_equal(!a->series.rpc, !b->series.rpc);
	if (a->series.rpc)
		SAME(series, rpc, n);
	assert_int_equal(!a->series.rpc_status, !b->series.rpc_status);
	if (a->series.rpc_status)
		SAME(series, rpc_status, n);
}

static void assert_events_equal(const struct batch *a, const struct batch *b)
{
	size_t n = a->events.n;

	assert_int_equal(n, b->events.n);
	SAME(events, series, n);
	SAME(events, start_delta_us, n);
	SAME(events, duration_us, n);
	SAME(events, tail_us, n);
	SAME(events, request_bytes, n);
	SAME(events, response_bytes, n);
	assert_int_equal(a->events.n_traced, b->events.n_traced);
	SAME(events, traced, a->events.n_traced);
	SAME(events, trace_ids, a->events.n_traced * 24);
	assert_int_equal(a->events.n_connections, b->events.n_connections);
	assert_true((!a->events.connection) == (!b->events.connection));
	if (a->events.connection)
		SAME(events, connection, n);
	assert_int_equal(!a->events.stream, !b->events.stream);
	if (a->events.stream)
		SAME(events, stream, n);
	SAME(events, connection_local, a->events.n_connections * 18);
	SAME(events, connection_remote, a->events.n_connections * 18);
}

static void assert_rollups_equal(const struct batch *a, const struct batch *b)
{
	size_t n = a->rollups.n;

	assert_int_equal(n, b->rollups.n);
	SAME(rollups, series, n);
	SAME(rollups, window_delta_s, n);
	SAME(rollups, count, n);
	SAME(rollups, duration_sum_us, n);
	SAME(rollups, request_bytes_sum, n);
	SAME(rollups, response_bytes_sum, n);
	assert_int_equal(a->rollups.detail, b->rollups.detail);
	SAME(rollups, duration.buckets, n);
	SAME(rollups, request.buckets, n);
	SAME(rollups, response.buckets, n);
	n = a->rollups.duration.n_entries;
	assert_int_equal(n, b->rollups.duration.n_entries);
	SAME(rollups, duration.index, n);
	SAME(rollups, duration.count, n);
	n = a->rollups.request.n_entries;
	assert_int_equal(n, b->rollups.request.n_entries);
	SAME(rollups, request.index, n);
	SAME(rollups, request.count, n);
	n = a->rollups.response.n_entries;
	assert_int_equal(n, b->rollups.response.n_entries);
	SAME(rollups, response.index, n);
	SAME(rollups, response.count, n);
}

static void assert_batches_equal(const struct batch *a, const struct batch *b)
{
	assert_string_equal(a->agent, b->agent);
	assert_true(a->epoch == b->epoch);
	assert_true(a->sequence == b->sequence);
	assert_true(a->first_sequence == b->first_sequence);
	assert_true(a->base_us == b->base_us);
	assert_int_equal(a->n_strings, b->n_strings);
	for (size_t i = 0; i < a->n_strings; i++) {
		assert_int_equal(a->strings[i].len, b->strings[i].len);
		assert_string_equal(a->strings[i].data, b->strings[i].data);
	}
	assert_tables_equal(a, b);
	assert_events_equal(a, b);
	assert_rollups_equal(a, b);
	assert_memory_equal(&a->losses, &b->losses, sizeof(a->losses));
	assert_string_equal(a->info.version, b->info.version);
	assert_string_equal(a->info.kernel, b->info.kernel);
	assert_string_equal(a->info.capture, b->info.capture);
	assert_int_equal(a->info.n_probes, b->info.n_probes);
	for (size_t i = 0; i < a->info.n_probes; i++)
		assert_string_equal(a->info.probes[i], b->info.probes[i]);
	SAME(info, probe_attached, a->info.n_probes);
}

static struct batch_arena *arena;

static int set_up(void **state)
{
	(void)state;
	return batch_arena_new(&arena);
}

static int tear_down(void **state)
{
	(void)state;
	batch_arena_free(arena);
	arena = NULL;
	return 0;
}

static void every_field_survives_the_round_trip(void **state)
{
	struct batch in = full_batch(), out;
	const char *reason = NULL;
	void *data;
	size_t len;

	(void)state;
	assert_int_equal(batch_encode(&in, &data, &len), 0);
	for (int i = 0; i < 3; i++) {
		int err = batch_decode(arena, data, len, &out, &reason);

		if (err)
			fail_msg("%s", reason);
		assert_batches_equal(&in, &out);
	}
	free(data);
}

static void a_heartbeat_has_the_empty_string_and_nothing_else(void **state)
{
	struct batch in = { .agent = "n", .epoch = 1, .sequence = 1 }, out;
	void *data;
	size_t len;

	(void)state;
	assert_int_equal(batch_encode(&in, &data, &len), 0);
	assert_int_equal(batch_decode(arena, data, len, &out, NULL), 0);
	assert_int_equal(out.n_strings, 1);
	assert_string_equal(out.strings[0].data, "");
	assert_int_equal(out.strings[0].len, 0);
	assert_int_equal(out.events.n, 0);
	assert_null(out.events.connection);
	assert_int_equal(out.series.n, 0);
	assert_int_equal(out.rollups.n, 0);
	assert_string_equal(out.info.version, "");
	free(data);
}

/* --- refusals: one thing wrong in an otherwise good message --- */

static uint32_t *zeros_u32(size_t n)
{
	return calloc(n, sizeof(uint32_t));
}

static void grow(uint32_t **column, size_t *n_column, size_t n)
{
	free(*column);
	*column = zeros_u32(n);
	*n_column = n;
}

static char *text(size_t len)
{
	char *s = malloc(len + 1);

	memset(s, 'x', len);
	s[len] = '\0';
	return s;
}

static void set_text(char **s, const char *value)
{
	if (*s != protobuf_c_empty_string)
		free(*s);
	*s = strdup(value);
}

static void many_strings(Redtap__Batch *m)
{
	char **s = calloc(LIMIT_STRINGS + 1, sizeof(*s));

	for (size_t i = 0; i <= LIMIT_STRINGS; i++)
		s[i] = i < m->n_strings ? m->strings[i] : strdup("");
	free(m->strings);
	m->strings = s;
	m->n_strings = LIMIT_STRINGS + 1;
}

static void long_string(Redtap__Batch *m)
{
	free(m->strings[3]);
	m->strings[3] = text(LIMIT_STRING_BYTES + 1);
}

static void long_agent(Redtap__Batch *m)
{
	free(m->agent);
	m->agent = text(LIMIT_AGENT_BYTES + 1);
}

static void many_resources(Redtap__Batch *m)
{
	Redtap__Resources *r = m->resources;
	size_t n = LIMIT_RESOURCES + 1;

	grow(&r->service, &r->n_service, n);
	grow(&r->namespace_, &r->n_namespace_, n);
	grow(&r->instance, &r->n_instance, n);
	grow(&r->container, &r->n_container, n);
	grow(&r->executable, &r->n_executable, n);
}

static void many_series(Redtap__Batch *m)
{
	grow(&m->series->resource, &m->series->n_resource, LIMIT_SERIES + 1);
}

static void many_events(Redtap__Batch *m)
{
	grow(&m->events->series, &m->events->n_series, LIMIT_EVENTS + 1);
}

static void many_rollups(Redtap__Batch *m)
{
	grow(&m->rollups->series, &m->rollups->n_series, LIMIT_ROLLUPS + 1);
}

static void many_rollup_buckets(Redtap__Batch *m)
{
	Redtap__Rollups *r = m->rollups;
	size_t n = LIMIT_ROLLUP_BUCKETS + 1;

	free(r->duration_index);
	free(r->duration_count);
	r->duration_index = calloc(n, sizeof(int32_t));
	r->duration_count = calloc(n, sizeof(uint64_t));
	r->n_duration_index = r->n_duration_count = n;
}

static void many_connections(Redtap__Batch *m)
{
	Redtap__Events *e = m->events;

	free(e->connection_local.data);
	free(e->connection_remote.data);
	e->connection_local.len = (LIMIT_CONNECTIONS + 1) * 18;
	e->connection_remote.len = e->connection_local.len;
	e->connection_local.data = calloc(1, e->connection_local.len);
	e->connection_remote.data = calloc(1, e->connection_local.len);
}

static void many_probes(Redtap__Batch *m)
{
	Redtap__Info *info = m->info;

	for (size_t i = 0; i < info->n_probes; i++)
		free(info->probes[i]);
	free(info->probes);
	info->n_probes = LIMIT_PROBES + 1;
	info->probes = calloc(info->n_probes, sizeof(char *));
	for (size_t i = 0; i < info->n_probes; i++)
		info->probes[i] = strdup("p");
}

/* One refusal per line: what is done to the message m, and the reason. */
#define UNEQUAL(table) table ": columns of unequal length"
#define STRINGS_INDEX(table) table ": index outside strings"
#define RS (m->resources)
#define SE (m->series)
#define EV (m->events)
#define RO (m->rollups)
#define IN (m->info)
#define LO (m->losses)
#define OVER_LOSSES "losses: counter over LIMIT_LOSSES"
#define REFUSALS(X)                                                            \
	X(set_text(&m->agent, ""), "agent: missing")                           \
	X(long_agent(m), "agent: over LIMIT_AGENT_BYTES")                      \
	X(set_text(&m->agent, "\xc3"), "agent: not UTF-8 without NUL")         \
	X(m->epoch = 0, "epoch: missing")                                      \
	X(m->sequence = 0, "sequence: missing")                                \
	X(m->first_sequence = 78, "first_sequence: after sequence")            \
	X(m->base_us = -1, "base_us: outside LIMIT_TIME_US")                   \
	X(m->base_us = (int64_t)LIMIT_TIME_US,                                 \
	  "base_us: outside LIMIT_TIME_US")                                    \
	X(many_strings(m), "strings: more than LIMIT_STRINGS")                 \
	X(long_string(m), "strings: one over LIMIT_STRING_BYTES")              \
	X(set_text(&m->strings[4], "ok \xed\xa0\x80"),                         \
	  "strings: one is not UTF-8 without NUL")                             \
	X(set_text(&m->strings[0], "x"), "strings: [0] is not empty")          \
	X(many_resources(m), "resources: more than LIMIT_RESOURCES")           \
	X(RS->n_service--, UNEQUAL("resources"))                               \
	X(RS->n_namespace_--, UNEQUAL("resources"))                            \
	X(RS->n_instance--, UNEQUAL("resources"))                              \
	X(RS->n_container--, UNEQUAL("resources"))                             \
	X(RS->n_executable--, UNEQUAL("resources"))                            \
	X(RS->service[1] = 11, STRINGS_INDEX("resources"))                     \
	X(RS->namespace_[0] = 11, STRINGS_INDEX("resources"))                  \
	X(RS->instance[1] = UINT32_MAX, STRINGS_INDEX("resources"))            \
	X(RS->container[1] = 11, STRINGS_INDEX("resources"))                   \
	X(RS->executable[0] = 12, STRINGS_INDEX("resources"))                  \
	X(RS->n_pod_uid--, UNEQUAL("resources"))                               \
	X(RS->n_labels--, UNEQUAL("resources"))                                \
	X(RS->image[1] = 11, STRINGS_INDEX("resources"))                       \
	X(RS->pod_uid[0] = UINT32_MAX, STRINGS_INDEX("resources"))             \
	X(many_series(m), "series: more than LIMIT_SERIES")                    \
	X(SE->n_resource--, UNEQUAL("series"))                                 \
	X(SE->n_role--, UNEQUAL("series"))                                     \
	X(SE->n_method--, UNEQUAL("series"))                                   \
	X(SE->n_route--, UNEQUAL("series"))                                    \
	X(SE->n_status--, UNEQUAL("series"))                                   \
	X(SE->n_outcome--, UNEQUAL("series"))                                  \
	X(SE->n_version--, UNEQUAL("series"))                                  \
	X(SE->n_scheme--, UNEQUAL("series"))                                   \
	X(SE->n_address--, UNEQUAL("series"))                                  \
	X(SE->n_port--, UNEQUAL("series"))                                     \
	X(SE->n_untimed--, UNEQUAL("series"))                                  \
	X(SE->n_rpc--, UNEQUAL("series"))                                      \
	X(SE->n_rpc_status--, UNEQUAL("series"))                               \
	X(SE->resource[2] = 2, "series: index outside resources")              \
	X(SE->method[0] = 11, STRINGS_INDEX("series"))                         \
	X(SE->route[1] = 11, STRINGS_INDEX("series"))                          \
	X(SE->scheme[2] = 11, STRINGS_INDEX("series"))                         \
	X(SE->address[0] = 11, STRINGS_INDEX("series"))                        \
	X(SE->role[0] = 0, "series: unknown role")                             \
	X(SE->role[2] = 3, "series: unknown role")                             \
	X(SE->outcome[1] = 5, "series: unknown outcome")                       \
	X(SE->status[1] = 1000, "series: status over LIMIT_STATUS")            \
	X(SE->version[1] = 256, "series: version over LIMIT_HTTP_VERSION")     \
	X(SE->port[1] = 65536, "series: port over 65535")                      \
	X(SE->untimed[0] = 2, "series: untimed is neither 0 nor 1")            \
	X(SE->rpc[1] = LIMIT_RPC + 1, "series: rpc over LIMIT_RPC")            \
	X(SE->rpc_status[1] = LIMIT_RPC_STATUS + 1,                            \
	  "series: rpc_status over LIMIT_RPC_STATUS")                          \
	X(many_events(m), "events: more than LIMIT_EVENTS")                    \
	X(EV->n_series--, UNEQUAL("events"))                                   \
	X(EV->n_start_delta_us--, UNEQUAL("events"))                           \
	X(EV->n_duration_us--, UNEQUAL("events"))                              \
	X(EV->n_tail_us--, UNEQUAL("events"))                                  \
	X(EV->n_request_bytes--, UNEQUAL("events"))                            \
	X(EV->n_response_bytes--, UNEQUAL("events"))                           \
	X(EV->n_connection--, UNEQUAL("events"))                               \
	X(EV->n_stream--, UNEQUAL("events"))                                   \
	X(EV->series[4] = 3, "events: index outside series")                   \
	X(EV->start_delta_us[0] = -m->base_us - 1,                             \
	  "events: start outside LIMIT_TIME_US")                               \
	X(EV->start_delta_us[2] = INT64_MIN,                                   \
	  "events: start outside LIMIT_TIME_US")                               \
	X(EV->duration_us[1] = LIMIT_DURATION_US,                              \
	  "events: duration over LIMIT_DURATION_US")                           \
	X(EV->tail_us[1] = 301, "events: tail longer than duration")           \
	X(EV->request_bytes[0] = LIMIT_BODY_BYTES,                             \
	  "events: size over LIMIT_BODY_BYTES")                                \
	X(EV->response_bytes[4] = UINT64_MAX,                                  \
	  "events: size over LIMIT_BODY_BYTES")                                \
	X(grow(&EV->traced, &EV->n_traced, 6),                                 \
	  "events: more traced than events")                                   \
	X(EV->trace_ids.len--, "events: trace_ids are not 24 bytes each")      \
	X(EV->n_traced--, "events: trace_ids are not 24 bytes each")           \
	X(EV->traced[1] = 4, "events: traced index outside events")            \
	X(EV->traced[1] = 0, "events: traced twice")                           \
	X(many_connections(m), "events: more than LIMIT_CONNECTIONS")          \
	X(EV->connection_local.len--,                                          \
	  "events: connection ends are not 18 bytes each")                     \
	X(EV->connection_remote.len -= 18,                                     \
	  "events: connection ends are not 18 bytes each")                     \
	X(EV->connection[2] = 3, "events: index outside connections")          \
	X(many_rollups(m), "rollups: more than LIMIT_ROLLUPS")                 \
	X(RO->n_series--, UNEQUAL("rollups"))                                  \
	X(RO->n_window_delta_s--, UNEQUAL("rollups"))                          \
	X(RO->n_count--, UNEQUAL("rollups"))                                   \
	X(RO->n_duration_sum_us--, UNEQUAL("rollups"))                         \
	X(RO->n_request_bytes_sum--, UNEQUAL("rollups"))                       \
	X(RO->n_response_bytes_sum--, UNEQUAL("rollups"))                      \
	X(RO->n_duration_buckets--, UNEQUAL("rollups"))                        \
	X(RO->n_request_buckets--, UNEQUAL("rollups"))                         \
	X(RO->n_response_buckets--, UNEQUAL("rollups"))                        \
	X(RO->n_duration_index--, UNEQUAL("rollups"))                          \
	X(RO->n_request_index--, UNEQUAL("rollups"))                           \
	X(RO->n_response_count--, UNEQUAL("rollups"))                          \
	X(RO->detail = 0, "rollups: unknown detail")                           \
	X(RO->detail = 2, "rollups: unknown detail")                           \
	X(RO->series[1] = 3, "rollups: index outside series")                  \
	X(m->base_us += 1, "rollups: not the start of a window")               \
	X(RO->window_delta_s[0] = -9, "rollups: not the start of a window")    \
	X(RO->window_delta_s[0] = -1700000010,                                 \
	  "rollups: not the start of a window")                                \
	X(RO->window_delta_s[1] = INT64_MAX,                                   \
	  "rollups: not the start of a window")                                \
	X(RO->count[0] = LIMIT_ROLLUP_COUNT,                                   \
	  "rollups: count over LIMIT_ROLLUP_COUNT")                            \
	X(RO->request_bytes_sum[0] = LIMIT_ROLLUP_SUM,                         \
	  "rollups: sum over LIMIT_ROLLUP_SUM")                                \
	X((RO->response_bytes_sum[0] = LIMIT_ROLLUP_SUM / 2,                   \
	   RO->response_bytes_sum[1] = LIMIT_ROLLUP_SUM / 2),                  \
	  "rollups: sum over LIMIT_ROLLUP_SUM")                                \
	X((RO->count[0] = LIMIT_ROLLUP_COUNT / 2,                              \
	   RO->count[1] = LIMIT_ROLLUP_COUNT / 2),                             \
	  "rollups: count over LIMIT_ROLLUP_COUNT")                            \
	X(RO->duration_sum_us[1]++,                                            \
	  "rollups: sum over what its count can add up to")                    \
	X(RO->request_bytes_sum[0] = 5 * (LIMIT_BODY_BYTES - 1) + 1,           \
	  "rollups: sum over what its count can add up to")                    \
	X(RO->response_bytes_sum[1] = 7 * (LIMIT_BODY_BYTES - 1) + 1,          \
	  "rollups: sum over what its count can add up to")                    \
	X(RO->duration_count[0] = LIMIT_ROLLUP_COUNT,                          \
	  "rollups: bucket over LIMIT_ROLLUP_COUNT")                           \
	X(many_rollup_buckets(m), "rollups: more than LIMIT_ROLLUP_BUCKETS")   \
	X(RO->response_index[2] = 1026, "rollups: bucket index out of range")  \
	X(RO->duration_index[0] = BUCKET_ZERO - 1,                             \
	  "rollups: bucket index out of range")                                \
	X(RO->count[1] = 8, "rollups: buckets do not add up to the count")     \
	X(RO->request_count[1] = 6,                                            \
	  "rollups: buckets do not add up to the count")                       \
	X(RO->response_buckets[1] = 3, "rollups: bucket outside its table")    \
	X((RO->n_duration_index--, RO->n_duration_count--),                    \
	  "rollups: bucket outside its table")                                 \
	X(many_probes(m), "info: more than LIMIT_PROBES")                      \
	X(IN->n_probe_attached--, UNEQUAL("info"))                             \
	X(set_text(&IN->kernel, "\xff"),                                       \
	  "info: not UTF-8 or over LIMIT_STRING_BYTES")                        \
	X(set_text(&IN->probes[1], "\xc0\x80"),                                \
	  "info: not UTF-8 or over LIMIT_STRING_BYTES")                        \
	X(LO->captured = LIMIT_LOSSES, OVER_LOSSES)                            \
	X(LO->packed = UINT64_MAX, OVER_LOSSES)                                \
	X(LO->rolled_up = LIMIT_LOSSES, OVER_LOSSES)                           \
	X(LO->dropped[0] = LIMIT_LOSSES, OVER_LOSSES)                          \
	X(LO->counters[AGENT_COUNTERS - 1] = LIMIT_LOSSES, OVER_LOSSES)

/* One check per entry; each starts from a fresh message. */
static void check_refusal(const uint8_t *data, size_t len, const char *what,
			  const char *expected)
{
	const char *reason = NULL;
	struct batch out;

	if (batch_decode(arena, data, len, &out, &reason) != -EPROTO)
		fail_msg("taken although: %s", what);
	if (strcmp(reason, expected) != 0)
		fail_msg("%s: refused for \"%s\", not \"%s\"", what, reason,
			 expected);
	assert_null(out.agent);
}

#define REFUSAL(action, expected)                                              \
	do {                                                                   \
		Redtap__Batch *m =                                             \
			redtap__batch__unpack(NULL, good_len, good);           \
		uint8_t *bad;                                                  \
		size_t bad_len;                                                \
                                                                               \
		assert_non_null(m);                                            \
		action;                                                        \
		bad = malloc(redtap__batch__get_packed_size(m));               \
		bad_len = redtap__batch__pack(m, bad);                         \
		check_refusal(bad, bad_len, #action, expected);                \
		free(bad);                                                     \
		redtap__batch__free_unpacked(m, NULL);                         \
	} while (0);

static void every_rule_refuses_and_says_why(void **state)
{
	struct batch in = full_batch();
	void *good;
	size_t good_len;

	(void)state;
	assert_int_equal(batch_encode(&in, &good, &good_len), 0);
	REFUSALS(REFUSAL)
	free(good);
}

static void a_message_over_the_limit_is_not_even_read(void **state)
{
	uint8_t *data = calloc(1, LIMIT_MESSAGE_BYTES + 1);
	const char *reason = NULL;
	struct batch out;

	(void)state;
	assert_int_equal(batch_decode(arena, data, LIMIT_MESSAGE_BYTES + 1,
				      &out, &reason),
			 -EPROTO);
	assert_string_equal(reason, "message: over LIMIT_MESSAGE_BYTES");
	free(data);
}

static void a_nul_inside_a_string_is_refused(void **state)
{
	struct batch in = full_batch(), out;
	const char *reason = NULL;
	uint8_t *data, *at;
	void *encoded;
	size_t len;

	(void)state;
	assert_int_equal(batch_encode(&in, &encoded, &len), 0);
	data = encoded;
	at = memmem(data, len, "c0ffee", 6);
	assert_non_null(at);
	at[2] = '\0';
	assert_int_equal(batch_decode(arena, data, len, &out, &reason),
			 -EPROTO);
	assert_string_equal(reason, "strings: one is not UTF-8 without NUL");
	free(data);
}

static void utf8_is_checked_to_the_letter_of_rfc_3629(void **state)
{
	static const struct {
		const char *s;
		bool good;
	} cases[] = {
		{ "plain ascii, longer than eight", true },
		{ "12345678", true },
		{ "1234567\xc3\xa9", true },
		{ "\x7f", true },
		{ "\xc2\x80", true },
		{ "\xdf\xbf", true },
		{ "\xe0\xa0\x80", true },
		{ "\xed\x9f\xbf", true },
		{ "\xee\x80\x80", true },
		{ "\xef\xbf\xbf", true },
		{ "\xf0\x90\x80\x80", true },
		{ "\xf4\x8f\xbf\xbf", true },
		{ "\x80", false },
		{ "12345678\xbf", false },
		{ "\xc0\xaf", false },
		{ "\xc1\xbf", false },
		{ "\xc2", false },
		{ "\xc2\x41", false },
		{ "\xe0\x9f\xbf", false },
		{ "\xe1\x80", false },
		{ "\xe1\x80\xc0", false },
		{ "\xed\xa0\x80", false },
		{ "\xf0\x8f\xbf\xbf", false },
		{ "\xf0\x90\x80", false },
		{ "\xf4\x90\x80\x80", false },
		{ "\xf5\x80\x80\x80", false },
		{ "\xff", false },
	};
	void *data;
	size_t len;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct batch_string s[2] = { { "", 0 }, { cases[i].s, 0 } };
		struct batch in = { .agent = "n",
				    .epoch = 1,
				    .sequence = 1,
				    .n_strings = 2,
				    .strings = s },
			     out;
		int err;

		assert_int_equal(batch_encode(&in, &data, &len), 0);
		err = batch_decode(arena, data, len, &out, NULL);
		if ((!err) != cases[i].good)
			fail_msg("case %zu: %d", i, err);
		free(data);
	}
}

static void unknown_fields_are_ignored(void **state)
{
	/* Field 100: varint, fixed64, bytes, fixed32. */
	static const uint8_t extra[] = {
		0xa0, 0x06, 0x96, 0x01, 0xa1, 0x06, 1,	 2,    3, 4, 5, 6, 7,
		8,    0xa2, 0x06, 0x03, 'a',  'b',  'c', 0xa5, 6, 9, 9, 9, 9,
	};
	struct batch in = full_batch(), out;
	uint8_t *both;
	void *data;
	size_t len;

	(void)state;
	assert_int_equal(batch_encode(&in, &data, &len), 0);
	both = malloc(len + sizeof(extra));
	memcpy(both, extra, sizeof(extra));
	memcpy(both + sizeof(extra), data, len);
	assert_int_equal(
		batch_decode(arena, both, len + sizeof(extra), &out, NULL), 0);
	assert_batches_equal(&in, &out);
	free(both);
	free(data);
}

/* The input ends where memory ends. */
static uint8_t *guarded(const void *data, size_t len, void **map, size_t *size)
{
	size_t pages = (len + 4095) / 4096 * 4096;
	uint8_t *p;

	*size = pages + 4096;
	p = mmap(NULL, *size, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(p != MAP_FAILED);
	assert_int_equal(mprotect(p + pages, 4096, PROT_NONE), 0);
	*map = p;
	if (len > 0)
		memcpy(p + pages - len, data, len);
	return p + pages - len;
}

static void every_prefix_is_refused_or_valid(void **state)
{
	struct batch in = full_batch(), out;
	size_t len, size, valid = 0;
	void *data, *map;
	uint8_t *p;

	(void)state;
	assert_int_equal(batch_encode(&in, &data, &len), 0);
	for (size_t n = 0; n < len; n++) {
		int err;

		p = guarded(data, n, &map, &size);
		err = batch_decode(arena, p, n, &out, NULL);
		assert_true(!err || err == -EPROTO);
		if (!err) {
			valid++;
			/* Only whole top-level fields may be missing. */
			assert_string_equal(out.agent, in.agent);
			assert_true(out.events.n == 0 || out.events.n == 5);
			assert_true(out.rollups.n == 0 || out.rollups.n == 2);
		}
		munmap(map, size);
	}
	/* Cut after sequence, base_us, strings (11), resources … info. */
	assert_int_equal(valid, 1 + 1 + 11 + 6);
	free(data);
}

static uint64_t next_random(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

static void walk(const struct batch *b)
{
	volatile uint64_t sum = 0;

	for (size_t i = 0; i < b->series.n; i++) {
		sum += b->strings[b->series.route[i]].len;
		sum += strlen(b->strings[b->series.method[i]].data);
		sum += b->resources.service[b->series.resource[i]];
	}
	for (size_t i = 0; i < b->events.n; i++)
		sum += b->series.status[b->events.series[i]];
}

static void damaged_messages_never_crash(void **state)
{
	struct batch in = full_batch(), out;
	uint64_t x = 88172645463325252u;
	size_t len, taken = 0;
	uint8_t *copy;
	void *data;

	(void)state;
	assert_int_equal(batch_encode(&in, &data, &len), 0);
	copy = malloc(len);
	for (int i = 0; i < 20000; i++) {
		memcpy(copy, data, len);
		for (uint64_t k = next_random(&x) % 4 + 1; k > 0; k--)
			copy[next_random(&x) % len] = (uint8_t)next_random(&x);
		if (batch_decode(arena, copy, len, &out, NULL) == 0) {
			walk(&out);
			taken++;
		}
	}
	assert_true(taken > 0 && taken < 20000);
	free(copy);
	free(data);
}

static void fields_that_multiply_are_stopped_by_the_memory_cap(void **state)
{
	/* 2,097,152 times field 100 = 0 in front of nothing. */
	uint8_t *data = malloc(LIMIT_MESSAGE_BYTES);
	const char *reason = NULL;
	struct batch out;

	(void)state;
	for (size_t i = 0; i + 2 < LIMIT_MESSAGE_BYTES; i += 3) {
		data[i] = 0xa0;
		data[i + 1] = 0x06;
		data[i + 2] = 0;
	}
	assert_int_equal(batch_decode(arena, data, LIMIT_MESSAGE_BYTES / 3 * 3,
				      &out, &reason),
			 -EPROTO);
	assert_non_null(reason);
	/* Sub-messages that are merged again and again. */
	for (size_t i = 0; i + 3 < LIMIT_MESSAGE_BYTES; i += 4)
		memcpy(data + i, "\x3a\x02\x08\x00", 4);
	assert_int_equal(
		batch_decode(arena, data, LIMIT_MESSAGE_BYTES, &out, &reason),
		-EPROTO);
	free(data);
}

#ifdef __SANITIZE_ADDRESS__
#define OWN_MALLOC 0 /* the sanitizer has its own */
#else
#define OWN_MALLOC 1
void *__libc_malloc(size_t n);

static size_t most_bytes = SIZE_MAX; /* malloc() fails for more */

void *malloc(size_t n)
{
	return n > most_bytes ? NULL : __libc_malloc(n);
}
#endif

static void a_lack_of_memory_is_not_the_batchs_fault(void **state)
{
#if OWN_MALLOC
	enum { EVENTS = 60000 };
	struct batch in = full_batch(), out;
	struct batch_arena *small;
	uint32_t *ones = calloc(EVENTS, sizeof(*ones));
	uint64_t *zeros = calloc(EVENTS, sizeof(*zeros));
	const char *reason = "none";
	void *data;
	size_t len;

	in.events = (struct batch_events){
		.n = EVENTS,
		.series = ones,
		.start_delta_us = (const int64_t *)zeros,
		.duration_us = zeros,
		.tail_us = zeros,
		.request_bytes = zeros,
		.response_bytes = zeros,
	};
	assert_int_equal(batch_encode(&in, &data, &len), 0);
	assert_int_equal(batch_arena_new(&small), 0);
	most_bytes = 128 << 10;
	assert_int_equal(batch_decode(small, data, len, &out, &reason),
			 -ENOMEM);
	most_bytes = SIZE_MAX;
	assert_string_equal(reason, "none");
	assert_null(out.agent);
	assert_int_equal(batch_decode(small, data, len, &out, &reason), 0);
	assert_int_equal(out.events.n, EVENTS);
	batch_arena_free(small);
	free(data);
	free(ones);
	free(zeros);
	(void)state;
#else
	(void)state;
	skip();
#endif
}

static void too_much_to_send_is_an_error(void **state)
{
	struct batch in = full_batch();
	struct batch_string *s = calloc(8000, sizeof(*s));
	char *big = text(LIMIT_STRING_BYTES);
	void *data = NULL;
	size_t len = 0;

	(void)state;
	s[0].data = "";
	for (size_t i = 1; i < 8000; i++)
		s[i] = (struct batch_string){ big, LIMIT_STRING_BYTES };
	in.n_strings = 8000;
	in.strings = s;
	assert_int_equal(batch_encode(&in, &data, &len), -EMSGSIZE);
	assert_null(data);
	free(big);
	free(s);
}

static void names_cover_every_stage_and_counter(void **state)
{
	(void)state;
	for (unsigned i = 0; i < LOSS_STAGES; i++)
		assert_non_null(loss_stage_name(i));
	assert_null(loss_stage_name(LOSS_STAGES));
	for (unsigned i = 0; i < AGENT_COUNTERS; i++)
		assert_non_null(agent_counter_name(i));
	assert_null(agent_counter_name(AGENT_COUNTERS));
	assert_string_equal(loss_stage_name(LOSS_OUTBOX), "outbox");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_field_survives_the_round_trip),
		cmocka_unit_test(
			a_heartbeat_has_the_empty_string_and_nothing_else),
		cmocka_unit_test(every_rule_refuses_and_says_why),
		cmocka_unit_test(a_message_over_the_limit_is_not_even_read),
		cmocka_unit_test(a_nul_inside_a_string_is_refused),
		cmocka_unit_test(utf8_is_checked_to_the_letter_of_rfc_3629),
		cmocka_unit_test(unknown_fields_are_ignored),
		cmocka_unit_test(every_prefix_is_refused_or_valid),
		cmocka_unit_test(damaged_messages_never_crash),
		cmocka_unit_test(
			fields_that_multiply_are_stopped_by_the_memory_cap),
		cmocka_unit_test(a_lack_of_memory_is_not_the_batchs_fault),
		cmocka_unit_test(too_much_to_send_is_an_error),
		cmocka_unit_test(names_cover_every_stage_and_counter),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
