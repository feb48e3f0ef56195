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

/* Loads the row into slot, which is lower than its own if others were lost. */
static int load_series(struct checkpoint *c, const struct store_series *row,
		       uint32_t slot)
{
	struct series *s = fold_series(c->fold, c->view);
	struct series_label label[LABEL_KEYS], *at[LABEL_KEYS];
	int err = 0;

	if (row->log_id > c->last_id)
		c->last_id = row->log_id;
	if (slot != SERIES_OVERFLOW)
		err = decode_labels(c, s, row->labels, row->labels_len, label);
	if (err < 0)
		return err;
	for (size_t i = 0; i < LABEL_KEYS; i++)
		at[i] = &label[i];
	err = series_restore(s, slot, at);
	if (err < 0)
		return err == -ENOMEM ? err : -EUCLEAN;
	series_at(s, slot)->log_id = row->log_id;
	err = decode_state(c, series_at(s, slot), s, row->state,
			   row->state_len);
	if (err == -EUCLEAN) {
		free(series_at(s, slot)->span);
		*series_at(s, slot) = (struct series_slot){ .count = 0 };
	}
	return err;
}

static void lose_series(struct checkpoint *c, uint64_t rows, const char *what)
{
	c->lost += rows;
	store_note_damage(c->store, STORE_SERIES, rows, what);
}

static int load_series_row(void *arg, const struct store_series *row)
{
	struct checkpoint *c = arg;
	const struct series *s = fold_series(c->fold, c->view);
	uint64_t free_slot = s->n > 0 ? s->n : 1;
	int err;

	if (row->slot != SERIES_OVERFLOW && row->slot > free_slot + c->lost)
		lose_series(c, row->slot - free_slot - c->lost,
			    "rows are missing");
	if (row->damaged) {
		lose_series(c, 1, "a row is not as written");
		return 0;
	}
	err = load_series(c, row,
			  row->slot == SERIES_OVERFLOW ? SERIES_OVERFLOW
						       : (uint32_t)free_slot);
	if (err == -EUCLEAN) {
		lose_series(c, 1, "a row makes no sense");
		err = 0;
	}
	return err;
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

/* --- writing again --- */

/* Writes all series of a view, with the current cells. */
static int store_view_anew(struct checkpoint *c, size_t v)
{
	struct series *s = fold_series(c->fold, v);
	int err = c->anew[v] ? store_drop_series(c->store, c->id[v]) : 0;

	c->next_view = v;
	for (c->next_slot = 0; c->next_slot < s->n && !err; c->next_slot++)
		err = checkpoint_put_slot(c,
					  series_at(s, c->next_slot)->log_id);
	return err;
}

/*
 * Writes the views that have lost series; if cells have changed, all spans with
 * the current cells. In one transaction, since a row does not say which cells
 * it has.
 */
static int store_anew(struct checkpoint *c, bool same_cells)
{
	int err = store_begin(c->store);

	for (size_t v = 0; v < fold_views(c->fold) && !err; v++)
		if (c->anew[v] ||
		    (!same_cells && fold_series(c->fold, v)->cells))
			err = store_view_anew(c, v);
	if (!err)
		err = checkpoint_put_cells(c);
	if (!err)
		err = store_commit(c->store);
	if (err < 0)
		store_rollback(c->store);
	c->n_written = 0;
	checkpoint_forget_cells(c);
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

/* Some of its series were damaged. The log may have all that they count. */
static int mend_view(struct checkpoint *c, size_t v)
{
	const char *name = fold_view(c->fold, v)->name;
	bool whole;
	int err = store_log_is_whole(c->store, &whole);

	if (err < 0)
		return err;
	if (!whole) {
		log_error("series were damaged and begin again at 0 view=%s "
			  "series=%llu",
			  name, (unsigned long long)c->lost);
		c->anew[v] = true;
		return 0;
	}
	log_warn("series were damaged, folding the view from the log view=%s",
		 name);
	c->view_mark[v] = 0;
	fold_set_loaded_view(c->fold, v, 0);
	err = series_clear(fold_series(c->fold, v));
	return err < 0 ? err : rebuild_view(c, v);
}

static int load_view(struct checkpoint *c, size_t v, const struct view_row *row)
{
	int err;

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
	c->lost = 0;
	err = store_each_series(c->store, row->id, load_series_row, c);
	return !err && c->lost > 0 ? mend_view(c, v) : err;
}

static int load_views(struct checkpoint *c)
{
	size_t n = fold_views(c->fold);
	struct view_search search = { .c = c };
	bool same, anew = false;
	int err = checkpoint_load_cells(c, &same);

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
	for (size_t v = 0; v < n; v++)
		anew |= c->anew[v];
	return !err && (anew || !same) ? store_anew(c, same) : err;
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
	int err;

	if (row->id > c->last_id)
		c->last_id = row->id;
	if (row->damaged)
		return 0;
	err = batch_decode(c->arena, row->data, row->len, &b, &reason);
	if (err == -EPROTO) {
		store_note_damage(c->store, STORE_LOG, 1, reason);
		return 0;
	}
	if (err < 0)
		return err;
	fb.batch = &b;
	err = checkpoint_replay_ledger(c, &b, row);
	if (!err && fold_requests(&b) > 0)
		err = fold_apply(c->fold, &fb);
	if (!err && row->id > c->samples_mark)
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
	/* What the log has of an agent must not be lost for lack of room. */
	ledger_set_loading(l, true);
	if (!err)
		err = checkpoint_load_samples(c);
	if (!err)
		err = store_each_log(c->store, checkpoint_watermark(c),
				     replay_row, c);
	ledger_set_loading(l, false);
	batch_arena_free(c->arena);
	c->arena = NULL;
	c->view = 0;
	*last_id = c->last_id;
	return err;
}
