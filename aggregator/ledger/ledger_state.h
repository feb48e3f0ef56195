/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_LEDGER_LEDGER_STATE_H
#define AGGREGATOR_LEDGER_LEDGER_STATE_H

#include "aggregator/ledger/ledger.h"
#include "common/hash_index.h"

/* Internals of the ledger, for ledger*.c only. */

struct ledger {
	struct ledger_agent **agent;
	size_t n, cap, max;
	struct hash_index index;
	size_t n_epochs; /* of all agents */
	bool loading; /* max is not asked */
	struct ledger_epoch *dirty;
	struct ledger_infos *infos;
};

/* NULL: out of memory. */
struct ledger_epoch *ledger_epoch_add(struct ledger *l, struct ledger_agent *a,
				      uint64_t epoch);
void ledger_mark_dirty(struct ledger *l, struct ledger_epoch *e);

/* True if there are so many epochs that only a few of each agent can stay. */
static inline bool ledger_is_crowded(const struct ledger *l)
{
	return l->n_epochs >= l->max * LEDGER_EPOCHS_MEAN;
}

#endif /* AGGREGATOR_LEDGER_LEDGER_STATE_H */
