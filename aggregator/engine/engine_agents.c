/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/engine/engine_state.h"
#include "common/clock.h"
#include "common/log.h"

/*
 * Which agents the ledger has in memory. The store has more: those that were
 * silent for long leave the memory when others need the room, and come back
 * with what was counted of them at their next batch.
 */

/* Of max_agents: evict when this part is free, until that part is. */
#define ROOM_LOW 20u
#define ROOM_HIGH 10u
/* Rows of silent agents in the store, per agent in memory. */
#define STORED_ROWS 16u
#define STORED_DAYS 30
#define EXPIRE_ROWS 5000u
#define EXPIRE_MS 3600000u
#define EXPIRE_MORE_MS 1000u
#define FORGET_WAIT_S 10

/* --- agents that come back --- */

int engine_know_agent(struct engine *e, const char *name)
{
	int err;

	if (ledger_find(e->ledger, name) ||
	    ledger_agents(e->ledger) >= ledger_max(e->ledger))
		return 0;
	snapshot_source_lock(&e->source);
	err = checkpoint_load_agent(e->ledger, e->store, name);
	snapshot_source_unlock(&e->source);
	return err == -ENOMEM ? err : 0;
}

/* --- agents that leave --- */

/* What the store does not have any more, the memory need not have. */
static void drop_expired(struct engine *e)
{
	if (!e->expired_us || e->n_info > 0)
		return;
	snapshot_source_lock(&e->source);
	ledger_evict(e->ledger, ledger_agents(e->ledger), e->expired_us);
	checkpoint_agents_moved(e->checkpoint);
	snapshot_source_unlock(&e->source);
	e->expired_us = 0;
}

void engine_make_room(struct engine *e)
{
	size_t max = ledger_max(e->ledger), n = ledger_agents(e->ledger);
	size_t high = max / ROOM_HIGH > 0 ? max / ROOM_HIGH : 1, gone;
	int64_t silent_us = engine_ms_us(e->opt.agent_silent_ms);

	drop_expired(e);
	if (n < max - max / ROOM_LOW || n + high <= max || e->n_info > 0)
		return;
	snapshot_source_lock(&e->source);
	gone = ledger_evict(e->ledger, n + high - max,
			    clock_real_us() - silent_us);
	checkpoint_agents_moved(e->checkpoint);
	snapshot_source_unlock(&e->source);
	e->pending.agents_evicted += gone;
	e->evicted += gone;
	if (gone > 0)
		log_info("agents silent for longest left the memory agents=%zu "
			 "left=%zu max=%zu",
			 gone, ledger_agents(e->ledger), max);
}

static bool expiry_is_due(struct engine *e, uint64_t now_ns)
{
	return now_ns >= e->next_agents_ns ||
	       e->evicted >= ledger_max(e->ledger) / 2 + 1;
}

int engine_expire_agents(struct engine *e, uint64_t now_ns)
{
	int64_t now_us = clock_real_us();
	struct store_expiry x = {
		.before_us = now_us - (int64_t)STORED_DAYS * 86400 * 1000000,
		.silent_us = now_us - engine_ms_us(e->opt.agent_silent_ms),
		.most_rows = STORED_ROWS * ledger_max(e->ledger),
		.max = EXPIRE_ROWS,
	};
	int n;

	if (!expiry_is_due(e, now_ns) || e->n_info > 0)
		return 0;
	e->evicted = 0;
	n = store_expire_agents(e->store, &x);
	e->next_agents_ns =
		now_ns + ms_ns(n == EXPIRE_ROWS ? EXPIRE_MORE_MS : EXPIRE_MS);
	if (n > 0)
		e->expired_us = x.before_us;
	return n < 0 ? n : 0;
}

/* --- an operator's request to forget one --- */

int engine_forget(struct engine *e, const char *agent)
{
	struct timespec until;
	int err = -ETIMEDOUT;

	if (strlen(agent) > LIMIT_AGENT_BYTES)
		return -ENOENT;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += FORGET_WAIT_S;
	pthread_mutex_lock(&e->forget.mutex);
	while (e->forget.agent && err == -ETIMEDOUT)
		if (pthread_cond_timedwait(&e->forget.done, &e->forget.mutex,
					   &until) != 0)
			break;
	if (!e->forget.agent) {
		e->forget.agent = agent;
		e->forget.answered = false;
		gate_wake(e->gate);
		while (!e->forget.answered &&
		       pthread_cond_timedwait(&e->forget.done, &e->forget.mutex,
					      &until) == 0)
			;
		if (e->forget.answered)
			err = e->forget.err;
		e->forget.agent = NULL;
		pthread_cond_broadcast(&e->forget.done);
	}
	pthread_mutex_unlock(&e->forget.mutex);
	return err;
}

static int forget_agent(struct engine *e, const char *name)
{
	struct ledger_agent *a;
	int err = store_begin(e->store), n = 0;

	/* Else the next start would find the agent in the log again. */
	if (!err)
		err = checkpoint_ledger_whole(e->checkpoint, e->last_id);
	if (!err)
		n = store_drop_agent(e->store, name);
	err = n < 0 ? n : err;
	if (!err)
		err = store_commit(e->store);
	if (err < 0) {
		store_rollback(e->store);
		checkpoint_aborted(e->checkpoint);
		return err;
	}
	snapshot_source_lock(&e->source);
	checkpoint_committed(e->checkpoint);
	a = ledger_find(e->ledger, name);
	if (a)
		ledger_drop(e->ledger, a);
	checkpoint_agents_moved(e->checkpoint);
	snapshot_source_unlock(&e->source);
	if (n > 0 || a)
		log_info("agent forgotten at an operator's request agent=%s",
			 name);
	return n > 0 || a ? 0 : -ENOENT;
}

void engine_forget_due(struct engine *e)
{
	pthread_mutex_lock(&e->forget.mutex);
	/* The next commit writes the agents in info. */
	if (e->forget.agent && !e->forget.answered && e->n_info == 0) {
		e->forget.err = forget_agent(e, e->forget.agent);
		e->forget.answered = true;
		pthread_cond_broadcast(&e->forget.done);
	}
	pthread_mutex_unlock(&e->forget.mutex);
}

/* --- the token that agents must have --- */

int engine_set_token(struct engine *e, const char *file)
{
	struct token fresh = { .len = 0 };
	int err = 0;

	if (file) {
		err = token_read(&fresh, file);
		if (err == -ENOENT && token_make(file) == 0) {
			log_info("token file made for agents file=%s", file);
			err = token_read(&fresh, file);
		}
	}
	if (err < 0) {
		log_error("token file cannot be used file=%s error=\"%s\"",
			  file,
			  err == -EINVAL ? "its first line is not a token"
					 : strerror(-err));
		return err;
	}
	pthread_mutex_lock(&e->token_mutex);
	e->token = fresh;
	pthread_mutex_unlock(&e->token_mutex);
	return 0;
}

bool engine_token_is(struct engine *e, const char *text, size_t len)
{
	bool is;

	pthread_mutex_lock(&e->token_mutex);
	is = e->token.len == 0 || token_equal(&e->token, text, len);
	pthread_mutex_unlock(&e->token_mutex);
	return is;
}
