/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/http/h2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/tap.h"
#include "probe-agent/http/h2_state.h"

#define STRIKES_MAX 3

int h2_contradict(struct h2 *h, enum h2_desync cause)
{
	h->env->stats.desynced[cause] += h->proved;
	h->evidence = 0;
	return ++h->strikes >= STRIKES_MAX || (!h->proved && !h->joined)
		       ? -EPROTO
		       : 0;
}

/* --- the life of a connection --- */

int h2_new(struct h2 **out, struct h2_env *env, enum h2_start start,
	   int request_dir, void *owner)
{
	struct h2 *h = calloc(1, sizeof(*h));

	*out = h;
	if (!h)
		return -ENOMEM;
	h->env = env;
	h->owner = owner;
	h->joined = start == H2_START_JOINED;
	h->request_dir = (uint8_t)(h->joined ? H2_DIR_UNKNOWN : request_dir);
	for (int dir = TAP_RX; dir <= TAP_TX; dir++) {
		h2_frame_init(&h->dir[dir].frame, dir == h->request_dir);
		hpack_window_init(&h->dir[dir].window, &env->windows,
				  !h->joined);
	}
	return 0;
}

void h2_free(struct h2 *h)
{
	if (!h)
		return;
	if (h->proved)
		h->env->stats.open_streams -= h2_open_streams(h);
	for (int dir = TAP_RX; dir <= TAP_TX; dir++) {
		h2_block_drop(h, &h->dir[dir]);
		hpack_window_fini(&h->dir[dir].window);
	}
	h2_stream_free_all(h);
	free(h);
}

void h2_upgrade(struct h2 *h, const struct h2_exchange *x)
{
	const struct slice text[H2_TEXTS] = {
		[H2_TEXT_METHOD] = x->method,
		[H2_TEXT_TARGET] = x->target,
		[H2_TEXT_HOST] = x->host,
		[H2_TEXT_TRACEPARENT] = x->traceparent,
	};
	struct h2_stream *s;

	h2_finish_proved(h);
	h->last_request = 1;
	s = h2_stream_add(h, 1, text);
	if (!s) {
		h->env->stats.lost_buffer++;
		return;
	}
	s->requested = true;
	s->request_ended = true;
	s->target_cut = x->target_cut;
	s->start_ns = x->start_ns;
	s->request_bytes = x->request_bytes;
	h->env->stats.open_streams++;
}

/* --- frames --- */

/* A block that has not ended is given up: the rest of it will not be seen. */
static void break_off(struct h2 *h, struct h2_dir *d)
{
	const struct h2_opening *o = &d->opening;
	bool request = o->open && o->type == H2_HEADERS &&
		       d == &h->dir[h->request_dir & 1] &&
		       h->request_dir != H2_DIR_UNKNOWN &&
		       o->stream > h->last_request;

	if (request && h->proved) {
		h->last_request = o->stream;
		h->env->stats.lost_gap++;
	}
	h2_block_drop(h, d);
}

/* The place in d is lost: bytes are missing, or they are no frames. */
static void lose_place(struct h2 *h, struct h2_dir *d)
{
	break_off(h, d);
	hpack_window_reset(&d->window);
	h2_finish_doubt(h);
	d->lost = true;
}

static int frame_begins(struct h2 *h, struct h2_dir *d)
{
	const struct h2_frame *f = &d->frame;
	bool goes_on = f->type == H2_CONTINUATION;

	/* What says nothing is not judged: mostly it is not even seen. */
	if (f->type != H2_DATA && !h2_frame_is_needed(f))
		return 0;
	d->control_len = 0;
	if (d->opening.open && (!goes_on || f->stream != d->block_stream)) {
		break_off(h, d);
		hpack_window_reset(&d->window);
		return h2_contradict(h, H2_DESYNC_ORDER);
	}
	switch (f->type) {
	case H2_HEADERS:
	case H2_PUSH_PROMISE:
		h2_block_begin(h, d);
		d->block_stream = f->stream;
		break;
	case H2_CONTINUATION:
		if (d->opening.open)
			break;
		/* Its beginning was lost with other things, or never was. */
		hpack_window_reset(&d->window);
		return d->hurt ? 0 : h2_contradict(h, H2_DESYNC_ORDER);
	case H2_DATA:
		h2_message_frame(h, (int)(d - h->dir), f->stream, f->content);
		break;
	default:
		break;
	}
	d->hurt = false;
	return 0;
}

