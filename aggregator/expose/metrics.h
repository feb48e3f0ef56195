/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_EXPOSE_METRICS_H
#define AGGREGATOR_EXPOSE_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aggregator/fold/views.h"
#include "common/buf.h"

/*
 * Our own metrics, declared once in metrics.def: the exposition and
 * docs/METRICS.md are made from this table.
 */

enum metric_type {
	METRIC_COUNTER,
	METRIC_GAUGE,
	METRIC_INFO,
	METRIC_HISTOGRAM, /* views only */
};

#define METRICS_FORMATS 3 /* enum expose_format */
#define METRICS_CODES 500 /* HTTP status 100 … 599 */

/* What the web side knows and no snapshot does. 64-bit, units in names. */
struct metrics_self {
	uint64_t process_cpu_us;
	uint64_t process_resident_bytes, process_virtual_bytes;
	uint64_t process_start_us; /* wall clock */
	uint64_t process_open_fds, process_max_fds, process_threads;
	uint64_t config_successful; /* 1 or 0 */
	uint64_t config_success_us; /* wall clock */
	uint64_t scrapes[METRICS_FORMATS]; /* answered */
	uint64_t renders[METRICS_FORMATS]; /* rendered: others shared one */
	uint64_t render_us[METRICS_FORMATS];
	uint64_t scrape_bytes; /* of the last rendering, not compressed */
	uint64_t render_failures; /* out of memory or over the cap */
	uint64_t snapshot_us; /* waiting for snapshots, in all */
	uint64_t locked_us; /* the engine waiting for these, in all */
	uint64_t held_bytes; /* renderings kept for slow readers */
	uint64_t cut_readers; /* slow readers whose rendering was taken away */
	uint64_t refused_busy; /* 503: too much waits for the workers */
	uint64_t connections; /* open now */
	uint64_t http[METRICS_CODES]; /* responses by status - 100 */
};

enum metric_source {
	METRIC_FROM_SELF, /* a uint64_t at offset in struct metrics_self */
	METRIC_FROM_ENGINE, /* … in struct snapshot_engine */
	METRIC_FROM_AGENT, /* … in struct snapshot_agent, by node */
	METRIC_FROM_CODE, /* made by expose.c, by its list id */
};

enum metric_list {
	METRIC_LIST_NONE,
	METRIC_BUILD_INFO,
	METRIC_READY,
	METRIC_AGENT_UP,
	METRIC_AGENT_INFO,
	METRIC_AGENT_DROPPED,
	METRIC_AGENT_PROBES,
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
};

struct metric {
	const char *name; /* as in the text format, suffix and all */
	enum metric_type type;
	const char *unit; /* "seconds", "bytes", "" */
	const char *labels; /* "node,stage"; "" */
	const char *help; /* one sentence */
	const char *query; /* an example worth copying */
	enum metric_source source;
	enum metric_list list;
	size_t offset;
	unsigned scale; /* decimal places of the integer */
};

extern const struct metric metrics[];
extern const size_t metrics_n;

/* "counter", "gauge", "info", "histogram". Static. */
const char *metric_type_name(enum metric_type type);

/* docs/METRICS.md: these and the views. Returns out->err. */
int metrics_doc(struct buf *out, const struct views *views);

#endif /* AGGREGATOR_EXPOSE_METRICS_H */
