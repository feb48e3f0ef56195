/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_HTTP_H2_H
#define PROBE_AGENT_HTTP_H2_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "probe-agent/http/exchange.h"
#include "probe-agent/http/grpc.h"

/*
 * HTTP/2 on one connection: pieces of both directions in, finished requests
 * out. Streams are paired by their number, so that the directions need no order
 * between them: an answer may come before its request.
 *
 * Pieces are in order in each direction. The bytes between two pieces are
 * payload of DATA, and frames that have no effect on a request: only their
 * length matters. Each piece says where in a frame it begins, and has a number,
 * so that a lost piece is noticed. After a loss the end of each open stream is
 * in doubt, and the header compression of that direction begins anew (see
 * hpack_window.h).
 *
 * A connection that is seen from the client's preface on is HTTP/2. A
 * connection that was joined later has to prove it: requests and their answers
 * must contain more valid header fields than random bytes would. Requests that
 * end before the proof are held, and reported with it.
 *
 * Pure: no clock, no I/O, no globals. Not locked: one thread per h2_env.
 */
struct h2;

/* A finished request. Everything is lent until the callback returns. */
struct h2_exchange {
	uint32_t stream;
	enum outcome outcome;
	uint16_t status; /* 0: none received, or not known */
	enum rpc_system rpc;
	uint8_t rpc_status; /* code + 1; 0: not known */
	bool target_cut;
	/* Empty: not known, or there was none. */
	struct slice method, target, host, traceparent;
	uint64_t start_ns; /* first byte of the request */
	uint64_t first_byte_ns; /* of the final response; 0: none */
	uint64_t end_ns; /* last byte of the response, or when it ended */
	uint64_t request_bytes, response_bytes; /* DATA without padding */
};

/* What a tunnel carries. */
enum h2_tunnel_protocol {
	H2_TUNNEL_CONNECT, /* CONNECT host:port */
	H2_TUNNEL_WEBSOCKET, /* RFC 8441 */
	H2_TUNNEL_OTHER, /* another :protocol */
};

/* A tunnel that has ended. The CONNECT that opened it is an exchange too. */
struct h2_tunnel {
	enum h2_tunnel_protocol protocol;
	uint64_t start_ns, end_ns; /* from the answer to CONNECT on */
	uint64_t request_bytes, response_bytes;
};

struct h2_options {
	size_t max_streams; /* open per connection; 0: 1024 */
	size_t max_bytes; /* streams and open header blocks; 0: 16 MiB */
	size_t max_window_bytes; /* of header compression; 0: 8 MiB */
	/* owner: see h2_new(). */
	void (*exchange)(void *owner, const struct h2_exchange *x);
	void (*tunnel)(void *owner, const struct h2_tunnel *t); /* or NULL */
};

/* Why a place in the stream, or the header compression, was lost. */
enum h2_desync {
	H2_DESYNC_GAP, /* pieces were lost */
	H2_DESYNC_FRAME, /* the bytes are not a frame */
	H2_DESYNC_ORDER, /* a frame is not allowed here */
	H2_DESYNC_HPACK, /* a header block does not decode */
	H2_DESYNC_LIMIT, /* a header block is over a cap */
	H2_DESYNCS,
};

/* Fields that a reported request lacks, because they could not be decoded. */
enum h2_unknown {
	H2_UNKNOWN_METHOD,
	H2_UNKNOWN_PATH,
	H2_UNKNOWN_AUTHORITY,
	H2_UNKNOWN_STATUS,
	H2_UNKNOWN_CONTENT_TYPE, /* it may be a remote procedure call */
	H2_UNKNOWN_GRPC_STATUS,
	H2_UNKNOWNS,
};

