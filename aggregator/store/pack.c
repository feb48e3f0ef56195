/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/store/pack.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "aggregator/store/durations.h"
#include "common/sums.h"
#include "common/varint.h"

#define VERSION 1u

void pack_begin(struct pack_writer *w, struct buf *out)
{
	const uint8_t version = VERSION;

	*w = (struct pack_writer){ .out = out, .last = -1 };
	buf_append(out, &version, 1);
}

static size_t varint_bytes(uint64_t v)
{
	return (size_t)(64 - __builtin_clzll(v | 1) + 6) / 7;
}

static size_t row_bytes(const struct pack_row *row)
{
	size_t n = varint_bytes(row->count) + varint_bytes(row->errors);

	for (size_t i = 0; i < PACK_SUMS; i++)
		n += varint_bytes(row->sum[i]);
	for (size_t i = 0; i < PACK_HISTS; i++)
		n += varint_bytes(row->hist[i].len) + row->hist[i].len;
	return n;
}

void pack_put(struct pack_writer *w, const struct pack_row *row)
{
	varint_put(w->out, (uint64_t)(row->key - w->last));
	varint_put(w->out, row_bytes(row));
	varint_put(w->out, row->count);
	varint_put(w->out, row->errors);
	for (size_t i = 0; i < PACK_SUMS; i++)
		varint_put(w->out, row->sum[i]);
	for (size_t i = 0; i < PACK_HISTS; i++)
		varint_put(w->out, row->hist[i].len);
	for (size_t i = 0; i < PACK_HISTS; i++)
		if (row->hist[i].len)
			buf_append(w->out, row->hist[i].data, row->hist[i].len);
	w->last = row->key;
	w->rows++;
}

int pack_open(struct pack_reader *r, const void *data, size_t len)
{
	*r = (struct pack_reader){ .at = data, .last = -1 };
	if (!data || len == 0 || *r->at++ != VERSION)
		return -EUCLEAN;
	r->end = (const uint8_t *)data + len;
	return 0;
}

static bool is_wanted(const struct pack_reader *r)
{
	const struct pack_wanted *w = r->wanted;

	return !w || (r->last < w->n && w->of[r->last] != PACK_UNWANTED);
}

/* Moves to the next wanted row; *len is that of its body. */
static int next_body(struct pack_reader *r, uint64_t *len)
{
	struct varint_reader v = { .at = r->at, .end = r->end };

	while (v.at < v.end) {
		uint64_t step = varint_get(&v);

		*len = varint_get(&v);
		if (v.bad || step == 0 || step > UINT32_MAX ||
		    r->last + (int64_t)step > UINT32_MAX ||
		    *len > (size_t)(v.end - v.at))
			return -EUCLEAN;
		r->last += (int64_t)step;
		r->at = v.at;
		if (is_wanted(r))
			return 1;
		r->at = v.at += *len;
	}
	return 0;
}

/* A sum that is greater than any written marks the pack as damaged. */
static uint64_t read_sum(struct varint_reader *v)
{
	uint64_t sum = varint_get(v);

	v->bad |= sum > SUMS_MAX;
	return sum;
}

int pack_next(struct pack_reader *r, struct pack_row *row)
{
	struct varint_reader v;
	uint64_t len;
	int n = next_body(r, &len);

	if (n <= 0)
		return n;
	v = (struct varint_reader){ .at = r->at, .end = r->at + len };
	r->at += len;
	row->key = (uint32_t)r->last;
	row->count = read_sum(&v);
	row->errors = read_sum(&v);
	for (size_t i = 0; i < PACK_SUMS; i++)
		row->sum[i] = read_sum(&v);
	for (size_t i = 0; i < PACK_HISTS; i++)
		row->hist[i].len = varint_get(&v);
	for (size_t i = 0; i < PACK_HISTS && !v.bad; i++) {
		if (row->hist[i].len > (size_t)(v.end - v.at))
			return -EUCLEAN;
		row->hist[i].data = v.at;
		v.at += row->hist[i].len;
	}
	return v.bad || v.at != v.end ? -EUCLEAN : 1;
}

/* The sum of two rows of one key; the histograms are put into hist. */
static void put_sum(struct pack_writer *w, const struct pack_row *a,
		    const struct pack_row *b, struct buf *hist)
{
	struct pack_row sum = *a;
	size_t end[PACK_HISTS];

	sum.count = sums_add(sum.count, b->count);
	sum.errors = sums_add(sum.errors, b->errors);
	for (size_t i = 0; i < PACK_SUMS; i++)
		sum.sum[i] = sums_add(sum.sum[i], b->sum[i]);
	buf_reset(hist);
	for (size_t i = 0; i < PACK_HISTS; i++) {
		if (a->hist[i].len && b->hist[i].len)
			durations_add(hist, a->hist[i].data, a->hist[i].len,
				      b->hist[i].data, b->hist[i].len);
		end[i] = hist->len;
	}
	if (hist->err) {
		w->out->err = hist->err;
		return;
	}
	for (size_t i = 0; i < PACK_HISTS; i++) {
		size_t from = i ? end[i - 1] : 0;

		if (!a->hist[i].len)
			sum.hist[i] = b->hist[i];
		if (!a->hist[i].len || !b->hist[i].len)
			continue;
		sum.hist[i].len = end[i] - from;
		if (sum.hist[i].len)
			sum.hist[i].data = (const uint8_t *)hist->data + from;
	}
	pack_put(w, &sum);
}

int64_t pack_merge(struct buf *out, const void *a, size_t a_len, const void *b,
		   size_t b_len)
{
	struct pack_reader ra, rb;
	struct pack_row x, y;
	struct pack_writer w;
	struct buf hist = { 0 };
	int err = pack_open(&ra, a, a_len), have_x, have_y;

	if (!err)
		err = pack_open(&rb, b, b_len);
	if (err < 0)
		return err;
	pack_begin(&w, out);
	have_x = pack_next(&ra, &x);
	have_y = pack_next(&rb, &y);
	while (have_x > 0 || have_y > 0) {
		bool first = have_x > 0 && (have_y <= 0 || x.key <= y.key);
		bool second = have_y > 0 && (have_x <= 0 || y.key <= x.key);

		if (have_x < 0 || have_y < 0)
			break;
		if (first && second)
			put_sum(&w, &x, &y, &hist);
		else
			pack_put(&w, first ? &x : &y);
		if (first)
			have_x = pack_next(&ra, &x);
		if (second)
			have_y = pack_next(&rb, &y);
	}
	buf_fini(&hist);
	if (have_x < 0 || have_y < 0)
		return -EUCLEAN;
	return out->err ? out->err : (int64_t)w.rows;
}
