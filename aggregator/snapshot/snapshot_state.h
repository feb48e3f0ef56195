/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_SNAPSHOT_SNAPSHOT_STATE_H
#define AGGREGATOR_SNAPSHOT_SNAPSHOT_STATE_H

#include "aggregator/engine/engine_state.h"
#include "aggregator/snapshot/snapshot.h"

/* The inside of a snapshot, for snapshot*.c only. */

/* The beginning of a series_slot. */
struct raw_slot {
	uint64_t count, sum;
	const struct span *span;
	const struct exemplars *exemplars;
	int64_t created_us, active_us;
};
_Static_assert(sizeof(struct raw_slot) == SERIES_COPIED &&
		       offsetof(struct raw_slot, active_us) ==
			       offsetof(struct series_slot, active_us),
	       "copied as bytes");

/* A view as copied under the lock: slots by value, the rest by reference. */
struct raw_view {
	const struct series
		*series; /* keys and cells only: they never change */
	uint32_t n;
	struct raw_slot *slot;
	const struct interned ***label; /* chunks */
	size_t chunks; /* that slot and label have room for */
	uint8_t sketch[1 << SERIES_SKETCH_BITS];
	struct series_values *values; /* seen is the engine's */
	const char *worst_job; /* NULL: none */
	uint64_t worst_job_sets;
};

/* Memory that goes with the snapshot. */
struct block {
	struct block *next;
	max_align_t data[];
};

struct taken {
	struct snapshot pub; /* first: snapshot_rele() gets this */
	struct engine *engine;
	struct live_snapshot live;
	struct block *blocks;
	struct block *loaded; /* of views that can be unloaded */
	struct raw_view *raw;
	struct snapshot_view *views;
	struct snapshot_target *targets;
};

/* Zeroed, and gone with the snapshot. NULL: out of memory. */
void *snapshot_memory(struct taken *t, size_t n, size_t size);

/* Numbers and label values of a view, without its series. -ENOMEM. */
int snapshot_begin_view(struct taken *t, size_t view);
/* Its series too. -ENOMEM. */
int snapshot_build_view(struct taken *t, size_t view);

#endif /* AGGREGATOR_SNAPSHOT_SNAPSHOT_STATE_H */
