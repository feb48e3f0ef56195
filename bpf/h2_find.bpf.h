/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef BPF_H2_FIND_BPF_H
#define BPF_H2_FIND_BPF_H

/*
 * Which connections speak HTTP/2. A connection does if
 *   - the client begins with the preface, or
 *   - the server begins with SETTINGS, and then the client with the preface, or
 *   - it was joined later, and a call consists of what could be frames.
 *
 * The last is only a guess, made at once because the first call may bring the
 * first request: each further call is checked until many frames have been seen,
 * and the agent asks for more proof than their shape.
 */

#include "bpf/h2.bpf.h"

/* Frames whose shape was right, until no more are checked. */
#define H2_ENOUGH 64
/* In conn->shaped: it had the shape, and was something else. */
#define H2_NEVER 255

#define WORD(s)                                                                \
	((__u64)(s)[0] | (__u64)(s)[1] << 8 | (__u64)(s)[2] << 16 |            \
	 (__u64)(s)[3] << 24 | (__u64)(s)[4] << 32 | (__u64)(s)[5] << 40 |     \
	 (__u64)(s)[6] << 48 | (__u64)(s)[7] << 56)

/* Do the lowest n <= 8 bytes of a and b differ? */
static __always_inline bool differ(__u64 a, __u64 b, __u32 n)
{
	if (n >= 8)
		return a != b;
	return (a ^ b) & ((1ull << 8 * n) - 1);
}

/* Are the n bytes at b, n <= TAP_PEEK, the first of the client's preface? */
static __always_inline bool is_preface(const struct classify_beginning *b,
				       __u32 n)
{
	__u64 lo = *(const __u64 *)b->at, hi = *(const __u64 *)(b->at + 8);

	if (differ(lo, WORD("PRI * HT"), n))
		return false;
	return n <= 8 || !differ(hi, WORD("TP/2.0\r\n"), n - 8);
}

/* The same for the head of the server's SETTINGS. */
static __always_inline bool is_settings(const struct classify_beginning *b,
					__u32 n)
{
	const __u8 *p = b->at;
	__u64 lo = *(const __u64 *)p;

	if (n >= H2_WALK_HEAD)
		return p[3] == 4 && !p[4] && is_frame(p);
	/* Its length, and zeros; behind n are zeros, too. */
	return !p[0] && p[1] <= H2_USUAL_MAX >> 8 && (n < 4 || p[3] == 4) &&
	       !(lo >> 32);
}

/* The connection is HTTP/2 from here on. */
static __always_inline void begin_h2(struct tap_conn *conn, __u8 h2)
{
	conn->verdict = VERDICT_H2;
	conn->h2 = h2;
	conn->recheck = 0;
	__builtin_memset(conn->walk, 0, sizeof(conn->walk));
}

/* The client's preface is next at pos in direction dir, but for k bytes. */
static __always_inline void begin_requests(struct tap_conn *conn, __u32 dir,
					   __u32 pos, __u32 k)
{
	struct tap_walk *d = walk_of(conn, dir);

	conn->role = dir + 1;
	conn->h2 = H2_OPENED;
	d->next = pos;
	d->left = H2_WALK_PREFACE - k;
	d->type = H2_WALK_OPENING;
	d->mark = H2_WALK_NEEDED;
}

static __always_inline void begin_at_preface(struct tap_conn *conn, __u32 dir,
					     __u32 pos, __u32 k)
{
	struct tap_walk *other = walk_of(conn, dir ^ 1);

	begin_h2(conn, 0);
	begin_requests(conn, dir, pos, k);
	other->next = dir == TAP_RX ? conn->done.tx_seq : conn->done.rx_seq;
	/* The server has sent what was not recognised. */
	if (conn->last_dir == (dir ^ 1) + 1)
		other->mark = H2_WALK_LOST;
}

/*
 * A call begins with these n bytes, the connection's first in direction dir: is
 * it HTTP/2?
 */
static __always_inline bool h2_opens(struct tap_conn *conn,
				     const struct classify_beginning *b,
				     __u32 n, __u32 dir, __u32 pos)
{
	if (conn->verdict != VERDICT_NEW || n < 4 || !is_preface(b, n))
		return false;
	begin_at_preface(conn, dir, pos, 0);
	return true;
}

/*
 * A head has begun with fewer than 4 bytes: with this call, is it the client's
 * preface?
 */
static __noinline int h2_goes_on(struct tap_call *call, struct tap_conn *conn,
				 __u32 dir, __u32 pos)
{
	struct classify_beginning b = {};
	__u32 k, known;
	__u64 word;
	int n;

	dir &= 1;
	k = conn->head_bytes[dir] & 3;
	if (!k)
		return false;
	known = conn->tail[dir] >> (32 - 8 * k);
	if (differ(known, WORD("PRI * HT"), k))
		return false;
	n = peek(call, &b);
	if (n < 0)
		return false;
	word = *(const __u64 *)b.at << 8 * k | known;
	n += k;
	if (n < 4 || differ(word, WORD("PRI * HT"), n < 8 ? n : 8))
		return false;
	begin_at_preface(conn, dir, pos, k);
	return true;
}

/*
 * A call begins no message of HTTP/1. Is it HTTP/2, by its first bytes? Returns
 * 1 if it is, 2 if h2_frames() must tell, 0 if not.
 */
