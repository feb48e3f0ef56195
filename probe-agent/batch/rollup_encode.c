/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/sums.h"
#include "probe-agent/batch/rollup_table.h"
#include "proto/buckets.h"
#include "proto/limits.h"

static int by_key(const void *a, const void *b)
{
	uint64_t x = ((const struct rollup_cell *)a)->key;
	uint64_t y = ((const struct rollup_cell *)b)->key;

	return (x > y) - (x < y);
}

/* The columns of the encoded rollup; out_free() frees them all. */
struct out {
	uint32_t *series, *buckets[HISTS];
	int64_t *window_delta_s;
	uint64_t *sums; /* columns: count, duration, request, response */
	int32_t *index; /* all three histograms, one after the other */
	uint64_t *count;
	struct rollup_cell *sorted;
	size_t n_entries[HISTS];
};

static int out_alloc(struct out *o, size_t rows, size_t cells)
{
	memset(o, 0, sizeof(*o));
	o->series = calloc(rows + 1, sizeof(*o->series));
	o->window_delta_s = calloc(rows + 1, sizeof(*o->window_delta_s));
	o->sums = calloc(4 * rows + 1, sizeof(*o->sums));
	o->index = calloc(cells + 1, sizeof(*o->index));
	o->count = calloc(cells + 1, sizeof(*o->count));
	o->sorted = calloc(cells + 1, sizeof(*o->sorted));
	o->buckets[0] = calloc(HISTS * rows + 1, sizeof(*o->buckets[0]));
	if (!o->buckets[0])
		return -ENOMEM;
	for (unsigned h = 1; h < HISTS; h++)
		o->buckets[h] = o->buckets[0] + h * rows;
	return !o->series || !o->window_delta_s || !o->sums || !o->index ||
			       !o->count || !o->sorted
		       ? -ENOMEM
		       : 0;
}

static void out_free(struct out *o)
{
	free(o->series);
	free(o->window_delta_s);
	free(o->sums);
	free(o->index);
	free(o->count);
	free(o->sorted);
	free(o->buckets[0]);
}

static void out_cells(struct out *o, const struct rollup_map *m)
{
	size_t n = 0, at = 0;

	for (size_t i = 0; i <= m->mask; i++)
		if (m->cell[i].count != 0)
			o->sorted[n++] = m->cell[i];
	qsort(o->sorted, n, sizeof(*o->sorted), by_key);
	for (unsigned h = 0; h < HISTS; h++) {
		size_t start = at;

		for (size_t i = 0; i < n; i++) {
			uint64_t key = o->sorted[i].key;

			if ((key >> KEY_HIST_SHIFT & 3) != h)
				continue;
			o->index[at] = (int32_t)(key & 0xfff) + BUCKET_ZERO;
			o->count[at++] = o->sorted[i].count;
			o->buckets[h][key >> KEY_ROW_SHIFT]++;
		}
		o->n_entries[h] = at - start;
	}
}

static void out_rows(struct out *o, const struct rollup *r, int64_t base_s)
{
	size_t n = r->n_rows;

	for (size_t i = 0; i < n; i++) {
		o->series[i] = r->row[i].series;
		o->window_delta_s[i] = r->row[i].window_s - base_s;
		o->sums[i] = r->row[i].count;
		o->sums[n + i] = r->row[i].duration_us;
		o->sums[2 * n + i] = r->row[i].request_bytes;
		o->sums[3 * n + i] = r->row[i].response_bytes;
	}
}

static struct batch_rollup_hist out_hist(const struct out *o,
					 enum rollup_hist h)
{
	size_t start = 0;

	for (unsigned i = 0; i < (unsigned)h; i++)
		start += o->n_entries[i];
	return (struct batch_rollup_hist){
		.buckets = o->buckets[h],
		.index = o->index + start,
		.count = o->count + start,
		.n_entries = o->n_entries[h],
	};
}

static bool over_limits(const struct rollup *r)
{
	uint64_t count = 0, duration_us = 0, request_bytes = 0,
		 response_bytes = 0;

	if (r->n_rows > LIMIT_ROLLUPS || r->cells.n > LIMIT_ROLLUP_BUCKETS ||
	    r->tables.n_strings > LIMIT_STRINGS ||
	    r->tables.resources.n > LIMIT_RESOURCES ||
	    r->tables.series.n > LIMIT_SERIES)
		return true;
	for (size_t i = 0; i < r->n_rows; i++) {
		const struct rollup_row *row = &r->row[i];

		count = sums_add(count, row->count);
		duration_us = sums_add(duration_us, row->duration_us);
		request_bytes = sums_add(request_bytes, row->request_bytes);
		response_bytes = sums_add(response_bytes, row->response_bytes);
	}
	return count >= LIMIT_ROLLUP_COUNT || duration_us >= LIMIT_ROLLUP_SUM ||
	       request_bytes >= LIMIT_ROLLUP_SUM ||
	       response_bytes >= LIMIT_ROLLUP_SUM;
}

int rollup_encode(struct rollup *r, const char *agent, uint64_t epoch,
		  uint64_t first, uint64_t last, void **data, size_t *len)
{
	int64_t base_s = r->n_rows > 0 ? r->row[0].window_s : 0;
	size_t n = r->n_rows;
	struct batch b = {
		.agent = agent,
		.epoch = epoch,
		.sequence = last,
		.first_sequence = first,
		.base_us = base_s * 1000000,
		.losses = r->losses,
		.info = r->info,
	};
	void *tables = NULL, *samples = NULL;
	bool whole;
	struct out o;
	int err;

	if (over_limits(r))
		return -EMSGSIZE;
	err = out_alloc(&o, n, r->cells.n);
	if (err)
		goto out;
	out_cells(&o, &r->cells);
	out_rows(&o, r, base_s);
	b.rollups = (struct batch_rollups){
		.n = n,
		.series = o.series,
		.window_delta_s = o.window_delta_s,
		.count = o.sums,
		.duration_sum_us = o.sums + n,
		.request_bytes_sum = o.sums + 2 * n,
		.response_bytes_sum = o.sums + 3 * n,
		.duration = out_hist(&o, HIST_DURATION),
		.request = out_hist(&o, HIST_REQUEST),
		.response = out_hist(&o, HIST_RESPONSE),
		.detail = BUCKET_DETAIL,
	};
	err = samples_table_fill(r->samples, &r->tables, &b.samples, &whole,
				 &samples);
	if (!err && !whole)
		err = -EMSGSIZE;
	if (!err)
		err = intern_tables(&r->tables, &b, &tables);
	if (!err)
		err = batch_encode(&b, data, len);
	free(tables);
	free(samples);
out:
	out_free(&o);
	return err;
}
