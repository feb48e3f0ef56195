/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/engine/engine_state.h"
#include "aggregator/engine/skew.h"
#include "common/log.h"
#include "proto/limits.h"

/*
 * Turns a message into a batch that the ledger accepts, or into a reply with
 * the reason why not. Counts no requests yet.
 */

#define BUSY_RETRY_MS 1000u
#define SHARED_MAX ((size_t)32 << 20) /* of the arena of small batches */

void engine_refuse(struct engine_item *it, enum reply_status status,
		   const char *why)
{
	it->reply.status = status;
	snprintf(it->reply.reason, sizeof(it->reply.reason), "%s", why);
	if (status == REPLY_BUSY)
		it->reply.retry_ms = BUSY_RETRY_MS;
}

/* The same, and counts and logs the cause with the peer's address. */
static void turn_down(struct engine *e, struct engine_item *it,
		      enum reply_status status, enum refusal cause,
		      const char *why)
{
	engine_refuse(it, status, why);
	gate_refuse(e->gate, &it->request, cause, it->batch.agent, why);
	if (status == REPLY_REFUSED)
		e->pending.refused++;
}

static int note_info(struct engine *e, struct ledger_agent *a,
		     const struct batch_info *info)
{
	int err = 0;

	if (*info->version || *info->kernel || *info->capture ||
	    info->n_probes > 0) {
		snapshot_source_lock(&e->source);
		err = ledger_agent_set_info(e->ledger, a, info);
		snapshot_source_unlock(&e->source);
	}
	if (err < 0 || !a->info_dirty || a->info_queued)
		return err;
	if (e->n_info == e->info_cap) {
		size_t cap = e->info_cap ? 2 * e->info_cap : 64;
		void *p = realloc(e->info, cap * sizeof(*e->info));

		if (!p)
			return -ENOMEM;
		e->info = p;
		e->info_cap = cap;
	}
	e->info[e->n_info++] = a;
	a->info_queued = true;
	return 0;
}

/* --- the ledger's verdict --- */

struct answer {
	enum reply_status status;
	enum refusal cause;
	const char *why;
};

/* What is said to the sender, and to the operator. By enum ledger_verdict. */
static const struct answer answers[LEDGER_VERDICTS] = {
	[LEDGER_OVERLAP] = { REPLY_REFUSED, REFUSAL_OVERLAP,
			     "overlaps with batches already counted" },
	[LEDGER_FULL] = { REPLY_BUSY, REFUSAL_AGENTS,
			  "too many agents: see ingest.max_agents" },
	[LEDGER_CROWDED] = { REPLY_BUSY, REFUSAL_STARTS,
			     "too many starts of this agent" },
	[LEDGER_CONFLICT] = { REPLY_CONFLICT, REFUSAL_CONFLICT,
			      "another agent has this id" },
	[LEDGER_EXPIRED] = { REPLY_CONFLICT, REFUSAL_EXPIRED,
			     "this start of the agent is forgotten: restart "
			     "it, or let the aggregator forget its node" },
	[LEDGER_AHEAD] = { REPLY_CONFLICT, REFUSAL_AHEAD,
			   "this start of the agent is in the future: set the "
			   "node's clock, then restart the agent" },
	[LEDGER_LEAP] = { REPLY_CONFLICT, REFUSAL_LEAP,
			  "more sequence numbers are left out than the agent "
			  "can have sent" },
	[LEDGER_BEHIND] = { REPLY_CONFLICT, REFUSAL_BEHIND,
			    "another sender has used this sequence number" },
};

static int offer(struct engine *e, struct engine_item *it, const struct push *p)
{
	const struct ledger_arrival arrival = {
		.batch = &it->batch,
		.requests = it->requests,
		.sent_us = p->sent_us,
		.clock_us = p->clock_us,
		.now_us = it->request.received_us,
	};
	int verdict;

	snapshot_source_lock(&e->source); /* an agent may be added */
	verdict = ledger_offer(e->ledger, &arrival, &it->row);
	snapshot_source_unlock(&e->source);
	return verdict;
}

/*
 * A row that says more than the log does may be the work of a stranger, or of a
 * bit that flipped.
 */
