/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/http/message.h"

#include <errno.h>

#include "probe-agent/http/http1.h"
#include "probe-agent/http/pending.h"

/*
 * A partial head shorter than this is parsed anew with every piece, to find out
 * early if it has no method. A longer one is only parsed once its end has come:
 * else the cost would be quadratic.
 */
#define EARLY_BYTES 128u
#define STRIKES_MAX 3
/* half of what 32-bit positions can span */
#define LONG_BODY_BYTES (1ull << 30)

static void malformed(struct stream_env *env, struct conn *c,
		      const struct input *in, bool is_request, bool looks_http)
{
	struct direction *d = &c->dir[in->dir];

	head_buf_drop(env, d);
	d->state = DIR_LOST;
	if (c->unsure)
		return; /* perhaps the middle of a message */
	if (is_request) {
		env->stats.malformed += looks_http;
		c->swallow = true;
		if (!c->valid || ++c->strikes >= STRIKES_MAX)
			stream_ignore(env, c);
		return;
	}
	env->stats.malformed++;
	pending_settle_unknown(env, c);
	if (c->first) {
		c->first->first_byte_ns = in->first_ns;
		pending_finish(env, c, OUTCOME_MALFORMED, in->last_ns);
	} else if (++c->strikes >= STRIKES_MAX) {
		stream_ignore(env, c);
	}
}

static void frame_request(struct conn *c, struct direction *d,
			  const struct http1_head *h, struct pending *p,
			  bool cut)
{
	uint64_t length = 0;

	d->state = DIR_HEAD;
	switch (h->framing) {
	case HTTP1_FRAMING_LENGTH:
		length = h->content_length;
		break;
	case HTTP1_FRAMING_CHUNKED:
		d->state = DIR_CHUNKED;
		d->chunk_left = 0;
		d->chunk_state = 0;
		break;
	case HTTP1_FRAMING_UNKNOWN:
		d->state = DIR_BODY;
		break;
	}
	if (p) {
		p->body = d->next;
		p->body_end =
			d->state == DIR_HEAD ? d->next + length : POSITION_NONE;
		p->stamp = responses(c)->seen;
		p->long_body =
			d->state != DIR_HEAD || length >= LONG_BODY_BYTES;
	}
	/* Where a cut head ends is not known, so neither is its body's size. */
	if (p && cut)
		p->body = POSITION_NONE;
	d->next += length;
}

static void take_request(struct stream_env *env, struct conn *c,
			 const struct input *in, const struct http1_head *h,
			 uint64_t start, uint64_t start_ns, bool at_call_start,
			 bool cut)
{
	struct direction *d = &c->dir[in->dir];
	struct pending *p = NULL;

	if (c->desync && stream_unseen_message(responses(c))) {
		pending_lose_all(env, c);
		responses(c)->next = responses(c)->seen;
	}
	if (c->desync && !c->first && at_call_start)
		c->desync = false;
	if (c->desync) {
		env->stats.lost_gap++;
	} else {
		p = pending_push(env, c, h);
		if (!p) {
			env->stats.lost_buffer++;
			c->desync = c->first != NULL;
		} else {
			p->start = start;
			p->start_ns = start_ns;
		}
	}
	c->swallow = false;
	frame_request(c, d, h, p, cut);
}

/* The exchange is over, and so is HTTP on this connection. */
static void become_tunnel(struct stream_env *env, struct conn *c,
			  uint64_t end_ns)
{
	if (c->first)
		pending_finish(env, c, OUTCOME_COMPLETE, end_ns);
	env->stats.upgraded++;
	/* Later requests were bytes for the tunnel, not HTTP: no loss. */
	pending_drop_after(env, c, NULL);
	stream_ignore(env, c);
}

/*
 * RFC 9110 10.1.1: the client may leave out a body that it announced with
 * Expect if the final status comes at once. If no byte of it has moved, the
 * next message may begin where the body would have begun.
 */
static void forget_unsent_body(struct conn *c, const struct pending *p)
{
	struct direction *d = requests(c);

	if (p->expect && !p->next && d->state != DIR_LOST &&
	    d->seen <= p->body && p->body_end > p->body) {
		d->next = p->body;
		d->state = DIR_LOST;
	}
}

static void frame_response(struct stream_env *env, struct conn *c,
			   const struct input *in, const struct http1_head *h,
			   bool cut)
{
	struct direction *d = &c->dir[in->dir];
	struct pending *p = c->first;
	bool no_body = (p && p->head) || h->status == 204 || h->status == 304;
	uint64_t body = d->next;

	d->state = DIR_HEAD;
	if (no_body) {
		;
	} else if (h->framing == HTTP1_FRAMING_LENGTH) {
		d->next += h->content_length;
	} else if (h->framing == HTTP1_FRAMING_CHUNKED) {
		d->state = DIR_CHUNKED;
		d->chunk_left = 0;
		d->chunk_state = 0;
	} else {
		d->state = DIR_BODY;
	}
	if (p) {
		p->response_body = body;
		p->response_end =
			d->state == DIR_HEAD ? d->next : POSITION_NONE;
		p->until_close = d->state == DIR_BODY && !cut;
		p->chunked = d->state == DIR_CHUNKED;
		if (no_body)
			pending_finish(env, c, OUTCOME_COMPLETE, in->last_ns);
		else
			pending_settle(env, c, in->last_ns);
	}
	if (cut)
		d->state = DIR_BODY;
}

