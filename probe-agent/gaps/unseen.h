/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_GAPS_UNSEEN_H
#define PROBE_AGENT_GAPS_UNSEEN_H

#include <stdbool.h>
#include <stddef.h>

/* What the agent does not see: the rows of unseen.def. Constant. */
enum unseen_reason {
#define UNSEEN(reason, key, fronts, what, told, advice) UNSEEN_##reason,
#include "probe-agent/gaps/unseen.def"
#undef UNSEEN
	UNSEEN_REASONS,
};

struct unseen {
	const char *key; /* "": /proc does not show it */
	const char *fronts; /* ways to capture, blank-separated; "": all */
	const char *what;
	const char *told; /* a metric; "": nothing tells */
	const char *advice;
};

extern const struct unseen unseen_table[UNSEEN_REASONS];

/* Is it true of this way to capture? */
bool unseen_with(const struct unseen *u, const char *front);

#endif /* PROBE_AGENT_GAPS_UNSEEN_H */
