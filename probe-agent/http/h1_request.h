/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_HTTP_H1_REQUEST_H
#define PROBE_AGENT_HTTP_H1_REQUEST_H

#include "probe-agent/http/h1_conn.h"
#include "probe-agent/http/http1.h"
#include "probe-agent/http/pending.h"

/*
 * Requests under way in the order in which HTTP/1 answers them: that in which
 * they were made. Part of HTTP/1, like h1_conn.h.
 */

#define H1_POSITION_NONE UINT64_MAX /* not known yet */

struct h1_request {
	struct pending p;
	struct h1_request *next;
	uint64_t start; /* position of its first byte */
	uint64_t body; /* position of its body */
	uint64_t body_end; /* H1_POSITION_NONE: chunked or unknown */
	uint64_t stamp; /* response direction's position at the request */
	uint64_t response_body;
	uint64_t response_end; /* H1_POSITION_NONE: the framing doesn't tell */
	bool head : 1, connect : 1; /* methods that change framing */
	bool expect : 1; /* waits for 100 before its body */
	bool until_close : 1; /* the response ends with the connection */
	bool chunked : 1; /* the response */
	bool long_body : 1; /* progress matters before the response */
};

/*
 * A request that is not under way yet. The caller sets start_ns, positions and
 * framing, and owns it until h1_request_push(). NULL: cap reached or no memory.
 */
struct h1_request *h1_request_new(struct conn_engine *e,
				  const struct http1_head *head);
/* Appends r, which h then owns. */
void h1_request_push(struct h1_conn *h, struct h1_request *r);
/* Drops h->odd, if there is one. */
void h1_request_drop_odd(struct conn_engine *e, struct h1_conn *h);
/* Drops the oldest, without reporting or counting it. */
void h1_request_drop(struct conn_engine *e, struct h1_conn *h);
/* Drops prev's successors, or all if prev is NULL. */
void h1_request_drop_after(struct conn_engine *e, struct h1_conn *h,
			   struct h1_request *prev);
/* Reports the oldest and drops it. */
void h1_request_finish(struct conn_engine *e, struct h1_conn *h,
		       enum outcome outcome, uint64_t end_ns);

/*
 * HTTP/1 is over: the connection goes on as h->becomes says. h is gone on
 * return.
 */
void h1_request_go_on(struct conn_engine *e, struct h1_conn *h);

/* Was the request sent? It was not if its write was never accepted. */
static inline bool h1_request_was_sent(const struct h1_conn *h,
				       const struct h1_request *r)
{
	/* + 1: one byte may be the FIN. */
	return h->c.role == ROLE_SERVER ||
	       h->c.moved[TAP_TX].seen > r->start + 1;
}

/* The oldest request, if its response is under way. */
static inline struct h1_request *h1_request_answering(const struct h1_conn *h)
{
	return h->first && h->first->p.status ? h->first : NULL;
}

static inline bool h1_request_end_is_unknown(const struct h1_request *r)
{
	return r && r->response_end == H1_POSITION_NONE;
}

/*
 * Drops the oldest request, or all; those that were sent count as lost in a
 * gap.
 */
void h1_request_lose(struct conn_engine *e, struct h1_conn *h);
void h1_request_lose_all(struct conn_engine *e, struct h1_conn *h);
/* The same with prev's successors, or all if prev is NULL; keeps desync. */
void h1_request_lose_after(struct conn_engine *e, struct h1_conn *h,
			   struct h1_request *prev);
/* Finishes the response under way if all of it has moved. */
void h1_request_settle(struct conn_engine *e, struct h1_conn *h,
		       uint64_t end_ns);
/*
 * Finishes the response under way if its length is not known: it ended with its
 * last byte, as a successor has begun.
 */
void h1_request_settle_unknown(struct conn_engine *e, struct h1_conn *h);

#endif /* PROBE_AGENT_HTTP_H1_REQUEST_H */
