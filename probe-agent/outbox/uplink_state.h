/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_OUTBOX_UPLINK_STATE_H
#define PROBE_AGENT_OUTBOX_UPLINK_STATE_H

#include <nng/nng.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "probe-agent/outbox/uplink.h"
#include "proto/batch.h"

/*
 * Internals of the uplink, for uplink*.c only: uplink.c has the socket and the
 * outbox's batches, uplink_words.c those of earlier starts.
 */
struct uplink {
	struct outbox *outbox;
	struct last_words *last_words;
	char *url;
	uint32_t reply_timeout_ms;
	nng_socket socket;
	nng_dialer dialer;
	nng_aio *aio; /* the send or receive in progress */
	bool has_socket;
	pthread_t thread;
	pthread_mutex_t lock; /* guards quit and ended, which wake announces */
	pthread_cond_t wake;
	bool quit, ended;
	atomic_uint pipe; /* id of the latest one */
	atomic_uint pipes;
	atomic_uint gather_ms; /* of the last reply */
	atomic_uint_fast64_t sent, acknowledged, refused, busy, timeouts,
		connects, conflicts;
};

/* --- uplink.c --- */

bool uplink_quitting(struct uplink *up);
/*
 * Sleeps for that long and up to half as long again, or until uplink_stop().
 * Agents to which one aggregator says wait, or that lost it at the same moment,
 * must not come back in step.
 */
void uplink_sleep(struct uplink *up, uint32_t ms);
/* Sends a new request, so that a late reply to the previous one is ignored. */
int uplink_send(struct uplink *up, const struct outbox_item *it,
		int64_t clock_us);
/* -ETIMEDOUT, -ECANCELED, -EPROTO, -EIO. */
int uplink_receive(struct uplink *up, struct reply *out);
/* Closes a connection that gave no reply, so that nng dials again. */
void uplink_redial(struct uplink *up);

/* --- uplink_words.c --- */

/* Sends what earlier starts gave up, before any batch of this one. */
void uplink_tell_last_words(struct uplink *up);

#endif /* PROBE_AGENT_OUTBOX_UPLINK_STATE_H */
