/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef BPF_COPY_BPF_H
#define BPF_COPY_BPF_H

/* Records: filling, sending, and copying a call into them piece by piece. */

#include "bpf/scan.bpf.h"
#include "bpf/sock.bpf.h"

/* Flags that the later pieces of a call have too. */
#ifndef TAP_F_KEEP
#define TAP_F_KEEP TAP_F_ENTRY
#endif

/* Bytes of one call that are copied at most, … */
#define TAP_CALL_MAX (64 * 1024)
/* … and of one that brings a request with a body. */
#define TAP_BODY_MAX (16 * 1024)
/* Pieces and iovecs of one call that are gone through at most … */
#define TAP_STEPS_MAX 192
/* … and before bpf_loop() (5.17), where the verifier walks each of them. */
#define TAP_STEPS_SHORT 16
/* A head this long that has not ended is given up. */
#define TAP_HEAD_MAX (64 * 1024)

/* --- records --- */

static __always_inline void fill_record(struct tap_record *r, __u64 sk,
					const struct tap_conn *conn, __u8 type)
{
	r->type = type;
	r->dir = 0;
	r->flags = 0;
	r->front = TAP_FRONT;
	r->tgid = conn->tgid;
	r->sock = sk;
	r->born_ns = conn->born_ns;
	r->done = conn->done;
}

/*
 * Records are never announced: a wake-up costs more than fifty records. The
 * agent drains by a timer, and the ring holds what comes in many of its turns.
 */
static __always_inline void submit(void *record)
{
	bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
}

/* Tells who has the connection, the first time and when it changes hands. */
static __noinline int open_record(struct sock *sk, __u32 twin,
				  struct tap_conn *conn)
{
	struct task_struct *leader =
		READ(struct task_struct, current_task(), group_leader);
	struct tap_open *o;

	if (!conn)
		return 0;
	o = bpf_ringbuf_reserve(&tap_ring, sizeof(*o), 0);
	if (!o) {
		tap_count(TAP_C_LOST_RECORDS);
		return -1;
	}
	conn->tgid = READ(struct task_struct, leader, tgid);
	conn->flags |= CONN_OPENED;
	fill_record(&o->rec, (__u64)sk + twin, conn, TAP_OPEN);
	o->start_ns = READ(struct task_struct, leader, start_boottime);
	o->cgroup_id = bpf_get_current_cgroup_id();
	o->pad = 0;
	BPF_CORE_READ_INTO(&o->comm, leader, comm);
	sock_addresses(sk, o);
	submit(o);
	return 0;
}

/* --- copying --- */

/* What of a call is to be copied, and as what. */
struct cut {
	__u64 first_ns, last_ns;
	__u32 pos;
	__u32 dir, flags, look;
};

/* One call that is being copied. */
struct copy {
	struct tap_conn *conn;
	__u64 sk;
	const char *from; /* next byte … */
	__u32 seg_left; /* … of a buffer that has so many left */
	__u32 left; /* … of a call that has so many left */
	__u32 budget; /* … of which so many may be copied */
	const struct iovec *iov;
	__u32 iovs;
	__u32 pos;
	__u64 first_ns, last_ns;
	__u32 dir, flags, look;
	__u32 scan; /* the end of the head is looked for */
	__u32 scan_all; /* … even if the call ends like a single head */
	__u32 whole; /* go on behind the head */
};

/* The head ended n bytes into this piece of len: is there more to it? */
static __always_inline void head_ended(struct copy *c, __u32 end, __u32 len,
				       __u8 next)
{
	struct tap_conn *conn = c->conn;

	c->scan = 0;
	if (c->look != LOOK_REQUEST && c->look != LOOK_REQUEST_BODY)
		return;
	if (end == c->left) {
		/* Nothing follows: this is how long one request is here. */
		if ((c->flags & TAP_F_CALL_START) && end <= 0xffff &&
		    (!conn->single_len || end < conn->single_len))
			conn->single_len = end;
		return;
	}
	c->whole = 1;
	if (c->look == LOOK_REQUEST && end < len && is_upper(next)) {
		conn->flags |= CONN_PIPELINED;
		return;
	}
	conn->flags |= CONN_WHOLE_ONCE;
	if (c->look == LOOK_REQUEST_BODY && c->budget > TAP_BODY_MAX)
		c->budget = TAP_BODY_MAX;
}

