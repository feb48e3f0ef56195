/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef BPF_CALL_BPF_H
#define BPF_CALL_BPF_H

/* One call on a socket, as front-ends pass it to the core; and the counters. */

#include "bpf/maps.bpf.h"
#include "bpf/tap.h"

/*
 * Where a program keeps the call that it copies, in tap_scratches: each program
 * of an object has a place of its own.
 */
enum tap_scratch_key {
	SCRATCH_SENDING, /* a write begins */
	SCRATCH_ENTER, /* a system call begins, beside SCRATCH_SENDING */
	SCRATCH_SENT,
	SCRATCH_RECEIVED,
	SCRATCH_MMSG,
	SCRATCH_MMSG_CALL, /* not of a copy */
	TAP_SCRATCHES
};

/*
 * One call on a socket, and where its bytes are in the program's memory.
 * Ordered without padding: the BPF stack is short.
 */
struct tap_call {
	struct sock *sk;
	const char *buf; /* the bytes if iov is NULL, else the first of them */
	const struct iovec *iov; /* iov and iovs: as in a msghdr */
	__u64 iovs;
	__u32 tgid; /* the calling process */
	__u32 len; /* bytes moved, or about to be moved */
	/*
	 * Bytes that the same system call moved after these; -len: the call
	 * begins.
	 */
	__u32 after;
	__u32 first; /* bytes at buf, before those in iov; <= len */
	__u32 twin; /* TAP_TWIN: plain text from inside the socket's TLS */
	__u32 skip; /* bytes at its beginning that were inspected before */
	__u32 scratch; /* enum tap_scratch_key of the program that runs */
};

/*
 * System calls pass iovecs in the program's memory. Functions inside the kernel
 * get a copy of them in kernel memory, and may begin in the middle of one.
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
