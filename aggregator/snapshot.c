/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/snapshot.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/engine_state.h"
#include "aggregator/graph.h"
#include "aggregator/sketch.h"
#include "aggregator/slowest.h"
#include "common/clock.h"
#include "proto/limits.h"

#define UP_US ((int64_t)3 * HEARTBEAT_MS * 1000)

/* A view as copied under the lock: slots by value, the rest by reference. */
struct raw_view {
	const struct series
		*series; /* keys and cells only: they never change */
	uint32_t n;
	struct series_slot *slot;
	const struct interned ***label; /* chunks */
	size_t chunks; /* that slot and label have room for */
	uint8_t sketch[1 << SERIES_SKETCH_BITS];
	struct series_values *values; /* seen is the engine's */
};

/* Memory that goes with the snapshot. */
struct block {
	struct block *next;
	max_align_t data[];
};

struct taken {
	struct snapshot pub; /* first: snapshot_rele() gets this */
	struct engine *engine;
	struct live_snapshot live;
	struct block *blocks;
	struct raw_view *raw;
	struct snapshot_target *targets;
};

/* Zeroed. NULL: out of memory. */
static void *take_memory(struct taken *t, size_t n, size_t size)
{
	struct block *b;

	if (size && n > SIZE_MAX / 2 / size)
		return NULL;
	b = calloc(1, sizeof(*b) + n * size + 1);
	if (!b)
		return NULL;
	b->next = t->blocks;
	t->blocks = b;
	return b->data;
}

static char *take_text(struct taken *t, const char *s)
{
	size_t len = strlen(s) + 1;
	char *copy = take_memory(t, len, 1);

	if (copy)
		memcpy(copy, s, len);
	return copy;
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

/* ---- under the lock ---------------------------------------------------- */

/*
 * Room for the slots there are and some more, written to now: the first touch
 * of each page would otherwise cost its time under the lock.
 */
static int reserve_view(struct taken *t, struct raw_view *raw, size_t chunks)
{
	raw->chunks = chunks;
	raw->slot = take_memory(t, chunks * SERIES_CHUNK, sizeof(*raw->slot));
	raw->label = take_memory(t, chunks, sizeof(*raw->label));
	if (!raw->slot || !raw->label)
		return -ENOMEM;
	memset(raw->slot, 1, chunks * SERIES_CHUNK * sizeof(*raw->slot));
	return 0;
}

static int copy_view(struct taken *t, struct raw_view *raw,
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
		memcpy(raw->slot + from, s->slot[c], n * sizeof(*raw->slot));
		raw->label[c] = s->label[c];
	}
	memcpy(raw->sketch, s->sketch, sizeof(s->sketch));
	memcpy(raw->values, s->values, s->n_keys * sizeof(*s->values));
	return 0;
}

static int copy_targets(struct taken *t, struct fold *f)
{
	size_t n = fold_targets(f);
	struct snapshot_target *out = take_memory(t, n, sizeof(*out));

	if (!out)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		const struct target *from = fold_target(f, i);
		const char *v[TARGET_FIELDS];

		for (size_t k = 0; k < TARGET_FIELDS; k++)
			v[k] = from->value[k] ? from->value[k]->text : NULL;
		out[i] = (struct snapshot_target){
			.job = v[TARGET_JOB],
			.instance = v[TARGET_INSTANCE],
			.service = v[TARGET_SERVICE],
			.namespace_ = v[TARGET_NAMESPACE],
			.container = v[TARGET_CONTAINER],
			.node = v[TARGET_NODE],
			.executable = v[TARGET_EXECUTABLE],
		};
	}
	t->pub.targets = t->targets = out;
	t->pub.n_targets = n;
	return 0;
}

/* One loss is shown once: where it was seen first. */
static void take_off(uint64_t *dropped, uint64_t *late)
{
	uint64_t n = *late < *dropped ? *late : *dropped;

	*dropped -= n;
	*late -= n;
}

