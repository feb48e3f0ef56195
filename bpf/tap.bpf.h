/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef BPF_TAP_BPF_H
#define BPF_TAP_BPF_H

/*
 * The core that every front-end calls: does this call begin an HTTP message?
 * Then copy it, up to the end of its head, and stamp it. It keeps no protocol
 * state beyond that; pairing and framing are the agent's.
 *
 * What is copied
 *   - a call that begins a message: up to the end of its head
 *   - the following calls in that direction, while the head has not ended
 *   - whole calls, on a connection that pipelines: there, a message can begin
 *     anywhere. A connection is known to pipeline when a request comes before
 *     the answer to the one before, or one call holds more than one request.
 *     Finding that takes a scan, so it is made only where it can be true: a
 *     call as long as two of the shortest single requests seen, or shorter
 *     than all of them.
 */

#include "bpf/copy.bpf.h"

/* The agent itself: never followed. */
const volatile __u32 tap_self_tgid = 0;
/* The plain text of TLS is captured too, by tls.bpf.c. */
const volatile bool tap_tls = false;

/* Turns of the conversation without HTTP, until the verdict. */
#define TAP_STRIKES 8
/* Calls between two looks at a connection with the verdict OTHER. */
#define TAP_RECHECK 64

/* --- the life of a connection --- */

/* A function of its own: its stack is not there while a call is copied. */
static __noinline int make_conn(struct sock *sk, __u32 tgid)
{
	__u64 key = (__u64)sk;
	struct tap_conn new = {};

	if (!sock_is_tcp(sk))
		return -1;
	new.born_ns = bpf_ktime_get_ns();
	new.done.rx_seq = sock_rx_seq(sk);
	new.done.tx_seq = sock_tx_seq(sk);
	if (tgid == tap_self_tgid)
		new.verdict = VERDICT_IGNORED;
	bpf_map_update_elem(&tap_conns, &key, &new, BPF_NOEXIST);
	return 0;
}

/* The connection of a socket, made if need be. NULL: none, or table full. */
static __always_inline struct tap_conn *conn_of(struct sock *sk, __u32 tgid)
{
	__u64 key = (__u64)sk;
	struct tap_conn *conn = bpf_map_lookup_elem(&tap_conns, &key);

	if (conn || make_conn(sk, tgid))
		return conn;
	conn = bpf_map_lookup_elem(&tap_conns, &key);
	if (!conn)
		tap_count(TAP_C_CONN_FULL);
	return conn;
}

static __always_inline void not_http(struct tap_conn *conn)
{
	conn->verdict = VERDICT_OTHER;
	conn->recheck = TAP_RECHECK;
	tap_count(TAP_C_NOT_HTTP);
}

/*
 * A call moves bytes of a socket that has to do with TLS, or may have. Inside a
 * TLS call it tells whose socket that is; outside, a read is remembered for
 * sessions that are fed from memory. True: it was inside.
 */
static __noinline int tls_touched(__u64 sock, struct tap_conn *conn,
				  __u32 read_len)
{
	__u64 id = bpf_get_current_pid_tgid();
	struct tls_thread *t = bpf_map_lookup_elem(&tls_threads, &id);
	struct tls_thread none = {};

	if (!conn)
		return false;
	if (t && t->session) {
		if (t->sock && t->sock != sock)
			t->flags |= TLS_F_MANY;
		t->sock = sock;
		t->born_ns = conn->born_ns;
		return true;
	}
	if (!read_len || conn->verdict == VERDICT_NEW)
		return false;
	if (!t) {
		bpf_map_update_elem(&tls_threads, &id, &none, BPF_NOEXIST);
		t = bpf_map_lookup_elem(&tls_threads, &id);
		if (!t)
			return false;
	}
	t->read_sock = sock;
	t->read_born_ns = conn->born_ns;
	t->read_session = 0;
	t->read_len = read_len;
	return false;
}

