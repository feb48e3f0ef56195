/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_IDENTITY_FILTER_H
#define PROBE_AGENT_IDENTITY_FILTER_H

#include <stdbool.h>

#include "probe-agent/config/config.h"
#include "probe-agent/http/conn.h"
#include "probe-agent/identity/identity.h"

/*
 * Decides whether a connection is followed. Exclude wins over include; within
 * include every kind of list that is given must match (ports and executables),
 * one entry of it is enough. Our own programs are never followed unless
 * report_self. Immutable; any thread.
 */
struct filter_rules;

/* Copies what it needs of cfg. Sets *out, see filter_free(). -EINVAL
 * (logged), -ENOMEM. */
int filter_new(struct filter_rules **out, const struct agent_config *cfg);
void filter_free(struct filter_rules *s); /* NULL is fine */

bool filter_follows(const struct filter_rules *s, const struct endpoint *end,
		    const struct identity *id);

#endif /* PROBE_AGENT_IDENTITY_FILTER_H */
