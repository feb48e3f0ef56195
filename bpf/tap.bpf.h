/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef BPF_TAP_BPF_H
#define BPF_TAP_BPF_H

/*
 * The core that every front-end calls. If a call begins an HTTP message, copies
 * it up to the end of its head, with time stamps. It keeps no other protocol
 * state: pairing and framing are the agent's.
 *
 * What is copied
 *   - a call that begins a message: up to the end of its head
 *   - the following calls in that direction, while the head has not ended
 *   - a message in the middle of a call, where the body before it ends: see
 *     frame.bpf.h
 *   - whole calls, on a connection that pipelines, where no place is known:
 *     there, a message can begin anywhere. A connection is known to pipeline
 *     once a request comes before the previous one is answered, or one call
 *     holds more than one request. The latter takes a scan, which is made only
 *     where it can be true: in a call as long as two of the shortest single
 *     requests seen, or shorter than all of them.
 *   - where a request is due and none begins: the rest of a body, perhaps,
 * whose end only the agent knows
 */

#include "bpf/h2_find.bpf.h"

/* The agent's process, which is never followed; 0: none. */
const volatile __u32 tap_self_tgid = 0;
/* The plain text of TLS is captured too, by tls.bpf.c. */
const volatile bool tap_tls = false;

/*
 * Turns of the conversation without HTTP before the verdict "not HTTP"; also,
 * calls in one direction without HTTP before fewer of them are inspected.
 */
#define TAP_STRIKES 8
/* --- the life of a connection --- */

/* A function of its own, so that its stack is free while a call is copied. */
static __noinline int make_conn(struct sock *sk, __u32 tgid)
{
	__u64 key = (__u64)sk;
	struct tap_conn new = {};

	if (!sock_is_tcp(sk))
		return -1;
	new.born_ns = bpf_ktime_get_ns();
	if (sock_is_mptcp(sk)) {
		new.flags = CONN_COUNTED;
	} else {
		new.done.rx_seq = sock_rx_seq(sk);
		new.done.tx_seq = sock_tx_seq(sk);
	}
	if (tgid == tap_self_tgid)
		new.verdict = VERDICT_IGNORED;
	bpf_map_update_elem(&tap_conns, &key, &new, BPF_NOEXIST);
	return 0;
}

/*
 * The connection of a socket, created if needed. NULL: not TCP, or table full.
 */
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
 * A call moves bytes of a socket that uses TLS, or may do so. Inside a TLS call
 * this shows which socket the session uses. Outside, a read is remembered for
 * sessions that are fed from memory. Returns true inside a TLS call.
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

/* Encrypted: the verdict is final, as no HTTP can be seen on the connection. */
static __always_inline void is_tls(struct tap_conn *conn)
{
	if (conn->verdict != VERDICT_OTHER)
		tap_count(TAP_C_NOT_HTTP);
	conn->verdict = VERDICT_TLS;
	conn->session = 0;
}

/*
 * Must the call not be inspected: encrypted, or ignored by the agent? A new
 * connection that is used inside a TLS call is encrypted.
 */
static __always_inline bool
is_opaque(struct tap_conn *conn, const struct tap_call *call, __u32 read_len)
{
	if (conn->verdict == VERDICT_HTTP || conn->verdict == VERDICT_OTHER ||
	    conn->verdict == VERDICT_H2)
		return false;
	if (tap_tls && tls_touched((__u64)call->sk, conn, read_len) &&
	    conn->verdict == VERDICT_NEW)
		is_tls(conn);
	return conn->verdict != VERDICT_NEW;
}

/*
 * The bytes look like TLS. On an HTTP connection (after CONNECT) it is TLS only
 * if a TLS call moves them.
 */
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

/* A call began no message. A body in many calls counts once. */
static __always_inline void strike(const struct tap_call *call,
				   struct tap_conn *conn, __u8 dir, int look)
{
	if (look == LOOK_TLS)
		looks_encrypted(call, conn, dir);
	if (conn->verdict != VERDICT_NEW)
		return;
	if (conn->last_dir == dir + 1) {
		if (conn->run == TAP_STRIKES)
			conn->recheck = TAP_RECHECK;
		else
			conn->run++;
		return;
	}
	conn->last_dir = dir + 1;
	conn->recheck = conn->run = 0;
	if (++conn->strikes >= TAP_STRIKES)
		not_http(conn);
}

/*
 * Does a call that is inside of a body, by its place, begin a message after
 * all? That a body is chunked is mostly a guess, by its first bytes; and a body
 * that was announced may be left out (RFC 9110, 10.1.1).
 */
