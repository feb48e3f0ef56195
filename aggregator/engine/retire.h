/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_ENGINE_RETIRE_H
#define AGGREGATOR_ENGINE_RETIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aggregator/ledger/ledger.h"
#include "aggregator/store/store.h"

/*
 * Keeps the ledger bounded however often agents start: deletes retirable epochs
 * (ledger_retirable()) from the store in a transaction, and from memory once it
 * is committed. Limited per transaction, so that ingest continues in between.
 * Only for the engine's thread, between groups.
 */
#define RETIRE_EPOCHS 1024u
#define RETIRE_AGENTS 64u

struct retirement {
	struct {
		struct ledger_agent *agent;
		size_t first, n; /* in epoch[] */
	} list[RETIRE_AGENTS];
	uint64_t epoch[RETIRE_EPOCHS];
	size_t n, epochs;
	bool more; /* epochs are left for another transaction */
};

/* Within a transaction. Fills *out. Errors of store_put_agent(). */
int retire_put(struct store *st, struct ledger *l, int64_t before_us,
	       int64_t now_us, struct retirement *out);
/* After that transaction's commit. Returns the number of epochs removed. */
size_t retire_done(struct ledger *l, struct retirement *r);

#endif /* AGGREGATOR_ENGINE_RETIRE_H */
