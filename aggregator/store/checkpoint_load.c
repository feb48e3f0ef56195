/* SPDX-License-Identifier: Apache-2.0 */
/* Loads the fold's state from the store and folds the log after it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/graph/graph_join.h"
#include "aggregator/store/checkpoint_state.h"
#include "common/log.h"
#include "common/varint.h"

/* --- one series --- */

/* Reads n counts, from stored cell first on, into current cells. */
static int decode_cells(const struct checkpoint *c, const struct cells *cells,
			struct varint_reader *r, uint64_t first, uint64_t n,
			struct series_slot *slot)
{
	const uint16_t *to = c->cell_of[cells->seconds];
	uint64_t stored = to ? c->stored_cells[cells->seconds] : cells->n;
	unsigned from, end;

	if (n == 0)
		return 0;
	if (first > stored || n > stored - first)
		return -EUCLEAN;
	from = to ? to[first] : (unsigned)first;
	end = to ? to[first + n - 1] : (unsigned)(first + n - 1);
	slot->span = span_new(from, end - from + 1, 0);
	if (!slot->span)
		return -ENOMEM;
	for (uint64_t i = first; i < first + n; i++)
		slot->span->count[(to ? to[i] : i) - from] += varint_get(r);
	return 0;
}

static int decode_state(const struct checkpoint *c, struct series_slot *slot,
			const struct series *s, const void *data, size_t len)
{
	struct varint_reader r = { .at = data, .end = NULL };
	uint64_t first, n;
	int err;

	if (!data)
		return -EUCLEAN;
	r.end = r.at + len;
	slot->count = varint_get(&r);
	slot->sum = varint_get(&r);
	slot->created_us = varint_get_signed(&r);
	first = varint_get(&r);
	n = varint_get(&r);
	if (r.bad || (n > 0 && !s->cells))
		return -EUCLEAN;
	err = s->cells ? decode_cells(c, s->cells, &r, first, n, slot) : 0;
	if (err < 0)
		return err;
	slot->active_us = varint_get_signed(&r);
	return r.bad ? -EUCLEAN : 0;
}

/* Decodes a stored series's labels; they are borrowed from data. */
static int decode_labels(const struct checkpoint *c, const struct series *s,
			 const void *data, size_t len,
			 struct series_label label[LABEL_KEYS])
{
	struct varint_reader r = { .at = data, .end = NULL };

	memset(label, 0, LABEL_KEYS * sizeof(*label));
	if (s->n_keys == 0)
		return 0;
	if (!data)
		return -EUCLEAN;
	r.end = r.at + len;
	for (size_t i = 0; i < s->n_keys; i++) {
		struct series_label *l = &label[s->keys[i]];
		uint64_t bytes = varint_get(&r);

		if (bytes == 0)
			continue;
		bytes--;
		if (bytes > (size_t)(r.end - r.at))
			return -EUCLEAN;
		l->data = (const char *)r.at;
		l->len = bytes;
		l->hash = intern_hash(fold_intern(c->fold), l->data, l->len);
		r.at += bytes;
	}
	return r.bad ? -EUCLEAN : 0;
}

/* --- loading --- */

static int load_series_row(void *arg, const struct store_series *row)
{
	struct checkpoint *c = arg;
	struct series *s = fold_series(c->fold, c->view);
	struct series_label label[LABEL_KEYS], *at[LABEL_KEYS];
	struct series_slot *slot;
	int err = 0;

	if (row->slot != SERIES_OVERFLOW)
		err = decode_labels(c, s, row->labels, row->labels_len, label);
	if (err < 0)
		return err;
	for (size_t i = 0; i < LABEL_KEYS; i++)
		at[i] = &label[i];
	err = series_restore(s, row->slot, at);
	if (err < 0)
		return err == -ENOMEM ? err : -EUCLEAN;
	slot = series_at(s, row->slot);
	slot->log_id = row->log_id;
	if (row->log_id > c->last_id)
		c->last_id = row->log_id;
	return decode_state(c, slot, s, row->state, row->state_len);
}

struct view_row {
	uint32_t id;
	uint64_t digest, log_id;
	bool found;
};

struct view_search {
	struct checkpoint *c;
	struct view_row *row; /* by view */
	uint32_t max_id;
	uint32_t gone[VIEWS_MAX]; /* stored views that are not configured */
	size_t n_gone;
};

static int load_view_row(void *arg, uint32_t id, const char *name,
			 uint64_t digest, uint64_t log_id)
{
	struct view_search *search = arg;
	bool found = false;

	if (id > search->max_id)
		search->max_id = id;
	for (size_t v = 0; v < fold_views(search->c->fold); v++)
		if (strcmp(fold_view(search->c->fold, v)->name, name) == 0) {
			search->row[v] = (struct view_row){ .id = id,
							    .digest = digest,
							    .log_id = log_id,
							    .found = true };
			found = true;
		}
	if (!found && search->n_gone < VIEWS_MAX) {
		log_info("view was removed, deleting its series view=%s", name);
		search->gone[search->n_gone++] = id;
	}
	return 0;
}