static __always_inline bool
leaves_body(struct tap_call *call, struct tap_conn *conn, __u32 dir, __u32 pos)
{
	struct classify_beginning first = {};
	int n;

	if (!is_turn(conn, dir))
		return false;
	if (!brings_answers(conn, dir) &&
	    (conn->place[dir] == PLACE_MESSAGE || conn->flags & CONN_CODED) &&
	    (pos != conn->tail[dir] || !(conn->flags & CONN_EXPECTS)))
		return false;
	n = peek(call, &first);
	if (n < 0)
		return false;
	n = look_at(&first, n);
	return brings_answers(conn, dir)
		       ? n == LOOK_RESPONSE || n == LOOK_EITHER
		       : n == LOOK_REQUEST || n == LOOK_REQUEST_BODY;
}

/*
 * Judges a call by the place at its beginning, pos. Returns as judge();
 * CALL_UNKNOWN: the place says nothing.
 */
static __always_inline int
judge_place(struct tap_call *call, struct tap_conn *conn, __u32 dir, __u32 pos)
{
	__u8 place = conn->place[dir];
	__s32 ahead = conn->due[dir] - pos;

	/* The head of an answer may be a part of the body before. */
	if (place_is_head(place) &&
	    !(brings_answers(conn, dir) && leaves_body(call, conn, dir, pos)))
		return CALL_COPY;
	/* Behind due, bytes have moved out of sight. */
	if (place_is_head(place) || ahead < 0 ||
	    (ahead && !place_is_ahead(place)) ||
	    ((ahead || place != PLACE_MESSAGE) &&
	     leaves_body(call, conn, dir, pos))) {
		forget_place(conn, dir);
		return CALL_UNKNOWN;
	}
	return ahead < (__s32)call->len ? CALL_COPY : CALL_BODY;
}

/* What may come before a request: b has its first n bytes. */
static __always_inline int prefix_of(const struct tap_conn *conn,
				     const struct classify_beginning *b, int n)
{
	const __u8 *p = b->at;

	if (p[0] == '\r' || p[0] == '\n')
		return PLACE_BLANK;
	if (conn->verdict == VERDICT_NEW && n > 5 &&
	    *(const __u32 *)p == FOURCC('P', 'R', 'O', 'X') && p[4] == 'Y' &&
	    p[5] == ' ')
		return PLACE_PROXY;
	return PLACE_UNKNOWN;
}

/*
 * Must bytes of the call be copied? Returns CALL_COPY, with what the call
 * begins in *look (LOOK_NONE: it continues something); CALL_BODY: no;
 * CALL_UNKNOWN: it can't be read.
 */
static __noinline int judge(struct tap_call *call, struct tap_conn *conn,
			    __u8 dir, __u32 pos, __u8 *look)
{
	struct classify_beginning first = {};
	int n, l;

	dir &= 1;
	*look = LOOK_NONE;
	if (conn->verdict == VERDICT_H2) {
		n = conn->h2 & (H2_EXPECTED | H2_SHAPED)
			    ? h2_still(call, conn, dir, pos)
			    : CALL_COPY;
		if (conn->verdict == VERDICT_H2)
			return n;
	}
	if (conn->verdict == VERDICT_OTHER) {
		if (--conn->recheck)
			return CALL_BODY;
		conn->recheck = TAP_RECHECK;
	}
	if (conn->flags & CONN_AGAIN && dir == TAP_TX) {
		conn->flags &= ~CONN_AGAIN;
		call->skip = conn->tx_seen - pos;
		*look = conn->place[dir] ? LOOK_NONE : LOOK_LATER;
		return call->skip < call->len ? CALL_COPY : CALL_BODY;
	}
	if (place_is_head(conn->place[dir]) && conn->head_bytes[dir] < 4 &&
	    h2_goes_on(call, conn, dir, pos))
		return CALL_COPY;
	if (conn->place[dir]) {
		l = judge_place(call, conn, dir, pos);
		if (l != CALL_UNKNOWN)
			return l;
	}
	if (is_due(conn, dir)) {
		*look = LOOK_LATER;
		return CALL_COPY;
	}
	n = peek(call, &first);
	if (n < 0)
		return CALL_UNKNOWN;
	if (h2_opens(conn, &first, n, dir, pos))
		return CALL_COPY;
	l = begins(conn, &first, n, dir, pos);
	if (!is_message(l) && !brings_answers(conn, dir) &&
	    !(conn->flags & CONN_STRAY)) {
		conn->place[dir] = prefix_of(conn, &first, n);
		conn->due[dir] = pos;
		if (conn->verdict == VERDICT_HTTP)
			conn->flags |= CONN_UNSURE;
		if (conn->place[dir])
			return CALL_COPY;
	}
	if (is_message(l) || (l == LOOK_WEAK && !brings_answers(conn, dir))) {
		*look = l;
		return CALL_COPY;
	}
	if (l == LOOK_NONE && conn->verdict != VERDICT_HTTP &&
	    h2_joins(call, conn, dir, pos))
		return CALL_COPY;
	strike(call, conn, dir, l);
	if (conn->flags & CONN_PIPELINED ||
	    (conn->flags & CONN_WHOLE_ONCE && conn->role != dir + 1))
		return CALL_COPY;
	return CALL_BODY;
}

