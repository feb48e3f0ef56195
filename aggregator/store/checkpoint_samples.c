/* SPDX-License-Identifier: Apache-2.0 */
/* Samples of user programs to the store and back. */
#include <errno.h>
#include <stdlib.h>

#include "aggregator/store/checkpoint_state.h"
#include "common/varint.h"

static int put_row(struct checkpoint *c, const struct samples_row *from)
{
	struct store_sample row = {
		.family = from->family,
		.slot = from->slot,
		.node = from->node,
		.log_id = from->blob.log_id,
		.state = from->blob.data,
		.state_len = from->blob.len,
	};

	if (from->gone)
		return store_drop_sample_family(c->store, from->family);
	switch (from->kind) {
	case SAMPLES_ROW_FAMILY:
		return store_put_sample_family(c->store, &row);
	case SAMPLES_ROW_SERIES:
		return store_put_sample_series(c->store, &row);
	default:
		return store_put_sample_node(c->store, &row);
	}
}

int checkpoint_put_samples(struct checkpoint *c, uint64_t now, unsigned *max)
{
	struct samples_row row;
	int err = 0;

	for (; *max > 0 && !err; (*max)--) {
		err = samples_save_next(c->samples, now, &row);
		if (err < 0 || row.kind == SAMPLES_ROW_NONE)
			return err;
		err = put_row(c, &row);
	}
	return err;
}

static int put_mark(struct checkpoint *c, const char *name, uint64_t mark)
{
	buf_reset(&c->state);
	varint_put(&c->state, mark);
	return c->state.err ? c->state.err
			    : store_put_state(c->store, name, c->state.data,
					      c->state.len);
}

int checkpoint_put_marks(struct checkpoint *c)
{
	int err = put_mark(c, STATE_SAMPLES, c->round);

	/*
	 * Batches without requests leave no windows behind: what is older than
	 * this round needs no folding again for them.
	 */
	c->idle_windows = c->window_mark < c->round;
	for (unsigned kind = 0; kind < WINDOW_KINDS; kind++)
		if (windows_count(fold_windows(c->fold, kind)) > 0)
			c->idle_windows = false;
	if (!err && c->idle_windows)
		err = put_mark(c, STATE_WINDOWS, c->round);
	return err;
}

/* --- loading --- */

static int load_family(void *arg, const struct store_sample *row)
{
	struct checkpoint *c = arg;
	const struct samples_blob b = { row->log_id, row->state,
					row->state_len };

	return samples_load_family(c->samples, row->family, &b);
}

static int load_series(void *arg, const struct store_sample *row)
{
	struct checkpoint *c = arg;
	const struct samples_blob b = { row->log_id, row->state,
					row->state_len };

	if (row->log_id > c->last_id)
		c->last_id = row->log_id;
	return samples_load_series(c->samples, row->family, row->slot, &b);
}

static int load_node(void *arg, const struct store_sample *row)
{
	struct checkpoint *c = arg;
	const struct samples_blob b = { row->log_id, row->state,
					row->state_len };

	return samples_load_node(c->samples, row->node, &b);
}

/* Drops what is stored, to be folded from the log again. */
static int start_over(struct checkpoint *c)
{
	int err = store_begin(c->store);

	if (!err)
		err = store_drop_samples(c->store);
	if (!err)
		err = put_mark(c, STATE_SAMPLES, 0);
	if (!err)
		err = store_commit(c->store);
	if (err < 0)
		store_rollback(c->store);
	return err;
}

/* A log of before samples were known has none: it need not be read again. */
static int begin_at_end(struct checkpoint *c)
{
	struct store_sizes sizes = { 0 };
	int err = store_sizes(c->store, &sizes, true);

	if (!err)
		err = store_begin(c->store);
	c->samples_mark = sizes.last_log_id;
	if (!err)
		err = put_mark(c, STATE_SAMPLES, c->samples_mark);
	if (!err)
		err = store_commit(c->store);
	if (err < 0)
		store_rollback(c->store);
	return err;
}

int checkpoint_load_samples(struct checkpoint *c)
{
	struct varint_reader r;
	void *data = NULL;
	size_t len;
	int err = store_get_state(c->store, STATE_SAMPLES, &data, &len);

	if (err == -ENOENT)
		return c->fold_all ? 0 : begin_at_end(c);
	if (err < 0)
		return err;
	r = (struct varint_reader){ .at = data,
				    .end = (const uint8_t *)data + len };
	c->samples_mark = varint_get(&r);
	free(data);
	if (r.bad)
		return -EUCLEAN;
	if (c->fold_all) {
		c->samples_mark = 0;
		return start_over(c);
	}
	if (c->samples_mark > c->last_id)
		c->last_id = c->samples_mark;
	err = store_each_sample_family(c->store, load_family, c);
	if (!err)
		err = store_each_sample_node(c->store, load_node, c);
	if (!err)
		err = store_each_sample_series(c->store, load_series, c);
	return err;
}
