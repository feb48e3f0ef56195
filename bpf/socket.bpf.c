/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */

/*
 * Front-end `socket`: the tracepoints at the end of each send and receive on a
 * socket (6.3), which are not run for files and have the socket at hand, and
 * cost a third of a system call's. What they don't tell is where the bytes are:
 * that is in the arguments of the system call that is being made. Writes are
 * also looked at when they begin, like in `syscall`. Bytes that io_uring,
 * sendfile and programs in 32-bit mode move are counted, but not looked at.
 */

#define TAP_FRONT TAP_FRONT_SOCKET

#include "bpf/syscall.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("raw_tp/sock_send_length")
int sock_send_length(struct bpf_raw_tracepoint_args *ctx)
{
	struct sock *sk = (struct sock *)ctx->args[0];
	struct task_struct *task = current_task();
	struct tap_call c = { .sk = sk };
	int ret = ctx->args[1];
	struct pt_regs *r;
	__u32 nr;

	if (ret <= 0 || !sock_is_tcp(sk))
		return 0;
	r = user_regs(task);
	nr = CALL_NR(r);
	if (nr == NR_SENDMMSG)
		return 0; /* syscall_mmsg_exit has all of it */
	/* A system call on a file can make the kernel use a socket. */
	if ((nr != NR_WRITE && nr != NR_WRITEV && nr != NR_SENDTO &&
	     nr != NR_SENDMSG) ||
	    !is_at_fd(task, REG0(r), sk)) {
		tap_moved(sk, TAP_TX);
		return 0;
	}
	c.tgid = READ(struct task_struct, task, tgid);
	c.len = ret;
	if (place(&c, shape_of(nr), REG1(r), REG2(r)))
		tap_sent(&c);
	return 0;
}

SEC("raw_tp/sock_recv_length")
int sock_recv_length(struct bpf_raw_tracepoint_args *ctx)
{
	struct sock *sk = (struct sock *)ctx->args[0];
	struct task_struct *task = current_task();
	struct tap_call c = { .sk = sk };
	int ret = ctx->args[1], flags = ctx->args[2];
	struct pt_regs *r;
	__u32 nr;

	if (ret < 0 || !sock_is_tcp(sk) ||
	    flags & (MSG_PEEK | MSG_OOB | MSG_ERRQUEUE))
		return 0;
	r = user_regs(task);
	nr = CALL_NR(r);
	if (nr == NR_RECVMMSG && ret)
		return 0; /* syscall_mmsg_exit has all of it */
	if (ret == 0) {
		/* EOF, unless nothing was asked for. */
		if ((nr != NR_READ && nr != NR_RECVFROM) || REG2(r))
			tap_ended(sk, TAP_RX);
		return 0;
	}
	if (flags & MSG_TRUNC ||
	    (nr != NR_READ && nr != NR_READV && nr != NR_RECVFROM &&
	     nr != NR_RECVMSG) ||
	    !is_at_fd(task, REG0(r), sk)) {
		tap_moved(sk, TAP_RX);
		return 0;
	}
	c.tgid = READ(struct task_struct, task, tgid);
	c.len = ret;
	if (place(&c, shape_of(nr), REG1(r), REG2(r)))
		tap_received(&c);
	return 0;
}
