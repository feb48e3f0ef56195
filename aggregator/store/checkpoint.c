/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/store/checkpoint.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/graph/graph_join.h"
#include "aggregator/store/checkpoint_state.h"
#include "common/log.h"
#include "common/varint.h"
#include "proto/batch.h"

int checkpoint_new(struct checkpoint **out, struct fold *f, struct samples *s,
		   struct store *st)
{
	struct checkpoint *c = calloc(1, sizeof(*c));
	size_t n = fold_views(f);

	if (!c)
		return -ENOMEM;
	c->fold = f;
	c->samples = s;
	c->store = st;
	c->id = calloc(n + 1, sizeof(*c->id));
	c->view_mark = calloc(n + 1, sizeof(*c->view_mark));
	c->anew = calloc(n + 1, sizeof(*c->anew));
	if (!c->id || !c->view_mark || !c->anew) {
		checkpoint_free(c);
		return -ENOMEM;
	}
	*out = c;
	return 0;
}

void checkpoint_free(struct checkpoint *c)
{
	if (!c)
		return;
	free(c->id);
	free(c->view_mark);
	free(c->anew);
	free(c->written);
	free(c->epochs);
	free(c->cell_of[0]);
	free(c->cell_of[1]);
	buf_fini(&c->labels);
	buf_fini(&c->state);
	buf_fini(&c->graph);
	buf_fini(&c->pack);
	free(c->sorted);
	free(c);
}

uint64_t checkpoint_watermark(const struct checkpoint *c)
{
	uint64_t least = c->window_mark < c->ledger_mark ? c->window_mark
							 : c->ledger_mark;

	if (c->samples_mark < least)
		least = c->samples_mark;
	for (size_t v = 0; v < fold_views(c->fold); v++)
		if (c->view_mark[v] < least)
			least = c->view_mark[v];
	return least;
}

uint64_t checkpoint_rounds(const struct checkpoint *c)
{
	return c->rounds;
}

void checkpoint_fold_all(struct checkpoint *c)
{
	c->fold_all = true;
}

/* --- one series --- */

static void encode_labels(struct buf *b, const struct series *s, uint32_t slot)
{
	const struct interned *const *value = series_labels(s, slot);

	for (size_t i = 0; i < s->n_keys; i++) {
		if (!value[i]) {
			varint_put(b, 0);
			continue;
		}
		varint_put(b, (uint64_t)value[i]->len + 1);
		buf_append(b, value[i]->text, value[i]->len);
	}
}

/* Leaves out the zero cells at both ends. */
static void encode_state(struct buf *b, const struct series_slot *slot)
{
	const struct span *s = slot->span;
	unsigned from = 0, to = s ? s->n : 0;

	while (from < to && s->count[from] == 0)
		from++;
	while (to > from && s->count[to - 1] == 0)
		to--;
	varint_put(b, slot->count);
	varint_put(b, slot->sum);
	varint_put_signed(b, slot->created_us);
	varint_put(b, s ? s->first + from : 0);
	varint_put(b, to - from);
	for (unsigned i = from; i < to; i++)
		varint_put(b, s->count[i]);
	varint_put_signed(b, slot->active_us);
}

/* --- writing --- */

void checkpoint_begin(struct checkpoint *c, uint64_t now)
{
	if (c->active)
		return;
	c->active = true;
	c->round = now;
	c->agent = c->next_agent = 0;
	c->view = c->next_view = 0;
	c->slot = c->next_slot = 0;
	samples_save_begin(c->samples);
	buf_reset(&c->graph);
	if (fold_graph(c->fold)) {
		varint_put(&c->graph, now);
		graph_save(fold_graph(c->fold), &c->graph);
	}
}

bool checkpoint_active(const struct checkpoint *c)
{
	return c->active;
}

int checkpoint_put_slot(struct checkpoint *c, uint64_t now)
{
	struct series *s = fold_series(c->fold, c->next_view);
	struct series_slot *slot = series_at(s, c->next_slot);
	struct store_series row = {
		.view = c->id[c->next_view],
		.slot = c->next_slot,
		.log_id = now,
	};

	if (c->n_written == c->written_cap) {
		size_t cap = c->written_cap ? 2 * c->written_cap : 1024;
		void *p = realloc(c->written, cap * sizeof(*c->written));

		if (!p)
			return -ENOMEM;
		c->written = p;
		c->written_cap = cap;
	}
	buf_reset(&c->labels);
	buf_reset(&c->state);
	if (c->next_slot != SERIES_OVERFLOW)
		encode_labels(&c->labels, s, c->next_slot);
	encode_state(&c->state, slot);
	if (c->labels.err || c->state.err)
		return -ENOMEM;
	row.labels = c->labels.data;
	row.labels_len = c->labels.len;
	row.state = c->state.data;
	row.state_len = c->state.len;
	c->written[c->n_written++] = slot;
	return store_put_series(c->store, &row);
}

