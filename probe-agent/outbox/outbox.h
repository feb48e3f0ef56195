/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_OUTBOX_OUTBOX_H
#define PROBE_AGENT_OUTBOX_OUTBOX_H

#include <stddef.h>
#include <stdint.h>

struct batch_losses;
struct batch_samples;

/*
 * The queue of encoded batches between the loop thread (push) and the uplink
 * thread (peek, ack), oldest first. A batch stays until it is acknowledged. In
 * memory, or in a SQLite file if a path is given. Has its own mutex: any thread
 * may call.
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
 * Sets *out, released by outbox_close(). -ENOMEM. With a file: -EIO; -ENOSPC;
 * -EBUSY, another agent uses it; -EPROTONOSUPPORT, a newer version wrote it.
 */
int outbox_open(struct outbox **out, const struct outbox_options *opt);
void outbox_close(struct outbox *ob); /* NULL is fine */

/*
 * Returns the epoch to continue and the last sequence used in it: those of the
 * file, or a new epoch (wall clock, ns) and 0.
 */
void outbox_epoch(const struct outbox *ob, uint64_t *epoch, uint64_t *sequence);
/*
 * Returns the losses as of that sequence, all zero in a new epoch. The agent
 * continues counting from them.
 */
void outbox_losses(const struct outbox *ob, struct batch_losses *out);
/* Likewise what was read and dropped of samples: fills only these members. */
void outbox_samples(const struct outbox *ob, struct batch_samples *out);

/*
 * Takes ownership of *data and clears it. events is the number of requests in
 * it, for the loss counters. Waits for the disk if there is a file, never for
 * the aggregator. When full, the oldest batches that were never sent are folded
 * into one (rollup.h) that stands for their sequence numbers. If folding frees
 * nothing, they, or at last this one, are dropped and counted. Returns 0.
 */
int outbox_push(struct outbox *ob, void **data, size_t len, uint64_t epoch,
		uint64_t sequence, uint64_t events);

/*
 * Waits for the oldest batch, which stays in the outbox. -EAGAIN: none within
 * timeout_ms. -ECANCELED: outbox_wake() was called.
 */
int outbox_peek(struct outbox *ob, struct outbox_item *out, int timeout_ms);
/* Remove the oldest batch, if it is this one; a refused one counts as lost. */
void outbox_ack(struct outbox *ob, uint64_t epoch, uint64_t sequence);
void outbox_refused(struct outbox *ob, uint64_t epoch, uint64_t sequence);
/* The batch of the last outbox_peek() did not leave the process this time. */
void outbox_not_sent(struct outbox *ob, uint64_t epoch, uint64_t sequence);
void outbox_wake(struct outbox *ob); /* ends one peek: now, or the next */

/* Requests of the batches that are left. */
struct outbox_left {
	uint64_t requests; /* certainly not counted */
	uint64_t sent; /* without a reply: may have been counted */
};
/*
 * Tells what a stop leaves behind. Without a file, *data is set to a batch for
 * last_words_add(), malloc'd and the caller's, if anything is given up; else to
 * NULL. -ENOMEM.
 */
int outbox_give_up(struct outbox *ob, struct outbox_left *left, void **data,
		   size_t *len);
/*
 * Bases of pinned maps: how far their values are in batches already, so that
 * whoever reads them next goes on from there. Only a file keeps them. Loop
 * thread only.
 */
struct outbox_base {
	enum {
		OUTBOX_BASE_PUT,
		OUTBOX_BASE_DELETE,
		/* All whose keys begin with key and do not go on with value. */
		OUTBOX_BASE_FORGET,
	} what;
	const void *key, *value;
	size_t key_len, value_len;
};
/*
 * Batches that are pushed between these two are written together with the
 * bases: all of it, or nothing. No batch is sent meanwhile. The release returns
 * 0; or the error of writing: the batches are kept in memory then.
 */
void outbox_hold(struct outbox *ob);
int outbox_release(struct outbox *ob, const struct outbox_base *base, size_t n);
typedef int (*outbox_base_fn)(void *arg, const void *key, size_t key_len,
			      const void *value, size_t value_len);
/* Calls fn for each, until it returns an error. */
int outbox_each_base(struct outbox *ob, outbox_base_fn fn, void *arg);

struct outbox_stats {
	uint64_t batches, bytes; /* held now */
	int64_t oldest_us; /* since when, clock_steady_us(); 0: not known */
	uint64_t acknowledged; /* batches */
	uint64_t dropped_events; /* requests lost: no room */
	uint64_t refused_events; /* requests lost: aggregator refused */
	uint64_t dropped_increments, refused_increments; /* of samples */
	uint64_t rolled_up_events; /* requests sent as rollups */
};
void outbox_stats(struct outbox *ob, struct outbox_stats *out);

#endif /* PROBE_AGENT_OUTBOX_OUTBOX_H */