static void sum_epochs(const struct ledger_agent *a, struct snapshot_agent *out)
{
	struct ledger_totals sum = a->retired;
	const struct ledger_state *last = NULL;

	for (const struct ledger_epoch *e = a->newest; e; e = e->older) {
		ledger_totals_add(&sum, &e->committed.totals);
		if (!last || e->committed.seen_us > last->seen_us)
			last = &e->committed;
	}
	if (last) {
		out->last_seen_us = last->seen_us;
		out->skew_us = last->skew_us;
		out->up = clock_real_us() - last->seen_us < UP_US;
	}
	/* Nobody heard what a forgotten epoch captured, but in its batches. */
	out->captured = sum.captured + sum.expired_requests;
	out->counted = sum.counted;
	out->rolled_up = sum.rolled_up;
	memcpy(out->dropped, sum.dropped, sizeof(out->dropped));
	memcpy(out->counters, sum.counters, sizeof(out->counters));
	take_off(&out->dropped[LOSS_OUTBOX], &sum.told_late);
	take_off(&out->dropped[LOSS_REFUSED], &sum.told_late);
	out->dropped_sequence_gap = sum.gap_requests;
	out->dropped_expired = sum.expired_requests;
	out->batches = sum.batches;
	out->duplicates = sum.duplicates;
	out->refused = sum.refused;
	out->conflicts = sum.conflicts;
}

static int copy_agent(struct taken *t, const struct ledger_agent *a,
		      struct snapshot_agent *out)
{
	const char **probe = take_memory(t, a->n_probes, sizeof(*probe));
	uint32_t *attached = take_memory(t, a->n_probes, sizeof(*attached));

	out->node = take_text(t, a->name);
	out->version = take_text(t, a->version);
	out->kernel = take_text(t, a->kernel);
	out->capture = take_text(t, a->capture);
	if (!probe || !attached || !out->node || !out->version ||
	    !out->kernel || !out->capture)
		return -ENOMEM;
	for (size_t i = 0; i < a->n_probes; i++) {
		probe[i] = take_text(t, a->probes[i]);
		if (!probe[i])
			return -ENOMEM;
		attached[i] = a->attached[i];
	}
	out->n_probes = a->n_probes;
	out->probes = probe;
	out->probe_attached = attached;
	sum_epochs(a, out);
	return 0;
}

/* An agent that never had a batch committed is not there yet. */
static bool is_committed(const struct ledger_agent *a)
{
	for (const struct ledger_epoch *e = a->newest; e; e = e->older)
		if (e->committed.seen_us)
			return true;
	return a->retired_epoch != 0;
}

static int copy_agents(struct taken *t, const struct ledger *l)
{
	size_t n = ledger_agents(l);
	struct snapshot_agent *out = take_memory(t, n, sizeof(*out));
	int err = 0;

	if (!out)
		return -ENOMEM;
	t->pub.agents = out;
	for (size_t i = 0; i < n && err == 0; i++)
		if (is_committed(ledger_at(l, i)))
			err = copy_agent(t, ledger_at(l, i),
					 &out[t->pub.n_agents++]);
	return err;
}

static int copy_state(struct taken *t, struct engine *e)
{
	size_t n = fold_views(e->fold);
	int err = 0;

	for (size_t v = 0; v < n && err == 0; v++)
		err = copy_view(t, &t->raw[v], fold_series(e->fold, v));
	if (err == 0)
		err = copy_targets(t, e->fold);
	if (err == 0)
		err = copy_agents(t, e->ledger);
	t->pub.engine = e->counters;
	return err;
}

/* ---- outside ----------------------------------------------------------- */

static const struct interned *const *raw_labels(const struct raw_view *raw,
						uint32_t slot)
{
	return raw->label[slot / SERIES_CHUNK] +
	       slot % SERIES_CHUNK * raw->series->n_keys;
}

