/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "aggregator/fold/fold_state.h"
#include "common/sums.h"
#include "proto/buckets.h"

#define LINE 64u
#define LINES                                                                  \
	4u /* prefetched per span: 28 cells, and most spans have fewer         \
	    */

static void ask_for(const void *p)
{
	for (unsigned i = 0; p && i < LINES; i++)
		__builtin_prefetch((const char *)p + i * LINE, 1);
}

/* --- a row --- */

/* Rows that follow each other are mostly of one instance. */
static struct window_delta *find_instance(struct fold *f, uint32_t key,
					  int64_t start_s)
{
	struct window_delta *w = f->instance;

	if (!w || w->key != key || w->start_s != start_s)
		w = windows_get(f->windows[WINDOW_INSTANCES], start_s, key);
	f->instance = w;
	return w;
}

static int find_windows(struct fold *f, const struct fold_row *r,
			const struct fold_bin *b,
			struct window_delta *out[FOLD_ROW_WINDOWS])
{
	int64_t start_s;

	out[WINDOW_REQUESTS] = out[WINDOW_INSTANCES] = NULL;
	if (!f->windows_on)
		return 0;
	start_s = b->window_us / 1000000;
	out[WINDOW_REQUESTS] = windows_get(f->windows[WINDOW_REQUESTS], start_s,
					   r->window_key[WINDOW_REQUESTS]);
	out[WINDOW_INSTANCES] =
		find_instance(f, r->window_key[WINDOW_INSTANCES], start_s);
	return out[WINDOW_REQUESTS] && out[WINDOW_INSTANCES] ? 0 : -ENOMEM;
}

/*
 * The row's slots are in the cache by now. Drops those that contain the batch
 * already and prefetches the histograms of the others.
 */
static int approach_row(struct fold *f, const struct fold_input *fb,
			struct fold_row *r)
{
	unsigned n = 0;
	int err;

	r->exemplars = false;
	for (unsigned k = 0; k < r->n; k++) {
		struct series_slot *s = r->slot[k];

		/* Has the batch already, unless this very turn put it there. */
		if ((s->log_id >= fb->log_id || s->count >= SERIES_COUNT_MAX) &&
		    s->turn != f->turn)
			continue;
		r->view[n] = r->view[k];
		r->slot[n++] = s;
		ask_for(s->span);
		if (f->view[r->view[k]].exemplars) {
			ask_for(s->exemplars);
			r->exemplars = true;
		}
	}
	r->n = n;
	err = find_windows(f, r, &f->now->bin[r->bin], r->window);
	if (r->window[WINDOW_REQUESTS])
		ask_for(r->window[WINDOW_REQUESTS]->span[WINDOW_DURATION]);
	return err;
}

static void add_tally(struct fold_tally *t, const struct fold_tally *more)
{
	t->count += more->count;
	for (unsigned m = 0; m < MEASURES; m++)
		t->sum[m] += more->sum[m];
}

/* The events of a bin, in the windows of their row and of its instance. */
static int count_windows(struct fold *f, const struct fold_row *r,
			 const struct fold_tally *t,
			 struct window_delta *const w[FOLD_ROW_WINDOWS],
			 const struct fold_counted *e, size_t n)
{
	struct window_delta *own = w[WINDOW_REQUESTS];
	struct window_delta *instance = w[WINDOW_INSTANCES];
	uint64_t errors = r->error ? t->count : 0;

	if (!own)
		return 0;
	own->count = sums_add(own->count, t->count);
	own->errors += errors;
	own->sum[WINDOW_REQUEST_BYTES] = sums_add(
		own->sum[WINDOW_REQUEST_BYTES], t->sum[MEASURE_REQUEST_BYTES]);
	own->sum[WINDOW_RESPONSE_BYTES] =
		sums_add(own->sum[WINDOW_RESPONSE_BYTES],
			 t->sum[MEASURE_RESPONSE_BYTES]);
	instance->count = sums_add(instance->count, t->count);
	instance->errors += errors;
	if (r->untimed)
		return 0;
	own->sum[WINDOW_DURATION] =
		sums_add(own->sum[WINDOW_DURATION], t->sum[MEASURE_DURATION]);
	instance->sum[WINDOW_DURATION] = sums_add(
		instance->sum[WINDOW_DURATION], t->sum[MEASURE_DURATION]);
	return fold_add_durations(f, &own->span[WINDOW_DURATION],
				  &instance->span[WINDOW_DURATION], e, n);
}

