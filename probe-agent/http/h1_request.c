/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/http/h1_request.h"

#include <string.h>

#include "probe-agent/http/h2_conn.h"
#include "probe-agent/http/tunnel.h"

static bool method_is(struct slice m, const char *name, size_t n)
{
	return m.len == n && memcmp(m.data, name, n) == 0;
}

struct h1_request *h1_request_new(struct conn_engine *e,
				  const struct http1_head *head)
{
	struct slice text[PENDING_TEXTS] = {
		[PENDING_METHOD] = head->method,
		[PENDING_TARGET] = head->target,
		[PENDING_HOST] = http1_authority(head->method, head->target),
		[PENDING_TRACEPARENT] = head->traceparent,
	};
	struct h1_request *r;

	if (text[PENDING_HOST].len == 0)
		text[PENDING_HOST] = head->host;
	r = (void *)pending_new(e, sizeof(*r), text);
	if (!r)
		return NULL;
	*r = (struct h1_request){
		.p = r->p,
		.head = method_is(head->method, "HEAD", 4),
		.connect = method_is(head->method, "CONNECT", 7),
		.expect = head->expect_continue,
		.response_end = H1_POSITION_NONE,
	};
	r->p.target_cut |= head->target_cut;
	r->p.version = head->version;
	return r;
}

void h1_request_push(struct h1_conn *h, struct h1_request *r)
{
	if (h->last)
		h->last->next = r;
	else
		h->first = r;
	h->last = r;
	h->n_requests++;
}

void h1_request_drop_odd(struct conn_engine *e, struct h1_conn *h)
{
	if (!h->odd)
		return;
	pending_free(e, &h->odd->p);
	h->odd = NULL;
}

void h1_request_drop(struct conn_engine *e, struct h1_conn *h)
{
	struct h1_request *r = h->first;

	h->first = r->next;
	if (!h->first)
		h->last = NULL;
	h->n_requests--;
	pending_free(e, &r->p);
}

void h1_request_drop_after(struct conn_engine *e, struct h1_conn *h,
			   struct h1_request *prev)
{
	struct h1_request *r = prev ? prev->next : h->first;

	while (r) {
		struct h1_request *next = r->next;

		pending_free(e, &r->p);
		h->n_requests--;
		r = next;
	}
	if (prev)
		prev->next = NULL;
	else
		h->first = NULL;
	h->last = prev;
}

/* Bytes of [from, to) that lie before seen. */
static uint64_t moved(uint64_t from, uint64_t to, uint64_t seen)
{
	uint64_t end = to < seen ? to : seen;

	return end > from ? end - from : 0;
}

static uint64_t request_bytes(const struct h1_conn *h,
			      const struct h1_request *r)
{
	uint64_t end = r->body_end;

	if (end == H1_POSITION_NONE && r->next)
		end = r->next->start;
	return moved(r->body, end, h1_asked(h)->seen);
}

void h1_request_finish(struct conn_engine *e, struct h1_conn *h,
		       enum outcome outcome, uint64_t end_ns)
{
	const struct h1_request *r = h->first;
	struct exchange x = {
		.outcome = outcome,
		.end_ns = end_ns,
		.request_bytes = request_bytes(h, r),
	};

	if (r->p.status)
		x.response_bytes = moved(r->response_body, r->response_end,
					 h1_answered(h)->seen);
	pending_report(e, &h->c, &r->p, &x);
	h1_request_drop(e, h);
}

/* Another protocol takes the oldest request over. As conn_switch(). */
static int hand_over(struct conn_engine *e, struct h1_conn *h,
		     const struct http_proto *to)
{
	struct h1_request *r = h->first;
	const struct exchange asked = {
		.method = pending_text(&r->p, PENDING_METHOD),
		.target = pending_text(&r->p, PENDING_TARGET),
		.host = pending_text(&r->p, PENDING_HOST),
		.traceparent = pending_text(&r->p, PENDING_TRACEPARENT),
		.target_cut = r->p.target_cut,
		.start_ns = r->p.start_ns,
		.request_bytes = request_bytes(h, r),
	};
	int err;

	/* Later ones were bytes for the new protocol. */
	h1_request_drop_after(e, h, r);
	h->first = h->last = NULL;
	h->n_requests = 0;
	err = conn_switch(e, &h->c, to, &asked);
	pending_free(e, &r->p);
	return err;
}

void h1_request_go_on(struct conn_engine *e, struct h1_conn *h)
{
	const struct tunnel_begin begin = {
		.protocol = h->becomes == H1_BECOMES_CONNECT
				    ? CONN_TUNNEL_CONNECT
			    : h->becomes == H1_BECOMES_WEBSOCKET
				    ? CONN_TUNNEL_WEBSOCKET
				    : CONN_TUNNEL_OTHER,
		.from = { h->dir[TAP_RX].next, h->dir[TAP_TX].next },
		.start_ns = h1_answered(h)->seen_ns,
	};

	if (h->becomes != H1_BECOMES_H2)
		tunnel_begin(e, &h->c, &begin);
	else if (hand_over(e, h, &h2_proto))
		e->stats.lost_gap++;
}

void h1_request_lose(struct conn_engine *e, struct h1_conn *h)
{
	if (h1_request_was_sent(h, h->first))
		h1_lose(e, h, 1);
	h1_request_drop(e, h);
}

void h1_request_lose_all(struct conn_engine *e, struct h1_conn *h)
{
	while (h->first)
		h1_request_lose(e, h);
	h->desync = false;
}

void h1_request_lose_after(struct conn_engine *e, struct h1_conn *h,
			   struct h1_request *prev)
{
	struct h1_request *r = prev ? prev->next : h->first;

	for (; r; r = r->next)
		if (h1_request_was_sent(h, r))
			h1_lose(e, h, 1);
	h1_request_drop_after(e, h, prev);
}

void h1_request_settle(struct conn_engine *e, struct h1_conn *h,
		       uint64_t end_ns)
{
	struct h1_request *r = h1_request_answering(h);

	if (r && r->response_end <= h1_answered(h)->seen)
		h1_request_finish(e, h, OUTCOME_COMPLETE, end_ns);
}

void h1_request_settle_unknown(struct conn_engine *e, struct h1_conn *h)
{
	if (h1_request_end_is_unknown(h1_request_answering(h)))
		h1_request_finish(e, h, OUTCOME_COMPLETE,
				  h1_answered(h)->seen_ns);
}
