/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_SAMPLE_SNAPSHOT_H
#define TESTS_SAMPLE_SNAPSHOT_H

#include <string.h>

#include "aggregator/expose/metrics.h"
#include "aggregator/snapshot/snapshot.h"

/*
 * A snapshot made by hand, so that the exposition can be checked without the
 * engine. Every number in it is different, or a swap would go unnoticed.
 */

#define NASTY "a\\b\"c\nd \xc3\xa9"

static const struct view sample_requests = {
	.name = "sample_http_requests",
	.help = "Requests, with a \\ and\na newline and a \" in the help.",
	.unit = "",
	.kind = VIEW_COUNTER,
	.source = VIEW_REQUESTS,
	.labels = { LABEL_JOB, LABEL_ROLE, LABEL_METHOD, LABEL_STATUS },
	.n_labels = 4,
	.max_series = 5000,
};

static const struct view sample_duration = {
	.name = "sample_server_request_duration_seconds",
	.help = "How long requests took.",
	.unit = "seconds",
	.kind = VIEW_HISTOGRAM,
	.source = VIEW_DURATION,
	.labels = { LABEL_JOB, LABEL_METHOD, LABEL_ROUTE, LABEL_STATUS,
		    LABEL_ERROR },
	.n_labels = 5,
	.bounds = { 5000, 100000, 1000000, 10000000 },
	.n_bounds = 4,
	.max_series = 7000,
};

static const struct view sample_size = {
	.name = "sample_server_response_body_size_bytes",
	.help = "How long bodies were.",
	.unit = "bytes",
	.kind = VIEW_HISTOGRAM,
	.source = VIEW_RESPONSE_BYTES,
	.bounds = { 0, 32, 8192 },
	.n_bounds = 3,
	.max_series = 9000,
};

static const struct snapshot_series sample_requests_series[] = {
	{ .labels.value = { "shop/cart", "server", "GET", "200" },
	  .count = 18446744073709551615u },
	{ .labels.value = { NASTY, "client", "POST", NULL }, .count = 41 },
	{ .labels.overflow = true, .count = 43 },
};

static const uint64_t sample_bucket_a[] = { 3, 0, 2, 1, 1 };
/* 2^(i/8) s: 3 of 4 ms, 2 of 0.5 s exactly, 1 of 3 s, 1 of 20 s */
static const uint64_t sample_native_a[100] = {
	[0] = 3, [56] = 2, [77] = 1, [98] = 1
};
static const struct exemplar sample_exemplar_a[] = {
	{ .value = 4001,
	  .time_us = 1700000000123456,
	  .trace = { 0x4b, 0xf9, 0x2f, 0x35, 0x77, 0xb3, 0x4d, 0xa6,
		     0xa3, 0xce, 0x92, 0x9d, 0x0e, 0x0e, 0x47, 0x36,
		     0x00, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7 },
	  .log_id = 12,
	  .event = 34 },
	{ .bucket = 2,
	  .value = 500000,
	  .time_us = 1700000001000000,
	  .log_id = UINT64_MAX,
	  .event = UINT32_MAX },
};
static const uint64_t sample_bucket_b[] = { 0, 0, 0, 0, 0 };
static const uint64_t sample_bucket_c[] = { 1, 1, 1, 1, 2 };
static const uint64_t sample_native_c[] = { 1, 0, 0, 2, 0, 0, 0, 1, 1, 1 };
static const struct snapshot_series sample_duration_series[] = {
	{ .labels.value = { "shop/cart", "GET", "/users/{id}", "200", NULL },
	  .count = 7,
	  .sum = 24012003,
	  .bucket = sample_bucket_a,
	  .native = { .first = -63, .n = 99, .count = sample_native_a },
	  .n_exemplars = 2,
	  .exemplar = sample_exemplar_a,
	  .created_us = 1699999990000000 },
	{ .labels.value = { "shop/cart", "GET", "/users/{id}", "500", "500" },
	  .bucket = sample_bucket_b },
	{ .labels.overflow = true,
	  .count = 6,
	  .sum = 9007199254740993,
	  .bucket = sample_bucket_c,
	  .native = { .first = 2, .n = 10, .count = sample_native_c } },
};

static const uint64_t sample_bucket_size[] = { 5, 0, 1, 1 };
static const uint64_t sample_native_size[] = { 1, 1 };
static const struct snapshot_series sample_size_series[] = {
	{ .count = 7,
	  .sum = 9001,
	  .bucket = sample_bucket_size,
	  .native = { .first = 104,
		      .n = 2,
		      .count = sample_native_size,
		      .zero = 5 } },
};

