/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_HTTP_HTTP_PROTO_H
#define PROBE_AGENT_HTTP_HTTP_PROTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/tap.h"
#include "proto/batch.h"

struct conn;
struct conn_engine;
struct conn_stats;
struct exchange;

/*
 * What a protocol does with the connections that speak it. The engine finds the
 * connection of each record, keeps how far it has moved, and calls the protocol
 * of the connection; the protocol turns bytes into exchanges.
 *
 * A protocol is one file with a table of these functions, and one line in
 * http_proto.c. What it knows of a connection is a struct of at most
 * HTTP_PROTO_CONN_BYTES whose first member is struct conn, in memory that the
 * engine owns, zeroed behind struct conn before init(); anything larger hangs
 * from a pointer in it. Never locked: the engine's one thread.
 */
struct http_proto {
	const char *name;

	/*
	 * State that all its connections share, conn_engine.shared; both may be
	 * NULL. open() sets *shared, released by shut(), which is also called
	 * with NULL. 0 or negative errno.
	 */
	int (*open)(struct conn_engine *e, void **shared);
	void (*shut)(struct conn_engine *e, void *shared);
	/* Adds what it counts apart from the engine. May be NULL. */
	void (*stats)(const void *shared, struct conn_stats *out);

	/*
	 * Is a record of c this protocol's? Asked while no protocol is certain,
	 * of those that stand before the one that c has. NULL: only by default,
	 * or by conn_switch().
	 */
	bool (*claims)(const struct conn *c, const struct tap_rec_data *r);
	/*
	 * c begins to speak it at its positions in c->moved. asked: see
	 * conn_switch(). 0 or negative errno: then c is ignored.
	 */
	int (*init)(struct conn_engine *e, struct conn *c,
		    const struct exchange *asked);

	/*
	 * Records of c; c->moved is where they say. data() advances c->moved by
	 * what the record itself moved. These and poll() return true while
	 * bytes that cost no record can change what is under way: then poll()
	 * is called on each tick. answers: where the responses are.
	 */
	bool (*data)(struct conn_engine *e, struct conn *c,
		     const struct tap_rec_data *r);
	bool (*end)(struct conn_engine *e, struct conn *c, int dir,
		    const struct tap_rec_place *answers, uint64_t time_ns);
	/*
	 * now: the progress in the kernel, which may be ahead of records that
	 * are still in the ring. Not applied to c->moved yet.
	 */
	bool (*poll)(struct conn_engine *e, struct conn *c,
		     const struct tap_rec_progress *now,
		     const struct tap_rec_place *answers, uint64_t now_ns);

	/*
	 * Positions in dir are larger by n from now on: c->moved[dir] is
	 * already. Nothing has moved there yet. May be NULL.
	 */
	void (*shift)(struct conn *c, int dir, uint64_t n);

	/* The last event of c; fini() follows. outcome: of an open request. */
	void (*close)(struct conn_engine *e, struct conn *c,
		      enum outcome outcome, const struct tap_rec_place *answers,
		      uint64_t time_ns);
	/* The same if its end was not seen. */
	void (*vanish)(struct conn_engine *e, struct conn *c);
	/*
	 * Frees what c owns, without a report. Returns the requests that were
	 * under way; the caller counts them. May come twice.
	 */
	size_t (*fini)(struct conn_engine *e, struct conn *c);
};

#define HTTP_PROTO_CONN_BYTES 256 /* what an idle connection costs */
#define HTTP_PROTO_MAX 4

/*
 * The protocols, ended by NULL. The last is what a connection begins with;
 * those before it may claim a connection.
 */
extern const struct http_proto *const http_protos[];

#endif /* PROBE_AGENT_HTTP_HTTP_PROTO_H */
