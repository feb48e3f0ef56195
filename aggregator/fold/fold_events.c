/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/fold/fold_state.h"
#include "proto/limits.h"

/*
 * Reads the events of a batch once, in order, right after they are decoded and
 * while their columns are in the nearest caches. Of each event 8 bytes are
 * kept, sorted by bin, so that the histograms of a row stay in the cache while
 * its events are counted. In the order of the batch, with a thousand series,
 * each event would miss the cache.
 */

int fold_bins_init(struct fold_bins *b)
{
	b->of = malloc(LIMIT_EVENTS * sizeof(*b->of));
	b->counted = calloc(LIMIT_EVENTS, sizeof(*b->counted));
	b->sorted = malloc(LIMIT_EVENTS * sizeof(*b->sorted));
	b->end_us = malloc(LIMIT_EVENTS * sizeof(*b->end_us));
	return b->of && b->counted && b->sorted && b->end_us ? 0 : -ENOMEM;
}

void fold_bins_fini(struct fold_bins *b)
{
	free(b->window_us);
	free(b->best);
	free(b->groups);
	free(b->of);
	free(b->counted);
	free(b->sorted);
	free(b->end_us);
}

/* Makes room for n bins: one allocation, divided into the arrays. */
static int make_room(struct fold_bins *b, size_t n)
{
	const size_t each = sizeof(*b->window_us) + sizeof(*b->next) +
			    sizeof(*b->events) + sizeof(*b->rolled) +
			    MEASURES * sizeof(*b->sum[0]);
	void *p;

	if (n <= b->cap)
		return 0;
	p = malloc(n * each);
	if (!p)
		return -ENOMEM;
	free(b->window_us);
	b->cap = n;
	b->window_us = p;
	b->rolled = (uint64_t *)(b->window_us + n);
	b->sum[0] = b->rolled + n;
	for (unsigned m = 1; m < MEASURES; m++)
		b->sum[m] = b->sum[m - 1] + n;
	b->next = (uint32_t *)(b->sum[MEASURES - 1] + n);
	b->events = b->next + n;
	return 0;
}

static int make_zeros(uint64_t **words, size_t *cap, size_t n)
{
	uint64_t *p;

	if (n <= *cap)
		return 0;
	p = calloc(n, sizeof(*p));
	if (!p)
		return -ENOMEM;
	free(*words);
	*words = p;
	*cap = n;
	return 0;
}

/* Room in best[] and groups[], which are all zero between two batches. */
static int make_best(struct fold_bins *b, size_t rows, size_t n_groups)
{
	int err = make_zeros(&b->best, &b->best_cap, rows * n_groups);

	return err ? err : make_zeros(&b->groups, &b->groups_cap, rows);
}

static void begin_bin(struct fold_bins *b, size_t i, int64_t window_us,
		      uint32_t next)
{
	b->window_us[i] = window_us;
	b->next[i] = next;
	b->events[i] = 0;
	b->rolled[i] = 0;
	for (unsigned m = 0; m < MEASURES; m++)
		b->sum[m][i] = 0;
}

/* --- which bin --- */

static bool far_off(const struct fold *f, int64_t end_us, int64_t received_us)
{
	return (end_us > received_us &&
		(uint64_t)(end_us - received_us) > f->future_us) ||
	       (end_us < received_us &&
		(uint64_t)(received_us - end_us) > f->past_us);
}

/*
 * Returns the bin of the row for an event that ended at end_us. Compares only
 * with the first and the newest bin of the row, as few batches span more
 * windows. One that alternates between many windows gets more bins than
 * windows, but never more than events.
 */
static __attribute__((noinline)) uint32_t find_bin(struct fold *f,
						   struct fold_prepared *p,
						   uint32_t row, int64_t end_us,
						   int64_t received_us)
{
	struct fold_bins *b = &f->bins;
	int64_t window_us;

	if (end_us < 0)
		end_us = 0;
	if (far_off(f, end_us, received_us)) {
		p->clamped++;
		end_us = received_us;
	}
	window_us = end_us / WINDOW_US * WINDOW_US;
	if (b->window_us[row] == INT64_MIN)
		b->window_us[row] = window_us;
	if (b->window_us[row] == window_us)
		return row;
	if (b->next[row] && b->window_us[b->next[row]] == window_us)
		return b->next[row];
	begin_bin(b, b->n, window_us, b->next[row]);
	b->next[row] = (uint32_t)b->n;
	return (uint32_t)b->n++;
}

int64_t fold_window_s(const struct fold *f, int64_t end_us, int64_t received_us)
{
	return window_start_s(end_us, received_us, f->future_us, f->past_us);
}

static inline bool in_window(int64_t window_us, int64_t end_us)
{
	return (uint64_t)end_us - (uint64_t)window_us < (uint64_t)WINDOW_US;
}

