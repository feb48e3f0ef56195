/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/engine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/engine_state.h"
#include "aggregator/retire.h"
#include "aggregator/skew.h"
#include "aggregator/varint.h"
#include "common/clock.h"
#include "common/log.h"
#include "proto/limits.h"

#define WINDOWS_PENDING_MAX 100000u /* deltas held before a flush */
#define RETENTION_ROWS 64u /* batches deleted at once: some 5 MB */
#define RETENTION_WINDOWS 2000u
#define EPOCH_LATE_S 86400u
#define VACUUM_PAGES 256u
/* Free space that new batches will soon take is not worth moving pages for. */
#define VACUUM_SLACK_BYTES ((uint64_t)4 << 20)
#define BUSY_RETRY_MS 1000u
#define CONNECTIONS_MORE 1024u /* than twice as many as agents */
#define PROBE_MS 500u /* between tries while commits fail */
#define WORTH_A_COMMIT ((size_t)256 << 10) /* bytes */
#define POLL_NS 250000u
#define LASTING_MAX 24u
#define STATE_COUNTERS "engine_counters"

static uint64_t ms_ns(uint64_t ms)
{
	return ms * CLOCK_NS_PER_MS;
}

static void set_ready(struct engine *e, const char *why)
{
	bool was;

	pthread_mutex_lock(&e->ready_mutex);
	was = e->ready;
	e->ready = why == NULL;
	snprintf(e->why, sizeof(e->why), "%s", why ? why : "");
	pthread_mutex_unlock(&e->ready_mutex);
	if (why && was)
		log_error("cannot commit, so nothing is acknowledged: %s", why);
	if (!why && !was)
		log_info("commits work again");
}

bool engine_ready(struct engine *e, char *why, size_t why_bytes)
{
	bool ready;

	pthread_mutex_lock(&e->ready_mutex);
	ready = e->ready;
	if (why_bytes)
		snprintf(why, why_bytes, "%s", e->why);
	pthread_mutex_unlock(&e->ready_mutex);
	return ready;
}

const char *engine_store_path(const struct engine *e)
{
	return store_path(e->store);
}

/* ---- counters ---------------------------------------------------------- */

/* Those that must not go back with a restart, in the order they are stored. */
static size_t lasting(struct snapshot_engine *c, uint64_t *out[LASTING_MAX])
{
	size_t n = 0;

	out[n++] = &c->batches;
	out[n++] = &c->duplicates;
	out[n++] = &c->events;
	out[n++] = &c->rollup_events;
	out[n++] = &c->refused;
	out[n++] = &c->bytes_received;
	out[n++] = &c->commits;
	out[n++] = &c->commit_errors;
	out[n++] = &c->commit_us_total;
	out[n++] = &c->checkpoints;
	out[n++] = &c->checkpoint_us_total;
	out[n++] = &c->retention_deleted_batches;
	out[n++] = &c->retention_deleted_windows;
	out[n++] = &c->stores_set_aside;
	out[n++] = &c->fold_ns_total;
	out[n++] = &c->retired_epochs;
	out[n++] = &c->corrected;
	return n;
}

static int put_counters(struct engine *e)
{
	uint64_t *v[LASTING_MAX];
	size_t n = lasting(&e->pending, v);

	buf_reset(&e->blob);
	for (size_t i = 0; i < n; i++)
		varint_put(&e->blob, *v[i]);
	if (e->blob.err)
		return e->blob.err;
	return store_put_state(e->store, STATE_COUNTERS, e->blob.data,
			       e->blob.len);
}

