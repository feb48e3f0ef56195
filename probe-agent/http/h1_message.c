/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/http/h1_message.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "probe-agent/http/h1_request.h"
#include "probe-agent/http/http1.h"

/*
 * A partial head shorter than this is parsed anew with every piece, to find out
 * early if it has no method. A longer one is only parsed once its end has come:
 * else the cost would be quadratic.
 */
#define EARLY_BYTES 128u
#define STRIKES_MAX 3
/* half of what 32-bit positions can span */
#define LONG_BODY_BYTES (1ull << 30)

static void advance(struct h1_input *in, size_t n)
{
	if (n == 0)
		return;
	in->pos += n;
	in->data += n;
	in->len -= n;
	in->flags &= (uint8_t) ~(TAP_F_CALL_START | TAP_F_MESSAGE_START |
				 TAP_F_FRAMED);
	in->turn = 0;
}

/*
 * Keeps what stands where a request was due and is none, in case that a server
 * answers it. at: where it began.
 */
static void keep_odd(struct conn_engine *e, struct h1_conn *h,
		     struct slice data, const struct head_at *at)
{
	struct http1_head head;

	if (h->odd)
		return;
	http1_parse_request_odd(data.data, data.len, &head);
	h->odd = h1_request_new(e, &head);
	if (!h->odd)
		return;
	h->odd->p.start_ns = at->start_ns;
	h->odd->body = H1_POSITION_NONE;
}

static void malformed(struct conn_engine *e, struct h1_conn *h,
		      const struct h1_input *in, bool is_request,
		      struct slice data, const struct head_at *at)
{
	struct h1_dir *d = &h->dir[in->dir];

	head_buf_drop(e, &d->buf);
	d->place = H1_LOST;
	if (h->unsure)
		return; /* perhaps the middle of a message */
	if (is_request) {
		e->stats.malformed +=
			http1_kind(data.data, data.len) != HTTP1_KIND_NEITHER;
		keep_odd(e, h, data, at);
	} else {
		e->stats.malformed++;
		h1_request_settle_unknown(e, h);
		if (h->first) {
			h->first->p.first_byte_ns = in->first_ns;
			h1_request_finish(e, h, OUTCOME_MALFORMED, in->last_ns);
			return;
		}
	}
	if (!h->c.certain && ++h->strikes >= STRIKES_MAX)
		conn_back_off(e, &h->c);
}

static void begin_chunks(struct h1_dir *d)
{
	d->place = H1_CHUNKED;
	d->chunk_left = 0;
	d->chunk_state = 0;
}

/* r: NULL if the request found no room. */
static void frame_request(struct h1_conn *h, struct h1_dir *d,
			  const struct http1_head *head, struct h1_request *r,
			  bool cut)
{
	uint64_t length = 0;

	d->place = H1_HEAD;
	switch (head->framing) {
	case HTTP1_FRAMING_LENGTH:
		length = head->content_length;
		break;
	case HTTP1_FRAMING_CHUNKED:
		begin_chunks(d);
		break;
	case HTTP1_FRAMING_UNKNOWN:
		d->place = H1_BODY;
		break;
	}
	if (r) {
		r->body = d->next;
		r->body_end = d->place == H1_HEAD ? d->next + length
						  : H1_POSITION_NONE;
		r->stamp = h1_answered(h)->seen;
		r->long_body = d->place != H1_HEAD || length >= LONG_BODY_BYTES;
	}
	/* Where a cut head ends is not known, so neither is its body's size. */
	if (r && cut)
		r->body = H1_POSITION_NONE;
	d->next += length;
}

/*
 * A request begins. The kernel side may know that all before it have been
 * answered, if only to the head.
 */
static void take_turn(struct conn_engine *e, struct h1_conn *h,
		      const struct head_at *at)
{
	struct h1_request *r;

	/* What was not answered by now is none. */
	h1_request_drop_odd(e, h);
	h->asked = true;
	if (h->desync && h1_unseen_response(h)) {
		h1_request_lose_all(e, h);
		h1_responses(h)->next = h1_answered(h)->seen;
	}
	if (at->turn & TAP_TURN_ALL) {
		r = h1_request_answering(h);
		h1_request_lose_after(e, h, r);
		h->credit = 0;
		h->desync = false;
	} else if (!h->first && !h->credit && at->at_call_start) {
		h->desync = false;
	}
}

