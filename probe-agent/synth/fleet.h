/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_SYNTH_FLEET_H
#define PROBE_AGENT_SYNTH_FLEET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Many agents in one process, each with a connection of its own to the
 * aggregator and one batch outstanding, driven by nng's callbacks instead of
 * threads. Batches are made beforehand by the caller. For load and for faults;
 * a real agent has an uplink.
 */
struct fleet;

/* What makes this fleet a hostile one; see fleet_stats. */
enum fleet_fault {
	FLEET_FAULT_NONE,
	FLEET_FAULT_DUP, /* every batch again after its acknowledgement */
	FLEET_FAULT_REORDER, /* 2 1 4 3 …: the odd ones come too late */
	FLEET_FAULT_RUBBISH, /* bytes that are no batch before each batch */
};

/* The tables and events of a batch, encoded without agent and sequence. */
struct fleet_batch {
	const void *body; /* must live as long as the fleet */
	size_t len;
	uint64_t events;
	int64_t span_us; /* its first event began so long ago */
	unsigned tag; /* the caller's */
};

/* Batch k (0, 1, …) of an agent; false: it has no more. Any thread. */
typedef bool (*fleet_next_fn)(void *arg, unsigned agent, uint64_t k,
			      struct fleet_batch *out);
/* A batch was acknowledged, and counted as far as a sender knows. Any thread.
 */
typedef void (*fleet_counted_fn)(void *arg, const struct fleet_batch *b);

struct fleet_options {
	const char *url;
	unsigned agents;
	const char *id_prefix; /* ids are prefix-00001 … */
	uint64_t epoch;
	uint64_t interval_us; /* between an agent's batches; 0: no pause */
	uint32_t reply_timeout_ms;
	enum fleet_fault fault;
	fleet_next_fn next;
	fleet_counted_fn counted;
	void *arg;
};

struct fleet_stats {
	uint64_t batches, events, bytes; /* acknowledged, each once */
	uint64_t resent; /* no answer in time */
	uint64_t refused, busy, conflicts;
	uint64_t duplicates; /* sent again on purpose and acknowledged */
	uint64_t late; /* reordered ones, acknowledged but not counted */
	uint64_t rubbish; /* and refused, as it should be */
	unsigned active; /* agents not finished yet */
	unsigned outstanding; /* batches sent and not answered */
};

/*
 * Raises the limit on open files if it must. Sets *out, released by
 * fleet_free(). -EMFILE (said in the log), -EINVAL, -ENOMEM.
 */
int fleet_start(struct fleet **out, const struct fleet_options *opt);
/* No new batches: agents finish with what is outstanding. */
void fleet_stop(struct fleet *f);
void fleet_stats(struct fleet *f, struct fleet_stats *out);
void fleet_free(struct fleet *f); /* NULL is fine */

#endif /* PROBE_AGENT_SYNTH_FLEET_H */