static int load_counters(struct engine *e)
{
	struct store_sizes sizes = { 0 };
	struct varint_reader r;
	uint64_t *v[LASTING_MAX];
	void *data = NULL;
	size_t len, n = lasting(&e->pending, v);
	int err = store_get_state(e->store, STATE_COUNTERS, &data, &len);

	if (err < 0 && err != -ENOENT)
		return err;
	if (err == 0) {
		r.at = data;
		r.end = r.at + len;
		r.bad = false;
		for (size_t i = 0; i < n && r.at < r.end; i++)
			*v[i] = varint_get(&r);
		free(data);
	}
	err = store_sizes(e->store, &sizes, true);
	e->pending.log_batches = sizes.log_batches;
	e->pending.log_bytes = sizes.log_bytes;
	e->pending.store_bytes = sizes.file_bytes;
	e->pending.windows = sizes.windows;
	if (sizes.last_log_id > e->last_id)
		e->last_id = sizes.last_log_id;
	if (store_was_set_aside(e->store))
		e->pending.stores_set_aside++;
	snapshot_count_edges(&e->pending, e->fold);
	e->counters = e->pending;
	return err;
}

/* ---- a group ----------------------------------------------------------- */

static void refuse(struct item *it, enum reply_status status, const char *why)
{
	it->reply.status = status;
	snprintf(it->reply.reason, sizeof(it->reply.reason), "%s", why);
}

static int note_info(struct engine *e, struct ledger_agent *a,
		     const struct batch_info *info)
{
	int err;

	if (!*info->version && !*info->kernel && !*info->capture &&
	    info->n_probes == 0)
		return 0;
	pthread_mutex_lock(&e->mutex);
	err = ledger_agent_set_info(a, info);
	pthread_mutex_unlock(&e->mutex);
	if (err < 0 || !a->info_dirty)
		return err;
	for (size_t i = 0; i < e->n_info; i++)
		if (e->info[i] == a)
			return 0;
	if (e->n_info == e->info_cap) {
		size_t cap = e->info_cap ? 2 * e->info_cap : 64;
		void *p = realloc(e->info, cap * sizeof(*e->info));

		if (!p)
			return -ENOMEM;
		e->info = p;
		e->info_cap = cap;
	}
	e->info[e->n_info++] = a;
	return 0;
}

static void judge(struct engine *e, struct item *it, const struct push *p)
{
	int verdict;

	it->requests = fold_requests(&it->batch);
	pthread_mutex_lock(&e->mutex); /* may add an agent */
	verdict = ledger_offer(e->ledger, &it->batch, it->requests, p->sent_us,
			       it->request.received_us, &it->row);
	pthread_mutex_unlock(&e->mutex);
	switch (verdict) {
	case LEDGER_NEW:
		it->fresh = true;
		e->pending.corrected += it->moved != NULL;
		it->reply.status = REPLY_ACCEPTED;
		e->pending.batches++;
		e->pending.events += it->requests;
		e->pending.rollup_events += it->requests - it->batch.events.n;
		if (note_info(e, it->row->agent, &it->batch.info) < 0)
			log_warn("out of memory: who %s is was not kept",
				 it->batch.agent);
		break;
	case LEDGER_DUPLICATE:
		it->reply.status = REPLY_ACCEPTED;
		it->reply.duplicate = true;
		e->pending.duplicates++;
		break;
	case LEDGER_CONFLICT:
		refuse(it, REPLY_CONFLICT, "another agent has this id");
		break;
	case LEDGER_OVERLAP:
		refuse(it, REPLY_REFUSED, "some of it is counted already");
		e->pending.refused++;
		break;
	case LEDGER_EXPIRED:
		refuse(it, REPLY_REFUSED, "the epoch is too old");
		e->pending.refused++;
		break;
	case LEDGER_CROWDED:
		refuse(it, REPLY_BUSY, "too many starts of this agent");
		e->next_retention_ns = 0; /* makes room */
		break;
	case LEDGER_FULL:
		refuse(it, REPLY_REFUSED, "too many agents");
		e->pending.refused++;
		break;
	default:
		refuse(it, REPLY_BUSY, "out of memory");
		it->reply.retry_ms = BUSY_RETRY_MS;
		break;
	}
	it->reply.epoch = it->batch.epoch;
	it->reply.sequence = it->row && it->row->epoch == it->batch.epoch
				     ? it->row->pending.sequence
				     : 0;
}

