/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_HTTP_CONN_H
#define PROBE_AGENT_HTTP_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/tap.h"
#include "probe-agent/http/exchange.h"
#include "probe-agent/http/h2.h"

/*
 * The engine: tap records in, finished exchanges (one request and what became
 * of it) out. One state machine per connection; pairing, pipelining, body
 * framing and outcomes are decided here. Pure: no clock, no I/O, no globals;
 * time comes with the records and with conn_tick(). Not locked: the agent's
 * loop thread owns it.
 */
struct conn_table;

typedef void (*conn_exchange_fn)(void *arg, const struct exchange *x);
/*
 * Asked when an OPEN record arrives: true to follow the connection. NULL
 * follows all.
 */
typedef bool (*conn_select_fn)(void *arg, const struct endpoint *end);
/*
 * What the records' source can do for the engine: the kernel can both, a
 * recording nothing. Each may be NULL.
 */
struct conn_source {
	/*
	 * The engine needs no more records of this connection (a tunnel,
	 * HTTP/2, excluded); or, not for good: what came is not HTTP, and few
	 * of the next calls must be inspected.
	 */
	void (*ignore)(void *arg, uint64_t sock, uint64_t born_ns,
		       bool for_good);
	/*
	 * How far a connection is: body bytes cost no records, so ticks ask for
	 * the progress of unfinished responses. Returns 0, or -ENOENT if it is
	 * gone. *answers: where the responses are.
	 */
	int (*progress)(void *arg, uint64_t sock, uint64_t born_ns,
			struct tap_rec_progress *out,
			struct tap_rec_place *answers);
	void *arg;
	/*
	 * As ignore(), but the connection's end matters, and how far it is
	 * then. May be NULL.
	 */
	void (*tunnel)(void *arg, uint64_t sock, uint64_t born_ns);
};

struct http_proto;

struct conn_options {
	size_t max_connections; /* 0: 65536; if full, an idle one is evicted */
	/*
	 * For partial heads and requests under way, of all connections, on top
	 * of 256 bytes per connection; 0: 16 MiB, and 512 bytes per connection.
	 */
	size_t max_buffer_bytes;
	size_t max_pipelined; /* outstanding requests per connection; 0: 1024 */
	/* silence that ends a response of unknown length; 0: 1 s */
	uint64_t idle_ns;
	conn_exchange_fn exchange;
	conn_select_fn select; /* may be NULL */
	void *arg; /* of these two */
	struct conn_source source;
	/* see http_proto.h; NULL: those that are there */
	const struct http_proto *const *protos;
};

/* What a connection, or a stream, carried after a tunnel was asked for. */
enum conn_tunnel_protocol {
	CONN_TUNNEL_CONNECT, /* CONNECT host:port */
	CONN_TUNNEL_WEBSOCKET,
	CONN_TUNNEL_OTHER,
	CONN_TUNNELS,
};

/* Tunnels that have ended. */
struct conn_tunnel_stats {
	uint64_t n, us;
	uint64_t request_bytes, response_bytes; /* from, to the requester */
};

/* Each a monotonic count since conn_new(). */
struct conn_stats {
	uint64_t exchanges; /* handed to exchange() */
	uint64_t malformed; /* messages that were not valid HTTP */
	uint64_t http2; /* connections recognised as HTTP/2 too late */
	uint64_t upgraded; /* 101 and CONNECT tunnels */
	struct conn_tunnel_stats tunnels[CONN_TUNNELS];
	/*
	 * Requests lost: seen without their outcome, or not copied because
	 * others preceded them in a call. Those whose first record found no
	 * room in the ring are counted in the kernel, not here.
	 */
	uint64_t lost_gap;
	uint64_t lost_table; /* requests lost: connection table full */
	uint64_t lost_buffer; /* requests lost: buffer or pipeline cap */
	/* requests lost: only the answer was seen, and nothing counts them */
	uint64_t lost_unseen;
	uint64_t orphans; /* responses whose request was not seen */
	uint64_t bad_records; /* records that make no sense */
	/* times that bytes were missing in the request direction */
	uint64_t gaps;
	struct h2_stats h2; /* of these, HTTP/2's, and more */
	uint64_t connections; /* now, not a count */
};

/* Sets *out, released by conn_free(). -EINVAL, -ENOMEM. */
int conn_new(struct conn_table **out, const struct conn_options *opt);
/* Drops all state; exchanges in flight are not reported. NULL is fine. */
void conn_free(struct conn_table *t);

/*
 * Feeds one record of len bytes, as it came out of the ring, 8-byte aligned.
 * 0, or -EPROTO for a record that makes no sense (counted).
 */
int conn_feed(struct conn_table *t, const void *rec, size_t len);

/*
 * Call a few times a second; now_ns is CLOCK_MONOTONIC. Asks for the progress
 * of unfinished responses, ends idle ones, drops connections that are gone.
 */
void conn_tick(struct conn_table *t, uint64_t now_ns);

/*
 * Call when records were lost in the kernel. The end of any connection may be
 * among them, so the next ticks check all connections, not only those silent
 * for long.
 */
void conn_doubt(struct conn_table *t);

void conn_stats(const struct conn_table *t, struct conn_stats *out);

#endif /* PROBE_AGENT_HTTP_CONN_H */
