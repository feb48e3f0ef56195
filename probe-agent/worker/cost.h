/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_WORKER_COST_H
#define PROBE_AGENT_WORKER_COST_H

#include <stdbool.h>
#include <stdint.h>

#include "probe-agent/worker/object.h"

/*
 * What programs cost. The kernel measures it only while somebody asks, which
 * itself costs something on every run of every program of the host; so it is
 * asked one second in ten, and what ran between is estimated. One thread.
 */

/* --- of one program --- */

struct cost {
	struct object_cost last; /* as the kernel had it */
	uint64_t last_ns; /* when; 0: never */
	double runs_s, run_s, traps_s; /* rates in the last window */
	double cpu; /* part of one CPU in the last window, traps included */
	uint64_t runs, run_ns, trap_ns; /* estimates, since it was attached */
	uint64_t window_ns; /* when this window began; 0: none is open */
};

void cost_begin(struct cost *c, uint64_t now_ns, const struct object_cost *now);
/* trap_ns: what a breakpoint costs here. False: no window was open. */
bool cost_end(struct cost *c, uint64_t now_ns, const struct object_cost *now,
	      uint64_t trap_ns);

/* --- of the host --- */

/* Has the kernel measure; the fd ends it when closed. Negative errno. */
int cost_measure(void);
/* What a uprobe's breakpoint costs here, ns: measured on a function of ours,
 * in some milliseconds. 0: it could not be. */
uint64_t cost_of_trap(void);

#endif /* PROBE_AGENT_WORKER_COST_H */
