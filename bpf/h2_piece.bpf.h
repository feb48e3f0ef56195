/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef BPF_H2_PIECE_BPF_H
#define BPF_H2_PIECE_BPF_H

/*
 * Records of HTTP/2: bytes are copied into one, and the frames are walked there
 * (h2_walk.bpf.h). A record that is of no use is discarded. Without room for
 * it, the walk goes on in the program's memory.
 */

#include "bpf/copy.bpf.h"
#include "bpf/h2_shape.bpf.h"

/* Pieces, and stretches without one, of a call: with bpf_loop(), and before. */
#define H2_STEPS_MAX 4096
#define H2_STEPS_SHORT 16
/* Frames, and halves of them, in a record: each takes two steps. */
#define H2_FRAMES_MAX 128
#define H2_FRAMES_SHORT 24

/*
 * Room in a record for a short piece: DATA mostly comes as its head, behind the
 * head of an answer.
 */
#define H2_PIECE_SHORT 128
/* Room after a piece: a frame's head may be read across its end. */
#define H2_PIECE_PAD 16

/* A record's bytes, and that room. */
struct h2_short {
	__u8 at[H2_PIECE_SHORT + H2_PIECE_PAD];
};
struct h2_long {
	__u8 at[TAP_PIECE_MAX + H2_PIECE_PAD];
};

/* One call. The stack is short: no holes. */
struct h2_call {
	__u64 sk;
	const char *from; /* next byte to be walked */
	const struct iovec *iov;
	__u64 first_ns, last_ns;
	__u32 seg_left; /* bytes left of the buffer that from is in */
	__u32 left; /* bytes left of the call */
	__u32 iovs;
	__u32 skip; /* bytes that were walked before: the write comes again */
	__u8 dir, flags;
	__u8 early; /* the call has only begun */
	__u8 done; /* the call cannot be followed further */
	__u8 unread; /* the rest can be read when the call returns */
	__u8 shut; /* no record may be sent: its OPEN found no room */
	__u16 pad;
};

struct h2_calling {
	struct tap_conn *conn;
	struct h2_call call;
};

/* The record that is walked in. */
struct h2_walking {
	const __u8 *data;
	struct h2_walk_piece piece;
};

/* Set: requests travel in this direction. */
static __always_inline __u32 brings_requests(const struct tap_conn *conn,
					     __u32 dir)
{
	return conn->role == dir + 1;
}

static __always_inline struct tap_walk *walk_of(struct tap_conn *conn,
						__u32 dir)
{
	return &conn->walk[dir & 1];
}

/* Where the next frame begins in d is not known. */
static __always_inline void lose_walk(struct tap_walk *d)
{
	d->left = d->have = 0;
	h2_walk_lost(d);
	d->mark = H2_WALK_LOST;
	tap_count(TAP_C_H2_LOST);
}

/* --- walking in a record --- */

static long walk_short_step(__u32 i, struct h2_walking *w)
{
	return h2_walk_step(&w->piece, w->data, H2_PIECE_SHORT - 1);
}

static long walk_long_step(__u32 i, struct h2_walking *w)
{
	return h2_walk_step(&w->piece, w->data, TAP_PIECE_MAX - 1);
}

/*
 * Both walk len bytes of a record, and return how many of them they passed, and
 * whether the agent needs them. Global: see copy_small().
 */
#define H2_WALKED(w) ((w)->piece.at | (w)->piece.needed << 15)
#define H2_WALKED_BYTES(r) ((r)&0x3ff)
#define H2_WALKED_NEEDED(r) ((r) >> 15 & 1)

__noinline int h2_walk_short(const struct h2_short *p, struct tap_walk *d,
			     __u32 len, __u32 requests)
{
	struct h2_walking w = {};
	__u32 i;

	if (!p || !d)
		return 0;
	w.data = p->at;
	h2_walk_begin(&w.piece, d, len, requests);
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_loop))
		bpf_loop(H2_FRAMES_MAX, walk_short_step, &w, 0);
	else
		for (i = 0; i < H2_FRAMES_SHORT; i++)
			if (walk_short_step(i, &w))
				break;
	return H2_WALKED(&w);
}

__noinline int h2_walk_long(const struct h2_long *p, struct tap_walk *d,
			    __u32 len, __u32 requests)
{
	struct h2_walking w = {};
	__u32 i;

	if (!p || !d)
		return 0;
	w.data = p->at;
	h2_walk_begin(&w.piece, d, len, requests);
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_loop))
		bpf_loop(H2_FRAMES_MAX, walk_long_step, &w, 0);
	else
		for (i = 0; i < H2_FRAMES_SHORT; i++)
			if (walk_long_step(i, &w))
				break;
	return H2_WALKED(&w);
}

/* --- pieces --- */

static __always_inline void fill_h2(struct tap_rec_h2 *r,
				    const struct h2_call *c,
				    const struct tap_conn *conn,
				    const struct tap_walk *d)
{
	fill_record(&r->rec, c->sk, conn, TAP_DATA);
	r->rec.dir = c->dir;
	r->rec.flags = c->flags;
	r->first_ns = c->first_ns;
	r->last_ns = c->last_ns;
	r->pos = d->next;
	r->call_len = c->left;
	r->len = 0;
	r->place = d->have ? (__u32)d->have << 24 : d->left;
}

static __always_inline void advance_call(struct h2_call *c, struct tap_walk *d,
					 __u32 n)
{
	c->from += n;
	c->seg_left -= n;
	c->left -= n;
	d->next += n;
}

