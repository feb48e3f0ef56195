/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_SNAPSHOT_STATE_H
#define AGGREGATOR_SNAPSHOT_STATE_H

#include "aggregator/engine_state.h"
#include "aggregator/snapshot.h"

/* The inside of a snapshot, for snapshot*.c only. */

/* A view as copied under the lock: slots by value, the rest by reference. */
struct raw_view {
	const struct series
		*series; /* keys and cells only: they never change */
	uint32_t n;
	struct series_slot *slot;
	const struct interned ***label; /* chunks */
	size_t chunks; /* that slot and label have room for */
	uint8_t sketch[1 << SERIES_SKETCH_BITS];
	struct series_values *values; /* seen is the engine's */
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

#endif /* AGGREGATOR_SNAPSHOT_STATE_H */