/* Each a monotonic count, but for the last ones. */
struct h2_stats {
	uint64_t connections; /* proved to be HTTP/2 */
	uint64_t joined; /* of these, not seen from the start */
	uint64_t exchanges; /* handed to exchange() */
	uint64_t blocks; /* header blocks */
	uint64_t tunnels; /* requests that became one */
	uint64_t malformed; /* header blocks that a peer must refuse */
	uint64_t orphans; /* responses whose request was not seen */
	uint64_t lost_gap; /* requests lost: in doubt until the end */
	uint64_t lost_buffer; /* requests lost: over a cap */
	uint64_t desynced[H2_DESYNCS];
	uint64_t unknown[H2_UNKNOWNS];
	uint64_t windows_refused; /* times that a window could not grow */
	uint64_t open_streams; /* now, not a count */
	uint64_t window_bytes; /* now */
	uint64_t bytes; /* now: streams and open blocks */
};

/* What all connections share. */
struct h2_env;

/* Sets *out, released by h2_env_free(). -ENOMEM. */
int h2_env_new(struct h2_env **out, const struct h2_options *opt);
/* After the last connection's h2_free(). NULL is fine. */
void h2_env_free(struct h2_env *env);
void h2_env_stats(const struct h2_env *env, struct h2_stats *out);

enum h2_start {
	H2_START_PREFACE, /* the client's preface is next where requests travel
			   */
	H2_START_UPGRADED, /* the same, behind a request that asked for it */
	H2_START_JOINED, /* bytes before the first piece were not seen */
};

/*
 * Sets *out, released by h2_free(). request_dir: enum tap_dir; unknown, and
 * left out of account, if the connection was joined. owner is handed to the
 * callbacks. -ENOMEM.
 */
int h2_new(struct h2 **out, struct h2_env *env, enum h2_start start,
	   int request_dir, void *owner);
/* Drops open streams without a report. NULL is fine. */
void h2_free(struct h2 *h);

/*
 * x is the HTTP/1.1 request that asked for the upgrade. It becomes stream 1,
 * half closed; its response comes as HTTP/2.
 */
void h2_upgrade(struct h2 *h, const struct h2_exchange *x);

/* One record of the tap. Everything is borrowed until return. */
struct h2_piece {
	int dir; /* enum tap_dir */
	uint32_t pos; /* stream position of data[0], or where a frame ended */
	uint32_t left; /* at pos: payload bytes of an open frame to come */
	uint8_t have; /* at pos: bytes of a frame's head that have come */
	uint16_t seq; /* number of the piece in its direction: 1, 2 …; wraps */
	const uint8_t *data;
	size_t len; /* 0: a frame that ends a stream has ended at pos */
	uint32_t rest; /* bytes that the call moved behind these */
	uint32_t other_pos; /* how far the other direction had come before */
	uint64_t first_ns; /* as of struct tap_rec_data */
	uint64_t last_ns;
};

/*
 * Takes a piece. Returns 0. -EPROTO: the connection is not HTTP/2, or cannot be
 * followed any more. Then requests under way have been counted as lost, and the
 * caller must not feed h again.
 */
int h2_data(struct h2 *h, const struct h2_piece *p);

/*
 * Bytes up to pos have moved, and no more pieces will come. seq is the number
 * of the last piece that was made, whether it was lost or not. Call it for both
 * directions before h2_end() and h2_close().
 */
void h2_moved(struct h2 *h, int dir, uint32_t pos, uint16_t seq,
	      uint64_t time_ns);
/* A direction ended. */
void h2_end(struct h2 *h, int dir, uint64_t time_ns);
/* The connection ended; outcome: of requests under way. */
void h2_close(struct h2 *h, enum outcome outcome, uint64_t time_ns);
/* The connection ended, but its end was not seen. */
void h2_vanish(struct h2 *h);

/* It is HTTP/2; before that nothing is reported. */
bool h2_is_proved(const struct h2 *h);
/* Direction of requests, enum tap_dir; -1: not known yet. */
int h2_request_dir(const struct h2 *h);
/* Bytes of a connection on which nothing is open, without its windows. */
size_t h2_size(void);
/* Requests under way. */
size_t h2_open_streams(const struct h2 *h);

#endif /* PROBE_AGENT_HTTP_H2_H */
