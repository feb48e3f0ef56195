/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "aggregator/ingest/gate_state.h"
#include "common/clock.h"

#define REAP_MAX 64u /* frees per call, not to delay ingest */
#define DISCARDING_MAX 256u /* each has a buffer of 16 KiB */
#define CLOSING_MAX 256u /* connections on their way out, beyond the most */

static void append(struct gate_list *l, struct gate_conn *c)
{
	c->next = NULL;
	if (!l->head)
		l->tail = &l->head;
	*l->tail = c;
	l->tail = &c->next;
}

static struct gate_conn *pop(struct gate_list *l)
{
	struct gate_conn *c = l->head;

	l->head = c->next;
	return c;
}

/* A single message always fits, however big. */
static bool fits(const struct gate *g, const struct gate_conn *c)
{
	return !g->leased_bytes || g->leased_bytes + c->len <= g->max_bytes;
}

static void note_closed(struct gate *g, struct gate_conn *c)
{
	if (c->closed)
		return;
	c->closed = true;
	g->n_closed++;
	if (!c->proven)
		g->n_unproven--;
}

/*
 * Closes the oldest connection that has not brought anything yet, so that
 * strangers cannot keep agents out by being silent. Its callback then finds the
 * error. Returns false if there is none.
 */
static bool make_place(struct gate *g)
{
	struct gate_conn *c = g->n_unproven > 0 ? g->oldest : NULL;

	while (c && (c->proven || c->closed))
		c = c->newer;
	if (!c)
		return false;
	note_closed(g, c);
	nng_stream_close(c->stream);
	return true;
}

int gate_queue_add(struct gate *g, struct gate_conn *c)
{
	int err = 0;

	pthread_mutex_lock(&g->mutex);
	if (g->n_conns - g->n_closed >= g->max_conns &&
	    (g->n_closed >= CLOSING_MAX || !make_place(g))) {
		err = -ENOSPC;
	} else {
		c->older = g->newest;
		if (c->older)
			c->older->newer = c;
		else
			g->oldest = c;
		g->newest = c;
		g->n_conns++;
		g->n_unproven++;
	}
	pthread_mutex_unlock(&g->mutex);
	return err;
}

void gate_queue_prove(struct gate *g, struct gate_conn *c)
{
	if (c->proven)
		return; /* set by the collecting thread only */
	pthread_mutex_lock(&g->mutex);
	if (!c->closed)
		g->n_unproven--;
	c->proven = true;
	pthread_mutex_unlock(&g->mutex);
}

bool gate_queue_lease(struct gate *g, struct gate_conn *c)
{
	bool room;

	pthread_mutex_lock(&g->mutex);
	/* First come, first served: else a big one might never fit. */
	room = !g->waiting.head && fits(g, c) && !g->closing;
	if (room) {
		g->leased_bytes += c->len;
	} else {
		c->state = GATE_WAITING;
		c->since_ns = clock_mono_ns();
		append(&g->waiting, c);
		g->stats.waited++;
	}
	pthread_mutex_unlock(&g->mutex);
	return room;
}

static struct gate_conn *grant(struct gate *g)
{
	struct gate_conn *c = NULL;

	pthread_mutex_lock(&g->mutex);
	if (g->waiting.head && fits(g, g->waiting.head) && !g->closing) {
		c = pop(&g->waiting);
		g->leased_bytes += c->len;
	}
	pthread_mutex_unlock(&g->mutex);
	return c;
}

void gate_queue_release(struct gate *g, size_t len)
{
	struct gate_conn *c;

	pthread_mutex_lock(&g->mutex);
	g->leased_bytes -= len;
	pthread_mutex_unlock(&g->mutex);
	while ((c = grant(g)))
		gate_conn_receive(c);
}

bool gate_queue_has_enough(const struct gate *g)
{
	return g->queued_bytes >= g->enough.most_bytes ||
	       (g->queued_bytes >= g->enough.bytes &&
		g->n_queued >= g->enough.messages);
}

bool gate_queue_push(struct gate *g, struct gate_conn *c)
{
	bool taken;

	pthread_mutex_lock(&g->mutex);
	g->stats.messages++;
	g->stats.bytes += c->len;
	taken = !g->stopped;
	if (taken) {
		c->state = GATE_QUEUED;
		append(&g->queued, c);
		g->queued_bytes += c->len;
		g->n_queued++;
		if (gate_queue_has_enough(g))
			pthread_cond_signal(&g->arrived);
	} else {
		g->stats.busy++;
	}
	pthread_mutex_unlock(&g->mutex);
	return taken;
}

void gate_queue_discarded(struct gate *g, struct gate_conn *c)
{
	pthread_mutex_lock(&g->mutex);
	g->n_discarding--;
	pthread_mutex_unlock(&g->mutex);
	c->discard = false;
}

void gate_queue_mark_dead(struct gate *g, struct gate_conn *c)
{
	pthread_mutex_lock(&g->mutex);
	note_closed(g, c);
	append(&g->dead, c);
	pthread_mutex_unlock(&g->mutex);
}

/* Takes a connection that waited for room too long, or NULL. */
static struct gate_conn *overdue(struct gate *g, uint64_t now_ns)
{
	struct gate_conn *c = NULL;

	pthread_mutex_lock(&g->mutex);
	if (g->waiting.head && g->n_discarding < DISCARDING_MAX &&
	    now_ns - g->waiting.head->since_ns > g->wait_ns) {
		c = pop(&g->waiting);
		c->discard = true;
		g->n_discarding++;
		g->stats.busy++;
	}
	pthread_mutex_unlock(&g->mutex);
	return c;
}

static struct gate_conn *reap_dead(struct gate *g)
{
	struct gate_conn *c = NULL;

	pthread_mutex_lock(&g->mutex);
	if (g->dead.head) {
		c = pop(&g->dead);
		*(c->newer ? &c->newer->older : &g->newest) = c->older;
		*(c->older ? &c->older->newer : &g->oldest) = c->newer;
		g->n_conns--;
		g->n_closed--;
	}
	pthread_mutex_unlock(&g->mutex);
	return c;
}

void gate_queue_tend(struct gate *g)
{
	uint64_t now_ns = clock_mono_ns();
	struct gate_conn *c;

	while ((c = overdue(g, now_ns)))
		gate_conn_turn_away(c);
	for (unsigned i = 0; i < REAP_MAX && (c = reap_dead(g)); i++)
		gate_conn_free(c);
}