/*
 * Deletes the stored series of removed views. Retention deletes log rows that a
 * removed view has not counted, so its series would be incomplete if the view
 * returned; without them it is then folded from the log.
 */
static int drop_gone(struct checkpoint *c, const struct view_search *search)
{
	int err = search->n_gone ? store_begin(c->store) : 0;

	for (size_t i = 0; i < search->n_gone && !err; i++)
		err = store_drop_view(c->store, search->gone[i]);
	if (search->n_gone && !err)
		err = store_commit(c->store);
	if (err < 0)
		store_rollback(c->store);
	return err;
}

/* --- the cells that stored spans refer to --- */

static int put_cells(struct checkpoint *c)
{
	buf_reset(&c->state);
	for (int seconds = 0; seconds < 2; seconds++) {
		const struct cells *cells = fold_cells(c->fold, seconds);

		varint_put(&c->state, cells->n);
		for (size_t i = 0; i < cells->n; i++)
			varint_put(&c->state, cells->upper[i]);
	}
	if (c->state.err)
		return c->state.err;
	return store_put_state(c->store, STATE_CELLS, c->state.data,
			       c->state.len);
}

/*
 * Reads the stored cells and maps them to the current ones, which differ if any
 * view gained or lost a bound. A stored cell's count goes to the cell that
 * contains its upper end. That is in the same native bucket, and in the same
 * classic bucket of each view whose own bounds have not changed; so views stay
 * exact.
 */
static int map_cells(struct checkpoint *c, struct varint_reader *r,
		     bool seconds, bool *same)
{
	const struct cells *cells = fold_cells(c->fold, seconds);
	uint64_t n = varint_get(r), below = 0;
	uint16_t *to;

	if (r->bad || n == 0 || n > UINT16_MAX)
		return -EUCLEAN;
	to = calloc(n, sizeof(*to));
	if (!to)
		return -ENOMEM;
	c->cell_of[seconds] = to;
	c->stored_cells[seconds] = n;
	*same &= n == cells->n;
	for (uint64_t i = 0; i < n; i++) {
		uint64_t upper = varint_get(r);

		if (r->bad || (i > 0 && upper <= below))
			return -EUCLEAN;
		to[i] = (uint16_t)cells_index(cells, upper);
		*same &= i < cells->n && cells->upper[i] == upper;
		below = upper;
	}
	return 0;
}

static void forget_cells(struct checkpoint *c)
{
	for (int i = 0; i < 2; i++) {
		free(c->cell_of[i]);
		c->cell_of[i] = NULL;
	}
}

/* Sets *same if stored spans, if any, have the current cells. */
static int load_cells(struct checkpoint *c, bool *same)
{
	struct varint_reader r;
	void *data = NULL;
	size_t len;
	int err = store_get_state(c->store, STATE_CELLS, &data, &len);

	*same = !err;
	if (err == -ENOENT)
		return 0;
	if (err < 0)
		return err;
	r = (struct varint_reader){ .at = data,
				    .end = (const uint8_t *)data + len };
	for (int seconds = 0; seconds < 2 && !err; seconds++)
		err = map_cells(c, &r, seconds, same);
	free(data);
	if (!err && *same)
		forget_cells(c);
	return err;
}

/*
 * Writes all spans with the current cells. In one transaction, since a row does
 * not say which cells it has.
 */
static int store_cells_anew(struct checkpoint *c)
{
	int err = store_begin(c->store);

	for (size_t v = 0; v < fold_views(c->fold) && !err; v++) {
		struct series *s = fold_series(c->fold, v);

		c->next_view = v;
		for (c->next_slot = 0; c->next_slot < s->n && !err;
		     c->next_slot++)
			if (s->cells)
				err = checkpoint_put_slot(
					c, series_at(s, c->next_slot)->log_id);
	}
	if (!err)
		err = put_cells(c);
	if (!err)
		err = store_commit(c->store);
	if (err < 0)
		store_rollback(c->store);
	c->n_written = 0;
	forget_cells(c);
	return err;
}

static int rebuild_view(struct checkpoint *c, size_t v)
{
	int err = store_begin(c->store);

	if (!err)
		err = store_drop_view(c->store, c->id[v]);
	if (!err)
		err = store_put_view(c->store, c->id[v],
				     fold_view(c->fold, v)->name,
				     fold_view_digest(c->fold, v), 0);
	if (!err)
		err = store_commit(c->store);
	if (err < 0)
		store_rollback(c->store);
	return err;
}

