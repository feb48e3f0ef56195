/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/outbox/reply_policy.h"

static uint32_t busy_ms(const struct reply *r)
{
	if (r->retry_ms == 0)
		return REPLY_POLICY_RETRY_MS;
	return r->retry_ms < REPLY_POLICY_RETRY_MAX_MS
		       ? r->retry_ms
		       : REPLY_POLICY_RETRY_MAX_MS;
}

enum reply_policy reply_policy(const struct reply *r, uint64_t epoch,
			       uint64_t sequence, uint32_t *wait_ms)
{
	*wait_ms = 0;
	switch (r->status) {
	case REPLY_ACCEPTED:
		if (r->epoch == epoch && r->sequence >= sequence)
			return REPLY_POLICY_COUNTED;
		break;
	case REPLY_REFUSED:
		return REPLY_POLICY_REFUSED;
	case REPLY_BUSY:
		*wait_ms = busy_ms(r);
		return REPLY_POLICY_AGAIN;
	case REPLY_CONFLICT:
	case REPLY_VERSION:
		*wait_ms = REPLY_POLICY_CONFLICT_MS;
		return REPLY_POLICY_AGAIN;
	case REPLY_UNKNOWN:
		break;
	}
	*wait_ms = REPLY_POLICY_RETRY_MS;
	return REPLY_POLICY_STRANGE;
}