static const struct snapshot_values sample_requests_values[] = {
	{ 501, 511, 521 },
	{ 502, 512, 522 },
	{ 503, 513, 599 },
	{ 504, 514, 524 },
};
static const struct snapshot_values sample_duration_values[] = {
	{ 601, 611, 621 }, { 602, 612, 622 }, { 603, 613, 623 },
	{ 604, 614, 624 }, { 605, 615, 625 },
};

static const struct snapshot_view sample_views[] = {
	{ &sample_requests, 3, sample_requests_series, 5003, 43, 701,
	  sample_requests_values, "shop/cart", 801, 0, NULL },
	{ &sample_duration, 3, sample_duration_series, 17, 6, 702,
	  sample_duration_values, "a \"job\"", 802, 0, NULL },
	{ &sample_size, 1, sample_size_series, 1, 0, 703, NULL, NULL, 0, 0,
	  NULL },
};

static const struct snapshot_target sample_targets[] = {
	{ .job = "shop/cart",
	  .instance = "cart-1",
	  .service = "cart",
	  .namespace_ = "shop",
	  .container = "3f4e",
	  .node = "node-a",
	  .executable = "cartd" },
	{ .job = "nginx", .instance = "nginx-7", .node = "node-b" },
	{ .job = "shop/pay",
	  .instance = "shop.pay-7d9f8c6b5-x2x4z.pay",
	  .node = "node-b",
	  .pod_uid = "0b1c",
	  .pod = "pay-7d9f8c6b5-x2x4z",
	  .k8s_namespace = "shop",
	  .container_name = "pay",
	  .image = "r.example/pay:1",
	  .labels = "team=a%2Cb,app.kubernetes.io/part-of=shop" },
};

static const char *const sample_probes[] = { "sys_enter_read",
					     "sys_exit_read" };
static const uint32_t sample_attached[] = { 1, 0 };
static const struct snapshot_agent sample_agents[] = {
	{ .node = "node-a",
	  .version = "1.2.3",
	  .kernel = "6.1.0",
	  .capture = "syscall",
	  .up = true,
	  .last_seen_us = 1700000002500000,
	  .skew_us = -1250,
	  .captured = 1000,
	  .counted = 900,
	  .rolled_up = 77,
	  .dropped = { 1, 2, 3, 4, 5, 6, 7, 8 },
	  .dropped_sequence_gap = 79,
	  .dropped_expired = 80,
/* 101 and on, by number. */
#define KERNEL_COUNTER(NAME, ...) [AGENT_##NAME] = 101 + AGENT_##NAME,
#define AGENT_COUNTER(NAME, ...) [AGENT_##NAME] = 101 + AGENT_##NAME,
	  .counters = {
#include "proto/agent_counters.def"
	  },
	  .batches = 201,
	  .duplicates = 202,
	  .refused = 203,
	  .conflicts = 204,
	  .runs = true,
	  .told = true,
	  .outbox_bytes = 205,
	  .outbox_batches = 206,
	  .oldest_us = 2070000,
	  .acknowledged_us = 1700000002600000,
	  .certificate_us = 1800000000000000,
	  .n_probes = 2,
	  .probes = sample_probes,
	  .probe_attached = sample_attached,
	  .gaps = { [GAP_TLS_GO] = 207, [GAP_EXCLUDED] = 208 },
	  .samples_read = 1100,
	  .samples_dropped = { 11, 12, 13, 14, 15, 16, 17 },
	  .samples_counted = 1002,
	  .samples_conflict = 18,
	  .samples_no_family = 19 },
	/* A replay: it is not down, and says nothing about itself. */
	{ .node = "node-b", .last_seen_us = 1, .skew_us = 2000000 },
};

/* --- user programs --- */

static const struct snapshot_program sample_programs[] = {
	{ .node = "node-a",
	  .name = "gc",
	  .reason = "",
	  .state = SAMPLES_RUNNING,
	  .digest = { 0x01, 0xab, [31] = 0xff },
	  .runs = 501,
	  .run_ns = 1502000003,
	  .trap_ns = 504,
	  .read_us = 1700000002250000 },
	{ .node = "node-b",
	  .name = "gc",
	  .reason = "line 7: \"R1\"\nis no pointer",
	  .state = SAMPLES_FAILED },
};

