/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_IDENTITY_FILTER_H
#define PROBE_AGENT_IDENTITY_FILTER_H

#include <stdbool.h>

#include "probe-agent/http/exchange.h"
#include "probe-agent/identity/identity.h"

/*
 * Decides which connections are followed. Exclude wins over include. Within
 * include, every list that is given (ports, executables, containers) must
 * match; one matching entry of a list is enough. Our own programs are never
 * followed unless report_self is set. Immutable; any thread.
 */
struct filter_rules;

/* Each list is an array and its length, as the configuration loads them. */
struct filter_match {
	char **ports; /* "80", "8000-8999": local or remote */
	unsigned ports_count;
	char **executables; /* globs of the name; with a '/', of the path */
	unsigned executables_count;
	char **containers; /* globs of container ids; "*": in any container */
	unsigned containers_count;
};

struct filter_options {
	struct filter_match include; /* empty lists: everything */
	struct filter_match exclude; /* wins over include */
	bool report_self; /* also our own programs' traffic */
};

/*
 * Sets *out, released by filter_free(); nothing of opt is borrowed. -EINVAL: a
 * port is malformed (logged). -ENOMEM.
 */
int filter_new(struct filter_rules **out, const struct filter_options *opt);
/* True: a port or a range of ports, as in struct filter_match. */
bool filter_check_port(const char *text);
void filter_free(struct filter_rules *s); /* NULL is fine */

bool filter_follows(const struct filter_rules *s, const struct endpoint *end,
		    const struct identity *id);

#endif /* PROBE_AGENT_IDENTITY_FILTER_H */
