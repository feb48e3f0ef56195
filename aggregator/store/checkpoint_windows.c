/* SPDX-License-Identifier: Apache-2.0 */
/* Windows to the store; from it their label sets, and how far they go. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/store/checkpoint_state.h"
#include "aggregator/store/durations.h"
#include "common/varint.h"

#define KEYS_MISSING_MAX 1000u /* more: the store is set aside */

/* --- writing --- */

static int put_window_keys(struct checkpoint *c, enum window_kind kind)
{
	const struct series *s = fold_window_series(c->fold, kind);
	int err = 0;

	for (uint32_t i = c->keys_stored[kind]; i < s->n && !err; i++) {
		const struct interned *const *label = series_labels(s, i);
		const char *value[STORE_WINDOW_LABELS] = { NULL };

		static_assert(STORE_WINDOW_LABELS == FOLD_WINDOW_LABELS,
			      "the store has a column for each label");
		for (size_t k = 0; k < s->n_keys; k++)
			value[k] = label[k] ? label[k]->text : NULL;
		err = store_put_window_key(c->store, kind, i, value);
	}
	c->next_keys[kind] = s->n;
	return err;
}

static size_t native_buckets(const struct cells *cells, const struct span *s,
			     struct store_bucket out[DURATIONS_MAX])
{
	size_t n = 0;

	for (unsigned i = 0; s && i < s->n; i++) {
		unsigned cell = s->first + i;
		int native = cell == 0 ? BUCKET_ZERO : cells->native[cell];

		if (s->count[i] == 0)
			continue;
		if (n == 0 || out[n - 1].native != native) {
			out[n].native = native;
			out[n++].count = 0;
		}
		out[n - 1].count += s->count[i];
	}
	return n;
}

static int compare_deltas(const void *pa, const void *pb)
{
	const struct window_delta *a = *(struct window_delta *const *)pa;
	const struct window_delta *b = *(struct window_delta *const *)pb;

	if (a->start_s != b->start_s)
		return a->start_s < b->start_s ? -1 : 1;
	return a->key < b->key ? -1 : a->key > b->key;
}

/* All deltas of a kind by start and key, in c->sorted. */
static int sort_deltas(struct checkpoint *c, struct windows *w)
{
	size_t n = windows_count(w);

	if (n > c->sorted_cap) {
		free(c->sorted);
		c->sorted = malloc(n * sizeof(struct window_delta *));
		c->sorted_cap = c->sorted ? n : 0;
		if (!c->sorted)
			return -ENOMEM;
	}
	for (size_t i = 0; i < n; i++)
		c->sorted[i] = windows_at(w, i);
	if (n > 0)
		qsort(c->sorted, n, sizeof(struct window_delta *),
		      compare_deltas);
	return 0;
}

static void pack_delta(struct checkpoint *c, struct pack_writer *w,
		       const struct window_delta *d)
{
	const struct cells *cells = fold_duration_cells(c->fold);
	struct store_bucket bucket[DURATIONS_MAX];
	struct pack_row row = { .key = d->key,
				.count = d->count,
				.errors = d->errors };
	size_t end[WINDOW_VALUES];

	static_assert(WINDOW_VALUES == PACK_SUMS && WINDOW_VALUES == PACK_HISTS,
		      "a row has room for what a window counts");
	buf_reset(&c->state);
	for (unsigned i = 0; i < WINDOW_VALUES; i++) {
		row.sum[i] = d->sum[i];
		durations_encode(&c->state, bucket,
				 native_buckets(cells, d->span[i], bucket));
		end[i] = c->state.len;
	}
	for (unsigned i = 0; i < WINDOW_VALUES && !c->state.err; i++) {
		size_t from = i ? end[i - 1] : 0;

		row.hist[i].len = end[i] - from;
		if (row.hist[i].len)
			row.hist[i].data =
				(const uint8_t *)c->state.data + from;
	}
	pack_put(w, &row);
}

