/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef BPF_COPY_SETTLE_BPF_H
#define BPF_COPY_SETTLE_BPF_H

/*
 * What a call begins where a message was due: classified in its copied bytes,
 * or in the program's memory if they found no room in the ring.
 */

#include "bpf/copy_head.bpf.h"

/* Do line ends stand before a message, in the n first bytes of a call? */
static __always_inline bool is_blank_start(const struct tap_conn *conn,
					   const __u8 *data, __u32 n)
{
	const __u64 *v = (const void *)data;
	__u64 other = HIGHS & ~(zero_bytes(*v ^ ONES * '\r') |
				zero_bytes(*v ^ ONES * '\n'));
	__u32 k = other ? first_byte(other) : 8;
	__u64 behind[2]; /* what follows the line ends */
	int look;

	if (!k || conn->flags & CONN_STRAY)
		return false;
	if (k >= n || k == 8)
		return true;
	n -= k;
	k = (k & 7) * 8;
	/* A call takes no pointer into the stack that varies (6.1). */
	behind[0] = v[0] >> k | v[1] << (64 - k);
	behind[1] = v[1] >> k | v[2] << (64 - k);
	look = look_at((const void *)behind, n < TAP_PEEK ? n : TAP_PEEK);
	return is_message(look) || look == LOOK_WEAK;
}

/* A call in the direction of requests, where one is due, began none. */
static __always_inline int settle_stray(struct copy *c, struct tap_conn *conn,
					const __u8 *data, __u32 n)
{
	__u32 dir = c->dir & 1, room = TAP_HEAD_MAX - conn->head_bytes[dir];

	if (is_blank_start(conn, data, n)) {
		if (!(c->flags & TAP_F_FRAMED))
			conn->flags |= CONN_UNSURE;
		go_walk(c, conn, PLACE_BLANK, c->pos);
		return 0;
	}
	/* What else can be there where a message begins, servers answer. */
	if (c->flags & TAP_F_FRAMED) {
		c->look = LOOK_REQUEST_BODY;
		message_begins(conn, dir, c->look, c->pos);
		head_begins(c, conn);
		return 1;
	}
	/*
	 * The rest of a body, perhaps, and the next request behind it: only the
	 * agent knows. From here on it gets all, up to a limit.
	 */
	if (conn->head_bytes[dir] >= TAP_HEAD_MAX)
		return c->whole;
	conn->flags |= CONN_STRAY | CONN_WHOLE_ONCE;
	c->whole = 1;
	if (c->budget > room)
		c->budget = room;
	return 1;
}

/*
 * What the first line of data says of a call that is weakly a request: 1 it is
 * one, 0 it is none, 2 it may be one. A line that does not end in these n bytes
 * may be, if it has no more than its method, or something like a target behind
 * it.
 */
static __always_inline int weak_line(const __u8 *data, __u32 n, const __u32 cap)
{
	__u64 v, lf, graph;
	__u32 at, end;

	for (at = 0; at < cap; at += 8) {
		if (at >= n)
			break;
		lf = zero_bytes(*(const __u64 *)(data + at) ^ ONES * '\n');
		if (!lf)
			continue;
		end = at + (first_byte(lf) & 7);
		if (end < 12)
			return 0;
		end -= data[end - 1] == '\r' ? 9 : 8;
		v = *(const __u64 *)(data + end);
		return (v & ~0ull >> 8) == (EIGHT("HTTP/1. ") & ~0ull >> 8);
	}
	at = 0;
	v = *(const __u64 *)data;
	if (!zero_bytes(v ^ ONES * ' ')) {
		at = 8;
		v = *(const __u64 *)(data + 8);
	}
	graph = zero_bytes(v ^ ONES * ' ');
	if (!graph)
		return n < TAP_PEEK ? 2 : 0;
	/* The first byte behind the blanks. */
	graph = HIGHS & ~graph & ~((graph & -graph) - 1);
	at += graph ? first_byte(graph) : 8;
	return at >= n || data[at & 15] - 0x21u < 0x5e ? 2 : 0;
}

/* Global, so that the verifier checks each once: see copy_call(). */
__noinline int weak_small(const struct head_end_small *p, __u32 n)
{
	return p ? weak_line(p->at, n, TAP_PIECE_SMALL) : 0;
}

__noinline int weak_large(const struct head_end_large *p, __u32 n)
{
	return p ? weak_line(p->at, n, TAP_PIECE_MAX) : 0;
}

