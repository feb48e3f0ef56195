/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_IDENTITY_IDENTITY_H
#define PROBE_AGENT_IDENTITY_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "probe-agent/config/config.h"
#include "probe-agent/http/conn.h"

/*
 * Who a process is, resolved once per process start: a PID that is used again
 * has another start time and so another entry. The name of a service is, first
 * found first taken:
 *
 *   1. the first matching rule of the configuration (services:)
 *   2. OTEL_SERVICE_NAME, else service.name in OTEL_RESOURCE_ATTRIBUTES
 *   3. the systemd unit, without ".service"; not session or user scopes
 *   4. the executable's name (an interpreter's own: "python3.11")
 *   5. the comm that the tap gave, if the process is gone already
 *
 * The container's id is part of the identity, not of the name: two replicas of
 * a service are one service with two instances. Entries are capped; when full
 * the one unused for longest goes, counted. Not locked: loop thread only.
 */
struct identity_table;

struct identity {
	uint64_t number; /* of these texts, never of others; 0: none */
	const char *service;
	const char *namespace_; /* "" if none */
	const char *instance; /* node, or node/first 12 of the container id */
	const char *container; /* full id, "" if none */
	const char *executable; /* name without folder */
	const char *path; /* as in /proc/PID/exe, "" if unknown */
	bool self; /* one of redtap's own programs */
	bool gone; /* exited before we looked; only the comm is known */
};

struct identity_options {
	const char *node; /* borrowed for the table's life */
	const char *proc; /* NULL: "/proc" */
	size_t cap; /* processes remembered; 0: 4096 */
	const struct agent_service_rule *rules; /* borrowed likewise */
	size_t n_rules;
};

struct identity_stats {
	uint64_t resolved, evicted, gone; /* counts */
	uint64_t entries; /* now */
};

/* Sets *out, released by identity_free(). -EINVAL, -ENOMEM. */
int identity_new(struct identity_table **out,
		 const struct identity_options *opt);
void identity_free(struct identity_table *t); /* NULL is fine */

/*
 * Never NULL: an unknown process is a comm, and without memory a constant.
 * Borrowed until the next call. May read a few files of /proc the first time.
 */
const struct identity *identity_lookup(struct identity_table *t,
				       const struct endpoint *end);

void identity_stats(const struct identity_table *t, struct identity_stats *out);

#endif /* PROBE_AGENT_IDENTITY_IDENTITY_H */
