/* SPDX-License-Identifier: Apache-2.0 */
/* Builds what a scrape shows from the copied state, without any lock. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/fold/slowest.h"
#include "aggregator/series/sketch.h"
#include "aggregator/snapshot/snapshot_state.h"
#include "common/clock.h"

static const struct interned *const *
raw_labels(const struct snapshot_raw_view *raw, uint32_t slot)
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
	const struct snapshot_raw_view *raw = arg;
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

/* Adds slots [o->n, raw->n) to the order: sorts them, then merges. */
static int extend_order(struct snapshot_order *o, struct snapshot_raw_view *raw)
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
 * Sets out to the slots sorted by label values, the overflow series last if it
 * has requests, and *n to their number. The order may be newer than the
 * snapshot and have slots that raw does not have: those are skipped.
 */
static int order_slots(struct snapshot_source *src, size_t view,
		       struct snapshot_raw_view *raw, uint32_t *out, size_t *n)
{
	struct snapshot_order *o = &src->order[view];
	int err = 0;

	*n = 0;
	if (raw->n == 0)
		return 0;
	pthread_mutex_lock(&src->order_mutex);
	if (o->n < raw->n)
		err = extend_order(o, raw);
	for (uint32_t i = 0; !err && i + 1 < o->n; i++)
		if (o->slot[i] < raw->n)
			out[(*n)++] = o->slot[i];
	pthread_mutex_unlock(&src->order_mutex);
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

/* Returns how many native buckets a span may need. */
static size_t native_room(const struct cells *cells, const struct span *s)
{
	if (!s || s->n == 0)
		return 0;
	/* Cell 0 is the zero cell, whose native index means nothing. */
	return (size_t)(cells->native[s->first + s->n - 1] -
			cells->native[s->first ? s->first : 1]) +
	       2;
}

static void fill_series(struct snapshot_series *out,
			const struct snapshot_raw_view *raw, uint32_t slot)
{
	const struct snapshot_raw_slot *s = &raw->slot[slot];
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

static int build_histograms(struct snapshot_taken *t,
			    const struct snapshot_raw_view *raw,
			    const struct view *v, struct snapshot_series *out,
			    const uint32_t *order, size_t n)
{
	const struct cells *cells = raw->series->cells;
	size_t per = v->n_bounds + 1, room = 0;
	uint64_t *bucket, *native;

	for (size_t i = 0; i < n; i++)
		room += native_room(cells, raw->slot[order[i]].span);
	bucket = snapshot_memory(t, n * per, sizeof(*bucket));
	native = snapshot_memory(t, room, sizeof(*native));
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

static int build_values(struct snapshot_taken *t,
			const struct snapshot_raw_view *raw,
			struct snapshot_view *out)
{
	size_t n = raw->series->n_keys;
	struct snapshot_values *v = snapshot_memory(t, n, sizeof(*v));

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

/* Removes idle series from the order; they keep their values. */
static size_t leave_idle_out(struct snapshot_source *src,
			     const struct snapshot_raw_view *raw,
			     uint32_t *order, size_t n)
{
	uint64_t idle_s = atomic_load(&src->series_idle_s);
	int64_t before_us = clock_real_us() - (int64_t)idle_s * 1000000;
	size_t kept = 0;

	if (idle_s == 0)
		return n;
	for (size_t i = 0; i < n; i++)
		if (raw->slot[order[i]].active_us >= before_us)
			order[kept++] = order[i];
	return kept;
}

/* What build_view() will find, without the work of it. */
static void count_series(struct snapshot_source *src,
			 const struct snapshot_raw_view *raw,
			 struct snapshot_view *out)
{
	uint64_t idle_s = atomic_load(&src->series_idle_s);
	int64_t before_us = clock_real_us() - (int64_t)idle_s * 1000000;

	for (uint32_t i = 0; i < raw->n; i++) {
		if (i == SERIES_OVERFLOW && raw->slot[i].count == 0)
			continue;
		if (idle_s && raw->slot[i].active_us < before_us)
			out->idle++;
		else
			out->n++;
	}
}

static int compare_askers(const void *pa, const void *pb)
{
	const struct snapshot_asker *a = pa, *b = pb;

	if (a->sets != b->sets)
		return a->sets > b->sets ? -1 : 1;
	return strcmp(a->job, b->job);
}

int snapshot_begin_view(struct snapshot_taken *t, size_t view)
{
	struct snapshot_raw_view *raw = &t->raw[view];
	struct snapshot_view *out = &t->views[view];

	out->view = fold_view(t->source->fold, view);
	out->demand = sketch_estimate(raw->sketch, SERIES_SKETCH_BITS);
	out->worst_job = raw->worst_job;
	out->worst_job_sets = raw->worst_job_sets;
	qsort(raw->askers, raw->n_askers, sizeof(*raw->askers), compare_askers);
	out->askers = raw->askers;
	out->n_askers = raw->n_askers;
	count_series(t->source, raw, out);
	out->overflowed = raw->n ? raw->slot[SERIES_OVERFLOW].count : 0;
	return build_values(t, raw, out);
}

int snapshot_build_view(struct snapshot_taken *t, size_t view)
{
	struct snapshot_raw_view *raw = &t->raw[view];
	struct snapshot_view *out = &t->views[view];
	uint32_t *order = snapshot_memory(t, raw->n, sizeof(*order));
	struct snapshot_series *series;
	size_t n;
	int err;

	if (!order)
		return -ENOMEM;
	err = order_slots(t->source, view, raw, order, &n);
	if (err < 0)
		return err;
	out->idle = n;
	n = leave_idle_out(t->source, raw, order, n);
	out->idle -= n;
	series = snapshot_memory(t, n, sizeof(*series));
	if (!series)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		fill_series(&series[i], raw, order[i]);
	out->n = n;
	out->series = series;
	if (out->view->kind != VIEW_HISTOGRAM)
		return 0;
	return build_histograms(t, raw, out->view, series, order, n);
}
