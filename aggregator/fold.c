/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/fold.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/labelset.h"
#include "aggregator/slowest.h"
#include "proto/limits.h"

#define WINDOW_US ((int64_t)WINDOW_SECONDS * 1000000)
#define TARGETS_MAX 100000u
#define CELLS_A_LINE 8u /* of a span, in a cache line */

/* What a batch's events are added to, in this order in row.ref. */
enum measure {
	MEASURE_DURATION, /* the first one is the window's */
	MEASURE_TTFB,
	MEASURE_REQUEST_BYTES,
	MEASURE_RESPONSE_BYTES,
	MEASURES,
};

/* One series of the batch while it is folded. */
struct row {
	/* Since the window was last changed. */
	uint64_t count, duration, ttfb, request, response;
	bool used; /* something of the batch is counted in it */
	bool exemplars; /* a view wants some */
	struct slowest_row slowest;
	int64_t window_us; /* start; INT64_MIN: none yet */
	struct window_delta *window;
	uint32_t window_key;
	bool error;
	uint8_t n[MEASURES]; /* spans to add to */
	uint8_t at[MEASURES]; /* where they begin in ref */
	struct span ***ref;
	struct series_slot **slot; /* by view; NULL: not counted there */
	uint64_t total, total_duration, total_ttfb, total_request,
		total_response;
};

/* What counting takes of an event, side by side. */
struct sorted {
	int64_t end_us;
	uint64_t duration, request, response;
};

struct fold_view_state {
	const struct view *view;
	struct series series;
	uint64_t loaded; /* batches up to this one are in it */
};

struct retired {
	void *memory; /* a span or exemplars */
	uint64_t generation; /* newest snapshot that can have it */
};

struct fold {
	size_t n_views;
	struct fold_view_state *view;
	struct cells seconds, bytes;
	bool wants_ttfb;
	uint32_t filtered; /* bit by label: some view filters by it */
	struct intern *intern;
	struct labels *labels;
	struct series window_series;
	struct windows *windows;
	bool windows_on; /* false: this batch is in the stored windows */
	uint64_t windows_loaded;
	uint64_t future_us, past_us, clamped;

	struct slowest *slowest;
	struct row *row;
	struct span ***ref; /* memory of the rows */
	struct series_slot **slot;
	size_t row_cap;
	uint32_t *end; /* by row: where its events end in sorted */
	struct sorted *sorted; /* events of the batch, row after row */
	uint16_t *number; /* of these in the batch */

	struct target *target;
	size_t n_targets, target_cap;
	uint32_t *target_table; /* open addressing: index + 1 */
	size_t target_table_cap;

	uint64_t generation; /* of spans made now */
	uint64_t newest_shared; /* newest snapshot, if any_shared */
	bool any_shared;
	struct retired *retired; /* ring by age: [retired_head, n_retired) */
	size_t retired_head, n_retired, retired_cap;
};

static const enum label_key window_keys[] = { LABEL_JOB,    LABEL_ROLE,
					      LABEL_METHOD, LABEL_ROUTE,
					      LABEL_STATUS, LABEL_ERROR };
#define N_WINDOW_KEYS (sizeof(window_keys) / sizeof(window_keys[0]))

/* ---- construction ------------------------------------------------------ */

static enum measure measure_of(const struct view *v)
{
	switch (v->source) {
	case VIEW_TTFB:
		return MEASURE_TTFB;
	case VIEW_REQUEST_BYTES:
		return MEASURE_REQUEST_BYTES;
	case VIEW_RESPONSE_BYTES:
		return MEASURE_RESPONSE_BYTES;
	case VIEW_DURATION:
	case VIEW_REQUESTS:
		break;
	}
	return MEASURE_DURATION;
}

static bool in_seconds(const struct view *v)
{
	return v->source == VIEW_DURATION || v->source == VIEW_TTFB;
}

static int make_cells(struct fold *f, const struct views *views, bool seconds,
		      struct cells *out)
{
	uint64_t *bounds = NULL;
	size_t n = 0;
	int err;

	(void)f;
	bounds = calloc(views->n * VIEW_BOUNDS_MAX + 1, sizeof(*bounds));
	if (!bounds)
		return -ENOMEM;
	for (size_t i = 0; i < views->n; i++) {
		const struct view *v = &views->view[i];

		if (v->kind != VIEW_HISTOGRAM || in_seconds(v) != seconds)
			continue;
		memcpy(bounds + n, v->bounds, v->n_bounds * sizeof(*bounds));
		n += v->n_bounds;
	}
	err = cells_init(out, seconds, bounds, n);
	free(bounds);
	return err;
}

