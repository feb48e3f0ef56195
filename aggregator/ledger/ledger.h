/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_LEDGER_LEDGER_H
#define AGGREGATOR_LEDGER_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aggregator/ledger/ledger_info.h"
#include "proto/batch.h"
#include "proto/limits.h"

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
 *
 * Whoever reaches ingest can make up batches, unless ingest asks for more
 * (docs/SECURITY.md). So nothing that one batch says may make the ledger refuse
 * the batches of others for good: what looks wrong is held back, which loses
 * nothing, and leaves no row behind.
 */
struct ledger;

/*
 * Sums over batches, never decreasing but for the last: they stop at SUMS_MAX.
 * All uint64_t: stored as an array.
 */
struct ledger_totals {
	/* As the agent last reported: cumulative since its epoch began. */
	uint64_t captured, packed, rolled_up;
	uint64_t dropped[LOSS_STAGES];
	uint64_t counters[AGENT_COUNTERS];
	/* As counted here. */
	uint64_t counted; /* requests */
	uint64_t batches, duplicates, refused;
	uint64_t conflicts; /* batches held back */
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
	uint64_t gaps[GAP_REASONS]; /* as gauges */
};
#define LEDGER_TOTALS_N (sizeof(struct ledger_totals) / sizeof(uint64_t))

struct ledger_state {
	uint64_t sequence; /* last one accepted */
	int64_t seen_us; /* our wall clock at the last new batch */
	int64_t skew_us; /* agent's clock minus ours at that time */
	struct ledger_totals totals;
	/* While loading: the row has all of the log up to this id. */
	uint64_t log_id;
};

/* What an agent says about itself at the moment of sending. */
struct ledger_health {
	uint64_t outbox_bytes, outbox_batches;
	uint64_t oldest_us; /* age of the oldest batch in the outbox */
	int64_t acknowledged_us; /* our wall clock; 0: never yet */
	int64_t certificate_us; /* it expires then; 0: none */
	bool told; /* false: all of this is unknown */
};

struct ledger_agent;

struct ledger_epoch {
	struct ledger_agent *agent;
	uint64_t epoch;
	struct ledger_state committed, pending;
	int64_t heard_us; /* our wall clock at the last batch, even if held */
	bool dirty;
	/* The pending change is in no log: its transaction must store it. */
	bool must_store;
	bool unstored; /* committed, but the stored row is older than the log */
	struct ledger_epoch *next_dirty;
	struct ledger_epoch *older; /* next lower epoch of the agent */
};

/*
 * Bounds on the epochs of one agent, so that one that restarts often cannot
 * fill the memory. The KEPT that were heard last always stay. Others stay until
 * they have been silent for long; beyond MAX in all, those that were silent for
 * longest are retired, if that is at least LEDGER_ALIVE_US. At CROWD a new
 * epoch is answered BUSY. An agent that is held back sends again within 5 s, so
 * it is never silent for as long as it has batches.
 */
#define LEDGER_EPOCHS_KEPT 8u
#define LEDGER_EPOCHS_MAX 64u
#define LEDGER_EPOCHS_CROWD 128u
/* Bound on the epochs of all agents, per agent. Beyond it, KEPT is 2. */
#define LEDGER_EPOCHS_MEAN 4u
/* An agent that was heard within three heartbeats is alive. */
#define LEDGER_ALIVE_US ((int64_t)3 * HEARTBEAT_MS * 1000)
/* An epoch further ahead of the clock that it was taken from is made up. */
#define LEDGER_AHEAD_US ((int64_t)86400 * 1000000)
/*
 * A running agent repeats at most the batches that its outbox had not noted as
 * acknowledged. A number further behind was used by another sender.
 */
#define LEDGER_BEHIND_MAX 64u
/*
 * Sequence numbers that may be left out: one per request that was packed since,
 * one per LEAP_US since the last batch (an agent without requests sends one in
 * 5 s), and LEAP_MORE.
 */
#define LEDGER_LEAP_US ((int64_t)100000)
#define LEDGER_LEAP_MORE 1024u

struct ledger_agent {
	char *name;
	uint64_t hash;
	size_t index; /* in ledger_at() */
	struct ledger_epoch *newest; /* list by epoch, descending */
	size_t n_epochs;
	struct ledger_totals retired; /* sum over retired epochs */
	uint64_t retired_epoch; /* the highest of them; 0: none */
	/* When the last of them was heard; 0: unknown, or none is retired. */
	int64_t retired_seen_us;
	int64_t newest_heard_us; /* last batch of newest, no duplicate */
	uint32_t strikes; /* batches of older epochs since the newest began */
	bool conflict; /* two agents use this id now */
	bool runs; /* it has sent batches of a running clock: no replay */
	struct ledger_health health;
	struct ledger_info *info; /* NULL: it has not said anything */
	bool info_dirty; /* info, runs or retired are not in the store yet */
	bool info_queued; /* the engine will store it */
};

/* Sets *out, released by ledger_free(). max_agents 0: 65 536. -ENOMEM. */
int ledger_new(struct ledger **out, size_t max_agents);
void ledger_free(struct ledger *l); /* NULL is fine */

/*
 * From HELD on, something about the batch says that two senders use one id: it
 * is not counted, and its sender must keep it and send it again.
 */