/* Computes the end of each event, and from it the bin. */
static void read_times(struct fold *f, const struct batch *batch,
		       int64_t received_us, struct fold_prepared *p)
{
	const struct batch_events *ev = &batch->events;
	const uint32_t *series = ev->series;
	const uint64_t *duration = ev->duration_us;
	const int64_t *delta = ev->start_delta_us;
	const int64_t *window_us = f->bins.window_us;
	uint32_t *of = f->bins.of, *events = f->bins.events;
	int64_t *end_us = f->bins.end_us;
	uint64_t start = (uint64_t)batch->base_us;

	for (size_t i = 0, n = ev->n; i < n; i++) {
		uint32_t bin = series[i];
		int64_t end;

		/*
		 * Hostile values may wrap: that is defined, and clamped later.
		 */
		start += (uint64_t)delta[i];
		end = (int64_t)(start + duration[i]);
		end_us[i] = end;
		if (__builtin_expect(!in_window(window_us[bin], end), 0))
			bin = find_bin(f, p, bin, end, received_us);
		of[i] = bin;
		events[bin]++;
	}
}

/* --- values --- */

static_assert(LIMIT_DURATION_US <= UINT64_C(1) << CELLS_EXACT_BITS &&
		      LIMIT_BODY_BYTES <= UINT64_C(1) << CELLS_EXACT_BITS,
	      "values of events are exact as doubles");

static void read_values(const struct fold_bins *b, enum fold_measure m,
			const struct cells *cells, const uint64_t *value,
			size_t n)
{
	struct fold_counted *counted = b->counted;
	const uint32_t *of = b->of;
	uint64_t *sum = b->sum[m];

	for (size_t i = 0; i < n; i++) {
		uint64_t v = value[i];

		counted[i].cell[m] = (uint16_t)cells_index_exact(cells, v);
		sum[of[i]] += v;
	}
}

static void read_ttfb(const struct fold *f, const struct batch_events *ev)
{
	const struct fold_bins *b = &f->bins;

	for (size_t i = 0; i < ev->n; i++) {
		uint64_t v = ev->duration_us[i] - ev->tail_us[i];

		b->counted[i].cell[MEASURE_TTFB] =
			(uint16_t)cells_index_exact(&f->seconds, v);
		b->sum[MEASURE_TTFB][b->of[i]] += v;
	}
}

/* Notes the greatest duration per row and group. */
static void note_slowest(const struct fold *f, const struct batch_events *ev)
{
	const struct fold_counted *counted = f->bins.counted;
	const uint8_t *group = f->slowest->group;
	const uint32_t *series = ev->series;
	const uint64_t *duration = ev->duration_us;
	uint64_t *best = f->bins.best, *groups = f->bins.groups;
	size_t n_groups = f->slowest->n_groups;

	for (size_t i = 0, n = ev->n; i < n; i++) {
		uint64_t word = slowest_word(duration[i], i);
		uint8_t g = group[counted[i].cell[MEASURE_DURATION]];
		uint64_t *b = &best[series[i] * n_groups + g];

		if (__builtin_expect(word > *b, 0)) {
			*b = word;
			groups[series[i]] |= UINT64_C(1) << g;
		}
	}
}

/* Adds counts and sums to the bins; for histograms see fold_rollups(). */
static void read_rollups(struct fold *f, const struct batch *batch,
			 int64_t received_us, struct fold_prepared *p)
{
	const struct batch_rollups *ro = &batch->rollups;
	struct fold_bins *b = &f->bins;

	for (size_t i = 0; i < ro->n; i++) {
		uint32_t bin = ro->series[i];
		int64_t us =
			(int64_t)((uint64_t)batch->base_us +
				  (uint64_t)ro->window_delta_s[i] * 1000000);

		if (ro->count[i] == 0)
			continue;
		if (!in_window(b->window_us[bin], us))
			bin = find_bin(f, p, bin, us, received_us);
		p->rollup_window_us[i] = b->window_us[bin];
		b->rolled[bin] += ro->count[i];
		b->sum[MEASURE_DURATION][bin] += ro->duration_sum_us[i];
		b->sum[MEASURE_REQUEST_BYTES][bin] += ro->request_bytes_sum[i];
		b->sum[MEASURE_RESPONSE_BYTES][bin] +=
			ro->response_bytes_sum[i];
	}
}

/* --- what is kept --- */

/* Turns the number of events per bin into their places in counted[]. */
static void keep_bins(struct fold_bins *b, struct fold_prepared *p)
{
	uint32_t at = 0;

	p->n_bins = b->n;
	for (size_t i = 0; i < b->n; i++) {
		struct fold_bin *out = &p->bin[i];
		uint32_t events = b->events[i];

		out->window_us = b->window_us[i];
		out->next = b->next[i];
		out->best = out->n_best = 0;
		out->tally.count = events + b->rolled[i];
		for (unsigned m = 0; m < MEASURES; m++)
			out->tally.sum[m] = b->sum[m][i];
		b->events[i] = out->begin = at;
		out->end = at += events;
	}
}

/*
 * Sorts the events by bin into a buffer that stays in the cache, as the bins
 * are far apart, and then copies them out: they are not read until the commit.
 */
static void keep_counted(const struct fold_bins *b, size_t n,
			 struct fold_counted *out)
{
	const struct fold_counted *counted = b->counted;
	struct fold_counted *sorted = b->sorted;
	const uint32_t *of = b->of;
	uint32_t *at = b->events;

