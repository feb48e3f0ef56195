/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/http/h2_state.h"

#include <errno.h>
#include <string.h>

/*
 * Evidence, in bits, that a connection joined late is HTTP/2. A request with
 * its answer is worth some 20 bits if only fields of the static table are
 * known, and 35 to 65 with a path or a date. Random header blocks in valid
 * frames would have to reach this sum on one connection.
 */
#define PROOF_BITS 56

static bool is_requests(const struct h2 *h, int dir)
{
	return dir == h->request_dir;
}

/* --- heads --- */

static void drop_unasked(struct h2 *h, struct h2_stream *s, void *arg)
{
	uint32_t id = *(const uint32_t *)arg;

	if (!s->requested && s->id & 1 && s->id < id)
		h2_finish_orphan(h, s);
}

static enum grpc_kind request_kind(const struct h2_head *head)
{
	struct slice target = h2_head_text(head, H2_TEXT_TARGET);

	if (!head->kind &&
	    (head->connect_version || grpc_is_connect_get(target)))
		return GRPC_CONNECT_UNARY;
	return (enum grpc_kind)head->kind;
}

static enum h2_tunnel_protocol protocol_of(const struct h2_head *head)
{
	struct slice p = h2_head_text(head, H2_TEXT_PROTOCOL);

	if (!h2_head_has(head->named, HPACK_PROTOCOL))
		return H2_TUNNEL_CONNECT;
	if (p.len == 9 && !memcmp(p.data, "websocket", 9))
		return H2_TUNNEL_WEBSOCKET;
	return H2_TUNNEL_OTHER;
}

static bool is_post(const struct h2_head *head)
{
	struct slice method = h2_head_text(head, H2_TEXT_METHOD);

	return method.len == 4 && !memcmp(method.data, "POST", 4);
}

static uint8_t request_unknowns(const struct h2_head *head)
{
	uint8_t unknown = 0;

	if (h2_head_misses(head, HPACK_METHOD))
		unknown |= 1u << H2_UNKNOWN_METHOD;
	if (h2_head_misses(head, HPACK_PATH))
		unknown |= 1u << H2_UNKNOWN_PATH;
	if (h2_head_misses(head, HPACK_AUTHORITY) &&
	    !h2_head_has(head->known, HPACK_HOST))
		unknown |= 1u << H2_UNKNOWN_AUTHORITY;
	/* A call is made by POST, except for some that the path tells of. */
	if (h2_head_misses(head, HPACK_CONTENT_TYPE) &&
	    (unknown & 1u << H2_UNKNOWN_METHOD || is_post(head)))
		unknown |= 1u << H2_UNKNOWN_CONTENT_TYPE;
	return unknown;
}

/* The stream of a new request. half: what there is of it, its response. */
static struct h2_stream *make_request(struct h2 *h, struct h2_stream *half,
				      uint32_t id, const struct h2_head *head)
{
	struct slice text[H2_TEXTS];
	struct h2_stream *s;

	for (int t = 0; t < H2_TEXTS; t++)
		text[t] = h2_head_text(head, (enum h2_text)t);
	if (half)
		return h2_stream_set_text(h, half, text);
	s = h2_stream_add(h, id, text);
	if (s)
		return s;
	h2_finish_doubtful(h);
	return h2_stream_add(h, id, text);
}

static void maybe_tunnel(struct h2 *h, struct h2_stream *s, uint64_t time_ns)
{
	if (s->requested && s->connect && s->answered && s->status >= 200 &&
	    s->status < 300)
		h2_finish_tunnel_begins(h, s, time_ns);
}

