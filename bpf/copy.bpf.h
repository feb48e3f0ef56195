/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef BPF_COPY_BPF_H
#define BPF_COPY_BPF_H

/* Copies a call into records, piece by piece. */

#include "bpf/copy_settle.bpf.h"

/*
 * The ring has no room for a piece. If it is of a head, that is passed to its
 * end: no other part of it is sent, or lost once more.
 */
__noinline int piece_lost(struct copy *c, struct tap_conn *conn)
{
	if (!c || !conn)
		return 1;
	if (c->look == LOOK_LATER || c->look == LOOK_WEAK)
		settle_lost(c, conn);
	if (c->walk)
		return 0;
	if (c->begins && c->look != LOOK_RESPONSE)
		c->lost++;
	else
		tap_count(TAP_C_LOST_RECORDS);
	c->begins = 0;
	c->flags &= TAP_F_KEEP | CUT_EARLY;
	if (!c->scan) {
		forget_place(conn, c->dir);
		return 1;
	}
	c->scan = 0;
	c->walk = 1;
	conn->flags |= losing(c->dir);
	return 0;
}

static __always_inline void fill_data(struct tap_rec_data *d,
				      const struct copy *c,
				      const struct tap_conn *conn, __u32 n)
{
	fill_record(&d->rec, c->sk, conn, TAP_DATA);
	d->rec.dir = c->dir;
	d->rec.flags = c->flags;
	if (n >= c->budget && n < c->left && (c->scan || c->whole)) {
		d->rec.flags |= TAP_F_TRUNCATED;
		tap_count(TAP_C_TRUNCATED);
	}
	d->first_ns = c->first_ns;
	d->last_ns = c->last_ns;
	d->pos = c->pos;
	d->call_len = c->left;
	d->len = n;
	d->lost = conn->lost + conn->tx_lost + c->lost;
	d->turn = c->begins ? conn->turn : 0;
	d->pad = 0;
}

/*
 * The call has only begun, and no more than the start of a head was sent: the
 * rest can be copied when it returns.
 */
static __always_inline bool can_wait(const struct copy *c)
{
	return c->flags & CUT_EARLY &&
	       (c->flags & TAP_F_CALL_START || (c->scan && !c->whole));
}

/*
 * The smaller of n and cap, so that the verifier sees the limit. In assembly:
 * the compiler can't leave out the comparison for what it knows of n, nor use a
 * register other than the one compared.
 */
static __always_inline __u32 at_most(__u64 n, const __u32 cap)
{
#ifdef __BPF__
	asm volatile("if %0 <= %1 goto +1\n\t%0 = %1" : "+r"(n) : "i"(cap));
	return n;
#else
	return n <= cap ? n : cap; /* a unit test: tap_core.c */
#endif
}

/* The bytes at c->from can't be read. Returns 1. */
static __always_inline int unreadable(struct copy *c, struct tap_conn *conn)
{
	if (can_wait(c)) {
		c->flags |= CUT_UNREAD;
		return 1;
	}
	tap_count(TAP_C_READ_FAULTS);
	c->scan = c->whole = c->walk = 0;
	forget_place(conn, c->dir);
	return 1;
}

static __always_inline void advance(struct copy *c, __u32 n)
{
	c->from += n;
	c->pos += n;
	c->seg_left -= n;
	c->left -= n;
}

#define PIECE_LOST 2

/*
 * Copies n <= cap bytes into a record of their own. Returns 0 to go on with the
 * next step, 1 at the end; PIECE_LOST: no room.
 */
static __always_inline int copy_piece(struct copy *c, struct tap_conn *conn,
				      __u32 n, const __u32 cap)
{
	struct tap_rec_data *d = NULL;
	int send = 1;

	if (!c->shut)
		d = bpf_ringbuf_reserve(&tap_ring,
					sizeof(*d) + cap + TAP_PIECE_PAD, 0);
	if (!d)
		return PIECE_LOST;
	n = at_most(n, cap);
	if (bpf_probe_read_user(d->data, n, c->from)) {
		bpf_ringbuf_discard(d, BPF_RB_NO_WAKEUP);
		return unreadable(c, conn);
	}
	*(__u64 *)(d->data + n) = 0;
	if (c->look == LOOK_LATER || c->look == LOOK_WEAK)
		send = settle(c, conn, d->data, n, cap);
	if (!send) {
		bpf_ringbuf_discard(d, BPF_RB_NO_WAKEUP);
		return !c->walk;
	}
	if (c->scan && brings_answers(conn, c->dir))
		note_interim(c, conn, d->data, n, cap);
	if (c->scan)
		n = look_for_end(c, conn, d->data, n, cap);
	n = at_most(n, cap);
	fill_data(d, c, conn, n);
	submit(d);
	c->flags &= TAP_F_KEEP | CUT_EARLY;
	c->begins = 0;
	c->copied = 1;
	conn->head_bytes[c->dir & 1] += n;
	c->budget -= n;
	advance(c, n);
	return c->left == 0 || !(c->scan || c->whole || c->walk);
}

