/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/http/h1_conn.h"

#include "probe-agent/http/h1_message.h"
#include "probe-agent/http/h1_request.h"
#include "probe-agent/http/http1.h"

/* The shortest message; fewer unseen bytes are stray line ends or a FIN. */
#define MESSAGE_MIN_BYTES 16u

/* c is the first member of a slot that is large enough. */
static struct h1_conn *h1_of(struct conn *c)
{
	return (struct h1_conn *)c;
}

static int begin(struct conn_engine *e, struct conn *c,
		 const struct exchange *asked)
{
	struct h1_conn *h = h1_of(c);

	(void)e;
	(void)asked;
	h->dir[TAP_RX].next = c->moved[TAP_RX].seen;
	h->dir[TAP_TX].next = c->moved[TAP_TX].seen;
	h->credit = c->inherited;
	return 0;
}

static size_t finish(struct conn_engine *e, struct conn *c)
{
	struct h1_conn *h = h1_of(c);
	size_t n = h->n_requests;

	h1_request_drop_after(e, h, NULL);
	h1_request_drop_odd(e, h);
	head_buf_drop(e, &h->dir[TAP_RX].buf);
	head_buf_drop(e, &h->dir[TAP_TX].buf);
	return n;
}

void h1_ignore(struct conn_engine *e, struct h1_conn *h)
{
	h1_request_lose_all(e, h);
	conn_ignore(e, &h->c);
}

bool h1_unseen_message(const struct h1_conn *h, int dir)
{
	const struct h1_dir *d = &h->dir[dir];

	return d->place == H1_HEAD && !d->buf &&
	       h->c.moved[dir].seen >= d->next + MESSAGE_MIN_BYTES;
}

/*
 * A write comes again that was refused in part or whole, or could not be read
 * whole at first. Takes back what the first try brought and this one brings
 * again.
 */
static void take_back(struct conn_engine *e, struct h1_conn *h,
		      const struct h1_input *in)
{
	struct h1_dir *d = &h->dir[in->dir];
	struct head_buf *b = d->buf;
	struct h1_request *r, *prev = NULL;

	if (b && in->pos < d->next) {
		if (in->pos <= b->at.start) {
			d->next = b->at.start;
			head_buf_drop(e, &d->buf);
		} else {
			b->len = (uint32_t)(in->pos - b->at.start);
			d->next = in->pos;
		}
	}
	if (h->c.role != ROLE_CLIENT)
		return;
	for (r = h->first; r; prev = r, r = r->next) {
		if (r->start < in->pos || r->p.status ||
		    h->c.moved[in->dir].seen > r->start)
			continue;
		if (r->start >= in->pos + in->len)
			return;
		head_buf_drop(e, &d->buf);
		d->next = r->start;
		d->place = H1_HEAD;
		h1_request_drop_after(e, h, prev);
		return;
	}
}

/* Is there a partial head that is, or may be, that of a request? */
static bool has_open_request(const struct h1_conn *h, int dir)
{
	const struct head_buf *b = h->dir[dir].buf;

	if (!b || h->c.role)
		return b && dir == conn_request_dir(&h->c);
	/* Empty: only the line of the PROXY protocol came. */
	if (!b->len)
		return true;
	switch (http1_kind(b->data, b->len)) {
	case HTTP1_KIND_REQUEST:
		return true;
	case HTTP1_KIND_EITHER:
		return b->at.turn & TAP_TURN_REQUEST;
	default:
		return false;
	}
}

/* Bytes of the request direction are missing before in. */
static void gap_in_requests(struct conn_engine *e, struct h1_conn *h,
			    const struct h1_input *in)
{
	struct h1_dir *d = &h->dir[in->dir];
	uint64_t missing = in->pos - d->next;

	if (d->buf)
		h1_lose(e, h, 1);
	else if (missing < MESSAGE_MIN_BYTES)
		return;
	else if ((int32_t)(d->call_end - (uint32_t)d->next) >=
		 (int32_t)MESSAGE_MIN_BYTES)
		h1_lose(e, h, 1); /* after others in a call */
	e->stats.gaps++;
	if (h->desync)
		return;
	h1_request_settle_unknown(e, h);
	if (!h->first)
		return;
	if (h1_unseen_response(h)) {
		h1_request_lose_all(e, h);
		h1_responses(h)->next = h1_answered(h)->seen;
	} else {
		h->desync = true;
	}
}

