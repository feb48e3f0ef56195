/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_UNSEEN_H
#define PROBE_AGENT_UNSEEN_H

#include <stdbool.h>
#include <stddef.h>

/* What the agent does not see, as unseen.def has it. */
struct unseen {
	const char *fronts; /* ways to capture, blank-separated; "": all */
	const char *what;
	const char *told; /* a metric; "": nothing tells */
};

extern const struct unseen unseen_table[];
extern const size_t unseen_n;

/* Is it true of this way to capture? */
bool unseen_with(const struct unseen *u, const char *front);

#endif /* PROBE_AGENT_UNSEEN_H */
