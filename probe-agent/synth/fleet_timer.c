/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/synth/fleet_timer.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

int fleet_timers_init(struct fleet_timers *t, size_t cap)
{
	t->heap = calloc(cap + 1, sizeof(*t->heap));
	t->n = 0;
	t->cap = cap;
	return t->heap ? 0 : -ENOMEM;
}

void fleet_timers_fini(struct fleet_timers *t)
{
	free(t->heap);
	t->heap = NULL;
}

/* Place i is at heap[i]; its children are 2i and 2i + 1. */
static void put_at(struct fleet_timers *t, size_t i, struct fleet_timer *timer)
{
	t->heap[i] = timer;
	timer->place = i;
}

static void sift_up(struct fleet_timers *t, struct fleet_timer *timer)
{
	size_t i = timer->place;

	for (; i > 1 && t->heap[i / 2]->at_ns > timer->at_ns; i /= 2)
		put_at(t, i, t->heap[i / 2]);
	put_at(t, i, timer);
}

static void sift_down(struct fleet_timers *t, struct fleet_timer *timer)
{
	size_t i = timer->place, child;

	for (; (child = 2 * i) <= t->n; i = child) {
		if (child < t->n &&
		    t->heap[child + 1]->at_ns < t->heap[child]->at_ns)
			child++;
		if (t->heap[child]->at_ns >= timer->at_ns)
			break;
		put_at(t, i, t->heap[child]);
	}
	put_at(t, i, timer);
}

void fleet_timer_set(struct fleet_timers *t, struct fleet_timer *timer,
		     uint64_t at_ns)
{
	timer->at_ns = at_ns;
	if (timer->place == 0) {
		assert(t->n < t->cap);
		put_at(t, ++t->n, timer);
	}
	sift_up(t, timer);
	sift_down(t, timer);
}

void fleet_timer_clear(struct fleet_timers *t, struct fleet_timer *timer)
{
	struct fleet_timer *last;
	size_t i = timer->place;

	if (i == 0)
		return;
	timer->place = 0;
	last = t->heap[t->n--];
	if (last == timer)
		return;
	put_at(t, i, last);
	sift_up(t, last);
	sift_down(t, last);
}

struct fleet_timer *fleet_timers_first(const struct fleet_timers *t)
{
	return t->n > 0 ? t->heap[1] : NULL;
}
