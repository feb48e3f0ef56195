/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_SNAPSHOT_SNAPSHOT_H
#define AGGREGATOR_SNAPSHOT_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aggregator/ingest/refusal.h"
#include "aggregator/series/exemplar.h"
#include "aggregator/views/views.h"
#include "proto/batch.h"

/*
 * What a scrape sees: an immutable, consistent copy of everything committed.
 * Any thread takes it, under the engine's lock, and any thread may read it.
 * Series are ordered by view and label values, so the same log gives the same
 * output.
 */

/* Values in the order of view->labels; NULL: the label is absent. */
struct snapshot_labels {
	const char *value[LABEL_KEYS];
	bool overflow; /* the view's overflow series; all values are NULL */
};

/*
 * Native histogram, exponential buckets of schema 3 (8 per power of two) over
 * the exposed unit (seconds, bytes): bucket i holds 2^((i-1)/8) < v <= 2^(i/8),
 * with Prometheus's indexes. count has buckets [first, first + n).
 */
struct snapshot_native {
	int32_t first;
	uint32_t n;
	const uint64_t *count;
	uint64_t zero; /* how many values are 0 */
};

struct snapshot_series {
	struct snapshot_labels labels;
	uint64_t count; /* requests; a counter's value */
	uint64_t sum; /* of a histogram: exact, in µs or bytes */
	const uint64_t *bucket; /* n_bounds + 1 counts, not cumulative */
	struct snapshot_native native;
	size_t n_exemplars;
	const struct exemplar *exemplar; /* ascending by bucket */
	int64_t created_us;
};

/* Distinct values of one label of a view. */
struct snapshot_values {
	uint64_t n, limit;
	uint64_t demand; /* estimated distinct values, granted or not */
};

/* A service that asked a view for label sets beyond its budget. */
struct snapshot_asker {
	const char *job;
	uint64_t sets; /* estimated */
};

struct snapshot_view {
	const struct view *view;
	size_t n;
	const struct snapshot_series *series;
	uint64_t demand; /* estimated distinct label sets, granted or not */
	uint64_t overflowed; /* requests counted in the overflow series */
	uint64_t idle; /* series hidden for lack of events */
	const struct snapshot_values *values; /* view->n_labels, or NULL */
	/* The job with the most label sets beyond the budget; or NULL. */
	const char *worst_job;
	uint64_t worst_job_sets;
	/* All of these services, those that asked for most sets first. */
	size_t n_askers;
	const struct snapshot_asker *askers;
};

/* One pair of job and instance, for target_info. */
struct snapshot_target {
	const char *job, *instance, *node;
#define TEXT(name, text) const char *name;
	RESOURCE_ATTRIBUTES(TEXT)
#undef TEXT
};

struct snapshot_agent {
	const char *node, *version, *kernel, *capture;
	bool up; /* a new batch came within three heartbeats */
	int64_t last_seen_us; /* our wall clock at the last new batch */
	int64_t skew_us; /* agent's clock minus ours at that time */
	/* Sums over all of the agent's epochs, so they never decrease. */
	uint64_t captured, counted, rolled_up;
	uint64_t dropped[LOSS_STAGES];
	uint64_t dropped_sequence_gap; /* in batches that never arrived */
	uint64_t dropped_expired; /* in refused batches of retired epochs */
	uint64_t counters[AGENT_COUNTERS];
	/* As the agent said last; 0: down. */
	uint64_t gauges[AGENT_GAUGES];
	uint64_t gaps[GAP_REASONS]; /* services that it can't read */
	uint64_t batches, duplicates, refused, conflicts;
	bool runs; /* false: its batches are replayed or imported */
	/* What it said when it sent last; told: it says so at all. */
	bool told;
	uint64_t outbox_bytes, outbox_batches;
	uint64_t oldest_us; /* age of the oldest batch in its outbox */
	int64_t acknowledged_us; /* wall clock; 0: never yet */
	int64_t certificate_us; /* its certificate expires then; 0: none */
	/* Increments of samples; see proto/samples.h. */
	uint64_t samples_read, samples_dropped[SAMPLES_STAGES];
	uint64_t samples_counted;
	uint64_t samples_conflict, samples_no_family; /* not counted here */
	size_t n_probes;
	const char *const *probes;
	const uint32_t *probe_attached;
};

