/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/outbox/outbox.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "common/log.h"
#include "probe-agent/outbox/outbox_items.h"

#define CAP_DEFAULT ((size_t)64 << 20)
/* Batches that the file allows to be sent beyond the oldest one. */
#define SEND_AHEAD 32u

static int ring_grow(struct outbox *ob)
{
	size_t cap = ob->items ? (ob->mask + 1) * 2 : 64;
	struct outbox_slot *items = calloc(cap, sizeof(*items));

	if (!items)
		return -ENOMEM;
	for (size_t i = 0; i < ob->n; i++)
		items[i] = *outbox_at(ob, i);
	free(ob->items);
	ob->items = items;
	ob->head = 0;
	ob->mask = cap - 1;
	return 0;
}

static int append(struct outbox *ob, const struct outbox_slot *it)
{
	if (!ob->items || ob->n > ob->mask) {
		int err = ring_grow(ob);

		if (err)
			return err;
	}
	*outbox_at(ob, ob->n++) = *it;
	ob->bytes += it->len + ITEM_BYTES;
	ob->stats.batches = ob->n;
	ob->stats.bytes = ob->bytes;
	return 0;
}

void outbox_splice(struct outbox *ob, size_t from, size_t to,
		   const struct outbox_slot *with)
{
	size_t kept = from;

	for (size_t i = from; i < to; i++) {
		ob->bytes -= outbox_at(ob, i)->len + ITEM_BYTES;
		free(outbox_at(ob, i)->data);
	}
	if (with) {
		ob->bytes += with->len + ITEM_BYTES;
		*outbox_at(ob, kept++) = *with;
	}
	if (from == 0 && !with) {
		ob->head = (ob->head + to) & ob->mask; /* the usual case */
	} else {
		for (size_t i = to; i < ob->n; i++)
			*outbox_at(ob, i - to + kept) = *outbox_at(ob, i);
	}
	ob->n -= to - kept;
	ob->stats.batches = ob->n;
	ob->stats.bytes = ob->bytes;
}

/* --- opening --- */