static int make_views(struct fold *f, const struct views *views)
{
	int err;

	f->view = calloc(views->n + 1, sizeof(*f->view));
	if (!f->view)
		return -ENOMEM;
	for (size_t i = 0; i < views->n; i++) {
		const struct view *v = &views->view[i];
		const struct cells *c = NULL;

		if (v->kind == VIEW_HISTOGRAM)
			c = in_seconds(v) ? &f->seconds : &f->bytes;
		f->view[i].view = v;
		f->wants_ttfb |= v->source == VIEW_TTFB;
		f->n_views = i + 1;
		err = series_init(&f->view[i].series, v->labels, v->n_labels,
				  v->max_series, c, f->intern);
		if (err < 0)
			return err;
		for (size_t k = 0; k < v->n_labels; k++) {
			size_t max = v->max_values[v->labels[k]];

			series_limit_values(
				&f->view[i].series, k,
				max ? max : views_label_budget(v->labels[k]));
		}
	}
	return 0;
}

static uint32_t filter_labels(const struct view *v)
{
	uint32_t used = 0;

	for (size_t k = 0; k < v->n_filters; k++)
		used |= 1u << v->filter[k].key;
	return used;
}

/* Labels that make up the slots of rows with this role. */
static uint32_t used_labels(const struct views *views, unsigned role)
{
	uint32_t used = 0;

	for (size_t i = 0; i < N_WINDOW_KEYS; i++)
		used |= 1u << window_keys[i];
	for (size_t i = 0; i < views->n; i++) {
		if (!(views->view[i].roles >> role & 1))
			continue;
		used |= filter_labels(&views->view[i]);
		for (size_t k = 0; k < views->view[i].n_labels; k++)
			used |= 1u << views->view[i].labels[k];
	}
	return used;
}

int fold_new(struct fold **out, const struct fold_options *opt)
{
	struct fold *f = calloc(1, sizeof(*f));
	uint32_t used[LABELS_ROLES];
	int err = -ENOMEM;

	if (!f)
		return -ENOMEM;
	f->future_us = opt->future_us;
	f->past_us = opt->past_us;
	for (size_t i = 0; i < opt->views->n; i++)
		f->filtered |= filter_labels(&opt->views->view[i]);
	f->generation = 1;
	f->target_table_cap = 1024;
	f->target_table = calloc(f->target_table_cap, sizeof(uint32_t));
	f->sorted = calloc(LIMIT_EVENTS, sizeof(*f->sorted));
	f->number = calloc(LIMIT_EVENTS, sizeof(*f->number));
	if (!f->target_table || !f->sorted || !f->number)
		goto fail;
	err = intern_new(&f->intern);
	if (err < 0)
		goto fail;
	err = make_cells(f, opt->views, true, &f->seconds);
	if (err == 0)
		err = make_cells(f, opt->views, false, &f->bytes);
	if (err == 0)
		err = make_views(f, opt->views);
	if (err == 0)
		err = series_init(&f->window_series, window_keys, N_WINDOW_KEYS,
				  opt->max_window_series, &f->seconds,
				  f->intern);
	if (err == 0)
		err = windows_new(&f->windows);
	for (unsigned role = 0; role < LABELS_ROLES; role++)
		used[role] = used_labels(opt->views, role);
	if (err == 0)
		err = labels_new(&f->labels, f->intern, used, f->n_views + 1);
	if (err == 0)
		err = slowest_new(&f->slowest, &f->seconds, opt->views);
	if (err < 0)
		goto fail;
	*out = f;
	return 0;
fail:
	fold_free(f);
	return err;
}

void fold_free(struct fold *f)
{
	if (!f)
		return;
	for (size_t i = f->retired_head; i < f->n_retired; i++)
		free(f->retired[i].memory);
	free(f->retired);
	for (size_t i = 0; i < f->n_views; i++)
		series_fini(&f->view[i].series);
	free(f->view);
	series_fini(&f->window_series);
	windows_free(f->windows);
	labels_free(f->labels);
	slowest_free(f->slowest);
	intern_free(f->intern);
	cells_fini(&f->seconds);
	cells_fini(&f->bytes);
	free(f->row);
	free(f->ref);
	free(f->slot);
	free(f->end);
	free(f->sorted);
	free(f->number);
	free(f->target);
	free(f->target_table);
	free(f);
}

/* ---- snapshots --------------------------------------------------------- */

uint64_t fold_share(struct fold *f)
{
	f->newest_shared = f->generation++;
	f->any_shared = true;
	return f->newest_shared;
}

