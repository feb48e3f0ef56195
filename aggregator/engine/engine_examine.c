/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

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
}

static int note_info(struct engine *e, struct ledger_agent *a,
		     const struct batch_info *info)
{
	int err;

	if (!*info->version && !*info->kernel && !*info->capture &&
	    info->n_probes == 0)
		return 0;
	snapshot_source_lock(&e->source);
	err = ledger_agent_set_info(a, info);
	snapshot_source_unlock(&e->source);
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

static void judge(struct engine *e, struct engine_item *it,
		  const struct push *p)
{
	int verdict;

	it->requests = fold_requests(&it->batch);
	snapshot_source_lock(&e->source); /* an agent may be added */
	verdict = ledger_offer(e->ledger, &it->batch, it->requests, p->sent_us,
			       it->request.received_us, &it->row);
	snapshot_source_unlock(&e->source);
	switch (verdict) {
	case LEDGER_NEW:
		it->fresh = true;
		it->reply.gather_ms = (uint32_t)e->pending.gather_ms;
		e->pending.corrected += it->moved != NULL;
		it->reply.status = REPLY_ACCEPTED;
		e->pending.batches++;
		e->pending.events += it->requests;
		e->pending.rollup_events += it->requests - it->batch.events.n;
		if (note_info(e, it->row->agent, &it->batch.info) < 0)
			log_warn("out of memory, info not stored agent=%s",
				 it->batch.agent);
		break;
	case LEDGER_DUPLICATE:
		it->reply.status = REPLY_ACCEPTED;
		it->reply.duplicate = true;
		e->pending.duplicates++;
		break;
	case LEDGER_CONFLICT:
		engine_refuse(it, REPLY_CONFLICT, "another agent has this id");
		break;
	case LEDGER_OVERLAP:
		engine_refuse(it, REPLY_REFUSED,
			      "overlaps with batches already counted");
		e->pending.refused++;
		break;
	case LEDGER_EXPIRED:
		engine_refuse(it, REPLY_REFUSED, "the epoch is too old");
		e->pending.refused++;
		break;
	case LEDGER_CROWDED:
		engine_refuse(it, REPLY_BUSY, "too many starts of this agent");
		e->next_retention_ns = 0; /* retires epochs soon */
		break;
	case LEDGER_FULL:
		engine_refuse(it, REPLY_REFUSED, "too many agents");
		e->pending.refused++;
		break;
	default:
		engine_refuse(it, REPLY_BUSY, "out of memory");
		it->reply.retry_ms = BUSY_RETRY_MS;
		break;
	}
	it->reply.epoch = it->batch.epoch;
	it->reply.sequence = it->row && it->row->epoch == it->batch.epoch
				     ? it->row->pending.sequence
				     : 0;
}

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

void engine_examine(struct engine *e, struct engine_item *it)
{
	struct push p;
	const char *reason = "not a push message";
	int err;

	it->reply = (struct reply){ .protocol = PROTOCOL_VERSION };
	it->row = NULL;
	it->prepared = NULL;
	it->log_id = 0;
	it->fresh = it->rubbish = false;
	e->pending.bytes_received += it->request.len;
	err = push_decode(it->request.data, it->request.len, &p);
	if (!err &&
	    (p.protocol < PROTOCOL_OLDEST || p.protocol > PROTOCOL_VERSION)) {
		engine_refuse(it, REPLY_VERSION,
			      "unsupported protocol version");
		e->pending.refused++;
		return;
	}
	if (!err)
		err = decode_item(e, it, &p, &reason);
	if (!err)
		err = correct_clock(it, &p);
	if (err == -ENOMEM) {
		engine_refuse(it, REPLY_BUSY, "out of memory");
		it->reply.retry_ms = BUSY_RETRY_MS;
		return;
	}
	if (err < 0) {
		engine_refuse(it, REPLY_REFUSED,
			      reason ? reason : "not a batch");
		it->rubbish = true;
		e->pending.refused++;
		log_warn("refused a message reason=\"%s\"", it->reply.reason);
		return;
	}
	if (!gate_may_be(e->gate, &it->request, it->batch.agent)) {
		/* CONFLICT: the agent keeps it until the setup is corrected. */
		engine_refuse(it, REPLY_CONFLICT,
			      "the certificate is not this agent's");
		it->rubbish = true;
		e->pending.refused++;
		log_warn("refused a message, its sender's certificate is for "
			 "another name agent=%s",
			 it->batch.agent);
		return;
	}
	if (prepare_events(e, it) < 0) {
		engine_refuse(it, REPLY_BUSY, "out of memory");
		it->reply.retry_ms = BUSY_RETRY_MS;
		return;
	}
	judge(e, it, &p);
}
