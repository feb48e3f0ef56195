/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_ENGINE_ENGINE_STATE_H
#define AGGREGATOR_ENGINE_ENGINE_STATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "aggregator/engine/engine.h"
#include "aggregator/engine/gather.h"
#include "aggregator/fold/fold.h"
#include "aggregator/ingest/gate.h"
#include "aggregator/ledger/ledger.h"
#include "aggregator/samples/samples.h"
#include "aggregator/snapshot/snapshot_source.h"
#include "aggregator/store/checkpoint.h"
#include "aggregator/store/store.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/sums.h"
#include "common/token.h"

/* Internals of the engine, for engine*.c only. */

#define GROUP_MAX 1024u
#define GROUP_LARGE 256u /* of these, messages above SMALL_BYTES */
#define SMALL_BYTES ((size_t)16 << 10)

/* One message of a group; a group is committed in one transaction. */
struct engine_item {
	struct gate_request request;
	struct batch_arena *arena; /* of the batch, borrowed from the engine */
	struct batch batch;
	const void *data; /* the batch's bytes for the log */
	size_t len;
	void *moved; /* owns data if its times were corrected, else NULL */
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
	char *cert_file, *key_file, *ca_file, *shared_name;
	struct store *store;
	struct fold *fold;
	struct samples *samples;
	struct ledger *ledger;
	struct checkpoint *checkpoint;
	struct gate *gate;
	pthread_t thread;
	bool started;
	atomic_bool stop;

	struct snapshot_source source; /* what is visible, and its lock */
	/* Set by engine_set_limits() at any time. */
	atomic_uint_fast64_t log_retention_s, log_retention_bytes,
		window_retention_s, window_retention_bytes;
	atomic_uint batches_per_s, gather_max_ms;

	struct {
		pthread_mutex_t mutex; /* taken before source's */
		pthread_cond_t done;
		const char *agent; /* whom the caller waits for; NULL: none */
		bool answered;
		int err;
	} forget;

	pthread_mutex_t token_mutex; /* leaf */
	struct token token; /* len 0: none is asked for */

	pthread_mutex_t ready_mutex; /* leaf: taken after mutex or alone */
	bool ready;
	char why[256];

	/* Only for the engine's thread. */
	struct engine_item item[GROUP_MAX];
	size_t n_items;
	/* A large batch has arenas of its own, small ones share one. */
	struct batch_arena *small, *large[GROUP_LARGE];
	struct batch_arena
		*joined[GROUP_LARGE]; /* large columns, for the graph */
	size_t n_large;
	struct batch_arena *columns; /* events of the batch decoded last */
	size_t n_answered; /* size of the last group */
	struct snapshot_engine pending;
	struct ledger_agent **info; /* agents whose row must be written */
	size_t n_info, info_cap;
	uint64_t last_id; /* log id up to which all is folded */
	uint64_t next_checkpoint_ns, next_windows_ns, next_retention_ns,
		next_probe_ns, next_commit_ns, next_mend_ns, next_agents_ns;
	size_t evicted; /* agents, since the store expired some */
	int64_t expired_us; /* the store dropped agents silent since; 0: none */
	uint64_t commit_ns; /* moving mean */
	uint64_t connections; /* of agents, at the last turn */
	struct gather gather;
	struct engine_mend *mend;
	uint64_t cpu_ns, cpu_bytes; /* until the last turn */
	struct buf blob;
};

static inline uint64_t ms_ns(uint64_t ms)
{
	return ms * CLOCK_NS_PER_MS;
}

static inline int64_t engine_ms_us(uint64_t ms)
{
	return ms < (uint64_t)INT64_MAX / 2000 ? (int64_t)ms * 1000
					       : INT64_MAX / 2;
}

/* --- engine_agents.c --- */

/* Loads the agent if only the store knows it. -ENOMEM. */
int engine_know_agent(struct engine *e, const char *name);
/* Between groups: evicts silent agents if there is hardly room for new ones. */
void engine_make_room(struct engine *e);
/* Within a transaction: deletes what is stored of agents silent for weeks. */
int engine_expire_agents(struct engine *e, uint64_t now_ns);
/* Between groups: does what engine_forget() waits for. */
void engine_forget_due(struct engine *e);
/* True if this is the token, or none is asked for. */
bool engine_token_is(struct engine *e, const char *text, size_t len);

/* --- engine_mend.c --- */

enum engine_mended {
	ENGINE_UNKNOWN, /* the log cannot tell, or not now */
	ENGINE_MENDED, /* the ledger has changed: offer the batch again */
	ENGINE_COUNTED, /* the log has this very batch */
};

struct engine_mend;

int engine_mend_new(struct engine *e); /* -ENOMEM */
void engine_mend_free(struct engine *e);
/*
 * For a batch whose number the ledger says is taken. Asks the log, and is
 * ENGINE_UNKNOWN until the same batch comes again after the log has answered.
 */
enum engine_mended engine_mend(struct engine *e, const struct engine_item *it,
			       const struct push *p);

/* --- engine_examine.c --- */

/* Decodes, validates, offers to the ledger; fills the reply, unsent. */
void engine_examine(struct engine *e, struct engine_item *it);
void engine_refuse(struct engine_item *it, enum reply_status status,
		   const char *why);

/* --- engine_commit.c --- */

/* Work that the group's transaction also does. */
struct engine_due {
	bool windows, checkpoint;
};

/* Commits the group and the due work in one transaction, then shows it. */
int engine_commit(struct engine *e, const struct engine_due *due);
void engine_reply(struct engine *e);

/* --- engine_loop.c --- */

void *engine_loop(void *engine);

/* --- engine_retention.c --- */

void engine_retention(struct engine *e, uint64_t now_ns);
/* Makes room for agents and epochs soon, but not with each group. */
void engine_retire_soon(struct engine *e);

/* --- engine_counters.c --- */

int engine_put_counters(struct engine *e);
int engine_load_counters(struct engine *e);

#endif /* AGGREGATOR_ENGINE_ENGINE_STATE_H */
