/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */

/*
 * Front-end `syscall`: the tracepoints of the system calls that move bytes on
 * sockets. Reads are looked at when they return; writes when they begin (for
 * the time of their first byte) and when they return. Programs in 32-bit mode
 * have no such tracepoints and are not seen; neither is io_uring.
 */

#define TAP_FRONT TAP_FRONT_SYSCALL

#include "bpf/syscall.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("tp")
int syscall_write_exit(struct exit_args *ctx)
{
	struct task_struct *task = current_task();
	struct tap_call c = {};
	struct pt_regs *r;

	if (ctx->ret <= 0)
		return 0;
	r = user_regs(task);
	c.sk = sock_of_fd(task, REG0(r));
	c.tgid = READ(struct task_struct, task, tgid);
	c.len = ctx->ret;
	if (c.sk && place(&c, shape_of(ctx->nr), REG1(r), REG2(r)))
		tap_sent(&c);
	return 0;
}

SEC("tp")
int syscall_read_exit(struct exit_args *ctx)
{
	enum shape shape = shape_of(ctx->nr);
	struct task_struct *task = current_task();
	struct tap_call c = {};
	struct pt_regs *r;
	__u64 flags = 0;

	if (ctx->ret < 0)
		return 0;
	r = user_regs(task);
	if (ctx->nr == NR_RECVMSG)
		flags = REG2(r);
	else if (ctx->nr == NR_RECVFROM)
		flags = REG3(r);
	if (flags & (MSG_PEEK | MSG_OOB | MSG_ERRQUEUE))
		return 0;
	c.sk = sock_of_fd(task, REG0(r));
	if (!c.sk)
		return 0;
	if (ctx->ret == 0) {
		/* EOF, unless nothing was asked for. */
		if (shape != SHAPE_BUF || REG2(r))
			tap_ended(c.sk, TAP_RX);
		return 0;
	}
	if (flags & MSG_TRUNC) {
		tap_moved(c.sk, TAP_RX);
		return 0;
	}
	c.tgid = READ(struct task_struct, task, tgid);
	c.len = ctx->ret;
	if (place(&c, shape, REG1(r), REG2(r)))
		tap_received(&c);
	return 0;
}

SEC("tp")
int syscall_sendfile_exit(struct exit_args *ctx)
{
	struct task_struct *task = current_task();
	struct sock *sk;

	if (ctx->ret <= 0)
		return 0;
	sk = sock_of_fd(task, REG0(user_regs(task)));
	if (sk)
		tap_moved(sk, TAP_TX);
	return 0;
}