static void take_request(struct conn_engine *e, struct h1_conn *h,
			 const struct h1_input *in,
			 const struct http1_head *head,
			 const struct head_at *at)
{
	struct h1_dir *d = &h->dir[in->dir];
	struct h1_request *r = NULL;

	take_turn(e, h, at);
	if (h->desync) {
		h1_lose(e, h, 1);
	} else if (h->n_requests < e->opt.max_pipelined) {
		r = h1_request_new(e, head);
	}
	if (r) {
		r->start = at->start;
		r->p.start_ns = at->start_ns;
		h1_request_push(h, r);
	} else if (!h->desync) {
		e->stats.lost_buffer++;
		h->credit++;
		h->desync = h->first != NULL;
	}
	frame_request(h, d, head, r, at->cut);
}

/* What a 101 says that the connection goes on with. */
static bool protocol_is(const struct http1_head *head, const char *name)
{
	return head->upgrade.len == strlen(name) &&
	       !strncasecmp(head->upgrade.data, name, head->upgrade.len);
}

/* The exchange is over, and so is HTTP on this connection. */
static void become_tunnel(struct conn_engine *e, struct h1_conn *h,
			  const struct http1_head *head, uint64_t end_ns)
{
	if (h->first)
		h1_request_finish(e, h, OUTCOME_COMPLETE, end_ns);
	e->stats.upgraded++;
	/* Later requests were bytes for the tunnel, not HTTP: no loss. */
	h1_request_drop_after(e, h, NULL);
	if (head->status != 101)
		h->becomes = H1_BECOMES_CONNECT;
	else if (protocol_is(head, "websocket"))
		h->becomes = H1_BECOMES_WEBSOCKET;
	else
		h->becomes = H1_BECOMES_OTHER;
}

/*
 * RFC 9110 10.1.1: the client may leave out a body that it announced with
 * Expect if the final status comes at once. If no byte of it has moved, the
 * next message may begin where the body would have begun.
 */
static void forget_unsent_body(struct h1_conn *h, const struct h1_request *r)
{
	struct h1_dir *d = h1_requests(h);

	if (r->expect && !r->next && d->place != H1_LOST &&
	    h1_asked(h)->seen <= r->body && r->body_end > r->body) {
		d->next = r->body;
		d->place = H1_LOST;
	}
}

static void frame_response(struct conn_engine *e, struct h1_conn *h,
			   const struct h1_input *in,
			   const struct http1_head *head, bool cut)
{
	struct h1_dir *d = &h->dir[in->dir];
	struct h1_request *r = h->first;
	bool no_body =
		(r && r->head) || head->status == 204 || head->status == 304;
	uint64_t body = d->next;

	d->place = H1_HEAD;
	h->stray_chunk = no_body && head->framing == HTTP1_FRAMING_CHUNKED;
	if (no_body)
		;
	else if (head->framing == HTTP1_FRAMING_LENGTH)
		d->next += head->content_length;
	else if (head->framing == HTTP1_FRAMING_CHUNKED)
		begin_chunks(d);
	else
		d->place = H1_BODY;
	if (r) {
		r->response_body = body;
		r->response_end =
			d->place == H1_HEAD ? d->next : H1_POSITION_NONE;
		r->until_close = d->place == H1_BODY && !cut;
		r->chunked = d->place == H1_CHUNKED;
		if (no_body)
			h1_request_finish(e, h, OUTCOME_COMPLETE, in->last_ns);
		else
			h1_request_settle(e, h, in->last_ns);
	}
	if (cut)
		d->place = H1_BODY;
}

/* An answer to bytes that are no request counts as one to them. */
static void answer_odd(struct conn_engine *e, struct h1_conn *h,
		       const struct h1_input *in)
{
	static const struct http1_head nothing = {
		.version = 10,
		.framing = HTTP1_FRAMING_UNKNOWN,
	};
	const struct conn_moved *asked = h1_asked(h);

	if (!h->odd) {
		h->odd = h1_request_new(e, &nothing);
		if (!h->odd) {
			e->stats.lost_buffer++;
			return;
		}
		h->odd->p.start_ns =
			asked->seen_ns ? asked->seen_ns : in->first_ns;
		h->odd->body = H1_POSITION_NONE;
	}
	h->odd->start = 0; /* it was sent, or it would not be answered */
	h1_request_push(h, h->odd);
	h->odd = NULL;
}

/*
 * A response comes where only a head is under way that has not ended. Either
 * its rest moved unseen, or a server answers what it has of it.
 */
