/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_ENGINE_ENGINE_STATE_H
#define AGGREGATOR_ENGINE_ENGINE_STATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "aggregator/engine/engine.h"
#include "aggregator/fold/fold.h"
#include "aggregator/ingest/gate.h"
#include "aggregator/ledger/ledger.h"
#include "aggregator/store/checkpoint.h"
#include "aggregator/store/store.h"
#include "common/buf.h"
#include "common/clock.h"

/* The inside of the engine, for engine*.c and snapshot*.c only. */

#define GROUP_MAX 256u

/* Slots of a view by label values; labels never change, so it only grows. */
struct engine_slot_order {
	uint32_t *slot;
	uint32_t n; /* slots [1, n) are in it */
};

struct engine_live_snapshot {
	uint64_t generation;
	struct engine_live_snapshot *next; /* newer */
};

/* One request of the group that shares a transaction. */
struct engine_item {
	struct gate_request request;
	struct batch_arena *arena;
	struct batch_arena *columns; /* of events that are still looked at */
	struct batch batch;
	const void *data; /* the batch as it is logged */
	size_t len;
	void *moved; /* owns data if the agent's clock was off, or NULL */
	uint64_t requests, log_id; /* log_id 0: nothing to log */
	const struct fold_prepared *prepared; /* NULL: no requests */
	struct ledger_epoch *row;
	struct reply reply;
	bool fresh, rubbish;
};

struct engine {
	struct engine_options opt;
	char *store_dir;
	char **urls;
	char *cert_file, *key_file, *ca_file;
	struct store *store;
	struct fold *fold;
	struct ledger *ledger;
	struct checkpoint *checkpoint;
	struct gate *gate;
	pthread_t thread;
	bool started;
	atomic_bool stop;

	/*
	 * Guards what snapshots copy: fold, committed ledger, counters, live.
	 * The engine holds it while a committed group becomes visible.
	 */
	pthread_mutex_t mutex;
	pthread_cond_t served;
	atomic_uint waiting; /* snapshots that want the mutex */
	/* What can change while it runs: see engine_set_limits(). */
	atomic_uint_fast64_t series_idle_s, log_retention_s,
		log_retention_bytes, window_retention_s, window_retention_bytes;
	struct engine_live_snapshot *oldest, *newest;
	struct snapshot_engine counters; /* committed */

	pthread_mutex_t order_mutex; /* leaf */
	struct engine_slot_order *order; /* by view */

	pthread_mutex_t ready_mutex; /* leaf: taken after mutex or alone */
	bool ready;
	char why[256];

	/* The engine's thread only. */
	struct engine_item item[GROUP_MAX];
	size_t n_items;
	struct batch_arena *columns; /* of the batch that was decoded last */
	size_t n_answered; /* with the last group */
	struct snapshot_engine pending;
	struct ledger_agent **info; /* agents to write to the store */
	size_t n_info, info_cap;
	uint64_t last_id; /* of the log; all up to it are folded */
	uint64_t next_checkpoint_ns, next_windows_ns, next_retention_ns,
		next_probe_ns, next_commit_ns;
	uint64_t commit_ns; /* moving mean */
	struct buf blob;
};

static inline uint64_t ms_ns(uint64_t ms)
{
	return ms * CLOCK_NS_PER_MS;
}

/* --- engine_examine.c --- */

/* Decodes, validates and asks the ledger; the reply is ready but not sent. */
void engine_examine(struct engine *e, struct engine_item *it);
void engine_refuse(struct engine_item *it, enum reply_status status,
		   const char *why);

/* --- engine_commit.c --- */

/* What goes along with the group. */
struct engine_due {
	bool windows, checkpoint;
};

/* One transaction for the group and what else is due; then shows it. */
int engine_commit(struct engine *e, const struct engine_due *due);
void engine_reply(struct engine *e);

/* --- engine_loop.c --- */

void *engine_loop(void *engine);

/* --- engine_retention.c --- */

void engine_retention(struct engine *e, uint64_t now_ns);

/* --- engine_counters.c --- */

int engine_put_counters(struct engine *e);
int engine_load_counters(struct engine *e);

#endif /* AGGREGATOR_ENGINE_ENGINE_STATE_H */