static int offer_or_mend(struct engine *e, struct engine_item *it,
			 const struct push *p)
{
	int verdict = offer(e, it, p);

	if (verdict != LEDGER_BEHIND && verdict != LEDGER_OVERLAP)
		return verdict;
	switch (engine_mend(e, it, p)) {
	case ENGINE_MENDED:
		return offer(e, it, p);
	case ENGINE_COUNTED:
		return LEDGER_DUPLICATE;
	default:
		return verdict;
	}
}

/* What the envelope says about the sender, whatever becomes of the batch. */
static void note_sender(struct engine *e, struct engine_item *it,
			const struct push *p)
{
	struct ledger_agent *a = ledger_find(e->ledger, it->batch.agent);
	int64_t now_us = it->request.received_us;

	if (!a)
		return;
	snapshot_source_lock(&e->source);
	if (p->clock_us > 0 && !a->runs)
		a->runs = a->info_dirty = true;
	if (p->health.told)
		a->health = (struct ledger_health){
			.told = true,
			.outbox_bytes = p->health.outbox_bytes,
			.outbox_batches = p->health.outbox_batches,
			.oldest_us = engine_ms_us(p->health.oldest_ms),
			.acknowledged_us =
				p->health.acknowledged
					? now_us -
						  engine_ms_us(
							  p->health
								  .acknowledged_ms)
					: 0,
		};
	a->health.certificate_us = gate_certificate_s(&it->request) * 1000000;
	snapshot_source_unlock(&e->source);
}

static void accept_new(struct engine *e, struct engine_item *it)
{
	it->fresh = true;
	it->reply.gather_ms = (uint32_t)e->pending.gather_ms;
	e->pending.corrected += it->moved != NULL;
	it->reply.status = REPLY_ACCEPTED;
	e->pending.batches++;
	e->pending.events = sums_add(e->pending.events, it->requests);
	e->pending.rollup_events = sums_add(e->pending.rollup_events,
					    it->requests - it->batch.events.n);
	if (note_info(e, it->row->agent, &it->batch.info) < 0)
		log_warn("out of memory, info not stored agent=%s",
			 it->batch.agent);
}

static void judge(struct engine *e, struct engine_item *it,
		  const struct push *p)
{
	int verdict;

	it->requests = fold_requests(&it->batch);
	verdict = engine_know_agent(e, it->batch.agent);
	if (!verdict)
		verdict = offer_or_mend(e, it, p);
	note_sender(e, it, p);
	if (verdict == LEDGER_NEW) {
		accept_new(e, it);
	} else if (verdict == LEDGER_DUPLICATE) {
		it->reply.status = REPLY_ACCEPTED;
		it->reply.duplicate = true;
		e->pending.duplicates++;
	} else if (verdict < 0) {
		turn_down(e, it, REPLY_BUSY, REFUSAL_MEMORY, "out of memory");
	} else {
		const struct answer *a = &answers[verdict];

		if (verdict == LEDGER_OVERLAP)
			ledger_refuse(e->ledger, it->row);
		turn_down(e, it, a->status, a->cause, a->why);
		if (verdict == LEDGER_CROWDED || verdict == LEDGER_FULL)
			engine_retire_soon(e);
	}
	it->reply.epoch = it->batch.epoch;
	it->reply.sequence = it->row && it->row->epoch == it->batch.epoch
				     ? it->row->pending.sequence
				     : 0;
}

/* --- before that --- */

/* Moves the batch's times to our clock if the agent's is off. */
static int correct_clock(struct engine_item *it, const struct push *p)
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
	it->moved = NULL; /* then its times are taken as they are */
	it->len = p->batch_len;
	return batch_decode_more(it->arena, it->arena, p->batch, p->batch_len,
				 &it->batch, NULL);
}

/*
 * Only the service graph needs the columns of events after the commit. Those of
 * large batches are decoded into the same memory each time, which is still in
 * the CPU's cache, and it is exchanged if the graph needs them.
 */
static int prepare_events(struct engine *e, struct engine_item *it)
{
	if (fold_requests(&it->batch) == 0)
		return 0;
	if (it->arena != e->small && it->batch.events.connection &&
	    fold_graph(e->fold)) {
		struct batch_arena **joined = &e->joined[e->n_large - 1];
		struct batch_arena *columns = *joined;

		*joined = e->columns;
		e->columns = columns;
	}
	return fold_prepare(e->fold, &it->batch, it->request.received_us,
			    &it->prepared);
}

