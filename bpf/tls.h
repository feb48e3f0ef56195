/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef BPF_TLS_H
#define BPF_TLS_H

/*
 * What the uprobes on TLS libraries keep, and what they report to the agent.
 * Shared by both, so fixed-width types only.
 *
 * A TLS call names a session (an SSL *) but no socket. Two things show which
 * socket it uses:
 *   - the socket calls made inside the TLS call, by the same thread
 *   - for sessions that are fed from memory (node, asyncio): the socket that
 *     this thread read last, if no other session was used since then
 *
 * Once found, the socket is remembered, and compared with what later calls
 * show.
 */

#ifdef __bpf__
/* kernel.h has the types */
#else
#include <assert.h>
#include <linux/types.h>
#endif

enum tls_op {
	TLS_READ,
	TLS_WRITE,
	TLS_HANDSHAKE, /* moves no plain text; shows the socket early */
};

enum tls_thread_flag {
	TLS_F_EOF = 1 << 0, /* the socket was read to its end in the call */
	TLS_F_MANY = 1 << 1, /* more than one socket was used in it */
	TLS_F_COUNT = 1 << 2, /* returns 1, and stores a count by pointer */
	TLS_F_LONG = 1 << 3, /* returns a long, not an int */
	TLS_F_END = 1 << 4, /* with TLS_F_COUNT: 0 means end of stream */
	/* another session was used in it: TLS inside TLS */
	TLS_F_INNER = 1 << 5,
};

/* State of a thread. The key is its pid_tgid. */
struct tls_thread {
	/* The TLS call under way. */
	__u64 session; /* 0: none */
	__u64 buf;
	__u64 count; /* where TLS_F_COUNT calls store their count */
	__u64 sp; /* stack pointer: tells the call from nested ones */
	__u64 entry_ns;
	/* The socket used inside it; 0: none yet. */
	__u64 sock;
	__u64 born_ns;
	/* The last read of a TLS socket outside any TLS call. */
	__u64 read_sock;
	__u64 read_born_ns;
	__u64 read_session; /* first session used after it; 0: none yet */
	__u32 read_len;
	__u8 op; /* enum tls_op */
	__u8 flags; /* enum tls_thread_flag */
	__u8 front; /* enum tap_front */
	__u8 pad;
};

struct tls_key {
	__u64 session;
	__u32 tgid;
	__u32 pad;
};

/* What is known of a session: its socket, and a write that will be retried. */
struct tls_session {
	__u64 sock; /* 0: not known */
	__u64 born_ns; /* of the socket's own entry in tap_conns */
	/* A write that was refused and will be made again. */
	__u64 retry_ns; /* when it was first made; 0: none */
	__u64 retry_buf;
	__u64 inner; /* 1: it goes through another session */
};

/* What identifies a file in the kernel. */
struct tls_file {
	__u64 device;
	__u64 inode;
	__u64 size;
};

/* A process has started to run that file, or (tls_mmap.c) has mapped it. */
struct tls_event {
	__u32 tgid;
	__u32 pad;
	struct tls_file file;
};

#ifndef __bpf__
static_assert(sizeof(struct tls_thread) == 88, "value of tls_threads");
static_assert(sizeof(struct tls_event) == 32, "wire of the event ring");
#endif

#endif /* BPF_TLS_H */
