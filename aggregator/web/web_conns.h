/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_WEB_WEB_CONNS_H
#define AGGREGATOR_WEB_WEB_CONNS_H

#include <stddef.h>
#include <stdint.h>

/*
 * Every open connection with the deadline of what it is doing. Who is late, by
 * sending or reading a byte a second, is shut down; its event loop sees that
 * and cleans up. Any thread.
 */
struct web_conns;
struct web_conn;

/* Sets *out, released by web_conns_stop(). Starts a thread. */
int web_conns_start(struct web_conns **out);
/* No connection may be left. NULL is fine. */
void web_conns_stop(struct web_conns *s);

/* NULL if out of memory. fd stays the caller's; remove before it is closed. */
struct web_conn *web_conns_add(struct web_conns *s, int fd, unsigned seconds);
void web_conns_remove(struct web_conns *s, struct web_conn *c);
void web_conns_deadline(struct web_conns *s, struct web_conn *c,
			unsigned seconds);

size_t web_conns_count(struct web_conns *s);
uint64_t web_conns_cut(struct web_conns *s); /* shut down so far */

#endif /* AGGREGATOR_WEB_WEB_CONNS_H */