	for (size_t i = 0; i < n; i++)
		sorted[at[of[i]]++] = counted[i];
	memcpy(out, sorted, n * sizeof(*out));
}

/* Returns the number kept, and clears best[] for the next batch. */
static size_t keep_slowest(const struct fold *f, size_t rows,
			   struct fold_prepared *p)
{
	size_t n_groups = f->slowest->n_groups, n = 0;

	for (size_t i = 0; i < rows; i++) {
		uint64_t *best = f->bins.best + i * n_groups;
		uint64_t left = f->bins.groups[i];

		p->bin[i].best = (uint32_t)n;
		for (; left; left &= left - 1) {
			unsigned g = (unsigned)__builtin_ctzll(left);

			p->best[n++] = slowest_pick(g, best[g], f->bins.end_us);
			best[g] = 0;
		}
		f->bins.groups[i] = 0;
		p->bin[i].n_best = (uint32_t)n - p->bin[i].best;
	}
	return n;
}

static int keep_traces(struct fold *f, const struct batch_events *ev,
		       struct fold_prepared *p)
{
	uint32_t *event, at = 0;

	if (!ev->n_traced || !f->exemplars)
		return 0;
	event = pool_take(&f->pool, ev->n_traced * sizeof(*event));
	if (!event)
		return -ENOMEM;
	for (size_t i = 0; i < ev->n_traced; i++)
		event[i] = at += ev->traced[i];
	p->traces = (struct slowest_traces){ .event = event,
					     .n = ev->n_traced,
					     .ids = ev->trace_ids };
	return 0;
}

static int keep(struct fold *f, const struct batch *batch,
		struct fold_prepared *p)
{
	size_t n = batch->events.n, rows = batch->series.n, most;

	p->bin = pool_take(&f->pool, f->bins.n * sizeof(*p->bin));
	p->counted = pool_take(&f->pool, n * sizeof(*p->counted));
	if (!p->bin || !p->counted || keep_traces(f, &batch->events, p) < 0)
		return -ENOMEM;
	keep_bins(&f->bins, p);
	keep_counted(&f->bins, n, p->counted);
	if (!f->exemplars)
		return 0;
	most = rows * f->slowest->n_groups;
	p->best = pool_take(&f->pool, (n < most ? n : most) * sizeof(*p->best));
	if (!p->best)
		return -ENOMEM;
	pool_shrink(&f->pool, p->best,
		    keep_slowest(f, rows, p) * sizeof(*p->best));
	return 0;
}

static int make_all_room(struct fold *f, const struct batch *b,
			 struct fold_prepared *p)
{
	size_t bins = b->series.n + b->events.n + b->rollups.n;
	int err = make_room(&f->bins, bins);

	if (!err && f->exemplars)
		err = make_best(&f->bins, b->series.n, f->slowest->n_groups);
	p->rollup_window_us =
		pool_take(&f->pool, b->rollups.n * sizeof(int64_t));
	return p->rollup_window_us ? err : -ENOMEM;
}

int fold_prepare(struct fold *f, const struct batch *b, int64_t received_us,
		 const struct fold_prepared **out)
{
	const struct batch_events *ev = &b->events;
	struct fold_prepared *p = pool_take(&f->pool, sizeof(*p));

	if (!p)
		return -ENOMEM;
	memset(p, 0, sizeof(*p));
	if (make_all_room(f, b, p) < 0)
		return -ENOMEM;
	f->bins.n = b->series.n;
	for (size_t i = 0; i < b->series.n; i++)
		begin_bin(&f->bins, i, INT64_MIN, 0);
	read_times(f, b, received_us, p);
	read_values(&f->bins, MEASURE_DURATION, &f->seconds, ev->duration_us,
		    ev->n);
	read_values(&f->bins, MEASURE_REQUEST_BYTES, &f->bytes,
		    ev->request_bytes, ev->n);
	read_values(&f->bins, MEASURE_RESPONSE_BYTES, &f->bytes,
		    ev->response_bytes, ev->n);
	if (f->wants_ttfb)
		read_ttfb(f, ev);
	if (f->exemplars)
		note_slowest(f, ev);
	read_rollups(f, b, received_us, p);
	*out = p;
	if (keep(f, b, p) == 0)
		return 0;
	if (f->exemplars) {
		memset(f->bins.best, 0,
		       b->series.n * f->slowest->n_groups *
			       sizeof(*f->bins.best));
		memset(f->bins.groups, 0,
		       b->series.n * sizeof(*f->bins.groups));
	}
	return -ENOMEM;
}

void fold_prepared_range(const struct fold_prepared *p, int64_t *first_s,
			 int64_t *last_s)
{
	*first_s = *last_s = -1;
	for (size_t i = 0; p && i < p->n_bins; i++) {
		int64_t at = p->bin[i].window_us / 1000000;

		if (p->bin[i].window_us == INT64_MIN)
			continue;
		if (*first_s < 0 || at < *first_s)
			*first_s = at;
		if (at > *last_s)
			*last_s = at;
	}
}

void fold_forget(struct fold *f)
{
	pool_reset(&f->pool);
}
