/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef BPF_H2_BPF_H
#define BPF_H2_BPF_H

/*
 * Calls on a connection that speaks HTTP/2. Every frame of every call is
 * walked (h2_walk.bpf.h): what the agent needs is copied, and the walk takes
 * place in the record; the payload of DATA is stepped over in the program's
 * memory without a read. A call is walked once its bytes have moved, or will
 * certainly move: no frame may be walked twice.
 *
 * Where bytes move out of sight, the place is known only if they are DATA
 * (sendfile). Else, or if a call has more frames than can be walked, the place
 * is lost until a call begins with frames again.
 */

#include "bpf/h2_piece.bpf.h"

/* Goes to the call's next buffer. Returns 1 if there is none. */
static __always_inline int next_buffer(struct h2_call *c)
{
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
	return 0;
}

static long call_step(__u32 i, struct h2_calling *k)
{
	struct h2_call *c = &k->call;
	struct tap_walk *d = walk_of(k->conn, c->dir);
	__u32 n = c->seg_left;
	int lost;

	if (!c->left || c->done)
		return 1;
	if (!n)
		return next_buffer(c);
	if (c->skip || h2_walk_is_dull(d)) {
		if (n > (c->skip ?: d->left))
			n = c->skip ?: d->left;
		c->from += n;
		c->seg_left -= n;
		c->left -= n;
		if (c->skip)
			c->skip -= n;
		else
			pass_bytes(c, k->conn, d, n);
		return 0;
	}
	/* Behind DATA mostly comes DATA, and only its head is needed. */
	if (n <= H2_PIECE_SHORT ||
	    (d->left ? d->left <= H2_PIECE_SHORT : d->type == H2_WALK_DATA)) {
		if (n > H2_PIECE_SHORT)
			n = H2_PIECE_SHORT;
		lost = h2_piece_short(c, k->conn, n);
	} else {
		if (n > TAP_PIECE_MAX)
			n = TAP_PIECE_MAX;
		lost = h2_piece_long(c, k->conn, n);
	}
	if (lost)
		h2_lost(c, k->conn);
	return 0;
}

/*
 * Goes to pos, which other bytes than those of the call have reached. False:
 * the place is lost.
 */
static __always_inline bool go_to(struct h2_call *c, struct tap_conn *conn,
				  struct tap_walk *d, __u32 pos)
{
	__s32 gap = pos - d->next;

	if (gap <= 0) {
		c->skip = -gap;
		return true;
	}
	if (!h2_walk_may_skip(d) || gap > d->left) {
		lose_walk(d);
		return false;
	}
	pass_bytes(c, conn, d, gap);
	return true;
}

static __always_inline void begin_call(struct h2_call *c,
				       const struct tap_conn *conn, __u64 key,
				       __u32 dir, __u32 flags)
{
	c->sk = key;
	c->dir = dir;
	c->flags = TAP_F_H2 | (flags & TAP_F_TLS);
	if (brings_requests(conn, dir))
		c->flags |= TAP_F_H2_REQUESTS;
	if (conn->h2 & H2_OPENED)
		c->flags |= TAP_F_H2_OPENED;
}

/*
 * Finds the place of a call. Returns 1 if it cannot be walked. A function of
 * its own, so that its stack is free during the walk.
 */
static __noinline int h2_begin(struct h2_calling *k, struct tap_call *call,
			       struct tap_conn *conn, struct copy_cut *cut)
{
	struct h2_call *c = &k->call;
	struct tap_walk *d = walk_of(conn, cut->dir);

	begin_call(c, conn, (__u64)call->sk + call->twin, cut->dir & 1,
		   cut->flags);
	k->conn = conn;
	if (d->mark & H2_WALK_LOST) {
		if (h2_frames(call, 0) <= 0) {
			tap_count(TAP_C_H2_UNWALKED);
			return 1;
		}
		d->mark = 0;
		d->next = cut->pos;
	}
	c->first_ns = cut->first_ns;
	c->last_ns = cut->last_ns;
	c->early = !!(cut->flags & CUT_EARLY);
	d->mark &= ~H2_WALK_BEGUN;
	if (!(conn->h2 & H2_EXPECTED) &&
	    (!(conn->flags & CONN_OPENED) || conn->tgid != call->tgid))
		c->shut = !!open_record(call->sk, call->twin, conn);
	if (!go_to(c, conn, d, cut->pos))
		return 1;
	c->from = call->buf;
	c->left = call->len;
	c->seg_left = call->iov ? FIRST(call) : call->len;
	c->iov = call->iov;
	c->iovs = call->iov ? call->iovs : 0;
	return 0;
}

/* Walks a call. Global: see copy_call(). */
__noinline int h2_take(struct tap_call *call, struct tap_conn *conn,
		       struct copy_cut *cut)
{
	struct h2_calling k = {};
	__u32 i;

	if (!call || !conn || !cut || h2_begin(&k, call, conn, cut))
		return 0;
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_loop))
		bpf_loop(H2_STEPS_MAX, call_step, &k, 0);
	else
		for (i = 0; i < H2_STEPS_SHORT; i++)
			if (call_step(i, &k))
				break;
	if (k.call.unread)
		cut->flags |= CUT_UNREAD;
	return 0;
}

/* Bytes up to pos have moved that cannot be read. */
static __noinline int h2_passed(struct tap_conn *conn, __u64 key, __u32 dir,
				__u32 pos, __u32 flags)
{
	struct h2_call c = {};
	struct tap_walk *d;

	d = walk_of(conn, dir);
	if (d->mark & H2_WALK_LOST || (__s32)(pos - d->next) <= 0)
		return 0;
	begin_call(&c, conn, key, dir & 1, flags);
	c.first_ns = c.last_ns = bpf_ktime_get_ns();
	d->mark &= ~H2_WALK_BEGUN;
	go_to(&c, conn, d, pos);
	return 0;
}

#endif /* BPF_H2_BPF_H */