/*
 * Global functions, so that the verifier checks each once and forgets what it
 * knew of *c after a call. Else it would follow every path through one piece
 * into the next.
 */
__noinline int copy_small(struct copy *c, struct tap_conn *conn, __u32 n)
{
	return c && conn ? copy_piece(c, conn, n, TAP_PIECE_SMALL) : 1;
}

__noinline int copy_large(struct copy *c, struct tap_conn *conn, __u32 n)
{
	return c && conn ? copy_piece(c, conn, n, TAP_PIECE_MAX) : 1;
}

/* The place was lost: what the rest of the call holds is not known. */
static __always_inline int walk_failed(struct copy *c, struct tap_conn *conn)
{
	c->walk = 0;
	if (conn->verdict != VERDICT_HTTP || brings_answers(conn, c->dir))
		return !c->whole;
	go_whole(c, conn);
	return 0;
}

/* Follows what stands at conn->place by one step. Returns as copy_piece(). */
__noinline int copy_walk(struct copy *c, struct tap_conn *conn)
{
	__u32 dir, n, ahead;
	__u64 v = 0;
	__u8 place;

	if (!c || !conn)
		return 1;
	dir = c->dir & 1;
	n = c->seg_left;
	place = conn->place[dir];
	ahead = conn->due[dir] - c->pos;
	if (place_is_ahead(place) && ahead) {
		if (n > ahead)
			n = ahead;
	} else if (place == PLACE_MESSAGE) {
		c->walk = 0;
		c->look = LOOK_LATER;
		if (!(conn->flags & CONN_UNSURE))
			c->flags |= TAP_F_FRAMED;
		return 0;
	} else {
		if (n > 8)
			n = 8;
		if (n == 8 ? bpf_probe_read_user(&v, 8, c->from)
			   : bpf_probe_read_user(&v, n & 7, c->from))
			return unreadable(c, conn);
		n = place_is_head(place) ? lost_bytes(conn, v, n, dir, c->pos)
					 : frame_bytes(conn, v, n, dir, c->pos);
		if (conn->place[dir] == PLACE_UNKNOWN)
			return walk_failed(c, conn);
	}
	if (n)
		c->flags &= TAP_F_KEEP | CUT_EARLY;
	advance(c, n);
	return c->left == 0;
}

/* The next step. Returns 0 to go on, 1 at the end. */
static long copy_step(__u32 i, struct copying *k)
{
	struct copy *c = k->copy;
	__u32 n;
	int end;

	if (!c->seg_left) {
		struct iovec v;

		if (!c->iovs)
			return 1;
		if (READ_IOVEC(&v, sizeof(v), c->iov)) {
			tap_count(TAP_C_READ_FAULTS);
			return 1;
		}
		c->iov++;
		c->iovs--;
		c->from = v.iov_base;
		c->seg_left = v.iov_len < c->left ? v.iov_len : c->left;
		if (!c->seg_left)
			return 0;
	}
	n = c->seg_left;
	if (c->skip) {
		if (n > c->skip)
			n = c->skip;
		c->skip -= n;
		c->flags &= ~TAP_F_CALL_START;
		advance(c, n);
		return 0;
	}
	if (c->walk)
		return copy_walk(c, k->conn) != 0;
	if (n > c->budget)
		n = c->budget;
	if (n > TAP_PIECE_MAX)
		n = TAP_PIECE_MAX;
	if (n == 0)
		return 1; /* the budget is used up */
	end = n <= TAP_PIECE_SMALL ? copy_small(c, k->conn, n)
				   : copy_large(c, k->conn, n);
	/* Called from here, where it finds enough stack. */
	if (end == PIECE_LOST)
		end = piece_lost(c, k->conn);
	return end != 0;
}

