/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/outbox.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "common/log.h"
#include "probe-agent/outbox_disk.h"
#include "probe-agent/rollup.h"
#include "proto/batch.h"

#define CAP_DEFAULT ((size_t)64 << 20)
/* A fold makes at least this part of the cap free, if it can. */
#define FOLD_PART 16u
/* How far ahead of the oldest batch the file allows to send. */
#define SEND_AHEAD 32u
/* Beyond its data, what an item costs in memory. */
#define ITEM_BYTES (sizeof(struct item) + 32)

struct item {
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
	struct item *items;
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

static struct item *at(const struct outbox *ob, size_t i)
{
	return &ob->items[(ob->head + i) & ob->mask];
}

static int ring_grow(struct outbox *ob)
{
	size_t cap = ob->items != NULL ? (ob->mask + 1) * 2 : 64;
	struct item *items = calloc(cap, sizeof(*items));

	if (items == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < ob->n; i++)
		items[i] = *at(ob, i);
	free(ob->items);
	ob->items = items;
	ob->head = 0;
	ob->mask = cap - 1;
	return 0;
}

static int append(struct outbox *ob, const struct item *it)
{
	if (ob->items == NULL || ob->n > ob->mask) {
		int err = ring_grow(ob);

		if (err)
			return err;
	}
	*at(ob, ob->n++) = *it;
	ob->bytes += it->len + ITEM_BYTES;
	ob->stats.batches = ob->n;
	ob->stats.bytes = ob->bytes;
	return 0;
}

/* Takes items [from, to) out, and puts *with in their place unless NULL. */
static void splice(struct outbox *ob, size_t from, size_t to,
		   const struct item *with)
{
	size_t kept = from;

	for (size_t i = from; i < to; i++) {
		ob->bytes -= at(ob, i)->len + ITEM_BYTES;
		free(at(ob, i)->data);
	}
	if (with != NULL) {
		ob->bytes += with->len + ITEM_BYTES;
		*at(ob, kept++) = *with;
	}
	if (from == 0 && with == NULL) {
		ob->head = (ob->head + to) & ob->mask; /* the usual way */
	} else {
		for (size_t i = to; i < ob->n; i++)
			*at(ob, i - to + kept) = *at(ob, i);
	}
	ob->n -= to - kept;
	ob->stats.batches = ob->n;
	ob->stats.bytes = ob->bytes;
}

/* ---- opening ---- */

static int restore(void *arg, const struct outbox_disk_row *row)
{
	struct outbox *ob = arg;
	struct item it = {
		.first = row->first,
		.sequence = row->sequence,
		.events = row->events,
		.len = row->len,
		.rollup = row->rollup,
		.stored = true,
		.maybe_sent = row->sequence <= ob->marks.sendable,
	};

	ob->last_sequence = row->sequence;
	if (row->sequence <= ob->marks.acknowledged)
		return 0;
	return append(ob, &it);
}

/* The newest batch knows what had been lost when it was made. */
static int restore_losses(struct outbox *ob)
{
	const char *reason = "";
	struct batch b;
	void *data;
	size_t len;
	int err;

	if (ob->last_sequence == 0)
		return 0;
	err = outbox_disk_get(ob->disk, ob->last_sequence, &data, &len);
	if (err)
		return err;
	err = batch_decode(ob->arena, data, len, &b, &reason);
	if (err == 0)
		ob->losses = b.losses;
	else
		log_warn("newest batch of the outbox file: error=\"%s\"",
			 reason);
	free(data);
	return err == -ENOMEM ? err : 0;
}

static int open_disk(struct outbox *ob, const char *path)
{
	uint64_t epoch;
	int err = outbox_disk_open(&ob->disk, path);

	if (err)
		return err;
	epoch = outbox_disk_epoch(ob->disk);
	if (epoch == 0)
		return outbox_disk_set_epoch(ob->disk, ob->epoch);
	ob->epoch = epoch;
	outbox_disk_marks(ob->disk, &ob->marks);
	ob->last_sequence = ob->marks.acknowledged;
	err = outbox_disk_each(ob->disk, restore, ob);
	return err ? err : restore_losses(ob);
}

int outbox_open(struct outbox **out, const struct outbox_options *opt)
{
	struct outbox *ob = calloc(1, sizeof(*ob));
	pthread_condattr_t attr;
	int err;

	if (ob == NULL)
		return -ENOMEM;
	pthread_mutex_init(&ob->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&ob->changed, &attr);
	pthread_condattr_destroy(&attr);
	ob->cap_bytes = opt->cap_bytes > 0 ? opt->cap_bytes : CAP_DEFAULT;
	ob->epoch = (uint64_t)clock_real_ns();
	err = batch_arena_new(&ob->arena);
	if (err == 0)
		err = ring_grow(ob);
	if (err == 0 && opt->path != NULL)
		err = open_disk(ob, opt->path);
	if (err) {
		outbox_close(ob);
		return err;
	}
	*out = ob;
	return 0;
}

void outbox_close(struct outbox *ob)
{
	if (ob == NULL)
		return;
	if (ob->disk != NULL)
		outbox_disk_mark(ob->disk, &ob->marks, 0);
	outbox_disk_close(ob->disk);
	for (size_t i = 0; i < ob->n; i++)
		free(at(ob, i)->data);
	free(ob->items);
	rollup_free(ob->rollup);
	batch_arena_free(ob->arena);
	free(ob->agent);
	pthread_cond_destroy(&ob->changed);
	pthread_mutex_destroy(&ob->lock);
	free(ob);
}

void outbox_epoch(const struct outbox *ob, uint64_t *epoch, uint64_t *sequence)
{
	*epoch = ob->epoch;
	*sequence = ob->last_sequence;
}

void outbox_losses(const struct outbox *ob, struct batch_losses *out)
{
	*out = ob->losses;
}

/* ---- the file; each is nothing without one ---- */

static void allow_sending(struct outbox *ob, uint64_t sequence)
{
	if (ob->marks.sendable < sequence + SEND_AHEAD)
		ob->marks.sendable = sequence + SEND_AHEAD;
}

static int store(struct outbox *ob, struct item *it)
{
	struct outbox_disk_row row = {
		.first = it->first,
		.sequence = it->sequence,
		.events = it->events,
		.rollup = it->rollup,
		.len = it->len,
	};
	int err;

	if (ob->disk == NULL || it->stored)
		return 0;
	allow_sending(ob, ob->n > 0 ? at(ob, 0)->sequence : it->sequence);
	err = outbox_disk_put(ob->disk, &row, it->data, &ob->marks);
	if (err)
		return err;
	it->stored = true;
	free(it->data);
	it->data = NULL;
	if (ob->forget_later > 0 &&
	    outbox_disk_mark(ob->disk, &ob->marks, ob->forget_later) == 0)
		ob->forget_later = 0;
	return 0;
}

/* The file says that this one may be sent, before it is. */
static int store_sendable(struct outbox *ob, const struct item *it)
{
	struct outbox_disk_marks marks;

	if (ob->disk == NULL)
		return 0;
	outbox_disk_marks(ob->disk, &marks);
	if (it->sequence <= marks.sendable)
		return 0;
	allow_sending(ob, it->sequence);
	return outbox_disk_mark(ob->disk, &ob->marks, 0);
}

static int load(struct outbox *ob, struct item *it)
{
	void *data;
	size_t len;
	int err;

	if (it->data != NULL)
		return 0;
	err = outbox_disk_get(ob->disk, it->sequence, &data, &len);
	if (err)
		return err;
	it->data = data;
	it->len = len;
	return 0;
}

static void unload(struct item *it)
{
	if (!it->stored)
		return;
	free(it->data);
	it->data = NULL;
}

/* ---- making room ---- */

static void drop(struct outbox *ob, size_t i)
{
	const struct item *it = at(ob, i);

	ob->stats.dropped_events += it->events;
	if (it->stored && it->sequence < ob->last_sequence)
		outbox_disk_mark(ob->disk, &ob->marks, it->sequence);
	else if (it->stored)
		ob->forget_later = it->sequence; /* the newest row stays */
	splice(ob, i, i + 1, NULL);
}

static int add_to_rollup(struct outbox *ob, struct item *it)
{
	const char *reason = "";
	struct batch b;
	int err = load(ob, it);

	if (err)
		return err;
	err = batch_decode(ob->arena, it->data, it->len, &b, &reason);
	if (err == 0 && ob->agent == NULL) {
		ob->agent = strdup(b.agent);
		err = ob->agent != NULL ? 0 : -ENOMEM;
	}
	if (err == 0)
		err = rollup_add(ob->rollup, &b);
	else
		log_error("batch cannot be folded: sequence=%llu "
			  "error=\"%s\"",
			  (unsigned long long)it->sequence, reason);
	unload(it);
	return err;
}

/* Folds items [from, to) into *out, which is not in the outbox yet. */
static int fold(struct outbox *ob, size_t from, size_t to, struct item *out)
{
	int err = 0;

	if (ob->rollup == NULL)
		err = rollup_new(&ob->rollup);
	else
		rollup_reset(ob->rollup);
	for (size_t i = from; i < to && err == 0; i++)
		err = add_to_rollup(ob, at(ob, i));
	if (err)
		return err;
	*out = (struct item){
		.first = at(ob, from)->first,
		.sequence = at(ob, to - 1)->sequence,
		.events = rollup_events(ob->rollup),
		.rollup = true,
	};
	return rollup_encode(ob->rollup, ob->agent, ob->epoch, out->first,
			     out->sequence, &out->data, &out->len);
}

/*
 * What to fold: the newest rollup that still takes more and the batches after
 * it, up to the budget. False if there is no batch to fold.
 */
static bool find_run(const struct outbox *ob, size_t *from, size_t *to)
{
	size_t budget = ob->cap_bytes / FOLD_PART, taken = 0, i = 1;

	while (i < ob->n && (at(ob, i)->sealed || at(ob, i)->maybe_sent))
		i++;
	*from = i;
	while (i < ob->n && !at(ob, i)->sealed &&
	       (at(ob, i)->rollup || taken < budget)) {
		if (!at(ob, i)->rollup)
			taken += at(ob, i)->len + ITEM_BYTES;
		i++;
	}
	*to = i;
	return taken > 0;
}

static size_t run_bytes(const struct outbox *ob, size_t from, size_t to)
{
	size_t bytes = 0;

	for (size_t i = from; i < to; i++)
		bytes += at(ob, i)->len + ITEM_BYTES;
	return bytes;
}

static uint64_t plain_events(const struct outbox *ob, size_t from, size_t to)
{
	uint64_t events = 0;

	for (size_t i = from; i < to; i++)
		if (!at(ob, i)->rollup)
			events += at(ob, i)->events;
	return events;
}

/* True if it freed something or sealed something: worth another look. */
static bool fold_oldest(struct outbox *ob)
{
	struct item it;
	size_t from, to;
	uint64_t events;
	int err = -EMSGSIZE;

	if (!find_run(ob, &from, &to))
		return false;
	/* Half as many until they fit into one message. */
	for (; to > from; to = from + (to - from) / 2) {
		err = fold(ob, from, to, &it);
		if (err != -EMSGSIZE || to - from == 1)
			break;
	}
	if (err == 0 &&
	    it.len + ITEM_BYTES >= run_bytes(ob, from, to) / 8 * 7) {
		free(it.data);
		err = -EMSGSIZE;
	}
	events = plain_events(ob, from, to);
	if (err == 0) {
		err = store(ob, &it);
		if (err)
			free(it.data);
	}
	if (err == -ENOMEM || err == -ENOSPC || err == -EIO)
		return false;
	if (err) {
		for (size_t i = from; i < to; i++)
			at(ob, i)->sealed = true;
		return true;
	}
	ob->stats.rolled_up_events += events;
	splice(ob, from, to, &it);
	return true;
}

/* The oldest that is certainly not counted yet; false if there is none. */
static bool drop_oldest(struct outbox *ob)
{
	size_t i = 1;

	while (i < ob->n && at(ob, i)->maybe_sent)
		i++;
	if (i >= ob->n)
		return false;
	log_warn("outbox full: oldest batch dropped: events=%llu",
		 (unsigned long long)at(ob, i)->events);
	drop(ob, i);
	return true;
}

static bool room_for(const struct outbox *ob, size_t len)
{
	return ob->bytes + len + ITEM_BYTES <= ob->cap_bytes;
}

static void make_room(struct outbox *ob, size_t len)
{
	uint64_t before = ob->stats.rolled_up_events;

	while (!room_for(ob, len) && (fold_oldest(ob) || drop_oldest(ob)))
		;
	if (ob->stats.rolled_up_events > before)
		log_info("outbox full: oldest batches rolled up: "
			 "batches=%zu bytes=%zu rolled_up_events=%llu",
			 ob->n, ob->bytes,
			 (unsigned long long)ob->stats.rolled_up_events);
}

/* ---- for the loop thread ---- */

int outbox_push(struct outbox *ob, void **data, size_t len, uint64_t epoch,
		uint64_t sequence, uint64_t events)
{
	struct item it = {
		.first = sequence,
		.sequence = sequence,
		.events = events,
		.data = *data,
		.len = len,
	};
	int err = 0;

	*data = NULL;
	pthread_mutex_lock(&ob->lock);
	assert(epoch == ob->epoch && sequence > ob->last_sequence);
	make_room(ob, len);
	ob->last_sequence = sequence;
	if (!room_for(ob, len) && ob->n > 0)
		err = -ENOSPC;
	/* What cannot be written now is when it is about to be sent. */
	if (err == 0)
		store(ob, &it);
	if (err == 0)
		err = append(ob, &it);
	if (err) {
		ob->stats.dropped_events += events;
		free(it.data);
	}
	pthread_cond_signal(&ob->changed);
	pthread_mutex_unlock(&ob->lock);
	return 0;
}

/* ---- for the uplink ---- */

static void deadline(struct timespec *ts, int timeout_ms)
{
	clock_gettime(CLOCK_MONOTONIC, ts);
	ts->tv_sec += timeout_ms / 1000;
	ts->tv_nsec += timeout_ms % 1000 * 1000000L;
	if (ts->tv_nsec >= 1000000000L) {
		ts->tv_sec++;
		ts->tv_nsec -= 1000000000L;
	}
}

/* Written first, then sent. */
static int first_item(struct outbox *ob, struct outbox_item *out)
{
	struct item *it = at(ob, 0);
	int err = store(ob, it);

	err = err ? err : store_sendable(ob, it);
	err = err ? err : load(ob, it);
	if (err)
		return err;
	out->data = it->data;
	out->len = it->len;
	out->epoch = ob->epoch;
	out->sequence = it->sequence;
	return 0;
}

int outbox_peek(struct outbox *ob, struct outbox_item *out, int timeout_ms)
{
	struct timespec until;
	int err = -EAGAIN, waited = 0;

	deadline(&until, timeout_ms);
	pthread_mutex_lock(&ob->lock);
	for (;;) {
		if (ob->woken) {
			ob->woken = false;
			err = -ECANCELED;
			break;
		}
		if (ob->n > 0 && first_item(ob, out) == 0) {
			err = 0;
			break;
		}
		if (waited != 0)
			break;
		waited =
			pthread_cond_timedwait(&ob->changed, &ob->lock, &until);
	}
	pthread_mutex_unlock(&ob->lock);
	return err;
}

/* Takes item 0 out if it is that one. */
static void done(struct outbox *ob, uint64_t epoch, uint64_t sequence,
		 bool refused)
{
	pthread_mutex_lock(&ob->lock);
	if (ob->n > 0 && epoch == ob->epoch &&
	    at(ob, 0)->sequence == sequence) {
		if (refused)
			ob->stats.refused_events += at(ob, 0)->events;
		else
			ob->stats.acknowledged++;
		ob->marks.acknowledged = sequence;
		splice(ob, 0, 1, NULL);
	}
	pthread_mutex_unlock(&ob->lock);
}

void outbox_ack(struct outbox *ob, uint64_t epoch, uint64_t sequence)
{
	done(ob, epoch, sequence, false);
}

void outbox_refused(struct outbox *ob, uint64_t epoch, uint64_t sequence)
{
	done(ob, epoch, sequence, true);
}

void outbox_wake(struct outbox *ob)
{
	pthread_mutex_lock(&ob->lock);
	ob->woken = true;
	pthread_cond_broadcast(&ob->changed);
	pthread_mutex_unlock(&ob->lock);
}

void outbox_stats(struct outbox *ob, struct outbox_stats *out)
{
	pthread_mutex_lock(&ob->lock);
	*out = ob->stats;
	pthread_mutex_unlock(&ob->lock);
}
