/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */

/*
 * Front-end `syscall`: the tracepoints of the system calls that move bytes on
 * sockets. Reads are inspected when they return; writes when they begin or, if
 * they are late, when they return (bpf/write.bpf.h). 32-bit programs have no
 * such tracepoints and are not seen; neither is io_uring.
 */

#define TAP_FRONT TAP_FRONT_SYSCALL

#include "bpf/syscall.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("tp")
int syscall_write_exit(struct syscall_exit_args *ctx)
{
	struct task_struct *task = current_task();
	struct tap_call c = { .len = ctx->ret, .scratch = SCRATCH_SENT };
	struct tap_conn *conn;
	struct pt_regs *r;

	if (!tap_late)
		return 0;
	r = user_regs(task);
	c.sk = sock_of_fd(task, REG0(r));
	if (!c.sk)
		return 0;
	if (ctx->ret <= 0)
		return tap_refused(c.sk);
	c.tgid = READ(struct task_struct, task, tgid);
	conn = tap_returned(c.sk, c.tgid);
	if (!conn || tap_sent_seen(c.sk, conn))
		return 0;
	if (place(&c, shape_of(ctx->nr), REG1(r), REG2(r)))
		tap_sent(&c, conn);
	return 0;
}

SEC("tp")
int syscall_read_exit(struct syscall_exit_args *ctx)
{
	enum syscall_shape shape = shape_of(ctx->nr);
	struct task_struct *task = current_task();
	struct tap_call c = { .len = ctx->ret, .scratch = SCRATCH_RECEIVED };
	struct tap_conn *conn;
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
		/* EOF, unless 0 bytes were asked for. */
		if (shape != SHAPE_BUF || REG2(r))
			tap_ended(c.sk, TAP_RX);
		return 0;
	}
	if (flags & MSG_TRUNC) {
		tap_moved(c.sk, TAP_RX, ctx->ret);
		return 0;
	}
	c.tgid = READ(struct task_struct, task, tgid);
	conn = tap_conn_of(c.sk, c.tgid, TAP_RX);
	if (conn && place(&c, shape, REG1(r), REG2(r)))
		tap_received(&c, conn);
	return 0;
}

SEC("tp")
int syscall_sendfile_exit(struct syscall_exit_args *ctx)
{
	struct task_struct *task = current_task();
	struct sock *sk;

	if (ctx->ret <= 0)
		return 0;
	sk = sock_of_fd(task, REG0(user_regs(task)));
	if (sk)
		tap_moved(sk, TAP_TX, ctx->ret);
	return 0;
}

/*
 * Many messages in one call: on a TCP socket just a longer readv or writev.
 * Each is handled as a call of its own; those after the first MMSG_MAX are not
 * inspected. (The start of sendmmsg is seen by syscall_write_enter.)
 */
#define MMSG_MAX 16

struct mmsg {
	struct tap_call *call; /* the message under way */
	struct tap_conn *conn;
	const struct mmsghdr *vec;
	__u32 after; /* bytes in the messages that are left */
	__u16 n;
	bool read;
};

static long mmsg_step(__u32 i, struct mmsg *m)
{
	const struct mmsghdr *msg = m->vec + i;
	struct tap_call *c = m->call;

	if (i >= m->n)
		return 1;
	c->buf = NULL;
	c->iov = NULL;
	c->iovs = 0;
	c->first = 0;
	c->skip = 0;
	if (bpf_probe_read_user(&c->len, sizeof(c->len), &msg->msg_len) ||
	    !place(c, SHAPE_MSG, (__u64)&msg->msg_hdr, 0))
		return 1;
	m->after -= c->len;
	c->after = m->after;
	if (!c->len)
		return 0;
	if (m->read)
		tap_received(c, m->conn);
	else
		tap_sent(c, m->conn);
	return 0;
}

SEC("tp")
int syscall_mmsg_exit(struct syscall_exit_args *ctx)
{
	struct task_struct *task = current_task();
	struct mmsg m = { .read = ctx->nr == NR_RECVMMSG };
	__u32 key = SCRATCH_MMSG_CALL;
	struct pt_regs *r;
	__u32 i, len;

	if (m.read ? ctx->ret <= 0 : !tap_late)
		return 0;
	m.call = bpf_map_lookup_elem(&tap_scratches, &key);
	if (!m.call)
		return 0;
	m.call->twin = 0;
	m.call->scratch = SCRATCH_MMSG;
	r = user_regs(task);
	if (m.read && REG3(r) & (MSG_PEEK | MSG_OOB | MSG_ERRQUEUE))
		return 0;
	m.call->sk = sock_of_fd(task, REG0(r));
	m.call->tgid = READ(struct task_struct, task, tgid);
	m.vec = (const struct mmsghdr *)REG1(r);
	if (!m.call->sk)
		return 0;
	if (ctx->ret <= 0)
		return tap_refused(m.call->sk);
	m.conn = m.read ? tap_conn_of(m.call->sk, m.call->tgid, TAP_RX)
			: tap_returned(m.call->sk, m.call->tgid);
	if (!m.conn)
		return 0;
	if (ctx->ret > MMSG_MAX)
		tap_count(TAP_C_TRUNCATED);
	m.n = ctx->ret > MMSG_MAX ? MMSG_MAX : ctx->ret;
	for (i = 0; i < MMSG_MAX; i++) {
		if (i >= m.n ||
		    bpf_probe_read_user(&len, sizeof(len), &m.vec[i].msg_len))
			break;
		m.after += len;
	}
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_loop))
		bpf_loop(MMSG_MAX, mmsg_step, &m, 0);
	else
		mmsg_step(0, &m);
	return 0;
}

SEC("tp")
int syscall_splice_exit(struct syscall_exit_args *ctx)
{
	struct task_struct *task = current_task();
	struct pt_regs *r;
	struct sock *sk;

	if (ctx->ret <= 0)
		return 0;
	r = user_regs(task);
	sk = sock_of_fd(task, REG0(r));
	if (sk)
		tap_moved(sk, TAP_RX, ctx->ret);
	sk = sock_of_fd(task, REG2(r));
	if (sk)
		tap_moved(sk, TAP_TX, ctx->ret);
	return 0;
}
