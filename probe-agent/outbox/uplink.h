/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_OUTBOX_UPLINK_H
#define PROBE_AGENT_OUTBOX_UPLINK_H

#include <stdint.h>

#include "probe-agent/outbox/outbox.h"

/*
 * The thread that sends batches from an outbox to the aggregator, one at a
 * time, and removes them once they are acknowledged. Times in its batches must
 * be of clock_steady_us(). Uses nng, see tests/lint.sh.
 */
struct uplink;

struct uplink_options {
	const char *url; /* tcp://host:port, tls+tcp://host:port */
	const char *ca_file, *cert_file, *key_file; /* tls; NULL: none */
	/*
	 * A secret that the aggregator may ask for. NULL: that of an aggregator
	 * on this host, if url is on it and there is one.
	 */
	const char *token_file;
	struct last_words *last_words; /* sent first; borrowed; NULL: none */
	uint32_t reply_timeout_ms; /* then the batch is sent again; 0: 10 s */
};

/*
 * Starts the thread, which borrows the outbox until uplink_stop(). -EINVAL:
 * url, tls files or token (logged). -ENOMEM, -EIO, -EAGAIN.
 */
int uplink_start(struct uplink **out, const struct uplink_options *opt,
		 struct outbox *ob);
/*
 * Waits up to drain_ms until the outbox is empty, then stops the thread and
 * waits for its end. NULL is fine.
 */
void uplink_stop(struct uplink *up, uint32_t drain_ms);

/*
 * Opens an uplink without a thread, for callers that supply the batches
 * themselves: one at a time, from one thread. Sets *out, released by
 * uplink_close(). Errors as above.
 */
int uplink_open(struct uplink **out, const struct uplink_options *opt);
void uplink_close(struct uplink *up); /* NULL is fine */
/*
 * Sends one batch whose times are of no running clock, as in a replay, and
 * waits for the reply. -ETIMEDOUT: no reply in time. -EPROTO: a malformed
 * reply. -ENOMEM, -EIO.
 */
struct reply;
int uplink_exchange(struct uplink *up, const void *batch, size_t len,
		    struct reply *out);

/*
 * Tries a conversation with the aggregator, step by step, for people to read.
 * Takes up to some 10 s.
 */
enum uplink_step {
	UPLINK_SETUP, /* the address and our files */
	UPLINK_NAME, /* of the host */
	UPLINK_CONNECT,
	UPLINK_TLS,
	UPLINK_PROTOCOL,
	UPLINK_ANSWER, /* would batches of this node be taken? */
	UPLINK_STEPS, /* all went well */
};
struct uplink_trial {
	enum uplink_step failed;
	char address[64]; /* "" before UPLINK_CONNECT */
	char cause[512], advice[256]; /* of the step that failed */
};
void uplink_try(const struct uplink_options *opt, const char *node,
		struct uplink_trial *out);

/*
 * The least time between batches that the aggregator asked for, at most
 * HEARTBEAT_MS; 0: it did not. Any thread. NULL is fine.
 */
uint32_t uplink_gather_ms(const struct uplink *up);

struct uplink_stats {
	uint64_t sent, acknowledged, refused, busy, timeouts, connects;
	uint64_t conflicts; /* another agent has our id */
	int connected;
};
void uplink_stats(struct uplink *up, struct uplink_stats *out);

#endif /* PROBE_AGENT_OUTBOX_UPLINK_H */
