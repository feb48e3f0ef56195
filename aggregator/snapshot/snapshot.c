/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/snapshot/snapshot.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/graph/graph_join.h"
#include "aggregator/ledger/ledger.h"
#include "aggregator/snapshot/snapshot_state.h"
#include "common/clock.h"

void *snapshot_memory(struct snapshot_taken *t, size_t n, size_t size)
{
	struct snapshot_block *b;

	if (size && n > SIZE_MAX / 2 / size)
		return NULL;
	b = calloc(1, sizeof(*b) + n * size + 1);
	if (!b)
		return NULL;
	b->next = t->blocks;
	t->blocks = b;
	return b->data;
}

void snapshot_count_edges(struct snapshot_engine *to, struct fold *f)
{
	struct graph_stats s = { 0 };

	if (fold_graph(f))
		graph_stats(fold_graph(f), &s);
	to->edges_waiting = s.waiting;
	to->edges_joined = s.joined;
	to->edges_expired = s.expired;
	to->edges_evicted = s.evicted;
	to->edges_clamped_us = s.clamped_us;
}

/* --- under the lock --- */

/*
 * Makes room for this many chunks and writes to it, so that the page faults of
 * the first write do not happen under the lock.
 */
static int reserve_view(struct snapshot_taken *t, struct snapshot_raw_view *raw,
			size_t chunks)
{
	raw->chunks = chunks;
	raw->slot =
		snapshot_memory(t, chunks * SERIES_CHUNK, sizeof(*raw->slot));
	raw->label = snapshot_memory(t, chunks, sizeof(*raw->label));
	if (!raw->slot || !raw->label)
		return -ENOMEM;
	memset(raw->slot, 1, chunks * SERIES_CHUNK * sizeof(*raw->slot));
	return 0;
}

static char *take_text(struct snapshot_taken *t, const char *s)
{
	size_t len = strlen(s) + 1;
	char *copy = snapshot_memory(t, len, 1);

	if (copy)
		memcpy(copy, s, len);
	return copy;
}

static int copy_worst(struct snapshot_taken *t, struct snapshot_raw_view *raw,
		      const struct top_denied_entry *worst)
{
	if (!worst)
		return 0;
	raw->worst_job = take_text(t, worst->name);
	raw->worst_job_sets = worst->sets;
	return raw->worst_job ? 0 : -ENOMEM;
}

static int copy_askers(struct snapshot_taken *t, struct snapshot_raw_view *raw,
		       const struct top_denied *d)
{
	raw->n_askers = 0;
	raw->askers = snapshot_memory(t, d->n, sizeof(*raw->askers));
	if (!raw->askers)
		return -ENOMEM;
	for (unsigned i = 0; d->asker && i < d->n; i++) {
		char *job = take_text(t, d->asker[i].name);

		if (!job)
			return -ENOMEM;
		raw->askers[raw->n_askers++] =
			(struct snapshot_asker){ .job = job,
						 .sets = d->asker[i].sets };
	}
	return 0;
}

static int copy_view(struct snapshot_taken *t, struct snapshot_raw_view *raw,
		     const struct series *s)
{
	size_t chunks = (s->n + SERIES_CHUNK - 1) / SERIES_CHUNK;

	raw->series = s;
	raw->n = s->n;
	if (chunks > raw->chunks && reserve_view(t, raw, chunks) < 0)
		return -ENOMEM;
	for (size_t c = 0; c < chunks; c++) {
		size_t from = c * SERIES_CHUNK, n = s->n - from;

		if (n > SERIES_CHUNK)
			n = SERIES_CHUNK;
		for (size_t i = 0; i < n; i++)
			memcpy(&raw->slot[from + i], &s->slot[c][i],
			       SERIES_COPIED);
		raw->label[c] = s->label[c];
	}
	memcpy(raw->sketch, s->sketch, sizeof(s->sketch));
	memcpy(raw->values, s->values, s->n_keys * sizeof(*s->values));
	if (copy_askers(t, raw, &s->askers) < 0)
		return -ENOMEM;
	return copy_worst(t, raw, top_denied_worst(&s->askers));
}

