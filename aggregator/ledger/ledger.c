/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/ledger/ledger.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/ledger/ledger_state.h"
#include "common/grow.h"
#include "common/sums.h"

#define AGENTS_MAX 65536u

int ledger_new(struct ledger **out, size_t max_agents)
{
	struct ledger *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	l->max = max_agents ? max_agents : AGENTS_MAX;
	if (hash_index_init(&l->index, 256) ||
	    ledger_infos_new(&l->infos) < 0) {
		ledger_free(l);
		return -ENOMEM;
	}
	*out = l;
	return 0;
}

static void free_agent(struct ledger *l, struct ledger_agent *a)
{
	if (!a)
		return;
	while (a->newest) {
		struct ledger_epoch *e = a->newest;

		a->newest = e->older;
		l->n_epochs--;
		free(e);
	}
	ledger_infos_drop(l->infos, a->info);
	free(a->name);
	free(a);
}

void ledger_free(struct ledger *l)
{
	if (!l)
		return;
	for (size_t i = 0; i < l->n; i++)
		free_agent(l, l->agent[i]);
	ledger_infos_free(l->infos);
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

struct ledger_agent *ledger_find(const struct ledger *l, const char *name)
{
	uint64_t hash = hash_name(name);
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
	struct ledger_agent *a = ledger_find(l, name);
	int err;

	if (a) {
		*out = a;
		return 0;
	}
	if (l->n >= l->max && !l->loading)
		return -ENOSPC;
	err = room(l);
	if (err < 0)
		return err;
	a = calloc(1, sizeof(*a));
	if (!a)
		return -ENOMEM;
	a->hash = hash_name(name);
	a->name = strdup(name);
	if (!a->name) {
		free_agent(l, a);
		return -ENOMEM;
	}
	a->index = l->n;
	l->agent[l->n] = a;
	hash_index_put(&l->index, a->hash, (uint32_t)l->n++);
	*out = a;
	return 0;
}

struct ledger_epoch *ledger_epoch_find(const struct ledger_agent *a,
				       uint64_t epoch)
{
	struct ledger_epoch *e = a->newest;

	while (e && e->epoch > epoch)
		e = e->older;
	return e && e->epoch == epoch ? e : NULL;
}

struct ledger_epoch *ledger_epoch_add(struct ledger *l, struct ledger_agent *a,
				      uint64_t epoch)
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
	l->n_epochs++;
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
	e = ledger_epoch_find(a, epoch);
	if (!e)
		e = ledger_epoch_add(l, a, epoch);
	if (!e)
		return -ENOMEM;
	e->committed = e->pending = *state;
	e->heard_us = state->seen_us;
	return 0;
}

void ledger_mark_dirty(struct ledger *l, struct ledger_epoch *e)
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

size_t ledger_agents(const struct ledger *l)
{
	return l->n;
}

struct ledger_agent *ledger_at(const struct ledger *l, size_t i)
{
	return l->agent[i];
}

size_t ledger_epochs(const struct ledger *l)
{
	return l->n_epochs;
}

size_t ledger_max(const struct ledger *l)
{
	return l->max;
}

int64_t ledger_agent_seen_us(const struct ledger_agent *a)
{
	int64_t seen_us = a->retired_seen_us;

	for (const struct ledger_epoch *e = a->newest; e; e = e->older)
		if (e->committed.seen_us > seen_us)
			seen_us = e->committed.seen_us;
	return seen_us;
}

void ledger_set_loading(struct ledger *l, bool loading)
{
	l->loading = loading;
}

/* --- dropping agents --- */

static bool is_stored(const struct ledger_agent *a)
{
	for (const struct ledger_epoch *e = a->newest; e; e = e->older)
		if (e->unstored)
			return false;
	return true;
}

static void place_all(struct ledger *l)
{
	hash_index_clear(&l->index);
	for (size_t i = 0; i < l->n; i++) {
		l->agent[i]->index = i;
		hash_index_put(&l->index, l->agent[i]->hash, (uint32_t)i);
	}
}

void ledger_drop(struct ledger *l, struct ledger_agent *a)
{
	l->agent[a->index] = l->agent[--l->n];
	free_agent(l, a);
	place_all(l);
}

static int by_time(const void *pa, const void *pb)
{
	const int64_t *a = pa, *b = pb;

	return (*a > *b) - (*a < *b);
}

/* The time up to which agents go, so that it is about n of them. */
static int64_t evict_until(const struct ledger *l, size_t n, int64_t before_us)
{
	int64_t *seen_us = malloc(l->n * sizeof(*seen_us)), until;

	if (!seen_us)
		return INT64_MIN;
	for (size_t i = 0; i < l->n; i++)
		seen_us[i] = ledger_agent_seen_us(l->agent[i]);
	qsort(seen_us, l->n, sizeof(*seen_us), by_time);
	until = seen_us[n < l->n ? n : l->n - 1];
	free(seen_us);
	return until < before_us ? until : before_us - 1;
}

size_t ledger_evict(struct ledger *l, size_t n, int64_t before_us)
{
	int64_t until = l->n > 0 && n > 0 ? evict_until(l, n - 1, before_us)
					  : INT64_MIN;
	size_t kept = 0, gone = 0;

	for (size_t i = 0; i < l->n; i++) {
		struct ledger_agent *a = l->agent[i];

		if (gone < n && ledger_agent_seen_us(a) <= until &&
		    is_stored(a)) {
			free_agent(l, a);
			gone++;
		} else {
			l->agent[kept++] = a;
		}
	}
	l->n = kept;
	place_all(l);
	return gone;
}

void ledger_totals_add(struct ledger_totals *a, const struct ledger_totals *b)
{
	uint64_t x[LEDGER_TOTALS_N], y[LEDGER_TOTALS_N];

	memcpy(x, a, sizeof(x));
	memcpy(y, b, sizeof(y));
	for (size_t i = 0; i < LEDGER_TOTALS_N; i++)
		x[i] = sums_add(x[i], y[i]);
	memcpy(a, x, sizeof(x));
}

int ledger_agent_set_info(struct ledger *l, struct ledger_agent *a,
			  const struct batch_info *in)
{
	struct ledger_info *info;
	int err = ledger_infos_get(l->infos, in, &info);

	if (err < 0)
		return err;
	a->info_dirty |= info != a->info;
	ledger_infos_drop(l->infos, a->info);
	a->info = info;
	return 0;
}

const struct ledger_infos *ledger_infos_of(const struct ledger *l)
{
	return l->infos;
}
