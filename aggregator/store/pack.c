/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/store/pack.h"

#include <errno.h>
#include <string.h>

#include "aggregator/store/durations.h"
#include "common/varint.h"

#define VERSION 1u

void pack_begin(struct pack_writer *w, struct buf *out)
{
	const uint8_t version = VERSION;

	*w = (struct pack_writer){ .out = out, .last = -1 };
	buf_append(out, &version, 1);
}

void pack_put(struct pack_writer *w, const struct pack_row *row)
{
	varint_put(w->out, (uint64_t)(row->key - w->last));
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

int pack_next(struct pack_reader *r, struct pack_row *row)
{
	struct varint_reader v = { .at = r->at, .end = r->end };
	uint64_t step;

	if (r->at == r->end)
		return 0;
	step = varint_get(&v);
	if (step == 0 || step > UINT32_MAX ||
	    r->last + (int64_t)step > UINT32_MAX)
		return -EUCLEAN;
	r->last += (int64_t)step;
	row->key = (uint32_t)r->last;
	row->count = varint_get(&v);
	row->errors = varint_get(&v);
	for (size_t i = 0; i < PACK_SUMS; i++)
		row->sum[i] = varint_get(&v);
	for (size_t i = 0; i < PACK_HISTS; i++)
		row->hist[i].len = varint_get(&v);
	for (size_t i = 0; i < PACK_HISTS && !v.bad; i++) {
		if (row->hist[i].len > (size_t)(v.end - v.at))
			return -EUCLEAN;
		row->hist[i].data = v.at;
		v.at += row->hist[i].len;
	}
	r->at = v.at;
	return v.bad ? -EUCLEAN : 1;
}

/* The sum of two rows of one key; the histograms are put into hist. */
static void put_sum(struct pack_writer *w, const struct pack_row *a,
		    const struct pack_row *b, struct buf *hist)
{
	struct pack_row sum = *a;
	size_t end[PACK_HISTS];

	sum.count += b->count;
	sum.errors += b->errors;
	for (size_t i = 0; i < PACK_SUMS; i++)
		sum.sum[i] += b->sum[i];
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
		sum.hist[i].data = (const uint8_t *)hist->data + from;
		sum.hist[i].len = end[i] - from;
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
