/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/http/stream.h"

#include <errno.h>

#include "probe-agent/http/http1.h"
#include "probe-agent/http/message.h"
#include "probe-agent/http/pending.h"

/* The shortest message; fewer unseen bytes are stray line ends or a FIN. */
#define MESSAGE_MIN_BYTES 16u

static uint64_t extend(uint64_t near, uint32_t pos)
{
	return near + (uint64_t)(int64_t)(int32_t)(pos - (uint32_t)near);
}

void stream_env_fini(struct stream_env *env)
{
	pending_free_spares(env);
}

void stream_init(struct conn *c, const struct tap_rec_progress *done)
{
	/* Ahead by 2^32, so that looking back never underflows. */
	c->dir[TAP_RX].seen = (1ull << 32) + done->rx_seq;
	c->dir[TAP_TX].seen = (1ull << 32) + done->tx_seq;
	c->dir[TAP_RX].seen_ns = done->rx_ns;
	c->dir[TAP_TX].seen_ns = done->tx_ns;
	c->dir[TAP_RX].next = c->dir[TAP_RX].seen;
	c->dir[TAP_TX].next = c->dir[TAP_TX].seen;
}

void stream_fini(struct stream_env *env, struct conn *c)
{
	pending_drop_after(env, c, NULL);
	head_buf_drop(env, &c->dir[TAP_RX]);
	head_buf_drop(env, &c->dir[TAP_TX]);
}

void stream_ignore(struct stream_env *env, struct conn *c)
{
	pending_lose_all(env, c);
	stream_fini(env, c);
	c->ignored = true;
	if (env->opt.ignore)
		env->opt.ignore(env->opt.arg, c->sock, c->born_ns);
}

bool stream_unseen_message(const struct direction *d)
{
	return d->state == DIR_HEAD && !d->buf &&
	       d->seen >= d->next + MESSAGE_MIN_BYTES;
}

static void progress_to(struct direction *d, uint32_t seq, uint64_t ns)
{
	uint64_t seen = extend(d->seen, seq);

	if (seen <= d->seen)
		return;
	d->seen = seen;
	d->seen_ns = ns;
}

void stream_progress(struct stream_env *env, struct conn *c,
		     const struct tap_rec_progress *done)
{
	progress_to(&c->dir[TAP_RX], done->rx_seq, done->rx_ns);
	progress_to(&c->dir[TAP_TX], done->tx_seq, done->tx_ns);
	if (c->first)
		pending_settle(env, c, responses(c)->seen_ns);
}

/*
 * A write comes again that was refused in part or whole, or could not be read
 * whole at first. Takes back what the first try brought and this one brings
 * again.
 */
static void take_back(struct stream_env *env, struct conn *c,
		      const struct input *in)
{
	struct direction *d = &c->dir[in->dir];
	struct head_buf *b = d->buf;
	struct pending *p, *prev = NULL;

	if (b && in->pos < d->next) {
		if (in->pos <= b->pos) {
			d->next = b->pos;
			head_buf_drop(env, d);
		} else {
			b->len = (uint32_t)(in->pos - b->pos);
			d->next = in->pos;
		}
	}
	if (c->role != ROLE_CLIENT)
		return;
	for (p = c->first; p; prev = p, p = p->next) {
		if (p->start < in->pos || p->status || d->seen > p->start)
			continue;
		if (p->start >= in->pos + in->len)
			return;
		head_buf_drop(env, d);
		d->next = p->start;
		d->state = DIR_HEAD;
		pending_drop_after(env, c, prev);
		return;
	}
}

/* Is there a partial head that is, or may be, that of a request? */
static bool has_open_request(const struct conn *c, int dir)
{
	const struct head_buf *b = c->dir[dir].buf;

	if (!b || c->role)
		return b && dir == request_dir(c);
	return http1_kind(b->data, b->len) == HTTP1_KIND_REQUEST;
}

