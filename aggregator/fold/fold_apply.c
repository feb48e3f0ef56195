/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "aggregator/fold/fold_state.h"
#include "common/cache_line.h"
#include "common/sums.h"
#include "proto/buckets.h"

#define LINES                                                                  \
	4u /* prefetched per span: 28 cells, and most spans have fewer         \
	    */

static void ask_lines(const void *p)
{
	for (unsigned i = 0; i < LINES; i++)
		__builtin_prefetch((const char *)p + i * CACHE_LINE, 1);
}

/* Asks for the cells that the row's events are counted in. */
static void ask_cells(const struct span *s, enum fold_measure m,
		      const struct fold_counted *e, size_t n)
{
	if (!s || m == MEASURE_NONE)
		return;
	if (n >= LINES)
		ask_lines(s);
	for (size_t i = 0; i < n && n < LINES; i++)
		__builtin_prefetch(&s->count[e[i].cell[m] - s->first], 1);
}

/* --- a row's steps --- */

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
			int64_t window_us,
			struct window_delta *out[FOLD_ROW_WINDOWS])
{
	int64_t start_s;

	out[WINDOW_REQUESTS] = out[WINDOW_INSTANCES] = NULL;
	if (!f->windows_on)
		return 0;
	start_s = window_us / 1000000;
	out[WINDOW_REQUESTS] = windows_get(f->windows[WINDOW_REQUESTS], start_s,
					   r->window_key[WINDOW_REQUESTS]);
	out[WINDOW_INSTANCES] =
		find_instance(f, r->window_key[WINDOW_INSTANCES], start_s);
	return out[WINDOW_REQUESTS] && out[WINDOW_INSTANCES] ? 0 : -ENOMEM;
}

static int find_slots(struct fold *f, const struct fold_input *fb,
		      struct fold_row *r)
{
	int err = fold_find_row(f, fb, r);

	if (!err && f->windows_on)
		windows_ask_place(f->windows[WINDOW_REQUESTS],
				  r->window_us / 1000000,
				  r->window_key[WINDOW_REQUESTS]);
	return err;
}

/* Drops the slots that contain the batch already. */
static void keep_slots(const struct fold *f, const struct fold_input *fb,
		       struct fold_row *r)
{
	unsigned n = 0;

	for (unsigned k = 0; k < r->n; k++) {
		struct series_slot *s = r->slot[k];

		/* Has the batch already, unless this very turn put it there. */
		if ((s->log_id >= fb->log_id || s->count >= SERIES_COUNT_MAX) &&
		    s->turn != f->turn)
			continue;
		r->view[n] = r->view[k];
		r->slot[n++] = s;
		if (s->span)
			__builtin_prefetch(s->span, 1);
		if (s->exemplars)
			ask_lines(s->exemplars);
	}
	r->n = n;
	if (f->windows_on)
		windows_ask_delta(f->windows[WINDOW_REQUESTS],
				  r->window_us / 1000000,
				  r->window_key[WINDOW_REQUESTS]);
}

static int ask_spans(struct fold *f, struct fold_row *r)
{
	const struct fold_bin *b = &f->now->bin[r->labels.row];
	const struct fold_counted *e = f->now->counted + b->begin;
	int err = find_windows(f, r, r->window_us, r->window);
	const struct window_delta *w = r->window[WINDOW_REQUESTS];

	if (w && w->span[WINDOW_DURATION])
		__builtin_prefetch(w->span[WINDOW_DURATION], 1);
	for (unsigned k = 0; k < r->n; k++)
		ask_cells(r->slot[k]->span, f->measure[r->view[k]], e,
			  b->end - b->begin);
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
	int err = 0;

	if (w[WINDOW_REQUESTS])
		ask_cells(w[WINDOW_REQUESTS]->span[WINDOW_DURATION],
			  MEASURE_DURATION, e, n);
	for (unsigned k = 0; k < r->n; k++) {
		enum fold_measure m = f->measure[r->view[k]];

		if (m == MEASURE_NONE)
			continue;
		err |= fold_own_span(f, &r->slot[k]->span);
		if (!err)
			err = fold_add_events(f, m, &r->slot[k]->span, e, n);
	}
	err |= count_windows(f, r, &b->tally, w, e, n);
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
		if (f->exemplars >> r->view[k] & 1)
			err |= keep_exemplars(f, slow, r->view[k], fb->log_id,
					      &s->exemplars);
	}
	return err;
}

