/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef BPF_TCP_BPF_H
#define BPF_TCP_BPF_H

/*
 * Shared by the front-ends inside TCP: finding the bytes of tcp_sendmsg() and
 * tcp_recvmsg() by the message's iterator. When the call returns, the iterator
 * has advanced past the bytes, so they are found by going back. Iovecs are in
 * kernel memory here: the system call has copied them.
 */

#define TAP_KERNEL_IOVEC

#include "bpf/close.bpf.h"

/*
 * Reads one field of a msghdr. fentry programs have typed arguments and can
 * simply load it.
 */
#ifdef TCP_TYPED
#define TCP_READ(p, field) ((p)->field)
#else
#define TCP_READ(p, field) READ(struct msghdr, p, field)
#endif

/* Iovecs of one call to go back over: as many as a call can have. */
#define TCP_BACK_MAX 1024

/*
 * Index of tcp_recvmsg()'s argument flags: 3, or 4 before 5.19, which dropped
 * the argument nonblock. Set by the agent, which reads the kernel's BTF.
 */
const volatile __u32 tcp_recvmsg_flags_arg = 3;

/*
 * Loads the one or the other argument. The barriers keep the compiler from
 * choosing an address first and loading from that, which the verifier refuses.
 */
#define TCP_RECVMSG_FLAGS(arg3, arg4)                                          \
	({                                                                     \
		__u32 flags_;                                                  \
		if (tcp_recvmsg_flags_arg == 3) {                              \
			flags_ = (arg3);                                       \
			asm volatile("" : "+r"(flags_));                       \
		} else {                                                       \
			flags_ = (arg4);                                       \
			asm volatile("" : "+r"(flags_));                       \
		}                                                              \
		flags_;                                                        \
	})

/*
 * Only these iterators can be read: others (pages, kernel memory) hold no HTTP
 * heads.
 */
enum tcp_where {
	TCP_ELSEWHERE,
	TCP_UBUF, /* one buffer */
	TCP_IOVEC,
};

static __always_inline enum tcp_where where(struct msghdr *msg)
{
	struct iov_iter___v5_13 *old = (void *)&msg->msg_iter;
	__u32 type;

	if (bpf_core_field_exists(msg->msg_iter.iter_type))
		type = TCP_READ(msg, msg_iter.iter_type);
	else
		type = BPF_CORE_READ(old, type) & ~1;
	if (bpf_core_enum_value_exists(enum iter_type, ITER_UBUF) &&
	    type == bpf_core_enum_value(enum iter_type, ITER_UBUF))
		return TCP_UBUF;
	if (type == bpf_core_enum_value(enum iter_type, ITER_IOVEC))
		return TCP_IOVEC;
	return TCP_ELSEWHERE;
}

static __always_inline const struct iovec *iovecs(struct msghdr *msg)
{
	struct iov_iter___v6_3 *old = (void *)&msg->msg_iter;

	if (bpf_core_field_exists(msg->msg_iter.__iov))
		return READ(struct msghdr, msg, msg_iter.__iov);
	return BPF_CORE_READ(old, iov);
}

/*
 * Locates the bytes that the call is about to take. False: they can't be read.
 */
static __always_inline bool place_ahead(struct tap_call *c, struct msghdr *msg)
{
	__u64 off = TCP_READ(msg, msg_iter.iov_offset), segs;
	enum tcp_where at = where(msg);
	const struct iovec *iov;
	struct iovec v;

	if (at == TCP_UBUF) {
		c->buf = READ(struct msghdr, msg, msg_iter.ubuf) + off;
		return true;
	}
	if (at != TCP_IOVEC)
		return false;
	iov = iovecs(msg);
	segs = TCP_READ(msg, msg_iter.nr_segs);
	if (!segs || bpf_probe_read_kernel(&v, sizeof(v), iov))
		return false;
	c->buf = v.iov_base + off;
	if (segs > 1) {
		c->first = v.iov_len - off < c->len ? v.iov_len - off : c->len;
		c->iov = iov + 1;
		c->iovs = segs < 1024 ? segs - 1 : 1023;
	}
	return true;
}

/* Going back over the iovecs that a call has used up. */
struct tcp_back {
	const struct iovec *iov;
	struct iovec v; /* *iov */
	__u32 need; /* bytes still to be found before iov */
	__u32 steps;
};