static __always_inline void look_for_end(struct copy *c, const __u8 *data,
					 __u32 n, __u32 cap)
{
	__u32 *tail = &c->conn->tail[c->dir & 1], end, i;

	if (!c->scan_all && n == c->left && n >= 4) {
		__u32 last = *(const __u32 *)(data + n - 4);

		if (last == FOURCC('\r', '\n', '\r', '\n')) {
			head_ended(c, n, n, 0);
			return;
		}
	}
	if (cap == TAP_PIECE_SMALL)
		end = scan_small((const void *)data, n, *tail);
	else
		end = scan_large((const void *)data, n, *tail);
	/* \n\r is taken for the end, but its last byte can be in the next call.
	 */
	if (end && end <= n) {
		head_ended(c, end, n, end < cap ? data[end] : 0);
		return;
	}
	if (n >= 4) {
		*tail = *(const __u32 *)(data + n - 4);
		return;
	}
	for (i = 0; i < 3; i++) {
		if (i < n)
			*tail = *tail >> 8 | (__u32)data[i] << 24;
	}
}

/* Copies n <= cap bytes into a record of their own. 0, or -1. */
static __always_inline int copy_piece(struct copy *c, __u32 n, const __u32 cap)
{
	struct tap_data *d;
	bool request =
		c->flags & TAP_F_MESSAGE_START && c->look != LOOK_RESPONSE;

	d = bpf_ringbuf_reserve(&tap_ring, sizeof(*d) + cap + TAP_PIECE_PAD, 0);
	if (!d) {
		tap_count(request ? TAP_C_LOST_REQUESTS : TAP_C_LOST_RECORDS);
		return -1;
	}
	/* Where the verifier sees it: not left out for what is known of n. */
	asm volatile("" : "+r"(n));
	if (n > cap)
		n = cap;
	if (bpf_probe_read_user(d->data, n, c->from)) {
		bpf_ringbuf_discard(d, BPF_RB_NO_WAKEUP);
		tap_count(TAP_C_READ_FAULTS);
		return -1;
	}
	*(__u64 *)(d->data + n) = 0;
	if (c->scan)
		look_for_end(c, d->data, n, cap);
	fill_record(&d->rec, c->sk, c->conn, TAP_DATA);
	d->rec.dir = c->dir;
	d->rec.flags = c->flags;
	if (n >= c->budget && n < c->left && (c->scan || c->whole)) {
		d->rec.flags |= TAP_F_TRUNCATED;
		tap_count(TAP_C_TRUNCATED);
	}
	d->first_ns = c->first_ns;
	d->last_ns = c->last_ns;
	d->pos = c->pos;
	d->call_len = c->left;
	d->len = n;
	d->pad = 0;
	submit(d);
	return 0;
}

/*
 * A piece of n bytes found no room. Its head ends with it, or else the next one
 * would be taken for more of it and not be counted; of a head that comes in
 * tiny pieces the end is looked for.
 */
static __always_inline void piece_lost(struct copy *c, __u32 n)
{
	__u32 *tail = &c->conn->tail[c->dir & 1], i;
	__u8 byte;

	for (i = 0; i < TAP_PEEK - 1 && i < n && n < TAP_PEEK; i++) {
		byte = 0;
		bpf_probe_read_user(&byte, 1, c->from + i);
		*tail = *tail >> 8 | (__u32)byte << 24;
	}
	if (n >= TAP_PEEK || *tail == FOURCC('\r', '\n', '\r', '\n'))
		c->scan = 0;
}