static int count_row(struct fold *f, const struct fold_input *fb,
		     struct fold_row *r)
{
	const struct fold_bin *bin = f->now->bin, *first = &bin[r->labels.row];
	struct fold_tally total = first->tally;
	struct slowest_row slow = { .best = f->now->best + first->best,
				    .n = first->n_best,
				    .traces = &f->now->traces };
	int err = count_bin(f, r, first, r->window);

	for (uint32_t b = first->next; b; b = bin[b].next) {
		struct window_delta *w[FOLD_ROW_WINDOWS];

		err |= find_windows(f, r, bin[b].window_us, w);
		err |= count_bin(f, r, &bin[b], w);
		add_tally(&total, &bin[b].tally);
	}
	err |= finish_row(f, r, fb, &total, &slow);
	return err ? -ENOMEM : 0;
}

/*
 * Takes the next row of the series table that has an event. A row without
 * events makes no series; else a batch without events could use up the budget
 * of every view.
 */
static bool take_row(struct fold *f, size_t *next, size_t end,
		     struct fold_row *r)
{
	const struct fold_bin *bin = f->now->bin;

	while (*next < end && bin[*next].window_us == INT64_MIN)
		++*next;
	if (*next == end)
		return false;
	r->window_us = bin[*next].window_us;
	r->labels.row = (*next)++;
	return true;
}

/* Makes each step for the row that is at it while row i is at the first one. */
static int make_steps(struct fold *f, const struct fold_input *fb, size_t i,
		      size_t n)
{
	int err = 0;

#define AT(step) (&f->row[(i - (step)*FOLD_APART) % FOLD_ROWS])
#define IS(step) (i - (step)*FOLD_APART < n) /* wraps before the first row */
	if (IS(0))
		labels_ask_strings(f->labels, AT(0)->labels.row);
	if (IS(1))
		labels_ask_values(f->labels, AT(1)->labels.row);
	if (IS(2))
		labels_ask_place(f->labels, &AT(2)->labels);
	if (IS(3))
		labels_ask_entry(f->labels, &AT(3)->labels);
	if (IS(4))
		err = find_slots(f, fb, AT(4));
	if (IS(5))
		keep_slots(f, fb, AT(5));
	if (IS(6))
		err |= ask_spans(f, AT(6));
	if (IS(7))
		err |= count_row(f, fb, AT(7));
#undef AT
#undef IS
	return err;
}

static int count_rows(struct fold *f, const struct fold_input *fb)
{
	size_t next = 0, n = 0, i = 0;
	int err = 0;

	while (!err &&
	       take_row(f, &next, fb->batch->series.n, &f->row[n % FOLD_ROWS]))
		err = make_steps(f, fb, i++, ++n);
	for (; !err && n && i < n + (FOLD_STEPS - 1) * FOLD_APART; i++)
		err = make_steps(f, fb, i, n);
	return err ? -ENOMEM : 0;
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

			if (f->measure[r->view[k]] != m)
				continue;
			err |= fold_own_span(f, &s->span);
			if (!err)
				err = fold_add(f, m, &s->span, cell,
					       h->count[i]);
		}
	}
	return err;
}

static int find_rollup(struct fold *f, const struct fold_input *fb, size_t i,
		       struct fold_row *r)
{
	int err;

	r->labels.row = fb->batch->rollups.series[i];
	r->window_us = f->now->rollup_window_us[i];
	labels_ask_place(f->labels, &r->labels);
	err = fold_find_row(f, fb, r);
	if (err < 0)
		return err;
	keep_slots(f, fb, r);
	return find_windows(f, r, r->window_us, r->window);
}

/*
 * Adds the histograms of the rollups. Their counts and sums are in the bins and
 * are added later, by count_rows(), so the slots do not have the batch's
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

		if (any)
			err = find_rollup(f, fb, i, r);
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
	int err;

	f->turn++;
	f->now = p;
	f->instance = NULL; /* windows may have been cleared */
	f->clamped += p->clamped;
	f->windows_on = fb->log_id > f->windows_loaded;
	err = labels_begin(f->labels, fb->batch);
	if (!err)
		err = fold_rollups(f, fb);
	if (!err)
		err = count_rows(f, fb);
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