/* Moves the batch to our time if the agent's clock is off. */
static int correct_clock(struct item *it, const struct push *p)
{
	int64_t shift_us =
		skew_shift_us(p, &it->batch, it->request.received_us);

	if (shift_us == 0)
		return 0;
	if (skew_move(it->arena, &it->batch, shift_us, p->batch, p->batch_len,
		      &it->moved, &it->len) == 0) {
		it->data = it->moved;
		return 0;
	}
	it->moved = NULL; /* counted all the same, where it says */
	return batch_decode(it->arena, p->batch, p->batch_len, &it->batch,
			    NULL);
}

/*
 * Reads the events. Their columns are needed after the commit only to join the
 * service graph: else the next batch takes their memory, which is near.
 */
static int prepare(struct engine *e, struct item *it)
{
	if (fold_requests(&it->batch) == 0)
		return 0;
	if (it->batch.events.connection && fold_graph(e->fold)) {
		struct batch_arena *columns = it->columns;

		it->columns = e->columns;
		e->columns = columns;
	}
	return fold_prepare(e->fold, &it->batch, it->request.received_us,
			    &it->prepared);
}

/* Decodes, validates and asks the ledger; the reply is ready but not sent. */
static void examine(struct engine *e, struct item *it)
{
	struct push p;
	const char *reason = "not a push";
	int err;

	it->reply = (struct reply){ .protocol = PROTOCOL_VERSION };
	it->row = NULL;
	it->prepared = NULL;
	it->log_id = 0;
	it->fresh = it->rubbish = false;
	e->pending.bytes_received += it->request.len;
	err = push_decode(it->request.data, it->request.len, &p);
	if (err == 0 &&
	    (p.protocol < PROTOCOL_OLDEST || p.protocol > PROTOCOL_VERSION)) {
		refuse(it, REPLY_VERSION, "protocol not spoken here");
		e->pending.refused++;
		return;
	}
	if (err == 0) {
		it->data = p.batch;
		it->len = p.batch_len;
		err = batch_decode_apart(it->arena, e->columns, p.batch,
					 p.batch_len, &it->batch, &reason);
	}
	if (err == 0)
		err = correct_clock(it, &p);
	if (err == -ENOMEM) {
		refuse(it, REPLY_BUSY, "out of memory");
		it->reply.retry_ms = BUSY_RETRY_MS;
		return;
	}
	if (err < 0) {
		refuse(it, REPLY_REFUSED, reason ? reason : "not a batch");
		it->rubbish = true;
		e->pending.refused++;
		log_warn("refused a message: %s", it->reply.reason);
		return;
	}
	if (!gate_may_be(e->gate, &it->request, it->batch.agent)) {
		/* Not lost: whoever set it up wrong can still put it right. */
		refuse(it, REPLY_CONFLICT,
		       "the certificate is not this agent's");
		it->rubbish = true;
		e->pending.refused++;
		log_warn("refused a message: the certificate of its sender is "
			 "not that of agent %s",
			 it->batch.agent);
		return;
	}
	if (prepare(e, it) < 0) {
		refuse(it, REPLY_BUSY, "out of memory");
		it->reply.retry_ms = BUSY_RETRY_MS;
		return;
	}
	judge(e, it, &p);
}

/* The log holds what was counted; a heartbeat only moves its ledger row. */
static int log_items(struct engine *e, uint64_t *id)
{
	int err = 0;

	for (size_t i = 0; i < e->n_items && err == 0; i++) {
		struct item *it = &e->item[i];
		struct store_log row;

		if (!it->fresh || it->requests == 0)
			continue;
		it->log_id = ++*id;
		row = (struct store_log){
			.id = it->log_id,
			.received_us = it->request.received_us,
			.agent = it->batch.agent,
			.epoch = it->batch.epoch,
			.sequence = it->batch.sequence,
			.requests = it->requests,
			.data = it->data,
			.len = it->len,
		};
		err = store_put_log(e->store, &row);
		e->pending.log_batches++;
		e->pending.log_bytes += it->len;
	}
	return err;
}

static int put_ledger(struct engine *e)
{
	int err = 0;

	for (struct ledger_epoch *row = ledger_dirty(e->ledger);
	     row && err == 0; row = row->next_dirty)
		err = store_put_ledger(e->store, row->agent->name, row->epoch,
				       &row->pending);
	for (size_t i = 0; i < e->n_info && err == 0; i++)
		err = store_put_agent(e->store, e->info[i]);
	return err;
}

