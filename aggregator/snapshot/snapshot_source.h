/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_SNAPSHOT_SNAPSHOT_SOURCE_H
#define AGGREGATOR_SNAPSHOT_SNAPSHOT_SOURCE_H

#include <pthread.h>
#include <stdatomic.h>

#include "aggregator/snapshot/snapshot.h"

struct ledger;
struct samples;

/* A view's slots sorted by label values. Labels never change: it only grows. */
struct snapshot_order {
	uint32_t *slot;
	uint32_t n; /* slots [1, n) are in it; 0: none */
};

/* A snapshot that is not released yet. */
struct snapshot_live {
	uint64_t generation;
	struct snapshot_live *next; /* newer */
};

/*
 * What snapshots copy, and the lock that guards it. The engine owns it and
 * holds the lock while it makes a committed group visible; web threads take
 * snapshots from it.
 */
struct snapshot_source {
	struct fold *fold;
	struct ledger *ledger;
	struct samples *samples; /* NULL: none */
	/* Do commits work? Else why gets the reason. Never blocks. */
	bool (*ready)(void *arg, char *why, size_t why_bytes);
	void *arg;
	atomic_uint_fast64_t series_idle_s; /* 0: no series is hidden */
	atomic_uint_fast64_t agent_idle_s; /* 0: no agent is hidden */

	pthread_mutex_t mutex; /* guards all up to counters */
	pthread_cond_t served; /* a waiting snapshot is done */
	atomic_uint waiting; /* snapshots that want the mutex */
	struct snapshot_live *oldest, *newest;
	struct snapshot_engine counters; /* committed values */

	pthread_mutex_t order_mutex; /* guards order; leaf */
	struct snapshot_order *order; /* per view */
};

/* fold, ledger and samples are borrowed. snapshot_source_fini() either way.
 * -ENOMEM. */
int snapshot_source_init(struct snapshot_source *s, struct fold *f,
			 struct ledger *l, struct samples *samples,
			 bool (*ready)(void *arg, char *why, size_t why_bytes),
			 void *arg);
/* The caller must have released every snapshot. All zero is fine. */
void snapshot_source_fini(struct snapshot_source *s);

/* For the engine: a short change of what snapshots copy. */
void snapshot_source_lock(struct snapshot_source *s);
void snapshot_source_unlock(struct snapshot_source *s);
/* The same for a long one: waiting snapshots go first. */
void snapshot_source_lock_last(struct snapshot_source *s);

/* Generation of the oldest live snapshot, UINT64_MAX: none. Under the lock. */
uint64_t snapshot_source_oldest(const struct snapshot_source *s);

#endif /* AGGREGATOR_SNAPSHOT_SNAPSHOT_SOURCE_H */