static int put_views(struct checkpoint *c)
{
	int err = 0;

	for (size_t v = 0; v < fold_views(c->fold) && !err; v++)
		err = store_put_view(c->store, c->id[v],
				     fold_view(c->fold, v)->name,
				     fold_view_digest(c->fold, v), c->round);
	if (!err)
		err = c->graph.err;
	return err < 0 ? err
		       : store_put_state(c->store, STATE_GRAPH, c->graph.data,
					 c->graph.len);
}

static int put_targets(struct checkpoint *c)
{
	size_t n = fold_targets(c->fold);
	int err = 0;

	for (size_t i = 0; i < n && !err; i++) {
		const struct fold_target *t = fold_target(c->fold, i);
		const char *value[STORE_TARGET_FIELDS];

		if (!t->dirty)
			continue;
		static_assert((int)STORE_TARGET_FIELDS == TARGET_FIELDS,
			      "the store has a column for each field");
		for (size_t k = 0; k < TARGET_FIELDS; k++)
			value[k] = t->value[k] ? t->value[k]->text : NULL;
		err = store_put_target(c->store, value);
	}
	return err;
}

int checkpoint_step(struct checkpoint *c, uint64_t now, unsigned max)
{
	int err;

	c->next_view = c->view;
	c->next_slot = c->slot;
	err = checkpoint_put_ledger(c, &max);
	if (err < 0 || max == 0)
		return err;
	for (; c->next_view < fold_views(c->fold); c->next_view++) {
		struct series *s = fold_series(c->fold, c->next_view);

		for (; c->next_slot < s->n; c->next_slot++) {
			if (!series_at(s, c->next_slot)->dirty)
				continue;
			if (max-- == 0)
				return 0;
			err = checkpoint_put_slot(c, now);
			if (err < 0)
				return err;
		}
		c->next_slot = 0;
	}
	err = checkpoint_put_samples(c, now, &max);
	if (err < 0 || max == 0)
		return err;
	c->finishing = true;
	err = checkpoint_put_ledger_mark(c, c->round);
	if (!err)
		err = put_targets(c);
	if (!err)
		err = put_views(c);
	return err < 0 ? err : checkpoint_put_marks(c);
}

void checkpoint_committed(struct checkpoint *c)
{
	for (size_t i = 0; i < c->n_written; i++)
		c->written[i]->dirty = false;
	for (size_t i = 0; i < c->n_epochs; i++)
		c->epochs[i]->unstored = false;
	c->n_written = c->n_epochs = 0;
	c->agent = c->next_agent;
	c->view = c->next_view;
	c->slot = c->next_slot;
	if (c->next_ledger_mark)
		c->ledger_mark = c->next_ledger_mark;
	c->next_ledger_mark = 0;
	samples_save_committed(c->samples);
	if (c->finishing) {
		c->samples_mark = c->round;
		if (c->idle_windows)
			c->window_mark = c->round;
		for (size_t v = 0; v < fold_views(c->fold); v++)
			c->view_mark[v] = c->round;
		for (size_t i = 0; i < fold_targets(c->fold); i++)
			fold_target(c->fold, i)->dirty = false;
		c->active = false;
		c->rounds++;
	}
	if (c->flushing) {
		for (unsigned kind = 0; kind < WINDOW_KINDS; kind++) {
			windows_clear(fold_windows(c->fold, kind));
			c->keys_stored[kind] = c->next_keys[kind];
		}
		c->window_mark = c->next_window_mark;
	}
	c->finishing = c->flushing = false;
}

void checkpoint_aborted(struct checkpoint *c)
{
	c->n_written = c->n_epochs = 0;
	c->next_ledger_mark = 0;
	c->next_agent = c->agent;
	c->next_view = c->view;
	c->next_slot = c->slot;
	samples_save_aborted(c->samples);
	c->finishing = c->flushing = false;
}