static int count_bin(struct fold *f, struct fold_row *r,
		     const struct fold_bin *b,
		     struct window_delta *const w[FOLD_ROW_WINDOWS])
{
	const struct fold_counted *e = f->now->counted + b->begin;
	size_t n = b->end - b->begin;
	int err = count_windows(f, r, &b->tally, w, e, n);

	for (unsigned k = 0; k < r->n; k++) {
		enum fold_measure m = f->view[r->view[k]].measure;

		if (m == MEASURE_NONE)
			continue;
		err |= fold_own_span(f, &r->slot[k]->span);
		if (!err)
			err = fold_add_events(f, m, &r->slot[k]->span, e, n);
	}
	return err;
}

static int keep_exemplars(struct fold *f, const struct slowest_row *slow,
			  size_t v, uint64_t log_id,
			  struct slowest_exemplars **ref)
{
	int err;

	if (!slowest_wins(f->slowest, slow, v, f->generation, *ref))
		return 0;
	err = fold_own_exemplars(f, ref);
	if (!err)
		err = slowest_merge(f->slowest, slow, v, log_id, f->generation,
				    ref);
	if (*ref)
		(*ref)->generation = f->generation;
	return err;
}

static int finish_row(struct fold *f, struct fold_row *r,
		      const struct fold_input *fb,
		      const struct fold_tally *total,
		      const struct slowest_row *slow)
{
	int err = 0;

	for (unsigned k = 0; k < r->n; k++) {
		const struct fold_view_state *v = &f->view[r->view[k]];
		struct series_slot *s = r->slot[k];

		s->count += total->count;
		s->sum = sums_add(s->sum, v->sum == MEASURE_NONE
						  ? total->count
						  : total->sum[v->sum]);
		s->log_id = fb->log_id;
		s->turn = f->turn;
		s->active_us = fb->received_us;
		s->dirty = true;
		if (v->exemplars)
			err |= keep_exemplars(f, slow, r->view[k], fb->log_id,
					      &s->exemplars);
	}
	return err;
}

static int count_row(struct fold *f, const struct fold_input *fb,
		     struct fold_row *r)
{
	const struct fold_bin *bin = f->now->bin, *first = &bin[r->bin];
	struct fold_tally total = first->tally;
	struct slowest_row slow = { .best = f->now->best + first->best,
				    .n = first->n_best,
				    .traces = &f->now->traces };
	int err = count_bin(f, r, first, r->window);

	for (uint32_t b = first->next; b; b = bin[b].next) {
		struct window_delta *w[FOLD_ROW_WINDOWS];

		err |= find_windows(f, r, &bin[b], w);
		err |= count_bin(f, r, &bin[b], w);
		add_tally(&total, &bin[b].tally);
	}
	err |= finish_row(f, r, fb, &total, &slow);
	return err ? -ENOMEM : 0;
}

/*
 * Counts rows [from, to) of the series table. A row without events makes no
 * series; else a batch without events could use up the budget of every view.
 */
static int count_block(struct fold *f, const struct fold_input *fb, size_t from,
		       size_t to)
{
	size_t n = 0;
	int err = 0;

	for (size_t i = from; i < to && !err; i++) {
		if (f->now->bin[i].window_us == INT64_MIN)
			continue;
		f->row[n].bin = (uint32_t)i;
		err = fold_find_row(f, fb, i, &f->row[n++]);
	}
	for (size_t i = 0; i < n && !err; i++)
		err = approach_row(f, fb, &f->row[i]);
	for (size_t i = 0; i < n && !err; i++)
		err = count_row(f, fb, &f->row[i]);
	return err;
}

/* --- rollups --- */

/*
 * Adds entries [at, at + n) of a histogram to the row's slots and its window.
 */
