/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_WEB_WEB_TAILS_H
#define AGGREGATOR_WEB_WEB_TAILS_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Requests that wait for the log to grow: parked here, they hold no worker. A
 * thread looks at the log's end every WEB_TAILS_TICK_MS, and only while one is
 * parked. Any thread.
 */
#define WEB_TAILS_MAX 64u
#define WEB_TAILS_TICK_MS 200u

struct web_tails;

/* Embedded in what waits; the parker owns it again once wake() is called. */
struct web_tail {
	struct web_tail *next;
	uint64_t deadline_ns; /* monotonic */
	uint64_t seen; /* id of the log up to which it has looked */
	/*
	 * Called once, on the thread of the tails. last: the time is over, or
	 * the server stops. Returns false if it cannot go on now: it stays
	 * parked until the next tick; not with stopping.
	 */
	bool (*wake)(struct web_tail *t, bool last, bool stopping);
};

/* Sets *out, released by web_tails_stop(). -EAGAIN, -ENOMEM. */
int web_tails_start(struct web_tails **out, const char *store_path);
/* Wakes all with stopping, and refuses later ones. NULL is fine. */
void web_tails_stop(struct web_tails *s);
void web_tails_free(struct web_tails *s); /* after stop; NULL is fine */

/* -EBUSY: too many wait; -ESHUTDOWN: stopped. */
int web_tails_park(struct web_tails *s, struct web_tail *t);

#endif /* AGGREGATOR_WEB_WEB_TAILS_H */