static int frame_content(struct h2 *h, struct h2_dir *d, const uint8_t *data,
			 size_t len)
{
	size_t n = sizeof(d->control) - d->control_len;

	switch (d->frame.type) {
	case H2_DATA:
		/* Of longer DATA it is by chance that bytes are seen. */
		if (d->frame.len > H2_DATA_COPIED_BYTES)
			data = NULL;
		h2_message_body(h, (int)(d - h->dir), d->frame.stream, data,
				len);
		return 0;
	case H2_HEADERS:
	case H2_PUSH_PROMISE:
	case H2_CONTINUATION:
		return d->opening.open ? h2_block_feed(h, d, data, len) : 0;
	case H2_RST_STREAM:
	case H2_GOAWAY:
		if (n > len)
			n = len;
		memcpy(d->control + d->control_len, data, n);
		d->control_len = (uint8_t)(d->control_len + n);
		return 0;
	default:
		return 0;
	}
}

static int block_ends(struct h2 *h, struct h2_dir *d, uint64_t time_ns)
{
	const struct h2_head *head = h2_block_end(h, d);
	int err = -EPROTO;

	if (head)
		err = h2_message_head(h, (int)(d - h->dir), head, time_ns);
	h2_block_drop(h, d);
	return err;
}

static int frame_ends(struct h2 *h, struct h2_dir *d, uint64_t time_ns)
{
	const struct h2_frame *f = &d->frame;
	int dir = (int)(d - h->dir);
	uint32_t last = (uint32_t)(d->control[0] & 0x7f) << 24 |
			(uint32_t)d->control[1] << 16 |
			(uint32_t)d->control[2] << 8 | d->control[3];

	switch (f->type) {
	case H2_DATA:
		if (f->flags & H2_FLAG_END_STREAM)
			h2_message_end(h, dir, f->stream, time_ns);
		return 0;
	case H2_HEADERS:
	case H2_PUSH_PROMISE:
	case H2_CONTINUATION:
		if (!(f->flags & H2_FLAG_END_HEADERS) || !d->opening.open)
			return 0;
		return block_ends(h, d, time_ns);
	case H2_RST_STREAM:
		h2_finish_reset(h, dir, f->stream, time_ns);
		return 0;
	case H2_GOAWAY:
		h2_finish_goaway(h, dir, last, time_ns);
		return 0;
	default:
		return 0;
	}
}

/* --- pieces --- */

/* Takes frames from data. -EPROTO: enough is enough. */
static int take_frames(struct h2 *h, struct h2_dir *d, const uint8_t *at,
		       const uint8_t *end, const struct h2_piece *p)
{
	const uint8_t *data;
	size_t len;
	int event, err = 0;

	for (;;) {
		if (h2_frame_is_between(&d->frame))
			d->frame_ns = p->first_ns;
		event = h2_frame_next(&d->frame, &at, end, &data, &len);
		switch (event) {
		case H2_FRAME_NONE:
			return 0;
		case H2_FRAME_PREFACE:
			h2_finish_proved(h);
			break;
		case H2_FRAME_BEGINS:
			err = frame_begins(h, d);
			break;
		case H2_FRAME_CONTENT:
			err = frame_content(h, d, data, len);
			break;
		case H2_FRAME_ENDS:
			err = frame_ends(h, d, p->last_ns);
			break;
		default:
			lose_place(h, d);
			return h2_contradict(h, H2_DESYNC_FRAME);
		}
		if (err)
			return err;
	}
}

/*
 * Bytes that were not seen move: those of the open frame, if it is one of DATA
 * or one that says nothing. Returns how many, or -EPROTO.
 */
static int64_t pass_over(struct h2 *h, struct h2_dir *d, uint32_t n,
			 uint64_t time_ns)
{
	const struct h2_frame *f = &d->frame;
	uint32_t left = h2_frame_left(f);
	const uint8_t *none = NULL, *data;
	int64_t content;
	size_t len;

	if (n > left)
		n = left;
	if (!n)
		return 0;
	content = h2_frame_skip(&d->frame, n);
	if (content < 0)
		return content;
	if (f->type == H2_DATA && content)
		h2_message_body(h, (int)(d - h->dir), f->stream, NULL,
				(size_t)content);
	else if (content && h2_frame_is_needed(f))
		return -EPROTO;
	if (n == left &&
	    h2_frame_next(&d->frame, &none, none, &data, &len) ==
		    H2_FRAME_ENDS &&
	    frame_ends(h, d, time_ns))
		return -EPROTO;
	return n;
}

/* Goes to where p begins. False: there is no way, and the place is lost. */
static bool go_to(struct h2 *h, struct h2_dir *d, const struct h2_piece *p)
{
	uint32_t gap = p->pos - d->next;
	int64_t passed = -EPROTO;

	if (gap <= INT32_MAX)
		passed = pass_over(h, d, gap, p->last_ns);
	if (passed < 0)
		return false;
	/* Behind it lie whole frames that say nothing. */
	if (gap > passed && !h2_frame_is_between(&d->frame))
		return false;
	return p->left == h2_frame_left(&d->frame) &&
	       p->have == h2_frame_head_bytes(&d->frame);
}