/*
 * The call could not be followed to its end: an open head has no rest, and
 * where the next message begins is not known.
 */
__noinline int copy_cut_short(struct copy *c, struct tap_conn *conn)
{
	struct tap_rec_data *d;

	if (!c || !conn || !(c->scan || c->whole || c->walk))
		return 0;
	forget_place(conn, c->dir);
	/* The last piece has told, if it used up the budget. */
	if (c->shut || !c->scan || (!c->budget && c->copied))
		return 0;
	d = bpf_ringbuf_reserve(&tap_ring, sizeof(*d), 0);
	if (!d) {
		tap_count(TAP_C_LOST_RECORDS);
		return 0;
	}
	fill_data(d, c, conn, 0);
	d->rec.flags |= TAP_F_TRUNCATED;
	tap_count(TAP_C_TRUNCATED);
	submit(d);
	return 0;
}

/* Sets up a copy of the call. Global: see copy_call(). */
__noinline int copy_begin(struct copy *c, struct tap_call *call,
			  struct tap_conn *conn, const struct copy_cut *cut)
{
	__u32 dir;

	if (!c || !call || !conn || !cut)
		return 0;
	dir = cut->dir & 1;
	c->first_ns = cut->first_ns;
	c->last_ns = cut->last_ns;
	c->pos = cut->pos;
	c->dir = dir;
	c->flags = cut->flags | TAP_F_CALL_START;
	c->look = cut->look;
	c->sk = (__u64)call->sk + call->twin;
	c->from = call->buf;
	c->left = call->len;
	c->seg_left = call->iov ? FIRST(call) : call->len;
	c->iov = call->iov;
	c->iovs = call->iov ? call->iovs : 0;
	c->skip = call->skip;
	c->walk = place_is_known(conn->place[dir]);
	c->scan = place_is_head(conn->place[dir]);
	if (c->scan && conn->flags & losing(dir)) {
		c->scan = 0;
		c->walk = 1;
	}
	c->whole = (conn->flags & CONN_PIPELINED) ||
		   ((conn->flags & CONN_WHOLE_ONCE) && conn->role != dir + 1);
	c->budget = TAP_CALL_MAX;
	if (c->scan)
		c->budget = TAP_HEAD_MAX -
			    at_most(conn->head_bytes[dir], TAP_HEAD_MAX);
	c->scan_all = call->len < conn->single_len ||
		      call->len >= 2 * (__u32)conn->single_len;
	if (is_message(c->look) && c->look != LOOK_LATER)
		head_begins(c, conn);
	if (!(conn->flags & CONN_OPENED) || conn->tgid != call->tgid)
		c->shut = open_record(call->sk, call->twin, conn) != 0;
	return 0;
}

/* Global, so that the verifier checks it once, whoever calls it with what. */
__noinline int copy_call(struct tap_call *call, struct tap_conn *conn,
			 struct copy_cut *cut)
{
	__u32 dir, i, due, tail, scratch;
	struct copying k;
	struct copy *c;
	__u8 place;

	if (!call || !conn || !cut)
		return 0;
	scratch = call->scratch;
	c = bpf_map_lookup_elem(&tap_scratches, &scratch);
	if (!c) {
		tap_count(TAP_C_LOST_RECORDS);
		return 0;
	}
	__builtin_memset(c, 0, sizeof(*c));
	dir = cut->dir & 1;
	due = conn->due[dir];
	tail = conn->tail[dir];
	place = conn->place[dir];
	k.conn = conn;
	k.copy = c;
	copy_begin(c, call, conn, cut);
	/* Most calls are one piece. */
	if (copy_step(0, &k))
		;
	else if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_loop))
		bpf_loop(TAP_STEPS_MAX, copy_step, &k, 0);
	else
		for (i = 1; i < TAP_STEPS_SHORT; i++)
			if (copy_step(i, &k))
				break;
	if (c->flags & CUT_UNREAD) {
		conn->due[dir] = due;
		conn->tail[dir] = tail;
		conn->place[dir] = place;
		cut->flags |= CUT_UNREAD;
		return 0;
	}
	if (c->left)
		copy_cut_short(c, conn);
	cut->look = c->look;
	cut->copied = c->copied;
	cut->lost = c->lost;
	return 0;
}

#endif /* BPF_COPY_BPF_H */