static __always_inline void count_lost(struct tap_conn *conn, __u32 n)
{
	__u32 counter = TAP_C_LOST_REQUESTS;
	__u64 *v = bpf_map_lookup_elem(&tap_counters, &counter);

	conn->lost += n;
	if (v)
		__sync_fetch_and_add(v, n);
}

/* Copies a call for which judge() returned CALL_COPY. */
static __always_inline void take(struct tap_call *call, struct tap_conn *conn,
				 struct copy_cut *cut)
{
	bool weak = cut->look == LOOK_WEAK;

	if (conn->verdict == VERDICT_H2) {
		h2_take(call, conn, cut);
		return;
	}
	copy_call(call, conn, cut);
	if (cut->look == LOOK_TLS)
		looks_encrypted(call, conn, cut->dir);
	else if (weak && cut->look == LOOK_NONE)
		strike(call, conn, cut->dir, LOOK_NONE);
	if (!cut->lost)
		return;
	/* Whether a write that waits will be accepted is seen at its return. */
	if (cut->flags & TAP_F_ENTRY)
		conn->tx_lost += cut->lost;
	else
		count_lost(conn, cut->lost);
}

/* The place in the direction of the answers; of HTTP/2, the last records. */
static __always_inline void fill_place(struct tap_rec_place *p,
				       const struct tap_conn *conn)
{
	__u32 dir = brings_answers(conn, TAP_RX) ? TAP_RX : TAP_TX;

	p->pad[0] = p->pad[1] = p->pad[2] = 0;
	if (conn->verdict == VERDICT_H2) {
		p->h2_seq[TAP_RX] = conn->walk[TAP_RX].seq;
		p->h2_seq[TAP_TX] = conn->walk[TAP_TX].seq;
		p->place = PLACE_UNKNOWN;
		return;
	}
	p->due = conn->due[dir];
	p->place = conn->place[dir];
}

/*
 * The connection is not HTTP, or keeps moving bytes in this direction without
 * HTTP; and the next inspection is not due yet.
 */
static __always_inline bool is_backed_off(const struct tap_conn *conn, __u8 dir)
{
	return conn->recheck > 1 &&
	       (conn->verdict == VERDICT_OTHER ||
		(conn->verdict == VERDICT_NEW && conn->last_dir == dir + 1));
}

/* --- what front-ends call --- */

/*
 * The connection if this call on sk must be inspected, else NULL. Decided
 * before the call's bytes are located.
 */
static __always_inline struct tap_conn *tap_conn_of(struct sock *sk, __u32 tgid,
						    __u8 dir)
{
	struct tap_conn *conn = conn_of(sk, tgid);

	if (!conn)
		return NULL;
	if (is_backed_off(conn, dir)) {
		conn->recheck--;
		return NULL;
	}
	return conn;
}

/* More than any socket's send buffer holds. */
#define TAP_AHEAD_MAX (64u << 20)

/* All writes up to seq were seen, and perhaps a part of one that has begun. */
static __always_inline bool saw_writes(const struct tap_conn *conn, __u32 seq)
{
	return conn->done.tx_seq - seq <= TAP_AHEAD_MAX;
}

/*
 * A call that began at first_ns has moved c->len > 0 bytes of a connection
 * whose positions are counted here.
 */
