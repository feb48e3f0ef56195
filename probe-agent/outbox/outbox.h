/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_OUTBOX_OUTBOX_H
#define PROBE_AGENT_OUTBOX_OUTBOX_H

#include <stddef.h>
#include <stdint.h>

struct batch_losses;

/*
 * Encoded batches between the loop thread (push) and the uplink thread (peek,
 * ack), oldest first. A batch stays until it is acknowledged. Own mutex; both
 * threads may call. In memory, or in a SQLite file with a path.
 */
struct outbox;

struct outbox_options {
	size_t cap_bytes; /* 0: 64 MiB */
	const char *path; /* NULL: in memory */
};

struct outbox_item {
	const void *data; /* borrowed until outbox_ack() of this sequence */
	size_t len;
	uint64_t epoch, sequence;
};

/*
 * Sets *out, released by outbox_close(). -ENOMEM; with a file -EIO, -ENOSPC,
 * -EBUSY (another agent has it), -EPROTONOSUPPORT (a newer version's).
 */
int outbox_open(struct outbox **out, const struct outbox_options *opt);
void outbox_close(struct outbox *ob); /* NULL is fine */

/*
 * The epoch to go on with and the last sequence used in it: those of the file,
 * or a new epoch (wall clock, ns) and 0.
 */
void outbox_epoch(const struct outbox *ob, uint64_t *epoch, uint64_t *sequence);
/*
 * Losses as of that sequence, all zero for a new epoch: what the agent counts
 * goes on from there.
 */
void outbox_losses(const struct outbox *ob, struct batch_losses *out);

/*
 * Moves *data in and clears it; events says how many requests it holds, for
 * the loss counter. Waits for no aggregator, but for the disk if there is a
 * file. When full, the oldest batches that were never sent are folded into one
 * (rollup.h) that stands for their sequence numbers; only if that frees nothing
 * are they dropped, and counted; so may this one be. Always 0.
 */
int outbox_push(struct outbox *ob, void **data, size_t len, uint64_t epoch,
		uint64_t sequence, uint64_t events);

/* Oldest batch, or -EAGAIN after timeout_ms, or -ECANCELED after wake. */
int outbox_peek(struct outbox *ob, struct outbox_item *out, int timeout_ms);
/* The item is done with: acknowledged, or refused (then counted lost). */
void outbox_ack(struct outbox *ob, uint64_t epoch, uint64_t sequence);
void outbox_refused(struct outbox *ob, uint64_t epoch, uint64_t sequence);
void outbox_wake(struct outbox *ob); /* ends every outbox_peek() */

struct outbox_stats {
	uint64_t batches, bytes; /* held now */
	uint64_t acknowledged; /* batches */
	uint64_t dropped_events; /* requests lost: no room */
	uint64_t refused_events; /* requests lost: aggregator refused */
	uint64_t rolled_up_events; /* requests sent as rollups */
};
void outbox_stats(struct outbox *ob, struct outbox_stats *out);

#endif /* PROBE_AGENT_OUTBOX_OUTBOX_H */
