/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "aggregator/ingest/gate_state.h"

void gate_queue_join(struct gate_conn *c, struct gate_list *l)
{
	if (c->list) {
		*(c->prev ? &c->prev->next : &c->list->head) = c->next;
		*(c->next ? &c->next->prev : &c->list->tail) = c->prev;
	}
	c->list = l;
	c->next = c->prev = NULL;
	if (!l)
		return;
	c->since_ns = c->gate->now_ns;
	c->prev = l->tail;
	*(l->tail ? &l->tail->next : &l->head) = c;
	l->tail = c;
}

static void link_newest(struct gate_ages *a, struct gate_conn *c)
{
	c->newer = NULL;
	c->older = a->newest;
	*(c->older ? &c->older->newer : &a->oldest) = c;
	a->newest = c;
}

static void unlink_age(struct gate_ages *a, struct gate_conn *c)
{
	*(c->newer ? &c->newer->older : &a->newest) = c->older;
	*(c->older ? &c->older->newer : &a->oldest) = c->newer;
}

/* Its message may be with the engine, which answers it first. */
static struct gate_conn *oldest_unproven(const struct gate *g)
{
	struct gate_conn *c = g->unproven.oldest;

	while (c && c->state == GATE_HELD)
		c = c->newer;
	return c;
}

int gate_queue_add(struct gate *g, struct gate_conn *c)
{
	if (g->n_conns >= g->max_conns) {
		struct gate_conn *old = oldest_unproven(g);

		if (!old)
			return -ENOSPC;
		gate_conn_die(old);
	}
	link_newest(&g->unproven, c);
	g->n_conns++;
	return 0;
}

void gate_queue_remove(struct gate *g, struct gate_conn *c)
{
	unlink_age(c->proven ? &g->proven : &g->unproven, c);
	g->n_conns--;
}

void gate_queue_prove(struct gate *g, struct gate_conn *c)
{
	unlink_age(&g->unproven, c);
	c->proven = true;
	link_newest(&g->proven, c);
}

/* A single message always fits, however big. */
static bool fits(const struct gate *g, const struct gate_conn *c)
{
	size_t others = g->leased_bytes - c->leased;

	return !others || others + c->len <= g->max_bytes;
}

bool gate_queue_is_roomy(const struct gate *g)
{
	return !g->waiting.head &&
	       g->leased_bytes + GATE_SCRATCH_BYTES <= g->max_bytes;
}

void gate_queue_relet(struct gate *g, struct gate_conn *c, size_t leased)
{
	g->leased_bytes += leased - c->leased;
	c->leased = leased;
}

bool gate_queue_lease(struct gate *g, struct gate_conn *c)
{
	/* First come, first served: else a big one might never fit. */
	if (!g->waiting.head && fits(g, c)) {
		gate_queue_relet(g, c, c->len);
		return true;
	}
	gate_queue_relet(g, c, c->got);
	c->state = GATE_WAITING;
	gate_queue_join(c, &g->waiting);
	g->waited++;
	return false;
}

void gate_queue_grant(struct gate *g)
{
	struct gate_conn *c;

	while ((c = g->waiting.head) && fits(g, c)) {
		gate_queue_relet(g, c, c->len);
		gate_conn_receive(c);
	}
}

bool gate_queue_has_enough(const struct gate *g)
{
	return g->queued.bytes >= g->enough.most_bytes ||
	       (g->queued.bytes >= g->enough.bytes &&
		g->queued.n >= g->enough.messages);
}
