/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef BPF_COPY_BPF_H
#define BPF_COPY_BPF_H

/* Records: filling, sending, and copying a call into them piece by piece. */

#include "bpf/head_end.bpf.h"
#include "bpf/sock.bpf.h"

/* Flags that the later pieces of a call carry as well. */
#ifndef TAP_F_KEEP
#define TAP_F_KEEP TAP_F_ENTRY
#endif

/* In copy_cut.flags only, not in records: the call has only begun. */
#define CUT_EARLY (1 << 8)
/*
 * In copy_cut.flags only: the bytes can't be read yet (their page is not in
 * memory); once the kernel has read them, they can.
 */
#define CUT_UNREAD (1 << 9)

/* Bytes copied of one call, at most. */
#define TAP_CALL_MAX (64 * 1024)
/* Bytes copied of a call that has a request with a body, at most. */
#define TAP_BODY_MAX (16 * 1024)
/* Calls of copy_step() for one call, at most: one per piece and empty iovec. */
#define TAP_STEPS_MAX 192
/* The same without bpf_loop() (before 5.17): the verifier walks each step. */
#define TAP_STEPS_SHORT 16
/* What ends a head: a blank line. */
#define BLANK FOURCC('\r', '\n', '\r', '\n')
/* A head that has not ended after this many bytes is given up. */
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
 * Does not wake the agent: a wake-up costs more than fifty records. The agent
 * drains the ring by a timer, and the ring holds what comes between several
 * drains.
 */
static __always_inline void submit(void *record)
{
	bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
}

