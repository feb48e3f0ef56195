/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/probe-agent/http/h2_kernel.h"

#include <assert.h>
#include <linux/types.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/h2_walk.bpf.h"
#include "probe-agent/http/h2_frame.h"

static_assert(sizeof(struct h2_kernel_dir) == sizeof(struct tap_walk),
	      "what a direction costs in the kernel");
static_assert(H2_WALK_SHORT == H2_DATA_COPIED_BYTES, "both sides' rule");
static_assert(H2_WALK_PREFACE == H2_PREFACE_BYTES, "both sides' preface");

static struct tap_walk *walk_of(struct h2_kernel *k, int dir)
{
	return (struct tap_walk *)&k->dir[dir];
}

void h2_kernel_connect(struct h2_kernel *k, enum h2_start start,
		       int request_dir, const uint32_t pos[2])
{
	struct tap_walk *d = walk_of(k, request_dir);

	memset(k->dir, 0, sizeof(k->dir));
	k->request_dir = request_dir;
	walk_of(k, 0)->next = pos[0];
	walk_of(k, 1)->next = pos[1];
	if (start == H2_START_JOINED)
		return;
	d->left = H2_WALK_PREFACE;
	d->type = H2_WALK_OPENING;
	d->mark = H2_WALK_NEEDED;
}

/* Hands over a piece, exactly as long as it says, for ASan. */
static void submit(struct h2_kernel *k, struct h2_piece *p)
{
	uint8_t *copy = malloc(p->len ? p->len : 1);

	assert(copy);
	if (p->len)
		memcpy(copy, p->data, p->len);
	p->data = copy;
	p->seq = ++walk_of(k, p->dir)->seq;
	k->pieces++;
	k->sink(k->arg, p);
	free(copy);
}

static bool finds_room(struct h2_kernel *k)
{
	if (k->lose || (k->lose_one_in && rand() % k->lose_one_in == 0)) {
		k->lost_pieces++;
		return false;
	}
	return true;
}

/* Walks over a piece, and hands it over if the agent needs some of it. */
static void walk(struct h2_kernel *k, struct h2_piece *p)
{
	struct tap_walk *d = walk_of(k, p->dir);
	bool lost = h2_walk_is_broken(d) || !finds_room(k);
	struct h2_walk_piece w;

	h2_walk_begin(&w, d, (uint32_t)p->len, p->dir == k->request_dir);
	while (!h2_walk_step(&w, p->data, UINT32_MAX))
		;
	assert(w.at == p->len);
	if (lost) {
		k->lost_requests += w.heads;
		h2_walk_lost(d);
	} else if (w.needed) {
		submit(k, p);
	}
}

static void step_over(struct h2_kernel *k, struct h2_piece p)
{
	struct tap_walk *d = walk_of(k, p.dir);

	h2_walk_pass(d, (uint32_t)p.len);
	d->next += (uint32_t)p.len;
	if (d->left ||
	    (d->mark & (H2_WALK_TELL | H2_WALK_BEGUN)) != H2_WALK_TELL)
		return;
	p.pos = d->next;
	p.len = 0;
	if (finds_room(k))
		submit(k, &p);
	else
		h2_walk_lost(d);
}

void h2_kernel_call(struct h2_kernel *k, int dir, const uint8_t *data,
		    size_t len, uint64_t first_ns, uint64_t last_ns)
{
	struct tap_walk *d = walk_of(k, dir);
	struct h2_piece p = { .dir = dir,
			      .other_pos = walk_of(k, !dir)->next,
			      .first_ns = first_ns,
			      .last_ns = last_ns };

	d->mark &= (uint8_t)~H2_WALK_BEGUN;
	for (size_t at = 0, n; at < len; at += n) {
		n = len - at;
		p.data = data + at;
		if (h2_walk_is_dull(d)) {
			if (n > d->left)
				n = d->left;
			p.len = n;
			p.rest = (uint32_t)(len - at - n);
			step_over(k, p);
			continue;
		}
		if (n > k->piece_max)
			n = k->piece_max;
		p.pos = d->next;
		p.have = d->have;
		p.left = d->have ? 0 : d->left;
		p.len = n;
		p.rest = (uint32_t)(len - at - n);
		d->next += (uint32_t)n;
		walk(k, &p);
	}
}

uint32_t h2_kernel_pos(const struct h2_kernel *k, int dir)
{
	return ((const struct tap_walk *)&k->dir[dir])->next;
}

uint32_t h2_kernel_left(const struct h2_kernel *k, int dir)
{
	const struct tap_walk *d = (const struct tap_walk *)&k->dir[dir];

	return d->have ? 0 : d->left;
}

uint16_t h2_kernel_seq(const struct h2_kernel *k, int dir)
{
	return ((const struct tap_walk *)&k->dir[dir])->seq;
}