/* The engine's own counters and gauges. */
struct snapshot_engine {
	uint64_t batches, duplicates, events, rollup_events;
	uint64_t refused, bytes_received;
	uint64_t commits, commit_errors, commit_us_total;
	uint64_t checkpoints, checkpoint_us_total;
	uint64_t log_batches, log_bytes, store_bytes, windows;
	uint64_t retention_deleted_batches, retention_deleted_windows;
	uint64_t stores_set_aside; /* damaged files found at start */
	uint64_t retired_epochs; /* see ledger_retire() */
	uint64_t corrected; /* batches with corrected times: see skew.h */
	uint64_t damaged_rows; /* of the store, found by starts */
	uint64_t lost_requests; /* acknowledged, but not found by a start */
	uint64_t mended; /* rows of the ledger: see engine_mend() */
	uint64_t agents_evicted; /* from memory: see ledger_evict() */
	uint64_t agents, agents_max, epochs; /* in memory now */
	uint64_t info_bytes; /* what agents say about themselves, in memory */
	/* Since the process started. */
	uint64_t info_cut; /* agents' probes left out: see ledger_info.h */
	uint64_t refusals[REFUSALS];
	uint64_t certificate_us, ca_us; /* of ingest expire then; 0: none */
	uint64_t gate_busy, gate_cut_off, gate_waited, gate_turned_away;
	uint64_t gate_connections, gate_held_bytes; /* current values */
	uint64_t series; /* in all views */
	uint64_t fold_ns_total;
	uint64_t busy_ns_total; /* CPU time of the engine's thread */
	uint64_t gate_rounds; /* wake-ups of the gate's thread */
	uint64_t gather_ms; /* asked of agents: see gather.h; 0: nothing */
	/* The service graph's, see struct graph_stats. */
	uint64_t edges_waiting, edges_joined, edges_expired, edges_evicted,
		edges_clamped_us;
};

struct fold;
/* Copies the counters of the fold's service graph. */
void snapshot_count_edges(struct snapshot_engine *to, struct fold *f);

struct snapshot_label {
	const char *name, *value;
};

/* One series of a user program's metric. */
struct snapshot_sample {
	const struct snapshot_label *label; /* none with an empty value */
	size_t n_labels;
	bool overflow; /* beyond the budget; no labels */
	int64_t gauge; /* all in integers: shown times the multiplier */
	uint64_t count; /* counter; histogram: all buckets */
	uint64_t sum; /* of a histogram */
	const uint64_t *bucket; /* n_bounds + 1, not cumulative */
};

struct snapshot_family {
	const char *name, *help, *unit, *program;
	enum samples_kind kind;
	double multiplier;
	const uint64_t *bound;
	size_t n_bounds;
	size_t n; /* with sample: from load_family() on */
	const struct snapshot_sample *sample; /* sorted by labels */
	uint64_t series; /* in the table, shown or not */
	uint64_t limit;
	uint64_t overflowed; /* increments in the overflow series */
};

/* A program on a node. */
struct snapshot_program {
	const char *node, *name, *reason;
	uint32_t state; /* enum samples_state */
	uint8_t digest[SAMPLES_DIGEST_BYTES];
	uint64_t runs, run_ns, trap_ns;
	uint64_t read_us; /* wall clock of the last read; 0: never */
};

struct snapshot_program_map {
	const char *node, *program, *name;
	uint32_t guarantee; /* enum samples_guarantee */
	uint64_t entries, max_entries;
};

struct snapshot {
	size_t n_views;
	const struct snapshot_view *views;
	size_t n_targets;
	const struct snapshot_target *targets;
	size_t n_agents;
	const struct snapshot_agent *agents;
	size_t n_families;
	const struct snapshot_family *families; /* sorted by name */
	size_t n_programs, n_program_maps; /* sorted by node and name */
	const struct snapshot_program *programs;
	const struct snapshot_program_map *program_maps;
	struct snapshot_engine engine;
	bool ready; /* commits work */
	char not_ready_why[256];
	uint64_t locked_ns; /* how long it held the engine's lock */
	/*
	 * NULL: every view has its series. Else load() builds a view's series,
	 * n and idle, and unload() frees the series, so that memory is needed
	 * for one view at a time. One thread at a time. -ENOMEM.
	 */
	int (*load)(const struct snapshot *s, size_t view);
	void (*unload)(const struct snapshot *s, size_t view);
	/* Likewise for the samples of a family; NULL: all are there. */
	int (*load_family)(const struct snapshot *s, size_t family);
	void (*unload_family)(const struct snapshot *s, size_t family);
};

struct snapshot_source;
/*
 * Returns a consistent copy of what is committed, with the series of all views.
 * Waits while the engine makes a group of batches visible, at most one group.
 * NULL: out of memory. Released by snapshot_rele(). Any thread.
 */
const struct snapshot *snapshot_take(struct snapshot_source *src);
/* The same, but the caller must load() each view that it reads. */
const struct snapshot *snapshot_open(struct snapshot_source *src);
/* Only agents, engine and ready: no views, no targets. Cheap. */
const struct snapshot *snapshot_open_agents(struct snapshot_source *src);
void snapshot_rele(const struct snapshot *s); /* NULL is fine */

#endif /* AGGREGATOR_SNAPSHOT_SNAPSHOT_H */
