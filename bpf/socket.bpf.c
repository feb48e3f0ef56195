/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */

/*
 * Front-end `socket`: the tracepoints at the end of each send and receive on a
 * socket (6.3). They do not run for files, have the socket at hand, and cost a
 * third of a system call's tracepoint. They don't say where the bytes are: that
 * is in the arguments of the system call under way. Bytes that io_uring,
 * sendfile and 32-bit programs move are counted, but not inspected.
 *
 * Writes are inspected when they begin (bpf/write.bpf.h), by TCP's own
 * tracepoint (6.16). Then no system call is traced: that would cost every
 * system call, whatever it does, some 70 ns. Kernels before that use
 * syscall_write_enter, which does not see sendfile, so returns are inspected,
 * too.
 */

#define TAP_FRONT TAP_FRONT_SOCKET

#include "bpf/syscall.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

static __always_inline bool is_write(__u32 nr)
{
	return nr == NR_WRITE || nr == NR_WRITEV || nr == NR_SENDTO ||
	       nr == NR_SENDMSG || nr == NR_SENDMMSG;
}

static __always_inline bool is_read(__u32 nr)
{
	return nr == NR_READ || nr == NR_READV || nr == NR_RECVFROM ||
	       nr == NR_RECVMSG || nr == NR_RECVMMSG;
}

/* --- many messages in one call --- */

/*
 * sendmmsg() and recvmmsg() get here once per message; conn->mmsg counts which
 * one it is. Such a call ends with its last message, with an error, or with a
 * message that is not moved whole.
 */
static __always_inline bool place_any(struct tap_call *c,
				      const struct tap_conn *conn, __u32 dir,
				      __u32 nr, struct pt_regs *r)
{
	const struct mmsghdr *vec = (const struct mmsghdr *)REG1(r);

	if (nr == NR_SENDMMSG || nr == NR_RECVMMSG)
		return place(c, SHAPE_MSG, (__u64)(vec + conn->mmsg[dir]), 0);
	return place(c, shape_of(nr), REG1(r), REG2(r));
}

/* Counts one message; whole: all of it was moved. */
static __always_inline void next_message(struct tap_conn *conn, __u32 dir,
					 struct pt_regs *r, bool whole)
{
	__u32 next = conn->mmsg[dir] + 1;

	conn->mmsg[dir] = whole && next < (__u32)REG2(r) ? next : 0;
}

/* The socket was empty, which ends recvmmsg(). */
static __noinline int nothing_read(struct sock *sk)
{
	__u64 key = (__u64)sk;
	struct tap_conn *conn = bpf_map_lookup_elem(&tap_conns, &key);

	if (conn)
		conn->mmsg[TAP_RX] = 0;
	return 0;
}

/* --- writes --- */

/* Locates the bytes that a system call writes. */
static __always_inline bool place_write(struct tap_call *c,
					const struct tap_conn *conn,
					struct msghdr *msg, __u32 nr,
					struct pt_regs *r)
{
	if (READ(struct msghdr, msg, msg_iter.iter_type) !=
	    bpf_core_enum_value(enum iter_type, ITER_UBUF))
		return place_any(c, conn, TAP_TX, nr, r);
	c->buf = READ(struct msghdr, msg, msg_iter.ubuf) +
		 READ(struct msghdr, msg, msg_iter.iov_offset);
	return true;
}

/*
 * Runs for each buffer of the kernel that a write fills, under the socket's
 * lock. The system call's arguments only count if the bytes are in the
 * program's memory: a call on a file can make the kernel use a socket. Else the
 * write is inspected when it returns, and it is known whose it is.
 */
SEC("raw_tp/tcp_sendmsg_locked")
int tcp_sendmsg_locked(struct bpf_raw_tracepoint_args *ctx)
{
	struct msghdr *msg = (struct msghdr *)ctx->args[1];
	struct tap_call c = { .sk = (struct sock *)ctx->args[0],
			      .scratch = SCRATCH_SENDING };
	struct task_struct *task = current_task();
	struct tap_conn *conn;
	struct pt_regs *r;
	__u32 nr, type;

	c.tgid = READ(struct task_struct, task, tgid);
	conn = tap_conn_of(c.sk, c.tgid, TAP_TX);
	if (!conn)
		return 0;
	c.len = at_most(READ(struct msghdr, msg, msg_iter.count), 0x7fffffff);
	/* Not the first buffer: this write was seen to begin. */
	if (conn->flags & CONN_LATE ||
	    conn->done.tx_seq == sock_tx_seq(c.sk) + c.len)
		return 0;
	type = READ(struct msghdr, msg, msg_iter.iter_type);
	r = user_regs(task);
	nr = CALL_NR(r);
	if (!is_write(nr))
		tap_passing(c.sk, conn, c.len);
	else if (type != bpf_core_enum_value(enum iter_type, ITER_UBUF) &&
		 type != bpf_core_enum_value(enum iter_type, ITER_IOVEC))
		be_late(conn); /* copied already: its socket is in a sockmap */
	else if (!place_write(&c, conn, msg, nr, r))
		be_late(conn);
	else if (nr == NR_SENDMMSG)
		tap_writing_late(&c, conn);
	else
		tap_writing(&c, conn);
	return 0;
}

