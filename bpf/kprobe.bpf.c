/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */

/*
 * Front-end `kprobe`: hooks the same functions as fentry, on kernels without
 * it.
 *
 * A kernel has only a few instances of a return probe per function, and each
 * thread that waits inside tcp_recvmsg() would hold one: once all are held,
 * reads of other threads would be missed silently. So reads are observed in the
 * middle, after bytes were copied out and before the lock is released: by the
 * tracepoint tcp_rcv_space_adjust. It runs once per buffer of the kernel, so
 * one call may be seen as several. Writes do have a return probe: writers
 * seldom wait.
 */

#define TAP_FRONT TAP_FRONT_KPROBE
#define TAP_EOF_BY_STATE 1

#include "bpf/tcp.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* The call that a thread is making. */
struct kprobe_call {
	struct sock *sk;
	/* NULL: the bytes are not in the program's memory */
	struct msghdr *msg;
	__u64 left; /* reads: room left in msg when last seen */
	__u32 flags;
	__u32 pad;
};

/*
 * Threads that are inside a read or write; if there are more, those that wait
 * longest are evicted. LRU also because a thread's end is not observed.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, __u64);
	__type(value, struct kprobe_call);
} kprobe_calls SEC(".maps");

#if defined(__TARGET_ARCH_x86)
#define ARG0(r) ((r)->di)
#define ARG1(r) ((r)->si)
#define ARG3(r) ((r)->cx)
#define ARG4(r) ((r)->r8)
#define RET(r) ((r)->ax)
#elif defined(__TARGET_ARCH_arm64)
#define ARG0(r) ((r)->regs[0])
#define ARG1(r) ((r)->regs[1])
#define ARG3(r) ((r)->regs[3])
#define ARG4(r) ((r)->regs[4])
#define RET(r) ((r)->regs[0])
#endif

static __always_inline void call_begins(struct sock *sk, struct msghdr *msg,
					__u32 flags)
{
	__u64 key = bpf_get_current_pid_tgid();
	struct kprobe_call call = { .sk = sk, .msg = msg, .flags = flags };
	struct kprobe_call *was = bpf_map_lookup_elem(&kprobe_calls, &key);

	if (msg)
		call.left = TCP_READ(msg, msg_iter.count);
	if (was)
		*was = call;
	else
		bpf_map_update_elem(&kprobe_calls, &key, &call, BPF_ANY);
}

SEC("kprobe/tcp_sendmsg")
int kprobe_sendmsg(struct pt_regs *ctx)
{
	struct msghdr *msg = (struct msghdr *)ARG1(ctx);
	struct sock *sk = (struct sock *)ARG0(ctx);

	call_begins(sk, msg, 0);
	tcp_sending(sk, msg);
	return 0;
}

SEC("kretprobe/tcp_sendmsg")
int kretprobe_sendmsg(struct pt_regs *ctx)
{
	__u64 key = bpf_get_current_pid_tgid();
	struct kprobe_call *call = bpf_map_lookup_elem(&kprobe_calls, &key);
	int ret = RET(ctx);

	if (!call) {
		tap_count(TAP_C_LOST_RECORDS);
		return 0;
	}
	if (call->sk && call->msg)
		tcp_sent(call->sk, call->msg, ret);
	call->sk = NULL;
	return 0;
}

SEC("kprobe/tcp_recvmsg")
int kprobe_recvmsg(struct pt_regs *ctx)
{
	__u32 flags = TCP_RECVMSG_FLAGS(ARG3(ctx), ARG4(ctx));
	struct sock *sk = (struct sock *)ARG0(ctx);

	call_begins(sk, (struct msghdr *)ARG1(ctx), flags);
	if (!(flags & (MSG_PEEK | MSG_OOB | MSG_ERRQUEUE)) && sock_all_read(sk))
		tap_ended(sk, TAP_RX);
	return 0;
}

SEC("raw_tp/tcp_rcv_space_adjust")
int tcp_rcv_space_adjust(struct bpf_raw_tracepoint_args *ctx)
{
	struct sock *sk = (struct sock *)ctx->args[0];
	__u64 key = bpf_get_current_pid_tgid(), left, got;
	struct kprobe_call *call = bpf_map_lookup_elem(&kprobe_calls, &key);
	struct msghdr *msg = call ? call->msg : NULL;

	if (!msg || call->sk != sk) {
		tap_moved(sk, TAP_RX,
			  0); /* splice, or a reader in the kernel */
		return 0;
	}
	if (call->flags & (MSG_PEEK | MSG_OOB | MSG_ERRQUEUE))
		return 0;
	left = TCP_READ(msg, msg_iter.count);
	got = call->left - left;
	call->left = left;
	if (got == 0 || got > 0x7fffffff) /* MSG_TRUNC */
		tap_moved(sk, TAP_RX, 0);
	else
		tcp_received(sk, msg, got);
	return 0;
}

/* What this thread reads until its next tcp_recvmsg() is not that call's. */
SEC("kprobe/tcp_splice_read")
int kprobe_splice_read(struct pt_regs *ctx)
{
	__u64 key = bpf_get_current_pid_tgid();

	bpf_map_delete_elem(&kprobe_calls, &key);
	return 0;
}

/* Before 6.5; since then sendfile and splice come through tcp_sendmsg(). */
SEC("kprobe/tcp_sendpage")
int kprobe_sendpage(struct pt_regs *ctx)
{
	call_begins((struct sock *)ARG0(ctx), NULL, 0);
	return 0;
}

SEC("kretprobe/tcp_sendpage")
int kretprobe_sendpage(struct pt_regs *ctx)
{
	__u64 key = bpf_get_current_pid_tgid();
	struct kprobe_call *call = bpf_map_lookup_elem(&kprobe_calls, &key);

	if (call && call->sk && (int)RET(ctx) > 0)
		tap_moved(call->sk, TAP_TX, 0);
	return 0;
}
