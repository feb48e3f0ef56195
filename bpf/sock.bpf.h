/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef BPF_SOCK_BPF_H
#define BPF_SOCK_BPF_H

/* Sockets: by file descriptor; their positions, room, state and addresses. */

#include "bpf/kernel.h"
#include "bpf/tap.h"

/* The current task; a typed pointer where the kernel has one (5.11). */
static __always_inline struct task_struct *current_task(void)
{
	if (bpf_core_enum_value_exists(enum bpf_func_id,
				       BPF_FUNC_get_current_task_btf))
		return bpf_get_current_task_btf();
	return (void *)bpf_get_current_task();
}

/* The open file behind fd; NULL if there is none. */
static __always_inline struct file *file_of_fd(struct task_struct *task,
					       unsigned int fd)
{
	struct files_struct *files = READ(struct task_struct, task, files);
	struct fdtable *fdt = READ(struct files_struct, files, fdt);
	struct file **table = READ(struct fdtable, fdt, fd);
	struct file *file = NULL;

	if (fd >= READ(struct fdtable, fdt, max_fds))
		return NULL;
	/* To read a pointer, any struct that begins with one will do. */
	if (bpf_rdonly_cast)
		return (void *)READ(struct list_head, table + fd, next);
	bpf_probe_read_kernel(&file, sizeof(file), table + fd);
	return file;
}

/*
 * Is sk the socket behind fd? Need not know what kind of file it is: only a
 * socket's private_data leads to sk.
 */
static __always_inline bool is_at_fd(struct task_struct *task, unsigned int fd,
				     struct sock *sk)
{
	struct file *file = file_of_fd(task, fd);
	struct socket *socket;

	if (!file)
		return false;
	socket = READ(struct file, file, private_data);
	return socket && READ(struct socket, socket, sk) == sk;
}

/* The socket behind fd; NULL for anything else. */
static __always_inline struct sock *sock_of_fd(struct task_struct *task,
					       unsigned int fd)
{
	struct file *file = file_of_fd(task, fd);
	struct socket *socket;
	struct inode *inode;

	if (!file)
		return NULL;
	inode = READ(struct file, file, f_inode);
	if ((READ(struct inode, inode, i_mode) & S_IFMT) != S_IFSOCK)
		return NULL;
	socket = READ(struct file, file, private_data);
	return READ(struct socket, socket, sk);
}

/* TCP, or MPTCP. */
static __always_inline bool sock_is_tcp(struct sock *sk)
{
	__u16 family = READ(struct sock, sk, __sk_common.skc_family), protocol;

	if (family != AF_INET && family != AF_INET6)
		return false;
	protocol = READ(struct sock, sk, sk_protocol);
	return protocol == IPPROTO_TCP || protocol == IPPROTO_MPTCP;
}

static __always_inline bool sock_is_mptcp(struct sock *sk)
{
	return READ(struct sock, sk, sk_protocol) == IPPROTO_MPTCP;
}

/*
 * Position of the next byte that the program will write. After it shut its side
 * down, the FIN counts too: read it before (tap_ended()).
 */
static __always_inline __u32 sock_tx_seq(struct sock *sk)
{
	return READ(struct tcp_sock, sk, write_seq);
}

/*
 * A byte costs the kernel more than a byte of the send buffer. We assume twice
 * its size, and this much on top.
 */
#define ROOM_SPARE 4096

/* Will the socket take a write of len bytes whole, and at once? */
static __always_inline bool sock_has_room(struct sock *sk, __u32 len)
{
	__u8 state = READ(struct sock, sk, __sk_common.skc_state);
	int room = READ(struct sock, sk, sk_sndbuf) -
		   READ(struct sock, sk, sk_wmem_queued);

	return (state == TCP_ESTABLISHED || state == TCP_CLOSE_WAIT) &&
	       room > ROOM_SPARE && len <= (__u32)(room - ROOM_SPARE) / 2;
}

/*
 * Is this a socket that connects by TCP fast open, or may do so? Then its first
 * write goes with the SYN.
 */
static __always_inline bool sock_opens_fast(struct sock *sk)
{
	struct tcp_sock *tp = (struct tcp_sock *)sk;

	return BPF_CORE_READ(tp, fastopen_req) ||
	       BPF_CORE_READ_BITFIELD_PROBED(tp, fastopen_connect);
}

/* Has the connection not been established yet? */
static __always_inline bool sock_is_opening(struct sock *sk)
{
	__u8 state = READ(struct sock, sk, __sk_common.skc_state);

	return state == TCP_SYN_SENT || state == TCP_CLOSE;
}

/*
 * Position of the next byte that the program will read. A read that reaches the
 * peer's FIN consumes its sequence number together with the bytes before it: it
 * is taken off again.
 */
static __always_inline __u32 sock_rx_seq(struct sock *sk)
{
	__u32 seq = READ(struct tcp_sock, sk, copied_seq);

	if (READ(struct sock, sk, __sk_common.skc_flags) & (1ul << SOCK_DONE) &&
	    READ(struct tcp_sock, sk, rcv_nxt) == seq)
		seq--;
	return seq;
}

/* Has the peer's FIN come, and has everything before it been read? */
static __always_inline bool sock_all_read(struct sock *sk)
{
	return READ(struct sock, sk, __sk_common.skc_flags) &
		       (1ul << SOCK_DONE) &&
	       READ(struct tcp_sock, sk, rcv_nxt) -
			       READ(struct tcp_sock, sk, copied_seq) <=
		       1;
}

static __always_inline void sock_addresses(struct sock *sk,
					   struct tap_rec_open *o)
{
	struct sock_common *c = &sk->__sk_common;

	o->family = BPF_CORE_READ(c, skc_family);
	o->local_port = BPF_CORE_READ(c, skc_num);
	o->remote_port = __builtin_bswap16(BPF_CORE_READ(c, skc_dport));
	__builtin_memset(o->local_addr, 0, sizeof(o->local_addr));
	__builtin_memset(o->remote_addr, 0, sizeof(o->remote_addr));
	if (o->family == AF_INET6) {
		BPF_CORE_READ_INTO(&o->local_addr, c, skc_v6_rcv_saddr);
		BPF_CORE_READ_INTO(&o->remote_addr, c, skc_v6_daddr);
	} else {
		*(__u32 *)o->local_addr = BPF_CORE_READ(c, skc_rcv_saddr);
		*(__u32 *)o->remote_addr = BPF_CORE_READ(c, skc_daddr);
	}
}

#endif /* BPF_SOCK_BPF_H */