SEC("raw_tp/sock_send_length")
int sock_send_length(struct bpf_raw_tracepoint_args *ctx)
{
	struct tap_call c = { .sk = (struct sock *)ctx->args[0],
			      .scratch = SCRATCH_SENT };
	struct task_struct *task;
	int ret = ctx->args[1];
	struct tap_conn *conn;
	struct pt_regs *r;
	__u32 nr;

	if (!tap_late || !sock_is_tcp(c.sk))
		return 0;
	if (ret <= 0)
		return tap_refused(c.sk);
	task = current_task();
	c.tgid = READ(struct task_struct, task, tgid);
	c.len = ret;
	conn = tap_returned(c.sk, c.tgid);
	if (!conn)
		return 0;
	r = user_regs(task);
	nr = CALL_NR(r);
	/* A system call on a file can make the kernel use a socket. */
	if (!is_write(nr) || !is_at_fd(task, REG0(r), c.sk)) {
		tap_passed(c.sk, conn, TAP_TX, 0, ret);
		return 0;
	}
	if (nr != NR_SENDMMSG && tap_sent_seen(c.sk, conn))
		return 0;
	if (place_any(&c, conn, TAP_TX, nr, r))
		tap_sent(&c, conn);
	if (nr == NR_SENDMMSG)
		next_message(conn, TAP_TX, r, !c.iov || ret >= iov_bytes(&c));
	return 0;
}

/* --- reads --- */

SEC("raw_tp/sock_recv_length")
int sock_recv_length(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *task = current_task();
	struct tap_call c = { .sk = (struct sock *)ctx->args[0],
			      .scratch = SCRATCH_RECEIVED };
	int ret = ctx->args[1], flags = ctx->args[2];
	struct tap_conn *conn;
	struct pt_regs *r;
	__u32 nr;

	if (!sock_is_tcp(c.sk) || flags & (MSG_PEEK | MSG_OOB | MSG_ERRQUEUE))
		return 0;
	r = user_regs(task);
	nr = CALL_NR(r);
	if (ret <= 0) {
		if (ret < 0 && nr == NR_RECVMMSG)
			nothing_read(c.sk);
		/* EOF, unless 0 bytes were asked for. */
		if (!ret && ((nr != NR_READ && nr != NR_RECVFROM) || REG2(r)))
			tap_ended(c.sk, TAP_RX);
		return 0;
	}
	c.tgid = READ(struct task_struct, task, tgid);
	c.len = ret;
	conn = tap_conn_of(c.sk, c.tgid, TAP_RX);
	if (!conn)
		return 0;
	/* recvmmsg() with a time limit can end after any message. */
	if (flags & MSG_TRUNC || !is_read(nr) ||
	    !is_at_fd(task, REG0(r), c.sk) ||
	    (nr == NR_RECVMMSG && (__u32)REG2(r) > 1 && REG4(r))) {
		tap_passed(c.sk, conn, TAP_RX, 0, ret);
		return 0;
	}
	if (place_any(&c, conn, TAP_RX, nr, r))
		tap_received(&c, conn);
	if (nr == NR_RECVMMSG)
		next_message(conn, TAP_RX, r, true);
	return 0;
}

/*
 * TCP has given bytes to a reader of any kind. Only splice is not seen
 * elsewhere.
 */
SEC("raw_tp/tcp_rcv_space_adjust")
int tcp_rcv_space_adjust(struct bpf_raw_tracepoint_args *ctx)
{
	if (CALL_NR(user_regs(current_task())) == NR_SPLICE)
		tap_moved((struct sock *)ctx->args[0], TAP_RX, 0);
	return 0;
}