static int put_kind(struct checkpoint *c, enum window_kind kind)
{
	struct windows *w = fold_windows(c->fold, kind);
	size_t n = windows_count(w);
	int err = put_window_keys(c, kind);

	if (!err)
		err = sort_deltas(c, w);
	for (size_t i = 0; i < n && !err;) {
		struct store_delta d = { .kind = kind,
					 .start_s = c->sorted[i]->start_s };
		struct pack_writer pack;

		buf_reset(&c->pack);
		pack_begin(&pack, &c->pack);
		for (; i < n && c->sorted[i]->start_s == d.start_s; i++)
			pack_delta(c, &pack, c->sorted[i]);
		if (c->pack.err || c->state.err)
			return -ENOMEM;
		d.rows = pack.rows;
		d.data = c->pack.data;
		d.len = c->pack.len;
		err = store_put_delta(c->store, &d);
	}
	return err;
}

int checkpoint_windows(struct checkpoint *c, uint64_t now)
{
	int err = 0;

	for (unsigned kind = 0; kind < WINDOW_KINDS && !err; kind++)
		err = put_kind(c, (enum window_kind)kind);
	buf_reset(&c->state);
	varint_put(&c->state, now);
	if (!err)
		err = c->state.err;
	if (!err)
		err = store_put_state(c->store, STATE_WINDOWS, c->state.data,
				      c->state.len);
	c->flushing = true;
	c->next_window_mark = now;
	return err;
}

/* --- loading --- */

struct key_load {
	struct checkpoint *c;
	enum window_kind kind;
};

static int place_key(struct key_load *load, uint32_t id,
		     const char *const *value)
{
	struct fold *f = load->c->fold;
	struct series *s = fold_window_series(f, load->kind);
	struct series_label label[LABEL_KEYS], *at[LABEL_KEYS];
	int err;

	memset(label, 0, sizeof(label));
	for (size_t i = 0; i < LABEL_KEYS; i++)
		at[i] = &label[i];
	for (size_t i = 0; i < s->n_keys; i++) {
		struct series_label *l = &label[s->keys[i]];

		if (!value[i])
			continue;
		l->data = value[i];
		l->len = strlen(value[i]);
		l->hash = intern_hash(fold_intern(f), l->data, l->len);
	}
	err = series_restore(s, id, at);
	if (err < 0)
		return err == -ENOMEM ? err : -EUCLEAN;
	load->c->keys_stored[load->kind] = s->n;
	return 0;
}

/*
 * Windows have the numbers of label sets, so one that is missing gets a set
 * that is none, or the number would soon mean another.
 */
static int load_window_key(void *arg, uint32_t id, const char *const *value)
{
	struct key_load *load = arg;
	const struct series *s = fold_window_series(load->c->fold, load->kind);
	const char *none[STORE_WINDOW_LABELS] = { NULL };
	char name[32];
	int err = 0;

	if (s->n > 0 && id > s->n && id - s->n > KEYS_MISSING_MAX)
		return -EUCLEAN;
	while (s->n > 0 && s->n < id && !err) {
		snprintf(name, sizeof(name), "damaged-%u", s->n);
		store_note_damage(load->c->store, STORE_WINDOW, 1, name);
		none[0] = name;
		err = place_key(load, s->n, none);
	}
	return err < 0 ? err : place_key(load, id, value);
}

/* Rather a few seconds missing than all of the log counted twice. */
static int assume_windows(struct checkpoint *c)
{
	struct store_sizes sizes = { 0 };
	int err = store_sizes(c->store, &sizes, false);

	c->window_mark = sizes.last_log_id;
	fold_set_loaded_windows(c->fold, c->window_mark);
	return err;
}

int checkpoint_load_windows(struct checkpoint *c)
{
	struct varint_reader r;
	void *data = NULL;
	size_t len;
	int err = 0;

	for (unsigned kind = 0; kind < WINDOW_KINDS && !err; kind++) {
		struct key_load load = { c, (enum window_kind)kind };

		err = store_each_window_key(c->store, load.kind,
					    load_window_key, &load);
	}
	if (err < 0)
		return err;
	err = store_get_state(c->store, STATE_WINDOWS, &data, &len);
	if (err == -ENOENT && store_damaged(c->store, STORE_STATE) > 0)
		return assume_windows(c);
	if (err == -ENOENT)
		return 0;
	if (err < 0)
		return err;
	r = (struct varint_reader){ .at = data,
				    .end = (const uint8_t *)data + len };
	c->window_mark = varint_get(&r);
	free(data);
	if (r.bad)
		return -EUCLEAN;
	fold_set_loaded_windows(c->fold, c->window_mark);
	if (c->window_mark > c->last_id)
		c->last_id = c->window_mark;
	return 0;
}
