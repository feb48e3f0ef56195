/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_UPLINK_H
#define PROBE_AGENT_UPLINK_H

#include <stdint.h>

#include "probe-agent/outbox.h"

/*
 * The thread that carries batches from an outbox to the aggregator, one at a
 * time, and takes them out when they are acknowledged. The only file of the
 * agent that sees nng.
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

struct uplink_stats {
	uint64_t sent, acknowledged, refused, busy, timeouts, connects;
	uint64_t conflicts; /* another agent has our id */
	int connected;
};
void uplink_stats(struct uplink *up, struct uplink_stats *out);

#endif /* PROBE_AGENT_UPLINK_H */