static int copy_targets(struct snapshot_taken *t, struct fold *f)
{
	size_t n = fold_targets(f);
	struct snapshot_target *out = snapshot_memory(t, n, sizeof(*out));

	if (!out)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		const struct fold_target *from = fold_target(f, i);
		const char *v[TARGET_FIELDS];

		for (size_t k = 0; k < TARGET_FIELDS; k++)
			v[k] = from->value[k] ? from->value[k]->text : NULL;
		out[i] = (struct snapshot_target){ .job = v[TARGET_JOB],
						   .instance =
							   v[TARGET_INSTANCE],
						   .node = v[TARGET_NODE],
#define SET(name, text) .name = v[TARGET_##name],
						   RESOURCE_ATTRIBUTES(SET)
#undef SET
		};
	}
	t->pub.targets = t->targets = out;
	t->pub.n_targets = n;
	return 0;
}

static int copy_state(struct snapshot_taken *t, struct snapshot_source *src)
{
	size_t n = fold_views(src->fold);
	int err = 0;

	for (size_t v = 0; v < n && !err; v++)
		err = copy_view(t, &t->raw[v], fold_series(src->fold, v));
	if (!err)
		err = copy_targets(t, src->fold);
	if (!err)
		err = snapshot_copy_agents(t, src);
	if (!err && src->samples)
		err = snapshot_copy_samples(t, src);
	t->pub.engine = src->counters;
	return err;
}

/* Sorted, since a restart loads them in another order than they came. */
static int compare_targets(const void *pa, const void *pb)
{
	const struct snapshot_target *a = pa, *b = pb;
	int c = strcmp(a->job, b->job);

	return c ? c : strcmp(a->instance, b->instance);
}

static int compare_agents(const void *pa, const void *pb)
{
	const struct snapshot_agent *a = pa, *b = pb;

	return strcmp(a->node, b->node);
}

static int build(struct snapshot_taken *t, struct snapshot_source *src)
{
	size_t n = fold_views(src->fold);
	int err = 0;

	t->views = snapshot_memory(t, n, sizeof(*t->views));
	if (!t->views)
		return -ENOMEM;
	for (size_t v = 0; v < n && !err; v++)
		err = snapshot_begin_view(t, v);
	if (!err && src->samples)
		err = snapshot_begin_samples(t);
	qsort(t->targets, t->pub.n_targets, sizeof(*t->targets),
	      compare_targets);
	qsort(t->agents, t->pub.n_agents, sizeof(*t->agents), compare_agents);
	t->pub.views = t->views;
	t->pub.n_views = n;
	t->pub.ready = src->ready(src->arg, t->pub.not_ready_why,
				  sizeof(t->pub.not_ready_why));
	return err;
}

/* Registers as waiting, as the engine lets waiting snapshots go first. */
static void lock_as_snapshot(struct snapshot_source *src)
{
	atomic_fetch_add(&src->waiting, 1);
	pthread_mutex_lock(&src->mutex);
}

static void unlock_as_snapshot(struct snapshot_source *src)
{
	atomic_fetch_sub(&src->waiting, 1);
	pthread_cond_signal(&src->served);
	pthread_mutex_unlock(&src->mutex);
}

static int reserve(struct snapshot_taken *t, struct snapshot_source *src)
{
	size_t n = fold_views(src->fold);
	int err = 0;

	t->raw = snapshot_memory(t, n, sizeof(*t->raw));
	if (!t->raw)
		return -ENOMEM;
	lock_as_snapshot(src);
	for (size_t v = 0; v < n; v++)
		t->raw[v].chunks = fold_series(src->fold, v)->n_chunks;
	unlock_as_snapshot(src);
	for (size_t v = 0; v < n && !err; v++) {
		t->raw[v].values = snapshot_memory(t, LABEL_KEYS,
						   sizeof(*t->raw[v].values));
		if (!t->raw[v].values)
			return -ENOMEM;
		err = reserve_view(t, &t->raw[v], t->raw[v].chunks + 1);
	}
	if (!err && src->samples)
		err = snapshot_reserve_samples(t, src);
	return err;
}

/* Copies and registers the snapshot, so the engine keeps its spans. */
static int enter(struct snapshot_taken *t, struct snapshot_source *src)
{
	uint64_t start;
	int err;

	lock_as_snapshot(src);
	start = clock_mono_ns();
	err = copy_state(t, src);
	t->live.generation = fold_share(src->fold);
	if (src->newest)
		src->newest->next = &t->live;
	else
		src->oldest = &t->live;
	src->newest = &t->live;
	t->is_live = true;
	t->pub.locked_ns = clock_mono_ns() - start;
	unlock_as_snapshot(src);
	return err;
}

