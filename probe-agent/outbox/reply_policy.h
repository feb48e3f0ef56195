/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_OUTBOX_REPLY_POLICY_H
#define PROBE_AGENT_OUTBOX_REPLY_POLICY_H

#include <stdint.h>

#include "proto/batch.h"

/* After no reply, a reply about another batch, or BUSY without a time. */
#define REPLY_POLICY_RETRY_MS 200u
#define REPLY_POLICY_RETRY_MAX_MS 10000u
/* After CONFLICT and VERSION: only an operator, or the other agent, ends it. */
#define REPLY_POLICY_CONFLICT_MS 5000u

/* What an aggregator's reply means for the batch that was sent. */
enum reply_policy {
	REPLY_POLICY_COUNTED, /* committed: forget the batch */
	REPLY_POLICY_REFUSED, /* never will be: drop the batch, count its loss
			       */
	REPLY_POLICY_AGAIN, /* send the same batch again after wait_ms */
	REPLY_POLICY_STRANGE, /* the same: the reply was about another batch */
};

/*
 * Decides. The whole table is in docs/PROTOCOL.md, "The conversation". Pure;
 * any thread.
 */
enum reply_policy reply_policy(const struct reply *r, uint64_t epoch,
			       uint64_t sequence, uint32_t *wait_ms);

#endif /* PROBE_AGENT_OUTBOX_REPLY_POLICY_H */
