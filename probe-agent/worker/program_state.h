/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_WORKER_PROGRAM_STATE_H
#define PROBE_AGENT_WORKER_PROGRAM_STATE_H

#include "probe-agent/worker/cgroup_ids.h"
#include "probe-agent/worker/events.h"
#include "probe-agent/worker/layout.h"
#include "probe-agent/worker/program.h"

/* What program.c and program_tell.c share. */

/* A ring or perf buffer of it. */
struct program_source {
	struct program *program;
	size_t table;
	struct events *events;
	struct events_stats stats; /* as counted last */
};

struct program {
	struct program_options opt;
	struct spec spec;
	bool prints; /* maps that are only shown are read, too */
	struct object *object;
	struct table **table;
	const struct spec_metric **metric; /* lists of the tables */
	size_t n_tables;
	struct program_source *source;
	size_t n_sources;
	struct cgroup_ids *cgroups;
	struct samples_table *to; /* while it is read */
	enum samples_state state;
	char reason[256];
	char pins[512];
	struct cost cost;
	struct {
		uint64_t runs, run_ns, trap_ns;
	} told;
	unsigned over; /* windows in a row over its budget */
	uint64_t lost[2]; /* as its wrapped calls had counted */
	int64_t read_us, took_us;
	uint64_t read_ns;
	struct program_times times;
};

#endif /* PROBE_AGENT_WORKER_PROGRAM_STATE_H */