struct due {
	bool windows, checkpoint;
};

static int put_windows(struct engine *e)
{
	uint64_t merged = store_merged_windows(e->store);
	int err = checkpoint_windows(e->checkpoint, e->last_id);

	e->pending.windows += windows_count(fold_windows(e->fold));
	e->pending.windows -= store_merged_windows(e->store) - merged;
	return err;
}

static int write_group(struct engine *e, const struct due *due, uint64_t *id)
{
	int err = store_begin(e->store);

	if (err == 0)
		err = log_items(e, id);
	if (err == 0)
		err = put_ledger(e);
	if (err == 0 && due->windows)
		err = put_windows(e);
	if (err == 0 && due->checkpoint)
		err = checkpoint_step(e->checkpoint, e->last_id,
				      e->opt.checkpoint_slice);
	if (err == 0)
		err = put_counters(e);
	if (err == 0)
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
	pthread_mutex_lock(&e->mutex);
	ledger_abort(e->ledger);
	e->counters.commit_errors++;
	e->pending = e->counters;
	pthread_mutex_unlock(&e->mutex);
	set_ready(e, why);
	e->next_probe_ns = clock_mono_ns() + ms_ns(PROBE_MS);
	for (size_t i = 0; i < e->n_items; i++) {
		struct item *it = &e->item[i];

		if (!it->row)
			continue; /* refused whatever happens */
		refuse(it, REPLY_BUSY, "cannot commit");
		it->reply.retry_ms = BUSY_RETRY_MS;
	}
}

/* Lets snapshots that wait go first: a mutex alone is not fair. */
static void lock_state(struct engine *e)
{
	pthread_mutex_lock(&e->mutex);
	while (atomic_load(&e->waiting))
		pthread_cond_wait(&e->served, &e->mutex);
}

/*
 * The batches are committed, so there is no way back: if one can't be counted,
 * what is shown would be wrong until a new start folds the log again.
 */
static void fold_or_die(struct engine *e, const struct item *it)
{
	struct fold_batch fb = { .batch = &it->batch,
				 .log_id = it->log_id,
				 .received_us = it->request.received_us };

	if (fold_count(e->fold, &fb, it->prepared) < 0) {
		log_error("out of memory while counting; the log has it all: "
			  "start again");
		abort();
	}
}

static void show_group(struct engine *e, uint64_t id)
{
	uint64_t start = clock_mono_ns();

	lock_state(e);
	fold_unshare(e->fold, e->oldest ? e->oldest->generation : UINT64_MAX);
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
	e->pending.fold_ns_total += clock_mono_ns() - start;
	e->counters = e->pending;
	pthread_mutex_unlock(&e->mutex);
}

static void reply_all(struct engine *e)
{
	for (size_t i = 0; i < e->n_items; i++) {
		gate_reply(e->gate, &e->item[i].request, &e->item[i].reply,
			   e->item[i].rubbish);
		free(e->item[i].moved);
		e->item[i].moved = NULL;
	}
	if (e->n_items > 0)
		e->n_answered = e->n_items;
	e->n_items = 0;
	fold_forget(e->fold);
}

/* One transaction for the group and what else is due. */
static int commit_group(struct engine *e, const struct due *due)
{
	uint64_t id = e->last_id, start = clock_mono_ns(), took;
	bool wants_round = due->checkpoint;
	int err = write_group(e, due, &id);

	if (err < 0) {
		group_failed(e, err);
		return err;
	}
	took = clock_mono_ns() - start;
	e->commit_ns = (7 * e->commit_ns + took) / 8;
	e->pending.commits++;
	e->pending.commit_us_total += took / CLOCK_NS_PER_US;
	if (wants_round || due->windows)
		e->pending.checkpoint_us_total += took / CLOCK_NS_PER_US;
	pthread_mutex_lock(&e->mutex); /* snapshots copy the slots' marks too */
	checkpoint_committed(e->checkpoint);
	pthread_mutex_unlock(&e->mutex);
	e->pending.checkpoints = checkpoint_rounds(e->checkpoint);
	for (size_t i = 0; i < e->n_info; i++)
		e->info[i]->info_dirty = false;
	e->n_info = 0;
	show_group(e, id);
	if (!e->ready)
		set_ready(e, NULL);
	return 0;
}

