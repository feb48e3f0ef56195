/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROTO_SAMPLES_H
#define PROTO_SAMPLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The samples of a batch: what user programs' maps counted since the batch
 * before. Columns, as in batch.h; strings are indexes into the batch's table.
 * Decoding validates them: names are names that a scrape may show, every index
 * is inside its table, bounds ascend. Stateless; any thread.
 */

/* What a family is. Wire numbers: append only. */
enum samples_kind {
	SAMPLES_COUNTER = 1,
	SAMPLES_GAUGE = 2,
	SAMPLES_HISTOGRAM = 3,
	SAMPLES_KINDS = SAMPLES_HISTOGRAM,
};

/* How series of several nodes become one. Wire numbers: append only. */
enum samples_merge {
	SAMPLES_MERGE_NONE = 0, /* one series for each node */
	SAMPLES_MERGE_SUM = 1,
	SAMPLES_MERGE_MAX = 2, /* gauges only, as is min */
	SAMPLES_MERGE_MIN = 3,
	SAMPLES_MERGES,
};

/* How exact a map's increments are. Wire numbers: append only. */
enum samples_guarantee {
	SAMPLES_EXACT = 0,
	SAMPLES_SINCE_READ = 1, /* keys may be deleted between two reads */
	SAMPLES_RACY = 2, /* the program adds without atomics */
	SAMPLES_UNKNOWN = 3, /* losses in the kernel are not counted */
	SAMPLES_GUARANTEES,
};

/* What became of a program. Wire numbers: append only. */
enum samples_state {
	SAMPLES_RUNNING = 0,
	SAMPLES_PARTIAL = 1, /* some of its hooks did not attach */
	SAMPLES_FAILED = 2,
	SAMPLES_QUARANTINED = 3, /* it ended its worker process */
	SAMPLES_OVER_BUDGET = 4, /* detached for a time */
	SAMPLES_STATES,
};

/* Where increments are lost. Wire numbers: append only. */
enum samples_stage {
	SAMPLES_LOST_RING, /* no room in a ring or perf buffer */
	SAMPLES_LOST_DECODE, /* a key that its decoders do not take */
	SAMPLES_LOST_SKIP, /* left out by a regexp */
	SAMPLES_LOST_RATE, /* more events than limits.events */
	SAMPLES_LOST_OUTBOX, /* no room in the outbox */
	SAMPLES_LOST_REFUSED, /* the aggregator refused the batch */
	SAMPLES_LOST_MAP, /* no room in a map */
	SAMPLES_STAGES,
};

/* "exact", "running", "ring" …; NULL if out of range. Static. */
const char *samples_kind_name(unsigned kind);
const char *samples_guarantee_name(unsigned guarantee);
const char *samples_state_name(unsigned state);
const char *samples_stage_name(unsigned stage);

/* Could it be a metric's or a label's name, and is it none of redtap's own? */
bool samples_metric_name_valid(const char *name);
bool samples_label_name_valid(const char *name);

#define SAMPLES_DIGEST_BYTES 32u

struct batch_samples {
	/* All programs of the node, if told; else there are none here. */
	bool told;
	size_t n_programs;
	const uint32_t *program, *state, *reason; /* strings; enum; string */
	const uint8_t *digest; /* SAMPLES_DIGEST_BYTES each */
	const uint64_t *runs, *run_ns, *trap_ns; /* since the batch before */
	const uint64_t *read_us; /* wall clock of the last read; 0: never */
	/* Their maps. */
	size_t n_maps;
	const uint32_t *map_program; /* row in the programs */
	const uint32_t *map_name, *guarantee;
	const uint64_t *entries, *max_entries;
	/* Families; label names and bounds of all of them one after another. */
	size_t n_families, n_label_names, n_bound_values;
	const uint32_t *name, *help, *unit, *of_program; /* strings */
	const uint32_t *kind, *merge, *n_labels, *n_bounds;
	const double *multiplier; /* shown = integer * this */
	const uint32_t *label_name;
	const uint64_t *bound; /* ascending within a family, without +Inf */
	/* Series; as many label values as the family has names. */
	size_t n_series, n_label_values;
	const uint32_t *family, *label_value;
	/* Counters: by how much a series grew. */
	size_t n_counters;
	const uint32_t *counter;
	const uint64_t *increment;
	/* Gauges: of each family in the list, the set of all its series. */
	size_t n_gauge_families, n_gauges;
	const uint32_t *gauge_family, *gauge;
	const int64_t *value;
	/* Histograms: the buckets that grew; bucket n_bounds is +Inf. */
	size_t n_histograms, n_bucket_values;
	const uint32_t *histogram, *n_buckets, *bucket;
	const uint64_t *count, *sum;
	/* Since the epoch began: increments read, and lost by stage. */
	uint64_t read;
	uint64_t dropped[SAMPLES_STAGES];
};

/* Is there anything in it? */
bool samples_any(const struct batch_samples *s);
/* Increments in it: those of counters and of buckets. */
uint64_t samples_increments(const struct batch_samples *s);

#endif /* PROTO_SAMPLES_H */
