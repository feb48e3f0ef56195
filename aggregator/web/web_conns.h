/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_WEB_WEB_CONNS_H
#define AGGREGATOR_WEB_WEB_CONNS_H

#include <stddef.h>
#include <stdint.h>

/*
 * All open connections, each with a deadline for its current phase. A
 * connection past its deadline, for example because the peer sends or reads one
 * byte per second, is shut down; its event loop notices and cleans up. Any
 * thread.
 */
struct web_conns;
struct web_conn;

/*
 * Starts a thread. Sets *out, released by web_conns_stop(). -ENOMEM, -EAGAIN.
 */
int web_conns_start(struct web_conns **out);
/* Waits for the thread. No connection may be left. NULL is fine. */
void web_conns_stop(struct web_conns *s);

/*
 * Adds a connection with a deadline in `seconds` from now. NULL: out of memory.
 * The caller still owns fd and must remove the connection before closing it.
 */
struct web_conn *web_conns_add(struct web_conns *s, int fd, unsigned seconds);
void web_conns_remove(struct web_conns *s, struct web_conn *c);
/* Moves the deadline to `seconds` from now. */
void web_conns_deadline(struct web_conns *s, struct web_conn *c,
			unsigned seconds);

size_t web_conns_count(struct web_conns *s);
uint64_t web_conns_cut(struct web_conns *s); /* connections shut down so far */

#endif /* AGGREGATOR_WEB_WEB_CONNS_H */
