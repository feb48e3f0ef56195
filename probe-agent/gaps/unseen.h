/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_GAPS_UNSEEN_H
#define PROBE_AGENT_GAPS_UNSEEN_H

#include <stdbool.h>
#include <stddef.h>

#include "proto/batch.h"

/* What the agent does not see: the rows of proto/unseen.def. Constant. */
enum unseen_reason {
#define UNSEEN(reason, ...) UNSEEN_##reason,
#define UNSEEN_FOUND(reason, ...) UNSEEN_##reason,
#include "proto/unseen.def"
	UNSEEN_REASONS,
};

struct unseen {
	int gap; /* enum gap_reason; -1: services that have it are not found */
	const char *key; /* its name; "" likewise */
	const char *fronts; /* ways to capture, blank-separated; "": all */
	const char *what;
	const char *told; /* a metric; "": nothing tells */
	const char *advice;
};

extern const struct unseen unseen_table[UNSEEN_REASONS];

/* Is it true of this way to capture? */
bool unseen_with(const struct unseen *u, const char *front);

#endif /* PROBE_AGENT_GAPS_UNSEEN_H */
