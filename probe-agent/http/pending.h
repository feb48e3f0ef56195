/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_HTTP_PENDING_H
#define PROBE_AGENT_HTTP_PENDING_H

#include "probe-agent/http/conn_engine.h"

/*
 * The store of requests under way: what is kept of a request until its outcome
 * is known, whatever its protocol. A protocol keeps the order in which they are
 * answered, and adds its own fields. All memory counts against the engine's
 * cap; the protocol owns each request.
 */

enum pending_part {
	PENDING_METHOD,
	PENDING_TARGET,
	PENDING_HOST,
	PENDING_TRACEPARENT,
	PENDING_TEXTS
};

/* The first member of a protocol's own struct, behind which the texts lie. */
struct pending {
	uint64_t start_ns;
	uint64_t first_byte_ns; /* of the response */
	uint32_t size; /* of this allocation */
	uint16_t own; /* bytes before the texts */
	uint16_t status; /* 0: its final response has not begun */
	uint16_t len[PENDING_TEXTS];
	uint8_t version;
	bool target_cut;
};

/*
 * Allocates a request of own bytes with a copy of the texts, each cut to a
 * maximum. The caller sets start_ns, version and all behind struct pending.
 * Released by pending_free(). NULL: cap reached or no memory.
 */
struct pending *pending_new(struct conn_engine *e, size_t own,
			    const struct slice text[PENDING_TEXTS]);
void pending_free(struct conn_engine *e, struct pending *p);
/* Lent for the life of p. */
struct slice pending_text(const struct pending *p, enum pending_part which);
/*
 * Fills the rest of *x, which has an outcome, end_ns and bytes, from c and p;
 * reports it. p stays the caller's.
 */
void pending_report(struct conn_engine *e, const struct conn *c,
		    const struct pending *p, struct exchange *x);
/* Frees memory that is kept for the next ones. */
void pending_free_spares(struct conn_engine *e);

#endif /* PROBE_AGENT_HTTP_PENDING_H */