static void answer_open_head(struct conn_engine *e, struct h1_conn *h,
			     const struct h1_input *in)
{
	struct h1_dir *d = h1_requests(h);
	struct head_buf *b = d->buf;

	d->buf = NULL;
	d->place = H1_LOST;
	if (h1_asked(h)->seen > d->next) {
		d->next = h1_asked(h)->seen;
		e->stats.lost_gap++;
	} else {
		keep_odd(e, h, (struct slice){ b->data, b->len }, &b->at);
		answer_odd(e, h, in);
	}
	head_buf_free(e, b);
}

/* A final response to no request that is under way. */
static void take_orphan(struct conn_engine *e, struct h1_conn *h,
			const struct h1_input *in, uint8_t turn)
{
	if (h->odd || turn & TAP_TURN_STRAY) {
		answer_odd(e, h, in);
		if (h->first)
			return;
	} else if (h->credit) {
		h->credit--;
	} else if (h->c.role && h1_requests(h)->buf) {
		answer_open_head(e, h, in);
		if (h->first)
			return;
	} else if (h->c.opened || h->asked) {
		e->stats.lost_unseen++;
	}
	e->stats.orphans++;
	h->untrusted = true;
}

static void take_response(struct conn_engine *e, struct h1_conn *h,
			  const struct h1_input *in,
			  const struct http1_head *head,
			  const struct head_at *at)
{
	struct h1_dir *d = &h->dir[in->dir];
	struct h1_request *r;

	h1_request_settle_unknown(e, h);
	h->untrusted = false;
	if (head->status < 200 && head->status != 101) {
		d->place = at->cut ? H1_BODY : H1_HEAD;
		if (h->first && head->status == 100)
			h->first->expect = false;
		return;
	}
	if (!h->first)
		take_orphan(e, h, in, at->turn);
	r = h->first;
	if (r) {
		r->p.status = head->status;
		r->p.first_byte_ns = at->start_ns;
		forget_unsent_body(h, r);
	}
	if (r && head->status == 101 && protocol_is(head, "h2c")) {
		h->becomes = H1_BECOMES_H2;
		return;
	}
	if (head->status == 101 || (r && r->connect && head->status < 300)) {
		if (r) {
			r->response_body = d->next;
			r->response_end = d->next;
		}
		become_tunnel(e, h, head, in->last_ns);
		return;
	}
	frame_response(e, h, in, head, at->cut);
}

/*
 * A head that ends at d->next was parsed, or, if it is cut, as much of it as
 * came.
 */
static void took_head(struct conn_engine *e, struct h1_conn *h,
		      struct h1_input *in, bool is_request,
		      struct http1_head *head, const struct head_at *at)
{
	if (!h->c.role)
		h->c.role = is_request == (in->dir == TAP_RX) ? ROLE_SERVER
							      : ROLE_CLIENT;
	h->c.certain = true;
	h->unsure = false;
	h->strikes = 0;
	if (at->cut)
		head->framing = HTTP1_FRAMING_UNKNOWN;
	if (is_request)
		take_request(e, h, in, head, at);
	else
		take_response(e, h, in, head, at);
}

static enum http1_kind kind_for(const struct h1_conn *h, int dir,
				const char *data, size_t len)
{
	if (!h->c.role)
		return http1_kind(data, len);
	return dir == conn_request_dir(&h->c) ? HTTP1_KIND_REQUEST
					      : HTTP1_KIND_RESPONSE;
}

static ssize_t parse_head(enum http1_kind kind, const char *data, size_t len,
			  struct http1_head *head)
{
	switch (kind) {
	case HTTP1_KIND_REQUEST:
		return http1_parse_request(data, len, head);
	case HTTP1_KIND_RESPONSE:
		return http1_parse_response(data, len, head);
	case HTTP1_KIND_EITHER:
		return -EAGAIN;
	default:
		return -EPROTO;
	}
}

/*
 * No more of the head that begins at at will be seen: uses what is there.
 * no_room: a cap was reached.
 */
