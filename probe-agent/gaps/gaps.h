/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_GAPS_GAPS_H
#define PROBE_AGENT_GAPS_GAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "probe-agent/gaps/unseen.h"
#include "probe-agent/identity/filter.h"
#include "probe-agent/identity/identity.h"
#include "proto/batch.h"

/*
 * Services of this node whose traffic can't be read, and why. Inspects each
 * process that has a TCP socket, listening or connected, or a UDP socket of
 * HTTP/3, by what /proc shows. A reason says what a program can do, not what
 * its connections carry: a Go program has TLS code even if it only speaks plain
 * HTTP, which is seen. The caller owns the result; any thread.
 */
struct gaps;

struct gaps_options {
	uint32_t pid; /* inspects this process only; 0: all */
	const char *front; /* way to capture; "": none */
	bool tls_off; /* TLS libraries are not attached to */
	const struct filter_rules *filter; /* borrowed during the call */
	struct identity_table *identity; /* the same */
};

struct gaps_row {
	char *service;
	uint32_t pid; /* of one of its processes */
	enum role role;
	uint16_t port; /* of the service: remote for a client */
	enum unseen_reason reason;
};

#define GAPS_ROWS_MAX 4096u
#define GAPS_ENDS_MAX 64u /* ports that are inspected of one process */

/* What was not inspected, so that nothing can be said of it. */
struct gaps_left_out {
	uint64_t processes; /* may not be read */
	uint64_t files, sockets, rows; /* over a cap */
};

/* Sets *out, released by gaps_free(). -ENOMEM, or the error of reading /proc.
 */
int gaps_find(struct gaps **out, const struct gaps_options *opt);
void gaps_free(struct gaps *g); /* NULL is fine */

/* Sorted by reason, service, role and port; each occurs once. Borrowed. */
size_t gaps_rows(const struct gaps *g, const struct gaps_row **out);
void gaps_left_out(const struct gaps *g, struct gaps_left_out *out);
/* Services that have a row of that reason. */
uint64_t gaps_services(const struct gaps *g, enum unseen_reason reason);

#endif /* PROBE_AGENT_GAPS_GAPS_H */