static const struct snapshot_program_map sample_maps[] = {
	{ "node-a", "gc", "counts", SAMPLES_EXACT, 511, 8192 },
	{ "node-a", "gc", "pauses", SAMPLES_RACY, 27, 28 },
};

static const struct snapshot_label sample_minor[] = { { "generation", "0" },
						      { "node", "node-a" } };
static const struct snapshot_label sample_major[] = {
	{ "generation", "2 \"full\"" }, { "node", "node-a" }
};
static const struct snapshot_sample sample_collections[] = {
	{ .overflow = true, .count = 5 },
	{ sample_minor, 2, .count = UINT64_C(9007199254740993) },
	{ sample_major, 2, .count = 7 },
};
static const struct snapshot_sample sample_heap[] = {
	{ sample_minor, 2, .gauge = -3 },
};
static const uint64_t sample_pause_bounds[] = { 1000, 2000, 4000 };
static const uint64_t sample_pauses_in[] = { 1, 0, 2, 3 };
static const struct snapshot_sample sample_pauses[] = {
	{ sample_minor, 2, .count = 6, .sum = 30000,
	  .bucket = sample_pauses_in },
};
static const struct snapshot_family sample_families[] = {
	{ .name = "gc_collections_total",
	  .help = "Collections.",
	  .unit = "",
	  .program = "gc",
	  .kind = SAMPLES_COUNTER,
	  .multiplier = 1,
	  .n = 3,
	  .sample = sample_collections,
	  .series = 2,
	  .limit = 10000,
	  .overflowed = 5 },
	{ .name = "gc_heap_bytes",
	  .help = "Heap.",
	  .unit = "bytes",
	  .program = "gc",
	  .kind = SAMPLES_GAUGE,
	  .multiplier = 4096,
	  .n = 1,
	  .sample = sample_heap,
	  .series = 1,
	  .limit = 10000 },
	{ .name = "gc_pause_seconds",
	  .help = "",
	  .unit = "seconds",
	  .program = "gc",
	  .kind = SAMPLES_HISTOGRAM,
	  .multiplier = 0.000001,
	  .bound = sample_pause_bounds,
	  .n_bounds = 3,
	  .n = 1,
	  .sample = sample_pauses,
	  .series = 1,
	  .limit = 10000 },
};

static const struct snapshot sample = {
	.n_views = 3,
	.views = sample_views,
	.n_targets = 3,
	.targets = sample_targets,
	.n_agents = 2,
	.agents = sample_agents,
	.n_families = 3,
	.families = sample_families,
	.n_programs = 2,
	.programs = sample_programs,
	.n_program_maps = 2,
	.program_maps = sample_maps,
	.engine = {
		.batches = 301, .duplicates = 302, .events = 303,
		.rollup_events = 304, .refused = 305, .bytes_received = 306,
		.commits = 307, .commit_errors = 308,
		.commit_us_total = 309000001, .checkpoints = 310,
		.checkpoint_us_total = 311, .log_batches = 312,
		.log_bytes = 313, .store_bytes = 314, .windows = 315,
		.retention_deleted_batches = 316,
		.retention_deleted_windows = 317, .stores_set_aside = 318,
		.series = 319, .fold_ns_total = 320000000001,
		.busy_ns_total = 340000000001, .gate_rounds = 341,
		.gather_ms = 1342,
		.damaged_rows = 343, .lost_requests = 344,
		.retired_epochs = 321, .corrected = 322,
		.gate_busy = 323, .gate_cut_off = 324,
		.gate_waited = 325, .gate_turned_away = 326,
		.gate_connections = 327, .gate_held_bytes = 328,
	},
	.ready = true,
};

static inline struct metrics_self sample_self(void)
{
	struct metrics_self self = {
		.process_cpu_us = 401000,
		.process_resident_bytes = 402,
		.process_virtual_bytes = 403,
		.process_start_us = 1699999000000000,
		.process_open_fds = 404,
		.process_max_fds = 405,
		.process_threads = 406,
		.config_successful = 1,
		.config_success_us = 1699999000500000,
		.scrapes = { 407, 408, 409 },
		.renders = { 410, 411, 412 },
		.render_us = { 413, 414, 415 },
		.scrape_bytes = 416,
		.render_failures = 417,
		.snapshot_us = 418,
		.held_bytes = 419,
		.cut_readers = 420,
		.refused_busy = 421,
		.connections = 422,
	};

	self.http[200 - 100] = 423;
	self.http[404 - 100] = 424;
	return self;
}

#endif /* TESTS_SAMPLE_SNAPSHOT_H */