static void cut_head(struct conn_engine *e, struct h1_conn *h,
		     struct h1_input *in, struct slice data, struct head_at at,
		     bool no_room)
{
	struct h1_dir *d = &h->dir[in->dir];
	enum http1_kind kind = kind_for(h, in->dir, data.data, data.len);
	struct http1_head head;
	int err = -EPROTO;

	at.at_call_start = in->flags & TAP_F_CALL_START;
	at.cut = true;
	advance(in, in->len);
	d->next = in->pos;
	if (kind == HTTP1_KIND_REQUEST)
		err = http1_parse_request_cut(data.data, data.len, &head);
	else if (kind == HTTP1_KIND_RESPONSE)
		err = http1_parse_response_cut(data.data, data.len, &head);
	if (!err) {
		took_head(e, h, in, kind == HTTP1_KIND_REQUEST, &head, &at);
	} else if (no_room && kind != HTTP1_KIND_RESPONSE) {
		e->stats.lost_buffer++;
		h->credit++;
		d->place = H1_LOST;
	} else {
		malformed(e, h, in, kind != HTTP1_KIND_RESPONSE, data, &at);
	}
}

/* The head is not complete: keeps what there is. */
static void keep_head(struct conn_engine *e, struct h1_conn *h,
		      struct h1_input *in, const struct head_at *at)
{
	struct h1_dir *d = &h->dir[in->dir];
	struct head_buf *b;

	if (head_buf_append(e, &d->buf, at, in->data, in->len)) {
		cut_head(e, h, in, (struct slice){ in->data, in->len }, *at,
			 true);
		return;
	}
	b = d->buf;
	if (in->flags & TAP_F_TRUNCATED) {
		d->buf = NULL;
		cut_head(e, h, in, (struct slice){ b->data, b->len }, b->at,
			 false);
		head_buf_free(e, b);
		return;
	}
	advance(in, in->len);
	d->next = in->pos;
}

static void refuse_head(struct conn_engine *e, struct h1_conn *h,
			struct h1_input *in, enum http1_kind kind,
			struct slice data, const struct head_at *at)
{
	bool request = kind != HTTP1_KIND_RESPONSE;

	if (request && http1_is_http2_preface(data.data, data.len)) {
		e->stats.http2++;
		h1_ignore(e, h);
		return;
	}
	malformed(e, h, in, request, data, at);
}

/* Some servers end a chunked body that they may not send. */
static void pass_stray_chunk(struct h1_conn *h, struct h1_input *in)
{
	static const char last_chunk[] = "0\r\n\r\n";

	while (in->len && h->stray_chunk &&
	       *in->data == last_chunk[h->stray_chunk - 1]) {
		advance(in, 1);
		h->stray_chunk = last_chunk[h->stray_chunk]
					 ? (h->stray_chunk + 1) & 7
					 : 0;
	}
	if (in->len)
		h->stray_chunk = 0;
}

/* Passes what may stand before a head. Returns true if that has begun. */
static bool pass_prefix(struct h1_conn *h, struct h1_input *in)
{
	ssize_t line;

	if (h->stray_chunk && in->dir != conn_request_dir(&h->c))
		pass_stray_chunk(h, in);
	/* RFC 9112 2.2: line ends before a request line are skipped. */
	while (in->len && (*in->data == '\r' || *in->data == '\n'))
		advance(in, 1);
	if (in->len && !h->c.certain && *in->data == 'P') {
		line = http1_proxy_line(in->data, in->len);
		if (line > 0)
			advance(in, (size_t)line);
	}
	return in->len;
}

static void first_of_head(struct conn_engine *e, struct h1_conn *h,
			  struct h1_input *in)
{
	struct h1_dir *d = &h->dir[in->dir];
	struct head_at at = {
		.start_ns = in->first_ns,
		.at_call_start = in->flags & TAP_F_CALL_START,
		.turn = in->turn,
	};
	bool marked = in->flags & TAP_F_MESSAGE_START;
	bool begun = pass_prefix(h, in);
	enum http1_kind kind;
	struct http1_head head;
	ssize_t n;

	d->next = at.start = in->pos;
	if (!begun)
		return;
	h->unsure = !h->c.certain && !marked;
	kind = kind_for(h, in->dir, in->data, in->len);
	n = parse_head(kind, in->data, in->len, &head);
	if (n > 0) {
		advance(in, (size_t)n);
		d->next = in->pos;
		took_head(e, h, in, kind == HTTP1_KIND_REQUEST, &head, &at);
	} else if (n == -EAGAIN) {
		keep_head(e, h, in, &at);
	} else {
		refuse_head(e, h, in, kind, (struct slice){ in->data, in->len },
			    &at);
	}
}