static int restore(void *arg, const struct outbox_disk_row *row)
{
	struct outbox *ob = arg;
	struct outbox_slot it = {
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

/* The newest batch says what had been lost when it was made. */
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
	if (!err) {
		ob->losses = b.losses;
		ob->samples_read = b.samples.read;
		memcpy(ob->samples_dropped, b.samples.dropped,
		       sizeof(ob->samples_dropped));
	} else
		log_warn("cannot read losses from outbox file error=\"%s\"",
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
	pthread_mutexattr_t mutex;
	pthread_condattr_t attr;
	int err;

	if (!ob)
		return -ENOMEM;
	/* outbox_hold() keeps it while other calls take it. */
	pthread_mutexattr_init(&mutex);
	pthread_mutexattr_settype(&mutex, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&ob->lock, &mutex);
	pthread_mutexattr_destroy(&mutex);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&ob->changed, &attr);
	pthread_condattr_destroy(&attr);
	ob->cap_bytes = opt->cap_bytes > 0 ? opt->cap_bytes : CAP_DEFAULT;
	ob->epoch = (uint64_t)clock_real_ns();
	err = batch_arena_new(&ob->arena);
	if (!err)
		err = ring_grow(ob);
	if (!err && opt->path)
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
	if (!ob)
		return;
	if (ob->disk)
		outbox_disk_mark(ob->disk, &ob->marks, 0);
	outbox_disk_close(ob->disk);
	for (size_t i = 0; i < ob->n; i++)
		free(outbox_at(ob, i)->data);
	free(ob->items);
	rollup_free(ob->rollup);
	merge_free(ob->merge);
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

void outbox_samples(const struct outbox *ob, struct batch_samples *out)
{
	out->read = ob->samples_read;
	memcpy(out->dropped, ob->samples_dropped, sizeof(out->dropped));
}

/* --- the file; without one, these do nothing --- */

static void allow_sending(struct outbox *ob, uint64_t sequence)
{
	if (ob->marks.sendable < sequence + SEND_AHEAD)
		ob->marks.sendable = sequence + SEND_AHEAD;
}

int outbox_store(struct outbox *ob, struct outbox_slot *it)
{
	struct outbox_disk_row row = {
		.first = it->first,
		.sequence = it->sequence,
		.events = it->events,
		.rollup = it->rollup,
		.len = it->len,
	};
	int err;

	if (!ob->disk || it->stored)
		return 0;
	allow_sending(ob,
		      ob->n > 0 ? outbox_at(ob, 0)->sequence : it->sequence);
	err = outbox_disk_put(ob->disk, &row, it->data, &ob->marks);
	if (err)
		return err;
	it->stored = true;
	it->held = ob->holding;
	outbox_unload(it);
	if (ob->forget_later > 0 &&
	    outbox_disk_mark(ob->disk, &ob->marks, ob->forget_later) == 0)
		ob->forget_later = 0;
	return 0;
}

/* Records in the file that a batch may be sent, before it is. */
static int store_sendable(struct outbox *ob, const struct outbox_slot *it)
{
	struct outbox_disk_marks marks;

	if (!ob->disk)
		return 0;
	outbox_disk_marks(ob->disk, &marks);
	if (it->sequence <= marks.sendable)
		return 0;
	allow_sending(ob, it->sequence);
	return outbox_disk_mark(ob->disk, &ob->marks, 0);
}

int outbox_load(struct outbox *ob, struct outbox_slot *it)
{
	void *data;
	size_t len;
	int err;

	if (it->data)
		return 0;
	err = outbox_disk_get(ob->disk, it->sequence, &data, &len);
	if (err)
		return err;
	it->data = data;
	it->len = len;
	return 0;
}

void outbox_unload(struct outbox_slot *it)
{
	if (!it->stored || it->held)
		return;
	free(it->data);
	it->data = NULL;
}

/* --- for the loop thread --- */

int outbox_push(struct outbox *ob, void **data, size_t len, uint64_t epoch,
		uint64_t sequence, uint64_t events)
{
	struct outbox_slot it = {
		.first = sequence,
		.sequence = sequence,
		.events = events,
		.since_us = clock_steady_us(),
		.data = *data,
		.len = len,
	};
	int err = 0;

	*data = NULL;
	pthread_mutex_lock(&ob->lock);
	assert(epoch == ob->epoch && sequence > ob->last_sequence);
	outbox_make_room(ob, len);
	ob->last_sequence = sequence;
	if (!outbox_has_room(ob, len) && ob->n > 0)
		err = -ENOSPC;
	/* A write that fails is tried again before the batch is sent. */
	if (!err)
		outbox_store(ob, &it);
	if (!err)
		err = append(ob, &it);
	if (err) {
		ob->stats.dropped_events += events;
		ob->stats.dropped_increments += outbox_increments(ob, &it);
		free(it.data);
	}
	pthread_cond_signal(&ob->changed);
	pthread_mutex_unlock(&ob->lock);
	return 0;
}

void outbox_hold(struct outbox *ob)
{
	pthread_mutex_lock(&ob->lock);
	ob->holding = ob->disk && !outbox_disk_hold(ob->disk);
}

int outbox_release(struct outbox *ob, const struct outbox_base *base, size_t n)
{
	int err = 0;

	if (ob->holding)
		err = outbox_disk_release(ob->disk, base, n);
	else if (ob->disk)
		err = -EIO;
	ob->holding = false;
	for (size_t i = 0; i < ob->n; i++) {
		struct outbox_slot *it = outbox_at(ob, i);

		if (!it->held)
			continue;
		it->held = false;
		it->stored = !err;
		outbox_unload(it);
	}
	pthread_mutex_unlock(&ob->lock);
	return err;
}

int outbox_each_base(struct outbox *ob, outbox_base_fn fn, void *arg)
{
	int err = 0;

	pthread_mutex_lock(&ob->lock);
	if (ob->disk)
		err = outbox_disk_each_base(ob->disk, fn, arg);
	pthread_mutex_unlock(&ob->lock);
	return err;
}

/* --- for the uplink --- */

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

/* Returns the oldest batch, once it is in the file. */
static int first_item(struct outbox *ob, struct outbox_item *out)
{
	struct outbox_slot *it;
	struct batch_peek about;
	int err;

	outbox_merge(ob);
	it = outbox_at(ob, 0);
	err = outbox_store(ob, it);
	err = err ? err : store_sendable(ob, it);
	err = err ? err : outbox_load(ob, it);
	if (err)
		return err;
	if (!it->since_us && batch_peek(it->data, it->len, &about) == 0)
		it->since_us = about.base_us;
	out->data = it->data;
	out->len = it->len;
	out->epoch = ob->epoch;
	out->sequence = it->sequence;
	it->sent_before = it->sent;
	it->sent = true;
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

/* Removes item 0 if it is the one with that epoch and sequence. */
/* Rare: batches with samples that are lost are decoded once more. */
uint64_t outbox_increments(struct outbox *ob, struct outbox_slot *it)
{
	uint64_t n = 0;
	struct batch b;

	if (outbox_load(ob, it) == 0 && batch_protocol(it->data, it->len) > 1 &&
	    batch_decode(ob->arena, it->data, it->len, &b, NULL) == 0)
		n = samples_increments(&b.samples);
	outbox_unload(it);
	return n;
}

static void done(struct outbox *ob, uint64_t epoch, uint64_t sequence,
		 bool refused)
{
	pthread_mutex_lock(&ob->lock);
	if (ob->n > 0 && epoch == ob->epoch &&
	    outbox_at(ob, 0)->sequence == sequence) {
		struct outbox_slot *it = outbox_at(ob, 0);

		if (refused) {
			ob->stats.refused_events += it->events;
			ob->stats.refused_increments +=
				outbox_increments(ob, it);
		} else {
			ob->stats.acknowledged++;
		}
		ob->marks.acknowledged = sequence;
		outbox_splice(ob, 0, 1, NULL);
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

void outbox_not_sent(struct outbox *ob, uint64_t epoch, uint64_t sequence)
{
	pthread_mutex_lock(&ob->lock);
	if (ob->n > 0 && epoch == ob->epoch &&
	    outbox_at(ob, 0)->sequence == sequence)
		outbox_at(ob, 0)->sent = outbox_at(ob, 0)->sent_before;
	pthread_mutex_unlock(&ob->lock);
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
	out->oldest_us = ob->n > 0 ? outbox_at(ob, 0)->since_us : 0;
	pthread_mutex_unlock(&ob->lock);
}
