/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/engine/engine_state.h"
#include "common/clock.h"
#include "common/log.h"

/* Commits a group in one transaction; then counts, shows, acknowledges it. */

#define BUSY_RETRY_MS 1000u
#define PROBE_MS 500u /* between attempts while commits fail */

static void set_ready(struct engine *e, const char *why)
{
	bool was;

	pthread_mutex_lock(&e->ready_mutex);
	was = e->ready;
	e->ready = !why;
	snprintf(e->why, sizeof(e->why), "%s", why ? why : "");
	pthread_mutex_unlock(&e->ready_mutex);
	if (why && was)
		log_error("cannot commit, nothing is acknowledged error=\"%s\"",
			  why);
	if (!why && !was)
		log_info("commits work again");
}

static bool is_logged(const struct engine_item *it)
{
	return it->fresh && ledger_batch_is_logged(&it->batch, it->requests);
}

static int log_items(struct engine *e, uint64_t *id)
{
	for (size_t i = 0; i < e->n_items; i++) {
		struct engine_item *it = &e->item[i];
		struct store_log row;
		int n;

		if (!is_logged(it))
			continue;
		it->log_id = ++*id;
		row = (struct store_log){
			.id = it->log_id,
			.received_us = it->request.received_us,
			.requests = it->requests,
			.data = it->data,
			.len = it->len,
		};
		fold_prepared_range(it->prepared, &row.first_s, &row.last_s);
		n = store_put_log(e->store, &row);
		if (n < 0)
			return n;
		e->pending.log_batches++;
		e->pending.log_bytes += (uint64_t)n;
	}
	return 0;
}

static int put_ledger(struct engine *e)
{
	int err = 0;

	for (struct ledger_epoch *row = ledger_dirty(e->ledger); row && !err;
	     row = row->next_dirty)
		if (row->must_store)
			err = store_put_ledger(e->store, row->agent->name,
					       row->epoch, &row->pending);
	for (size_t i = 0; i < e->n_info && !err; i++)
		err = store_put_agent(e->store, e->info[i]);
	return err;
}

static int put_windows(struct engine *e)
{
	e->pending.windows +=
		windows_count(fold_windows(e->fold, WINDOW_REQUESTS));
	return checkpoint_windows(e->checkpoint, e->last_id);
}

static int write_group(struct engine *e, const struct engine_due *due,
		       uint64_t *id)
{
	int err = store_begin(e->store);

	if (!err)
		err = log_items(e, id);
	if (!err)
		err = put_ledger(e);
	if (!err && due->windows)
		err = put_windows(e);
	if (!err && due->checkpoint)
		err = checkpoint_step(e->checkpoint, e->last_id,
				      e->opt.checkpoint_slice);
	if (!err)
		err = engine_put_counters(e);
	if (!err)
		err = store_commit(e->store);
	return err;
}

static void group_failed(struct engine *e, int err)
{
	char why[256];

	snprintf(why, sizeof(why), "%s (%s)", strerror(-err),
		 store_error(e->store));
	store_rollback(e->store);
	checkpoint_aborted(e->checkpoint);
	snapshot_source_lock(&e->source);
	ledger_abort(e->ledger);
	e->source.counters.commit_errors++;
	e->pending = e->source.counters;
	snapshot_source_unlock(&e->source);
	set_ready(e, why);
	e->next_probe_ns = clock_mono_ns() + ms_ns(PROBE_MS);
	for (size_t i = 0; i < e->n_items; i++) {
		struct engine_item *it = &e->item[i];

		if (!it->row)
			continue; /* not accepted anyway: its reply stays */
		engine_refuse(it, REPLY_BUSY, "cannot commit");
		it->reply.retry_ms = BUSY_RETRY_MS;
	}
}

/*
 * The batches are committed already. If one could not be counted, the metrics
 * would be wrong until the next start folds the log again; so abort.
 */
static void fold_or_die(struct engine *e, const struct engine_item *it)
{
	struct fold_input fb = { .batch = &it->batch,
				 .log_id = it->log_id,
				 .received_us = it->request.received_us };

	int err = it->requests > 0 ? fold_count(e->fold, &fb, it->prepared) : 0;

	if (!err)
		err = samples_apply(e->samples, &it->batch, it->log_id,
				    it->request.received_us);
	if (err < 0) {
		log_error("out of memory while counting, aborting: the next "
			  "start counts again from the log");
		abort();
	}
}

static void show_group(struct engine *e, uint64_t id)
{
	uint64_t start = clock_mono_ns();

	snapshot_source_lock_last(&e->source);
	fold_unshare(e->fold, snapshot_source_oldest(&e->source));
	ledger_commit(e->ledger);
	for (size_t i = 0; i < e->n_items; i++)
		if (e->item[i].log_id)
			fold_or_die(e, &e->item[i]);
	e->last_id = id;
	e->pending.series = 0;
	for (size_t v = 0; v < fold_views(e->fold); v++) {
		const struct series *s = fold_series(e->fold, v);

		e->pending.series += s->n ? s->n - 1 : 0;
	}
	snapshot_count_edges(&e->pending, e->fold);
	if (snapshot_source_oldest(&e->source) == UINT64_MAX)
		samples_sweep(e->samples); /* no snapshot reads its labels */
	e->pending.fold_ns_total += clock_mono_ns() - start;
	e->source.counters = e->pending;
	snapshot_source_unlock(&e->source);
}

void engine_reply(struct engine *e)
{
	for (size_t i = 0; i < e->n_items; i++) {
		gate_reply(e->gate, &e->item[i].request, &e->item[i].reply,
			   e->item[i].rubbish);
		free(e->item[i].moved);
		e->item[i].moved = NULL;
	}
	gate_flush(e->gate);
	if (e->n_items > 0)
		e->n_answered = e->n_items;
	e->n_items = 0;
	fold_forget(e->fold);
}

int engine_commit(struct engine *e, const struct engine_due *due)
{
	uint64_t id = e->last_id, start = clock_mono_ns(), took;
	bool wants_round = due->checkpoint;
	int err = write_group(e, due, &id);

	if (err < 0) {
		group_failed(e, err);
		return err;
	}
	store_acknowledge(e->store, id, e->pending.events);
	took = clock_mono_ns() - start;
	e->commit_ns = (7 * e->commit_ns + took) / 8;
	e->pending.commits++;
	e->pending.commit_us_total += took / CLOCK_NS_PER_US;
	if (wants_round || due->windows)
		e->pending.checkpoint_us_total += took / CLOCK_NS_PER_US;
	/* It changes slots, and snapshots copy them. */
	snapshot_source_lock(&e->source);
	checkpoint_committed(e->checkpoint);
	snapshot_source_unlock(&e->source);
	if (e->pending.checkpoints != checkpoint_rounds(e->checkpoint))
		store_sync_mark(e->store);
	e->pending.checkpoints = checkpoint_rounds(e->checkpoint);
	for (size_t i = 0; i < e->n_info; i++)
		e->info[i]->info_dirty = e->info[i]->info_queued = false;
	e->n_info = 0;
	show_group(e, id);
	if (!e->ready)
		set_ready(e, NULL);
	return 0;
}