/*
 * Goes back one iovec. Returns 1 if the call began there, or if it can't be
 * read.
 */
static long back_step(__u32 i, struct tcp_back *b)
{
	b->iov--;
	b->steps++;
	if (bpf_probe_read_kernel(&b->v, sizeof(b->v), b->iov))
		return 1;
	if (b->v.iov_len >= b->need) {
		b->v.iov_base += b->v.iov_len - b->need;
		b->v.iov_len = b->need;
		b->need = 0;
		return 1;
	}
	b->need -= b->v.iov_len;
	return 0;
}

/*
 * Locates the last c->len bytes that the iterator went over. Returns false if
 * they can't be read.
 */
static __noinline int place_behind(struct tap_call *c, struct msghdr *msg)
{
	__u64 off = TCP_READ(msg, msg_iter.iov_offset);
	enum tcp_where at = where(msg);
	struct tcp_back b = {};
	int i;

	if (at == TCP_UBUF) {
		c->buf = READ(struct msghdr, msg, msg_iter.ubuf) + off - c->len;
		return off >= c->len;
	}
	if (at != TCP_IOVEC)
		return false;
	b.iov = iovecs(msg);
	if (off >= c->len) {
		if (bpf_probe_read_kernel(&b.v, sizeof(b.v), b.iov))
			return false;
		c->buf = b.v.iov_base + off - c->len;
		return true;
	}
	b.need = c->len - off;
	if (back_step(0, &b) && b.need)
		return false;
	if (b.need) {
		if (bpf_core_enum_value_exists(enum bpf_func_id,
					       BPF_FUNC_loop)) {
			bpf_loop(TCP_BACK_MAX, back_step, &b, 0);
		} else {
			for (i = 1; i < TAP_STEPS_SHORT; i++)
				if (back_step(i, &b))
					break;
		}
		if (b.need)
			return false;
	}
	c->buf = b.v.iov_base;
	if (b.v.iov_len < c->len) {
		c->first = b.v.iov_len;
		c->iov = b.iov + 1;
		/* Includes the iovec that the iterator is in. */
		c->iovs = b.steps - 1 + (off > 0);
	}
	return true;
}

static __always_inline __u32 caller(void)
{
	return bpf_get_current_pid_tgid() >> 32;
}

/* tcp_sendmsg() begins. */
static __always_inline void tcp_sending(struct sock *sk, struct msghdr *msg)
{
	struct tap_call c = { .sk = sk,
			      .tgid = caller(),
			      .scratch = SCRATCH_SENDING };
	struct tap_conn *conn = tap_conn_of(sk, c.tgid, TAP_TX);
	__u64 len = TCP_READ(msg, msg_iter.count);

	c.len = len < 0x7fffffff ? len : 0x7fffffff;
	if (!conn || !c.len)
		return;
	if (place_ahead(&c, msg))
		tap_writing(&c, conn);
	else
		tap_passing(sk, conn, c.len);
}

/* tcp_sendmsg() returns: it took len bytes, or failed if len <= 0. */
static __always_inline void tcp_sent(struct sock *sk, struct msghdr *msg,
				     int len)
{
	struct tap_call c = { .sk = sk, .len = len, .scratch = SCRATCH_SENT };
	struct tap_conn *conn;

	if (!tap_late)
		return;
	if (len <= 0) {
		tap_refused(sk);
		return;
	}
	c.tgid = caller();
	conn = tap_returned(sk, c.tgid);
	if (!conn || tap_sent_seen(sk, conn))
		return;
	if (place_behind(&c, msg))
		tap_sent(&c, conn);
	else
		tap_passed(sk, conn, TAP_TX, 0, len);
}

/* tcp_recvmsg() has put len > 0 bytes into msg. */
static __always_inline void tcp_received(struct sock *sk, struct msghdr *msg,
					 __u32 len)
{
	struct tap_call c = { .sk = sk,
			      .tgid = caller(),
			      .len = len,
			      .scratch = SCRATCH_RECEIVED };
	struct tap_conn *conn = tap_conn_of(sk, c.tgid, TAP_RX);

	if (!conn)
		return;
	if (place_behind(&c, msg))
		tap_received(&c, conn);
	else
		tap_passed(sk, conn, TAP_RX, 0, len);
}

#endif /* BPF_TCP_BPF_H */
