/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_WORKER_TABLE_H
#define PROBE_AGENT_WORKER_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "probe-agent/batch/samples_table.h"
#include "probe-agent/programs/decode.h"
#include "probe-agent/programs/spec.h"
#include "probe-agent/worker/map_reader.h"

/*
 * What one map's keys were last, and the metrics that are made of it: each read
 * gives by how much every series grew. A key is decoded once. One thread.
 */
struct table;

struct table_options {
	const char *program; /* all of these are borrowed for its life */
	const struct spec_limits *limits;
	const struct object_map *map;
	const struct spec_metric *const *metric; /* all of this map */
	size_t n_metrics;
	struct decode *decode;
	unsigned cpus;
};

/*
 * Sets *out, released by table_free(). -EINVAL: the metrics do not fit the map,
 * *why says how; -ENOMEM.
 */
int table_new(struct table **out, const struct table_options *opt, char *why,
	      size_t why_size);
void table_free(struct table *t); /* NULL is fine */

/* Reads the map and adds what grew. -ENOMEM, or the kernel's error. */
int table_read(struct table *t, struct map_reader *r, struct samples_table *to);
/* Of a buffer's map, which is not read: adds its gauges. -ENOMEM. */
int table_tell_gauges(struct table *t, struct samples_table *to);
/*
 * Takes out the keys of processes that ended a second ago or longer, if a
 * metric wants that, and adds what they had last. -ENOMEM, or the kernel's.
 */
int table_evict(struct table *t, struct map_reader *r,
		struct samples_table *to);
/* Forgets keys that are gone, if they are many; after their bases. -ENOMEM. */
int table_compact(struct table *t);
/*
 * Counts what a program sent through a ring or perf buffer. -ENOMEM; what is
 * too short or cannot be decoded is counted as lost.
 */
int table_event(struct table *t, const void *data, size_t len,
		struct samples_table *to);
/* The frame is on its way: series have other numbers in the next one. */
void table_next_frame(struct table *t);

struct table_stats {
	uint64_t entries, series; /* at the last read */
	uint64_t truncated; /* reads that had more entries than the limit */
	uint64_t resets; /* keys whose value was smaller than before */
	uint64_t undecoded, skipped, overflowed; /* increments */
	uint64_t gone; /* keys taken out for processes that ended */
};
void table_stats(const struct table *t, struct table_stats *out);
const struct object_map *table_map(const struct table *t);
/* Why a key could not be decoded, the last time; "": all could. */
const char *table_complaint(const struct table *t);

/* --- what another process goes on from --- */

/* value: 8 bytes for each metric. Both are borrowed for the call. */
typedef int (*table_base_fn)(void *arg, const uint8_t *key, size_t key_len,
			     const uint64_t *value, size_t n);
/* Calls fn for the keys that changed since the last call, until an error. */
int table_each_base(struct table *t, table_base_fn fn, void *arg);
/* -EINVAL: it does not fit; -ENOMEM. */
int table_set_base(struct table *t, const uint8_t *key, size_t key_len,
		   const uint64_t *value, size_t n);

/* --- for people --- */

struct table_row {
	const uint8_t *key;
	size_t key_len;
	const char *map, *metric;
	const char *const *label; /* values; NULL: not decoded */
	size_t n_labels;
	const char *const *name; /* of the labels */
	int64_t value;
	bool event; /* it came now, and is not the key's whole value */
	int64_t bucket; /* of a histogram; -1: none; -2: its sum */
};
typedef void (*table_row_fn)(void *arg, const struct table_row *row);
void table_each(struct table *t, table_row_fn fn, void *arg);
/* From now on, fn is called for each key that changes, and for each event. */
void table_watch(struct table *t, table_row_fn fn, void *arg);

#endif /* PROBE_AGENT_WORKER_TABLE_H */
