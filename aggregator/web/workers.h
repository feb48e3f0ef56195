/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_WEB_WORKERS_H
#define AGGREGATOR_WEB_WORKERS_H

#include <stddef.h>

/*
 * A few threads with a bounded queue, for work that an event loop must not do.
 * A job is embedded in the struct that it works on, so the pool allocates
 * nothing per job. Any thread may submit.
 */
struct workers;

struct workers_job {
	struct workers_job *next; /* owned by the pool while queued */
	void (*run)(struct workers_job *j); /* runs on a worker; may free j */
};

/* Sets *out, released by workers_free(). -EAGAIN, -ENOMEM. */
int workers_start(struct workers **out, unsigned threads, size_t max_queued,
		  const char *name);

/*
 * Refuses new jobs, runs the queued ones, waits for the threads. NULL is fine.
 */
void workers_stop(struct workers *p);
/* Stops first, if needed. NULL is fine. */
void workers_free(struct workers *p);

/* -EBUSY: the queue is full or stopped; the caller still owns j. */
int workers_submit(struct workers *p, struct workers_job *j);

#endif /* AGGREGATOR_WEB_WORKERS_H */