/* Copies the next piece. 0 to go on, 1 at the end. */
static long copy_step(__u32 i, struct copy *c)
{
	__u32 n;
	int err;

	if (!c->seg_left) {
		struct iovec v;

		if (!c->iovs)
			return 1;
		if (READ_IOVEC(&v, sizeof(v), c->iov)) {
			tap_count(TAP_C_READ_FAULTS);
			return 1;
		}
		c->iov++;
		c->iovs--;
		c->from = v.iov_base;
		c->seg_left = v.iov_len < c->left ? v.iov_len : c->left;
	}
	n = c->seg_left;
	if (n > c->budget)
		n = c->budget;
	if (n > TAP_PIECE_MAX)
		n = TAP_PIECE_MAX;
	if (n == 0)
		return c->budget == 0;
	if (n <= TAP_PIECE_SMALL)
		err = copy_piece(c, n, TAP_PIECE_SMALL);
	else
		err = copy_piece(c, n, TAP_PIECE_MAX);
	if (err) {
		piece_lost(c, n);
		return 1;
	}
	c->flags = forget(c->conn, c->dir, c->flags & TAP_F_KEEP);
	c->scan = forget(c->conn, c->dir, c->scan);
	c->whole = forget(c->conn, c->dir, c->whole);
	c->from += n;
	c->pos = forget(c->conn, c->dir, c->pos + n);
	c->seg_left = forget(c->conn, c->dir, c->seg_left - n);
	c->left = forget(c->conn, c->dir, c->left - n);
	c->budget = forget(c->conn, c->dir, c->budget - n);
	return c->left == 0 || !(c->scan || c->whole);
}

/*
 * Global: the verifier looks at it once, whoever calls it and with what. It
 * takes most of what the verifier has to do.
 */
__noinline int copy_call(struct tap_call *call, struct tap_conn *conn,
			 const struct cut *cut)
{
	struct copy copy = {}, *c = &copy;
	__u32 dir, i;

	if (!call || !conn || !cut)
		return 0;
	dir = cut->dir & 1;
	c->first_ns = cut->first_ns;
	c->last_ns = cut->last_ns;
	c->pos = cut->pos;
	c->dir = dir;
	c->flags = cut->flags;
	c->look = cut->look;
	if (!(conn->flags & CONN_OPENED) || conn->tgid != call->tgid) {
		if (open_record(call->sk, call->twin, conn)) {
			if (c->flags & TAP_F_MESSAGE_START &&
			    c->look != LOOK_RESPONSE)
				tap_count(TAP_C_LOST_REQUESTS);
			return 0;
		}
	}
	c->conn = conn;
	c->sk = (__u64)call->sk + call->twin;
	c->from = call->buf;
	c->left = call->len;
	c->seg_left = call->iov ? FIRST(call) : call->len;
	c->budget = call->len < TAP_CALL_MAX ? call->len : TAP_CALL_MAX;
	c->iov = call->iov;
	c->iovs = call->iov ? call->iovs : 0;
	c->flags |= TAP_F_CALL_START;
	c->whole = (conn->flags & CONN_PIPELINED) ||
		   ((conn->flags & CONN_WHOLE_ONCE) && conn->role != dir + 1);
	c->scan_all = c->look != LOOK_RESPONSE &&
		      (call->len < conn->single_len ||
		       call->len >= 2 * (__u32)conn->single_len);
	if (c->flags & TAP_F_MESSAGE_START) {
		conn->tail[dir] = 0;
		conn->head_bytes[dir] = 0;
		c->scan = 1;
	} else {
		c->scan = conn->head_open[dir];
	}
	c->scan = forget(c->conn, c->dir, c->scan);
	c->scan_all = forget(c->conn, c->dir, c->scan_all);
	c->whole = forget(c->conn, c->dir, c->whole);
	c->flags = forget(c->conn, c->dir, c->flags);
	c->look = forget(c->conn, c->dir, c->look);
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_loop)) {
		bpf_loop(TAP_STEPS_MAX, copy_step, c, 0);
	} else {
		for (i = 0; i < TAP_STEPS_SHORT; i++)
			if (copy_step(i, c))
				break;
	}
	conn->head_bytes[dir] += c->pos - cut->pos;
	conn->head_open[dir] = c->scan && conn->head_bytes[dir] < TAP_HEAD_MAX;
	return 0;
}

#endif /* BPF_COPY_BPF_H */