/* ---- timers ------------------------------------------------------------ */

static int expire(struct engine *e, uint64_t *batches, uint64_t *windows)
{
	int64_t now_us = clock_real_us();
	int64_t before_us =
		now_us - (int64_t)atomic_load(&e->log_retention_s) * 1000000;
	int64_t before_s =
		now_us / 1000000 - (int64_t)atomic_load(&e->window_retention_s);
	struct store_sizes sizes = { 0 };
	uint64_t bytes = 0, used;
	int n, err = store_sizes(e->store, &sizes, false);

	if (err < 0)
		return err;
	used = sizes.file_bytes - sizes.free_bytes;
	e->pending.store_bytes = sizes.file_bytes;
	if (e->pending.log_bytes > atomic_load(&e->log_retention_bytes))
		before_us = INT64_MAX;
	if (used > e->pending.log_bytes &&
	    used - e->pending.log_bytes >
		    atomic_load(&e->window_retention_bytes))
		before_s = sizes.first_window_s + 1;
	n = store_expire_log(e->store, before_us,
			     checkpoint_watermark(e->checkpoint),
			     RETENTION_ROWS, &bytes);
	if (n < 0)
		return n;
	*batches = (uint64_t)n;
	e->pending.log_batches -= (uint64_t)n;
	e->pending.log_bytes -= bytes;
	n = store_expire_windows(e->store, before_s, RETENTION_WINDOWS);
	if (n < 0)
		return n;
	*windows = (uint64_t)n;
	e->pending.retention_deleted_batches += *batches;
	e->pending.retention_deleted_windows += *windows;
	e->pending.windows -= *windows;
	return sizes.free_bytes > VACUUM_SLACK_BYTES + sizes.file_bytes / 8
		       ? store_vacuum(e->store, VACUUM_PAGES)
		       : 0;
}

/* Late: nothing that was on its way then can still come, replays apart. */
static int64_t late_before_us(struct engine *e)
{
	uint64_t late_s = atomic_load(&e->log_retention_s);

	if (late_s < EPOCH_LATE_S)
		late_s = EPOCH_LATE_S;
	return clock_real_us() - (int64_t)late_s * 1000000;
}

static void count_gate(struct engine *e)
{
	struct gate_stats stats;

	gate_stats(e->gate, &stats);
	e->pending.gate_busy = stats.busy;
	e->pending.gate_cut_off = stats.cut_off;
	e->pending.gate_waited = stats.waited;
	e->pending.gate_turned_away = stats.turned_away;
	e->pending.gate_connections = stats.connections;
	e->pending.gate_held_bytes = stats.held_bytes;
}

static void retention(struct engine *e, uint64_t now_ns)
{
	struct retirement retired = { .n = 0 };
	uint64_t batches = 0, windows = 0;
	int err = store_begin(e->store);

	count_gate(e);
	if (err == 0)
		err = expire(e, &batches, &windows);
	if (err == 0)
		err = retire_put(e->store, e->ledger, late_before_us(e),
				 &retired);
	if (err == 0)
		err = store_commit(e->store);
	if (err < 0) {
		log_warn("retention failed: %s", store_error(e->store));
		store_rollback(e->store);
		e->pending = e->counters;
	} else {
		pthread_mutex_lock(&e->mutex);
		e->pending.retired_epochs += retire_done(&retired);
		e->counters = e->pending;
		pthread_mutex_unlock(&e->mutex);
	}
	/* More to do: soon again, but ingest goes in between. */
	e->next_retention_ns =
		now_ns +
		ms_ns(err == 0 && (batches == RETENTION_ROWS ||
				   windows == RETENTION_WINDOWS || retired.more)
			      ? 20
			      : 1000);
}