static void take_response(struct stream_env *env, struct conn *c,
			  const struct input *in, const struct http1_head *h,
			  uint64_t start_ns, bool cut)
{
	struct pending *p;

	pending_settle_unknown(env, c);
	p = c->first;
	c->untrusted = false;
	if (h->status < 200 && h->status != 101) {
		c->dir[in->dir].state = cut ? DIR_BODY : DIR_HEAD;
		if (p && h->status == 100)
			p->expect = false;
		return;
	}
	if (p) {
		p->status = h->status;
		p->first_byte_ns = start_ns;
		forget_unsent_body(c, p);
	} else if (!c->swallow) {
		env->stats.orphans++;
		c->untrusted = true;
	}
	c->swallow = false;
	if (h->status == 101 || (p && p->connect && h->status < 300)) {
		if (p) {
			p->response_body = c->dir[in->dir].next;
			p->response_end = p->response_body;
		}
		become_tunnel(env, c, in->last_ns);
		return;
	}
	frame_response(env, c, in, h, cut);
}

/*
 * A head that ends at d->next was parsed, or, if it is cut, as much of it as
 * came.
 */
static void took_head(struct stream_env *env, struct conn *c, struct input *in,
		      bool is_request, struct http1_head *h, uint64_t start,
		      uint64_t start_ns, bool at_call_start, bool cut)
{
	if (!c->role)
		c->role = is_request == (in->dir == TAP_RX) ? ROLE_SERVER
							    : ROLE_CLIENT;
	c->valid = true;
	c->unsure = false;
	c->strikes = 0;
	if (cut)
		h->framing = HTTP1_FRAMING_UNKNOWN;
	if (is_request)
		take_request(env, c, in, h, start, start_ns, at_call_start,
			     cut);
	else
		take_response(env, c, in, h, start_ns, cut);
}

static enum http1_kind kind_for(const struct conn *c, int dir, const char *data,
				size_t len)
{
	if (!c->role)
		return http1_kind(data, len);
	return dir == request_dir(c) ? HTTP1_KIND_REQUEST : HTTP1_KIND_RESPONSE;
}

static ssize_t parse_head(enum http1_kind kind, const char *data, size_t len,
			  struct http1_head *h)
{
	switch (kind) {
	case HTTP1_KIND_REQUEST:
		return http1_parse_request(data, len, h);
	case HTTP1_KIND_RESPONSE:
		return http1_parse_response(data, len, h);
	case HTTP1_KIND_EITHER:
		return -EAGAIN;
	default:
		return -EPROTO;
	}
}

/*
 * No more of this head will be seen: uses what is there. no_room: a cap was
 * reached.
 */
static void cut_head(struct stream_env *env, struct conn *c, struct input *in,
		     const char *data, size_t len, uint64_t start,
		     uint64_t start_ns, bool no_room)
{
	struct direction *d = &c->dir[in->dir];
	enum http1_kind kind = kind_for(c, in->dir, data, len);
	bool at_start = in->flags & TAP_F_CALL_START;
	struct http1_head h;
	int err = -EPROTO;

	input_advance(in, in->len);
	d->next = in->pos;
	if (kind == HTTP1_KIND_REQUEST)
		err = http1_parse_request_cut(data, len, &h);
	else if (kind == HTTP1_KIND_RESPONSE)
		err = http1_parse_response_cut(data, len, &h);
	if (!err) {
		took_head(env, c, in, kind == HTTP1_KIND_REQUEST, &h, start,
			  start_ns, at_start, true);
	} else if (no_room) {
		env->stats.lost_buffer++;
		d->state = DIR_LOST;
	} else {
		malformed(env, c, in, kind != HTTP1_KIND_RESPONSE, true);
	}
}

/* The head is not complete: keeps what there is. */
static void keep_head(struct stream_env *env, struct conn *c, struct input *in)
{
	struct direction *d = &c->dir[in->dir];
	struct head_buf *b;

	if (head_buf_append(env, d, in->pos, in->first_ns, in->data, in->len) !=
	    0) {
		cut_head(env, c, in, in->data, in->len, in->pos, in->first_ns,
			 true);
		return;
	}
	b = d->buf;
	b->call_start = in->flags & TAP_F_CALL_START;
	if (in->flags & TAP_F_TRUNCATED) {
		d->buf = NULL;
		cut_head(env, c, in, b->data, b->len, b->pos, b->first_ns,
			 false);
		head_buf_free(env, b);
		return;
	}
	input_advance(in, in->len);
	d->next = in->pos;
}

