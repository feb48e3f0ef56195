/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef BPF_KERNEL_H
#define BPF_KERNEL_H

/*
 * The few kernel types that we read, with only the fields that we read: CO-RE
 * finds their real offsets when the programs are loaded, so that building needs
 * neither a generated vmlinux.h nor BTF. Fields are named as in Linux 5.10 and
 * later; for a field that was renamed since, a flavour of the struct (___vN)
 * has the other name.
 */

#include <linux/bpf.h>
#include <linux/types.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

typedef _Bool bool;
#define true 1
#define false 0
#define NULL ((void *)0)

#define AF_INET 2
#define AF_INET6 10
#define SOCK_STREAM 1
#define IPPROTO_TCP 6
#define IPPROTO_MPTCP 262
#define S_IFMT 0170000
#define S_IFSOCK 0140000
#define SOCK_DONE 1 /* bit number in skc_flags: the peer's FIN has come */
#define MSG_OOB 0x1
#define MSG_PEEK 0x2
#define MSG_TRUNC 0x20
#define MSG_ERRQUEUE 0x2000

/* include/net/tcp_states.h */
#define TCP_ESTABLISHED 1
#define TCP_SYN_SENT 2
#define TCP_FIN_WAIT1 4
#define TCP_CLOSE 7
#define TCP_CLOSE_WAIT 8
#define TCP_LAST_ACK 9

struct iovec; /* not relocated: see below */

#pragma clang attribute push(__attribute__((preserve_access_index)),           \
			     apply_to = record)

struct list_head {
	struct list_head *next;
};

struct in6_addr {
	union {
		__u8 u6_addr8[16];
	} in6_u;
};

struct sock_common {
	__u32 skc_daddr;
	__u32 skc_rcv_saddr;
	__u16 skc_dport; /* network order */
	__u16 skc_num; /* host order */
	unsigned short skc_family;
	volatile unsigned char skc_state;
	unsigned long skc_flags;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
};

/*
 * Where the bytes of a call on a socket are. Before 5.14 the type shares its
 * field with the direction; before 6.4 __iov was called iov, and before 6.0
 * there was no ubuf.
 */
struct iov_iter {
	__u8 iter_type;
	unsigned long iov_offset;
	unsigned long count;
	void *ubuf;
	const struct iovec *__iov;
	unsigned long nr_segs;
};

struct iov_iter___v6_3 {
	const struct iovec *iov;
};

struct iov_iter___v5_13 {
	unsigned int type;
};

enum iter_type {
	ITER_UBUF = 0,
	ITER_IOVEC = 1,
};

struct msghdr {
	struct iov_iter msg_iter;
};

struct sock {
	struct sock_common __sk_common;
	__u16 sk_protocol;
	int sk_err;
	int sk_sndbuf;
	int sk_wmem_queued;
};

struct tcp_sock {
	__u32 copied_seq;
	__u32 rcv_nxt;
	__u32 write_seq;
	__u8 fastopen_connect : 1;
	void *fastopen_req;
};

struct socket {
	short type;
	struct sock *sk;
};

struct super_block {
	__u32 s_dev;
};

struct inode {
	unsigned short i_mode;
	struct super_block *i_sb;
	unsigned long i_ino;
	long long i_size;
};

struct linux_binprm {
	struct file *file;
};

struct file {
	void *private_data;
	struct inode *f_inode;
};

struct fdtable {
	unsigned int max_fds;
	struct file **fd;
};

struct files_struct {
	struct fdtable *fdt;
};

struct task_struct {
	void *stack;
	int tgid;
	struct task_struct *group_leader;
	__u64 start_boottime;
	struct files_struct *files;
	char comm[16];
};

#if defined(__TARGET_ARCH_x86)
struct pt_regs {
	unsigned long r10, r8, ax, cx, dx, si, di, orig_ax, sp;
};
#elif defined(__TARGET_ARCH_arm64)
struct pt_regs {
	__u64 regs[31];
	__u64 sp;
	__u64 orig_x0;
	__s32 syscallno;
};
#else
#error "no syscall argument registers known for this architecture"
#endif

#pragma clang attribute pop

/*
 * Since 6.2: makes a typed pointer, whose fields are then plain loads (a fault
 * reads as 0). Before that each field is a call of bpf_probe_read_kernel(),
 * some 40 ns on CPUs whose returns are mitigated. READ() takes the better one.
 */
extern void *bpf_rdonly_cast(const void *obj, __u32 btf_id) __ksym __weak;

#define READ(type, ptr, field)                                                 \
	(bpf_rdonly_cast ? ((type *)bpf_rdonly_cast(                           \
				    ptr, bpf_core_type_id_kernel(type)))       \
				   ->field                                     \
			 : BPF_CORE_READ((type *)(ptr), field))

/* What programs pass to system calls: an ABI, so not relocated. */

struct iovec {
	void *iov_base;
	__u64 iov_len;
};

struct user_msghdr {
	void *msg_name;
	int msg_namelen;
	struct iovec *msg_iov;
	__u64 msg_iovlen;
	void *msg_control;
	__u64 msg_controllen;
	unsigned int msg_flags;
};

struct mmsghdr {
	struct user_msghdr msg_hdr;
	unsigned int msg_len;
};

#endif /* BPF_KERNEL_H */
