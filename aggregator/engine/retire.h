/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_ENGINE_RETIRE_H
#define AGGREGATOR_ENGINE_RETIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aggregator/ledger/ledger.h"
#include "aggregator/store/store.h"

/*
 * Keeps the ledger bounded however often agents start: epochs that may go
 * (ledger_retirable()) leave the store in one transaction and the memory once
 * it is committed. A fixed number at a time, so that ingest goes in between.
 * The engine's thread only, between groups.
 */
#define RETIRE_EPOCHS 1024u
#define RETIRE_AGENTS 64u

struct retirement {
	struct {
		struct ledger_agent *agent;
		size_t n;
	} list[RETIRE_AGENTS];
	size_t n, epochs;
	bool more; /* than fit into one transaction */
};

/* Within a transaction. Fills *out; errors as of store_put_agent(). */
int retire_put(struct store *st, struct ledger *l, int64_t before_us,
	       struct retirement *out);
/* After its commit. How many epochs went. */
size_t retire_done(struct retirement *r);

#endif /* AGGREGATOR_ENGINE_RETIRE_H */
