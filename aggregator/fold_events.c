/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/fold_state.h"

/*
 * The events of a batch, read once, in order, and put down bin after bin: so
 * that what a row adds to stays in the nearest cache while it is counted. In
 * the order of the batch, with a thousand series, each event would find its
 * histograms far away.
 */

static bool far_off(const struct fold *f, int64_t end_us, int64_t received_us)
{
	return (end_us > received_us &&
		(uint64_t)(end_us - received_us) > f->future_us) ||
	       (end_us < received_us &&
		(uint64_t)(received_us - end_us) > f->past_us);
}

/*
 * The row's bin for what ended then. Only its first and its newest are looked
 * at, since a batch seldom has more windows: one that goes to and fro between
 * many makes more bins than windows, but never more than events.
 */
static __attribute__((noinline)) uint32_t
find_bin(struct fold *f, uint32_t row, int64_t end_us, int64_t received_us)
{
	struct bin *first = &f->bin[row];
	int64_t window_us;

	if (end_us < 0)
		end_us = 0;
	if (far_off(f, end_us, received_us)) {
		f->clamped++;
		end_us = received_us;
	}
	window_us = end_us / WINDOW_US * WINDOW_US;
	if (first->window_us == INT64_MIN)
		first->window_us = window_us;
	if (first->window_us == window_us)
		return row;
	if (first->next && f->bin[first->next].window_us == window_us)
		return first->next;
	f->at[f->n_bins] = 0;
	f->bin[f->n_bins] =
		(struct bin){ .window_us = window_us, .next = first->next };
	first->next = (uint32_t)f->n_bins;
	return (uint32_t)f->n_bins++;
}

static inline bool in_bin(const struct bin *b, int64_t end_us)
{
	return (uint64_t)end_us - (uint64_t)b->window_us < (uint64_t)WINDOW_US;
}

static inline __attribute__((always_inline)) void
read_events(struct fold *f, const struct fold_batch *fb, bool wants_ttfb)
{
	const struct batch_events *ev = &fb->batch->events;
	int64_t start = fb->batch->base_us;

	for (size_t i = 0; i < ev->n; i++) {
		uint64_t duration = ev->duration_us[i];
		uint64_t request = ev->request_bytes[i];
		uint64_t response = ev->response_bytes[i];
		struct counted *c = &f->counted[i];
		uint32_t bin = ev->series[i];
		int64_t end;

		/* Hostile values may wrap: defined, and clamped later. */
		start = (int64_t)((uint64_t)start +
				  (uint64_t)ev->start_delta_us[i]);
		end = (int64_t)((uint64_t)start + duration);
		f->slowest->end_us[i] = end;
		if (__builtin_expect(!in_bin(&f->bin[bin], end), 0))
			bin = find_bin(f, bin, end, fb->received_us);
		f->bin_of[i] = bin;
		f->at[bin]++;
		f->bin[bin].tally.sum[MEASURE_DURATION] += duration;
		f->bin[bin].tally.sum[MEASURE_REQUEST_BYTES] += request;
		f->bin[bin].tally.sum[MEASURE_RESPONSE_BYTES] += response;
		c->cell[MEASURE_DURATION] =
			(uint16_t)cells_index(&f->seconds, duration);
		c->cell[MEASURE_REQUEST_BYTES] =
			(uint16_t)cells_index(&f->bytes, request);
		c->cell[MEASURE_RESPONSE_BYTES] =
			(uint16_t)cells_index(&f->bytes, response);
		c->slow = slowest_word(duration, i);
		if (wants_ttfb) {
			uint64_t tail = ev->tail_us[i];
			uint64_t ttfb =
				duration - (tail < duration ? tail : duration);

			f->bin[bin].tally.sum[MEASURE_TTFB] += ttfb;
			c->cell[MEASURE_TTFB] =
				(uint16_t)cells_index(&f->seconds, ttfb);
		}
	}
}

/* How many events each bin has becomes where they end in sorted. */
static void sort_events(struct fold *f, size_t n)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < f->n_bins; i++) {
		uint32_t events = f->at[i];

		f->bin[i].tally.count += events;
		f->at[i] = sum; /* the begin, until the events are there */
		sum += events;
	}
	for (size_t i = 0; i < n; i++)
		f->sorted[f->at[f->bin_of[i]]++] = f->counted[i];
}

/* Their histograms come later: see fold_rollups(). */
static void read_rollups(struct fold *f, const struct fold_batch *fb)
{
	const struct batch_rollups *ro = &fb->batch->rollups;

	for (size_t i = 0; i < ro->n; i++) {
		uint32_t bin = ro->series[i];
		struct tally *t;
		int64_t us =
			(int64_t)((uint64_t)fb->batch->base_us +
				  (uint64_t)ro->window_delta_s[i] * 1000000);

		if (ro->count[i] == 0)
			continue;
		if (!in_bin(&f->bin[bin], us))
			bin = find_bin(f, bin, us, fb->received_us);
		f->rollup_window_us[i] = f->bin[bin].window_us;
		t = &f->bin[bin].tally;
		t->count += ro->count[i];
		t->sum[MEASURE_DURATION] += ro->duration_sum_us[i];
		t->sum[MEASURE_REQUEST_BYTES] += ro->request_bytes_sum[i];
		t->sum[MEASURE_RESPONSE_BYTES] += ro->response_bytes_sum[i];
	}
}

static int grow(void *ref, size_t *cap, size_t n, size_t size)
{
	void *p;

	if (n <= *cap)
		return 0;
	p = malloc(n * size);
	if (!p)
		return -ENOMEM;
	free(*(void **)ref);
	*(void **)ref = p;
	*cap = n;
	return 0;
}

static int make_room(struct fold *f, const struct batch *b)
{
	size_t bins = b->series.n + b->events.n + b->rollups.n;
	int err = grow(&f->bin, &f->bin_cap, bins, sizeof(*f->bin));

	if (err == 0)
		err = grow(&f->at, &f->at_cap, bins, sizeof(*f->at));
	if (err == 0)
		err = grow(&f->rollup_window_us, &f->rollup_cap, b->rollups.n,
			   sizeof(*f->rollup_window_us));
	return err;
}

int fold_sort(struct fold *f, const struct fold_batch *fb)
{
	const struct batch *b = fb->batch;
	int err = make_room(f, b);

	if (err < 0)
		return err;
	f->n_bins = b->series.n;
	for (size_t i = 0; i < f->n_bins; i++)
		f->bin[i] = (struct bin){ .window_us = INT64_MIN };
	if (f->n_bins)
		memset(f->at, 0, f->n_bins * sizeof(*f->at));
	if (f->wants_ttfb)
		read_events(f, fb, true);
	else
		read_events(f, fb, false);
	read_rollups(f, fb);
	sort_events(f, b->events.n);
	return 0;
}
