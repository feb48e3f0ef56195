/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_STORE_CHECKPOINT_H
#define AGGREGATOR_STORE_CHECKPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aggregator/fold/fold.h"
#include "aggregator/ledger/ledger.h"
#include "aggregator/samples/samples.h"
#include "aggregator/store/store.h"

/*
 * Writes the fold's state to the store and loads it. A round writes all series
 * that changed, in slices, so that no transaction is long. Each row has the log
 * id up to which it counts; when a round is complete, the views' watermark
 * moves to the log id at which it began. Loading folds the log after the
 * watermarks again, and skips per row what that row has counted. Not locked:
 * the engine's thread owns it.
 */
struct checkpoint;

/* Borrows fold and store. Sets *out, released by checkpoint_free(). -ENOMEM. */
int checkpoint_new(struct checkpoint **out, struct fold *f, struct samples *s,
		   struct store *st);
void checkpoint_free(struct checkpoint *c); /* NULL is fine */

/* Makes checkpoint_load() fold every view from the log, changed or not. */
void checkpoint_fold_all(struct checkpoint *c);

/*
 * Loads ledger, series, targets and window label sets, then folds the log after
 * them. Sets *last_id to the highest log id in use. -EUCLEAN: the content is
 * inconsistent, and the caller must discard fold and ledger. Other errors are
 * those of the store.
 */
int checkpoint_load(struct checkpoint *c, struct ledger *l, uint64_t *last_id);

/*
 * Loads one agent, if the store knows it. Its rows must not be older than the
 * log: ledger_evict() sees to that. -ENOSPC, -ENOMEM, and errors of the store.
 */
int checkpoint_load_agent(struct ledger *l, struct store *st, const char *name);

/* Starts a round, if none is active. now: log id up to which all is folded. */
void checkpoint_begin(struct checkpoint *c, uint64_t now);
bool checkpoint_active(const struct checkpoint *c);
/* Within a transaction: writes at most max series of the round. */
int checkpoint_step(struct checkpoint *c, uint64_t now, unsigned max);
/*
 * Within a transaction of its own: writes all of the ledger that is older than
 * the log up to log_id, to which all is folded. For a caller that deletes rows.
 */
int checkpoint_ledger_whole(struct checkpoint *c, uint64_t log_id);
/*
 * Deletes what a store that is not in use has of an agent. Returns the number
 * of rows. -EBUSY: its process did not stop orderly, so that the log has more
 * than the rows; a start puts that right.
 */
int checkpoint_forget(struct store *st, const char *agent);
/* Agents of the ledger have other places now. Between transactions. */
void checkpoint_agents_moved(struct checkpoint *c);
/* Within a transaction: adds the deltas of all windows to the store. */
int checkpoint_windows(struct checkpoint *c, uint64_t now);
/* The caller must report how the transaction ended. */
void checkpoint_committed(struct checkpoint *c);
void checkpoint_aborted(struct checkpoint *c);

/* Rows of the log after this id are still needed. */
uint64_t checkpoint_watermark(const struct checkpoint *c);
/* Rounds completed. */
uint64_t checkpoint_rounds(const struct checkpoint *c);

#endif /* AGGREGATOR_STORE_CHECKPOINT_H */