void fold_unshare(struct fold *f, uint64_t oldest)
{
	if (oldest > f->newest_shared)
		f->any_shared = false;
	while (f->retired_head < f->n_retired &&
	       f->retired[f->retired_head].generation < oldest)
		free(f->retired[f->retired_head++].memory);
	if (f->retired_head == f->n_retired)
		f->retired_head = f->n_retired = 0;
}

static int retire(struct fold *f, void *memory)
{
	if (f->n_retired == f->retired_cap) {
		size_t cap = f->retired_cap ? 2 * f->retired_cap : 256;
		void *p = realloc(f->retired, cap * sizeof(*f->retired));

		if (!p)
			return -ENOMEM;
		f->retired = p;
		f->retired_cap = cap;
	}
	f->retired[f->n_retired++] =
		(struct retired){ .memory = memory,
				  .generation = f->newest_shared };
	return 0;
}

/* Makes the span one that no snapshot has. */
static int own_span(struct fold *f, struct span **ref)
{
	struct span *s = *ref, *copy;
	size_t bytes;

	if (!s || s->generation == f->generation)
		return 0;
	if (!f->any_shared || s->generation > f->newest_shared) {
		s->generation = f->generation;
		return 0;
	}
	bytes = sizeof(*s) + s->n * sizeof(s->count[0]);
	copy = malloc(bytes);
	if (!copy)
		return -ENOMEM;
	if (retire(f, s) < 0) {
		free(copy);
		return -ENOMEM;
	}
	memcpy(copy, s, bytes);
	copy->generation = f->generation;
	*ref = copy;
	return 0;
}

/* Likewise. */
static int own_exemplars(struct fold *f, struct exemplars **ref)
{
	struct exemplars *e = *ref, *copy;
	size_t bytes;

	if (!e || e->generation == f->generation)
		return 0;
	if (!f->any_shared || e->generation > f->newest_shared) {
		e->generation = f->generation;
		return 0;
	}
	bytes = sizeof(*e) + e->n * sizeof(e->at[0]);
	copy = malloc(bytes);
	if (!copy)
		return -ENOMEM;
	if (retire(f, e) < 0) {
		free(copy);
		return -ENOMEM;
	}
	memcpy(copy, e, bytes);
	copy->generation = f->generation;
	*ref = copy;
	return 0;
}

/* ---- counting ---------------------------------------------------------- */

static __attribute__((noinline)) int
widen(struct fold *f, const struct cells *c, struct span **ref, unsigned cell)
{
	struct span *wide = span_widen(*ref, cell, c->n, f->generation);

	if (!wide)
		return -ENOMEM;
	free(*ref); /* ours alone: see own_span() */
	*ref = wide;
	return 0;
}

static inline int add(struct fold *f, const struct cells *c, struct span **ref,
		      unsigned cell, uint64_t count)
{
	struct span *s = *ref;

	if (__builtin_expect(!s || cell - s->first >= s->n, 0)) {
		int err = widen(f, c, ref, cell);

		if (err < 0)
			return err;
		s = *ref;
	}
	s->count[cell - s->first] += count;
	return 0;
}

/* Hands what the row gathered to its window and starts again. */
static void settle(struct row *r)
{
	if (r->window) {
		r->window->count += r->count;
		r->window->errors += r->error ? r->count : 0;
		r->window->duration_sum_us += r->duration;
		r->window->request_bytes_sum += r->request;
		r->window->response_bytes_sum += r->response;
	}
	r->total += r->count;
	r->total_duration += r->duration;
	r->total_ttfb += r->ttfb;
	r->total_request += r->request;
	r->total_response += r->response;
	r->count = r->duration = r->ttfb = r->request = r->response = 0;
}

static bool far_off(const struct fold *f, int64_t end_us, int64_t received_us)
{
	return (end_us > received_us &&
		(uint64_t)(end_us - received_us) > f->future_us) ||
	       (end_us < received_us &&
		(uint64_t)(received_us - end_us) > f->past_us);
}

static int enter_window(struct fold *f, struct row *r, int64_t end_us,
			int64_t received_us)
{
	int64_t start;

	settle(r);
	if (far_off(f, end_us, received_us)) {
		f->clamped++;
		end_us = received_us;
	}
	start = end_us / WINDOW_US;
	r->window_us = start * WINDOW_US;
	if (!f->windows_on)
		return 0;
	r->window =
		windows_get(f->windows, start * WINDOW_SECONDS, r->window_key);
	if (!r->window)
		return -ENOMEM;
	r->ref[0] = &r->window->span;
	return 0;
}