static struct due what_is_due(struct engine *e, uint64_t now)
{
	struct due due = { 0 };
	size_t deltas = windows_count(fold_windows(e->fold));

	if (deltas > WINDOWS_PENDING_MAX ||
	    (deltas > 0 && now >= e->next_windows_ns))
		due.windows = true;
	if (now >= e->next_checkpoint_ns) {
		e->next_checkpoint_ns =
			now + ms_ns(e->opt.checkpoint_interval_ms);
		checkpoint_begin(e->checkpoint, e->last_id);
	}
	due.checkpoint = checkpoint_active(e->checkpoint);
	return due;
}

/* A flush may take a tenth of the time, so its length sets the next one. */
static void windows_flushed(struct engine *e, uint64_t started)
{
	uint64_t now = clock_mono_ns();
	uint64_t wait = 10 * (now - started);

	if (wait < ms_ns(e->opt.window_interval_ms))
		wait = ms_ns(e->opt.window_interval_ms);
	e->next_windows_ns = now + wait;
}

/*
 * Commits are as frequent as the disk makes them cheap: the time between them
 * is at least three times what one takes, up to the configured interval, or
 * until a transaction's worth of bytes waits, or all who may have more do.
 */
static void pace(struct engine *e)
{
	uint64_t now = clock_mono_ns(), gap = 3 * e->commit_ns;

	if (gap > ms_ns(e->opt.commit_interval_ms))
		gap = ms_ns(e->opt.commit_interval_ms);
	e->next_commit_ns = now + gap;
}

/*
 * An agent waits for its answer, so when as many batches wait as were answered
 * together last time, no more will come: without this, few but busy agents
 * would get one batch each per interval.
 */
static bool enough_waits(struct engine *e)
{
	size_t bytes, n = gate_queued(e->gate, &bytes);

	return bytes >= e->opt.group_bytes ||
	       (bytes >= WORTH_A_COMMIT && n >= e->n_answered);
}

static void hold_for_more(struct engine *e)
{
	uint64_t now = clock_mono_ns();

	while (now < e->next_commit_ns && !atomic_load(&e->stop) &&
	       !enough_waits(e)) {
		uint64_t left = e->next_commit_ns - now;
		struct timespec ts = { 0 };

		ts.tv_nsec = (long)(left < POLL_NS ? left : POLL_NS);
		nanosleep(&ts, NULL);
		now = clock_mono_ns();
	}
}

static size_t collect(struct engine *e, int timeout_ms)
{
	struct gate_request r[GROUP_MAX];
	size_t n = gate_collect(e->gate, r, GROUP_MAX, e->opt.group_bytes,
				timeout_ms);

	for (size_t i = 0; i < n; i++) {
		e->item[i].request = r[i];
		examine(e, &e->item[i]);
	}
	e->n_items = n;
	return n;
}

static void turn(struct engine *e)
{
	uint64_t now;
	struct due due;
	size_t n;

	hold_for_more(e);
	n = collect(e, atomic_load(&e->stop) ? 0 : 100);
	now = clock_mono_ns();
	due = what_is_due(e, now);
	if (!e->ready && n == 0 && now < e->next_probe_ns)
		return;
	if (n > 0 || due.windows || due.checkpoint || !e->ready) {
		int err = commit_group(e, &due);

		reply_all(e);
		pace(e);
		if (due.windows && err == 0)
			windows_flushed(e, now);
	}
	if (e->ready && now >= e->next_retention_ns)
		retention(e, now);
}

int engine_save(struct engine *e)
{
	struct due due = { .windows = true, .checkpoint = true };
	int err;

	e->n_items = 0;
	checkpoint_begin(e->checkpoint, e->last_id);
	do {
		err = commit_group(e, &due);
		due.windows = false;
	} while (err == 0 && checkpoint_active(e->checkpoint));
	return err;
}

static void *run(void *arg)
{
	struct engine *e = arg;
	size_t bytes;

	while (!atomic_load(&e->stop))
		turn(e);
	gate_stop(e->gate);
	while (gate_queued(e->gate, &bytes) > 0)
		turn(e);
	engine_save(e);
	return NULL;
}

