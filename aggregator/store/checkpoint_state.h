/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_STORE_CHECKPOINT_STATE_H
#define AGGREGATOR_STORE_CHECKPOINT_STATE_H

#include "aggregator/store/checkpoint.h"
#include "common/buf.h"
#include "proto/batch.h"

/* The inside of the checkpoint, for checkpoint*.c only. */

#define STATE_WINDOWS "windows_log_id"
#define STATE_CELLS "cells"
#define STATE_GRAPH "graph"

struct checkpoint {
	struct fold *fold;
	struct store *store;
	uint32_t *id; /* of the views in the store */
	uint64_t *view_mark; /* committed watermark of each view */
	uint64_t window_mark;
	uint32_t keys_stored; /* window label sets in the store */

	bool fold_all;
	bool active; /* a round is on its way */
	uint64_t round; /* its watermark */
	size_t view; /* cursor */
	uint32_t slot;
	uint64_t rounds;

	/* In the current transaction. */
	struct series_slot **written;
	size_t n_written, written_cap;
	size_t next_view;
	uint32_t next_slot;
	bool finishing, flushing;
	size_t targets_from, targets_written;
	uint64_t next_window_mark;
	uint32_t next_keys;

	struct buf labels, state;
	struct buf graph; /* as the round began */
	/* While loading, by seconds: cell of now by stored cell; NULL: same. */
	uint16_t *cell_of[2];
	size_t stored_cells[2];
	struct batch_arena *arena;
	struct ledger *ledger;
	uint64_t last_id;
	int err;
};

/* Writes next_slot of next_view, as of log id now. */
int checkpoint_put_slot(struct checkpoint *c, uint64_t now);

/* Windows themselves stay in the store. -EUCLEAN, -ENOMEM. */
int checkpoint_load_windows(struct checkpoint *c);

#endif /* AGGREGATOR_STORE_CHECKPOINT_STATE_H */
