/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_SYNTH_FLEET_TIMER_H
#define PROBE_AGENT_SYNTH_FLEET_TIMER_H

#include <stddef.h>
#include <stdint.h>

/* A binary heap of timers, the earliest first. Only for the fleet's thread. */
struct fleet_timer {
	uint64_t at_ns; /* CLOCK_MONOTONIC */
	size_t place; /* in the heap, + 1; 0: not set */
};

struct fleet_timers {
	struct fleet_timer **heap;
	size_t n, cap;
};

/* 0 or -ENOMEM. cap: the most timers there will be. */
int fleet_timers_init(struct fleet_timers *t, size_t cap);
void fleet_timers_fini(struct fleet_timers *t);
/* Sets a timer, or sets it anew. */
void fleet_timer_set(struct fleet_timers *t, struct fleet_timer *timer,
		     uint64_t at_ns);
void fleet_timer_clear(struct fleet_timers *t, struct fleet_timer *timer);
/* Returns the earliest timer, or NULL. */
struct fleet_timer *fleet_timers_first(const struct fleet_timers *t);

#endif /* PROBE_AGENT_SYNTH_FLEET_TIMER_H */