/* Where p begins is the only thing to be sure of. False: not even that. */
static bool start_at(struct h2_dir *d, const struct h2_piece *p)
{
	if (p->have)
		return false;
	h2_frame_resync(&d->frame, p->left);
	d->hurt = true;
	d->lost = false;
	return true;
}

/* Finds the place of p. False: its bytes are of no use. */
static bool find_place(struct h2 *h, struct h2_dir *d, const struct h2_piece *p)
{
	bool first = !d->started;

	d->started = true;
	if (first && h->joined)
		return start_at(d, p);
	if (first)
		d->next = p->pos;
	if (p->seq != (uint16_t)(d->seq + 1)) {
		h->env->stats.desynced[H2_DESYNC_GAP] += h->proved;
		lose_place(h, d);
	}
	if (!d->lost && !go_to(h, d, p)) {
		h->env->stats.desynced[H2_DESYNC_GAP] += h->proved;
		lose_place(h, d);
	}
	return !d->lost || start_at(d, p);
}

/* DATA that ends in this call ends now, though its end comes in no piece. */
static void finish_call(struct h2 *h, struct h2_dir *d,
			const struct h2_piece *p)
{
	uint32_t left = h2_frame_left(&d->frame);
	int64_t passed;

	if (d->lost || d->frame.type != H2_DATA || !left || left > p->rest ||
	    d->frame.len <= H2_DATA_COPIED_BYTES)
		return;
	passed = pass_over(h, d, left, p->last_ns);
	if (passed > 0)
		d->next += (uint32_t)passed;
}

/*
 * DATA of the other direction has moved up to pos, and no piece tells of it.
 * The last byte of an answer is left for the piece that has its time.
 */
static void catch_up(struct h2 *h, int dir, uint32_t pos, uint64_t time_ns)
{
	struct h2_dir *d = &h->dir[dir];
	uint32_t gap = pos - d->next, left = h2_frame_left(&d->frame);
	int64_t passed;

	if (!d->started || d->lost || gap > INT32_MAX || !left ||
	    d->frame.type != H2_DATA || d->frame.len <= H2_DATA_COPIED_BYTES)
		return;
	if (dir != h->request_dir && gap >= left)
		gap = left - 1;
	passed = pass_over(h, d, gap, time_ns);
	if (passed > 0)
		d->next += (uint32_t)passed;
}

int h2_data(struct h2 *h, const struct h2_piece *p)
{
	struct h2_dir *d = &h->dir[p->dir];
	bool found;
	int err = 0;

	catch_up(h, !p->dir, p->other_pos, p->first_ns);
	found = find_place(h, d, p);
	d->seq = p->seq;
	d->next = p->pos + (uint32_t)p->len;
	if (found)
		err = take_frames(h, d, p->data, p->data + p->len, p);
	if (!err && found)
		finish_call(h, d, p);
	if (err)
		h2_finish_lost(h);
	return err;
}

void h2_moved(struct h2 *h, int dir, uint32_t pos, uint16_t seq,
	      uint64_t time_ns)
{
	struct h2_dir *d = &h->dir[dir];
	int64_t passed = 0;

	if (seq != d->seq && (d->started || !h->joined)) {
		h->env->stats.desynced[H2_DESYNC_GAP] += h->proved;
		lose_place(h, d);
		d->seq = seq;
	}
	if (d->started && !d->lost && (int32_t)(pos - d->next) > 0)
		passed = pass_over(h, d, pos - d->next, time_ns);
	if (passed > 0)
		d->next += (uint32_t)passed;
}

void h2_end(struct h2 *h, int dir, uint64_t time_ns)
{
	if (h->request_dir == !dir)
		h2_finish_all(h, OUTCOME_ABORTED, time_ns);
}

/* A request's head that broke off. */
static void count_broken_head(struct h2 *h)
{
	const struct h2_opening *o;

	if (h->request_dir == H2_DIR_UNKNOWN || !h->proved)
		return;
	o = &h->dir[h->request_dir].opening;
	if (o->open && o->type == H2_HEADERS && o->stream > h->last_request)
		h->env->stats.malformed++;
}

void h2_close(struct h2 *h, enum outcome outcome, uint64_t time_ns)
{
	count_broken_head(h);
	h2_finish_all(h, outcome, time_ns);
}

void h2_vanish(struct h2 *h)
{
	h2_finish_lost(h);
}

int h2_request_dir(const struct h2 *h)
{
	return h->request_dir == H2_DIR_UNKNOWN ? -1 : h->request_dir;
}

bool h2_is_proved(const struct h2 *h)
{
	return h->proved;
}

size_t h2_size(void)
{
	return sizeof(struct h2);
}
