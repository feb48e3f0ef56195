/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_WORKER_EVENTS_H
#define PROBE_AGENT_WORKER_EVENTS_H

#include <stddef.h>
#include <stdint.h>

#include "probe-agent/worker/object.h"

/*
 * What a program sends through a ring or perf buffer, at most so many a second.
 * One thread.
 */
struct events;

/* Returns 0, or an error that ends the drain. */
typedef int (*events_fn)(void *arg, const void *data, size_t len);

/*
 * Sets *out, released by events_free(). rate: events a second; 0: no limit.
 * -ENOMEM, or the kernel's error.
 */
int events_new(struct events **out, const struct object_map *m, uint32_t rate,
	       events_fn fn, void *arg);
void events_free(struct events *e); /* NULL is fine */

int events_fd(const struct events *e); /* readable when there are some */
/* Calls fn for what is there; returns the first error of it. */
int events_drain(struct events *e);

struct events_stats {
	uint64_t delivered; /* to fn */
	uint64_t over_rate; /* not given to fn */
	uint64_t lost; /* no room, as perf buffers tell; of rings: 0 */
};
void events_stats(const struct events *e, struct events_stats *out);

#endif /* PROBE_AGENT_WORKER_EVENTS_H */
