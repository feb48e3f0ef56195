/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_OUTBOX_OUTBOX_ITEMS_H
#define PROBE_AGENT_OUTBOX_OUTBOX_ITEMS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "probe-agent/batch/rollup.h"
#include "probe-agent/outbox/outbox.h"
#include "probe-agent/outbox/outbox_disk.h"
#include "proto/batch.h"

/*
 * The inside of the outbox: outbox.c has the queue and the file under it,
 * outbox_room.c gives up detail, then batches, when it is full. Nobody else
 * includes this. The outbox's mutex is held in all of it.
 */

/* Beyond its data, what an item costs in memory. */
#define ITEM_BYTES (sizeof(struct outbox_slot) + 32)

struct outbox_slot {
	uint64_t first, sequence, events;
	void *data; /* NULL: on disk only */
	size_t len;
	bool rollup, stored;
	bool sealed; /* folding it has not paid */
	/*
	 * From the file, and may have been sent before: in a rollup it would
	 * be counted again, and as a drop it would be counted twice.
	 */
	bool maybe_sent;
};

struct outbox {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool woken;
	size_t cap_bytes, bytes;
	/* A ring, oldest first. Item 0 may have been sent: it is never folded
	 * or dropped, so what was counted there cannot be sent again here. */
	struct outbox_slot *items;
	size_t head, n, mask;
	uint64_t epoch, last_sequence;
	struct outbox_disk_marks marks; /* as they are; the file's lag */
	uint64_t forget_later; /* dropped, still in the file; 0: none */
	struct batch_losses losses; /* as the file told at start */
	struct outbox_disk *disk; /* NULL: in memory */
	struct rollup *rollup; /* made with the first fold */
	struct batch_arena *arena;
	char *agent; /* of the batches being folded */
	struct outbox_stats stats;
};

static inline struct outbox_slot *outbox_at(const struct outbox *ob, size_t i)
{
	return &ob->items[(ob->head + i) & ob->mask];
}

/* Takes items [from, to) out, and puts *with in their place unless NULL. */
void outbox_splice(struct outbox *ob, size_t from, size_t to,
		   const struct outbox_slot *with);
/* Makes it->data be there, or, if the file has it, not be there. */
int outbox_load(struct outbox *ob, struct outbox_slot *it);
void outbox_unload(struct outbox_slot *it);
/* Writes it into the file, if there is one. */
int outbox_store(struct outbox *ob, struct outbox_slot *it);

bool outbox_has_room(const struct outbox *ob, size_t len);
/* Folds, and drops, until len bytes have room or nothing is left to give. */
void outbox_make_room(struct outbox *ob, size_t len);

#endif /* PROBE_AGENT_OUTBOX_OUTBOX_ITEMS_H */