static int compare_text(const struct interned *a, const struct interned *b)
{
	if (a == b)
		return 0;
	if (!a || !b)
		return a ? 1 : -1;
	return strcmp(a->text, b->text);
}

static int compare_slots(const void *pa, const void *pb, void *arg)
{
	const struct raw_view *raw = arg;
	const struct interned *const *a =
		raw_labels(raw, *(const uint32_t *)pa);
	const struct interned *const *b =
		raw_labels(raw, *(const uint32_t *)pb);

	for (size_t i = 0; i < raw->series->n_keys; i++) {
		int c = compare_text(a[i], b[i]);

		if (c != 0)
			return c;
	}
	return 0;
}

/* Adds slots [o->n, raw->n) to the order: sorts those, then merges. */
static int extend_order(struct slot_order *o, struct raw_view *raw)
{
	uint32_t had = o->n ? o->n - 1 : 0, from = o->n ? o->n : 1;
	uint32_t fresh = raw->n - from, i = 0, k = 0;
	uint32_t *all = malloc((raw->n + 1) * sizeof(*all));
	uint32_t *sorted = malloc((fresh + 1) * sizeof(*sorted));

	if (!all || !sorted) {
		free(all);
		free(sorted);
		return -ENOMEM;
	}
	for (uint32_t n = 0; n < fresh; n++)
		sorted[n] = from + n;
	qsort_r(sorted, fresh, sizeof(*sorted), compare_slots, raw);
	for (uint32_t n = 0; n < had + fresh; n++) {
		bool old = k == fresh ||
			   (i < had &&
			    compare_slots(&o->slot[i], &sorted[k], raw) <= 0);

		all[n] = old ? o->slot[i++] : sorted[k++];
	}
	free(sorted);
	free(o->slot);
	o->slot = all;
	o->n = raw->n;
	return 0;
}

/*
 * The slots by label values, the overflow series (slot 0) last; how many. A
 * snapshot that is older than the order leaves out what it does not have.
 */
static int order_slots(struct engine *e, size_t view, struct raw_view *raw,
		       uint32_t *out, size_t *n)
{
	struct slot_order *o = &e->order[view];
	int err = 0;

	*n = 0;
	if (raw->n == 0)
		return 0;
	pthread_mutex_lock(&e->order_mutex);
	if (o->n < raw->n)
		err = extend_order(o, raw);
	for (uint32_t i = 0; err == 0 && i + 1 < o->n; i++)
		if (o->slot[i] < raw->n)
			out[(*n)++] = o->slot[i];
	pthread_mutex_unlock(&e->order_mutex);
	if (raw->slot[SERIES_OVERFLOW].count > 0)
		out[(*n)++] = SERIES_OVERFLOW;
	return err;
}

static void fill_native(struct snapshot_series *out, const struct cells *cells,
			const struct span *span, uint64_t *count)
{
	unsigned i = 0, end = span->n;
	int first;

	if (span->first == 0 && span->n > 0) {
		out->native.zero = span->count[0];
		i = 1;
	}
	while (i < end && span->count[i] == 0)
		i++;
	while (end > i && span->count[end - 1] == 0)
		end--;
	if (i == end)
		return;
	first = cells->native[span->first + i];
	out->native.first = first;
	out->native.n =
		(uint32_t)(cells->native[span->first + end - 1] - first + 1);
	out->native.count = count;
	for (; i < end; i++)
		count[cells->native[span->first + i] - first] += span->count[i];
}

static void fill_classic(uint64_t *bucket, const struct view *v,
			 const struct cells *cells, const struct span *span)
{
	size_t b = 0;

	for (unsigned i = 0; i < span->n; i++) {
		while (b < v->n_bounds &&
		       cells->upper[span->first + i] > v->bounds[b])
			b++;
		bucket[b] += span->count[i];
	}
}

/* How many native buckets a span may need. */
static size_t native_room(const struct cells *cells, const struct span *s)
{
	if (!s || s->n == 0)
		return 0;
	/* [0] is the zero cell: its number says nothing. */
	return (size_t)(cells->native[s->first + s->n - 1] -
			cells->native[s->first ? s->first : 1]) +
	       2;
}

