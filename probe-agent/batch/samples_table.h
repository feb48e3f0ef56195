/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_BATCH_SAMPLES_TABLE_H
#define PROBE_AGENT_BATCH_SAMPLES_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "probe-agent/batch/intern.h"
#include "proto/batch.h"

/*
 * Samples that wait to be sent: increments add up, a set of gauges replaces the
 * one before, programs are those told last. The worker fills one for each
 * frame, the agent merges frames into one until the next batch, and a full
 * outbox merges batches. Not locked: one thread owns it.
 */
struct samples_table;

/* Sets *out, released by samples_table_free(). -ENOMEM. */
int samples_table_new(struct samples_table **out);
void samples_table_free(struct samples_table *t); /* NULL is fine */
/* Forgets all but the totals of samples_table_count_read() and _dropped(). */
void samples_table_reset(struct samples_table *t);

/* --- filling, one value at a time --- */

/* Strings are copied; NULL is "". */
struct samples_family {
	const char *name, *help, *unit, *program;
	enum samples_kind kind;
	enum samples_merge merge;
	double multiplier;
	const char *const *label; /* names */
	size_t n_labels;
	const uint64_t *bound;
	size_t n_bounds;
};
/* The family's number, until the next reset. -ENOMEM, -EINVAL: over a limit. */
int64_t samples_table_family(struct samples_table *t,
			     const struct samples_family *f);
/* The series' number, until the next reset. -ENOMEM. */
int64_t samples_table_series(struct samples_table *t, uint32_t family,
			     const char *const *value);
/* Adds to a counter. The sum of what waits stays below LIMIT_INCREMENT. */
void samples_table_add(struct samples_table *t, uint32_t series, uint64_t n);
/* Adds to a bucket of a histogram, and to its sum. -ENOMEM. */
int samples_table_add_bucket(struct samples_table *t, uint32_t series,
			     uint32_t bucket, uint64_t n);
void samples_table_add_sum(struct samples_table *t, uint32_t series,
			   uint64_t n);
/* The family's gauges are those that are set from now on. */
void samples_table_begin_gauges(struct samples_table *t, uint32_t family);
void samples_table_set(struct samples_table *t, uint32_t series, int64_t v);

struct samples_program {
	const char *name, *reason;
	enum samples_state state;
	uint8_t digest[SAMPLES_DIGEST_BYTES];
	uint64_t runs, run_ns, trap_ns; /* since told last */
	uint64_t read_us;
};
struct samples_map {
	const char *name;
	enum samples_guarantee guarantee;
	uint64_t entries, max_entries;
};
/* Forgets the programs: those that are added from now on replace them. */
void samples_table_begin_programs(struct samples_table *t);
/* -ENOMEM; -ENOSPC: over a limit. */
int samples_table_program(struct samples_table *t,
			  const struct samples_program *p);
/* A map of the program told last. */
int samples_table_map(struct samples_table *t, const struct samples_map *m);

/* Cumulative since the epoch began; a resumed epoch goes on from totals. */
void samples_table_count_read(struct samples_table *t, uint64_t n);
void samples_table_count_dropped(struct samples_table *t,
				 enum samples_stage stage, uint64_t n);
void samples_table_resume(struct samples_table *t, uint64_t read,
			  const uint64_t dropped[SAMPLES_STAGES]);
/* Cumulative value of a stage that is counted elsewhere. */
void samples_table_set_dropped(struct samples_table *t,
			       enum samples_stage stage, uint64_t total);

/* --- merging --- */

enum samples_totals {
	SAMPLES_TOTALS_ADD, /* a worker's frame: its totals are increments */
	SAMPLES_TOTALS_LATEST, /* a batch: its totals are cumulative */
};
/* -ENOMEM; -EMSGSIZE: over a limit, and nothing has changed. */
int samples_table_merge(struct samples_table *t, const struct batch *b,
			enum samples_totals totals);

/* --- sending --- */

/* Does anything wait to be sent? */
bool samples_table_pending(const struct samples_table *t);
/* Series that wait. */
size_t samples_table_count(const struct samples_table *t);

/*
 * Fills in *out with what waits, as far as limits allow: *whole tells whether
 * that is all. Its strings go into the table that the batch will have. *memory
 * is one allocation that the caller frees after encoding. -ENOMEM.
 */
int samples_table_fill(struct samples_table *t, struct intern *strings,
		       struct batch_samples *out, bool *whole, void **memory);
/* The batch that was filled last is on its way: its samples wait no more. */
void samples_table_sent(struct samples_table *t);

#endif /* PROBE_AGENT_BATCH_SAMPLES_TABLE_H */
