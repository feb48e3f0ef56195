/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_SNAPSHOT_SNAPSHOT_H
#define AGGREGATOR_SNAPSHOT_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aggregator/fold/views.h"
#include "proto/batch.h"

/*
 * What a scrape sees: an immutable, consistent copy of everything committed,
 * taken by the engine and read by any thread. Series are in a fixed order
 * (by view, then by label values), so the same log gives the same bytes.
 */

/* Label values parallel to view->labels; NULL: the label is absent. */
struct snapshot_labels {
	const char *value[LABEL_KEYS];
	bool overflow; /* the view's one overflow series; values all NULL */
};

/*
 * Native histogram, exponential buckets of schema 3 (8 per power of two) over
 * the exposed unit (seconds, bytes): bucket i holds 2^((i-1)/8) < v <=
 * 2^(i/8), as Prometheus counts indexes. Dense between first and first + n.
 */
struct snapshot_native {
	int32_t first;
	uint32_t n;
	const uint64_t *count;
	uint64_t zero; /* values that are 0 */
};

struct snapshot_exemplar {
	uint32_t bucket; /* the classic bucket it is in */
	uint32_t event;
	uint64_t value; /* in the source's integer unit */
	int64_t time_us;
	uint8_t trace[24]; /* trace id, span id; all zero: none */
	uint64_t log_id; /* with event: the request id "log_id-event" */
	uint64_t generation; /* the engine's */
};

struct snapshot_series {
	struct snapshot_labels labels;
	uint64_t count; /* requests; the value of a counter */
	uint64_t sum; /* histogram: exact, in the source's integer unit */
	const uint64_t *bucket; /* n_bounds + 1 counts, not cumulative */
	struct snapshot_native native;
	size_t n_exemplars;
	const struct snapshot_exemplar *exemplar; /* ascending by bucket */
	int64_t created_us;
};

/* Distinct values of one label of a view. */
struct snapshot_values {
	uint64_t n, limit;
	uint64_t demand; /* ever asked for, granted or not, estimated */
};

struct snapshot_view {
	const struct view *view;
	size_t n;
	const struct snapshot_series *series;
	uint64_t demand; /* distinct label sets ever asked for, estimated */
	uint64_t overflowed; /* requests that went to the overflow series */
	uint64_t idle; /* series not shown because nothing came for long */
	const struct snapshot_values *values; /* n_labels of view, or NULL */
	/* Who asked for most sets that were not there, and how many; or NULL.
	 */
	const char *worst_job;
	uint64_t worst_job_sets;
};

/* job and instance pairs, for target_info. */
struct snapshot_target {
	const char *job, *instance, *service, *namespace_, *container, *node,
		*executable;
};

struct snapshot_agent {
	const char *node, *version, *kernel, *capture;
	bool up; /* heard of within three heartbeats */
	int64_t last_seen_us; /* wall clock */
	int64_t skew_us; /* agent clock - ours, last heard */
	/* All of these are sums over the agent's epochs: they never go back. */
	uint64_t captured, counted, rolled_up;
	uint64_t dropped[LOSS_STAGES];
	uint64_t dropped_sequence_gap; /* requests that never came */
	uint64_t dropped_expired; /* of epochs that are forgotten */
	uint64_t counters[AGENT_COUNTERS];
	uint64_t batches, duplicates, refused, conflicts;
	size_t n_probes;
	const char *const *probes;
	const uint32_t *probe_attached;
};

/* The aggregator's own counters and gauges that the engine knows. */
struct snapshot_engine {
	uint64_t batches, duplicates, events, rollup_events;
	uint64_t refused, bytes_received;
	uint64_t commits, commit_errors, commit_us_total;
	uint64_t checkpoints, checkpoint_us_total;
	uint64_t log_batches, log_bytes, store_bytes, windows;
	uint64_t retention_deleted_batches, retention_deleted_windows;
	uint64_t stores_set_aside; /* damaged files found at start */
	uint64_t retired_epochs; /* whose rows joined their agent's */
	uint64_t corrected; /* batches whose times were moved by the skew */
	/* Since the process's start; the last two: now. */
	uint64_t gate_busy, gate_cut_off, gate_waited, gate_turned_away;
	uint64_t gate_connections, gate_held_bytes;
	uint64_t series; /* all views */
	uint64_t fold_ns_total;
	/* Of the service graph: see struct graph_stats. */
	uint64_t edges_waiting, edges_joined, edges_expired, edges_evicted,
		edges_clamped_us;
};

struct fold;
/* Takes over what the fold's graph has counted. */
void snapshot_count_edges(struct snapshot_engine *to, struct fold *f);

struct snapshot {
	size_t n_views;
	const struct snapshot_view *views;
	size_t n_targets;
	const struct snapshot_target *targets;
	size_t n_agents;
	const struct snapshot_agent *agents;
	struct snapshot_engine engine;
	bool ready; /* commits work */
	char not_ready_why[256];
	uint64_t locked_ns; /* that the engine had to wait */
	/*
	 * NULL: every view has its series. Else it has them, their number and
	 * that of the idle ones from load() on, and the series until unload():
	 * so that memory is that of one view. For one thread. -ENOMEM.
	 */
	int (*load)(const struct snapshot *s, size_t view);
	void (*unload)(const struct snapshot *s, size_t view);
};

struct engine;
/*
 * A consistent copy of what is committed. Waits for the engine to reach a
 * point between two batches, never longer than one of them. Any thread. NULL
 * if out of memory. Released by snapshot_rele().
 */
const struct snapshot *snapshot_take(struct engine *e);
/* The same, but views are to be loaded. */
const struct snapshot *snapshot_open(struct engine *e);
void snapshot_rele(const struct snapshot *s); /* NULL is fine */

#endif /* AGGREGATOR_SNAPSHOT_SNAPSHOT_H */