static int load_view(struct checkpoint *c, size_t v, const struct view_row *row)
{
	c->id[v] = row->id;
	c->view_mark[v] = 0;
	if (!row->found || c->fold_all ||
	    row->digest != fold_view_digest(c->fold, v)) {
		if (row->found && !c->fold_all)
			log_info("view has changed, folding it from the log "
				 "view=%s",
				 fold_view(c->fold, v)->name);
		return rebuild_view(c, v);
	}
	c->view_mark[v] = row->log_id;
	fold_set_loaded_view(c->fold, v, row->log_id);
	if (row->log_id > c->last_id)
		c->last_id = row->log_id;
	c->view = v;
	return store_each_series(c->store, row->id, load_series_row, c);
}

static int load_views(struct checkpoint *c)
{
	size_t n = fold_views(c->fold);
	struct view_search search = { .c = c };
	bool same;
	int err = load_cells(c, &same);

	if (err < 0)
		return err;

	search.row = calloc(n + 1, sizeof(*search.row));
	if (!search.row)
		return -ENOMEM;
	err = store_each_view(c->store, load_view_row, &search);
	if (!err)
		err = drop_gone(c, &search);
	for (size_t v = 0; v < n && !err; v++) {
		if (!search.row[v].found)
			search.row[v].id = ++search.max_id;
		err = load_view(c, v, &search.row[v]);
	}
	free(search.row);
	return !err && !same ? store_cells_anew(c) : err;
}

/*
 * Loads the sides that waited when the checkpoint's round began. They fit only
 * if all views of edges are at that round. Else the join starts with the oldest
 * log row, and views that have counted a row skip it.
 */
static int load_graph(struct checkpoint *c)
{
	struct graph *g = fold_graph(c->fold);
	struct varint_reader r;
	uint64_t round;
	void *data = NULL;
	size_t len;
	int err = g ? store_get_state(c->store, STATE_GRAPH, &data, &len)
		    : -ENOENT;

	if (err < 0)
		return err == -ENOENT ? 0 : err;
	r = (struct varint_reader){ .at = data,
				    .end = (const uint8_t *)data + len };
	round = varint_get(&r);
	for (size_t v = fold_event_views(c->fold); v < fold_views(c->fold); v++)
		if (c->view_mark[v] != round)
			goto out;
	err = len == 0 || r.bad ? 0
				: graph_load(g, r.at, (size_t)(r.end - r.at));
	if (!err)
		fold_set_loaded_edges(c->fold, round);
out:
	free(data);
	return err;
}

static int load_target(void *arg, uint32_t id, const char *const *value)
{
	struct checkpoint *c = arg;

	(void)id;
	return fold_add_target(c->fold, value);
}

static int replay_row(void *arg, const struct store_log *row)
{
	struct checkpoint *c = arg;
	struct fold_input fb = { .log_id = row->id,
				 .received_us = row->received_us };
	struct batch b;
	const char *reason = NULL;
	int err = batch_decode(c->arena, row->data, row->len, &b, &reason);

	if (err < 0) {
		log_error("cannot decode a logged batch log_id=%llu "
			  "reason=\"%s\"",
			  (unsigned long long)row->id, reason ? reason : "");
		return err == -ENOMEM ? err : -EUCLEAN;
	}
	fb.batch = &b;
	if (row->id > c->last_id)
		c->last_id = row->id;
	if (row->id > c->ledger_mark)
		err = ledger_replay(c->ledger, &b, row->requests,
				    row->received_us);
	if (err >= 0 && fold_requests(&b) > 0)
		err = fold_apply(c->fold, &fb);
	if (err >= 0 && row->id > c->samples_mark)
		err = samples_apply(c->samples, &b, row->id, row->received_us);
	return err;
}

int checkpoint_load(struct checkpoint *c, struct ledger *l, uint64_t *last_id)
{
	int err = batch_arena_new(&c->arena);

	if (err < 0)
		return err;
	c->ledger = l;
	err = checkpoint_load_ledger(c);
	if (!err)
		err = store_each_target(c->store, load_target, c);
	for (size_t i = 0; i < fold_targets(c->fold); i++)
		fold_target(c->fold, i)->dirty = false;
	if (!err)
		err = load_views(c);
	if (!err)
		err = load_graph(c);
	if (!err)
		err = checkpoint_load_windows(c);
	if (!err)
		err = checkpoint_load_samples(c);
	if (!err)
		err = store_each_log(c->store, checkpoint_watermark(c),
				     replay_row, c);
	batch_arena_free(c->arena);
	c->arena = NULL;
	c->view = 0;
	*last_id = c->last_id;
	return err;
}