static __always_inline void settle_weak(struct copy *c, struct tap_conn *conn,
					const __u8 *data, __u32 n, __u32 cap)
{
	int is = cap == TAP_PIECE_SMALL ? weak_small((const void *)data, n)
					: weak_large((const void *)data, n);

	bool by_turn =
		conn->verdict == VERDICT_HTTP && !(c->flags & TAP_F_FRAMED);

	c->look = is ? LOOK_REQUEST_BODY : LOOK_NONE;
	if (!is)
		return;
	message_begins(conn, c->dir, c->look, c->pos);
	if (is == 2 && by_turn)
		conn->flags |= CONN_UNSURE;
}

/*
 * Classifies what was due to begin a message, by its first n bytes. Returns 0
 * if this piece must not be sent. An answer to a request is reported whether it
 * is HTTP or not.
 */
static __always_inline int settle(struct copy *c, struct tap_conn *conn,
				  const __u8 *data, __u32 n, __u32 cap)
{
	__u32 dir = c->dir & 1;
	bool due = c->look == LOOK_LATER;

	if (due)
		c->look = begins(conn, (const void *)data,
				 n < TAP_PEEK ? n : TAP_PEEK, dir, c->pos);
	if (c->look == LOOK_WEAK && !brings_answers(conn, dir))
		settle_weak(c, conn, data, n, cap);
	if (is_message(c->look)) {
		head_begins(c, conn);
		return 1;
	}
	forget_place(conn, dir);
	if (c->look == LOOK_WEAK)
		c->look = LOOK_NONE;
	if (conn->verdict != VERDICT_HTTP || !due)
		return 0;
	if (!brings_answers(conn, dir))
		return settle_stray(c, conn, data, n);
	conn->flags |= CONN_ANSWERED;
	return 1;
}

/*
 * As weak_line(), in the program's memory at c->from, where at most
 * TAP_PIECE_MAX bytes are searched for the line's end. Global: see copy_call().
 */
__noinline int weak_lost(const struct copy *c)
{
	__u64 v = 0, lf;
	__u32 at, n;

	if (!c)
		return 0;
	n = c->seg_left;
	for (at = 0; at < TAP_PIECE_MAX; at += 8) {
		if (at + 8 > n || bpf_probe_read_user(&v, 8, c->from + at))
			return 0;
		lf = zero_bytes(v ^ ONES * '\n');
		if (lf)
			break;
	}
	if (at >= TAP_PIECE_MAX)
		return 0;
	at += first_byte(lf);
	if (at < 12 || bpf_probe_read_user(&v, 8, c->from + at - 9))
		return 0;
	/* Behind the version stand its last digit and a CR, or no CR. */
	return (v & ~0ull >> 8) == (EIGHT("HTTP/1. ") & ~0ull >> 8) ||
	       v >> 8 == (EIGHT("HTTP/1. ") & ~0ull >> 8);
}

/* No room in the ring for what is not classified yet: does so without a copy.
 */
static __always_inline void settle_lost(struct copy *c, struct tap_conn *conn)
{
	struct classify_beginning b[2] = {}; /* and room behind it */
	__u32 n = c->seg_left, dir = c->dir & 1;
	bool due = c->look == LOOK_LATER;

	if (n > TAP_PEEK)
		n = TAP_PEEK;
	if (n == TAP_PEEK
		    ? bpf_probe_read_user(b, TAP_PEEK, c->from)
		    : bpf_probe_read_user(b, n & (TAP_PEEK - 1), c->from)) {
		c->look = LOOK_NONE;
		return;
	}
	if (due)
		c->look = begins(conn, b, n, dir, c->pos);
	if (!brings_answers(conn, dir) &&
	    ((c->look == LOOK_WEAK && weak_lost(c)) ||
	     (c->flags & TAP_F_FRAMED && conn->verdict == VERDICT_HTTP &&
	      !is_message(c->look) && !is_blank_start(conn, b->at, n)))) {
		c->look = LOOK_REQUEST_BODY;
		message_begins(conn, dir, c->look, c->pos);
	}
	if (is_message(c->look)) {
		head_begins(c, conn);
		return;
	}
	c->look = LOOK_NONE;
	if (brings_answers(conn, dir)) {
		conn->flags |= CONN_ANSWERED;
	} else if (due && is_blank_start(conn, b->at, n)) {
		if (!(c->flags & TAP_F_FRAMED))
			conn->flags |= CONN_UNSURE;
		go_walk(c, conn, PLACE_BLANK, c->pos);
	}
}

#endif /* BPF_COPY_SETTLE_BPF_H */
