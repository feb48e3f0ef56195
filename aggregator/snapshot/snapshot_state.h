/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_SNAPSHOT_SNAPSHOT_STATE_H
#define AGGREGATOR_SNAPSHOT_SNAPSHOT_STATE_H

#include <assert.h>

#include "aggregator/fold/fold.h"
#include "aggregator/snapshot/snapshot_source.h"

/* Internals of a snapshot, for snapshot*.c only. */

/* A copy of the first SERIES_COPIED bytes of a struct series_slot. */
struct snapshot_raw_slot {
	uint64_t count, sum;
	const struct span *span;
	const struct slowest_exemplars *exemplars;
	int64_t created_us, active_us;
};
static_assert(sizeof(struct snapshot_raw_slot) == SERIES_COPIED &&
		      offsetof(struct snapshot_raw_slot, active_us) ==
			      offsetof(struct series_slot, active_us),
	      "copied as bytes");

/* A view as copied under the lock: slots by value, the rest by reference. */
struct snapshot_raw_view {
	const struct series
		*series; /* only keys and cells, which never change */
	uint32_t n;
	struct snapshot_raw_slot *slot;
	const struct interned ***label; /* in chunks */
	size_t chunks; /* room in slot and label */
	uint8_t sketch[1 << SERIES_SKETCH_BITS];
	struct series_values *values; /* without seen, the engine's */
	const char *worst_job; /* NULL: none */
	uint64_t worst_job_sets;
	size_t n_askers;
	struct snapshot_asker *askers;
};

/* Memory that lives as long as the snapshot. */
struct snapshot_block {
	struct snapshot_block *next;
	max_align_t data[];
};

struct snapshot_taken {
	struct snapshot pub; /* first, as taken_of() casts it back */
	struct snapshot_source *source;
	bool is_live; /* registered: it shares spans */
	struct snapshot_live live;
	struct snapshot_block *blocks;
	struct snapshot_block *loaded; /* freed by unload() */
	struct snapshot_raw_view *raw;
	struct snapshot_view *views;
	struct snapshot_target *targets;
	struct snapshot_agent *agents;
	const struct ledger_info **info; /* held, one per agent */
	size_t n_info;
	struct snapshot_raw_samples *samples; /* as copied; NULL: none */
	struct snapshot_family *families;
};

/* Returns zeroed memory, freed with the snapshot. NULL: out of memory. */
void *snapshot_memory(struct snapshot_taken *t, size_t n, size_t size);

/* Fills in a view's numbers, without its series. -ENOMEM. */
int snapshot_begin_view(struct snapshot_taken *t, size_t view);
/* --- snapshot_samples.c --- */

/* Under the lock: agents by value, what they say by reference. -ENOMEM. */
int snapshot_copy_agents(struct snapshot_taken *t, struct snapshot_source *src);
/* Room for what there is, before the lock is taken. -ENOMEM. */
int snapshot_reserve_samples(struct snapshot_taken *t,
			     struct snapshot_source *src);
/* Under the lock: families and programs by value, labels by reference. */
int snapshot_copy_samples(struct snapshot_taken *t,
			  struct snapshot_source *src);
/* Sorts families and programs; agents are there by then. -ENOMEM. */
int snapshot_begin_samples(struct snapshot_taken *t);
int snapshot_build_family(struct snapshot_taken *t, size_t family);

/* Builds a view's series. -ENOMEM. */
int snapshot_build_view(struct snapshot_taken *t, size_t view);

#endif /* AGGREGATOR_SNAPSHOT_SNAPSHOT_STATE_H */
