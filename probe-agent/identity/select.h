/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_IDENTITY_SELECT_H
#define PROBE_AGENT_IDENTITY_SELECT_H

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
struct select_rules;

/* Copies what it needs of cfg. Sets *out, see select_free(). -EINVAL
 * (logged), -ENOMEM. */
int select_new(struct select_rules **out, const struct agent_config *cfg);
void select_free(struct select_rules *s); /* NULL is fine */

bool select_follows(const struct select_rules *s, const struct endpoint *end,
		    const struct identity *id);

#endif /* PROBE_AGENT_IDENTITY_SELECT_H */
