/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/http/h2_state.h"

#include <errno.h>

void h2_block_begin(struct h2 *h, struct h2_dir *d)
{
	const struct h2_frame *f = &d->frame;

	d->opening = (struct h2_opening){
		.start_ns = d->frame_ns,
		.stream = f->type == H2_PUSH_PROMISE ? f->promised : f->stream,
		.type = f->type,
		.open = true,
		.end_stream =
			f->type == H2_HEADERS && f->flags & H2_FLAG_END_STREAM,
	};
	if (h->env->spare) {
		d->block = h->env->spare;
		h->env->spare = NULL;
	} else {
		d->block = h2_alloc(h->env, sizeof(*d->block));
	}
	if (!d->block)
		return;
	/* A date proves a lot, and is of no use afterwards. */
	hpack_begin(&d->block->code,
		    h->proved ? HPACK_ALL & ~(1u << HPACK_DATE) : HPACK_ALL);
	h2_head_begin(&d->block->head);
}

/* The rest is not decoded; so neither will be what refers to it. */
static void give_up(struct h2 *h, struct h2_dir *d)
{
	d->opening.given_up = true;
	hpack_window_reset(&d->window);
	h->env->stats.desynced[H2_DESYNC_LIMIT]++;
	if (d->block)
		d->block->head.unnamed = true;
}

/* It does not decode: then nothing of it is true. */
static int refuse_block(struct h2 *h, struct h2_dir *d)
{
	d->opening.given_up = true;
	hpack_window_reset(&d->window);
	h2_head_distrust(&d->block->head);
	return h2_contradict(h, H2_DESYNC_HPACK);
}

int h2_block_feed(struct h2 *h, struct h2_dir *d, const uint8_t *data,
		  size_t len)
{
	const uint8_t *end = data + len;
	struct hpack_field field;
	int got;

	d->opening.bytes += (uint32_t)len;
	if (d->opening.given_up)
		return 0;
	if (!d->block || d->opening.bytes > H2_BLOCK_MAX_BYTES) {
		give_up(h, d);
		return 0;
	}
	do {
		got = hpack_next(&d->window, &d->block->code, &data, end,
				 &field);
		if (got > 0)
			h2_head_add(&d->block->head, &field);
	} while (got > 0);
	return got < 0 ? refuse_block(h, d) : 0;
}

const struct h2_head *h2_block_end(struct h2 *h, struct h2_dir *d)
{
	h->env->stats.blocks += h->proved;
	d->opening.open = false;
	if (!d->block)
		return &h->env->unknown;
	if (!d->opening.given_up && hpack_end(&d->block->code) &&
	    refuse_block(h, d))
		return NULL;
	return &d->block->head;
}

void h2_block_drop(struct h2 *h, struct h2_dir *d)
{
	d->opening.open = false;
	if (!d->block)
		return;
	if (!h->env->spare)
		h->env->spare = d->block;
	else
		h2_release(h->env, d->block, sizeof(*d->block));
	d->block = NULL;
}
