/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_HTTP_CONN_ENGINE_H
#define PROBE_AGENT_HTTP_CONN_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "probe-agent/http/conn.h"
#include "probe-agent/http/http_proto.h"

/*
 * The inside of conn.h, for protocols: a connection as all protocols see it,
 * and what protocols may ask of the engine. Positions are the tap's 32-bit
 * ones, extended to the nearest 64-bit value, so that bodies over 4 GiB work.
 */

/* How far the program is in one direction. */
struct conn_moved {
	uint64_t seen; /* first byte that it has not moved yet */
	uint64_t seen_ns; /* when the last byte before seen moved */
};

/* The first member of what a protocol knows of a connection. */
struct conn {
	uint64_t sock, born_ns;
	struct endpoint end;
	struct conn_moved moved[2]; /* by enum tap_dir */
	uint32_t hash_next; /* index + 1; the engine's */
	uint32_t watch; /* place in the watch list + 1; the engine's */
	/*
	 * Requests that count as lost because the connection was met anew, and
	 * whose answers may still come.
	 */
	uint16_t inherited;
	uint8_t proto; /* index in the engine's protocols */
	uint8_t role; /* enum role; 0: not known yet */
	/* set by the protocol: a valid message was seen, no other may claim */
	bool certain : 1;
	bool tls : 1;
	bool ignored : 1;
	bool unselected : 1; /* ignored because select() said so */
	/* TAP_F_SYN: positions in TAP_RX begin anywhere, until a record says */
	bool opening : 1;
	bool opened : 1; /* its OPEN has come, so all of it was seen */
	bool gone : 1; /* the kernel did not know it on the last tick */
	bool used : 1; /* since the last eviction sweep */
};

/* What all connections share. */
struct conn_engine {
	struct conn_options opt;
	struct conn_stats stats;
	size_t used_bytes, max_bytes; /* of conn_alloc() */
	struct pending_spare *spare; /* of pending.c */
	size_t n_spare;
	const struct http_proto *const *protos;
	size_t n_protos;
	void *shared[HTTP_PROTO_MAX]; /* see http_proto.open */
};

/* Direction that requests travel in, once the role is known. */
static inline int conn_request_dir(const struct conn *c)
{
	return c->role == ROLE_SERVER ? TAP_RX : TAP_TX;
}

/* The 64-bit position that is nearest to near. */
static inline uint64_t conn_extend(uint64_t near, uint32_t pos)
{
	return near + (uint64_t)(int64_t)(int32_t)(pos - (uint32_t)near);
}

/* --- for protocols --- */

/* Memory that counts against the cap. NULL: cap reached, or none. */
void *conn_alloc(struct conn_engine *e, size_t size);
void conn_release(struct conn_engine *e, void *p, size_t size);

/* A tunnel has ended. */
struct conn_tunnel {
	enum conn_tunnel_protocol protocol;
	uint64_t start_ns, end_ns;
	uint64_t request_bytes, response_bytes;
};
void conn_count_tunnel(struct conn_engine *e, const struct conn_tunnel *t);

/* Counts a finished exchange and hands it to exchange(). */
void conn_report(struct conn_engine *e, const struct exchange *x);

/*
 * Stops following c: ends its protocol, whose requests under way count as lost
 * in a gap, and calls ignore(). The protocol's other state is gone on return.
 */
void conn_ignore(struct conn_engine *e, struct conn *c);

/*
 * What came on c is not of its protocol, so far: calls ignore(), not for good,
 * and begins anew.
 */
void conn_back_off(struct conn_engine *e, struct conn *c);

/*
 * From the next record on, c speaks another protocol. Ends the one it has as
 * conn_ignore() does. asked: the exchange that asked for it, handed to init();
 * may be NULL. 0; -ENOENT: this engine has no such protocol, and c goes on as
 * it was; or init()'s error: then c is ignored.
 */
int conn_switch(struct conn_engine *e, struct conn *c,
		const struct http_proto *to, const struct exchange *asked);

/* --- for conn.c --- */

/* Opens the protocols. 0 or negative errno; conn_engine_fini() in any case. */
int conn_engine_init(struct conn_engine *e);
void conn_engine_fini(struct conn_engine *e);
/* c begins to speak a protocol. 0, or init()'s error: then c is ignored. */
int conn_begin(struct conn_engine *e, struct conn *c, size_t proto,
	       const struct exchange *asked);
/* Lets the protocols claim c. False if c is now ignored. */
bool conn_claim(struct conn_engine *e, struct conn *c,
		const struct tap_rec_data *r);
/* Ends c's protocol; adds the requests under way to *lost. */
void conn_fini(struct conn_engine *e, struct conn *c, uint64_t *lost);

#endif /* PROBE_AGENT_HTTP_CONN_ENGINE_H */