static void fill_series(struct snapshot_series *out, const struct raw_view *raw,
			uint32_t slot)
{
	const struct series_slot *s = &raw->slot[slot];
	const struct interned *const *label = raw_labels(raw, slot);

	for (size_t i = 0; i < raw->series->n_keys; i++)
		out->labels.value[i] = label[i] ? label[i]->text : NULL;
	out->labels.overflow = slot == SERIES_OVERFLOW;
	out->count = s->count;
	out->sum = s->sum;
	out->created_us = s->created_us;
	if (s->exemplars) {
		out->n_exemplars = s->exemplars->n;
		out->exemplar = s->exemplars->at;
	}
}

static int build_histograms(struct taken *t, const struct raw_view *raw,
			    const struct view *v, struct snapshot_series *out,
			    const uint32_t *order, size_t n)
{
	const struct cells *cells = raw->series->cells;
	size_t per = v->n_bounds + 1, room = 0;
	uint64_t *bucket, *native;

	for (size_t i = 0; i < n; i++)
		room += native_room(cells, raw->slot[order[i]].span);
	bucket = take_memory(t, n * per, sizeof(*bucket));
	native = take_memory(t, room, sizeof(*native));
	if (!bucket || !native)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		const struct span *span = raw->slot[order[i]].span;

		out[i].bucket = bucket + i * per;
		if (!span || span->n == 0)
			continue;
		fill_classic(bucket + i * per, v, cells, span);
		fill_native(&out[i], cells, span, native);
		native += native_room(cells, span);
	}
	return 0;
}

static int build_values(struct taken *t, const struct raw_view *raw,
			struct snapshot_view *out)
{
	size_t n = raw->series->n_keys;
	struct snapshot_values *v = take_memory(t, n, sizeof(*v));

	if (!v)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		v[i] = (struct snapshot_values){
			.n = raw->values[i].n,
			.limit = raw->values[i].max,
			.demand = sketch_estimate(raw->values[i].sketch,
						  SERIES_VALUES_BITS),
		};
	out->values = v;
	return 0;
}

/* Takes out what nothing was counted in for long; it keeps its value. */
static size_t leave_idle_out(const struct engine *e, const struct raw_view *raw,
			     uint32_t *order, size_t n)
{
	uint64_t idle_s = atomic_load(&e->series_idle_s);
	int64_t before_us = clock_real_us() - (int64_t)idle_s * 1000000;
	size_t kept = 0;

	if (idle_s == 0)
		return n;
	for (size_t i = 0; i < n; i++)
		if (raw->slot[order[i]].active_us >= before_us)
			order[kept++] = order[i];
	return kept;
}

static int build_view(struct taken *t, size_t view, struct snapshot_view *out)
{
	struct raw_view *raw = &t->raw[view];
	const struct view *v = fold_view(t->engine->fold, view);
	uint32_t *order = take_memory(t, raw->n, sizeof(*order));
	struct snapshot_series *series;
	size_t n;
	int err;

	if (!order)
		return -ENOMEM;
	err = order_slots(t->engine, view, raw, order, &n);
	if (err < 0)
		return err;
	out->idle = n;
	n = leave_idle_out(t->engine, raw, order, n);
	out->idle -= n;
	err = build_values(t, raw, out);
	if (err < 0)
		return err;
	series = take_memory(t, n, sizeof(*series));
	if (!series)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		fill_series(&series[i], raw, order[i]);
	out->view = v;
	out->n = n;
	out->series = series;
	out->demand = sketch_estimate(raw->sketch, SERIES_SKETCH_BITS);
	out->overflowed = raw->n ? raw->slot[SERIES_OVERFLOW].count : 0;
	if (v->kind != VIEW_HISTOGRAM)
		return 0;
	return build_histograms(t, raw, v, series, order, n);
}

