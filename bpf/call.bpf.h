/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef BPF_CALL_BPF_H
#define BPF_CALL_BPF_H

/* A call on a socket, as front-ends hand it to the core; and counting. */

#include "bpf/maps.bpf.h"
#include "bpf/tap.h"

/*
 * One call on a socket, and where its bytes are in the program's memory. The
 * stack is short: no holes.
 */
struct tap_call {
	struct sock *sk;
	const char *buf; /* if iov is NULL; also the first ones: see first */
	const struct iovec *iov; /* this and the next one as in a msghdr */
	__u64 iovs;
	__u32 tgid; /* the process that makes it */
	__u32 len; /* bytes moved, or to be moved */
	__u32 after; /* bytes that the same system call moved behind them */
	__u32 first; /* bytes at buf, before those in iov; <= len */
	__u32 twin; /* TAP_TWIN: it is the plain text of the socket's TLS */
};

/*
 * System calls have their iovecs in the program's memory. Calls inside the
 * kernel have copies of them, and may begin in the midst of one.
 */
#ifdef TAP_KERNEL_IOVEC
#define READ_IOVEC bpf_probe_read_kernel
#define FIRST(call) ((call)->first)
#else
#define READ_IOVEC bpf_probe_read_user
#define FIRST(call) 0
#endif

static __always_inline void tap_count(__u32 counter)
{
	__u64 *v = bpf_map_lookup_elem(&tap_counters, &counter);

#ifdef TAP_PREEMPTIBLE
	if (v)
		__sync_fetch_and_add(v, 1);
#else
	if (v)
		(*v)++;
#endif
}

#endif /* BPF_CALL_BPF_H */