/*
 * Bytes of the response direction are missing before in. A request that was
 * made before the end of the gap may have been answered inside it.
 */
static void gap_in_responses(struct conn_engine *e, struct h1_conn *h,
			     const struct h1_input *in)
{
	struct h1_dir *d = &h->dir[in->dir];

	if (!d->buf && in->pos - d->next < MESSAGE_MIN_BYTES)
		return;
	while (h->first && h->first->stamp < in->pos)
		h1_request_lose(e, h);
}

/* Could the bytes be the start of what travels in their direction? */
static bool fits_direction(const struct h1_conn *h, const struct h1_input *in)
{
	switch (http1_kind(in->data, in->len)) {
	case HTTP1_KIND_EITHER:
		return true;
	case HTTP1_KIND_REQUEST:
		return !h->c.role || in->dir == conn_request_dir(&h->c);
	case HTTP1_KIND_RESPONSE:
		return !h->c.role || in->dir != conn_request_dir(&h->c);
	default:
		return false;
	}
}

/* May a message begin here, although d is inside a body of unknown end? */
static bool ends_body(struct conn_engine *e, struct h1_conn *h,
		      const struct h1_input *in)
{
	const struct h1_request *r = h->first;

	if (in->dir == conn_request_dir(&h->c)) {
		if (h->last && !h->last->p.status && h1_unseen_response(h)) {
			h1_request_lose_all(e, h);
			h1_responses(h)->next = h1_answered(h)->seen;
		}
		/* The body of a request goes on until it is answered. */
		return !h->last || h->last->p.status;
	}
	/* Without a request to answer, these are body bytes. */
	if (!(r && (r->next || !r->p.status)) &&
	    !h1_unseen_message(h, in->dir ^ 1))
		return false;
	h1_request_settle_unknown(e, h);
	return true;
}

/* Bytes are missing before in, where a message was due. */
static void pass_gap(struct conn_engine *e, struct h1_conn *h,
		     const struct h1_input *in)
{
	struct h1_dir *d = &h->dir[in->dir];
	bool marked = in->flags & TAP_F_MESSAGE_START;

	if (!h->c.role) {
		if (has_open_request(h, in->dir))
			h1_lose(e, h, 1);
	} else if (in->dir == conn_request_dir(&h->c)) {
		/* What the kernel followed has no message in it. */
		if (d->buf || !(in->flags & TAP_F_FRAMED))
			gap_in_requests(e, h, in);
	} else {
		gap_in_responses(e, h, in);
	}
	head_buf_drop(e, &d->buf);
	d->next = in->pos;
	if (!marked)
		d->place = H1_LOST;
}

/* Bytes are missing before in, inside of a chunked body. */
static void skip_chunks(struct h1_dir *d, const struct h1_input *in)
{
	struct http1_chunked ch = { d->chunk_left, d->chunk_state };

	if (http1_chunked_skip(&ch, in->pos - d->next)) {
		d->place = H1_BODY;
		return;
	}
	d->chunk_left = ch.left;
	d->chunk_state = ch.state;
	d->next = in->pos;
}

/*
 * Moves d to where in begins. False if the bytes of in can't be parsed: they
 * are body bytes, or it is not known what they belong to.
 */
static bool find_place(struct conn_engine *e, struct h1_conn *h,
		       const struct h1_input *in)
{
	struct h1_dir *d = &h->dir[in->dir];
	bool marked = in->flags & TAP_F_MESSAGE_START;
	bool framed = marked && in->flags & TAP_F_FRAMED && h->c.role &&
		      in->dir == conn_request_dir(&h->c);

	if (!d->started &&
	    (!h->c.role || in->dir == conn_request_dir(&h->c) || !h->first)) {
		d->place = marked || in->pos == d->next ? H1_HEAD : H1_LOST;
		d->next = in->pos;
	}
	d->started = true;
	if (in->pos > d->next && d->place == H1_CHUNKED)
		skip_chunks(d, in);
	if (in->pos > d->next && d->place == H1_HEAD)
		pass_gap(e, h, in);
	if (d->place == H1_HEAD || d->place == H1_CHUNKED) {
		if (marked && in->pos < d->next && h->untrusted &&
		    in->dir != conn_request_dir(&h->c) && !d->buf &&
		    fits_direction(h, in))
			d->next = in->pos;
		return true;
	}
	if (!marked || in->pos < d->next)
		return false;
	if (!framed && (!fits_direction(h, in) ||
			(d->place == H1_BODY && !ends_body(e, h, in))))
		return false;
	d->place = H1_HEAD;
	d->next = in->pos;
	return true;
}