/* Always with a constant m, so that the compiler drops what it can. */
static inline __attribute__((always_inline)) int
add_all(struct fold *f, const struct row *r, enum measure m, uint64_t value,
	uint64_t count)
{
	bool seconds = m == MEASURE_DURATION || m == MEASURE_TTFB;
	const struct cells *c = seconds ? &f->seconds : &f->bytes;
	struct span ***ref = r->ref + r->at[m];
	unsigned cell, n = r->n[m];
	int err = 0;

	if (n == 0)
		return 0;
	cell = seconds ? cells_index_seconds(c, value)
		       : cells_index_bytes(c, value);
	for (unsigned i = 0; i < n; i++)
		err |= add(f, c, ref[i], cell, count);
	return err;
}

/* The events by row of the series table, and when each ended. */
static void sort_events(struct fold *f, const struct batch *b)
{
	const struct batch_events *ev = &b->events;
	int64_t *end_us = f->slowest->end_us;
	int64_t start = b->base_us;
	uint32_t sum = 0;

	memset(f->end, 0, b->series.n * sizeof(*f->end));
	for (size_t i = 0; i < ev->n; i++)
		f->end[ev->series[i]]++;
	for (size_t i = 0; i < b->series.n; i++) {
		uint32_t n = f->end[i];

		f->end[i] = sum; /* the begin, until the events are there */
		sum += n;
	}
	for (size_t i = 0; i < ev->n; i++) {
		uint32_t at = f->end[ev->series[i]]++;

		/* Hostile values may wrap: defined, and clamped later. */
		start = (int64_t)((uint64_t)start +
				  (uint64_t)ev->start_delta_us[i]);
		end_us[i] = (int64_t)((uint64_t)start + ev->duration_us[i]);
		if (end_us[i] < 0)
			end_us[i] = 0;
		f->sorted[at] = (struct sorted){ end_us[i], ev->duration_us[i],
						 ev->request_bytes[i],
						 ev->response_bytes[i] };
		f->number[at] = (uint16_t)i;
	}
}

static int fold_durations(struct fold *f, struct row *r,
			  const struct fold_batch *fb, size_t begin, size_t end)
{
	int err = 0;

	for (size_t i = begin; i < end; i++) {
		const struct sorted *e = &f->sorted[i];

		if ((uint64_t)e->end_us - (uint64_t)r->window_us >=
		    (uint64_t)WINDOW_US)
			err |= enter_window(f, r, e->end_us, fb->received_us);
		r->count++;
		r->duration += e->duration;
		r->request += e->request;
		r->response += e->response;
		err |= add_all(f, r, MEASURE_DURATION, e->duration, 1);
		if (r->exemplars)
			slowest_note(
				f->slowest, &r->slowest,
				cells_index_seconds(&f->seconds, e->duration),
				e->duration, f->number[i]);
		if (f->wants_ttfb) {
			uint64_t tail = fb->batch->events.tail_us[f->number[i]];
			uint64_t ttfb =
				e->duration -
				(tail < e->duration ? tail : e->duration);

			r->ttfb += ttfb;
			err |= add_all(f, r, MEASURE_TTFB, ttfb, 1);
		}
	}
	return err;
}

/* Has what the row adds to brought near while another row is counted. */
static int fetch_row(struct fold *f, const struct fold_batch *fb, size_t i)
{
	size_t begin = i ? f->end[i - 1] : 0;
	struct row *r = &f->row[i];
	unsigned n = 0;
	int64_t end_us;
	int err = 0;

	if (begin == f->end[i])
		return 0;
	end_us = f->sorted[begin].end_us;
	if (!far_off(f, end_us, fb->received_us))
		err = enter_window(f, r, end_us, fb->received_us);
	for (unsigned m = 0; m < MEASURES; m++)
		n += r->n[m];
	for (unsigned k = 0; k < n; k++) {
		const struct span *s = r->ref[k] ? *r->ref[k] : NULL;
		unsigned cells = s ? s->n : 0;

		for (unsigned c = 0; c < cells; c += CELLS_A_LINE)
			__builtin_prefetch(&s->count[c], 1);
	}
	return err;
}

/*
 * Row by row, so that what a row adds to stays in the nearest cache: in the
 * order of the batch, with a thousand series, each event would find its
 * histograms far away.
 */
static int fold_events(struct fold *f, const struct fold_batch *fb)
{
	size_t n = fb->batch->series.n, begin = 0;
	int err = 0;

	sort_events(f, fb->batch);
	if (n > 0)
		err = fetch_row(f, fb, 0);
	for (size_t i = 0; i < n; i++) {
		size_t end = f->end[i];
		struct row *r = &f->row[i];

		if (i + 1 < n)
			err |= fetch_row(f, fb, i + 1);
		if (begin < end)
			err |= fold_durations(f, r, fb, begin, end);
		for (size_t k = begin; k < end; k++)
			err |= add_all(f, r, MEASURE_REQUEST_BYTES,
				       f->sorted[k].request, 1);
		for (size_t k = begin; k < end; k++)
			err |= add_all(f, r, MEASURE_RESPONSE_BYTES,
				       f->sorted[k].response, 1);
		begin = end;
	}
	return err ? -ENOMEM : 0;
}

