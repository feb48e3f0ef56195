/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_COMMANDS_RUN_LOCAL_H
#define PROBE_AGENT_COMMANDS_RUN_LOCAL_H

#include <stddef.h>
#include <sys/types.h>

#include "probe-agent/programs/spec.h"

/*
 * Programs in a process of their own, for `program run` where no agent runs: it
 * writes a line of JSON for each key that changes, and can push what it counts
 * to an aggregator as an agent would.
 */

struct run_local_options {
	struct spec *spec; /* taken over; the list stays the caller's */
	size_t n;
	const char *to; /* URL of the aggregator; NULL: nothing is pushed */
	const char *node;
	bool xdp;
};

/*
 * Forks it. *fd gives its lines, the first is "ok" or "error WHY"; SIGTERM ends
 * it, after a last read. Negative errno.
 */
int run_local_start(const struct run_local_options *opt, int *fd, pid_t *pid);

#endif /* PROBE_AGENT_COMMANDS_RUN_LOCAL_H */
