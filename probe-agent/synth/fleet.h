/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_SYNTH_FLEET_H
#define PROBE_AGENT_SYNTH_FLEET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Simulates many agents in one process, to put load or faults on an aggregator.
 * Each agent has a connection of its own and at most one batch without a reply,
 * gathers as long as the replies ask for, and joins what became due in an
 * outage, as a real one does. One thread and an epoll loop drive them all, so
 * that little of the machine goes to the simulation. The caller supplies the
 * batches ready-made. (A real agent has an uplink instead.)
 */
struct fleet;

/* Faults that a fleet injects; see struct fleet_stats. */
enum fleet_fault {
	FLEET_FAULT_NONE,
	FLEET_FAULT_DUP, /* sends every acknowledged batch again */
	FLEET_FAULT_REORDER, /* sends 2 1 4 3 …: odd numbers come too late */
	FLEET_FAULT_RUBBISH, /* sends random bytes before each batch */
};

/* An encoded batch without agent, epoch, sequence and base time. */
struct fleet_batch {
	const void *body; /* borrowed for the fleet's life */
	size_t len;
	uint64_t events;
	uint64_t increments; /* of samples */
	int64_t span_us; /* how long ago its first event started */
	uint64_t intervals; /* of the agent's that it covers, at least 1 */
	unsigned tag; /* for the caller's use */
};

/*
 * Supplies batch k (0, 1, …) of an agent, for at most that many intervals that
 * are due. False: no more. The fleet's thread.
 */
typedef bool (*fleet_next_fn)(void *arg, unsigned agent, uint64_t k,
			      uint64_t intervals, struct fleet_batch *out);
/*
 * Called when a batch was acknowledged and should be counted. The fleet's
 * thread.
 */
typedef void (*fleet_counted_fn)(void *arg, const struct fleet_batch *b);

struct fleet_options {
	const char *url;
	unsigned agents;
	const char *id_prefix; /* ids are prefix-00001 … */
	uint64_t epoch;
	/*
	 * Of an agent's batches; 0: no pause. Interval i of agent k of n ends
	 * i + k / n intervals after the start.
	 */
	uint64_t interval_us;
	uint32_t reply_timeout_ms;
	enum fleet_fault fault;
	fleet_next_fn next;
	fleet_counted_fn counted;
	void *arg;
};

#define FLEET_REPLY_MS 10000u /* times above are one */

struct fleet_stats {
	int64_t start_us; /* wall clock */
	uint64_t batches, events, bytes; /* acknowledged, each once */
	uint64_t resent; /* for lack of a reply in time */
	uint64_t refused, busy, conflicts;
	uint64_t duplicates; /* sent again on purpose and acknowledged */
	uint64_t late; /* reordered: acknowledged, but too late to count */
	uint64_t rubbish; /* messages of random bytes that were refused */
	uint64_t dials; /* connections that were tried */
	unsigned active; /* agents that have not finished */
	unsigned outstanding; /* batches without a reply */
	unsigned connected;
	uint32_t gather_ms; /* asked for by the last reply */
};

/*
 * Starts the agents; raises the limit of open files if needed. Sets *out,
 * released by fleet_free(). -EMFILE: the limit is too low (logged). -EINVAL:
 * url, which must be tcp://. -ENOMEM.
 */
int fleet_start(struct fleet **out, const struct fleet_options *opt);
/* Stops new batches; agents finish after the reply to the outstanding one. */
void fleet_stop(struct fleet *f);
void fleet_stats(struct fleet *f, struct fleet_stats *out);
/* Of the times from a batch sent first to its reply, the one at a rank in 1000.
 */
uint32_t fleet_reply_ms(struct fleet *f, unsigned permille);
void fleet_free(struct fleet *f); /* NULL is fine */

#endif /* PROBE_AGENT_SYNTH_FLEET_H */