static int add_hist(struct fold *f, enum fold_measure m, struct fold_row *r,
		    const struct batch_rollup_hist *h, size_t at, size_t n)
{
	int err = 0;

	for (size_t i = at; i < at + n; i++) {
		uint64_t v = m == MEASURE_DURATION
				     ? bucket_seconds_upper(h->index[i])
				     : bucket_bytes_upper(h->index[i]);
		unsigned cell = cells_index(fold_cells_of(f, m), v);

		for (unsigned k = 0; k < FOLD_ROW_WINDOWS; k++)
			if (r->window[k] && m == MEASURE_DURATION &&
			    !r->untimed)
				err |= fold_add(
					f, m,
					&r->window[k]->span[WINDOW_DURATION],
					cell, h->count[i]);
		for (unsigned k = 0; k < r->n; k++) {
			struct series_slot *s = r->slot[k];

			if (f->view[r->view[k]].measure != m)
				continue;
			err |= fold_own_span(f, &s->span);
			if (!err)
				err = fold_add(f, m, &s->span, cell,
					       h->count[i]);
		}
	}
	return err;
}

/*
 * Adds the histograms of the rollups. Their counts and sums are in the bins and
 * are added later, by count_block(), so the slots do not have the batch's
 * log_id yet. Rollups have no time to first byte: it is part of the lost
 * detail.
 */
static int fold_rollups(struct fold *f, const struct fold_input *fb)
{
	const struct batch_rollups *ro = &fb->batch->rollups;
	const struct batch_rollup_hist *const hist[MEASURES] = {
		[MEASURE_DURATION] = &ro->duration,
		[MEASURE_REQUEST_BYTES] = &ro->request,
		[MEASURE_RESPONSE_BYTES] = &ro->response,
	};
	size_t at[MEASURES] = { 0 };
	int err = 0;

	for (size_t i = 0; i < ro->n && !err; i++) {
		struct fold_row *r = &f->row[0];
		bool any = ro->count[i] > 0;

		r->bin = ro->series[i];
		r->n = 0;
		memset(r->window, 0, sizeof(r->window));
		if (any) {
			struct fold_bin b = {
				.window_us = f->now->rollup_window_us[i],
			};

			err = fold_find_row(f, fb, ro->series[i], r);
			if (!err)
				err = approach_row(f, fb, r);
			if (!err)
				err = find_windows(f, r, &b, r->window);
		}
		for (unsigned m = 0; m < MEASURES && !err; m++) {
			if (!hist[m])
				continue;
			if (any)
				err = add_hist(f, m, r, hist[m], at[m],
					       hist[m]->buckets[i]);
			at[m] += hist[m]->buckets[i];
		}
	}
	return err;
}

/* --- the whole batch --- */

int fold_count(struct fold *f, const struct fold_input *fb,
	       const struct fold_prepared *p)
{
	size_t n = fb->batch->series.n;
	int err;

	f->turn++;
	f->now = p;
	f->instance = NULL; /* windows may have been cleared */
	f->clamped += p->clamped;
	f->windows_on = fb->log_id > f->windows_loaded;
	err = labels_begin(f->labels, fb->batch);
	if (!err)
		err = fold_rollups(f, fb);
	for (size_t i = 0; i < n && !err; i += FOLD_BLOCK)
		err = count_block(f, fb, i,
				  i + FOLD_BLOCK < n ? i + FOLD_BLOCK : n);
	if (!err)
		err = fold_note_targets(f, fb->batch);
	if (!err && f->edges && fb->log_id > f->edges_loaded)
		err = fold_edges_batch(f->edges, fb, f->labels);
	return err ? -ENOMEM : 0;
}

int fold_apply(struct fold *f, const struct fold_input *fb)
{
	const struct fold_prepared *p;
	int err = fold_prepare(f, fb->batch, fb->received_us, &p);

	if (!err)
		err = fold_count(f, fb, p);
	fold_forget(f);
	return err;
}

uint64_t fold_requests(const struct batch *b)
{
	uint64_t n = b->events.n;

	for (size_t i = 0; i < b->rollups.n; i++)
		n += b->rollups.count[i];
	return n;
}