/* The next frame, whose piece found no room, in the program's memory. */
static long lost_step(__u32 i, struct h2_calling *k)
{
	struct h2_call *c = &k->call;
	struct tap_walk *d = walk_of(k->conn, c->dir);
	__u8 head[16] = {};
	struct h2_walk_piece w;
	__u32 n = c->seg_left;

	if (!n)
		return 1;
	if (d->left && !d->have) {
		if (n > d->left)
			n = d->left;
		h2_walk_pass(d, n);
		advance_call(c, d, n);
		return 0;
	}
	if (n > H2_WALK_HEAD)
		n = H2_WALK_HEAD;
	if (bpf_probe_read_user(head, n & 15, c->from)) {
		c->done = 1;
		return 1;
	}
	h2_walk_begin(&w, d, n, brings_requests(k->conn, c->dir));
	h2_walk_step(&w, head, 15);
	advance_call(c, d, w.at);
	if (w.heads)
		tap_count(TAP_C_LOST_REQUESTS);
	return 0;
}

/*
 * A piece found no room: walks the rest of the buffer without the ring, and
 * counts the requests that begin in it. Global: see copy_small().
 */
__noinline int h2_lost(struct h2_call *call, struct tap_conn *conn)
{
	struct h2_calling k = {};
	__u32 i;

	if (!call || !conn)
		return 0;
	k.conn = conn;
	k.call = *call;
	tap_count(TAP_C_LOST_RECORDS);
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_loop))
		bpf_loop(H2_STEPS_MAX, lost_step, &k, 0);
	else
		for (i = 0; i < H2_STEPS_SHORT; i++)
			if (lost_step(i, &k))
				break;
	h2_walk_lost(walk_of(conn, call->dir));
	*call = k.call;
	return 0;
}

/*
 * The server's SETTINGS are expected to be followed by the client's preface;
 * until then a piece says nothing, unless it has what only comes later.
 */
static __always_inline bool is_early(struct tap_conn *conn,
				     const struct tap_walk *d)
{
	if (!(conn->h2 & H2_EXPECTED))
		return false;
	if (d->have || !(d->mark & H2_WALK_NEEDED))
		return true;
	conn->h2 = H2_SHAPED;
	conn->role = 0;
	return false;
}

/*
 * Copies and walks at most n <= cap bytes. Returns 1 if there is no room for
 * them.
 */
static __always_inline int walk_piece(struct h2_call *c, struct tap_conn *conn,
				      __u32 n, const __u32 cap)
{
	struct tap_walk *d = walk_of(conn, c->dir);
	struct tap_rec_h2 *r;
	__u32 walked;

	if (c->shut || h2_walk_is_broken(d))
		return 1;
	r = bpf_ringbuf_reserve(&tap_ring, sizeof(*r) + cap + H2_PIECE_PAD, 0);
	if (!r)
		return 1;
	n = at_most(n, cap);
	if (bpf_probe_read_user(r->data, n, c->from)) {
		bpf_ringbuf_discard(r, BPF_RB_NO_WAKEUP);
		c->unread = c->early;
		if (!c->early)
			tap_count(TAP_C_READ_FAULTS);
		c->done = 1;
		return 0;
	}
	fill_h2(r, c, conn, d);
	if (cap == H2_PIECE_SHORT)
		walked = h2_walk_short((void *)r->data, d, n,
				       brings_requests(conn, c->dir));
	else
		walked = h2_walk_long((void *)r->data, d, n,
				      brings_requests(conn, c->dir));
	n = H2_WALKED_BYTES(walked);
	if (n > c->seg_left)
		n = c->seg_left;
	r->len = n;
	advance_call(c, d, n);
	if (!H2_WALKED_NEEDED(walked) || is_early(conn, d)) {
		bpf_ringbuf_discard(r, BPF_RB_NO_WAKEUP);
		return 0;
	}
	r->seq = ++d->seq;
	submit(r);
	return 0;
}

/* Global: see copy_small(). */
__noinline int h2_piece_short(struct h2_call *c, struct tap_conn *conn, __u32 n)
{
	return c && conn ? walk_piece(c, conn, n, H2_PIECE_SHORT) : 0;
}

__noinline int h2_piece_long(struct h2_call *c, struct tap_conn *conn, __u32 n)
{
	return c && conn ? walk_piece(c, conn, n, TAP_PIECE_MAX) : 0;
}

/*
 * A frame that began in an earlier call has ended, and ends a stream: its
 * record has no data, but the time. Global: see copy_small().
 */
__noinline int h2_tell(struct h2_call *c, struct tap_conn *conn)
{
	struct tap_rec_h2 *r;
	struct tap_walk *d;

	if (!c || !conn)
		return 0;
	d = walk_of(conn, c->dir);
	r = bpf_ringbuf_reserve(&tap_ring, sizeof(*r), 0);
	if (!r || c->shut) {
		if (r)
			bpf_ringbuf_discard(r, BPF_RB_NO_WAKEUP);
		tap_count(TAP_C_LOST_RECORDS);
		h2_walk_lost(d);
		return 0;
	}
	fill_h2(r, c, conn, d);
	r->seq = ++d->seq;
	submit(r);
	return 0;
}

/* n bytes of the open frame, that are of no use, have moved. */
static __always_inline void pass_bytes(struct h2_call *c, struct tap_conn *conn,
				       struct tap_walk *d, __u32 n)
{
	h2_walk_pass(d, n);
	d->next += n;
	if (!d->left &&
	    (d->mark & (H2_WALK_TELL | H2_WALK_BEGUN)) == H2_WALK_TELL)
		h2_tell(c, conn);
}

#endif /* BPF_H2_PIECE_BPF_H */
