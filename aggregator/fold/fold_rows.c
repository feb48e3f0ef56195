/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fnmatch.h>
#include <string.h>

#include "aggregator/fold/fold_state.h"

/* Finds the slots that count each row of a batch. */

static bool passes(const struct view *view, const struct labels_row *lr)
{
	if (!(view->roles >> lr->role & 1) ||
	    (view->errors_only && !lr->error) ||
	    (view_in_seconds(view->source) && lr->untimed) ||
	    (view->calls == VIEW_CALLS_NOT && lr->call) ||
	    (view->calls == VIEW_CALLS_ONLY && !lr->call))
		return false;
	for (size_t i = 0; i < view->n_filters; i++) {
		const struct view_filter *f = &view->filter[i];
		const struct series_label *l = lr->label[f->key];
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
 * Interns the labels that views filter by, since they are part of the cache's
 * key. The caller does this only for label sets that have a series of windows,
 * so the number of interned values is bounded.
 */
static int intern_filtered(struct fold *f, const struct labels_row *lr)
{
	for (uint32_t left = f->filtered; left; left &= left - 1) {
		struct series_label *l = lr->label[__builtin_ctz(left)];

		if (!l->data || l->interned)
			continue;
		l->interned = intern_add(f->intern, l->data, l->len, l->hash);
		if (!l->interned)
			return -ENOMEM;
	}
	return 0;
}

/*
 * A cache entry holds the slot in each view, or NOT_COUNTED, then the slots in
 * the series of windows, the first one with two flags. With the built-in views
 * it is as long as a cache line.
 */
#define AT_WINDOW(f) ((f)->n_views)
#define NOT_COUNTED UINT32_MAX
#define IS_ERROR (UINT32_C(1) << 31)
#define IS_UNTIMED (UINT32_C(1) << 30) /* durations are unknown */
#define WINDOW_SLOT (IS_UNTIMED - 1)

size_t fold_row_words(size_t n_views)
{
	return n_views + FOLD_ROW_WINDOWS;
}

/* Finds or makes the slots of a label set that is not in the cache. */
static int resolve_slots(struct fold *f, const struct labels_row *lr,
			 int64_t now_us, uint32_t *slot)
{
	int64_t at;

	for (size_t v = 0; v < f->n_views; v++) {
		slot[v] = NOT_COUNTED;
		if (!passes(f->view[v].view, lr))
			continue;
		at = series_resolve(&f->view[v].series, lr->label, now_us);
		if (at < 0)
			return (int)at;
		slot[v] = (uint32_t)at;
	}
	for (unsigned i = FOLD_ROW_WINDOWS; i-- > 0;) {
		at = series_resolve(&f->window_series[i], lr->label, now_us);
		if (at < 0)
			return (int)at;
		slot[AT_WINDOW(f) + i] = (uint32_t)at;
	}
	slot[AT_WINDOW(f)] |=
		(lr->error ? IS_ERROR : 0) | (lr->untimed ? IS_UNTIMED : 0);
	return at == SERIES_OVERFLOW ? 0 : intern_filtered(f, lr);
}

static int resolve_row(struct fold *f, size_t i, int64_t now_us,
		       const uint32_t **out)
{
	uint32_t *slot = labels_scratch(f->labels);
	struct labels_row lr;
	int err;

	labels_of(f->labels, i, &lr);
	err = resolve_slots(f, &lr, now_us, slot);
	*out = slot;
	return err < 0 ? err : labels_cache(f->labels, i, slot);
}

int fold_find_row(struct fold *f, const struct fold_input *fb,
		  struct fold_row *r)
{
	const uint32_t *slot = labels_cached(f->labels, &r->labels);
	int err = 0;

	if (!slot)
		err = resolve_row(f, r->labels.row, fb->received_us, &slot);
	if (err < 0)
		return err;
	memcpy(r->window_key, slot + AT_WINDOW(f), sizeof(r->window_key));
	r->error = r->window_key[0] & IS_ERROR;
	r->untimed = r->window_key[0] & IS_UNTIMED;
	r->window_key[0] &= WINDOW_SLOT;
	r->n = 0;
	for (size_t v = 0; v < f->n_views; v++) {
		struct series_slot *s;

		if (slot[v] == NOT_COUNTED || fb->log_id <= f->view[v].loaded)
			continue;
		s = series_at(&f->view[v].series, slot[v]);
		__builtin_prefetch(s, 1);
		r->view[r->n] = (uint8_t)v;
		r->slot[r->n++] = s;
	}
	return 0;
}
