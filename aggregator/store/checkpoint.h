/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_STORE_CHECKPOINT_H
#define AGGREGATOR_STORE_CHECKPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aggregator/fold/fold.h"
#include "aggregator/ledger/ledger.h"
#include "aggregator/store/store.h"

/*
 * The fold's state to the store and back. Series are written in slices, so
 * that no transaction is long: a row is exact up to its own log id, and when
 * all that had changed are written, the views' watermark moves to where the
 * round began. Loading folds the log after the watermarks again, leaving out
 * per row what it has. Not locked: the engine's thread owns it.
 */
struct checkpoint;

/* Borrows fold and store (which may change: checkpoint_set_store()). */
int checkpoint_new(struct checkpoint **out, struct fold *f, struct store *st);
void checkpoint_free(struct checkpoint *c); /* NULL is fine */

/* checkpoint_load() is to fold every view from the log, changed or not. */
void checkpoint_fold_all(struct checkpoint *c);

/*
 * Loads ledger, series, targets and label sets, and folds the log. *last_id
 * gets the last log id in use. -EUCLEAN: it makes no sense; then fold and
 * ledger are to be thrown away.
 */
int checkpoint_load(struct checkpoint *c, struct ledger *l, uint64_t *last_id);

/* Starts a round; everything up to log id now has been folded. */
void checkpoint_begin(struct checkpoint *c, uint64_t now);
bool checkpoint_active(const struct checkpoint *c);
/* Within a transaction: writes up to max series. */
int checkpoint_step(struct checkpoint *c, uint64_t now, unsigned max);
/* Within a transaction: adds the windows' deltas to the store. */
int checkpoint_windows(struct checkpoint *c, uint64_t now);
/* What became of the transaction. */
void checkpoint_committed(struct checkpoint *c);
void checkpoint_aborted(struct checkpoint *c);

/* The log is needed after this id. */
uint64_t checkpoint_watermark(const struct checkpoint *c);
/* Rounds completed. */
uint64_t checkpoint_rounds(const struct checkpoint *c);

#endif /* AGGREGATOR_STORE_CHECKPOINT_H */
