/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_OUTBOX_UPLINK_H
#define PROBE_AGENT_OUTBOX_UPLINK_H

#include <stdint.h>

#include "probe-agent/outbox/outbox.h"

/*
 * The thread that carries batches from an outbox to the aggregator, one at a
 * time, and takes them out when they are acknowledged. With uplink_tls.c the
 * only file of the agent that sees nng. Their times are taken to be of
 * clock_steady_us().
 */
struct uplink;

struct uplink_options {
	const char *url; /* tcp://host:port, tls+tcp://host:port */
	const char *ca_file, *cert_file, *key_file; /* tls; NULL: none */
	uint32_t reply_timeout_ms; /* 0: 10 s; then sent again */
};

/* Starts the thread. -EINVAL: url. Borrows the outbox until uplink_stop(). */
int uplink_start(struct uplink **out, const struct uplink_options *opt,
		 struct outbox *ob);
/*
 * Tries for up to drain_ms to get the outbox acknowledged, then stops and
 * waits for the thread. NULL is fine.
 */
void uplink_stop(struct uplink *up, uint32_t drain_ms);

/*
 * Without a thread, for who brings batches himself: one at a time, by one
 * thread. Sets *out, released by uplink_close(). Errors as above.
 */
int uplink_open(struct uplink **out, const struct uplink_options *opt);
void uplink_close(struct uplink *up); /* NULL is fine */
/*
 * Sends one batch, whose times are of no clock that runs here, and waits for
 * the answer. -ETIMEDOUT: none in time; -EPROTO:
 * one that makes no sense; -EIO.
 */
struct reply;
int uplink_exchange(struct uplink *up, const void *batch, size_t len,
		    struct reply *out);

struct uplink_stats {
	uint64_t sent, acknowledged, refused, busy, timeouts, connects;
	uint64_t conflicts; /* another agent has our id */
	int connected;
};
void uplink_stats(struct uplink *up, struct uplink_stats *out);

#endif /* PROBE_AGENT_OUTBOX_UPLINK_H */
