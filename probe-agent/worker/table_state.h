/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_WORKER_TABLE_STATE_H
#define PROBE_AGENT_WORKER_TABLE_STATE_H

#include "common/hash_index.h"
#include "probe-agent/worker/table.h"
#include "proto/limits.h"

/* What table.c, table_series.c and table_keys.c share. */

#define TABLE_METRICS_MAX 32u

/* A cell's series, if it is no number of one. */
#define TABLE_UNDECIDED UINT32_MAX
#define TABLE_SKIP (UINT32_MAX - 1) /* left out by a regexp */
#define TABLE_BAD (UINT32_MAX - 2) /* not decodable */
#define TABLE_IGNORED (UINT32_MAX - 3) /* a bucket that is none */
#define TABLE_OVERFLOW 0u /* series 0 of each metric */

#define TABLE_BUCKET_NONE (-1)
#define TABLE_BUCKET_SUM (-2)

struct table_cell {
	uint64_t last;
	uint32_t series;
	int32_t bucket;
};

struct table_key {
	uint32_t round; /* of the read that saw it last */
	bool changed; /* since its base was taken */
	bool gone;
	uint64_t over_ns; /* when its process was first found to be over */
};

struct table_series {
	uint32_t text; /* its label values in the metric's texts */
	uint32_t frame, number; /* in the samples of that frame */
	int64_t sum; /* of the gauges that share it */
};

struct table_metric {
	const struct spec_metric *spec;
	struct samples_family family, overflow;
	const char *label[LIMIT_SAMPLE_LABELS];
	uint64_t bound[LIMIT_SAMPLE_BOUNDS];
	unsigned value_offset, value_size; /* in the value, or the event */
	bool value_signed;
	struct buf texts; /* NUL-separated label values */
	struct table_series *series;
	size_t n_series, cap_series;
	struct hash_index index; /* of series by text */
	uint32_t frame; /* for which family and overflow are numbers */
	uint32_t number, overflow_number;
	bool has_family, has_overflow; /* in this frame */
	bool gauges_changed;
	uint64_t gauges_told_ns;
};

struct table {
	struct table_options opt;
	struct table_metric *metric;
	size_t n_metrics;
	bool by_cpu; /* a key is one CPU's: the number follows it */
	size_t key_len; /* in bytes, with the CPU's number */
	uint8_t *keys;
	struct table_key *key;
	struct table_cell *cell; /* key * n_metrics + metric */
	size_t n_keys, cap_keys;
	struct hash_index index;
	uint32_t round, frame;
	size_t seen; /* in this round */
	struct samples_table *to; /* while a read is going on */
	struct buf text; /* of one label */
	struct table_stats stats;
	char complaint[160];
	table_row_fn watch; /* may be NULL */
	void *watch_arg;
};

static inline uint8_t *table_key_at(const struct table *t, size_t i)
{
	return t->keys + i * t->key_len;
}

static inline struct table_cell *table_cell_at(const struct table *t,
					       size_t key, size_t metric)
{
	return &t->cell[key * t->n_metrics + metric];
}

/* --- table_keys.c --- */

/* The key's number; *fresh: it is new. -ENOMEM. */
int64_t table_find_key(struct table *t, const uint8_t *key, bool *fresh);

/* --- table.c --- */

/* Gives a cell to fn, with its labels. */
void table_give_row(struct table *t, size_t key, size_t metric, int64_t value,
		    table_row_fn fn, void *arg);

/* --- table_read.c --- */

uint64_t table_load_value(const struct table_metric *m, const uint8_t *p);

/* --- table_series.c --- */

/* Finds out which series a key is of, for every metric. -ENOMEM. */
int table_decide(struct table *t, size_t key);
/* Adds n to the cell's series. -ENOMEM. */
int table_add(struct table *t, size_t metric, const struct table_cell *c,
	      uint64_t n);
/* The series' number in this frame. -ENOMEM. */
int64_t table_series_number(struct table *t, size_t metric, uint32_t series);
int64_t table_family_number(struct table *t, size_t metric);
/* Interns label values; n bytes with their NULs. -ENOMEM. */
int64_t table_intern(struct table *t, struct table_metric *m, const char *text,
		     size_t n);

#endif /* PROBE_AGENT_WORKER_TABLE_STATE_H */
