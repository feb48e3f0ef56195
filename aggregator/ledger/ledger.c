/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/ledger/ledger.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/grow.h"
#include "common/hash_index.h"
#include "common/log.h"
#include "proto/limits.h"

#define AGENTS_MAX 65536u
/* Batches of an older epoch that may still arrive after a restart. */
#define STRIKES 1u
#define ALIVE_US ((int64_t)3 * HEARTBEAT_MS * 1000)

struct ledger {
	struct ledger_agent **agent;
	size_t n, cap, max;
	struct hash_index index;
	struct ledger_epoch *dirty;
};

int ledger_new(struct ledger **out, size_t max_agents)
{
	struct ledger *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	l->max = max_agents ? max_agents : AGENTS_MAX;
	if (hash_index_init(&l->index, 256)) {
		free(l);
		return -ENOMEM;
	}
	*out = l;
	return 0;
}

static void free_probes(struct ledger_agent *a)
{
	for (size_t i = 0; i < a->n_probes; i++)
		free(a->probes[i]);
	free(a->probes);
	free(a->attached);
}

static void free_agent(struct ledger_agent *a)
{
	if (!a)
		return;
	while (a->newest) {
		struct ledger_epoch *e = a->newest;

		a->newest = e->older;
		free(e);
	}
	free_probes(a);
	free(a->name);
	free(a->version);
	free(a->kernel);
	free(a->capture);
	free(a);
}

void ledger_free(struct ledger *l)
{
	if (!l)
		return;
	for (size_t i = 0; i < l->n; i++)
		free_agent(l->agent[i]);
	free(l->agent);
	hash_index_fini(&l->index);
	free(l);
}

static uint64_t hash_name(const char *s)
{
	uint64_t h = 0xcbf29ce484222325;

	for (; *s; s++)
		h = (h ^ (uint8_t)*s) * 0x100000001b3;
	return h ^ h >> 32;
}

static uint64_t hash_at(const void *ledger, uint32_t i)
{
	const struct ledger *l = ledger;

	return l->agent[i]->hash;
}

static int room(struct ledger *l)
{
	int err = grow(&l->agent, &l->cap, l->n);

	return err ? err : hash_index_reserve(&l->index, hash_at, l);
}

static struct ledger_agent *find_agent(const struct ledger *l, const char *name,
				       uint64_t hash)
{
	size_t at = hash;
	uint32_t i;

	while (hash_index_next(&l->index, &at, &i)) {
		struct ledger_agent *a = l->agent[i];

		if (a->hash == hash && strcmp(a->name, name) == 0)
			return a;
	}
	return NULL;
}

int ledger_agent_get(struct ledger *l, const char *name,
		     struct ledger_agent **out)
{
	uint64_t hash = hash_name(name);
	struct ledger_agent *a = find_agent(l, name, hash);
	int err;

	if (a) {
		*out = a;
		return 0;
	}
	if (l->n >= l->max)
		return -ENOSPC;
	err = room(l);
	if (err < 0)
		return err;
	a = calloc(1, sizeof(*a));
	if (!a)
		return -ENOMEM;
	a->hash = hash;
	a->name = strdup(name);
	a->version = strdup("");
	a->kernel = strdup("");
	a->capture = strdup("");
	if (!a->name || !a->version || !a->kernel || !a->capture) {
		free_agent(a);
		return -ENOMEM;
	}
	l->agent[l->n] = a;
	hash_index_put(&l->index, hash, (uint32_t)l->n++);
	*out = a;
	return 0;
}

static struct ledger_epoch *find_epoch(const struct ledger_agent *a,
				       uint64_t epoch)
{
	struct ledger_epoch *e = a->newest;

	while (e && e->epoch > epoch)
		e = e->older;
	return e && e->epoch == epoch ? e : NULL;
}

static struct ledger_epoch *add_epoch(struct ledger_agent *a, uint64_t epoch)
{
	struct ledger_epoch *e = calloc(1, sizeof(*e));
	struct ledger_epoch **at = &a->newest;

	if (!e)
		return NULL;
	e->agent = a;
	e->epoch = epoch;
	while (*at && (*at)->epoch > epoch)
		at = &(*at)->older;
	e->older = *at;
	*at = e;
	a->n_epochs++;
	return e;
}

int ledger_restore(struct ledger *l, const char *agent, uint64_t epoch,
		   const struct ledger_state *state)
{
	struct ledger_agent *a;
	struct ledger_epoch *e;
	int err = ledger_agent_get(l, agent, &a);

	if (err < 0)
		return err;
	e = find_epoch(a, epoch);
	if (!e)
		e = add_epoch(a, epoch);
	if (!e)
		return -ENOMEM;
	e->committed = e->pending = *state;
	return 0;
}

static void mark_dirty(struct ledger *l, struct ledger_epoch *e)
{
	if (e->dirty)
		return;
	e->dirty = true;
	e->next_dirty = l->dirty;
	l->dirty = e;
}