static int fold_rollup_hist(struct fold *f, struct row *r, enum measure m,
			    const struct batch_rollup_hist *h, size_t i,
			    size_t *at)
{
	int err = 0;

	for (uint32_t k = 0; k < h->buckets[i]; k++, (*at)++) {
		uint64_t v = m == MEASURE_DURATION
				     ? bucket_seconds_upper(h->index[*at])
				     : bucket_bytes_upper(h->index[*at]);

		if (m == MEASURE_DURATION)
			err |= add_all(f, r, MEASURE_DURATION, v,
				       h->count[*at]);
		else if (m == MEASURE_REQUEST_BYTES)
			err |= add_all(f, r, MEASURE_REQUEST_BYTES, v,
				       h->count[*at]);
		else
			err |= add_all(f, r, MEASURE_RESPONSE_BYTES, v,
				       h->count[*at]);
	}
	return err ? -ENOMEM : 0;
}

/* Time to first byte is not in a rollup: it is part of what was given up. */
static int fold_rollups(struct fold *f, const struct fold_batch *fb)
{
	const struct batch_rollups *ro = &fb->batch->rollups;
	size_t at[3] = { 0 };
	int err = 0;

	for (size_t i = 0; i < ro->n; i++) {
		struct row *r = &f->row[ro->series[i]];
		int64_t us =
			(int64_t)((uint64_t)fb->batch->base_us +
				  (uint64_t)ro->window_delta_s[i] * 1000000);

		if (ro->count[i] == 0)
			continue;
		if (us < 0)
			us = 0;
		if ((uint64_t)us - (uint64_t)r->window_us >=
		    (uint64_t)WINDOW_US)
			err |= enter_window(f, r, us, fb->received_us);
		r->count += ro->count[i];
		r->duration += ro->duration_sum_us[i];
		r->request += ro->request_bytes_sum[i];
		r->response += ro->response_bytes_sum[i];
		err |= fold_rollup_hist(f, r, MEASURE_DURATION, &ro->duration,
					i, &at[0]);
		err |= fold_rollup_hist(f, r, MEASURE_REQUEST_BYTES,
					&ro->request, i, &at[1]);
		err |= fold_rollup_hist(f, r, MEASURE_RESPONSE_BYTES,
					&ro->response, i, &at[2]);
	}
	return err ? -ENOMEM : 0;
}

/* ---- label sets to slots ----------------------------------------------- */

static int make_room(struct fold *f, size_t n)
{
	size_t per_row = f->n_views + 1;

	if (n <= f->row_cap)
		return 0;
	free(f->row);
	free(f->ref);
	free(f->slot);
	free(f->end);
	f->row = calloc(n, sizeof(*f->row));
	f->ref = calloc(n * per_row, sizeof(*f->ref));
	f->slot = calloc(n * per_row, sizeof(*f->slot));
	f->end = calloc(n, sizeof(*f->end));
	f->row_cap = n;
	if (f->row && f->ref && f->slot && f->end)
		return 0;
	f->row_cap = 0;
	return -ENOMEM;
}

static bool passes(const struct view *view, const struct labels_row *lr)
{
	if (!(view->roles >> lr->role & 1) || (view->errors_only && !lr->error))
		return false;
	for (size_t i = 0; i < view->n_filters; i++) {
		const struct view_filter *f = &view->filter[i];
		const struct label *l = lr->label[f->key];
		bool like = false;

		for (size_t k = 0; k < f->n && !like; k++)
			like = fnmatch(f->glob[k], l->data ? l->data : "", 0) ==
			       0;
		if (!like)
			return false;
	}
	return true;
}

/*
 * What a view filters by is part of the cache's key, so it must be interned;
 * but only for sets that were granted a place, which bounds it.
 */
static int intern_filtered(struct fold *f, const struct labels_row *lr)
{
	for (uint32_t left = f->filtered; left; left &= left - 1) {
		struct label *l = lr->label[__builtin_ctz(left)];

		if (!l->data || l->interned)
			continue;
		l->interned = intern_add(f->intern, l->data, l->len, l->hash);
		if (!l->interned)
			return -ENOMEM;
	}
	return 0;
}