/* The connection is encrypted: for good, HTTP can't be seen on it. */
static __always_inline void is_tls(struct tap_conn *conn)
{
	if (conn->verdict != VERDICT_OTHER)
		tap_count(TAP_C_NOT_HTTP);
	conn->verdict = VERDICT_TLS;
	conn->session = 0;
}

/*
 * Nothing to be looked at: encrypted, or the agent said so. What is new, and
 * used by a TLS call, is encrypted.
 */
static __always_inline bool
is_opaque(struct tap_conn *conn, const struct tap_call *call, __u32 read_len)
{
	if (conn->verdict == VERDICT_HTTP || conn->verdict == VERDICT_OTHER)
		return false;
	if (tap_tls && tls_touched((__u64)call->sk, conn, read_len) &&
	    conn->verdict == VERDICT_NEW)
		is_tls(conn);
	return conn->verdict != VERDICT_NEW;
}

/* It looks like TLS. After CONNECT that is so if a TLS call makes it. */
static __always_inline void looks_encrypted(const struct tap_call *call,
					    struct tap_conn *conn, __u8 dir)
{
	__u32 read_len = dir == TAP_RX ? call->len : 0;

	if (conn->verdict == VERDICT_HTTP) {
		if (tap_tls && tls_touched((__u64)call->sk, conn, 0))
			is_tls(conn);
		return;
	}
	is_tls(conn);
	if (tap_tls && !call->twin)
		tls_touched((__u64)call->sk, conn, read_len);
}

/* A call that began no message. A body in many calls counts once. */
static __always_inline void strike(const struct tap_call *call,
				   struct tap_conn *conn, __u8 dir, int look)
{
	if (look == LOOK_TLS)
		looks_encrypted(call, conn, dir);
	if (conn->verdict != VERDICT_NEW)
		return;
	if (conn->last_dir != dir + 1 && ++conn->strikes >= TAP_STRIKES)
		not_http(conn);
	conn->last_dir = dir + 1;
}

static __always_inline void message_begins(struct tap_conn *conn, __u8 dir,
					   int look, __u32 pos)
{
	conn->verdict = VERDICT_HTTP;
	if (look == LOOK_RESPONSE) {
		conn->role = (dir ^ 1) + 1;
		conn->flags |= CONN_ANSWERED;
		return;
	}
	/* A request before the last was answered; but not a write tried
	 * again because the kernel had no room for it. */
	if (conn->role && !(conn->flags & CONN_ANSWERED) &&
	    conn->request_pos != pos)
		conn->flags |= CONN_PIPELINED;
	conn->role = dir + 1;
	conn->flags &= ~(CONN_ANSWERED | CONN_WHOLE_ONCE);
	conn->request_pos = pos;
}

/*
 * Does the call hold bytes to copy? CALL_COPY, with what it begins in *look
 * (LOOK_NONE: it goes on), CALL_BODY, or CALL_UNKNOWN if it can't be read.
 */
static __always_inline int judge(struct tap_call *call, struct tap_conn *conn,
				 __u8 dir, __u32 pos, __u8 *look)
{
	__u8 first[TAP_PEEK] = {};
	int n, l;

	*look = LOOK_NONE;
	if (conn->verdict == VERDICT_OTHER) {
		if (--conn->recheck)
			return CALL_BODY;
		conn->recheck = TAP_RECHECK;
	}
	if (conn->head_open[dir])
		return CALL_COPY;
	n = peek(call, first);
	if (n < 0) {
		tap_count(TAP_C_READ_FAULTS);
		return CALL_UNKNOWN;
	}
	l = forget(conn, dir, look_at(first, n));
	if (l == LOOK_EITHER)
		l = conn->role == (dir ^ 1) + 1 ? LOOK_RESPONSE : LOOK_REQUEST;
	if (l == LOOK_RESPONSE		      ? conn->role != dir + 1
	    : l != LOOK_NONE && l != LOOK_TLS ? conn->role != (dir ^ 1) + 1
					      : 0) {
		*look = l;
		message_begins(conn, dir, l, pos);
		return CALL_COPY;
	}
	strike(call, conn, dir, l);
	/* Whatever answers a request is shown, HTTP or not. */
	if (conn->verdict == VERDICT_HTTP && conn->role == (dir ^ 1) + 1 &&
	    !(conn->flags & CONN_ANSWERED)) {
		conn->flags |= CONN_ANSWERED;
		return CALL_COPY;
	}
	if (conn->flags & CONN_PIPELINED ||
	    (conn->flags & CONN_WHOLE_ONCE && conn->role != dir + 1))
		return CALL_COPY;
	return CALL_BODY;
}

