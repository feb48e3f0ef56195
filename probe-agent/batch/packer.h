/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_BATCH_PACKER_H
#define PROBE_AGENT_BATCH_PACKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/batch.h"

/*
 * Events in, encoded columnar batches out. Interns strings, resources and
 * series per batch. Not locked: the agent's loop thread owns it.
 */
struct packer;
struct samples_table;

/*
 * One end of a connection. IPv4 takes the first 4 bytes, the rest is 0. An
 * IPv4-mapped IPv6 address counts as the IPv4 address.
 */
struct packer_end {
	const uint8_t *address; /* 16 bytes, network order */
	uint16_t port; /* host byte order */
};

/* One finished request. Strings are borrowed until packer_add() returns. */
struct packer_event {
	/*
	 * 0, or a number that saves lookups of texts: all events with this
	 * number have the same texts of the resource, and
	 * their method, route and scheme point to strings that stay as they
	 * are for the packer's life.
	 */
	uint64_t resource;
	BATCH_RESOURCE_TEXTS; /* NULL: "" */
	const char *method, *route, *scheme, *address;
	uint32_t role, status, outcome, version, port;
	uint32_t rpc, rpc_status; /* as in struct batch_series */
	int64_t start_us; /* wall clock */
	uint64_t duration_us;
	bool untimed; /* duration_us is unknown, and counts as 0 */
	uint64_t ttfb_us; /* time to first byte; 0: none, counts as duration */
	uint64_t request_bytes, response_bytes;
	const uint8_t *trace; /* 24 bytes: trace id, span id; NULL: none */
	struct packer_end local, remote; /* address NULL: unknown */
	uint32_t stream; /* of HTTP/2, between these ends; 0: none */
};

/*
 * Sets *out, released by packer_free(). agent (copied) and epoch go into each
 * batch. -ENOMEM.
 */
int packer_new(struct packer **out, const char *agent, uint64_t epoch);
void packer_free(struct packer *p); /* NULL is fine */

/*
 * Continues where a durable outbox ends: with the last sequence number used and
 * the number of events packed up to there.
 */
void packer_resume(struct packer *p, uint64_t sequence, uint64_t packed);

/*
 * Sets what batches say about the agent itself. It is sent in the next batch,
 * in each heartbeat, and repeated from time to time. Copied. -ENOMEM.
 */
int packer_set_info(struct packer *p, const struct batch_info *info);

/*
 * Adds one event. Returns 0, or 1: the batch is full now, and packer_take()
 * must be called before the next event. -ENOMEM.
 */
int packer_add(struct packer *p, const struct packer_event *e);

/*
 * The samples that go along with the next batches, for the caller to fill.
 * Owned by the packer.
 */
struct samples_table *packer_samples(struct packer *p);

size_t packer_pending(const struct packer *p); /* events not taken yet */

/*
 * Encodes the events added since the last call as a batch with the next
 * sequence number, and starts a new one. The batch carries *losses, but packed
 * is the packer's own count. A batch without events is a heartbeat. *data is
 * malloc'd and the caller's. -EMSGSIZE, -ENOMEM: nothing was taken.
 */
int packer_take(struct packer *p, const struct batch_losses *losses,
		void **data, size_t *len, uint64_t *sequence);

#endif /* PROBE_AGENT_BATCH_PACKER_H */
