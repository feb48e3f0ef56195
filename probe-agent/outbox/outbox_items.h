/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_OUTBOX_OUTBOX_ITEMS_H
#define PROBE_AGENT_OUTBOX_OUTBOX_ITEMS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "probe-agent/batch/merge.h"
#include "probe-agent/batch/rollup.h"
#include "probe-agent/outbox/outbox.h"
#include "probe-agent/outbox/outbox_disk.h"
#include "proto/batch.h"

/*
 * The inside of the outbox: outbox.c has the queue and the file under it,
 * outbox_room.c makes room when it is full, by giving up detail, then batches,
 * outbox_merge.c joins batches of a backlog, outbox_left.c tells what a stop
 * leaves behind. No other file includes this.
 * Callers hold the outbox's mutex.
 */

/* Bytes of memory that an item takes besides its data. */
#define ITEM_BYTES (sizeof(struct outbox_slot) + 32)

struct outbox_slot {
	uint64_t first, sequence, events;
	int64_t since_us; /* clock_steady_us(); 0: of the file, not read yet */
	void *data; /* NULL: on disk only */
	size_t len;
	bool rollup, stored;
	bool sent; /* perhaps, by this process: never merged */
	bool sent_before; /* before the last outbox_peek() */
	bool held; /* stored in a transaction that is not committed yet */
	bool sealed; /* folding it freed too little, or failed */
	/*
	 * Read from the file, and may have been counted already: in a rollup
	 * it would be counted again, and when dropped also be counted as lost.
	 */
	bool maybe_sent;
};

struct outbox {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool woken;
	bool holding; /* between outbox_hold() and outbox_release() */
	size_t cap_bytes, bytes;
	/*
	 * A ring, oldest first. Item 0 may have been sent, so it is never
	 * folded or dropped: the aggregator may have counted it already.
	 */
	struct outbox_slot *items;
	size_t head, n, mask;
	uint64_t epoch, last_sequence;
	struct outbox_disk_marks marks; /* current; the file may lag */
	uint64_t forget_later; /* a dropped batch still in the file; 0: none */
	uint64_t samples_read, samples_dropped[SAMPLES_STAGES]; /* likewise */
	struct batch_losses losses; /* as in the file at start */
	struct outbox_disk *disk; /* NULL: in memory */
	struct rollup *rollup; /* allocated with the first fold */
	struct merge *merge; /* allocated while there is a backlog */
	struct batch_arena *arena;
	char *agent; /* of the batches that were decoded */
	struct outbox_stats stats;
};

static inline struct outbox_slot *outbox_at(const struct outbox *ob, size_t i)
{
	return &ob->items[(ob->head + i) & ob->mask];
}

/* Removes the items [from, to), and puts *with in their place unless NULL. */
void outbox_splice(struct outbox *ob, size_t from, size_t to,
		   const struct outbox_slot *with);
/* Reads it->data from the file if needed; frees it if the file has it. */
int outbox_load(struct outbox *ob, struct outbox_slot *it);
void outbox_unload(struct outbox_slot *it);
/* Increments of samples in it. */
uint64_t outbox_increments(struct outbox *ob, struct outbox_slot *it);
/* Writes the item into the file, if there is one and it is not there yet. */
int outbox_store(struct outbox *ob, struct outbox_slot *it);

/* Loads and decodes it; *b borrows from it->data and the arena. -EPROTO … */
int outbox_decode(struct outbox *ob, struct outbox_slot *it, struct batch *b);

/*
 * Joins the oldest batches into one, if there are several that were certainly
 * never sent: a backlog goes in a few large pieces. Leaves them as they are if
 * that fails.
 */
void outbox_merge(struct outbox *ob);

bool outbox_has_room(const struct outbox *ob, size_t len);
/* Folds, then drops, until len bytes have room or nothing more can go. */
void outbox_make_room(struct outbox *ob, size_t len);

#endif /* PROBE_AGENT_OUTBOX_OUTBOX_ITEMS_H */
