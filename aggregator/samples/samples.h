/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_SAMPLES_SAMPLES_H
#define AGGREGATOR_SAMPLES_SAMPLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/batch.h"

/*
 * What user programs of the fleet counted: a fold over the samples of the
 * batches in the log, as fold.h is over requests. Counters and buckets are sums
 * of increments, so any order gives the same; a gauge is the latest by (epoch,
 * sequence) of its node. Pure: no clock, no I/O. Not locked: the engine's
 * thread owns it, and snapshots copy it under the engine's lock.
 */
struct samples;

/* 0 takes the default in brackets. */
struct samples_options {
	size_t max_families; /* [200] */
	size_t max_series; /* of a family; beyond: the overflow series [10 000]
			    */
	size_t max_nodes; /* [65 536] */
	/*
	 * A name that another definition has is that one's for this long after
	 * any other node sent it. [1 h]
	 */
	uint64_t handover_us;
};

/* Sets *out, released by samples_free(). -ENOMEM. */
int samples_new(struct samples **out, const struct samples_options *opt);
void samples_free(struct samples *s); /* NULL is fine */

/*
 * Counts a batch in every series and node that does not have it yet (whose log
 * id is smaller). -ENOMEM leaves the state half done: only a new start from the
 * store helps.
 */
int samples_apply(struct samples *s, const struct batch *b, uint64_t log_id,
		  int64_t received_us);

/* --- for the checkpoint: see samples_save.c --- */

/*
 * Rows of the store. A family's row is exact up to its own log id, and so are a
 * series' and a node's: blobs are opaque.
 */
struct samples_blob {
	uint64_t log_id;
	const void *data;
	size_t len;
};

/* What has changed since it was written, one by one. */
enum samples_row_kind {
	SAMPLES_ROW_NONE, /* the round is over */
	SAMPLES_ROW_FAMILY,
	SAMPLES_ROW_SERIES,
	SAMPLES_ROW_NODE,
};
struct samples_row {
	enum samples_row_kind kind;
	uint32_t family, slot; /* of a family or a series */
	const char *node; /* of a node */
	bool gone; /* a family that gave way to another: drop its rows */
	struct samples_blob blob; /* borrowed until the next call */
};

/* Begins a round of writing: the cursor goes back to the start. */
void samples_save_begin(struct samples *s);
/*
 * The next changed row of the round, as of log id now. Rows that were taken
 * count as written once samples_save_committed() is called, and not if
 * samples_save_aborted() is. -ENOMEM.
 */
int samples_save_next(struct samples *s, uint64_t now, struct samples_row *out);
void samples_save_committed(struct samples *s);
void samples_save_aborted(struct samples *s);

/* Loading: families first. -EUCLEAN: it makes no sense; -ENOMEM. */
int samples_load_family(struct samples *s, uint32_t family,
			const struct samples_blob *b);
int samples_load_series(struct samples *s, uint32_t family, uint32_t slot,
			const struct samples_blob *b);
int samples_load_node(struct samples *s, const char *node,
		      const struct samples_blob *b);

/*
 * Gives the memory of families back that gave way. Only while no snapshot is
 * held: snapshots read labels without a copy.
 */
void samples_sweep(struct samples *s);

/* Series of all families. */
uint64_t samples_count(const struct samples *s);

#endif /* AGGREGATOR_SAMPLES_SAMPLES_H */