/*
 * Where a chunked response ends is in bytes that are not copied. If nothing, or
 * an end, follows, what its last bytes look like tells whether it is complete.
 */
static __always_inline void note_tail(const struct tap_call *c,
				      struct tap_conn *conn, __u8 dir)
{
	if (conn->verdict == VERDICT_HTTP && conn->role == (dir ^ 1) + 1)
		conn->last_bytes = last_bytes(c, conn->last_bytes);
}

/* --- what front-ends call --- */

/* A call has read c->len > 0 bytes. */
__noinline int tap_received(struct tap_call *c)
{
	struct tap_conn *conn;
	struct cut cut = {};
	__u64 now;
	__u32 seq;
	__u8 look;

	if (!c)
		return 0;
	conn = conn_of(c->sk, c->tgid);
	if (!conn || is_opaque(conn, c, c->len))
		return 0;
	if (conn->verdict == VERDICT_OTHER && conn->recheck > 1) {
		conn->recheck--;
		return 0;
	}
	now = bpf_ktime_get_ns();
	seq = sock_rx_seq(c->sk) - c->after;
	conn->done.rx_seq = seq - c->len;
	if (judge(c, conn, TAP_RX, seq - c->len, &look) == CALL_COPY) {
		conn->done.tx_seq = sock_tx_seq(c->sk);
		cut.dir = TAP_RX;
		cut.pos = seq - c->len;
		cut.first_ns = cut.last_ns = now;
		cut.look = look;
		if (look)
			cut.flags = TAP_F_MESSAGE_START;
		copy_call(c, conn, &cut);
	}
	note_tail(c, conn, TAP_RX);
	conn->done.rx_seq = seq;
	conn->done.rx_ns = now;
	return 0;
}

/*
 * A call is about to write c->len bytes. A request goes out at once, so that
 * it comes before its answer even if another thread reads that first.
 */
__noinline int tap_sending(struct tap_call *c)
{
	struct tap_conn *conn;
	struct cut cut = {};
	__u8 look;

	if (!c)
		return 0;
	conn = conn_of(c->sk, c->tgid);
	if (!conn || conn->verdict == VERDICT_TLS || is_opaque(conn, c, 0))
		return 0;
	if (conn->verdict == VERDICT_OTHER && conn->recheck > 1)
		return 0;
	conn->tx_entry_ns = bpf_ktime_get_ns();
	cut.pos = sock_tx_seq(c->sk);
	conn->tx_kind = judge(c, conn, TAP_TX, cut.pos, &look);
	conn->tx_look = look;
	if (conn->tx_kind == CALL_COPY && conn->role == TAP_TX + 1) {
		conn->tx_kind = CALL_SENT;
		conn->done.tx_seq = cut.pos;
		conn->done.rx_seq = sock_rx_seq(c->sk);
		cut.dir = TAP_TX;
		cut.first_ns = conn->tx_entry_ns;
		cut.flags = TAP_F_ENTRY;
		cut.look = look;
		if (look)
			cut.flags |= TAP_F_MESSAGE_START;
		copy_call(c, conn, &cut);
	}
	return 0;
}