/* Slots of a label set that no cache entry names: by view, then the window. */
static int resolve_slots(struct fold *f, const struct labels_row *lr,
			 int64_t now_us, uint32_t *slot)
{
	int64_t at;

	for (size_t v = 0; v < f->n_views; v++) {
		slot[v] = LABELS_NO_SLOT;
		if (!passes(f->view[v].view, lr))
			continue;
		at = series_resolve(&f->view[v].series, lr->label, now_us);
		if (at < 0)
			return (int)at;
		slot[v] = (uint32_t)at;
	}
	at = series_resolve(&f->window_series, lr->label, now_us);
	if (at < 0)
		return (int)at;
	slot[f->n_views] = (uint32_t)at;
	return at == SERIES_OVERFLOW ? 0 : intern_filtered(f, lr);
}

static bool wants_exemplars(const struct view *v)
{
	return v->kind == VIEW_HISTOGRAM && v->source == VIEW_DURATION;
}

/*
 * The slots that may count the row. With many series none of them is in a
 * cache, so here they are only asked for: aim_row() comes when all rows have.
 */
static void point_row(struct fold *f, struct row *r, const uint32_t *slot,
		      uint64_t log_id)
{
	r->window_key = slot[f->n_views];
	for (size_t v = 0; v < f->n_views; v++) {
		r->slot[v] = NULL;
		if (slot[v] == LABELS_NO_SLOT || log_id <= f->view[v].loaded)
			continue;
		r->slot[v] = series_at(&f->view[v].series, slot[v]);
		__builtin_prefetch(r->slot[v], 1);
	}
}

/* Points the row at the spans that its events are added to. */
static int aim_row(struct fold *f, struct row *r, uint64_t log_id)
{
	struct span ***ref = r->ref;
	int err;

	if (f->windows_on) {
		*ref++ = NULL; /* enter_window() sets it */
		r->n[MEASURE_DURATION]++;
	}
	for (size_t v = 0; v < f->n_views; v++) {
		if (!r->slot[v])
			continue;
		if (r->slot[v]->log_id >= log_id) {
			r->slot[v] = NULL;
			continue;
		}
		r->exemplars |= wants_exemplars(f->view[v].view);
	}
	for (unsigned m = 0; m < MEASURES; m++) {
		if (m > MEASURE_DURATION)
			r->at[m] = (uint8_t)(ref - r->ref);
		for (size_t v = 0; v < f->n_views; v++) {
			const struct view *view = f->view[v].view;

			if (!r->slot[v] || view->kind != VIEW_HISTOGRAM ||
			    measure_of(view) != m)
				continue;
			err = own_span(f, &r->slot[v]->span);
			if (err < 0)
				return err;
			*ref++ = &r->slot[v]->span;
			r->n[m]++;
		}
	}
	return 0;
}

/*
 * A row that nothing is counted in makes no series: or a batch without events
 * could use up the budget of every view.
 */
static void find_used(struct fold *f, const struct batch *b)
{
	memset(f->row, 0, b->series.n * sizeof(*f->row));
	for (size_t i = 0; i < b->events.n; i++)
		f->row[b->events.series[i]].used = true;
	for (size_t i = 0; i < b->rollups.n; i++)
		if (b->rollups.count[i])
			f->row[b->rollups.series[i]].used = true;
}

static int resolve_rows(struct fold *f, const struct fold_batch *fb)
{
	size_t n = fb->batch->series.n, per_row = f->n_views + 1;
	int err = make_room(f, n);

	if (err == 0)
		err = labels_begin(f->labels, fb->batch);
	if (err == 0)
		err = slowest_begin(f->slowest, fb->batch);
	if (err == 0)
		find_used(f, fb->batch);
	for (size_t i = 0; i < n && err == 0; i++) {
		struct row *r = &f->row[i];
		struct labels_row lr;
		uint32_t *slot;

		if (!r->used)
			continue;
		r->window_us = INT64_MIN;
		r->ref = f->ref + i * per_row;
		r->slot = f->slot + i * per_row;
		labels_of(f->labels, i, &lr);
		r->error = lr.error;
		slot = labels_cached(f->labels, &lr);
		if (!slot) {
			slot = labels_scratch(f->labels);
			err = resolve_slots(f, &lr, fb->received_us, slot);
			if (err == 0)
				err = labels_cache(f->labels, &lr, slot);
		}
		if (err == 0)
			point_row(f, r, slot, fb->log_id);
	}
	for (size_t i = 0; i < n && err == 0; i++) {
		struct row *r = &f->row[i];

		if (!r->used)
			continue;
		err = aim_row(f, r, fb->log_id);
		if (r->exemplars)
			slowest_row(f->slowest, i, &r->slowest);
	}
	return err;
}

