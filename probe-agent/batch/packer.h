/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_BATCH_PACKER_H
#define PROBE_AGENT_BATCH_PACKER_H

#include <stddef.h>
#include <stdint.h>

#include "proto/batch.h"

/*
 * Events in, encoded columnar batches out. Interns strings, resources and
 * series per batch. Not locked: the agent's loop thread owns it.
 */
struct packer;

/* One end of a connection. IPv4 is in the first 4 bytes, mapped IPv6 too. */
struct packer_end {
	const uint8_t *address; /* 16 bytes, network order */
	uint16_t port; /* host byte order */
};

/* One finished request. Strings are borrowed until packer_add() returns. */
struct packer_event {
	/*
	 * 0, or a promise that saves looking texts up: events of one number
	 * have the same five texts from service to executable, and method,
	 * route and scheme stay what they are for the packer's life.
	 */
	uint64_t resource;
	const char *service, *namespace_, *instance, *container, *executable;
	const char *method, *route, *scheme, *address;
	uint32_t role, status, outcome, version, port;
	int64_t start_us; /* wall clock */
	uint64_t duration_us;
	uint64_t ttfb_us; /* time to first byte; 0, no response: as duration */
	uint64_t request_bytes, response_bytes;
	const uint8_t *trace; /* 24 bytes: trace id, span id; NULL: none */
	struct packer_end local, remote; /* address NULL: not known */
};

/* Sets *out, released by packer_free(). agent and epoch go into each batch. */
int packer_new(struct packer **out, const char *agent, uint64_t epoch);
void packer_free(struct packer *p); /* NULL is fine */

/*
 * Goes on after what a durable outbox remembers: the last sequence number used
 * and the events packed by then.
 */
void packer_resume(struct packer *p, uint64_t sequence, uint64_t packed);

/*
 * Identity that travels in the next batch, in heartbeats and now and then.
 * Copied. -ENOMEM.
 */
int packer_set_info(struct packer *p, const struct batch_info *info);

/*
 * Adds one event. 0; 1 if the batch is now full and must be taken first thing;
 * -ENOMEM.
 */
int packer_add(struct packer *p, const struct packer_event *e);

size_t packer_pending(const struct packer *p); /* events not taken yet */

/*
 * Encodes what was added since, with the next sequence number and the given
 * losses (losses->packed is set here), and starts a new batch. Works with no
 * events too: that is a heartbeat. *data is malloc'd and the caller's.
 */
int packer_take(struct packer *p, const struct batch_losses *losses,
		void **data, size_t *len, uint64_t *sequence);

#endif /* PROBE_AGENT_BATCH_PACKER_H */
