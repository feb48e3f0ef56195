/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef BPF_WRITE_BPF_H
#define BPF_WRITE_BPF_H

/*
 * Writes. Mostly the socket has room and takes all bytes at once: such a write
 * is inspected when it begins, as if it had returned. A write that has to wait
 * for room, or whose bytes can't be read before the kernel has read them, is
 * late: it is inspected when it returns, when it is known how many bytes it
 * moved. Its times are those of its begin and return.
 */

#include "bpf/tap.bpf.h"

/*
 * Number of late writes under way; while it is 0, returns are not inspected.
 * One more until the agent knows that it sees all writes begin.
 */
__u64 tap_late = 1;

/* The write under way was accepted, and with it what the ring had no room for.
 */
static __always_inline void accept_lost(struct tap_conn *conn)
{
	count_lost(conn, conn->tx_lost);
	conn->tx_lost = 0;
}

/*
 * Inspects a write of c->len > 0 bytes: one that returns, or one that begins
 * and will be taken at once (c->after == -c->len). Returns 1 if its bytes can't
 * be read yet.
 */
__noinline int tap_sent(struct tap_call *c, struct tap_conn *conn)
{
	struct copy_cut cut = { .dir = TAP_TX };
	__u8 kind = CALL_UNKNOWN, look;
	__u32 seq;

	if (!c || !conn || is_opaque(conn, c, 0))
		return 0;
	cut.first_ns = cut.last_ns = bpf_ktime_get_ns();
	if (conn->flags & CONN_COUNTED)
		return tap_counted(c, conn, TAP_TX,
				   conn->tx_entry_ns ?: cut.last_ns);
	seq = sock_tx_seq(c->sk) - c->after;
	cut.pos = seq - c->len;
	if (c->after == -c->len) {
		cut.flags = CUT_EARLY;
	} else {
		kind = conn->tx_kind;
		look = conn->tx_look;
		if (conn->tx_entry_ns)
			cut.first_ns = conn->tx_entry_ns;
	}
	if (kind == CALL_UNKNOWN)
		kind = judge(c, conn, TAP_TX, cut.pos, &look);
	if (kind == CALL_UNKNOWN && !cut.flags)
		tap_count(TAP_C_READ_FAULTS);
	if (kind == CALL_DUE) {
		kind = CALL_COPY;
		look = LOOK_LATER;
	}
	if (kind == CALL_COPY) {
		conn->done.tx_seq = cut.pos;
		conn->done.rx_seq = sock_rx_seq(c->sk);
		if (!cut.flags && conn->verdict != VERDICT_H2 &&
		    sock_is_opening(c->sk))
			cut.flags = TAP_F_SYN;
		cut.look = look;
		take(c, conn, &cut);
		conn->tx_look = cut.look;
	}
	if (cut.flags & CUT_UNREAD ||
	    (cut.flags & CUT_EARLY && kind == CALL_UNKNOWN)) {
		conn->tx_kind = kind;
		conn->tx_entry_ns = cut.last_ns;
		return 1;
	}
	if (conn->tx_lost)
		accept_lost(conn);
	conn->tx_kind = CALL_UNKNOWN;
	conn->tx_entry_ns = 0;
	conn->done.tx_seq = seq;
	conn->done.tx_ns = cut.last_ns;
	return 0;
}

/*
 * A late write begins: can it be left until it returns? Answers can; the time
 * when they began is noted now.
 */
static __always_inline bool tap_looks_later(struct tap_conn *conn)
{
	if (conn->verdict == VERDICT_TLS)
		return true;
	if (conn->verdict == VERDICT_H2) {
		/* Frames are walked once they have moved. */
		conn->tx_entry_ns = bpf_ktime_get_ns();
		conn->tx_kind = CALL_UNKNOWN;
		return true;
	}
	if (conn->verdict != VERDICT_HTTP || !brings_answers(conn, TAP_TX))
		return false;
	conn->tx_entry_ns = bpf_ktime_get_ns();
	conn->tx_kind = CALL_UNKNOWN;
	if (is_due(conn, TAP_TX)) {
		/* The next request may come before this call returns. */
		conn->tx_kind = CALL_DUE;
		conn->flags |= CONN_ANSWERED;
	}
	return true;
}

/*
 * A late write of c->len bytes begins. A request is sent now, so that its
 * record comes before that of its answer even if another thread reads the
 * answer first.
 */
