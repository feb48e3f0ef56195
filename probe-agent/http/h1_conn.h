/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_HTTP_H1_CONN_H
#define PROBE_AGENT_HTTP_H1_CONN_H

#include <assert.h>

#include "probe-agent/http/conn_engine.h"
#include "probe-agent/http/head.h"

/*
 * HTTP/1 on one connection: bytes of two directions in, exchanges out. Internal
 * to the protocol's files: h1_conn.c finds the place of each record in the
 * stream, h1_message.c parses what lies there, h1_request.c keeps the requests
 * in the order in which they are answered.
 */

extern const struct http_proto h1_proto;

/*
 * What stands at next in a direction.
 *
 *	from		on				to
 *	HEAD		head with a length, or none	HEAD, behind the body
 *			head of a chunked message	CHUNKED
 *			head whose body has no end	BODY
 *			bytes that are no message	LOST
 *			a gap before an unmarked record	LOST
 *	CHUNKED		the last chunk and its trailer	HEAD
 *			bytes that are no chunks	BODY
 *			a gap outside of chunk data	BODY
 *	BODY, LOST	a record that is marked as the	HEAD
 *			start of a message that fits
 *	any		a record of the next message,	HEAD
 *			whose place the kernel followed
 */
enum h1_place {
	H1_HEAD, /* the next message */
	H1_CHUNKED, /* the chunked body at which the decoder stands */
	H1_BODY, /* a body whose end no position shows */
	H1_LOST, /* not known, until the tap marks the start of a message */
};

struct h1_dir {
	uint64_t next; /* first byte not yet taken by the parser */
	uint64_t chunk_left;
	struct head_buf *buf; /* NULL unless H1_HEAD stopped inside a head */
	uint32_t call_end; /* end of the last call that had a DATA record */
	uint8_t place; /* enum h1_place */
	uint8_t chunk_state;
	bool started; /* bytes were seen */
};

/* What the connection goes on with behind the head that was parsed last. */
enum h1_becomes {
	H1_STAYS,
	H1_BECOMES_H2, /* the answer to the oldest request, too */
	H1_BECOMES_CONNECT, /* tunnels */
	H1_BECOMES_WEBSOCKET,
	H1_BECOMES_OTHER,
};

struct h1_request;

struct h1_conn {
	struct conn c;
	struct h1_dir dir[2]; /* by enum tap_dir */
	struct h1_request *first, *last; /* under way, oldest first */
	/* bytes where a request was due that are none; NULL: not seen */
	struct h1_request *odd;
	/* per direction: the position when passed was set */
	uint32_t passed_at[2];
	uint16_t n_requests;
	uint16_t lost; /* as of the last record: see struct tap_rec_data */
	/* requests that count as lost, and whose answers may still come */
	uint16_t credit;
	uint8_t strikes; /* malformed messages in a row */
	uint8_t becomes; /* enum h1_becomes */
	bool desync : 1; /* pairing is lost until no request is under way */
	/* framing of an orphan response: it may answer HEAD */
	bool untrusted : 1;
	bool unsure : 1; /* parsing began where no message was marked */
	bool asked : 1; /* a request was seen */
	/* of a last chunk behind a response that can't have one: the next byte
	 * + 1; 0: none may come */
	uint8_t stray_chunk : 3;
	/* kernel was past an unseen message; 1 << direction */
	uint8_t passed : 2;
};
static_assert(sizeof(struct h1_conn) <= HTTP_PROTO_CONN_BYTES,
	      "what an idle connection costs");

static inline struct h1_dir *h1_requests(struct h1_conn *h)
{
	return &h->dir[conn_request_dir(&h->c)];
}

static inline struct h1_dir *h1_responses(struct h1_conn *h)
{
	return &h->dir[!conn_request_dir(&h->c)];
}

/* How far the program is in the direction of requests, and of responses. */
static inline const struct conn_moved *h1_asked(const struct h1_conn *h)
{
	return &h->c.moved[conn_request_dir(&h->c)];
}

static inline const struct conn_moved *h1_answered(const struct h1_conn *h)
{
	return &h->c.moved[!conn_request_dir(&h->c)];
}

/*
 * Was a message due in dir that came unseen? So it is if more bytes moved than
 * a FIN or stray line ends.
 */
bool h1_unseen_message(const struct h1_conn *h, int dir);
static inline bool h1_unseen_response(const struct h1_conn *h)
{
	return h1_unseen_message(h, !conn_request_dir(&h->c));
}

/* Stops following h: see conn_ignore(). Only requests that were sent count. */
void h1_ignore(struct conn_engine *e, struct h1_conn *h);

/*
 * Counts n requests as lost in a gap. Their answers may still come, and are
 * then no answers to requests that were never seen.
 */
static inline void h1_lose(struct conn_engine *e, struct h1_conn *h, size_t n)
{
	e->stats.lost_gap += n;
	h->credit = (uint16_t)(h->credit + n);
}

#endif /* PROBE_AGENT_HTTP_H1_CONN_H */
