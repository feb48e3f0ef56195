/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>

#include "probe-agent/outbox/outbox_items.h"

/*
 * An agent has one batch under way, and the aggregator commits a group within
 * tens of milliseconds. So a backlog leaves at some hundred batches per second,
 * whatever their size. Only batches that were never sent are joined, since the
 * aggregator may have counted the others.
 */

#define MERGE_BYTES ((size_t)512 << 10) /* of the batches before */
/*
 * Joining an event costs a tenth of what it cost to make. Larger batches are
 * worth that only if there is much to catch up with.
 */
#define SMALL_EVENTS 4096u
#define MUCH 16u /* batches */

/* Returns how many items, from the oldest on, may be joined. */
static size_t find_run(const struct outbox *ob)
{
	const uint64_t most = ob->n > MUCH ? MERGE_EVENTS : SMALL_EVENTS;
	size_t bytes = 0, i = 0;
	uint64_t events = 0;

	for (; i < ob->n; i++) {
		const struct outbox_slot *it = outbox_at(ob, i);

		bytes += it->len;
		events += it->events;
		if (it->sent || it->maybe_sent || it->rollup ||
		    it->events > most || bytes > MERGE_BYTES ||
		    events > MERGE_EVENTS)
			break;
	}
	return i;
}

/* Joins items [0, *to), or fewer if not all fit, into *out. */
static int join_items(struct outbox *ob, size_t *to, struct outbox_slot *out)
{
	uint64_t events = 0;
	size_t i;
	int err = 0;

	merge_reset(ob->merge);
	for (i = 0; i < *to; i++) {
		struct outbox_slot *it = outbox_at(ob, i);
		struct batch b;

		err = outbox_decode(ob, it, &b);
		if (!err)
			err = merge_add(ob->merge, &b);
		outbox_unload(it);
		if (err)
			break;
		events += it->events;
	}
	if (err == -EMSGSIZE && i >= 2)
		err = 0; /* those before it are joined */
	if (err)
		return err;
	*to = i;
	*out = (struct outbox_slot){
		.first = outbox_at(ob, 0)->first,
		.sequence = outbox_at(ob, i - 1)->sequence,
		.events = events,
		.since_us = outbox_at(ob, 0)->since_us,
	};
	return merge_encode(ob->merge, ob->agent, ob->epoch, out->first,
			    out->sequence, &out->data, &out->len);
}

void outbox_merge(struct outbox *ob)
{
	size_t to = find_run(ob);
	struct outbox_slot it;
	int err = 0;

	if (to < 2) {
		merge_free(ob->merge); /* the backlog is gone */
		ob->merge = NULL;
		return;
	}
	if (!ob->merge)
		err = merge_new(&ob->merge);
	if (!err)
		err = join_items(ob, &to, &it);
	/* Half as many until they fit into one message. */
	while (err == -EMSGSIZE && to >= 4) {
		to /= 2;
		err = join_items(ob, &to, &it);
	}
	if (err)
		return;
	if (outbox_store(ob, &it))
		free(it.data);
	else
		outbox_splice(ob, 0, to, &it);
}