__noinline int tap_sending(struct tap_call *c, struct tap_conn *conn)
{
	struct copy_cut cut = { .dir = TAP_TX,
				.flags = TAP_F_ENTRY | CUT_EARLY };
	__u8 look;

	if (!c || !conn || is_opaque(conn, c, 0))
		return 0;
	conn->tx_entry_ns = bpf_ktime_get_ns();
	cut.pos = sock_tx_seq(c->sk);
	conn->tx_kind = judge(c, conn, TAP_TX, cut.pos, &look);
	conn->tx_look = look;
	conn->tx_seen = cut.pos + c->len;
	if (conn->tx_kind == CALL_COPY && conn->role == TAP_TX + 1 &&
	    conn->verdict != VERDICT_H2) {
		conn->done.tx_seq = cut.pos;
		conn->done.rx_seq = sock_rx_seq(c->sk);
		cut.first_ns = conn->tx_entry_ns;
		cut.look = look;
		take(c, conn, &cut);
		conn->tx_look = cut.look;
		if (!(cut.flags & CUT_UNREAD))
			conn->tx_kind = cut.copied ? CALL_SENT : CALL_BODY;
	}
	return 0;
}

/*
 * A write to sk returns: was all that matters seen when it began? If not, call
 * tap_sent().
 */
static __always_inline bool tap_sent_seen(struct sock *sk,
					  struct tap_conn *conn)
{
	if (conn->verdict != VERDICT_HTTP || brings_answers(conn, TAP_TX) ||
	    (conn->tx_kind != CALL_SENT && conn->tx_kind != CALL_BODY))
		return false;
	if (conn->tx_lost)
		accept_lost(conn);
	conn->tx_kind = CALL_UNKNOWN;
	conn->done.tx_seq = sock_tx_seq(sk);
	if ((__s32)(conn->tx_seen - conn->done.tx_seq) > 0)
		conn->flags |= CONN_AGAIN;
	conn->done.tx_ns = conn->tx_entry_ns; /* near enough for a request */
	conn->tx_entry_ns = 0;
	return true;
}

/* The write that begins must be inspected when it returns. */
static __always_inline void be_late(struct tap_conn *conn)
{
	if (conn->flags & CONN_LATE)
		return;
	conn->flags |= CONN_LATE;
	__sync_fetch_and_add(&tap_late, 1);
}

static __always_inline void not_late(struct tap_conn *conn)
{
	if (!(conn->flags & CONN_LATE))
		return;
	conn->flags &= ~CONN_LATE;
	__sync_fetch_and_add(&tap_late, -1);
}

/* A call is about to write c->len bytes or more, which its return will show. */
static __always_inline void tap_writing_late(struct tap_call *c,
					     struct tap_conn *conn)
{
	/* Positions begin with the SYN, which may take the bytes along. */
	if (!sock_is_opening(c->sk) && !tap_looks_later(conn))
		tap_sending(c, conn);
	be_late(conn);
}

/* A call is about to write c->len bytes. */
static __always_inline void tap_writing(struct tap_call *c,
					struct tap_conn *conn)
{
	if (!sock_has_room(c->sk, c->len)) {
		tap_writing_late(c, conn);
		return;
	}
	c->after = -c->len;
	if (tap_sent(c, conn))
		be_late(conn);
}

/* A call is about to write len bytes that are not in the program's memory. */
static __always_inline void tap_passing(struct sock *sk, struct tap_conn *conn,
					__u32 len)
{
	if (sock_has_room(sk, len))
		tap_passed(sk, conn, TAP_TX, len, len);
	else if (conn->verdict == VERDICT_HTTP || conn->verdict == VERDICT_H2)
		be_late(conn);
}

/*
 * A write returns: its connection if it must be inspected now, NULL if all that
 * matters was seen when it began. Call it while tap_late is not 0.
 */
static __always_inline struct tap_conn *tap_returned(struct sock *sk,
						     __u32 tgid)
{
	struct tap_conn *conn = conn_of(sk, tgid);

	/* Its writes are not seen to begin, so that it is late for good. */
	if (conn && conn->flags & CONN_COUNTED)
		return is_backed_off(conn, TAP_TX) ? NULL : conn;
	if (!conn ||
	    (!(conn->flags & CONN_LATE) && saw_writes(conn, sock_tx_seq(sk))))
		return NULL;
	not_late(conn);
	return is_backed_off(conn, TAP_TX) ? NULL : conn;
}

/* A write returns without having written anything. */
static __noinline int tap_refused(struct sock *sk)
{
	__u64 key = (__u64)sk;
	struct tap_conn *conn = bpf_map_lookup_elem(&tap_conns, &key);

	if (!conn || conn->flags & CONN_COUNTED)
		return 0;
	not_late(conn);
	if (conn->tx_kind == CALL_SENT || conn->tx_kind == CALL_BODY)
		conn->flags |= CONN_AGAIN;
	conn->tx_kind = CALL_UNKNOWN;
	conn->tx_entry_ns = 0;
	conn->mmsg[TAP_TX] = 0;
	return 0;
}

#endif /* BPF_WRITE_BPF_H */