static __always_inline int tap_counted(struct tap_call *c,
				       struct tap_conn *conn, __u32 dir,
				       __u64 first_ns)
{
	struct copy_cut cut = {};
	__u64 now = bpf_ktime_get_ns();
	__u32 pos;
	__u8 kind, look;

	if (!c || !conn)
		return 0;
	cut.dir = dir & 1;
	if (c->twin)
		cut.flags = TAP_F_TLS;
	pos = dir == TAP_RX ? conn->done.rx_seq : conn->done.tx_seq;
	kind = judge(c, conn, cut.dir, pos, &look);
	if (kind == CALL_UNKNOWN)
		tap_count(TAP_C_READ_FAULTS);
	if (kind == CALL_COPY) {
		cut.pos = pos;
		cut.first_ns = dir == TAP_RX ? now : first_ns;
		cut.last_ns = now;
		cut.look = look;
		take(c, conn, &cut);
	}
	if (dir == TAP_RX) {
		conn->done.rx_seq = pos + c->len;
		conn->done.rx_ns = now;
	} else {
		conn->done.tx_seq = pos + c->len;
		conn->done.tx_ns = now;
	}
	return 0;
}

/* A call has read c->len > 0 bytes. */
__noinline int tap_received(struct tap_call *c, struct tap_conn *conn)
{
	struct copy_cut cut = { .dir = TAP_RX };
	__u64 now;
	__u32 seq, wrote;
	__u8 kind, look;

	if (!c || !conn || is_opaque(conn, c, c->len))
		return 0;
	if (conn->flags & CONN_COUNTED)
		return tap_counted(c, conn, TAP_RX, 0);
	now = bpf_ktime_get_ns();
	seq = sock_rx_seq(c->sk) - c->after;
	cut.pos = seq - c->len;
	conn->done.rx_seq = cut.pos;
	kind = judge(c, conn, TAP_RX, cut.pos, &look);
	if (kind == CALL_UNKNOWN)
		tap_count(TAP_C_READ_FAULTS);
	if (kind == CALL_COPY) {
		/* The socket may not count a write yet that has begun. */
		wrote = sock_tx_seq(c->sk);
		if (!saw_writes(conn, wrote))
			conn->done.tx_seq = wrote;
		cut.first_ns = cut.last_ns = now;
		cut.look = look;
		take(c, conn, &cut);
	}
	conn->done.rx_seq = seq;
	conn->done.rx_ns = now;
	return 0;
}

/*
 * len bytes moved that are not inspected: sendfile, io_uring. ahead: bytes of
 * them that the socket will take right after this.
 */
static __always_inline void tap_passed(struct sock *sk, struct tap_conn *conn,
				       int dir, __u32 ahead, __u32 len)
{
	__u32 seq;

	if (conn->verdict != VERDICT_HTTP && conn->verdict != VERDICT_H2)
		return;
	if (conn->flags & CONN_COUNTED)
		seq = len +
		      (dir == TAP_TX ? conn->done.tx_seq : conn->done.rx_seq);
	else
		seq = dir == TAP_TX ? sock_tx_seq(sk) + ahead : sock_rx_seq(sk);
	if (conn->verdict == VERDICT_H2)
		h2_passed(conn, (__u64)sk, dir, seq, 0);
	if (dir == TAP_TX) {
		conn->tx_entry_ns = 0;
		conn->done.tx_seq = seq;
		conn->done.tx_ns = bpf_ktime_get_ns();
	} else {
		conn->done.rx_seq = seq;
		conn->done.rx_ns = bpf_ktime_get_ns();
	}
}

/* The same, for a socket that may have no entry in tap_conns. */
static __noinline int tap_moved(struct sock *sk, int dir, __u32 len)
{
	__u64 key = (__u64)sk;
	struct tap_conn *conn = bpf_map_lookup_elem(&tap_conns, &key);

	if (conn)
		tap_passed(sk, conn, dir, 0, len);
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
	/* The state changes before the FIN is made: it is not counted yet. */
	if (dir == TAP_TX && !twin && !(conn->flags & CONN_COUNTED))
		conn->done.tx_seq = sock_tx_seq(sk);
	conn->flags |= flag;
	/* No END after a reset: CLOSE says more. */
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
	fill_place(&e->answers, conn);
	submit(e);
	return conn->verdict;
}

/*
 * One direction is over: the program read EOF, or shut its side down. Inside
 * TLS, reading ends when the TLS call says so.
 */
static __noinline int tap_ended(struct sock *sk, int dir)
{
	__u64 id;
	struct tls_thread *t;

	if (end_conn(sk, 0, dir) == VERDICT_HTTP || !tap_tls)
		return 0;
	if (dir == TAP_TX) {
		if (end_conn(sk, TAP_TWIN, dir) == VERDICT_IGNORED)
			end_conn(sk, TAP_TWIN | TAP_INNER, dir);
		return 0;
	}
	id = bpf_get_current_pid_tgid();
	t = bpf_map_lookup_elem(&tls_threads, &id);
	if (t && t->session)
		t->flags |= TLS_F_EOF;
	return 0;
}

#endif /* BPF_TAP_BPF_H */