/* Bytes of the request direction are missing before in. */
static void gap_in_requests(struct stream_env *env, struct conn *c,
			    const struct input *in)
{
	struct direction *d = &c->dir[in->dir];
	uint64_t missing = in->pos - d->next;

	if (d->buf)
		env->stats.lost_gap++;
	else if (missing < MESSAGE_MIN_BYTES)
		return;
	else if ((int32_t)(d->call_end - (uint32_t)d->next) >=
		 (int32_t)MESSAGE_MIN_BYTES)
		env->stats.lost_gap++; /* after others in a call */
	env->stats.gaps++;
	if (c->desync)
		return;
	pending_settle_unknown(env, c);
	if (!c->first)
		return;
	if (stream_unseen_message(responses(c))) {
		pending_lose_all(env, c);
		responses(c)->next = responses(c)->seen;
	} else {
		c->desync = true;
	}
}

/*
 * Bytes of the response direction are missing before in. A request that was
 * made before the end of the gap may have been answered inside it.
 */
static void gap_in_responses(struct stream_env *env, struct conn *c,
			     const struct input *in)
{
	struct direction *d = &c->dir[in->dir];

	if (!d->buf && in->pos - d->next < MESSAGE_MIN_BYTES)
		return;
	while (c->first && c->first->stamp < in->pos)
		pending_lose(env, c);
}

/* Could the bytes be the start of what travels in their direction? */
static bool fits_direction(const struct conn *c, const struct input *in)
{
	switch (http1_kind(in->data, in->len)) {
	case HTTP1_KIND_EITHER:
		return true;
	case HTTP1_KIND_REQUEST:
		return !c->role || in->dir == request_dir(c);
	case HTTP1_KIND_RESPONSE:
		return !c->role || in->dir != request_dir(c);
	default:
		return false;
	}
}

/* May a message begin here, although d is inside a body of unknown end? */
static bool ends_body(struct stream_env *env, struct conn *c,
		      const struct input *in)
{
	struct pending *p = c->first;

	if (in->dir == request_dir(c)) {
		if (c->last && !c->last->status &&
		    stream_unseen_message(responses(c))) {
			pending_lose_all(env, c);
			responses(c)->next = responses(c)->seen;
		}
		/* The body of a request goes on until it is answered. */
		return !c->last || c->last->status;
	}
	/* Without a request to answer, these are body bytes. */
	if (!(p && (p->next || !p->status)) &&
	    !stream_unseen_message(requests(c)))
		return false;
	pending_settle_unknown(env, c);
	return true;
}

/*
 * Moves d to where in begins. False if the bytes of in can't be parsed: they
 * are body bytes, or it is not known what they belong to.
 */
static bool find_place(struct stream_env *env, struct conn *c,
		       const struct input *in)
{
	struct direction *d = &c->dir[in->dir];
	struct http1_chunked ch = { d->chunk_left, d->chunk_state };
	bool marked = in->flags & TAP_F_MESSAGE_START;

	if (!d->started &&
	    (!c->role || in->dir == request_dir(c) || !c->first)) {
		d->state = marked || in->pos == d->next ? DIR_HEAD : DIR_LOST;
		d->next = in->pos;
	}
	d->started = true;
	if (in->pos > d->next && d->state == DIR_CHUNKED) {
		if (http1_chunked_skip(&ch, in->pos - d->next) == 0) {
			d->chunk_left = ch.left;
			d->chunk_state = ch.state;
			d->next = in->pos;
		} else {
			d->state = DIR_BODY;
		}
	}
	if (in->pos > d->next && d->state == DIR_HEAD) {
		if (!c->role)
			env->stats.lost_gap += has_open_request(c, in->dir);
		else if (in->dir == request_dir(c))
			gap_in_requests(env, c, in);
		else
			gap_in_responses(env, c, in);
		head_buf_drop(env, d);
		d->next = in->pos;
		if (!marked)
			d->state = DIR_LOST;
	}
	if (d->state == DIR_HEAD || d->state == DIR_CHUNKED) {
		if (marked && in->pos < d->next && c->untrusted &&
		    in->dir != request_dir(c) && !d->buf &&
		    http1_kind(in->data, in->len) == HTTP1_KIND_RESPONSE)
			d->next = in->pos;
		return true;
	}
	if (!marked || in->pos < d->next || !fits_direction(c, in) ||
	    (d->state == DIR_BODY && !ends_body(env, c, in)))
		return false;
	d->state = DIR_HEAD;
	d->next = in->pos;
	return true;
}

