/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef BPF_H2_WALK_BPF_H
#define BPF_H2_WALK_BPF_H

/*
 * Where HTTP/2 frames begin and end in the bytes of one direction, and which
 * of the bytes the agent needs: all of HEADERS, CONTINUATION, PUSH_PROMISE,
 * RST_STREAM, GOAWAY and of short DATA; of longer DATA the head, and the length
 * of its padding. The rest has only a length, and costs no record.
 *
 * No helper calls and no maps: unit tests compile this too, and walk the same
 * bytes as the kernel.
 */

#include "bpf/tap.h"

#define H2_WALK_HEAD 9 /* bytes of a frame's head */
#define H2_WALK_PREFACE 24 /* bytes of the client's preface */
/*
 * DATA that is no longer is copied: it can hold the status of a call. The same
 * as H2_DATA_COPIED_BYTES of the agent.
 */
#define H2_WALK_SHORT 256

enum h2_walk_type {
	H2_WALK_DATA = 0,
	H2_WALK_HEADERS = 1,
	H2_WALK_RST_STREAM = 3,
	H2_WALK_PUSH_PROMISE = 5,
	H2_WALK_GOAWAY = 7,
	H2_WALK_CONTINUATION = 9,
	H2_WALK_OPENING = 0xfe, /* the preface: a frame without head */
};

enum h2_walk_mark {
	H2_WALK_NEEDED = 1 << 0, /* the payload of the open frame is copied */
	H2_WALK_BEGUN = 1 << 1, /* the open frame began in this call */
	H2_WALK_PAD = 1 << 2, /* the length of the padding is still to come */
	H2_WALK_TELL = 1 << 3, /* the end of the open frame ends a stream */
	/*
	 * A part of the head that is being read was in a record that found no
	 * room: the rest is of no use.
	 */
	H2_WALK_BROKEN = 1 << 4,
	H2_WALK_LOST = 1 << 5, /* where frames begin is not known */
};

/* The open frame's payload is passed over. */
static __always_inline int h2_walk_is_dull(const struct tap_walk *d)
{
	return d->left && !d->have &&
	       !(d->mark & (H2_WALK_NEEDED | H2_WALK_PAD));
}

/* The open frame's payload may move unseen: DATA by sendfile, however short. */
static __always_inline int h2_walk_may_skip(const struct tap_walk *d)
{
	return d->left && !d->have && !(d->mark & H2_WALK_PAD) &&
	       (d->type == H2_WALK_DATA || !(d->mark & H2_WALK_NEEDED));
}

/* The next record would begin inside of a head that is not known. */
static __always_inline int h2_walk_is_broken(const struct tap_walk *d)
{
	return d->have && d->mark & H2_WALK_BROKEN;
}

/* A record found no room. */
static __always_inline void h2_walk_lost(struct tap_walk *d)
{
	d->seq++;
	if (d->have)
		d->mark |= H2_WALK_BROKEN;
}

/* A head is complete. Returns 1 if it is that of a request. */
static __always_inline int h2_walk_head(struct tap_walk *d, __u32 requests)
{
	__u8 type = d->type;

	d->have = 0;
	d->stream &= 0x7fffffff;
	d->mark = H2_WALK_BEGUN;
	if (type == H2_WALK_DATA) {
		if (d->left <= H2_WALK_SHORT)
			d->mark |= H2_WALK_NEEDED;
		if (d->flags & 0x08)
			d->mark |= H2_WALK_PAD;
		if (d->flags & 0x01)
			d->mark |= H2_WALK_TELL;
		return 0;
	}
	if (type == H2_WALK_HEADERS || type == H2_WALK_CONTINUATION ||
	    type == H2_WALK_PUSH_PROMISE || type == H2_WALK_RST_STREAM ||
	    type == H2_WALK_GOAWAY)
		d->mark |= H2_WALK_NEEDED;
	if (type != H2_WALK_HEADERS || !requests || d->stream <= d->last)
		return 0;
	d->last = d->stream;
	return 1;
}

/* A whole head at b. */
static __always_inline void h2_walk_take_head(struct tap_walk *d, const __u8 *b)
{
	d->left = (__u32)b[0] << 16 | (__u32)b[1] << 8 | b[2];
	d->type = b[3];
	d->flags = b[4];
	d->stream =
		(__u32)b[5] << 24 | (__u32)b[6] << 16 | (__u32)b[7] << 8 | b[8];
}

/* One byte of a head that is split over calls. Returns 1 if it is complete. */
static __always_inline int h2_walk_take_byte(struct tap_walk *d, __u8 byte)
{
	if (d->have < 3)
		d->left = d->left << 8 | byte;
	else if (d->have == 3)
		d->type = byte;
	else if (d->have == 4)
		d->flags = byte;
	else
		d->stream = d->stream << 8 | byte;
	return ++d->have == H2_WALK_HEAD;
}

/* n bytes of the open frame's payload. */
static __always_inline void h2_walk_pass(struct tap_walk *d, __u32 n)
{
	d->left -= n;
	if (n)
		d->mark &= ~H2_WALK_PAD;
}

/* A piece that is being walked. */
struct h2_walk_piece {
	struct tap_walk *d;
	__u32 at, len;
	__u32 requests; /* set: they go in this direction */
	__u32 heads; /* requests that began in it */
	__u32 needed; /* set: the agent needs some of it */
};

static __always_inline void h2_walk_begin(struct h2_walk_piece *w,
					  struct tap_walk *d, __u32 len,
					  __u32 requests)
{
	w->d = d;
	w->at = 0;
	w->len = len;
	w->requests = requests;
	w->heads = 0;
	w->needed = d->have || (d->left && !h2_walk_is_dull(d));
}

/*
 * The next step in the piece at data, which has at least room for a head behind
 * w->len bytes; mask keeps the index inside it. Returns 1 at the end.
 */
static __always_inline int h2_walk_step(struct h2_walk_piece *w,
					const __u8 *data, const __u32 mask)
{
	struct tap_walk *d = w->d;
	__u32 n, at = w->at;

	if (at >= w->len || at > mask)
		return 1;
	n = w->len - at;
	if (d->left && !d->have) {
		if (n > d->left)
			n = d->left;
		h2_walk_pass(d, n);
		w->at = at + n;
		return 0;
	}
#ifdef __BPF__
	asm volatile("%0 &= %1" : "+r"(at) : "i"(mask));
#endif
	if (!d->have && n >= H2_WALK_HEAD) {
		h2_walk_take_head(d, data + at);
		w->at = at + H2_WALK_HEAD;
	} else {
		if (!d->have)
			d->left = d->stream = 0;
		w->at = at + 1;
		if (!h2_walk_take_byte(d, data[at])) {
			w->needed = 1;
			return 0;
		}
	}
	w->heads += h2_walk_head(d, w->requests);
	w->needed |= d->type == H2_WALK_DATA || d->mark & H2_WALK_NEEDED;
	return 0;
}

#endif /* BPF_H2_WALK_BPF_H */
