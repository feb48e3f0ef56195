/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_LEDGER_LEDGER_H
#define AGGREGATOR_LEDGER_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/batch.h"

/*
 * Records which batches were accepted: per agent and epoch the last sequence
 * number, and totals. An offer changes a pending copy; ledger_commit() makes it
 * the committed one, after the store has committed it, and ledger_abort()
 * discards it. A row is a fold over the log, as the series are: batches with
 * requests or samples change it in a way that ledger_replay() repeats. Only
 * what is not logged, such as a heartbeat or a duplicate, must be stored by the
 * transaction that it is answered after. No clock and no I/O, but for log
 * lines. Not locked: the engine's thread owns it and changes committed totals
 * only under the engine's lock.
 */
struct ledger;

/* Sums over batches, never decreasing but for the last. All uint64_t: stored as
 * an array. */
struct ledger_totals {
	/* As the agent last reported: cumulative since its epoch began. */
	uint64_t captured, packed, rolled_up;
	uint64_t dropped[LOSS_STAGES];
	uint64_t counters[AGENT_COUNTERS];
	/* As counted here. */
	uint64_t counted; /* requests */
	uint64_t batches, duplicates, refused, conflicts;
	uint64_t gap_batches; /* skipped sequence numbers */
	uint64_t gap_requests; /* lost in them and not yet in dropped[] */
	uint64_t told_late; /* of gap_requests: reported in dropped[] later */
	/* Batches of retired epochs; counted in the newest epoch's row. */
	uint64_t expired_batches, expired_requests;
	/* Only these may fall; they are of this epoch, not of the agent. */
	uint64_t gauges[AGENT_GAUGES];
	/* Increments of samples: as last reported, and counted here. */
	uint64_t samples_read, samples_dropped[SAMPLES_STAGES];
	uint64_t samples_counted;
};
#define LEDGER_TOTALS_N (sizeof(struct ledger_totals) / sizeof(uint64_t))

struct ledger_state {
	uint64_t sequence; /* last one accepted */
	int64_t seen_us; /* our wall clock at the last new batch */
	int64_t skew_us; /* agent's clock minus ours at that time */
	struct ledger_totals totals;
};

struct ledger_agent;

struct ledger_epoch {
	struct ledger_agent *agent;
	uint64_t epoch;
	struct ledger_state committed, pending;
	bool dirty;
	/* The pending change is in no log: its transaction must store the row.
	 */
	bool must_store;
	bool unstored; /* committed, but the store's row is older than the log
			*/
	struct ledger_epoch *next_dirty;
	struct ledger_epoch *older; /* next lower epoch of the agent */
};

/*
 * Bounds on the epochs of one agent, so that one that restarts often cannot
 * fill the memory. The newest KEPT always stay. Older ones stay until they have
 * been silent for long, but at most MAX in all: beyond that the lowest are
 * retired at once. At CROWD, which means that retiring lags behind, a new epoch
 * is answered BUSY.
 */
#define LEDGER_EPOCHS_KEPT 8u
#define LEDGER_EPOCHS_MAX 64u
#define LEDGER_EPOCHS_CROWD 128u

struct ledger_agent {
	char *name;
	uint64_t hash;
	struct ledger_epoch *newest; /* list by epoch, descending */
	size_t n_epochs;
	struct ledger_totals retired; /* sum over retired epochs */
	uint64_t retired_epoch; /* the highest of them; 0: none */
	int64_t newest_heard_us; /* last batch of newest, no duplicate */
	uint32_t strikes; /* batches of older epochs since the newest began */
	bool conflict; /* two agents use this id now */
	/* Reported by the agent; "": not. info_dirty: not in the store yet. */
	char *version, *kernel, *capture;
	char **probes;
	uint32_t *attached;
	size_t n_probes;
	bool info_dirty;
	bool info_queued; /* the engine will store it */
};

/* Sets *out, released by ledger_free(). max_agents 0: 65 536. -ENOMEM. */
int ledger_new(struct ledger **out, size_t max_agents);
void ledger_free(struct ledger *l); /* NULL is fine */

enum ledger_verdict {
	LEDGER_NEW, /* accepted: log, count and acknowledge it */
	LEDGER_DUPLICATE, /* accepted before: acknowledge it only */
	LEDGER_OVERLAP, /* a range of numbers, some accepted before */
	LEDGER_CONFLICT, /* another agent with this id is alive */
	/*
	 * Its epoch is retired, or lower than a retired one. The ledger cannot
	 * tell whether it was counted, so it is refused and its requests count
	 * as lost (expired_requests).
	 */
	LEDGER_EXPIRED,
	LEDGER_FULL, /* too many agents */
	LEDGER_CROWDED, /* too many epochs of this agent: retry later */
};

/*
 * Does a batch go into the log? One with requests, or with samples that change
 * what is shown; a heartbeat changes only its row here.
 */
static inline bool ledger_batch_is_logged(const struct batch *b,
					  uint64_t requests)
{
	return requests > 0 || b->samples.n_families > 0 || b->samples.told;
}

/*
 * Decides about a batch with this many requests, and counts it in the pending
 * state. Returns an enum ledger_verdict or -ENOMEM. Sets *row to the row that
 * changed, or NULL.
 */
int ledger_offer(struct ledger *l, const struct batch *b, uint64_t requests,
		 int64_t sent_us, int64_t now_us, struct ledger_epoch **row);

/*
 * Applies a batch of the log, in its order, to rows that may be older than the
 * log; does nothing if the row has it already. For loading. -ENOMEM, -ENOSPC.
 */
int ledger_replay(struct ledger *l, const struct batch *b, uint64_t requests,
		  int64_t received_us);

/* Returns the first row with pending changes; next_dirty links the others. */
struct ledger_epoch *ledger_dirty(const struct ledger *l);
void ledger_commit(struct ledger *l);
void ledger_abort(struct ledger *l);

size_t ledger_agents(const struct ledger *l);
struct ledger_agent *ledger_at(const struct ledger *l, size_t i);

/*
 * Retiring an epoch deletes its row and adds its totals to the agent's. Only
 * between groups, when nothing is pending. Returns how many of the agent's
 * epochs, from the lowest up, may be retired now: those below the
 * LEDGER_EPOCHS_KEPT newest that have been silent since before_us, and all
 * below the LEDGER_EPOCHS_MAX newest.
 */
size_t ledger_retirable(const struct ledger_agent *a, int64_t before_us);
/*
 * For the store, before retiring: sets *out to the agent as it will be without
 * its n lowest epochs (borrowing all pointers from a), and epochs to those n.
 */
void ledger_retire_preview(const struct ledger_agent *a, size_t n,
			   struct ledger_agent *out, uint64_t *epochs);
/* Retires the n lowest epochs in memory, once the store has committed. */
void ledger_retire(struct ledger_agent *a, size_t n);

/* Adds all of b to a. */
void ledger_totals_add(struct ledger_totals *a, const struct ledger_totals *b);

/* For loading: adds or replaces an epoch. -ENOMEM, -ENOSPC. */
int ledger_restore(struct ledger *l, const char *agent, uint64_t epoch,
		   const struct ledger_state *state);
/* Finds or adds the agent. -ENOSPC: max_agents reached; -ENOMEM. */
int ledger_agent_get(struct ledger *l, const char *name,
		     struct ledger_agent **out);
/* Copies info and sets info_dirty if it changed. -ENOMEM: nothing changed. */
int ledger_agent_set_info(struct ledger_agent *a,
			  const struct batch_info *info);

#endif /* AGGREGATOR_LEDGER_LEDGER_H */