/* ---- targets ----------------------------------------------------------- */

static size_t target_hash(const struct interned *job,
			  const struct interned *instance)
{
	uint64_t h = job->hash * 0x9e3779b97f4a7c15 + instance->hash;

	return (size_t)(h ^ h >> 29);
}

static void target_place(struct fold *f, size_t i)
{
	const struct target *t = &f->target[i];
	size_t mask = f->target_table_cap - 1;
	size_t at =
		target_hash(t->value[TARGET_JOB], t->value[TARGET_INSTANCE]) &
		mask;

	while (f->target_table[at])
		at = (at + 1) & mask;
	f->target_table[at] = (uint32_t)i + 1;
}

static int target_room(struct fold *f)
{
	if (f->n_targets == f->target_cap) {
		size_t cap = f->target_cap ? 2 * f->target_cap : 64;
		void *p = realloc(f->target, cap * sizeof(*f->target));

		if (!p)
			return -ENOMEM;
		f->target = p;
		f->target_cap = cap;
	}
	if (f->n_targets * 2 >= f->target_table_cap) {
		size_t cap = 2 * f->target_table_cap;
		uint32_t *table = calloc(cap, sizeof(*table));

		if (!table)
			return -ENOMEM;
		free(f->target_table);
		f->target_table = table;
		f->target_table_cap = cap;
		for (size_t i = 0; i < f->n_targets; i++)
			target_place(f, i);
	}
	return 0;
}

static bool target_known(const struct fold *f, const struct interned *job,
			 const struct interned *instance)
{
	size_t mask = f->target_table_cap - 1;

	for (size_t at = target_hash(job, instance) & mask; f->target_table[at];
	     at = (at + 1) & mask) {
		const struct target *t = &f->target[f->target_table[at] - 1];

		if (t->value[TARGET_JOB] == job &&
		    t->value[TARGET_INSTANCE] == instance)
			return true;
	}
	return false;
}

static const struct interned *intern_text(struct fold *f, const char *text)
{
	size_t len = strlen(text);

	return intern_add(f->intern, text, len,
			  intern_hash(f->intern, text, len));
}

int fold_add_target(struct fold *f, const char *const value[TARGET_FIELDS])
{
	struct target t = { .dirty = true };
	int err;

	if (f->n_targets >= TARGETS_MAX || !value[TARGET_JOB] ||
	    !value[TARGET_INSTANCE])
		return 0;
	for (size_t i = 0; i < TARGET_FIELDS; i++) {
		if (!value[i] || !*value[i])
			continue;
		t.value[i] = intern_text(f, value[i]);
		if (!t.value[i])
			return -ENOMEM;
	}
	if (target_known(f, t.value[TARGET_JOB], t.value[TARGET_INSTANCE]))
		return 0;
	err = target_room(f);
	if (err < 0)
		return err;
	f->target[f->n_targets] = t;
	target_place(f, f->n_targets++);
	return 0;
}

static int note_targets(struct fold *f, const struct batch *b)
{
	const struct batch_resources *rs = &b->resources;
	int err = 0;

	for (size_t i = 0; i < rs->n && err == 0; i++) {
		const struct label *job = labels_job(f->labels, i);
		const struct label *instance = labels_instance(f->labels, i);
		const char *value[TARGET_FIELDS];

		/* Not interned: no series was granted to it. */
		if (!job->interned || !instance->interned ||
		    target_known(f, job->interned, instance->interned))
			continue;
		value[TARGET_JOB] = job->data;
		value[TARGET_INSTANCE] = instance->data;
		value[TARGET_SERVICE] = b->strings[rs->service[i]].data;
		value[TARGET_NAMESPACE] = b->strings[rs->namespace_[i]].data;
		value[TARGET_CONTAINER] = b->strings[rs->container[i]].data;
		value[TARGET_NODE] = b->agent;
		value[TARGET_EXECUTABLE] = b->strings[rs->executable[i]].data;
		err = fold_add_target(f, value);
	}
	return err;
}

/* ---- the whole batch --------------------------------------------------- */

static uint64_t source_sum(const struct row *r, enum view_source source)
{
	switch (source) {
	case VIEW_DURATION:
		return r->total_duration;
	case VIEW_TTFB:
		return r->total_ttfb;
	case VIEW_REQUEST_BYTES:
		return r->total_request;
	case VIEW_RESPONSE_BYTES:
		return r->total_response;
	case VIEW_REQUESTS:
		break;
	}
	return r->total;
}

