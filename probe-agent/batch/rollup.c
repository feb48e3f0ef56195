/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/batch/rollup.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/sums.h"
#include "probe-agent/batch/rollup_table.h"
#include "proto/buckets.h"
#include "proto/limits.h"

#define WINDOW_US ((int64_t)WINDOW_SECONDS * 1000000)
#define CELLS_START 4096u

static int map_init(struct rollup_map *m)
{
	m->cell = calloc(CELLS_START, sizeof(*m->cell));
	m->mask = CELLS_START - 1;
	m->n = 0;
	return m->cell ? 0 : -ENOMEM;
}

static struct rollup_cell *map_find(const struct rollup_map *m, uint64_t key)
{
	size_t i = intern_mix(key, 0) & m->mask;

	while (m->cell[i].count != 0 && m->cell[i].key != key)
		i = (i + 1) & m->mask;
	return &m->cell[i];
}

/*
 * Returns the cell of a key. A new one has count 0, which the caller must
 * change. NULL: out of memory.
 */
static struct rollup_cell *map_get(struct rollup_map *m, uint64_t key)
{
	struct rollup_cell *c = map_find(m, key);
	struct rollup_map bigger;

	if (c->count != 0)
		return c;
	if ((m->n + 1) * 2 > m->mask + 1) {
		bigger.mask = m->mask * 2 + 1;
		bigger.cell = calloc(bigger.mask + 1, sizeof(*c));
		if (!bigger.cell)
			return NULL;
		for (size_t i = 0; i <= m->mask; i++)
			if (m->cell[i].count != 0)
				*map_find(&bigger, m->cell[i].key) = m->cell[i];
		free(m->cell);
		m->cell = bigger.cell;
		m->mask = bigger.mask;
		c = map_find(m, key);
	}
	m->n++;
	c->key = key;
	return c;
}

static void map_reset(struct rollup_map *m)
{
	memset(m->cell, 0, (m->mask + 1) * sizeof(*m->cell));
	m->n = 0;
}

int rollup_new(struct rollup **out)
{
	struct rollup *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	if (samples_table_new(&r->samples) != 0 ||
	    intern_init(&r->tables) != 0 || map_init(&r->cells) != 0 ||
	    map_init(&r->rows) != 0) {
		rollup_free(r);
		return -ENOMEM;
	}
	*out = r;
	return 0;
}

void rollup_free(struct rollup *r)
{
	if (!r)
		return;
	intern_fini(&r->tables);
	samples_table_free(r->samples);
	batch_info_free(&r->info);
	free(r->cells.cell);
	free(r->rows.cell);
	free(r->row);
	free(r->series);
	free(r->last_row);
	free(r->last_window_s);
	free(r);
}

void rollup_reset(struct rollup *r)
{
	intern_reset(&r->tables);
	samples_table_reset(r->samples);
	batch_info_free(&r->info);
	map_reset(&r->cells);
	map_reset(&r->rows);
	memset(&r->losses, 0, sizeof(r->losses));
	r->n_rows = 0;
	r->events = 0;
}

uint64_t rollup_events(const struct rollup *r)
{
	return r->events;
}

/* --- from the batch's numbers to ours --- */

static int begin_batch(struct rollup *r, const struct batch *b)
{
	size_t n = b->series.n;

	if (n > r->cap_series) {
		free(r->series);
		free(r->last_row);
		free(r->last_window_s);
		r->series = malloc(n * sizeof(*r->series));
		r->last_row = malloc(n * sizeof(*r->last_row));
		r->last_window_s = malloc(n * sizeof(*r->last_window_s));
		r->cap_series = n;
		if (!r->series || !r->last_row || !r->last_window_s) {
			r->cap_series = 0;
			return -ENOMEM;
		}
	}
	for (size_t i = 0; i < n; i++) {
		r->series[i] = UINT32_MAX;
		r->last_window_s[i] = INT64_MIN;
	}
	return 0;
}

static int64_t row_new(struct rollup *r, uint32_t series, int64_t window_s)
{
	if (r->n_rows == r->cap_rows) {
		size_t cap = r->cap_rows > 0 ? r->cap_rows * 2 : 256;
		struct rollup_row *p = reallocarray(r->row, cap, sizeof(*p));

		if (!p)
			return -ENOMEM;
		r->row = p;
		r->cap_rows = cap;
	}
	r->row[r->n_rows] =
		(struct rollup_row){ .series = series, .window_s = window_s };
	return (int64_t)r->n_rows++;
}

/*
 * Returns the row of the batch's series i in a window, added if it is new.
 * Remembers the last row of each series. -ENOMEM.
 */