void stream_data(struct stream_env *env, struct conn *c,
		 const struct tap_rec_data *r)
{
	struct direction *d = &c->dir[r->rec.dir];
	bool entry = r->rec.flags & TAP_F_ENTRY;
	struct input in = {
		.dir = r->rec.dir,
		.flags = r->rec.flags,
		.pos = extend(d->seen, r->pos),
		.data = (const char *)r->data,
		.len = r->len,
		.first_ns = r->first_ns,
		.last_ns = r->last_ns ? r->last_ns : r->first_ns,
	};
	uint64_t call_end = in.pos + r->call_len;
	bool take;

	if (r->rec.flags & TAP_F_TLS)
		c->tls = true;
	if (in.dir == TAP_TX && in.pos < d->next)
		take_back(env, c, &in);
	take = find_place(env, c, &in);
	d->call_end = (uint32_t)call_end;
	/* Before parsing: a message that ends in this call is then complete. */
	if (!entry && call_end > d->seen) {
		d->seen = call_end;
		d->seen_ns = in.last_ns;
	}
	if (c->first && !entry)
		pending_settle(env, c, in.last_ns);
	if (take)
		message_take(env, c, &in);
}

/* Has the response under way, of unknown length, stopped before its end? */
static bool stopped_inside(struct conn *c, uint64_t last_bytes)
{
	const struct direction *d = responses(c);

	return (c->first->chunked &&
		http1_chunked_tail(last_bytes) == HTTP1_TAIL_INSIDE) ||
	       (d->state == DIR_CHUNKED && d->seen <= d->next + d->chunk_left);
}

/* Nothing more will come in the response direction. */
static void conclude(struct stream_env *env, struct conn *c,
		     enum outcome outcome, uint64_t last_bytes,
		     uint64_t time_ns)
{
	struct direction *d = responses(c);
	struct pending *p = c->first;
	struct http1_head h;

	if (stream_unseen_message(d)) {
		pending_lose_all(env, c);
		return;
	}
	if (pending_end_is_unknown(pending_answering(c)) &&
	    outcome == OUTCOME_ABORTED && !stopped_inside(c, last_bytes)) {
		pending_finish(env, c, OUTCOME_COMPLETE, d->seen_ns);
	} else if (p && !p->status && d->buf) {
		p->first_byte_ns = d->buf->first_ns;
		if (http1_parse_response_cut(d->buf->data, d->buf->len, &h) ==
		    0) {
			p->status = h.status;
			p->response_body = p->response_end = d->next;
		}
	}
	while (c->first) {
		if (pending_was_sent(c, c->first))
			pending_finish(env, c, outcome, time_ns);
		else
			pending_drop(env, c);
	}
}

void stream_end(struct stream_env *env, struct conn *c, int dir,
		uint64_t last_bytes, uint64_t time_ns)
{
	if (c->first && dir != request_dir(c))
		conclude(env, c, OUTCOME_ABORTED, last_bytes, time_ns);
}

/* Counts a request head that broke off, or whose rest was lost. */
static void count_broken_head(struct stream_env *env, const struct conn *c,
			      int dir)
{
	const struct direction *d = &c->dir[dir];

	if (!has_open_request(c, dir))
		return;
	/* + 1: the FIN. A written one counts only if the write was accepted. */
	if (d->seen > d->next + 1)
		env->stats.lost_gap++;
	else if (dir == TAP_RX || d->seen > d->buf->pos + 1)
		env->stats.malformed++;
}

/*
 * EPIPE is a reset that came after the peer's FIN. EHOSTUNREACH and ENETUNREACH
 * are what the kernel remembers of retries that went unanswered.
 */
static enum outcome outcome_of(uint32_t error)
{
	switch (error) {
	case ECONNRESET:
	case EPIPE:
		return OUTCOME_RESET;
	case ETIMEDOUT:
	case EHOSTUNREACH:
	case ENETUNREACH:
		return OUTCOME_TIMEOUT;
	default:
		return OUTCOME_ABORTED;
	}
}

