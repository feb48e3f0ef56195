/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/engine/engine_state.h"
#include "common/clock.h"

/*
 * The engine's thread: collects a group and commits it, together with windows
 * and checkpoint slices that are due.
 */

#define WINDOWS_PENDING_MAX 100000u /* deltas in memory that force a flush */
#define WORTH_A_COMMIT ((size_t)256 << 10) /* bytes that can end a pause */
#define IDLE_MS 100u /* between checks for due work without messages */

static struct engine_due what_is_due(struct engine *e, uint64_t now)
{
	struct engine_due due = { 0 };
	size_t deltas = fold_pending_windows(e->fold);

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

/* Flushing windows may take a tenth of the time, so wait ten times as long. */
static void windows_flushed(struct engine *e, uint64_t started)
{
	uint64_t now = clock_mono_ns();
	uint64_t wait = 10 * (now - started);

	if (wait < ms_ns(e->opt.window_interval_ms))
		wait = ms_ns(e->opt.window_interval_ms);
	e->next_windows_ns = now + wait;
}

/* Sets the time of the next commit. wait_for_group() may end the pause. */
static void pace(struct engine *e)
{
	e->next_commit_ns = clock_mono_ns() +
			    gather_pause_ns(e->commit_ns, e->connections,
					    ms_ns(e->opt.commit_interval_ms));
}

/*
 * Waits until the next commit is due, or is worthwhile earlier; then up to
 * IDLE_MS for a first message. An agent sends its next batch only after the
 * reply, so once as many messages are queued as the last group had, more are
 * unlikely: if they have WORTH_A_COMMIT bytes, the pause ends. Else a few busy
 * agents would get only one batch each per interval.
 */
static void wait_for_group(struct engine *e)
{
	const struct gate_enough group = {
		.messages = e->n_answered,
		.bytes = WORTH_A_COMMIT,
		.most_bytes = e->opt.group_bytes,
	};
	const struct gate_enough one = { .messages = 1,
					 .most_bytes = SIZE_MAX };

	if (!atomic_load(&e->stop))
		gate_wait(e->gate, &group, e->next_commit_ns);
	if (!atomic_load(&e->stop))
		gate_wait(e->gate, &one, clock_mono_ns() + ms_ns(IDLE_MS));
}

static size_t collect(struct engine *e)
{
	struct gate_request r[GROUP_MAX];
	size_t n = gate_collect(e->gate, r, GROUP_MAX, e->opt.group_bytes);

	batch_arena_reset(e->small);
	e->n_large = 0;
	for (size_t i = 0; i < n; i++) {
		e->item[i].request = r[i];
		engine_examine(e, &e->item[i]);
	}
	e->n_items = n;
	return n;
}

/* What the last turn cost, and what that means for the agents. */
static void decide_pace(struct engine *e)
{
	const struct gather_limits limits = {
		.batches_per_s = atomic_load(&e->batches_per_s),
		.max_ms = atomic_load(&e->gather_max_ms),
	};
	uint64_t cpu_ns = clock_thread_ns(), bytes = e->pending.bytes_received;
	struct gate_stats stats;

	gate_stats(e->gate, &stats);
	e->connections = stats.connections;
	gather_note(&e->gather, cpu_ns - e->cpu_ns, e->n_answered,
		    bytes - e->cpu_bytes);
	e->pending.gather_ms = gather_decide(
		&e->gather, &limits, stats.connections, clock_mono_ns());
	e->pending.busy_ns_total += cpu_ns - e->cpu_ns;
	e->cpu_ns = cpu_ns;
	e->cpu_bytes = bytes;
}

static void engine_turn(struct engine *e)
{
	uint64_t now;
	struct engine_due due;
	size_t n;

	decide_pace(e);
	wait_for_group(e);
	n = collect(e);
	now = clock_mono_ns();
	due = what_is_due(e, now);
	if (!e->ready && n == 0 && now < e->next_probe_ns)
		return;
	if (n > 0 || due.windows || due.checkpoint || !e->ready) {
		int err = engine_commit(e, &due);

		engine_reply(e);
		pace(e);
		if (due.windows && !err)
			windows_flushed(e, now);
	}
	if (e->ready && now >= e->next_retention_ns)
		engine_retention(e, now);
	if (e->ready)
		engine_forget_due(e);
}

int engine_save(struct engine *e)
{
	struct engine_due due = { .windows = true, .checkpoint = true };
	int err;

	e->n_items = 0;
	checkpoint_begin(e->checkpoint, e->last_id);
	do {
		err = engine_commit(e, &due);
		due.windows = false;
	} while (!err && checkpoint_active(e->checkpoint));
	return err;
}

void *engine_loop(void *arg)
{
	struct engine *e = arg;
	size_t bytes;

	e->cpu_ns = clock_thread_ns();
	while (!atomic_load(&e->stop))
		engine_turn(e);
	gate_stop(e->gate);
	while (gate_queued(e->gate, &bytes) > 0)
		engine_turn(e);
	engine_save(e);
	return NULL;
}