/* --- what the engine calls --- */

static bool wants_poll(const struct h1_conn *h)
{
	return h->passed ||
	       (h->first && (h->first->p.status || h->first->long_body));
}

/* A record came, and says how far both directions are. */
static void settle(struct conn_engine *e, struct h1_conn *h)
{
	h->passed = 0;
	if (h->first)
		h1_request_settle(e, h, h1_answered(h)->seen_ns);
}

/* The kernel has counted requests as lost; or such a write was refused. */
static void note_lost(struct h1_conn *h, uint16_t lost)
{
	int16_t n = (int16_t)(lost - h->lost);

	h->lost = lost;
	if (n > 0)
		h->credit = (uint16_t)(h->credit + n);
	else
		h->credit -=
			(uint16_t)-n < h->credit ? (uint16_t)-n : h->credit;
	/* What follows may be answered before they are. */
	if (n > 0 && h->first)
		h->desync = true;
}

static bool take_data(struct conn_engine *e, struct conn *c,
		      const struct tap_rec_data *r)
{
	struct h1_conn *h = h1_of(c);
	struct conn_moved *m = &c->moved[r->rec.dir];
	bool entry = r->rec.flags & TAP_F_ENTRY;
	struct h1_input in = {
		.dir = r->rec.dir,
		.flags = r->rec.flags,
		.turn = r->turn,
		.pos = conn_extend(m->seen, r->pos),
		.data = (const char *)r->data,
		.len = r->len,
		.first_ns = r->first_ns,
		.last_ns = r->last_ns ? r->last_ns : r->first_ns,
	};
	uint64_t call_end = in.pos + r->call_len;
	bool take;

	settle(e, h);
	note_lost(h, r->lost);
	if (r->rec.flags & TAP_F_TLS)
		c->tls = true;
	if (in.dir == TAP_TX && in.pos < h->dir[in.dir].next)
		take_back(e, h, &in);
	take = find_place(e, h, &in);
	h->dir[in.dir].call_end = (uint32_t)call_end;
	/* Before parsing: a message that ends in this call is then complete. */
	if (!entry && call_end > m->seen) {
		m->seen = call_end;
		m->seen_ns = in.last_ns;
	}
	if (h->first && !entry)
		h1_request_settle(e, h, in.last_ns);
	if (take)
		h1_message_take(e, h, &in);
	return wants_poll(h);
}

/*
 * Takes over how far the kernel side has followed the chunks of the response
 * under way.
 */
static void note_place(struct conn_engine *e, struct h1_conn *h,
		       const struct tap_rec_place *answers)
{
	struct h1_request *r = h1_request_answering(h);
	const struct conn_moved *m = h1_answered(h);
	uint64_t due = conn_extend(m->seen, answers->due);

	if (!h1_request_end_is_unknown(r) || !r->chunked ||
	    answers->place != PLACE_MESSAGE || due <= r->response_body)
		return;
	r->response_end = due;
	h1_request_settle(e, h, m->seen_ns);
}

/* Where a chunked response under way stands. */
enum chunks {
	CHUNKS_UNKNOWN,
	CHUNKS_INSIDE,
};

static enum chunks chunks_of(struct h1_conn *h,
			     const struct tap_rec_place *answers)
{
	const struct h1_dir *d = h1_responses(h);
	uint64_t seen = h1_answered(h)->seen;
	uint64_t due = conn_extend(seen, answers->due);

	if (d->place == H1_CHUNKED && seen <= d->next + d->chunk_left)
		return CHUNKS_INSIDE;
	if (answers->place == PLACE_DATA ? seen <= due : seen == due)
		return answers->place >= PLACE_BODY &&
				       answers->place <= PLACE_TRAILER_LINE
			       ? CHUNKS_INSIDE
			       : CHUNKS_UNKNOWN;
	return CHUNKS_UNKNOWN;
}