/* A start loads them in another order than they came. */
static int compare_targets(const void *pa, const void *pb)
{
	const struct snapshot_target *a = pa, *b = pb;
	int c = strcmp(a->job, b->job);

	return c ? c : strcmp(a->instance, b->instance);
}

static int build(struct taken *t, struct engine *e)
{
	size_t n = fold_views(e->fold);
	struct snapshot_view *view = take_memory(t, n, sizeof(*view));
	int err = 0;

	if (!view)
		return -ENOMEM;
	for (size_t v = 0; v < n && err == 0; v++)
		err = build_view(t, v, &view[v]);
	qsort(t->targets, t->pub.n_targets, sizeof(*t->targets),
	      compare_targets);
	t->pub.views = view;
	t->pub.n_views = n;
	t->pub.ready = engine_ready(e, t->pub.not_ready_why,
				    sizeof(t->pub.not_ready_why));
	return err;
}

/* The engine lets those who wait go first. */
static void lock_as_snapshot(struct engine *e)
{
	atomic_fetch_add(&e->waiting, 1);
	pthread_mutex_lock(&e->mutex);
}

static void unlock_as_snapshot(struct engine *e)
{
	atomic_fetch_sub(&e->waiting, 1);
	pthread_cond_signal(&e->served);
	pthread_mutex_unlock(&e->mutex);
}

static int reserve(struct taken *t, struct engine *e)
{
	size_t n = fold_views(e->fold);
	int err = 0;

	t->raw = take_memory(t, n, sizeof(*t->raw));
	if (!t->raw)
		return -ENOMEM;
	lock_as_snapshot(e);
	for (size_t v = 0; v < n; v++)
		t->raw[v].chunks = fold_series(e->fold, v)->n_chunks;
	unlock_as_snapshot(e);
	for (size_t v = 0; v < n && err == 0; v++) {
		t->raw[v].values =
			take_memory(t, LABEL_KEYS, sizeof(*t->raw[v].values));
		if (!t->raw[v].values)
			return -ENOMEM;
		err = reserve_view(t, &t->raw[v], t->raw[v].chunks + 1);
	}
	return err;
}

/* Registers the snapshot, so that the engine leaves its spans alone. */
static int enter(struct taken *t, struct engine *e)
{
	int err;

	lock_as_snapshot(e);
	err = copy_state(t, e);
	t->live.generation = fold_share(e->fold);
	if (e->newest)
		e->newest->next = &t->live;
	else
		e->oldest = &t->live;
	e->newest = &t->live;
	unlock_as_snapshot(e);
	return err;
}

static void free_blocks(struct taken *t)
{
	while (t->blocks) {
		struct block *b = t->blocks;

		t->blocks = b->next;
		free(b);
	}
	free(t);
}

const struct snapshot *snapshot_take(struct engine *e)
{
	struct taken *t = calloc(1, sizeof(*t));
	int err;

	if (!t)
		return NULL;
	t->engine = e;
	err = reserve(t, e);
	if (err < 0) {
		free_blocks(t);
		return NULL;
	}
	err = enter(t, e);
	if (err == 0)
		err = build(t, e);
	if (err < 0) {
		snapshot_rele(&t->pub);
		return NULL;
	}
	return &t->pub;
}

static void leave(struct taken *t)
{
	struct engine *e = t->engine;
	struct live_snapshot **at = &e->oldest, *before = NULL;

	pthread_mutex_lock(&e->mutex);
	while (*at != &t->live) {
		before = *at;
		at = &before->next;
	}
	*at = t->live.next;
	if (e->newest == &t->live)
		e->newest = before;
	pthread_mutex_unlock(&e->mutex);
}

void snapshot_rele(const struct snapshot *s)
{
	struct taken *t;

	if (!s)
		return;
	/* pub is the first member, and taken was never const. */
	t = (struct taken *)(uintptr_t)s;
	leave(t);
	free_blocks(t);
}
