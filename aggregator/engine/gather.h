/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_ENGINE_GATHER_H
#define AGGREGATOR_ENGINE_GATHER_H

#include <stddef.h>
#include <stdint.h>

/*
 * Decides how long agents are to gather requests for a batch, which each reply
 * tells them. What a fleet costs is its number of batches: agents times how
 * often they send. So the more agents there are, the longer they gather, and
 * longer still while small batches keep the engine's thread busy. What large
 * batches cost is their requests, which gathering does not make fewer. Pure;
 * only for the engine's thread.
 */
struct gather {
	uint64_t since_ns; /* start of the current interval */
	uint64_t busy_ns, messages, bytes; /* in it */
	uint32_t by_load_ms;
	uint32_t ms; /* decided; 0: as the agents like */
};

struct gather_limits {
	uint32_t batches_per_s; /* of all agents */
	uint32_t max_ms;
};

/* The engine worked that long for that many messages. */
void gather_note(struct gather *g, uint64_t busy_ns, size_t messages,
		 size_t bytes);

/*
 * Decides anew if GATHER_INTERVAL_MS have passed. agents: how many there are.
 * Returns g->ms.
 */
#define GATHER_INTERVAL_MS 500u
uint32_t gather_decide(struct gather *g, const struct gather_limits *limits,
		       size_t agents, uint64_t now_ns);

/*
 * Returns the pause between two commits: three times what one takes, or longer
 * if there are many agents, but at most most_ns. A commit takes some 0.3 ms of
 * CPU, whatever is in it, and many agents send at many different times, so that
 * there would always be something to commit.
 */
uint64_t gather_pause_ns(uint64_t commit_ns, size_t agents, uint64_t most_ns);

#endif /* AGGREGATOR_ENGINE_GATHER_H */
