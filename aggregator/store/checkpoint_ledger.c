/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ledger's part of a checkpoint. Batches with requests are in the log, so
 * their agents' rows may be older: loading applies the log after the watermark
 * to them. An agent that sends a batch twice a second has its row written once
 * in a round, and not with each commit.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include "aggregator/store/checkpoint_state.h"
#include "common/varint.h"

/* --- writing --- */

static int put_epoch(struct checkpoint *c, struct ledger_epoch *e)
{
	if (c->n_epochs == c->epochs_cap) {
		size_t cap = c->epochs_cap ? 2 * c->epochs_cap : 256;
		void *p = realloc(c->epochs, cap * sizeof(*c->epochs));

		if (!p)
			return -ENOMEM;
		c->epochs = p;
		c->epochs_cap = cap;
	}
	c->epochs[c->n_epochs++] = e;
	/* With what this transaction logs of it. */
	return store_put_ledger(c->store, e->agent->name, e->epoch,
				&e->pending);
}

int checkpoint_put_ledger(struct checkpoint *c, unsigned *left)
{
	c->next_agent = c->agent;
	for (; c->next_agent < ledger_agents(c->ledger); c->next_agent++) {
		struct ledger_agent *a = ledger_at(c->ledger, c->next_agent);

		for (struct ledger_epoch *e = a->newest; e; e = e->older) {
			int err;

			if (!e->unstored)
				continue;
			if (*left == 0)
				return 0; /* this agent again, next time */
			err = put_epoch(c, e);
			if (err < 0)
				return err;
			--*left;
		}
	}
	return 0;
}

int checkpoint_put_ledger_mark(struct checkpoint *c, uint64_t log_id)
{
	c->next_ledger_mark = log_id > c->ledger_mark ? log_id : c->ledger_mark;
	buf_reset(&c->state);
	varint_put(&c->state, c->next_ledger_mark);
	if (c->state.err)
		return c->state.err;
	return store_put_state(c->store, STATE_LEDGER, c->state.data,
			       c->state.len);
}

void checkpoint_agents_moved(struct checkpoint *c)
{
	c->agent = c->next_agent = 0;
}

int checkpoint_ledger_whole(struct checkpoint *c, uint64_t log_id)
{
	unsigned left = UINT_MAX;
	int err;

	checkpoint_agents_moved(c);
	c->n_epochs = 0;
	err = checkpoint_put_ledger(c, &left);
	c->next_agent = 0;
	return err < 0 ? err : checkpoint_put_ledger_mark(c, log_id);
}

/* --- loading --- */

struct loading {
	struct ledger *ledger;
};

static int load_epoch(void *arg, const char *agent, uint64_t epoch,
		      const struct ledger_state *state)
{
	const struct loading *to = arg;

	return ledger_restore(to->ledger, agent, epoch, state);
}

static int load_agent(void *arg, const struct ledger_agent *row,
		      const struct batch_info *info)
{
	const struct loading *to = arg;
	struct ledger_agent *a;
	int err = ledger_agent_get(to->ledger, row->name, &a);

	if (!err)
		err = ledger_agent_set_info(to->ledger, a, info);
	if (err < 0)
		return err;
	a->info_dirty = false;
	a->retired = row->retired;
	a->retired_epoch = row->retired_epoch;
	a->retired_seen_us = row->retired_seen_us;
	a->runs = row->runs;
	return 0;
}

/* The store may know more agents than the ledger has room for. */
static int load_epoch_if_room(void *arg, const char *agent, uint64_t epoch,
			      const struct ledger_state *state)
{
	int err = load_epoch(arg, agent, epoch, state);

	return err == -ENOSPC ? 0 : err;
}

static int load_agent_if_room(void *arg, const struct ledger_agent *row,
			      const struct batch_info *info)
{
	int err = load_agent(arg, row, info);

	return err == -ENOSPC ? 0 : err;
}

int checkpoint_load_agent(struct ledger *l, struct store *st, const char *name)
{
	struct loading to = { l };

	return store_get_agent(st, name, load_agent, load_epoch, &to);
}

int checkpoint_replay_ledger(struct checkpoint *c, const struct batch *b,
			     const struct store_log *row)
{
	int err = 0;

	if (row->id <= c->ledger_mark)
		return 0;
	if (!ledger_find(c->ledger, b->agent))
		err = checkpoint_load_agent(c->ledger, c->store, b->agent);
	return err < 0 ? err
		       : ledger_replay(c->ledger, b, row->requests,
				       row->received_us, row->id);
}

/*
 * A new store has no watermark, nor has one of a version that wrote each row
 * with its batch. From here on rows lag behind the log, so it is stored at
 * once.
 */
static int begin_mark(struct checkpoint *c)
{
	struct store_sizes sizes = { 0 };
	int err = store_sizes(c->store, &sizes, false);

	c->ledger_mark = sizes.last_log_id;
	if (!err)
		err = store_begin(c->store);
	if (!err)
		err = checkpoint_put_ledger_mark(c, c->ledger_mark);
	if (!err)
		err = store_commit(c->store);
	if (err < 0)
		store_rollback(c->store);
	return err;
}

static int load_mark(struct checkpoint *c)
{
	struct varint_reader r;
	void *data = NULL;
	size_t len;
	int err = store_get_state(c->store, STATE_LEDGER, &data, &len);

	/*
	 * Rows that were damaged are gone: the log has what it has of them.
	 * Each of the others knows what of the log it has.
	 */
	if (store_damaged(c->store, STORE_LEDGER) > 0 ||
	    store_damaged(c->store, STORE_STATE) > 0) {
		free(data);
		c->ledger_mark = 0;
		return err == -ENOENT ? 0 : err;
	}
	if (err == -ENOENT)
		return begin_mark(c);
	if (err < 0)
		return err;
	r = (struct varint_reader){ .at = data,
				    .end = (const uint8_t *)data + len };
	c->ledger_mark = varint_get(&r);
	free(data);
	return r.bad ? -EUCLEAN : 0;
}

/* Epochs come first, those heard last before others; then what agents say. */
int checkpoint_load_ledger(struct checkpoint *c)
{
	struct loading to = { c->ledger };
	int err = store_each_ledger(c->store, load_epoch_if_room, &to);

	if (!err)
		err = store_each_agent(c->store, load_agent_if_room, &to);
	return err < 0 ? err : load_mark(c);
}

int checkpoint_forget(struct store *st, const char *agent)
{
	struct varint_reader r;
	struct store_sizes sizes = { 0 };
	void *data = NULL;
	size_t len;
	int err = store_get_state(st, STATE_LEDGER, &data, &len), n = 0;

	if (err == -ENOENT)
		return 0; /* nothing was ever stored */
	if (err < 0)
		return err;
	r = (struct varint_reader){ .at = data,
				    .end = (const uint8_t *)data + len };
	err = store_sizes(st, &sizes, false);
	if (!err && varint_get(&r) < sizes.last_log_id)
		err = -EBUSY;
	free(data);
	if (!err)
		err = store_begin(st);
	if (err < 0)
		return err;
	n = store_drop_agent(st, agent);
	err = n < 0 ? n : store_commit(st);
	if (err < 0)
		store_rollback(st);
	return err < 0 ? err : n;
}
