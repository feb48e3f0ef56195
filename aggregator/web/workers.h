/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_WEB_WORKERS_H
#define AGGREGATOR_WEB_WORKERS_H

#include <stddef.h>

/*
 * A few threads and a bounded queue, for what an event loop must not do. Jobs
 * are embedded in what they work on; the pool never allocates for one.
 */
struct workers;

struct workers_job {
	struct workers_job *next; /* the pool's while it is queued */
	void (*run)(struct workers_job *j); /* on a worker; may free j */
};

/* Sets *out, released by workers_free(). -EAGAIN, -ENOMEM. */
int workers_start(struct workers **out, unsigned threads, size_t max_queued,
		  const char *name);

/* Refuses new jobs, runs what is queued, waits for the threads. */
void workers_stop(struct workers *p);
/* Stops first, if need be. For both NULL is fine. */
void workers_free(struct workers *p);

/* -EBUSY: the queue is full, or stopped. Then j is the caller's as before. */
int workers_submit(struct workers *p, struct workers_job *j);

#endif /* AGGREGATOR_WEB_WORKERS_H */