/* … and has written c->len > 0 of them. */
__noinline int tap_sent(struct tap_call *c)
{
	struct tap_conn *conn;
	struct cut cut = {};
	__u64 now;
	__u32 seq;
	__u8 kind, look;

	if (!c)
		return 0;
	conn = conn_of(c->sk, c->tgid);
	if (!conn || is_opaque(conn, c, 0))
		return 0;
	kind = conn->tx_kind;
	if (conn->verdict == VERDICT_OTHER && conn->recheck > 1) {
		conn->recheck--;
		return 0;
	}
	now = bpf_ktime_get_ns();
	seq = sock_tx_seq(c->sk) - c->after;
	cut.pos = seq - c->len;
	look = conn->tx_look;
	if (kind == CALL_UNKNOWN) {
		kind = judge(c, conn, TAP_TX, cut.pos, &look);
		conn->tx_entry_ns = now;
	}
	if (kind == CALL_COPY) {
		conn->done.tx_seq = cut.pos;
		conn->done.rx_seq = sock_rx_seq(c->sk);
		cut.dir = TAP_TX;
		cut.first_ns = conn->tx_entry_ns;
		cut.last_ns = now;
		cut.look = look;
		if (look)
			cut.flags = TAP_F_MESSAGE_START;
		copy_call(c, conn, &cut);
	}
	note_tail(c, conn, TAP_TX);
	conn->tx_kind = CALL_UNKNOWN;
	conn->done.tx_seq = seq;
	conn->done.tx_ns = now;
	return 0;
}

/* Bytes went through without passing the program's memory (sendfile). */
static __noinline int tap_moved(struct sock *sk, int dir)
{
	__u64 key = (__u64)sk;
	struct tap_conn *conn = bpf_map_lookup_elem(&tap_conns, &key);

	if (!conn || conn->verdict != VERDICT_HTTP)
		return 0;
	if (conn->role == (dir ^ 1) + 1)
		conn->last_bytes = 0; /* not looked at */
	if (dir == TAP_TX) {
		conn->done.tx_seq = sock_tx_seq(sk);
		conn->done.tx_ns = bpf_ktime_get_ns();
	} else {
		conn->done.rx_seq = sock_rx_seq(sk);
		conn->done.rx_ns = bpf_ktime_get_ns();
	}
	return 0;
}

/*
 * One direction of a socket, or of its twin, is over. Returns the connection's
 * verdict.
 */
static __noinline int end_conn(struct sock *sk, __u32 twin, int dir)
{
	__u8 flag = dir == TAP_RX ? CONN_ENDED_RX : CONN_ENDED_TX;
	__u64 key = (__u64)sk + twin;
	struct tap_conn *conn = bpf_map_lookup_elem(&tap_conns, &key);
	struct tap_end *e;

	if (!conn)
		return VERDICT_NEW;
	if (conn->flags & flag)
		return conn->verdict;
	/* The state changes before the FIN is made: not counted yet. */
	if (dir == TAP_TX && !twin)
		conn->done.tx_seq = sock_tx_seq(sk);
	conn->flags |= flag;
	/* What is read of a connection that was reset: CLOSE tells better. */
	if (!(conn->flags & CONN_OPENED) || conn->error ||
	    conn->verdict == VERDICT_IGNORED)
		return conn->verdict;
	e = bpf_ringbuf_reserve(&tap_ring, sizeof(*e), 0);
	if (!e) {
		tap_count(TAP_C_LOST_RECORDS);
		return conn->verdict;
	}
	fill_record(&e->rec, key, conn, TAP_END);
	e->rec.dir = dir;
	e->time_ns = bpf_ktime_get_ns();
	e->last_bytes = conn->last_bytes;
	submit(e);
	return conn->verdict;
}

/*
 * One direction is over: the program read EOF, or shut its side down. What is
 * read inside TLS ends when the TLS call says so.
 */
static __noinline int tap_ended(struct sock *sk, int dir)
{
	__u64 id;
	struct tls_thread *t;

	if (end_conn(sk, 0, dir) == VERDICT_HTTP || !tap_tls)
		return 0;
	if (dir == TAP_TX) {
		end_conn(sk, TAP_TWIN, dir);
		return 0;
	}
	id = bpf_get_current_pid_tgid();
	t = bpf_map_lookup_elem(&tls_threads, &id);
	if (t && t->session)
		t->flags |= TLS_F_EOF;
	return 0;
}

#endif /* BPF_TAP_BPF_H */