void stream_close(struct stream_env *env, struct conn *c, uint32_t error,
		  uint64_t last_bytes, uint64_t time_ns)
{
	struct pending *p = pending_answering(c);

	count_broken_head(env, c, TAP_RX);
	count_broken_head(env, c, TAP_TX);
	/* A reset after the last chunk: the response was complete. */
	if (pending_end_is_unknown(p) && p->chunked &&
	    http1_chunked_tail(last_bytes) == HTTP1_TAIL_LAST_CHUNK)
		pending_finish(env, c, OUTCOME_COMPLETE, responses(c)->seen_ns);
	if (c->first)
		conclude(env, c, outcome_of(error), last_bytes, time_ns);
	stream_fini(env, c);
}

void stream_vanish(struct stream_env *env, struct conn *c)
{
	struct pending *p = pending_answering(c);

	if (p)
		pending_finish(env, c,
			       pending_end_is_unknown(p) ? OUTCOME_COMPLETE
							 : OUTCOME_ABORTED,
			       responses(c)->seen_ns);
	/* Whether the last write was accepted is not known; most are. */
	env->stats.lost_gap += c->n_pending + has_open_request(c, TAP_RX) +
			       has_open_request(c, TAP_TX);
	stream_fini(env, c);
}

bool stream_wants_poll(const struct conn *c)
{
	return c->gone || c->passed ||
	       (c->first && (c->first->status || c->first->long_body));
}

static void poll_direction(struct direction *d, uint32_t seq, uint64_t ns,
			   bool stale)
{
	uint64_t seen = extend(d->seen, seq);

	/* Past a message, whose record is on its way and says more. */
	if (d->state == DIR_HEAD && seen > d->next) {
		if (!stale)
			return;
		seen = d->next;
	}
	if (seen > d->seen) {
		d->seen = seen;
		d->seen_ns = ns;
	}
}

/* Is the kernel's position, seen, past a message that no record has shown? */
static bool is_past_message(const struct conn *c, int dir, uint64_t seen)
{
	const struct direction *d = &c->dir[dir];

	if (d->state != DIR_HEAD)
		return false;
	if (d->buf)
		return seen > d->next + 1;
	return c->first && !c->first->status && dir != request_dir(c) &&
	       seen >= d->next + MESSAGE_MIN_BYTES;
}

/*
 * A message that the kernel is past on two ticks, with no record in between,
 * found no room in the ring: all that was in the ring has been read since.
 */
static void poll_message(struct stream_env *env, struct conn *c, int dir,
			 uint32_t seq)
{
	struct direction *d = &c->dir[dir];
	uint8_t bit = (uint8_t)(1 << dir);
	bool twice = c->passed & bit;

	c->passed &= (uint8_t)~bit;
	if (!is_past_message(c, dir, extend(d->seen, seq)))
		return;
	if (!twice) {
		c->passed |= bit;
		c->passed_at[dir] = seq;
		return;
	}
	if (has_open_request(c, dir)) {
		env->stats.lost_gap++;
	} else if (c->role && dir != request_dir(c)) {
		/* All were sent, or there would be no answer. */
		env->stats.lost_gap += c->n_pending;
		pending_drop_after(env, c, NULL);
		c->desync = false;
	}
	head_buf_drop(env, d);
	d->next = extend(d->seen, c->passed_at[dir]);
	if (d->seen < d->next)
		d->seen = d->next;
}

void stream_poll(struct stream_env *env, struct conn *c,
		 const struct tap_rec_progress *now, uint64_t last_bytes,
		 uint64_t now_ns)
{
	const uint32_t seq[2] = { now->rx_seq, now->tx_seq };
	const uint64_t ns[2] = { now->rx_ns, now->tx_ns };
	uint64_t idle_ns = env->opt.idle_ns;
	struct direction *d;
	struct pending *p;

	for (int dir = TAP_RX; dir <= TAP_TX; dir++)
		poll_direction(&c->dir[dir], seq[dir], ns[dir],
			       now_ns >= ns[dir] + idle_ns);
	if (c->first)
		pending_settle(env, c, responses(c)->seen_ns);
	for (int dir = TAP_RX; dir <= TAP_TX; dir++)
		poll_message(env, c, dir, seq[dir]);
	if (!c->first)
		return;
	d = responses(c);
	p = pending_answering(c);
	if (pending_end_is_unknown(p) && !p->until_close &&
	    now_ns >= d->seen_ns + idle_ns && !stopped_inside(c, last_bytes))
		pending_finish(env, c, OUTCOME_COMPLETE, d->seen_ns);
}
