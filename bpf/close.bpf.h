/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef BPF_CLOSE_BPF_H
#define BPF_CLOSE_BPF_H

/*
 * How connections end: the programs that all front-ends for sockets share,
 * however they see calls.
 */

#include "bpf/write.bpf.h"

/*
 * 1: the front-end does not see reads that only return EOF, so the socket's
 * state must show it.
 */
#ifndef TAP_EOF_BY_STATE
#define TAP_EOF_BY_STATE 0
#endif

/* 1: the front-end sees the calls on sockets of MPTCP. */
#ifndef TAP_SEES_MPTCP
#define TAP_SEES_MPTCP 0
#endif

static int tap_destroyed(struct sock *sk);

/* Notes when and how TCP ended a socket, or its twin. Returns the verdict. */
static __noinline int note_end(struct sock *sk, __u32 twin)
{
	__u64 key = (__u64)sk + twin;
	struct tap_conn *conn = bpf_map_lookup_elem(&tap_conns, &key);

	if (!conn)
		return VERDICT_NEW;
	if (!conn->closed_ns) {
		conn->closed_ns = bpf_ktime_get_ns();
		conn->error = READ(struct sock, sk, sk_err);
		if (!(conn->flags & (CONN_ENDED_TX | CONN_COUNTED)) && !twin)
			conn->done.tx_seq = sock_tx_seq(sk);
	}
	return conn->verdict;
}

/*
 * TCP is done with the connection: it was reset, or both ends have closed. The
 * program may not be: a call may be under way, whose record comes when it
 * returns, and bytes that came before the end can still be read.
 */
static __noinline int tap_closed(struct sock *sk)
{
	if (note_end(sk, 0) != VERDICT_HTTP && tap_tls &&
	    note_end(sk, TAP_TWIN) == VERDICT_IGNORED)
		note_end(sk, TAP_TWIN | TAP_INNER);
	/* No other tracepoint shows that such a socket goes. */
	if (TAP_SEES_MPTCP && sock_is_mptcp(sk))
		tap_destroyed(sk);
	return 0;
}

/*
 * Sends the last record of a socket, or of its twin, and forgets it. Returns
 * the connection's verdict.
 */
static __noinline int close_conn(struct sock *sk, __u32 twin)
{
	__u64 key = (__u64)sk + twin;
	struct tap_conn *conn = bpf_map_lookup_elem(&tap_conns, &key);
	struct tap_rec_close *c;
	int verdict;

	if (!conn)
		return VERDICT_NEW;
	verdict = conn->verdict;
	not_late(conn);
	if (conn->flags & CONN_OPENED && verdict != VERDICT_IGNORED) {
		c = bpf_ringbuf_reserve(&tap_ring, sizeof(*c), 0);
		if (c) {
			fill_record(&c->rec, key, conn, TAP_CLOSE);
			c->rec.tgid = 0;
			c->time_ns = conn->closed_ns ?: bpf_ktime_get_ns();
			c->error = conn->error;
			fill_place(&c->answers, conn);
			submit(c);
		} else {
			tap_count(TAP_C_LOST_RECORDS);
		}
	}
	bpf_map_delete_elem(&tap_conns, &key);
	return verdict;
}

/*
 * Both the program and TCP have released the socket, or it begins another
 * connection. No state of this one may reach the next at the same address.
 */
static __noinline int tap_destroyed(struct sock *sk)
{
	if (close_conn(sk, 0) != VERDICT_HTTP && tap_tls &&
	    close_conn(sk, TAP_TWIN) == VERDICT_IGNORED)
		close_conn(sk, TAP_TWIN | TAP_INNER);
	return 0;
}

/*
 * A connection begins. With TCP fast open, its first bytes go with the SYN, in
 * a write that is under way already, or that TCP does not see begin: that write
 * is inspected when it returns.
 */
static __noinline int tap_opening(struct sock *sk)
{
	struct tap_conn *conn;

	tap_destroyed(sk);
	if (!sock_opens_fast(sk))
		return 0;
	conn = conn_of(sk, bpf_get_current_pid_tgid() >> 32);
	if (conn)
		be_late(conn);
	return 0;
}

/*
 * The writes of an MPTCP connection are inspected when they return. Who runs
 * when it is established may be anyone.
 */
static __noinline int tap_established(struct sock *sk)
{
	struct tap_conn *conn;

	if (!sock_is_mptcp(sk) || !sock_is_tcp(sk))
		return 0;
	conn = conn_of(sk, ~0u);
	if (conn)
		be_late(conn);
	return 0;
}

SEC("raw_tp/inet_sock_set_state")
int inet_sock_set_state(struct bpf_raw_tracepoint_args *ctx)
{
	struct sock *sk = (struct sock *)ctx->args[0];
	int state = ctx->args[2];

	if (state == TCP_FIN_WAIT1 || state == TCP_LAST_ACK)
		tap_ended(sk, TAP_TX);
	else if (TAP_EOF_BY_STATE && state == TCP_CLOSE_WAIT &&
		 sock_all_read(sk))
		tap_ended(sk, TAP_RX);
	else if (state == TCP_CLOSE)
		tap_closed(sk);
	else if (TAP_SEES_MPTCP && state == TCP_ESTABLISHED)
		tap_established(sk);
	else if (state == TCP_SYN_SENT)
		tap_opening(sk);
	return 0;
}

SEC("raw_tp/tcp_destroy_sock")
int tcp_destroy_sock(struct bpf_raw_tracepoint_args *ctx)
{
	tap_destroyed((struct sock *)ctx->args[0]);
	return 0;
}

#endif /* BPF_CLOSE_BPF_H */
