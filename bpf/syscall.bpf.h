/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef BPF_SYSCALL_BPF_H
#define BPF_SYSCALL_BPF_H

/*
 * Shared by the front-ends that read the arguments of system calls: where the
 * bytes of a call are, and the programs that both front-ends have.
 */

#define TAP_SEES_MPTCP 1

#include "bpf/close.bpf.h"

struct syscall_enter_args {
	__u64 common;
	__u32 nr;
	__u32 pad;
	__u64 arg[6];
};

struct syscall_exit_args {
	__u64 common;
	__u32 nr;
	__u32 pad;
	long ret;
};

/*
 * The size of a kernel stack: 16 KiB on x86, and on arm64 with 4 KiB pages.
 * Only used before 5.15.
 */
const volatile __u32 tap_stack_bytes = 16384;

/* The registers of the system call under way: its number and arguments. */
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
#define REG4(r) READ(struct pt_regs, r, r8)
#define CALL_NR(r) READ(struct pt_regs, r, orig_ax)
enum syscall_nr {
	NR_READ = 0,
	NR_WRITE = 1,
	NR_READV = 19,
	NR_WRITEV = 20,
	NR_SENDTO = 44,
	NR_RECVFROM = 45,
	NR_SENDMSG = 46,
	NR_RECVMSG = 47,
	NR_SPLICE = 275,
	NR_RECVMMSG = 299,
	NR_SENDMMSG = 307,
};
#elif defined(__TARGET_ARCH_arm64)
#define REG0(r) READ(struct pt_regs, r, orig_x0)
#define REG1(r) READ(struct pt_regs, r, regs[1])
#define REG2(r) READ(struct pt_regs, r, regs[2])
#define REG3(r) READ(struct pt_regs, r, regs[3])
#define REG4(r) READ(struct pt_regs, r, regs[4])
#define CALL_NR(r) READ(struct pt_regs, r, syscallno)
enum syscall_nr {
	NR_READ = 63,
	NR_WRITE = 64,
	NR_READV = 65,
	NR_WRITEV = 66,
	NR_SENDTO = 206,
	NR_RECVFROM = 207,
	NR_SENDMSG = 211,
	NR_RECVMSG = 212,
	NR_SPLICE = 76,
	NR_RECVMMSG = 243,
	NR_SENDMMSG = 269,
};
#endif

/* How a system call passes the place of its bytes. */
enum syscall_shape {
	SHAPE_BUF, /* buf, len */
	SHAPE_IOV, /* iov, iovs */
	SHAPE_MSG, /* msghdr */
};

static __always_inline enum syscall_shape shape_of(__u32 nr)
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

/* Sets where the bytes of the call are; false if that can't be read. */
static __always_inline bool place(struct tap_call *c, enum syscall_shape shape,
				  __u64 addr, __u64 n)
{
	if (shape == SHAPE_BUF) {
		c->buf = (const char *)addr;
		return true;
	}
	if (shape == SHAPE_MSG) {
		/* Reads msg_iov and msg_iovlen at once. */
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

/* Iovecs of a write whose lengths are added up, at most. */
#define IOVS_SUMMED 8

/* Bytes in the first IOVS_SUMMED iovecs. */
static __always_inline __u32 iov_bytes(const struct tap_call *c)
{
	struct iovec v;
	__u64 sum = 0;
	int i;

	for (i = 0; i < IOVS_SUMMED; i++) {
		if (i >= c->iovs ||
		    bpf_probe_read_user(&v, sizeof(v), c->iov + i))
			break;
		sum += v.iov_len;
	}
	return at_most(sum, 0x7fffffff);
}

/*
 * Like others, this program serves several tracepoints, to which the agent
 * attaches it: the core is loaded, and is in the instruction cache, only once.
 */

SEC("tp")
int syscall_write_enter(struct syscall_enter_args *ctx)
{
	enum syscall_shape shape = shape_of(ctx->nr);
	struct task_struct *task = current_task();
	struct tap_call c = { .scratch = SCRATCH_ENTER };
	struct tap_conn *conn;

	c.sk = sock_of_fd(task, ctx->arg[0]);
	c.tgid = READ(struct task_struct, task, tgid);
	conn = c.sk ? tap_conn_of(c.sk, c.tgid, TAP_TX) : NULL;
	if (!conn)
		return 0;
	if (conn->flags & CONN_COUNTED) {
		conn->tx_entry_ns = bpf_ktime_get_ns();
		be_late(conn);
		return 0;
	}
	if (place(&c, shape, ctx->arg[1], ctx->arg[2]))
		c.len = shape == SHAPE_BUF ? at_most(ctx->arg[2], 0x7fffffff)
					   : iov_bytes(&c);
	if (!c.len)
		be_late(conn); /* what it writes is not known */
	else if (ctx->nr == NR_SENDMMSG || c.iovs > IOVS_SUMMED)
		tap_writing_late(&c, conn);
	else
		tap_writing(&c, conn);
	return 0;
}

#endif /* BPF_SYSCALL_BPF_H */
