/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */

/*
 * Front-end `fentry`: entry and return of tcp_sendmsg() and tcp_recvmsg(); the
 * cheapest. Sees whatever reaches them: system calls of 64-bit and 32-bit
 * programs, io_uring, and of sendfile and splice how many bytes they moved.
 * Needs a kernel with BTF, and on arm64 Linux 6.0.
 */

#define TAP_FRONT TAP_FRONT_FENTRY
#define TCP_TYPED

#include "bpf/tcp.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/*
 * The return value of a function that has args arguments; the kernel stores it
 * after them. Their number differs between kernels, so kernels that can be
 * asked for the value are asked (5.17); on all older ones it is args.
 */
#define RETURNED(ctx, args)                                                    \
	({                                                                     \
		__u64 ret_ = 0;                                                \
		if (bpf_core_enum_value_exists(enum bpf_func_id,               \
					       BPF_FUNC_get_func_ret))         \
			bpf_get_func_ret(ctx, &ret_);                          \
		else                                                           \
			ret_ = (ctx)[args];                                    \
		(int)ret_;                                                     \
	})

SEC("fentry/tcp_sendmsg")
int fentry_sendmsg(__u64 *ctx)
{
	tcp_sending((struct sock *)ctx[0], (struct msghdr *)ctx[1]);
	return 0;
}

SEC("fexit/tcp_sendmsg")
int fexit_sendmsg(__u64 *ctx)
{
	tcp_sent((struct sock *)ctx[0], (struct msghdr *)ctx[1],
		 RETURNED(ctx, 3));
	return 0;
}

SEC("fexit/tcp_recvmsg")
int fexit_recvmsg(__u64 *ctx)
{
	struct sock *sk = (struct sock *)ctx[0];
	int ret = RETURNED(ctx, 6);
	__u32 flags;

	if (ret < 0)
		return 0;
	flags = TCP_RECVMSG_FLAGS(ctx[3], ctx[4]);
	if (flags & (MSG_PEEK | MSG_OOB | MSG_ERRQUEUE))
		return 0;
	if (ret == 0) {
		/* EOF, unless 0 bytes were asked for. */
		if (ctx[2])
			tap_ended(sk, TAP_RX);
		return 0;
	}
	if (flags & MSG_TRUNC)
		tap_moved(sk, TAP_RX, 0);
	else
		tcp_received(sk, (struct msghdr *)ctx[1], ret);
	return 0;
}

/* Before 6.5; since then sendfile and splice come through tcp_sendmsg(). */
SEC("fexit/tcp_sendpage")
int fexit_sendpage(__u64 *ctx)
{
	if (RETURNED(ctx, 5) > 0)
		tap_moved((struct sock *)ctx[0], TAP_TX, 0);
	return 0;
}

SEC("fexit/tcp_splice_read")
int fexit_splice_read(__u64 *ctx)
{
	if (RETURNED(ctx, 5) > 0)
		tap_moved(((struct socket *)ctx[0])->sk, TAP_RX, 0);
	return 0;
}