static void request_begins(struct h2 *h, const struct h2_opening *o,
			   const struct h2_head *head, uint64_t end_ns)
{
	struct h2_stream *half = h2_stream_find(h, o->stream);
	struct h2_stream *s = make_request(h, half, o->stream, head);
	struct slice method = h2_head_text(head, H2_TEXT_METHOD);

	if (!s) {
		h->env->stats.lost_buffer += h->proved;
		if (half)
			h2_finish_orphan(h, half);
		return;
	}
	h->halves -= half != NULL;
	s->requested = true;
	s->start_ns = o->start_ns;
	s->request_ended = o->end_stream || o->type == H2_PUSH_PROMISE;
	s->target_cut = head->target_cut;
	s->unknown |= request_unknowns(head);
	if (!s->kind)
		s->kind = (uint8_t)request_kind(head);
	s->connect = method.len == 7 && !memcmp(method.data, "CONNECT", 7);
	s->protocol = (uint8_t)protocol_of(head);
	s->evidence = (uint8_t)head->evidence;
	h->env->stats.open_streams += h->proved;
	if (s->ended)
		h2_finish(h, s, OUTCOME_COMPLETE, s->end_ns);
	else
		maybe_tunnel(h, s, end_ns);
}

static int request_head(struct h2 *h, const struct h2_opening *o,
			const struct h2_head *head, uint64_t end_ns)
{
	struct h2_stream *s = h2_stream_find(h, o->stream);

	if (!(o->stream & 1))
		return h2_contradict(h, H2_DESYNC_ORDER);
	if (s && s->requested) {
		if (o->end_stream)
			h2_message_end(h, h->request_dir, o->stream, end_ns);
		return 0;
	}
	if (o->stream <= h->last_request)
		return 0; /* of a stream that is closed */
	/* Trailers of a stream that began before the connection was joined. */
	if (h->joined && !h->last_request && !h2_head_is_request(head))
		return 0;
	if (head->disordered) {
		h->env->stats.malformed += h->proved;
		if (!h->proved)
			return h2_contradict(h, H2_DESYNC_ORDER);
	}
	if (h->halves)
		h2_stream_each(h, drop_unasked, &(uint32_t){ o->stream });
	h->last_request = o->stream;
	request_begins(h, o, head, end_ns);
	return 0;
}

/* A promise is a request that the answering side makes to itself. */
static int promise(struct h2 *h, int dir, const struct h2_opening *o,
		   const struct h2_head *head, uint64_t end_ns)
{
	if (is_requests(h, dir) || o->stream & 1 || !o->stream)
		return h2_contradict(h, H2_DESYNC_ORDER);
	if (!h2_stream_find(h, o->stream))
		request_begins(h, o, head, end_ns);
	return 0;
}

/* Is it the head of an answer, and not trailers? */
static bool is_answer(const struct h2_stream *s, const struct h2_opening *o,
		      const struct h2_head *head)
{
	if (h2_head_has(head->named, HPACK_STATUS) || !s->answered)
		return true;
	/* What was taken for the answer can have been an interim one. */
	return !o->end_stream && head->unnamed;
}

static void answer_begins(struct h2 *h, struct h2_stream *s,
			  const struct h2_opening *o,
			  const struct h2_head *head)
{
	s->answered = true;
	s->status = head->status;
	s->first_byte_ns = o->start_ns;
	s->unknown &= (uint8_t) ~(1u << H2_UNKNOWN_STATUS);
	if (h2_head_misses(head, HPACK_STATUS))
		s->unknown |= 1u << H2_UNKNOWN_STATUS;
	if (!s->kind)
		s->kind = head->kind;
	/* The answer says the same as the request, and here it can be known. */
	if (h2_head_has(head->known, HPACK_CONTENT_TYPE))
		s->unknown &= (uint8_t) ~(1u << H2_UNKNOWN_CONTENT_TYPE);
	if (s->kind <= GRPC_PLAIN || s->body)
		return;
	s->body = h2_alloc(h->env, sizeof(*s->body));
	if (s->body)
		grpc_body_begin(s->body, (enum grpc_kind)s->kind, s->status);
}

/* Bits that it takes to write n. */
static unsigned width(uint32_t n)
{
	return n ? 32u - (unsigned)__builtin_clz(n) : 0;
}

/*
 * The answer on a request's stream: can it be chance? That the numbers are the
 * same is less likely, the larger they are.
 */
static void weigh(struct h2 *h, const struct h2_stream *s,
		  const struct h2_head *head)
{
	if (h->proved || !s->requested || head->disordered ||
	    (!head->status && !head->evidence))
		return;
	h->evidence = (uint16_t)(h->evidence + s->evidence + head->evidence +
				 width(s->id));
}

