/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef BPF_SYSCALL_BPF_H
#define BPF_SYSCALL_BPF_H

/*
 * What the front-ends that look at system calls share: where the bytes of a
 * call are, by its arguments; and the programs that both have.
 */

#include "bpf/life.bpf.h"

struct enter_args {
	__u64 common;
	__u32 nr;
	__u32 pad;
	__u64 arg[6];
};

struct exit_args {
	__u64 common;
	__u32 nr;
	__u32 pad;
	long ret;
};

/*
 * x86: the kernel stack holds 16 KiB, arm64: the same with 4 KiB pages; the
 * agent sets what it finds. Only used before 5.15.
 */
const volatile __u32 tap_stack_bytes = 16384;

/* The arguments of the system call that is returning. */
static __always_inline struct pt_regs *user_regs(struct task_struct *task)
{
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_task_pt_regs))
		return (void *)bpf_task_pt_regs(task);
	return READ(struct task_struct, task, stack) + tap_stack_bytes -
	       bpf_core_type_size(struct pt_regs);
}

#if defined(__TARGET_ARCH_x86)
#define REG0(r) READ(struct pt_regs, r, di)
#define REG1(r) READ(struct pt_regs, r, si)
#define REG2(r) READ(struct pt_regs, r, dx)
#define REG3(r) READ(struct pt_regs, r, r10)
#define CALL_NR(r) READ(struct pt_regs, r, orig_ax)
enum nr {
	NR_READ = 0,
	NR_WRITE = 1,
	NR_READV = 19,
	NR_WRITEV = 20,
	NR_SENDTO = 44,
	NR_RECVFROM = 45,
	NR_SENDMSG = 46,
	NR_RECVMSG = 47,
	NR_RECVMMSG = 299,
	NR_SENDMMSG = 307,
};
#elif defined(__TARGET_ARCH_arm64)
#define REG0(r) READ(struct pt_regs, r, orig_x0)
#define REG1(r) READ(struct pt_regs, r, regs[1])
#define REG2(r) READ(struct pt_regs, r, regs[2])
#define REG3(r) READ(struct pt_regs, r, regs[3])
#define CALL_NR(r) READ(struct pt_regs, r, syscallno)
enum nr {
	NR_READ = 63,
	NR_WRITE = 64,
	NR_READV = 65,
	NR_WRITEV = 66,
	NR_SENDTO = 206,
	NR_RECVFROM = 207,
	NR_SENDMSG = 211,
	NR_RECVMSG = 212,
	NR_RECVMMSG = 243,
	NR_SENDMMSG = 269,
};
#endif

/* How a system call says where its bytes are. */
enum shape {
	SHAPE_BUF, /* buf, len */
	SHAPE_IOV, /* iov, iovs */
	SHAPE_MSG, /* msghdr */
};

static __always_inline enum shape shape_of(__u32 nr)
{
	switch (nr) {
	case NR_READV:
	case NR_WRITEV:
		return SHAPE_IOV;
	case NR_SENDMSG:
	case NR_RECVMSG:
	case NR_SENDMMSG: /* begins with a msghdr */
		return SHAPE_MSG;
	default:
		return SHAPE_BUF;
	}
}

/* Fills the place of the bytes in; false if it can't be read. */
static __always_inline bool place(struct tap_call *c, enum shape shape,
				  __u64 addr, __u64 n)
{
	if (shape == SHAPE_BUF) {
		c->buf = (const char *)addr;
		return true;
	}
	if (shape == SHAPE_MSG) {
		/* msg_iov and msg_iovlen, in one piece. */
		addr += __builtin_offsetof(struct user_msghdr, msg_iov);
		if (bpf_probe_read_user(&c->iov, 16, (void *)addr)) {
			tap_count(TAP_C_READ_FAULTS);
			return false;
		}
	} else {
		c->iov = (const struct iovec *)addr;
		c->iovs = n;
	}
	if (c->iovs > 1024)
		c->iovs = 1024;
	return true;
}