static __noinline int h2_resembles(struct tap_call *call, struct tap_conn *conn,
				   __u32 dir, __u32 pos)
{
	bool first = conn->verdict == VERDICT_NEW && !conn->last_dir;
	struct classify_beginning b = {};
	int n;

	if (conn->shaped == H2_NEVER)
		return 0;
	n = peek(call, &b);
	if (first && n > 0 && is_settings(&b, n)) {
		begin_h2(conn, H2_EXPECTED);
		conn->role = (dir ^ 1) + 1;
		walk_of(conn, dir)->next = pos;
		return 1;
	}
	return n >= H2_WALK_HEAD && is_frame(b.at) ? 2 : 0;
}

/* The same, decided. Inlined, so that either call finds enough stack. */
static __always_inline bool
h2_joins(struct tap_call *call, struct tap_conn *conn, __u32 dir, __u32 pos)
{
	int joins = h2_resembles(call, conn, dir, pos);

	if (joins != 2)
		return joins;
	if (h2_frames(call, 0) <= 0)
		return false;
	begin_h2(conn, H2_SHAPED);
	conn->role = 0;
	walk_of(conn, dir)->next = pos;
	walk_of(conn, dir ^ 1)->mark = H2_WALK_LOST;
	return true;
}

/*
 * A call on a connection that may be HTTP/2. Returns as judge(); it is not
 * HTTP/2 if its verdict then says so.
 */
static __noinline int h2_still(struct tap_call *call, struct tap_conn *conn,
			       __u32 dir, __u32 pos)
{
	struct classify_beginning b = {};
	struct tap_walk *d = walk_of(conn, dir);
	int n;

	if (conn->h2 & H2_EXPECTED) {
		if (!brings_requests(conn, dir))
			return CALL_COPY;
		n = peek(call, &b);
		if (n < 0)
			return CALL_UNKNOWN;
		if (is_preface(&b, n)) {
			begin_requests(conn, dir, pos, 0);
			return CALL_COPY;
		}
		conn->h2 = H2_SHAPED;
		conn->role = 0;
		d->mark = H2_WALK_LOST;
		return CALL_COPY;
	}
	if (d->mark & H2_WALK_LOST || d->have || pos != d->next)
		return CALL_COPY;
	n = h2_frames(call, d->left);
	if (n < 0) {
		conn->verdict = VERDICT_NEW;
		conn->shaped = H2_NEVER;
		return CALL_BODY;
	}
	conn->shaped += n;
	if (conn->shaped >= H2_ENOUGH)
		conn->h2 &= ~H2_SHAPED;
	return CALL_COPY;
}

/* --- the upgrade to h2c --- */

/*
 * An answer 101 has ended: frames may come in direction dir. Whatever else
 * comes, the connection has become a tunnel.
 */
static __always_inline bool h2_may_switch(const struct tap_conn *conn,
					  __u32 dir)
{
	return conn->h2 & H2_SWITCHES && conn->verdict == VERDICT_HTTP &&
	       !place_is_head(conn->place[TAP_RX]) &&
	       !place_is_head(conn->place[TAP_TX]);
}

/*
 * A call behind such an answer begins at pos: is it the server's SETTINGS, or
 * the client's preface?
 */
static __noinline int h2_switches(struct tap_call *call, struct tap_conn *conn,
				  __u32 dir, __u32 pos)
{
	struct classify_beginning b = {};
	__u32 asks = conn->role - 1, answers = asks ^ 1;
	__u32 next = walk_of(conn, answers)->next;
	bool found;
	int n;

	if (conn->role != TAP_RX + 1 && conn->role != TAP_TX + 1)
		return false;
	n = peek(call, &b);
	if (dir == answers)
		found = pos == next && n >= H2_WALK_HEAD && is_settings(&b, n);
	else
		found = n >= 4 && is_preface(&b, n);
	conn->h2 &= ~H2_SWITCHES;
	if (!found)
		return false;
	if (dir == answers)
		pos = asks == TAP_RX ? conn->done.rx_seq : conn->done.tx_seq;
	begin_h2(conn, 0);
	begin_requests(conn, asks & 1, pos, 0);
	walk_of(conn, answers)->next = next;
	return true;
}

/* Skips the call's first n bytes. False: that is not in its first buffer. */
static __always_inline bool skip_in_call(struct tap_call *call, __u32 n)
{
	struct iovec v;

	call->len -= n;
	if (!call->iov || FIRST(call) > n) {
		call->buf += n;
		call->first -= call->iov ? n : 0;
		return true;
	}
	if (FIRST(call) || READ_IOVEC(&v, sizeof(v), call->iov))
		return false;
	if (v.iov_len == n) {
		call->iov++;
		call->iovs--;
		return true;
	}
	call->buf = (const char *)v.iov_base + n;
	call->iov = NULL;
	return v.iov_len >= n + call->len;
}

/*
 * The same for what follows the head in the call that had it. If that is HTTP/2
 * the call and cut then begin there, for h2_take(): called from here it would
 * find too little stack.
 */
static __noinline int h2_behind_head(struct tap_call *call,
				     struct tap_conn *conn,
				     struct copy_cut *cut)
{
	__u32 head = walk_of(conn, cut->dir)->next - cut->pos;
	const struct iovec *iov = call->iov;
	const char *buf = call->buf;
	__u64 iovs = call->iovs;
	__u32 len = call->len, first = call->first;

	if (!brings_answers(conn, cut->dir) || head >= len)
		return 0;
	cut->pos += head;
	if (skip_in_call(call, head) &&
	    h2_switches(call, conn, cut->dir, cut->pos))
		return 1;
	cut->pos -= head;
	call->iov = iov;
	call->buf = buf;
	call->iovs = iovs;
	call->len = len;
	call->first = first;
	return 0;
}

#endif /* BPF_H2_FIND_BPF_H */