static int keep_exemplars(struct fold *f, const struct row *r, size_t v,
			  uint64_t log_id)
{
	const struct view *view = f->view[v].view;
	struct exemplars **ref = &r->slot[v]->exemplars;
	int err;

	if (!wants_exemplars(view) ||
	    !slowest_wins(&r->slowest, view, f->generation, *ref))
		return 0;
	err = own_exemplars(f, ref);
	if (err == 0)
		err = slowest_merge(f->slowest, &r->slowest, view, log_id,
				    f->generation, ref);
	if (*ref)
		(*ref)->generation = f->generation;
	return err;
}

static int finish_row(struct fold *f, struct row *r,
		      const struct fold_batch *fb)
{
	int err = 0;

	settle(r);
	for (size_t v = 0; v < f->n_views; v++) {
		struct series_slot *s = r->slot[v];

		if (!s)
			continue;
		s->count += r->total;
		s->sum += source_sum(r, f->view[v].view->source);
		s->log_id = fb->log_id;
		s->active_us = fb->received_us;
		s->dirty = true;
		if (r->exemplars)
			err |= keep_exemplars(f, r, v, fb->log_id);
	}
	return err ? -ENOMEM : 0;
}

int fold_batch(struct fold *f, const struct fold_batch *fb)
{
	int err;

	f->windows_on = fb->log_id > f->windows_loaded;
	err = resolve_rows(f, fb);
	if (err == 0)
		err = fold_events(f, fb);
	if (err == 0)
		err = fold_rollups(f, fb);
	if (err == 0)
		err = note_targets(f, fb->batch);
	if (err < 0)
		return err;
	for (size_t i = 0; i < fb->batch->series.n && err == 0; i++)
		if (f->row[i].used)
			err = finish_row(f, &f->row[i], fb);
	return err;
}

uint64_t fold_requests(const struct batch *b)
{
	uint64_t n = b->events.n;

	for (size_t i = 0; i < b->rollups.n; i++)
		n += b->rollups.count[i];
	return n;
}

/* ---- access ------------------------------------------------------------ */

void fold_set_loaded_view(struct fold *f, size_t view, uint64_t log_id)
{
	f->view[view].loaded = log_id;
}

void fold_set_loaded_windows(struct fold *f, uint64_t log_id)
{
	f->windows_loaded = log_id;
}

size_t fold_views(const struct fold *f)
{
	return f->n_views;
}

const struct view *fold_view(const struct fold *f, size_t view)
{
	return f->view[view].view;
}

struct series *fold_series(struct fold *f, size_t view)
{
	return &f->view[view].series;
}

struct series *fold_window_series(struct fold *f)
{
	return &f->window_series;
}

struct windows *fold_windows(struct fold *f)
{
	return f->windows;
}

struct intern *fold_intern(struct fold *f)
{
	return f->intern;
}

const struct cells *fold_duration_cells(const struct fold *f)
{
	return &f->seconds;
}

size_t fold_targets(const struct fold *f)
{
	return f->n_targets;
}

struct target *fold_target(struct fold *f, size_t i)
{
	return &f->target[i];
}

uint64_t fold_clamped(const struct fold *f)
{
	return f->clamped;
}

/* FNV-1a over what decides where a value is counted. */
static uint64_t digest(uint64_t h, uint64_t v)
{
	for (unsigned i = 0; i < 64; i += 8)
		h = (h ^ (v >> i & 0xff)) * 0x100000001b3;
	return h;
}

static uint64_t digest_text(uint64_t h, const char *text)
{
	do
		h = (h ^ (uint8_t)*text) * 0x100000001b3;
	while (*text++);
	return h;
}

uint64_t fold_view_digest(const struct fold *f, size_t view)
{
	const struct view *v = f->view[view].view;
	uint64_t h = 0xcbf29ce484222325;

	h = digest(h, (uint64_t)v->kind << 32 | (uint64_t)v->source);
	h = digest(h, (uint64_t)v->roles << 1 | v->errors_only);
	for (size_t i = 0; i < v->n_labels; i++)
		h = digest(h, (uint64_t)v->labels[i]);
	for (size_t i = 0; i < v->n_filters; i++) {
		h = digest(h,
			   (uint64_t)v->filter[i].key << 32 | v->filter[i].n);
		for (size_t k = 0; k < v->filter[i].n; k++)
			h = digest_text(h, v->filter[i].glob[k]);
	}
	if (v->kind == VIEW_HISTOGRAM)
		for (size_t i = 0; i < v->n_bounds; i++)
			h = digest(h, v->bounds[i]);
	return h;
}

const struct cells *fold_cells(const struct fold *f, bool seconds)
{
	return seconds ? &f->seconds : &f->bytes;
}
