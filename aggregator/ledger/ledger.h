/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_LEDGER_LEDGER_H
#define AGGREGATOR_LEDGER_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/batch.h"

/*
 * Which batches are in: per agent and epoch the last sequence number, and the
 * totals that go with it. Offers change a pending copy; ledger_commit() makes
 * it the committed one, after the store has it, and ledger_abort() takes it
 * back. Pure. Not locked: the engine's thread owns it, and committed totals
 * change under the engine's lock only.
 */
struct ledger;

/* Sums over batches; never go back. All uint64_t: stored as an array. */
struct ledger_totals {
	/* As the agent last said: cumulative since its epoch began. */
	uint64_t captured, packed, rolled_up;
	uint64_t dropped[LOSS_STAGES];
	uint64_t counters[AGENT_COUNTERS];
	/* As counted here. */
	uint64_t counted; /* requests */
	uint64_t batches, duplicates, refused, conflicts;
	uint64_t gap_batches; /* numbers that were left out */
	uint64_t gap_requests; /* in them, as far as nothing else says so */
	uint64_t told_late; /* dropped[] that gap_requests has already */
	/* Of epochs that were retired; said by the newest epoch's row. */
	uint64_t expired_batches, expired_requests;
};
#define LEDGER_TOTALS_N (sizeof(struct ledger_totals) / sizeof(uint64_t))

struct ledger_state {
	uint64_t sequence; /* last one that is in */
	int64_t seen_us; /* our wall clock */
	int64_t skew_us; /* theirs - ours, when last seen */
	struct ledger_totals totals;
};

struct ledger_agent;

struct ledger_epoch {
	struct ledger_agent *agent;
	uint64_t epoch;
	struct ledger_state committed, pending;
	bool dirty;
	struct ledger_epoch *next_dirty;
	struct ledger_epoch *older; /* of the same agent */
};

/*
 * An agent that starts often must not fill the memory. So many epochs always
 * stay; more, until they have been silent for long; yet more are retired at
 * once, lowest first; and when that lags behind, new ones have to wait.
 */
#define LEDGER_EPOCHS_KEPT 8u
#define LEDGER_EPOCHS_MAX 64u
#define LEDGER_EPOCHS_CROWD 128u

struct ledger_agent {
	char *name;
	uint64_t hash;
	struct ledger_epoch *newest; /* list by epoch, descending */
	size_t n_epochs;
	struct ledger_totals retired; /* of epochs that were retired */
	uint64_t retired_epoch; /* greatest of them; 0: none */
	int64_t newest_heard_us; /* last offer of the newest epoch */
	uint32_t strikes; /* batches of older epochs since the newest began */
	bool conflict;
	/* Who it is; "" if not said. info_dirty: the store's is older. */
	char *version, *kernel, *capture;
	char **probes;
	uint32_t *attached;
	size_t n_probes;
	bool info_dirty;
};

/* Sets *out, released by ledger_free(). max_agents 0: 65 536. -ENOMEM. */
int ledger_new(struct ledger **out, size_t max_agents);
void ledger_free(struct ledger *l); /* NULL is fine */

enum ledger_verdict {
	LEDGER_NEW, /* to be logged, counted, acknowledged */
	LEDGER_DUPLICATE, /* is in, or will be with this group */
	LEDGER_OVERLAP, /* stands for numbers of which some are in already */
	LEDGER_CONFLICT, /* somebody else with this id is alive */
	/*
	 * Of an epoch that is retired, or older: nobody knows any more whether
	 * it was counted, so it is not, and told as a loss (expired_requests).
	 */
	LEDGER_EXPIRED,
	LEDGER_FULL, /* too many agents */
	LEDGER_CROWDED, /* too many epochs of this agent: later */
};

/*
 * What to do with a batch; counts it in the pending state. requests: what it
 * holds. Negative errno: -ENOMEM. *row gets its row where there is one.
 */
int ledger_offer(struct ledger *l, const struct batch *b, uint64_t requests,
		 int64_t sent_us, int64_t now_us, struct ledger_epoch **row);

/* First of the rows with pending changes, linked by next_dirty. */
struct ledger_epoch *ledger_dirty(const struct ledger *l);
void ledger_commit(struct ledger *l);
void ledger_abort(struct ledger *l);

size_t ledger_agents(const struct ledger *l);
struct ledger_agent *ledger_at(const struct ledger *l, size_t i);

/*
 * Retiring: an epoch's row goes, its totals join the agent's. Between groups
 * only, when nothing is pending. How many of the agent's lowest epochs may go
 * now: a newer one is known and they were silent since before_us, or there are
 * over LEDGER_EPOCHS_MAX.
 */
size_t ledger_retirable(const struct ledger_agent *a, int64_t before_us);
/*
 * For the store, before it happens: the agent's row once its n lowest epochs
 * are gone (*out borrows all else from a), and which these are.
 */
void ledger_retire_preview(const struct ledger_agent *a, size_t n,
			   struct ledger_agent *out, uint64_t *epochs);
/* Takes them out, once the store has. */
void ledger_retire(struct ledger_agent *a, size_t n);

/* Adds all of b to a. */
void ledger_totals_add(struct ledger_totals *a, const struct ledger_totals *b);

/* For loading. -ENOMEM. */
int ledger_restore(struct ledger *l, const char *agent, uint64_t epoch,
		   const struct ledger_state *state);
/* Finds or adds. -ENOMEM, -ENOSPC. */
int ledger_agent_get(struct ledger *l, const char *name,
		     struct ledger_agent **out);
/* Copies. -ENOMEM leaves the old one. */
int ledger_agent_set_info(struct ledger_agent *a,
			  const struct batch_info *info);

#endif /* AGGREGATOR_LEDGER_LEDGER_H */