/*
 * Has the response under way, of unknown length, stopped before its end? + 1:
 * one byte may be the FIN.
 */
static bool stopped_inside(struct h1_conn *h,
			   const struct tap_rec_place *answers)
{
	return h->first->chunked && chunks_of(h, answers) == CHUNKS_INSIDE;
}

/*
 * The head of a response has not come whole, and will not. Returns false if the
 * rest moved unseen.
 */
static bool use_broken_response(struct h1_conn *h, struct h1_request *r)
{
	const struct h1_dir *d = h1_responses(h);
	struct http1_head head;

	if (h1_answered(h)->seen > d->next + 1)
		return false;
	r->p.first_byte_ns = d->buf->at.start_ns;
	if (http1_parse_response_cut(d->buf->data, d->buf->len, &head) ||
	    head.status < 200)
		return true;
	r->p.status = head.status;
	r->response_body = r->response_end = d->next;
	return true;
}

/* Nothing more will come in the response direction. */
static void conclude(struct conn_engine *e, struct h1_conn *h,
		     enum outcome outcome, const struct tap_rec_place *answers,
		     uint64_t time_ns)
{
	struct h1_request *r = h->first;

	if (h1_unseen_response(h)) {
		h1_request_lose_all(e, h);
		return;
	}
	if (h1_request_end_is_unknown(h1_request_answering(h)) &&
	    outcome == OUTCOME_ABORTED && !stopped_inside(h, answers))
		h1_request_finish(e, h, OUTCOME_COMPLETE,
				  h1_answered(h)->seen_ns);
	else if (r && !r->p.status && h1_responses(h)->buf &&
		 !use_broken_response(h, r))
		h1_request_lose(e, h);
	while (h->first) {
		if (h1_request_was_sent(h, h->first))
			h1_request_finish(e, h, outcome, time_ns);
		else
			h1_request_drop(e, h);
	}
}

static bool take_end(struct conn_engine *e, struct conn *c, int dir,
		     const struct tap_rec_place *answers, uint64_t time_ns)
{
	struct h1_conn *h = h1_of(c);

	settle(e, h);
	note_place(e, h, answers);
	if (h->first && dir != conn_request_dir(c))
		conclude(e, h, OUTCOME_ABORTED, answers, time_ns);
	return wants_poll(h);
}

/*
 * Counts a request head that broke off, or whose rest was lost. One byte may be
 * the FIN, unless the last byte of the head is what is missing.
 */
static void count_broken_head(struct conn_engine *e, const struct h1_conn *h,
			      int dir)
{
	const struct h1_dir *d = &h->dir[dir];
	const struct head_buf *b = d->buf;
	uint64_t seen = h->c.moved[dir].seen;

	if (!has_open_request(h, dir))
		return;
	if (seen > d->next + !(b->len && b->data[b->len - 1] == '\r'))
		e->stats.lost_gap++;
	else if (b->len && (dir == TAP_RX || seen > b->at.start + 1))
		e->stats.malformed++; /* a write counts if it was accepted */
}

static void take_shift(struct conn *c, int dir, uint64_t n)
{
	struct h1_conn *h = h1_of(c);

	h->dir[dir].next += n;
	if (dir == conn_request_dir(c))
		return;
	for (struct h1_request *r = h->first; r; r = r->next)
		r->stamp += n;
}

static void take_close(struct conn_engine *e, struct conn *c,
		       enum outcome outcome,
		       const struct tap_rec_place *answers, uint64_t time_ns)
{
	struct h1_conn *h = h1_of(c);

	settle(e, h);
	note_place(e, h, answers);
	count_broken_head(e, h, TAP_RX);
	count_broken_head(e, h, TAP_TX);
	if (h->first)
		conclude(e, h, outcome, answers, time_ns);
}