/* ---- life -------------------------------------------------------------- */

static void set_defaults(struct engine_options *o)
{
#define DEFAULT(field, value)                                                  \
	do {                                                                   \
		if (!o->field)                                                 \
			o->field = (value);                                    \
	} while (0)
	DEFAULT(views, views_default());
	DEFAULT(queue_bytes, (size_t)64 << 20);
	DEFAULT(group_bytes, (size_t)4 << 20);
	DEFAULT(commit_interval_ms, 20);
	DEFAULT(checkpoint_interval_ms, 10000);
	DEFAULT(checkpoint_slice, 2000);
	DEFAULT(window_interval_ms, 1000);
	DEFAULT(log_retention_s, 86400);
	DEFAULT(log_retention_bytes, (uint64_t)1 << 30);
	DEFAULT(window_retention_s, 7 * 86400);
	DEFAULT(window_retention_bytes, (uint64_t)1 << 30);
	DEFAULT(max_window_series, 100000);
	DEFAULT(clock_future_s, 60);
	DEFAULT(clock_past_s, (uint32_t)o->window_retention_s);
#undef DEFAULT
}

void engine_set_limits(struct engine *e, const struct engine_options *opt)
{
	struct engine_options o = *opt;

	set_defaults(&o);
	atomic_store(&e->series_idle_s, o.series_idle_s);
	atomic_store(&e->log_retention_s, o.log_retention_s);
	atomic_store(&e->log_retention_bytes, o.log_retention_bytes);
	atomic_store(&e->window_retention_s, o.window_retention_s);
	atomic_store(&e->window_retention_bytes, o.window_retention_bytes);
}

static int copy_text(char **out, const char *text)
{
	*out = text ? strdup(text) : NULL;
	return text && !*out ? -ENOMEM : 0;
}

static int copy_options(struct engine *e, const struct engine_options *opt)
{
	e->opt = *opt;
	set_defaults(&e->opt);
	engine_set_limits(e, opt);
	if (!opt->store_dir)
		return -EINVAL;
	if (copy_text(&e->store_dir, opt->store_dir) < 0 ||
	    copy_text(&e->cert_file, opt->cert_file) < 0 ||
	    copy_text(&e->key_file, opt->key_file) < 0 ||
	    copy_text(&e->ca_file, opt->ca_file) < 0)
		return -ENOMEM;
	e->urls = calloc(opt->n_ingest_urls + 1, sizeof(*e->urls));
	if (!e->urls)
		return -ENOMEM;
	for (size_t i = 0; i < opt->n_ingest_urls; i++)
		if (copy_text(&e->urls[i], opt->ingest_urls[i]) < 0)
			return -ENOMEM;
	e->opt.store_dir = e->store_dir;
	e->opt.ingest_urls = (const char *const *)e->urls;
	e->opt.cert_file = e->cert_file;
	e->opt.key_file = e->key_file;
	e->opt.ca_file = e->ca_file;
	return 0;
}

static void drop_state(struct engine *e)
{
	checkpoint_free(e->checkpoint);
	fold_free(e->fold);
	ledger_free(e->ledger);
	e->checkpoint = NULL;
	e->fold = NULL;
	e->ledger = NULL;
}

static int load_state(struct engine *e)
{
	struct fold_options fo = {
		.views = e->opt.views,
		.max_window_series = e->opt.max_window_series,
		.future_us = (uint64_t)e->opt.clock_future_s * 1000000,
		.past_us = (uint64_t)e->opt.clock_past_s * 1000000,
		.edge_wait_us = e->opt.edge_wait_us,
		.edge_skew_us = e->opt.edge_skew_us,
		.max_waiting = e->opt.max_waiting,
	};
	int err = fold_new(&e->fold, &fo);

	if (err == 0)
		err = ledger_new(&e->ledger, e->opt.max_agents);
	if (err == 0)
		err = checkpoint_new(&e->checkpoint, e->fold, e->store);
	if (err == 0 && e->opt.fold_all)
		checkpoint_fold_all(e->checkpoint);
	if (err == 0)
		err = checkpoint_load(e->checkpoint, e->ledger, &e->last_id);
	if (err == 0)
		err = load_counters(e);
	return err;
}