/* Sum of what the iovecs hold, as far as it matters here. */
static __always_inline __u32 iov_bytes(const struct tap_call *c)
{
	struct iovec v;
	__u64 sum = 0;
	int i;

	for (i = 0; i < 8; i++) {
		if (i >= c->iovs ||
		    bpf_probe_read_user(&v, sizeof(v), c->iov + i))
			break;
		sum += v.iov_len;
	}
	return sum < 0x7fffffff ? sum : 0x7fffffff;
}

/*
 * Each program serves several tracepoints, which the agent attaches: one copy
 * of the core to load, and to keep in the instruction cache.
 */

SEC("tp")
int syscall_write_enter(struct enter_args *ctx)
{
	enum shape shape = shape_of(ctx->nr);
	struct task_struct *task = current_task();
	struct tap_call c = {};

	c.sk = sock_of_fd(task, ctx->arg[0]);
	if (!c.sk || !place(&c, shape, ctx->arg[1], ctx->arg[2]))
		return 0;
	if (shape == SHAPE_BUF)
		c.len = ctx->arg[2] < 0x7fffffff ? ctx->arg[2] : 0x7fffffff;
	else
		c.len = iov_bytes(&c);
	c.tgid = READ(struct task_struct, task, tgid);
	if (c.len)
		tap_sending(&c);
	return 0;
}

/*
 * Many messages in one call: on a TCP socket just a longer readv or writev.
 * Each is taken as a call of its own; more than MMSG_MAX are not looked into.
 * (What sendmmsg begins with, syscall_write_enter sees.)
 */
#define MMSG_MAX 16

struct mmsg {
	struct sock *sk;
	__u32 tgid;
	const struct mmsghdr *vec;
	__u32 n;
	__u32 after; /* bytes in those that are left */
	bool read;
};

static long mmsg_step(__u32 i, struct mmsg *m)
{
	struct tap_call c = { .sk = m->sk, .tgid = m->tgid };
	const struct mmsghdr *msg = m->vec + i;

	if (i >= m->n)
		return 1;
	if (bpf_probe_read_user(&c.len, sizeof(c.len), &msg->msg_len) ||
	    !place(&c, SHAPE_MSG, (__u64)&msg->msg_hdr, 0))
		return 1;
	m->after -= c.len;
	c.after = m->after;
	if (!c.len)
		return 0;
	if (m->read)
		tap_received(&c);
	else
		tap_sent(&c);
	return 0;
}

SEC("tp")
int syscall_mmsg_exit(struct exit_args *ctx)
{
	struct task_struct *task = current_task();
	struct mmsg m = { .n = ctx->ret, .read = ctx->nr == NR_RECVMMSG };
	struct pt_regs *r;
	__u32 i, len;

	if (ctx->ret <= 0)
		return 0;
	r = user_regs(task);
	if (m.read && REG3(r) & (MSG_PEEK | MSG_OOB | MSG_ERRQUEUE))
		return 0;
	m.sk = sock_of_fd(task, REG0(r));
	m.tgid = READ(struct task_struct, task, tgid);
	m.vec = (const struct mmsghdr *)REG1(r);
	if (!m.sk)
		return 0;
	if (m.n > MMSG_MAX) {
		tap_count(TAP_C_TRUNCATED);
		m.n = MMSG_MAX;
	}
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
int syscall_splice_exit(struct exit_args *ctx)
{
	struct task_struct *task = current_task();
	struct pt_regs *r;
	struct sock *sk;

	if (ctx->ret <= 0)
		return 0;
	r = user_regs(task);
	sk = sock_of_fd(task, REG0(r));
	if (sk)
		tap_moved(sk, TAP_RX);
	sk = sock_of_fd(task, REG2(r));
	if (sk)
		tap_moved(sk, TAP_TX);
	return 0;
}

#endif /* BPF_SYSCALL_BPF_H */
