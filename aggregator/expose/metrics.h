/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_EXPOSE_METRICS_H
#define AGGREGATOR_EXPOSE_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aggregator/views/views.h"
#include "common/buf.h"

/*
 * The table of the metrics about redtap itself, declared once in metrics.def.
 * Both the exposition and docs/METRICS.md are generated from it.
 */

enum metric_type {
	METRIC_COUNTER,
	METRIC_GAUGE,
	METRIC_INFO,
	METRIC_HISTOGRAM, /* views and samples only */
	METRIC_UNKNOWN, /* samples only: a counter whose name lacks _total */
};

#define METRICS_FORMATS 3 /* values of enum expose_format */
#define METRICS_CODES 500 /* HTTP status 100 … 599 */

/*
 * Values that the web side knows and a snapshot does not have. All are 64-bit
 * and have their unit in the name.
 */
struct metrics_self {
	uint64_t process_cpu_us;
	uint64_t process_resident_bytes, process_virtual_bytes;
	uint64_t process_start_us; /* wall clock */
	uint64_t process_open_fds, process_max_fds, process_threads;
	uint64_t config_successful; /* 1 or 0 */
	uint64_t config_success_us; /* wall clock */
	uint64_t scrapes[METRICS_FORMATS]; /* answered */
	uint64_t renders[METRICS_FORMATS]; /* other scrapes shared one */
	uint64_t render_us[METRICS_FORMATS];
	uint64_t scrape_bytes; /* last rendering, before compression */
	uint64_t render_failures; /* out of memory or over a limit */
	uint64_t snapshot_us; /* total time spent taking snapshots */
	uint64_t locked_us; /* total time the engine waited for them */
	uint64_t held_bytes; /* renderings cached or still being read */
	uint64_t cut_readers; /* readers cut off because they were slow */
	uint64_t refused_busy; /* answered 503: a worker queue was full */
	uint64_t connections; /* open now */
	uint64_t certificate_us; /* it expires then; 0: there is none */
	uint64_t http[METRICS_CODES]; /* responses by status - 100 */
};

enum metric_source {
	METRIC_FROM_SELF, /* 64 bits at `offset` of struct metrics_self */
	METRIC_FROM_ENGINE, /* 64 bits at `offset` of struct snapshot_engine */
	METRIC_FROM_AGENT, /* one sample per struct snapshot_agent */
	METRIC_FROM_CODE, /* written by expose_list() for its list id */
};

enum metric_list {
	METRIC_LIST_NONE,
	METRIC_BUILD_INFO,
	METRIC_READY,
	METRIC_AGENT_UP,
	METRIC_AGENT_INFO,
	METRIC_AGENT_DROPPED,
	METRIC_AGENT_PROBES,
	METRIC_AGENT_GAPS,
	METRIC_AGENT_OUTBOX_BYTES,
	METRIC_AGENT_OUTBOX_OLDEST,
	METRIC_AGENT_ACKNOWLEDGED,
	METRIC_AGENT_CERTIFICATE,
	METRIC_REFUSALS,
	METRIC_CERTIFICATES,
	METRIC_HTTP2_DESYNCED,
	METRIC_HTTP2_UNKNOWN,
	METRIC_TUNNELS,
	METRIC_TUNNEL_SECONDS,
	METRIC_TUNNEL_BYTES,
	METRIC_VIEW_SERIES,
	METRIC_VIEW_LIMIT,
	METRIC_VIEW_DEMAND,
	METRIC_VIEW_OVERFLOWED,
	METRIC_VIEW_IDLE,
	METRIC_VIEW_LABEL_VALUES,
	METRIC_VIEW_LABEL_LIMIT,
	METRIC_VIEW_LABEL_DEMAND,
	METRIC_VIEW_WORST,
	METRIC_VIEW_WORST_JOB,
	METRIC_SCRAPES,
	METRIC_RENDERS,
	METRIC_RENDER_SECONDS,
	METRIC_HTTP_REQUESTS,
	METRIC_TARGET_INFO,
	METRIC_PROGRAM_INFO,
	METRIC_PROGRAM_STATE,
	METRIC_PROGRAM_RUNS,
	METRIC_PROGRAM_CPU,
	METRIC_PROGRAM_LAST_READ,
	METRIC_PROGRAM_MAP_INFO,
	METRIC_PROGRAM_MAP_ENTRIES,
	METRIC_PROGRAM_MAP_MAX_ENTRIES,
	METRIC_PROGRAM_READ,
	METRIC_PROGRAM_COUNTED,
	METRIC_PROGRAM_DROPPED,
	METRIC_PROGRAM_FAMILY_SERIES,
	METRIC_PROGRAM_FAMILY_OVERFLOWED,
};

struct metric {
	const char *name; /* as in the text format, with its suffix */
	enum metric_type type;
	const char *unit; /* "seconds", "bytes", "" */
	const char *labels; /* comma-separated, like "node,stage"; or "" */
	const char *help; /* for the exposition and docs/METRICS.md */
	const char *query; /* an example in PromQL */
	enum metric_source source;
	enum metric_list list;
	size_t offset;
	unsigned scale; /* the value is the integer / 10^scale */
};

extern const struct metric metrics[];
extern const size_t metrics_n;

/* Whether a family of ours has this name, "_total" and "_info" aside. */
bool metrics_has_name(const char *name);

/* Returns "counter", "gauge", "info" or "histogram". Static. */
const char *metric_type_name(enum metric_type type);

/* Writes docs/METRICS.md: the views, then this table. Returns out->err. */
int metrics_doc(struct buf *out, const struct views *views);

#endif /* AGGREGATOR_EXPOSE_METRICS_H */
