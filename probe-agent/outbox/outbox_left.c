/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/outbox/outbox_items.h"

/* What a stop leaves behind. */

static struct outbox_left what_is_left(const struct outbox *ob)
{
	struct outbox_left left = { 0 };

	for (size_t i = 0; i < ob->n; i++) {
		const struct outbox_slot *it = outbox_at(ob, i);

		*(it->sent || it->maybe_sent ? &left.sent : &left.requests) +=
			it->events;
	}
	return left;
}

/*
 * Follows the last batch as if all of them had been sent: then the aggregator
 * counts those that it does not have as missing. The newest one has the losses
 * but for what was dropped to make room for itself.
 */
static int last_batch(struct outbox *ob, const struct outbox_left *left,
		      void **data, size_t *len)
{
	struct batch b, last;
	int err = outbox_decode(ob, outbox_at(ob, ob->n - 1), &b);

	if (err)
		return err;
	last = (struct batch){
		.agent = b.agent,
		.epoch = ob->epoch,
		.sequence = ob->last_sequence + 1,
		.base_us = b.base_us,
		.losses = b.losses,
	};
	if (last.losses.dropped[LOSS_OUTBOX] < ob->stats.dropped_events)
		last.losses.dropped[LOSS_OUTBOX] = ob->stats.dropped_events;
	last.losses.dropped[LOSS_STOPPED] = left->requests;
	return batch_encode(&last, data, len);
}

int outbox_give_up(struct outbox *ob, struct outbox_left *left, void **data,
		   size_t *len)
{
	int err = 0;

	*data = NULL;
	*len = 0;
	pthread_mutex_lock(&ob->lock);
	*left = what_is_left(ob);
	if (!ob->disk && left->requests + left->sent > 0)
		err = last_batch(ob, left, data, len);
	pthread_mutex_unlock(&ob->lock);
	return err;
}
