/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "probe-agent/outbox/outbox_items.h"

/* One fold takes batches of about 1/16 of the cap, to free most of that. */
#define FOLD_PART 16u

static void drop_item(struct outbox *ob, size_t i)
{
	struct outbox_slot *it = outbox_at(ob, i);

	ob->stats.dropped_events += it->events;
	ob->stats.dropped_increments += outbox_increments(ob, it);
	if (it->stored && it->sequence < ob->last_sequence)
		outbox_disk_mark(ob->disk, &ob->marks, it->sequence);
	else if (it->stored)
		ob->forget_later = it->sequence; /* newest row must stay */
	outbox_splice(ob, i, i + 1, NULL);
}

int outbox_decode(struct outbox *ob, struct outbox_slot *it, struct batch *b)
{
	const char *reason = "";
	int err = outbox_load(ob, it);

	if (err)
		return err;
	err = batch_decode(ob->arena, it->data, it->len, b, &reason);
	if (err)
		log_error("cannot decode batch of the outbox sequence=%llu "
			  "error=\"%s\"",
			  (unsigned long long)it->sequence, reason);
	if (!err && !ob->agent) {
		ob->agent = strdup(b->agent);
		err = ob->agent ? 0 : -ENOMEM;
	}
	return err;
}

static int add_to_rollup(struct outbox *ob, struct outbox_slot *it)
{
	struct batch b;
	int err = outbox_decode(ob, it, &b);

	if (!err)
		err = rollup_add(ob->rollup, &b);
	outbox_unload(it);
	return err;
}

/* Folds the items [from, to) into *out, without changing the outbox. */
static int fold(struct outbox *ob, size_t from, size_t to,
		struct outbox_slot *out)
{
	int err = 0;

	if (!ob->rollup)
		err = rollup_new(&ob->rollup);
	else
		rollup_reset(ob->rollup);
	for (size_t i = from; i < to && !err; i++)
		err = add_to_rollup(ob, outbox_at(ob, i));
	if (err)
		return err;
	*out = (struct outbox_slot){
		.first = outbox_at(ob, from)->first,
		.sequence = outbox_at(ob, to - 1)->sequence,
		.events = rollup_events(ob->rollup),
		.rollup = true,
		.since_us = outbox_at(ob, from)->since_us,
	};
	return rollup_encode(ob->rollup, ob->agent, ob->epoch, out->first,
			     out->sequence, &out->data, &out->len);
}

/*
 * Chooses what to fold: the first items that are neither sealed nor may have
 * been sent, rollups and batches, until the batches fill the budget. False:
 * there is no batch among them.
 */
static bool find_run(const struct outbox *ob, size_t *from, size_t *to)
{
	size_t budget = ob->cap_bytes / FOLD_PART, taken = 0, i = 1;

	while (i < ob->n &&
	       (outbox_at(ob, i)->sealed || outbox_at(ob, i)->maybe_sent))
		i++;
	*from = i;
	while (i < ob->n && !outbox_at(ob, i)->sealed &&
	       (outbox_at(ob, i)->rollup || taken < budget)) {
		if (!outbox_at(ob, i)->rollup)
			taken += outbox_at(ob, i)->len + ITEM_BYTES;
		i++;
	}
	*to = i;
	return taken > 0;
}

static size_t run_bytes(const struct outbox *ob, size_t from, size_t to)
{
	size_t bytes = 0;

	for (size_t i = from; i < to; i++)
		bytes += outbox_at(ob, i)->len + ITEM_BYTES;
	return bytes;
}

static uint64_t plain_events(const struct outbox *ob, size_t from, size_t to)
{
	uint64_t events = 0;

	for (size_t i = from; i < to; i++)
		if (!outbox_at(ob, i)->rollup)
			events += outbox_at(ob, i)->events;
	return events;
}

/* True: it freed or sealed something, so another try is worth while. */
static bool fold_oldest(struct outbox *ob)
{
	struct outbox_slot it;
	size_t from, to;
	uint64_t events;
	int err = -EMSGSIZE;

	if (!find_run(ob, &from, &to))
		return false;
	/* Halves their number until they fit in one message. */
	for (; to > from; to = from + (to - from) / 2) {
		err = fold(ob, from, to, &it);
		if (err != -EMSGSIZE || to - from == 1)
			break;
	}
	if (!err && it.len + ITEM_BYTES >= run_bytes(ob, from, to) / 8 * 7) {
		free(it.data);
		err = -EMSGSIZE;
	}
	events = plain_events(ob, from, to);
	if (!err) {
		err = outbox_store(ob, &it);
		if (err)
			free(it.data);
	}
	if (err == -ENOMEM || err == -ENOSPC || err == -EIO)
		return false;
	if (err) {
		for (size_t i = from; i < to; i++)
			outbox_at(ob, i)->sealed = true;
		return true;
	}
	ob->stats.rolled_up_events += events;
	outbox_splice(ob, from, to, &it);
	return true;
}

/* Drops the oldest batch that was certainly not sent. False: none. */
static bool drop_oldest(struct outbox *ob)
{
	size_t i = 1;

	while (i < ob->n && outbox_at(ob, i)->maybe_sent)
		i++;
	if (i >= ob->n)
		return false;
	log_warn("outbox full, oldest batch dropped events=%llu",
		 (unsigned long long)outbox_at(ob, i)->events);
	drop_item(ob, i);
	return true;
}

bool outbox_has_room(const struct outbox *ob, size_t len)
{
	return ob->bytes + len + ITEM_BYTES <= ob->cap_bytes;
}

void outbox_make_room(struct outbox *ob, size_t len)
{
	uint64_t before = ob->stats.rolled_up_events;

	while (!outbox_has_room(ob, len) &&
	       (fold_oldest(ob) || drop_oldest(ob)))
		;
	if (ob->stats.rolled_up_events > before)
		log_info("outbox full, oldest batches rolled up "
			 "batches=%zu bytes=%zu rolled_up_events=%llu",
			 ob->n, ob->bytes,
			 (unsigned long long)ob->stats.rolled_up_events);
}
