/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_HTTP_CONN_H
#define PROBE_AGENT_HTTP_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/tap.h"
#include "proto/batch.h"

/*
 * The engine: tap records in, finished exchanges (one request and what became
 * of it) out. One state machine per connection; pairing, pipelining, body
 * framing and outcomes are decided here. Pure: no clock, no I/O, no globals;
 * time comes with the records and with conn_tick(). Not locked: the agent's
 * loop thread owns it.
 */
struct conn_table;

/* Bytes that are owned elsewhere. */
struct slice {
	const char *data; /* not NUL-terminated */
	size_t len;
};

/*
 * The process and addresses at the near end of a connection, as the tap
 * reported.
 */
struct endpoint {
	uint32_t tgid;
	uint64_t start_ns; /* process start, CLOCK_BOOTTIME */
	uint64_t cgroup_id;
	uint16_t family, local_port, remote_port;
	uint8_t local_addr[16], remote_addr[16];
	char comm[16];
};

/* Everything here is lent until the callback returns. */
struct exchange {
	const struct endpoint *end;
	enum role role;
	enum outcome outcome;
	bool tls;
	uint8_t version; /* 10, 11; 20 for HTTP/2 one day */
	uint16_t status; /* 0: none received */
	struct slice method; /* as sent */
	struct slice target; /* as sent; may be cut, see target_cut */
	bool target_cut;
	struct slice host; /* Host header, or the authority of the target */
	struct slice traceparent; /* empty: none */
	uint64_t start_ns; /* first request byte, CLOCK_MONOTONIC */
	/*
	 * First byte of the final response (interim ones, 1xx, don't count); 0:
	 * none. Of a server, the time when its write began; of a client, when
	 * its read returned.
	 */
	uint64_t first_byte_ns;
	/*
	 * Last response byte, or when the exchange ended without one; of a
	 * server, when its write returned.
	 */
	uint64_t end_ns;
	uint64_t request_bytes; /* body as transferred */
	uint64_t response_bytes; /* body as transferred */
};

typedef void (*conn_exchange_fn)(void *arg, const struct exchange *x);
/*
 * The engine needs no more records of this connection (not HTTP, tunnel,
 * HTTP/2, excluded): to be passed on to the kernel.
 */
typedef void (*conn_ignore_fn)(void *arg, uint64_t sock, uint64_t born_ns);
/*
 * Asked when an OPEN record arrives: true to follow the connection. NULL
 * follows all.
 */
typedef bool (*conn_select_fn)(void *arg, const struct endpoint *end);
/*
 * How far a connection is in the kernel: body bytes cost no records, so ticks
 * ask for the progress of unfinished responses. Returns 0, or -ENOENT if it is
 * gone. last_bytes: see struct tap_conn.
 */
typedef int (*conn_progress_fn)(void *arg, uint64_t sock, uint64_t born_ns,
				struct tap_rec_progress *out,
				uint64_t *last_bytes);

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
	conn_ignore_fn ignore; /* may be NULL */
	conn_select_fn select; /* may be NULL */
	conn_progress_fn progress; /* may be NULL */
	void *arg;
};

/* Each a monotonic count since conn_new(). */
struct conn_stats {
	uint64_t exchanges; /* handed to exchange() */
	uint64_t malformed; /* messages that were not valid HTTP */
	uint64_t http2; /* connections recognised as HTTP/2 and left alone */
	uint64_t upgraded; /* 101 and CONNECT tunnels */
	/*
	 * Requests lost: seen without their outcome, or not copied because
	 * others preceded them in a call. Those whose first record found no
	 * room in the ring are counted in the kernel, not here.
	 */
	uint64_t lost_gap;
	uint64_t lost_table; /* requests lost: connection table full */
	uint64_t lost_buffer; /* requests lost: buffer or pipeline cap */
	uint64_t orphans; /* responses whose request was not seen */
	uint64_t bad_records; /* records that make no sense */
	/* times that bytes were missing in the request direction */
	uint64_t gaps;
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