static int open_state(struct engine *e)
{
	int err = store_open(&e->store, e->store_dir);

	if (err < 0)
		return err;
	err = load_state(e);
	if (err != -EUCLEAN)
		return err;
	drop_state(e);
	e->last_id = 0;
	err = store_set_aside(&e->store, "its content makes no sense");
	return err < 0 ? err : load_state(e);
}

int engine_new(struct engine **out, const struct engine_options *opt)
{
	struct engine *e = calloc(1, sizeof(*e));
	int err;

	if (!e)
		return -ENOMEM;
	pthread_mutex_init(&e->mutex, NULL);
	pthread_mutex_init(&e->ready_mutex, NULL);
	pthread_mutex_init(&e->order_mutex, NULL);
	pthread_cond_init(&e->served, NULL);
	err = copy_options(e, opt);
	if (err == 0)
		err = batch_arena_new(&e->columns);
	for (size_t i = 0; i < GROUP_MAX && err == 0; i++) {
		err = batch_arena_new(&e->item[i].arena);
		if (err == 0)
			err = batch_arena_new(&e->item[i].columns);
	}
	if (err == 0)
		err = open_state(e);
	if (err < 0) {
		engine_free(e);
		return err;
	}
	e->order = calloc(fold_views(e->fold) + 1, sizeof(*e->order));
	if (!e->order) {
		engine_free(e);
		return -ENOMEM;
	}
	e->ready = true;
	*out = e;
	return 0;
}

int engine_start(struct engine *e)
{
	struct gate_options go = {
		.urls = e->opt.ingest_urls,
		.n_urls = e->opt.n_ingest_urls,
		.allow_plaintext = e->opt.allow_plaintext,
		.cert_file = e->cert_file,
		.key_file = e->key_file,
		.ca_file = e->ca_file,
		.queue_bytes = e->opt.queue_bytes,
		.max_connections = e->opt.max_agents ? 2 * e->opt.max_agents +
							       CONNECTIONS_MORE
						     : 0,
	};
	int err = gate_open(&e->gate, &go);

	if (err < 0)
		return err;
	e->next_checkpoint_ns =
		clock_mono_ns() + ms_ns(e->opt.checkpoint_interval_ms);
	err = -pthread_create(&e->thread, NULL, run, e);
	if (err < 0) {
		gate_close(e->gate);
		e->gate = NULL;
		return err;
	}
	e->started = true;
	return 0;
}

int engine_renew_tls(struct engine *e, const char *cert_file,
		     const char *key_file, const char *ca_file)
{
	return gate_renew_tls(e->gate, cert_file, key_file, ca_file);
}

void engine_stop(struct engine *e)
{
	if (!e->started)
		return;
	atomic_store(&e->stop, true);
	gate_wake(e->gate);
	pthread_join(e->thread, NULL);
	e->started = false;
	gate_close(e->gate);
	e->gate = NULL;
}

void engine_free(struct engine *e)
{
	if (!e)
		return;
	engine_stop(e);
	for (size_t v = 0; e->order && v < fold_views(e->fold); v++)
		free(e->order[v].slot);
	free(e->order);
	drop_state(e);
	store_close(e->store);
	batch_arena_free(e->columns);
	for (size_t i = 0; i < GROUP_MAX; i++) {
		batch_arena_free(e->item[i].arena);
		batch_arena_free(e->item[i].columns);
	}
	for (size_t i = 0; e->urls && e->urls[i]; i++)
		free(e->urls[i]);
	free(e->urls);
	free(e->store_dir);
	free(e->cert_file);
	free(e->key_file);
	free(e->ca_file);
	free(e->info);
	buf_fini(&e->blob);
	pthread_cond_destroy(&e->served);
	pthread_mutex_destroy(&e->ready_mutex);
	pthread_mutex_destroy(&e->order_mutex);
	pthread_mutex_destroy(&e->mutex);
	free(e);
}