enum ledger_verdict {
	LEDGER_NEW, /* accepted: log, count and acknowledge it */
	LEDGER_DUPLICATE, /* accepted before: acknowledge it only */
	LEDGER_OVERLAP, /* a range of numbers, some accepted before */
	LEDGER_FULL, /* too many agents: retry later */
	LEDGER_CROWDED, /* too many epochs of this agent: retry later */
	LEDGER_HELD,
	LEDGER_CONFLICT = LEDGER_HELD, /* a newer start of this id is alive */
	/*
	 * Its epoch is retired, or may be: the ledger cannot tell whether the
	 * batch was counted.
	 */
	LEDGER_EXPIRED,
	LEDGER_AHEAD, /* it began in the future of its own clock */
	LEDGER_LEAP, /* more numbers are left out than can have been sent */
	/*
	 * The number was used long ago, but the agent runs. The log may tell
	 * whether this is so: see ledger_mend().
	 */
	LEDGER_BEHIND,
	LEDGER_VERDICTS,
};

/* A batch as it came. */
struct ledger_arrival {
	const struct batch *batch;
	uint64_t requests;
	int64_t sent_us; /* sender's wall clock; 0: not sent */
	int64_t clock_us; /* clock of its times, at sending; 0: not running */
	int64_t now_us; /* our wall clock */
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
 * Decides about a batch and counts it in the pending state. Returns an enum
 * ledger_verdict or -ENOMEM. Sets *row to the row that changed, or NULL.
 */
int ledger_offer(struct ledger *l, const struct ledger_arrival *a,
		 struct ledger_epoch **row);

/*
 * Applies a batch of the log, in its order, to rows that may be older than the
 * log; does nothing if the row has it already. For loading. -ENOMEM, -ENOSPC.
 */
int ledger_replay(struct ledger *l, const struct batch *b, uint64_t requests,
		  int64_t received_us, uint64_t log_id);

/* Counts a batch of the row that is refused: LEDGER_OVERLAP. */
void ledger_refuse(struct ledger *l, struct ledger_epoch *e);

/*
 * For a row whose sequence number no batch of the agent has reached, as the log
 * says: makes it `sequence`, which must be lower, and marks it dirty.
 */
void ledger_mend(struct ledger *l, struct ledger_epoch *e, uint64_t sequence);

/* Returns the first row with pending changes; next_dirty links the others. */
struct ledger_epoch *ledger_dirty(const struct ledger *l);
void ledger_commit(struct ledger *l);
void ledger_abort(struct ledger *l);

size_t ledger_agents(const struct ledger *l);
struct ledger_agent *ledger_at(const struct ledger *l, size_t i);
struct ledger_agent *ledger_find(const struct ledger *l, const char *name);
/* The agent's row of this epoch, or NULL. */
struct ledger_epoch *ledger_epoch_find(const struct ledger_agent *a,
				       uint64_t epoch);
size_t ledger_epochs(const struct ledger *l); /* of all agents */
size_t ledger_max(const struct ledger *l); /* agents */
/* While loading, agents of the log are taken beyond that. */
void ledger_set_loading(struct ledger *l, bool loading);
/* Our wall clock at the agent's last batch; 0: none is committed. */
int64_t ledger_agent_seen_us(const struct ledger_agent *a);

/*
 * Drops agents from memory that were silent since before_us, those that were
 * silent for longest first, at most n; but none with unstored rows. Changes the
 * places of others. Between groups only. Returns how many.
 */
size_t ledger_evict(struct ledger *l, size_t n, int64_t before_us);
/* Drops one agent; another takes its place. Between groups only. */
void ledger_drop(struct ledger *l, struct ledger_agent *a);

/*
 * Retiring an epoch deletes its row and adds its totals to the agent's. Only
 * between groups, when nothing is pending. Sets epochs[] to those of the agent
 * that may be retired now, and returns how many: at most max. See
 * LEDGER_EPOCHS_KEPT; before_us ends "silent for long".
 */
size_t ledger_retirable(const struct ledger *l, const struct ledger_agent *a,
			int64_t before_us, int64_t now_us, uint64_t *epochs,
			size_t max);
/*
 * For the store, before retiring: sets *out to the agent as it will be without
 * these epochs (borrowing all pointers from a).
 */
void ledger_retire_preview(const struct ledger_agent *a, const uint64_t *epochs,
			   size_t n, struct ledger_agent *out);
/* Retires the epochs in memory, once the store has committed. */
void ledger_retire(struct ledger *l, struct ledger_agent *a,
		   const uint64_t *epochs, size_t n);

/* Adds all of b to a. */
void ledger_totals_add(struct ledger_totals *a, const struct ledger_totals *b);

/* For loading: adds or replaces an epoch. -ENOMEM; -ENOSPC: as below. */
int ledger_restore(struct ledger *l, const char *agent, uint64_t epoch,
		   const struct ledger_state *state);
/* Finds or adds the agent. -ENOSPC: max_agents reached; -ENOMEM. */
int ledger_agent_get(struct ledger *l, const char *name,
		     struct ledger_agent **out);
/* Sets info_dirty if it changed. -ENOMEM: nothing changed. */
int ledger_agent_set_info(struct ledger *l, struct ledger_agent *a,
			  const struct batch_info *info);
const struct ledger_infos *ledger_infos_of(const struct ledger *l);

#endif /* AGGREGATOR_LEDGER_LEDGER_H */