/* NULL: the stream is closed, or a cap is reached. */
static struct h2_stream *stream_of_answer(struct h2 *h, uint32_t id)
{
	struct h2_stream *s = h2_stream_find(h, id);

	if (s || !(id & 1) || id <= h->last_request)
		return s;
	s = h2_stream_add(h, id, NULL);
	h->env->stats.orphans += !s && h->proved;
	h->halves += s != NULL;
	return s;
}

static int response_head(struct h2 *h, int dir, const struct h2_opening *o,
			 const struct h2_head *head, uint64_t end_ns)
{
	struct h2_stream *s = stream_of_answer(h, o->stream);

	if (head->disordered) {
		h->env->stats.malformed += h->proved;
		if (!h->proved)
			return h2_contradict(h, H2_DESYNC_ORDER);
	}
	if (!s || s->tunnel)
		return 0;
	weigh(h, s, head);
	if (head->status >= 100 && head->status < 200)
		return 0;
	if (is_answer(s, o, head))
		answer_begins(h, s, o, head);
	if (head->code)
		s->code = head->code;
	else if (h2_head_misses(head, HPACK_GRPC_STATUS) && o->end_stream)
		s->unknown |= 1u << H2_UNKNOWN_GRPC_STATUS;
	if (o->end_stream)
		h2_message_end(h, dir, o->stream, end_ns);
	else
		maybe_tunnel(h, s, end_ns);
	return 0;
}

int h2_message_head(struct h2 *h, int dir, const struct h2_head *head,
		    uint64_t end_ns)
{
	const struct h2_opening *o = &h->dir[dir].opening;
	int err;

	if (h->request_dir == H2_DIR_UNKNOWN) {
		if (h2_head_is_request(head))
			h->request_dir = (uint8_t)dir;
		else if (h2_head_has(head->named, HPACK_STATUS))
			h->request_dir = !dir;
		else
			return 0;
	}
	if (o->type == H2_PUSH_PROMISE)
		err = promise(h, dir, o, head, end_ns);
	else if (is_requests(h, dir))
		err = request_head(h, o, head, end_ns);
	else
		err = response_head(h, dir, o, head, end_ns);
	if (!err && h->proved && !o->given_up)
		h->strikes = 0;
	if (!err && h->evidence >= PROOF_BITS)
		h2_finish_proved(h);
	return err;
}

/* --- bodies and ends --- */

void h2_message_frame(struct h2 *h, int dir, uint32_t id, uint32_t len)
{
	struct h2_stream *s;

	if (h->request_dir == H2_DIR_UNKNOWN || is_requests(h, dir))
		return;
	s = h2_stream_find(h, id);
	if (s && s->body)
		grpc_body_frame(s->body, len);
}

void h2_message_body(struct h2 *h, int dir, uint32_t id, const uint8_t *data,
		     size_t len)
{
	struct h2_stream *s;

	if (h->request_dir == H2_DIR_UNKNOWN)
		return;
	s = h2_stream_find(h, id);
	if (!s)
		return;
	if (is_requests(h, dir)) {
		s->request_bytes += len;
		return;
	}
	s->response_bytes += len;
	if (s->body && data)
		grpc_body_feed(s->body, data, len);
	else if (s->body)
		grpc_body_skip(s->body, (uint32_t)len);
}

void h2_message_end(struct h2 *h, int dir, uint32_t id, uint64_t time_ns)
{
	struct h2_stream *s;

	if (h->request_dir == H2_DIR_UNKNOWN)
		return;
	s = h2_stream_find(h, id);
	if (!s)
		return;
	if (is_requests(h, dir))
		s->request_ended = true;
	else
		s->ended = true;
	if (s->tunnel) {
		if (s->ended && s->request_ended)
			h2_finish_tunnel_ends(h, s, time_ns);
		return;
	}
	if (!s->ended || is_requests(h, dir))
		return;
	s->end_ns = time_ns;
	if (!s->answered)
		s->unknown |= 1u << H2_UNKNOWN_STATUS; /* its head was lost */
	if (s->requested)
		h2_finish(h, s, OUTCOME_COMPLETE, time_ns);
}