/* A line of the PROXY protocol that came in pieces is no part of the head. */
static void drop_proxy_line(const struct h1_conn *h, const struct h1_input *in,
			    struct head_buf *b)
{
	ssize_t n;

	if (h->c.certain || *b->data != 'P')
		return;
	n = http1_proxy_line(b->data, b->len);
	if (n <= 0)
		return;
	b->len -= (uint32_t)n;
	b->at.start += (uint64_t)n;
	memmove(b->data, b->data + n, b->len);
	if (b->len <= in->len)
		b->at.start_ns = in->first_ns;
}

static void more_of_head(struct conn_engine *e, struct h1_conn *h,
			 struct h1_input *in)
{
	struct h1_dir *d = &h->dir[in->dir];
	struct head_buf *b = d->buf;
	size_t old;
	enum http1_kind kind;
	struct http1_head head;
	ssize_t n = -EAGAIN;

	if (head_buf_append(e, &d->buf, NULL, in->data, in->len)) {
		d->buf = NULL;
		cut_head(e, h, in, (struct slice){ b->data, b->len }, b->at,
			 b->len + in->len <= HEAD_MAX_BYTES);
		head_buf_free(e, b);
		return;
	}
	b = d->buf;
	drop_proxy_line(h, in, b);
	old = b->len > in->len ? b->len - in->len : 0;
	kind = b->len ? kind_for(h, in->dir, b->data, b->len)
		      : HTTP1_KIND_EITHER;
	if (old < EARLY_BYTES || http1_head_end(b->data, b->len, old - 3))
		n = parse_head(kind, b->data, b->len, &head);
	if (n == -EAGAIN && !(in->flags & TAP_F_TRUNCATED)) {
		advance(in, in->len);
		d->next = in->pos;
		return;
	}
	d->buf = NULL;
	if (n > 0) {
		/* Its end is in the new bytes. */
		advance(in, in->len - (b->len - (size_t)n));
		d->next = in->pos;
		took_head(e, h, in, kind == HTTP1_KIND_REQUEST, &head, &b->at);
	} else if (n == -EAGAIN) {
		cut_head(e, h, in, (struct slice){ b->data, b->len }, b->at,
			 false);
	} else {
		refuse_head(e, h, in, kind, (struct slice){ b->data, b->len },
			    &b->at);
	}
	head_buf_free(e, b);
}

static void take_chunks(struct conn_engine *e, struct h1_conn *h,
			struct h1_input *in)
{
	struct h1_dir *d = &h->dir[in->dir];
	struct http1_chunked ch = { d->chunk_left, d->chunk_state };
	bool is_request = in->dir == conn_request_dir(&h->c);
	bool done;
	ssize_t n = http1_chunked_feed(&ch, in->data, in->len, &done);

	if (n < 0) {
		/* A body that was left out; the kernel side may know. */
		d->place = is_request && in->flags & TAP_F_FRAMED ? H1_HEAD
								  : H1_BODY;
		return;
	}
	advance(in, (size_t)n);
	d->next = in->pos;
	d->chunk_left = ch.left;
	d->chunk_state = ch.state;
	if (!done)
		return;
	d->place = H1_HEAD;
	if (is_request && h->last && h->last->body_end == H1_POSITION_NONE)
		h->last->body_end = d->next;
	if (!is_request && h1_request_end_is_unknown(h1_request_answering(h))) {
		h->first->response_end = d->next;
		h1_request_settle(e, h, in->last_ns);
	}
}

void h1_message_take(struct conn_engine *e, struct h1_conn *h,
		     struct h1_input *in)
{
	struct h1_dir *d = &h->dir[in->dir];
	struct head_buf *b = d->buf;

	/* The kernel could not go on in an open head. */
	if (!in->len && in->flags & TAP_F_TRUNCATED && b) {
		d->buf = NULL;
		cut_head(e, h, in, (struct slice){ b->data, b->len }, b->at,
			 false);
		head_buf_free(e, b);
	}
	while (in->len && !h->c.ignored && !h->becomes) {
		if (in->pos < d->next) {
			uint64_t n = d->next - in->pos;

			advance(in, n < in->len ? (size_t)n : in->len);
		} else if (d->place == H1_CHUNKED) {
			take_chunks(e, h, in);
		} else if (d->place != H1_HEAD) {
			advance(in, in->len);
			d->next = in->pos;
		} else if (d->buf) {
			more_of_head(e, h, in);
		} else {
			first_of_head(e, h, in);
		}
	}
}