static void refuse_head(struct stream_env *env, struct conn *c,
			struct input *in, enum http1_kind kind,
			const char *data, size_t len)
{
	bool request = kind != HTTP1_KIND_RESPONSE;

	if (request && http1_is_http2_preface(data, len)) {
		env->stats.http2++;
		stream_ignore(env, c);
		return;
	}
	malformed(env, c, in, request,
		  http1_kind(data, len) != HTTP1_KIND_NEITHER);
}

static void first_of_head(struct stream_env *env, struct conn *c,
			  struct input *in)
{
	struct direction *d = &c->dir[in->dir];
	uint64_t start = in->pos;
	bool at_start = in->flags & TAP_F_CALL_START;
	enum http1_kind kind;
	struct http1_head h;
	ssize_t n;

	/* RFC 9112 2.2: line ends before a request line are skipped. */
	while (in->len && (*in->data == '\r' || *in->data == '\n'))
		input_advance(in, 1);
	d->next = start = in->pos;
	if (in->len == 0)
		return;
	c->unsure = !c->valid && !(in->flags & TAP_F_MESSAGE_START);
	kind = kind_for(c, in->dir, in->data, in->len);
	n = parse_head(kind, in->data, in->len, &h);
	if (n > 0) {
		input_advance(in, (size_t)n);
		d->next = in->pos;
		took_head(env, c, in, kind == HTTP1_KIND_REQUEST, &h, start,
			  in->first_ns, at_start, false);
	} else if (n == -EAGAIN) {
		keep_head(env, c, in);
	} else {
		refuse_head(env, c, in, kind, in->data, in->len);
	}
}

static void more_of_head(struct stream_env *env, struct conn *c,
			 struct input *in)
{
	struct direction *d = &c->dir[in->dir];
	struct head_buf *b = d->buf;
	size_t old = b->len;
	enum http1_kind kind;
	struct http1_head h;
	ssize_t n = -EAGAIN;

	if (head_buf_append(env, d, 0, 0, in->data, in->len) != 0) {
		d->buf = NULL;
		cut_head(env, c, in, b->data, b->len, b->pos, b->first_ns,
			 b->len + in->len <= HEAD_MAX_BYTES);
		head_buf_free(env, b);
		return;
	}
	b = d->buf;
	kind = kind_for(c, in->dir, b->data, b->len);
	if (old < EARLY_BYTES || http1_head_end(b->data, b->len, old - 3))
		n = parse_head(kind, b->data, b->len, &h);
	if (n == -EAGAIN && !(in->flags & TAP_F_TRUNCATED)) {
		input_advance(in, in->len);
		d->next = in->pos;
		return;
	}
	d->buf = NULL;
	if (n > 0) {
		/* Its end is in the new bytes. */
		input_advance(in, (size_t)n - old);
		d->next = in->pos;
		took_head(env, c, in, kind == HTTP1_KIND_REQUEST, &h, b->pos,
			  b->first_ns, b->call_start, false);
	} else if (n == -EAGAIN) {
		cut_head(env, c, in, b->data, b->len, b->pos, b->first_ns,
			 false);
	} else {
		refuse_head(env, c, in, kind, b->data, b->len);
	}
	head_buf_free(env, b);
}

static void take_chunks(struct stream_env *env, struct conn *c,
			struct input *in)
{
	struct direction *d = &c->dir[in->dir];
	struct http1_chunked ch = { d->chunk_left, d->chunk_state };
	bool is_request = in->dir == request_dir(c);
	bool done;
	ssize_t n = http1_chunked_feed(&ch, in->data, in->len, &done);

	if (n < 0) {
		d->state = DIR_BODY;
		return;
	}
	input_advance(in, (size_t)n);
	d->next = in->pos;
	d->chunk_left = ch.left;
	d->chunk_state = ch.state;
	if (!done)
		return;
	d->state = DIR_HEAD;
	if (is_request && c->last && c->last->body_end == POSITION_NONE)
		c->last->body_end = d->next;
	if (!is_request && pending_end_is_unknown(pending_answering(c))) {
		c->first->response_end = d->next;
		pending_settle(env, c, in->last_ns);
	}
}

void message_take(struct stream_env *env, struct conn *c, struct input *in)
{
	struct direction *d = &c->dir[in->dir];

	while (in->len && !c->ignored) {
		if (in->pos < d->next) {
			uint64_t n = d->next - in->pos;

			input_advance(in, n < in->len ? (size_t)n : in->len);
		} else if (d->state == DIR_CHUNKED) {
			take_chunks(env, c, in);
		} else if (d->state != DIR_HEAD) {
			input_advance(in, in->len);
			d->next = in->pos;
		} else if (d->buf) {
			more_of_head(env, c, in);
		} else {
			first_of_head(env, c, in);
		}
	}
}