/* Beyond SHARED_MAX, small batches that are large when decoded get their own.
 */
static int decode_item(struct engine *e, struct engine_item *it,
		       const struct push *p, const char **reason)
{
	bool shared = p->batch_len <= SMALL_BYTES &&
		      batch_arena_used(e->small) < SHARED_MAX;

	it->data = p->batch;
	it->len = p->batch_len;
	if (shared || e->n_large == GROUP_LARGE) {
		it->arena = e->small;
		return batch_decode_more(e->small, e->small, p->batch,
					 p->batch_len, &it->batch, reason);
	}
	it->arena = e->large[e->n_large++];
	return batch_decode_apart(it->arena, e->columns, p->batch, p->batch_len,
				  &it->batch, reason);
}

/* Decodes the batch and puts its times right. Otherwise it has the reply. */
static bool read_batch(struct engine *e, struct engine_item *it,
		       const struct push *p)
{
	const char *reason = "not a batch";
	int err = decode_item(e, it, p, &reason);

	if (!err)
		err = correct_clock(it, p);
	if (!err)
		return true;
	if (err == -ENOMEM) {
		turn_down(e, it, REPLY_BUSY, REFUSAL_MEMORY, "out of memory");
	} else {
		it->rubbish = true;
		turn_down(e, it, REPLY_REFUSED, REFUSAL_MALFORMED, reason);
	}
	return false;
}

/*
 * True if the sender may speak for this agent. If not, it is answered CONFLICT:
 * the agent keeps its batches until the setup is corrected.
 */
static bool may_speak(struct engine *e, struct engine_item *it,
		      const char *agent)
{
	if (gate_may_be(e->gate, &it->request, agent))
		return true;
	it->rubbish = true;
	turn_down(e, it, REPLY_CONFLICT, REFUSAL_NAME,
		  "the certificate is not this agent's");
	e->pending.refused++;
	return false;
}

static bool has_token(struct engine *e, struct engine_item *it,
		      const struct push *p)
{
	if (engine_token_is(e, p->token, p->token_len))
		return true;
	it->rubbish = true;
	turn_down(e, it, REPLY_CONFLICT, REFUSAL_TOKEN,
		  p->token ? "the token is wrong: see token_file"
			   : "a token is missing: see token_file");
	return false;
}

/* Answers whether batches of that agent would be taken from this sender. */
static void answer_ask(struct engine *e, struct engine_item *it,
		       const struct push *p)
{
	char agent[LIMIT_AGENT_BYTES + 1];

	if (p->ask_len > LIMIT_AGENT_BYTES || memchr(p->ask, 0, p->ask_len)) {
		turn_down(e, it, REPLY_REFUSED, REFUSAL_MALFORMED,
			  "ask: not an agent's name");
		return;
	}
	memcpy(agent, p->ask, p->ask_len);
	agent[p->ask_len] = '\0';
	if (may_speak(e, it, agent))
		it->reply.status = REPLY_ACCEPTED;
}

void engine_examine(struct engine *e, struct engine_item *it)
{
	struct push p;

	it->reply = (struct reply){ .protocol = PROTOCOL_VERSION };
	it->batch = (struct batch){ .agent = NULL };
	it->row = NULL;
	it->prepared = NULL;
	it->log_id = 0;
	it->fresh = it->rubbish = false;
	e->pending.bytes_received += it->request.len;
	if (push_decode(it->request.data, it->request.len, &p) < 0) {
		it->rubbish = true;
		turn_down(e, it, REPLY_REFUSED, REFUSAL_MALFORMED,
			  "not a push message");
		return;
	}
	if (p.protocol < PROTOCOL_OLDEST || p.protocol > PROTOCOL_VERSION) {
		turn_down(e, it, REPLY_VERSION, REFUSAL_VERSION,
			  "unsupported protocol version");
		e->pending.refused++;
		return;
	}
	if (!has_token(e, it, &p))
		return;
	if (p.ask) {
		answer_ask(e, it, &p);
		return;
	}
	if (!read_batch(e, it, &p) || !may_speak(e, it, it->batch.agent))
		return;
	if (prepare_events(e, it) < 0) {
		turn_down(e, it, REPLY_BUSY, REFUSAL_MEMORY, "out of memory");
		return;
	}
	judge(e, it, &p);
}
