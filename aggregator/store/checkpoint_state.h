/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_STORE_CHECKPOINT_STATE_H
#define AGGREGATOR_STORE_CHECKPOINT_STATE_H

#include "aggregator/store/checkpoint.h"
#include "common/buf.h"
#include "proto/batch.h"

/* Internals of the checkpoint, for checkpoint*.c only. */

#define STATE_WINDOWS "windows_log_id"
#define STATE_CELLS "cells"
#define STATE_GRAPH "graph"
#define STATE_SAMPLES "samples_log_id"
#define STATE_LEDGER "ledger_log_id"

struct checkpoint {
	struct fold *fold;
	struct samples *samples;
	struct store *store;
	uint32_t *id; /* by view: its id in the store */
	uint64_t *view_mark; /* by view: committed watermark */
	uint64_t window_mark; /* committed watermark of the windows */
	uint64_t samples_mark; /* committed watermark of the samples */
	uint64_t ledger_mark; /* committed watermark of the ledger */
	uint32_t keys_stored[WINDOW_KINDS]; /* window label sets in the store */

	bool fold_all;
	bool active; /* a round is under way */
	uint64_t round; /* log id at which it began */
	size_t agent; /* next to write, once committed: agent, view, slot */
	size_t view;
	uint32_t slot;
	uint64_t rounds; /* completed */

	/* Of the current transaction. */
	struct series_slot **written;
	size_t n_written, written_cap;
	struct ledger_epoch **epochs; /* written */
	size_t n_epochs, epochs_cap;
	size_t next_agent;
	size_t next_view;
	uint32_t next_slot;
	bool finishing, flushing;
	bool idle_windows; /* none waits: their mark follows the round */
	uint64_t next_window_mark, next_ledger_mark;
	uint32_t next_keys[WINDOW_KINDS];

	struct buf labels, state;
	struct buf graph; /* saved when the round began */
	struct buf pack; /* of a window */
	struct window_delta **sorted; /* of a kind */
	size_t sorted_cap;
	/* While loading, by seconds: stored cell to current; NULL: the same. */
	uint16_t *cell_of[2];
	size_t stored_cells[2];
	bool *anew; /* by view: some of its series were damaged */
	uint64_t lost; /* of the current view, series that were damaged */
	struct batch_arena *arena;
	struct ledger *ledger;
	uint64_t last_id;
};

/* --- checkpoint_ledger.c --- */

/*
 * Writes ledger rows that are older than the log, at most *left of them, and
 * counts *left down. 0: some may be left if *left is 0.
 */
int checkpoint_put_ledger(struct checkpoint *c, unsigned *left);
/* Writes the watermark, which never goes back. */
int checkpoint_put_ledger_mark(struct checkpoint *c, uint64_t log_id);
/* Loads agents, rows and watermark. */
int checkpoint_load_ledger(struct checkpoint *c);
/* Applies a batch of the log after the watermark. */
int checkpoint_replay_ledger(struct checkpoint *c, const struct batch *b,
			     const struct store_log *row);

/* --- checkpoint_cells.c: the cells that stored spans refer to --- */

/* Within a transaction: writes the current ones. */
int checkpoint_put_cells(struct checkpoint *c);
/*
 * Loads the stored ones and how to map them. Sets *same if stored spans, if
 * any, have the current cells. -EUCLEAN, -ENOMEM, -EIO.
 */
int checkpoint_load_cells(struct checkpoint *c, bool *same);
void checkpoint_forget_cells(struct checkpoint *c);

/* Writes slot next_slot of view next_view, which counts up to log id now. */
int checkpoint_put_slot(struct checkpoint *c, uint64_t now);

/* Loads the windows' label sets and watermark. -EUCLEAN, -ENOMEM, -EIO. */
int checkpoint_load_windows(struct checkpoint *c);

/* --- checkpoint_samples.c --- */

/*
 * Writes changed rows of samples, at most *max, which it lowers: 0 then means
 * that there may be more.
 */
int checkpoint_put_samples(struct checkpoint *c, uint64_t now, unsigned *max);
/* Writes how far samples are, and windows if none of them waits. */
int checkpoint_put_marks(struct checkpoint *c);
/* -EUCLEAN, -ENOMEM, -EIO. */
int checkpoint_load_samples(struct checkpoint *c);

#endif /* AGGREGATOR_STORE_CHECKPOINT_STATE_H */