/* Reports the connection's process: at first, and when another takes over. */
static __noinline int open_record(struct sock *sk, __u32 twin,
				  struct tap_conn *conn)
{
	struct task_struct *leader =
		READ(struct task_struct, current_task(), group_leader);
	struct tap_rec_open *o;

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

/* What copy_call() must copy of a call; then what it found. */
struct copy_cut {
	__u64 first_ns, last_ns;
	__u32 pos;
	__u16 flags;
	__u8 dir;
	/* enum classify_result; LOOK_LATER is replaced by what was found. */
	__u8 look;
	__u8 copied; /* out: bytes were copied */
	__u8 tail_seen; /* out: conn->last_bytes is up to date */
};

/* A call that is being copied. Ordered without padding: the stack is short. */
struct copy {
	__u64 sk;
	const char *from; /* next byte to copy */
	__u32 seg_left; /* bytes left in this buffer */
	__u32 left; /* bytes left in the call */
	__u32 budget; /* bytes that may still be copied */
	__u32 iovs;
	const struct iovec *iov;
	__u64 first_ns, last_ns;
	__u32 pos;
	__u32 dir, flags, look;
	__u32 scan; /* looking for the end of the head */
	__u32 scan_all; /* scan, even if the call ends in a blank line */
	__u32 whole; /* copy what follows the head, too */
	__u32 tail_seen; /* the call's last bytes are in conn->last_bytes */
};

struct copying {
	struct tap_conn *conn;
	struct copy copy;
};

/* The head ended after end bytes of this piece of len. Is more to be copied? */
static __always_inline void head_ended(struct copy *c, struct tap_conn *conn,
				       __u32 end, __u32 len, __u8 next)
{
	c->scan = 0;
	if (conn->h2 & H2_SWITCHES)
		conn->walk[c->dir & 1].next = c->pos + end;
	if (c->look != LOOK_REQUEST && c->look != LOOK_REQUEST_BODY)
		return;
	if (end == c->left) {
		/*
		 * Nothing follows: a sample of the length of a single request.
		 */
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

static __always_inline void head_begins(struct copy *c, struct tap_conn *conn)
{
	__u32 dir = c->dir & 1;

	c->flags |= TAP_F_MESSAGE_START;
	conn->tail[dir] = 0;
	conn->head_bytes[dir] = 0;
	c->scan = 1;
	if (c->look == LOOK_RESPONSE)
		c->scan_all = 0;
}

/*
 * Classifies a call that was due to begin a message, by its first n bytes.
 * Returns 0 if nothing must be copied. An answer to a request is reported
 * whether it is HTTP or not.
 */
static __always_inline int settle(struct copy *c, struct tap_conn *conn,
				  const struct classify_beginning *b, __u32 n)
{
	__u32 dir = c->dir & 1;

	c->look = begins(conn, b, n < TAP_PEEK ? n : TAP_PEEK, dir, c->pos);
	if (is_message(c->look)) {
		head_begins(c, conn);
		return 1;
	}
	if (!brings_answers(conn, dir))
		return c->whole;
	conn->flags |= CONN_ANSWERED;
	return 1;
}

/*
 * The last four bytes of a stream: tail, then the n < 4 lowest bytes of next.
 */
static __always_inline __u32 shift_in(__u32 tail, __u32 next, __u32 n)
{
	n = (n & 3) * 8;
	return tail >> n | (__u32)((__u64)next << (32 - n));
}

static __always_inline void look_for_end(struct copy *c, struct tap_conn *conn,
					 const __u8 *data, __u32 n, __u32 cap)
{
	__u32 *tail = &conn->tail[c->dir & 1], end, last = 0;

	if (n >= 4)
		last = *(const __u32 *)(data + n - 4);
	if (!c->scan_all && n == c->left && last == BLANK)
		end = n;
	else if (cap == TAP_PIECE_SMALL)
		end = scan_small((const void *)data, n, *tail);
	else
		end = scan_large((const void *)data, n, *tail);
	/*
	 * \n\r counts as the end already, but its \n may come with the next
	 * call: then end > n.
	 */
	if (end && end <= n)
		head_ended(c, conn, end, n, end < cap ? data[end] : 0);
	else if (n >= 4)
		*tail = last;
	else
		*tail = shift_in(*tail, *(const __u32 *)data, n);
}

/*
 * No room in the ring for a call that is not classified yet: treats it as the
 * message that was due.
 */
static __always_inline void assume_due(struct copy *c, struct tap_conn *conn)
{
	if (c->look != LOOK_LATER)
		return;
	c->look = brings_answers(conn, c->dir) ? LOOK_RESPONSE : LOOK_REQUEST;
	message_begins(conn, c->dir, c->look, c->pos);
	head_begins(c, conn);
}

/* The ring has no room for this piece: is a request lost with it? */
static __always_inline bool loses_request(struct copy *c, struct tap_conn *conn)
{
	assume_due(c, conn);
	return c->flags & TAP_F_CALL_START &&
	       (c->look == LOOK_REQUEST || c->look == LOOK_REQUEST_BODY);
}

/*
 * The ring had no room for a piece of n bytes. Its head is assumed to end with
 * it: else the next head would count as more of this one. Of a head that comes
 * in tiny pieces the real end is looked for.
 */
static __always_inline void piece_lost(struct copy *c, struct tap_conn *conn,
				       __u32 n)
{
	__u32 *tail = &conn->tail[c->dir & 1], next = 0;

	if (n >= 4) {
		bpf_probe_read_user(&next, 4, c->from + n - 4);
		*tail = next;
	} else {
		bpf_probe_read_user(&next, n & 3, c->from);
		*tail = shift_in(*tail, next, n);
	}
	if (n >= TAP_PEEK || *tail == BLANK)
		c->scan = 0;
}

static __always_inline void fill_data(struct tap_rec_data *d,
				      const struct copy *c,
				      const struct tap_conn *conn, __u32 n)
{
	fill_record(&d->rec, c->sk, conn, TAP_DATA);
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
}

/*
 * The call has only begun, and no more than the start of a head was sent: the
 * rest can be copied when it returns.
 */
static __always_inline bool can_wait(const struct copy *c)
{
	return c->flags & CUT_EARLY &&
	       (c->flags & TAP_F_CALL_START || (c->scan && !c->whole));
}

/*
 * The smaller of n and cap, so that the verifier sees the limit. In assembly:
 * the compiler can't leave out the comparison for what it knows of n, nor use a
 * register other than the one compared.
 */
static __always_inline __u32 at_most(__u64 n, const __u32 cap)
{
	asm volatile("if %0 <= %1 goto +1\n\t%0 = %1" : "+r"(n) : "i"(cap));
	return n;
}

/*
 * Copies n <= cap bytes into a record of their own. Returns 0 to go on with the
 * next piece, 1 at the end.
 */
static __always_inline int copy_piece(struct copy *c, struct tap_conn *conn,
				      __u32 n, const __u32 cap)
{
	struct tap_rec_data *d;

	d = bpf_ringbuf_reserve(&tap_ring, sizeof(*d) + cap + TAP_PIECE_PAD, 0);
	if (!d) {
		tap_count(loses_request(c, conn) ? TAP_C_LOST_REQUESTS
						 : TAP_C_LOST_RECORDS);
		piece_lost(c, conn, n);
		return 1;
	}
	n = at_most(n, cap);
	if (bpf_probe_read_user(d->data, n, c->from)) {
		bpf_ringbuf_discard(d, BPF_RB_NO_WAKEUP);
		if (can_wait(c)) {
			c->flags |= CUT_UNREAD;
			return 1;
		}
		tap_count(TAP_C_READ_FAULTS);
		piece_lost(c, conn, n);
		return 1;
	}
	*(__u64 *)(d->data + n) = 0;
	if (c->look == LOOK_LATER && !settle(c, conn, (void *)d->data, n)) {
		bpf_ringbuf_discard(d, BPF_RB_NO_WAKEUP);
		return 1;
	}
	if (n >= 8 && n == c->left && brings_answers(conn, c->dir)) {
		conn->last_bytes = *(const __u64 *)(d->data + n - 8);
		c->tail_seen = 1;
	}
	if (c->scan)
		look_for_end(c, conn, d->data, n, cap);
	fill_data(d, c, conn, n);
	submit(d);
	c->flags &= TAP_F_KEEP | CUT_EARLY;
	c->from += n;
	c->pos += n;
	c->seg_left -= n;
	c->left -= n;
	c->budget -= n;
	return c->left == 0 || !(c->scan || c->whole);
}

/*
 * Global functions, so that the verifier checks each once and forgets what it
 * knew of *c after a call. Else it would follow every path through one piece
 * into the next.
 */
__noinline int copy_small(struct copy *c, struct tap_conn *conn, __u32 n)
{
	return c && conn ? copy_piece(c, conn, n, TAP_PIECE_SMALL) : 1;
}

__noinline int copy_large(struct copy *c, struct tap_conn *conn, __u32 n)
{
	return c && conn ? copy_piece(c, conn, n, TAP_PIECE_MAX) : 1;
}

/* Copies the next piece. Returns 0 to go on, 1 at the end. */
static long copy_step(__u32 i, struct copying *k)
{
	struct copy *c = &k->copy;
	__u32 n;

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
		return copy_small(c, k->conn, n) != 0;
	return copy_large(c, k->conn, n) != 0;
}

/* Global, so that the verifier checks it once, whoever calls it with what. */
__noinline int copy_call(struct tap_call *call, struct tap_conn *conn,
			 struct copy_cut *cut)
{
	struct copying k = {};
	struct copy *c = &k.copy;
	__u32 dir, i;

	if (!call || !conn || !cut)
		return 0;
	dir = cut->dir & 1;
	c->first_ns = cut->first_ns;
	c->last_ns = cut->last_ns;
	c->pos = cut->pos;
	c->dir = dir;
	c->flags = cut->flags | TAP_F_CALL_START;
	c->look = cut->look;
	if (!(conn->flags & CONN_OPENED) || conn->tgid != call->tgid) {
		if (open_record(call->sk, call->twin, conn)) {
			if (loses_request(c, conn))
				tap_count(TAP_C_LOST_REQUESTS);
			return 0;
		}
	}
	k.conn = conn;
	c->sk = (__u64)call->sk + call->twin;
	c->from = call->buf;
	c->left = call->len;
	c->seg_left = call->iov ? FIRST(call) : call->len;
	c->budget = call->len < TAP_CALL_MAX ? call->len : TAP_CALL_MAX;
	c->iov = call->iov;
	c->iovs = call->iov ? call->iovs : 0;
	c->whole = (conn->flags & CONN_PIPELINED) ||
		   ((conn->flags & CONN_WHOLE_ONCE) && conn->role != dir + 1);
	c->scan_all = call->len < conn->single_len ||
		      call->len >= 2 * (__u32)conn->single_len;
	c->scan = conn->head_open[dir];
	if (is_message(c->look) && c->look != LOOK_LATER)
		head_begins(c, conn);
	/* Most calls are one piece. */
	if (copy_step(0, &k))
		;
	else if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_loop))
		bpf_loop(TAP_STEPS_MAX, copy_step, &k, 0);
	else
		for (i = 1; i < TAP_STEPS_SHORT; i++)
			if (copy_step(i, &k))
				break;
	if (c->flags & CUT_UNREAD) {
		cut->flags |= CUT_UNREAD;
		return 0;
	}
	conn->head_bytes[dir] += c->pos - cut->pos;
	conn->head_open[dir] = c->scan && conn->head_bytes[dir] < TAP_HEAD_MAX;
	cut->look = c->look;
	cut->copied = c->pos != cut->pos;
	cut->tail_seen = c->tail_seen;
	return 0;
}

#endif /* BPF_COPY_BPF_H */