static int64_t row_id(struct rollup *r, const struct batch *b, uint32_t i,
		      int64_t window_s)
{
	struct rollup_cell *c;
	int64_t id;

	if (r->last_window_s[i] == window_s)
		return r->last_row[i];
	if (r->series[i] == UINT32_MAX) {
		id = intern_batch_series(&r->tables, b, i);
		if (id < 0)
			return id;
		r->series[i] = (uint32_t)id;
	}
	/* A window's number fits in 32 bits: below 2^34 s in steps of 10. */
	c = map_get(&r->rows, (uint64_t)r->series[i] << 32 |
				      (uint64_t)window_s / WINDOW_SECONDS);
	if (!c)
		return -ENOMEM;
	if (c->count == 0) {
		id = row_new(r, r->series[i], window_s);
		if (id < 0) {
			c->count = 1; /* not read again before a reset */
			return id;
		}
		c->count = (uint64_t)id + 1;
	}
	r->last_row[i] = (uint32_t)(c->count - 1);
	r->last_window_s[i] = window_s;
	return (int64_t)(c->count - 1);
}

static int count_bucket(struct rollup *r, size_t row, enum rollup_hist h,
			int bucket, uint64_t n)
{
	uint64_t key = (uint64_t)row << KEY_ROW_SHIFT |
		       (uint64_t)h << KEY_HIST_SHIFT |
		       (uint64_t)(bucket - BUCKET_ZERO);
	struct rollup_cell *c;

	if (n == 0)
		return 0;
	c = map_get(&r->cells, key);
	if (!c)
		return -ENOMEM;
	c->count += n;
	return 0;
}

static int add_events(struct rollup *r, const struct batch *b)
{
	const struct batch_events *e = &b->events;
	int64_t start_us = b->base_us;
	int err = 0;

	for (size_t i = 0; i < e->n && !err; i++) {
		int64_t end_us, id;
		struct rollup_row *row;

		start_us += e->start_delta_us[i];
		end_us = start_us + (int64_t)e->duration_us[i];
		id = row_id(r, b, e->series[i],
			    end_us / WINDOW_US * WINDOW_SECONDS);
		if (id < 0)
			return -ENOMEM;
		row = &r->row[id];
		row->count++;
		row->duration_us += e->duration_us[i];
		row->request_bytes += e->request_bytes[i];
		row->response_bytes += e->response_bytes[i];
		err |= count_bucket(r, (size_t)id, HIST_DURATION,
				    bucket_seconds(e->duration_us[i]), 1);
		err |= count_bucket(r, (size_t)id, HIST_REQUEST,
				    bucket_bytes(e->request_bytes[i]), 1);
		err |= count_bucket(r, (size_t)id, HIST_RESPONSE,
				    bucket_bytes(e->response_bytes[i]), 1);
	}
	r->events += e->n;
	return err;
}

static int add_hist(struct rollup *r, size_t row, enum rollup_hist h,
		    const struct batch_rollup_hist *in, uint32_t buckets,
		    size_t *at)
{
	for (uint32_t k = 0; k < buckets; k++, (*at)++)
		if (count_bucket(r, row, h, in->index[*at], in->count[*at]) !=
		    0)
			return -ENOMEM;
	return 0;
}

static int add_rollups(struct rollup *r, const struct batch *b)
{
	const struct batch_rollups *in = &b->rollups;
	size_t at[HISTS] = { 0 };
	int err = 0;

	for (size_t i = 0; i < in->n && !err; i++) {
		int64_t window_s = b->base_us / 1000000 + in->window_delta_s[i];
		int64_t id = row_id(r, b, in->series[i], window_s);
		struct rollup_row *row;

		if (id < 0)
			return -ENOMEM;
		row = &r->row[id];
		row->count = sums_add(row->count, in->count[i]);
		row->duration_us =
			sums_add(row->duration_us, in->duration_sum_us[i]);
		row->request_bytes =
			sums_add(row->request_bytes, in->request_bytes_sum[i]);
		row->response_bytes = sums_add(row->response_bytes,
					       in->response_bytes_sum[i]);
		r->events += in->count[i];
		err |= add_hist(r, (size_t)id, HIST_DURATION, &in->duration,
				in->duration.buckets[i], &at[HIST_DURATION]);
		err |= add_hist(r, (size_t)id, HIST_REQUEST, &in->request,
				in->request.buckets[i], &at[HIST_REQUEST]);
		err |= add_hist(r, (size_t)id, HIST_RESPONSE, &in->response,
				in->response.buckets[i], &at[HIST_RESPONSE]);
	}
	return err;
}

int rollup_add(struct rollup *r, const struct batch *b)
{
	int err = begin_batch(r, b);

	if (!err)
		err = add_events(r, b);
	if (!err)
		err = add_rollups(r, b);
	if (!err)
		err = samples_table_merge(r->samples, b, SAMPLES_TOTALS_LATEST);
	if (err)
		return err;
	r->losses = b->losses;
	if (b->info.version[0] == '\0' && b->info.n_probes == 0)
		return 0;
	batch_info_free(&r->info);
	return batch_info_copy(&r->info, &b->info);
}
