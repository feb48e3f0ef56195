/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "common/log.h"
#include "probe-agent/outbox/last_words.h"
#include "probe-agent/outbox/reply_policy.h"
#include "probe-agent/outbox/uplink_state.h"

/* What became of a batch of last_words.h. */
enum told {
	TOLD, /* the aggregator knows */
	TOLD_LATER, /* the next start tries again */
	TOLD_AGAIN, /* no answer yet */
};

static enum told tell_last_words(struct uplink *up,
				 const struct outbox_item *it)
{
	enum reply_policy policy;
	struct reply r;
	uint32_t wait_ms = REPLY_POLICY_RETRY_MS;
	int err;

	if (!uplink_connected(up))
		return TOLD_AGAIN;
	err = uplink_send(up, it, 0);
	if (!err)
		err = uplink_receive(up, &r);
	if (err == -ETIMEDOUT) {
		uplink_redial(up);
		uplink_failed(up, NULL);
	}
	if (err) {
		if (err != -ETIMEDOUT && err != -ECANCELED)
			uplink_sleep(up, wait_ms);
		return TOLD_AGAIN;
	}
	policy = reply_policy(&r, it->epoch, it->sequence, &wait_ms);
	if (policy == REPLY_POLICY_COUNTED || policy == REPLY_POLICY_REFUSED) {
		log_info("aggregator knows what an earlier start gave up "
			 "epoch=%llu",
			 (unsigned long long)it->epoch);
		return TOLD;
	}
	if (r.status == REPLY_CONFLICT || r.status == REPLY_VERSION) {
		log_warn("what an earlier start gave up is not taken, kept for "
			 "the next start reason=\"%s\"",
			 r.reason);
		return TOLD_LATER;
	}
	uplink_sleep(up, wait_ms);
	return TOLD_AGAIN;
}

/* Before any batch of this start, which has a newer epoch. */
void uplink_tell_last_words(struct uplink *up)
{
	struct outbox_item it;
	enum told told = TOLD;

	while (told != TOLD_LATER && !uplink_quitting(up) &&
	       last_words_first(up->last_words, &it)) {
		told = tell_last_words(up, &it);
		if (told == TOLD)
			last_words_drop(up->last_words);
	}
}