struct ledger_epoch *ledger_dirty(const struct ledger *l)
{
	return l->dirty;
}

void ledger_commit(struct ledger *l)
{
	while (l->dirty) {
		struct ledger_epoch *e = l->dirty;

		l->dirty = e->next_dirty;
		e->dirty = false;
		e->committed = e->pending;
		e->unstored = !e->must_store;
		e->must_store = false;
	}
}

void ledger_abort(struct ledger *l)
{
	while (l->dirty) {
		struct ledger_epoch *e = l->dirty;

		l->dirty = e->next_dirty;
		e->dirty = false;
		e->pending = e->committed;
		e->must_store = false;
	}
}

static uint64_t greater(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static void take_losses(struct ledger_totals *t, const struct batch_losses *l)
{
	t->captured = greater(t->captured, l->captured);
	t->packed = greater(t->packed, l->packed);
	t->rolled_up = greater(t->rolled_up, l->rolled_up);
	for (size_t i = 0; i < LOSS_STAGES; i++)
		t->dropped[i] = greater(t->dropped[i], l->dropped[i]);
	for (size_t i = 0; i < AGENT_COUNTERS; i++)
		t->counters[i] = greater(t->counters[i], l->counters[i]);
	memcpy(t->gauges, l->gauges, sizeof(t->gauges));
}

static void take_samples(struct ledger_totals *t, const struct batch_samples *s)
{
	t->samples_read = greater(t->samples_read, s->read);
	for (size_t i = 0; i < SAMPLES_STAGES; i++)
		t->samples_dropped[i] =
			greater(t->samples_dropped[i], s->dropped[i]);
	t->samples_counted += samples_increments(s);
}

/*
 * Of the requests that the agent has packed, each was counted here, or dropped
 * as the agent reports, or lost in skipped sequence numbers. The agent may
 * report a drop only after its gap was counted: told_late keeps that from
 * counting twice.
 */
static void take_gap(struct ledger_totals *t, uint64_t batches)
{
	uint64_t explained = t->counted + t->gap_requests +
			     t->dropped[LOSS_OUTBOX] +
			     t->dropped[LOSS_REFUSED] +
			     t->dropped[LOSS_STOPPED] - t->told_late;

	t->gap_batches += batches;
	if (batches > 0 && explained < t->packed)
		t->gap_requests += t->packed - explained;
	else if (explained > t->packed && t->gap_requests > 0)
		t->told_late += explained - t->packed;
	if (t->told_late > t->gap_requests)
		t->told_late = t->gap_requests;
}

/*
 * An agent has one epoch at a time. So a new batch of an older epoch while the
 * newer one is alive means that another agent uses the same id. One such batch
 * may have been on its way when the agent restarted; since an agent sends one
 * at a time, a second one proves the conflict.
 */
static bool in_conflict(struct ledger_agent *a, uint64_t epoch, bool begins,
			int64_t now_us)
{
	if (epoch >= a->newest->epoch) {
		a->newest_heard_us = now_us;
		if (begins)
			a->strikes = 0;
		return false;
	}
	if (a->newest_heard_us == 0 || now_us - a->newest_heard_us > ALIVE_US) {
		a->strikes = 0;
		a->conflict = false;
		return false;
	}
	if (a->strikes < STRIKES) {
		a->strikes++;
		return false;
	}
	if (!a->conflict)
		log_warn("two agents use the same id agent=%s", a->name);
	a->conflict = true;
	return true;
}

/* Counts it in the newest epoch's row, which is never retired. */
static int expired(struct ledger *l, struct ledger_agent *a, uint64_t requests,
		   struct ledger_epoch **row)
{
	struct ledger_epoch *e = a->newest;

	if (e) {
		mark_dirty(l, e);
		e->must_store = true;
		e->pending.totals.expired_batches++;
		e->pending.totals.expired_requests += requests;
		*row = e;
	}
	log_warn("refused a batch of a forgotten epoch agent=%s requests=%llu",
		 a->name, (unsigned long long)requests);
	return LEDGER_EXPIRED;
}

/* A rollup replaces batches of a range of sequence numbers. */
static uint64_t first_of(const struct batch *b)
{
	return b->first_sequence > 0 ? b->first_sequence : b->sequence;
}

static void accept_batch(struct ledger_state *s, const struct batch *b,
			 uint64_t requests, int64_t now_us)
{
	uint64_t gap = first_of(b) - s->sequence - 1;

	s->sequence = b->sequence;
	s->seen_us = now_us;
	s->totals.batches++;
	s->totals.counted += requests;
	take_losses(&s->totals, &b->losses);
	take_samples(&s->totals, &b->samples);
	take_gap(&s->totals, gap);
}

int ledger_offer(struct ledger *l, const struct batch *b, uint64_t requests,
		 int64_t sent_us, int64_t now_us, struct ledger_epoch **row)
{
	struct ledger_agent *a;
	struct ledger_epoch *e;
	struct ledger_state *s;
	bool begins, logged;
	int err = ledger_agent_get(l, b->agent, &a);

	*row = NULL;
	if (err == -ENOSPC)
		return LEDGER_FULL;
	if (err < 0)
		return err;
	e = find_epoch(a, b->epoch);
	if (!e && b->epoch <= a->retired_epoch)
		return expired(l, a, requests, row);
	if (!e && a->n_epochs >= LEDGER_EPOCHS_CROWD)
		return LEDGER_CROWDED;
	begins = !e;
	if (begins) {
		e = add_epoch(a, b->epoch);
		if (!e)
			return -ENOMEM;
	}
	*row = e;
	s = &e->pending;
	mark_dirty(l, e);
	logged = !e->must_store && ledger_batch_is_logged(b, requests);
	e->must_store = true;
	if (b->sequence <= s->sequence) {
		s->totals.duplicates++;
		return LEDGER_DUPLICATE;
	}
	if (in_conflict(a, b->epoch, begins, now_us)) {
		s->totals.conflicts++;
		return LEDGER_CONFLICT;
	}
	if (first_of(b) <= s->sequence) {
		s->totals.refused++;
		return LEDGER_OVERLAP;
	}
	accept_batch(s, b, requests, now_us);
	if (sent_us)
		s->skew_us = sent_us - now_us;
	e->must_store = !logged;
	return LEDGER_NEW;
}

int ledger_replay(struct ledger *l, const struct batch *b, uint64_t requests,
		  int64_t received_us)
{
	struct ledger_agent *a;
	struct ledger_epoch *e;
	int err = ledger_agent_get(l, b->agent, &a);

	if (err < 0)
		return err;
	e = find_epoch(a, b->epoch);
	if (!e && b->epoch <= a->retired_epoch)
		return 0;
	if (!e)
		e = add_epoch(a, b->epoch);
	if (!e)
		return -ENOMEM;
	if (b->sequence <= e->committed.sequence)
		return 0;
	accept_batch(&e->committed, b, requests, received_us);
	e->pending = e->committed;
	e->unstored = true;
	return 0;
}

size_t ledger_agents(const struct ledger *l)
{
	return l->n;
}

struct ledger_agent *ledger_at(const struct ledger *l, size_t i)
{
	return l->agent[i];
}

void ledger_totals_add(struct ledger_totals *a, const struct ledger_totals *b)
{
	uint64_t x[LEDGER_TOTALS_N], y[LEDGER_TOTALS_N];

	memcpy(x, a, sizeof(x));
	memcpy(y, b, sizeof(y));
	for (size_t i = 0; i < LEDGER_TOTALS_N; i++)
		x[i] += y[i];
	memcpy(a, x, sizeof(x));
}

/* --- what an agent reports about itself --- */

static bool same_info(const struct ledger_agent *a, const struct batch_info *in)
{
	if (strcmp(a->version, in->version) != 0 ||
	    strcmp(a->kernel, in->kernel) != 0 ||
	    strcmp(a->capture, in->capture) != 0 || a->n_probes != in->n_probes)
		return false;
	for (size_t i = 0; i < a->n_probes; i++)
		if (strcmp(a->probes[i], in->probes[i]) != 0 ||
		    a->attached[i] != in->probe_attached[i])
			return false;
	return true;
}

static int copy_info(struct ledger_agent *out, const struct batch_info *in)
{
	out->version = strdup(in->version);
	out->kernel = strdup(in->kernel);
	out->capture = strdup(in->capture);
	out->probes = calloc(in->n_probes + 1, sizeof(*out->probes));
	out->attached = calloc(in->n_probes + 1, sizeof(*out->attached));
	if (!out->version || !out->kernel || !out->capture || !out->probes ||
	    !out->attached)
		return -ENOMEM;
	for (; out->n_probes < in->n_probes; out->n_probes++) {
		size_t i = out->n_probes;

		out->probes[i] = strdup(in->probes[i]);
		if (!out->probes[i])
			return -ENOMEM;
		out->attached[i] = in->probe_attached[i];
	}
	return 0;
}

int ledger_agent_set_info(struct ledger_agent *a, const struct batch_info *info)
{
	struct ledger_agent copy = { 0 };

	if (same_info(a, info))
		return 0;
	if (copy_info(&copy, info) < 0) {
		free_probes(&copy);
		free(copy.version);
		free(copy.kernel);
		free(copy.capture);
		return -ENOMEM;
	}
	free_probes(a);
	free(a->version);
	free(a->kernel);
	free(a->capture);
	a->version = copy.version;
	a->kernel = copy.kernel;
	a->capture = copy.capture;
	a->probes = copy.probes;
	a->attached = copy.attached;
	a->n_probes = copy.n_probes;
	a->info_dirty = true;
	return 0;
}