/* Whether the last write was accepted is not known; most are. */
static void take_vanish(struct conn_engine *e, struct conn *c)
{
	struct h1_conn *h = h1_of(c);
	struct h1_request *r = h1_request_answering(h);

	if (r)
		h1_request_finish(e, h,
				  h1_request_end_is_unknown(r)
					  ? OUTCOME_COMPLETE
					  : OUTCOME_ABORTED,
				  h1_answered(h)->seen_ns);
	e->stats.lost_gap +=
		has_open_request(h, TAP_RX) + has_open_request(h, TAP_TX);
}

static void poll_direction(struct h1_conn *h, int dir, uint32_t seq,
			   uint64_t ns, bool stale)
{
	const struct h1_dir *d = &h->dir[dir];
	struct conn_moved *m = &h->c.moved[dir];
	uint64_t seen = conn_extend(m->seen, seq);

	/* Past a message, whose record is on its way and says more. */
	if (d->place == H1_HEAD && seen > d->next) {
		if (!stale)
			return;
		seen = d->next;
	}
	if (seen > m->seen) {
		m->seen = seen;
		m->seen_ns = ns;
	}
}

/* Is the kernel's position, seen, past a message that no record has shown? */
static bool is_past_message(const struct h1_conn *h, int dir, uint64_t seen)
{
	const struct h1_dir *d = &h->dir[dir];

	if (d->place != H1_HEAD)
		return false;
	if (d->buf)
		return seen > d->next + 1;
	return h->first && !h->first->p.status &&
	       dir != conn_request_dir(&h->c) &&
	       seen >= d->next + MESSAGE_MIN_BYTES;
}

/*
 * A message that the kernel is past on two ticks, with no record in between,
 * found no room in the ring: all that was in the ring has been read since.
 */
static void poll_message(struct conn_engine *e, struct h1_conn *h, int dir,
			 uint32_t seq)
{
	struct h1_dir *d = &h->dir[dir];
	struct conn_moved *m = &h->c.moved[dir];
	uint8_t bit = (uint8_t)(1 << dir);
	bool twice = h->passed & bit;

	h->passed &= (uint8_t)~bit;
	if (!is_past_message(h, dir, conn_extend(m->seen, seq)))
		return;
	if (!twice) {
		h->passed |= bit;
		h->passed_at[dir] = seq;
		return;
	}
	if (has_open_request(h, dir)) {
		h1_lose(e, h, 1);
	} else if (h->c.role && dir != conn_request_dir(&h->c)) {
		/* All were sent, or there would be no answer. */
		h1_lose(e, h, h->n_requests);
		h1_request_drop_after(e, h, NULL);
		h->desync = false;
	}
	head_buf_drop(e, &d->buf);
	d->next = conn_extend(m->seen, h->passed_at[dir]);
	if (m->seen < d->next)
		m->seen = d->next;
}

static bool take_poll(struct conn_engine *e, struct conn *c,
		      const struct tap_rec_progress *now,
		      const struct tap_rec_place *answers, uint64_t now_ns)
{
	struct h1_conn *h = h1_of(c);
	const uint32_t seq[2] = { now->rx_seq, now->tx_seq };
	const uint64_t ns[2] = { now->rx_ns, now->tx_ns };
	uint64_t idle_ns = e->opt.idle_ns, seen_ns;
	struct h1_request *r;

	for (int dir = TAP_RX; dir <= TAP_TX; dir++)
		poll_direction(h, dir, seq[dir], ns[dir],
			       now_ns >= ns[dir] + idle_ns);
	if (h->first)
		h1_request_settle(e, h, h1_answered(h)->seen_ns);
	note_place(e, h, answers);
	for (int dir = TAP_RX; dir <= TAP_TX; dir++)
		poll_message(e, h, dir, seq[dir]);
	r = h1_request_answering(h);
	seen_ns = h1_answered(h)->seen_ns;
	/* Silence is no end of chunks: what ends them has been seen or will. */
	if (h1_request_end_is_unknown(r) && !r->until_close && !r->chunked &&
	    now_ns >= seen_ns + idle_ns)
		h1_request_finish(e, h, OUTCOME_COMPLETE, seen_ns);
	return wants_poll(h);
}

const struct http_proto h1_proto = {
	.name = "http/1",
	.init = begin,
	.data = take_data,
	.end = take_end,
	.poll = take_poll,
	.shift = take_shift,
	.close = take_close,
	.vanish = take_vanish,
	.fini = finish,
};