static void free_blocks(struct snapshot_block *b)
{
	while (b) {
		struct snapshot_block *next = b->next;

		free(b);
		b = next;
	}
}

static void free_taken(struct snapshot_taken *t)
{
	for (size_t i = 0; i < t->n_info; i++)
		ledger_info_rele(t->info[i]);
	free_blocks(t->loaded);
	free_blocks(t->blocks);
	free(t);
}

/* Casting const away is fine: the object is a struct snapshot_taken. */
static struct snapshot_taken *taken_of(const struct snapshot *s)
{
	return (struct snapshot_taken *)(uintptr_t)s;
}

static int load_view(const struct snapshot *s, size_t view)
{
	struct snapshot_taken *t = taken_of(s);
	struct snapshot_block *keep = t->blocks;
	int err;

	t->blocks = t->loaded;
	err = snapshot_build_view(t, view);
	t->loaded = t->blocks;
	t->blocks = keep;
	return err;
}

static void unload(const struct snapshot *s, size_t view)
{
	struct snapshot_taken *t = taken_of(s);

	t->views[view].series = NULL;
	free_blocks(t->loaded);
	t->loaded = NULL;
}

static int load_family(const struct snapshot *s, size_t family)
{
	struct snapshot_taken *t = taken_of(s);
	struct snapshot_block *keep = t->blocks;
	int err;

	t->blocks = t->loaded;
	err = snapshot_build_family(t, family);
	t->loaded = t->blocks;
	t->blocks = keep;
	return err;
}

static void unload_family(const struct snapshot *s, size_t family)
{
	struct snapshot_taken *t = taken_of(s);

	t->families[family].sample = NULL;
	free_blocks(t->loaded);
	t->loaded = NULL;
}

const struct snapshot *snapshot_open(struct snapshot_source *src)
{
	struct snapshot_taken *t = calloc(1, sizeof(*t));
	int err;

	if (!t)
		return NULL;
	t->source = src;
	err = reserve(t, src);
	if (err < 0) {
		free_taken(t);
		return NULL;
	}
	t->pub.load = load_view;
	t->pub.unload = unload;
	t->pub.load_family = load_family;
	t->pub.unload_family = unload_family;
	err = enter(t, src);
	if (!err)
		err = build(t, src);
	if (err < 0) {
		snapshot_rele(&t->pub);
		return NULL;
	}
	return &t->pub;
}

const struct snapshot *snapshot_open_agents(struct snapshot_source *src)
{
	struct snapshot_taken *t = calloc(1, sizeof(*t));
	uint64_t start;
	int err;

	if (!t)
		return NULL;
	t->source = src;
	lock_as_snapshot(src);
	start = clock_mono_ns();
	err = snapshot_copy_agents(t, src);
	t->pub.engine = src->counters;
	t->pub.locked_ns = clock_mono_ns() - start;
	unlock_as_snapshot(src);
	if (err < 0) {
		free_taken(t);
		return NULL;
	}
	t->pub.ready = src->ready(src->arg, t->pub.not_ready_why,
				  sizeof(t->pub.not_ready_why));
	return &t->pub;
}

const struct snapshot *snapshot_take(struct snapshot_source *src)
{
	const struct snapshot *s = snapshot_open(src);

	for (size_t v = 0; s && v < s->n_views; v++)
		if (s->load(s, v) < 0) {
			snapshot_rele(s);
			return NULL;
		}
	for (size_t f = 0; s && f < s->n_families; f++)
		if (s->load_family(s, f) < 0) {
			snapshot_rele(s);
			return NULL;
		}
	if (s) { /* every view is loaded, and stays so */
		taken_of(s)->pub.load = NULL;
		taken_of(s)->pub.unload = NULL;
		taken_of(s)->pub.load_family = NULL;
		taken_of(s)->pub.unload_family = NULL;
	}
	return s;
}

static void leave(struct snapshot_taken *t)
{
	struct snapshot_source *src = t->source;
	struct snapshot_live **at = &src->oldest, *before = NULL;

	pthread_mutex_lock(&src->mutex);
	while (*at != &t->live) {
		before = *at;
		at = &before->next;
	}
	*at = t->live.next;
	if (src->newest == &t->live)
		src->newest = before;
	pthread_mutex_unlock(&src->mutex);
}

void snapshot_rele(const struct snapshot *s)
{
	struct snapshot_taken *t;

	if (!s)
		return;
	t = taken_of(s);
	if (t->is_live)
		leave(t);
	free_taken(t);
}
