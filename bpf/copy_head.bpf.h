/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef BPF_COPY_HEAD_BPF_H
#define BPF_COPY_HEAD_BPF_H

/*
 * Records, and how a call goes on behind the end of a head. struct copy is a
 * call that is being copied: see copy.bpf.h.
 */

#include "bpf/length.bpf.h"
#include "bpf/sock.bpf.h"

/* Flags that the later pieces of a call carry as well. */
#ifndef TAP_F_KEEP
#define TAP_F_KEEP (TAP_F_ENTRY | TAP_F_SYN)
#endif

/* In copy_cut.flags only, not in records: the call has only begun. */
#define CUT_EARLY (1 << 8)
/*
 * In copy_cut.flags only: the bytes can't be read yet (their page is not in
 * memory); once the kernel has read them, they can.
 */
#define CUT_UNREAD (1 << 9)

/* Bytes copied of one call, at most, where messages can begin anywhere. */
#define TAP_CALL_MAX (64 * 1024)
/* Bytes copied behind a request's head whose body's length is not known. */
#define TAP_BODY_MAX (16 * 1024)
/*
 * Calls of copy_step() for one call, at most: one for a piece, a buffer, and
 * eight bytes of a lost head; four for a chunk.
 */
#define TAP_STEPS_MAX 4096
/* The same without bpf_loop() (before 5.17): the verifier walks each step. */
#define TAP_STEPS_SHORT 16
/* What ends a head: a blank line. */
#define BLANK FOURCC('\r', '\n', '\r', '\n')
/* A head that has not ended after this many bytes is given up. */
#define TAP_HEAD_MAX (256 * 1024)

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
	__u16 lost; /* out: requests that found no room in the ring */
	__u8 dir;
	/*
	 * enum classify_result; LOOK_LATER and LOOK_WEAK are replaced by what
	 * was found.
	 */
	__u8 look;
	__u8 copied; /* out: bytes were copied */
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
	__u16 copied; /* bytes were copied */
	__u16 lost; /* requests that found no room */
	__u8 scan; /* looking for the end of the head */
	__u8 scan_all; /* scan, even if the call ends in a blank line */
	__u8 whole; /* copy what follows the head, too */
	__u8 walk; /* follow what stands at conn->place */
	__u8 begins; /* a message begins here */
	__u8 shut; /* no record may be sent: its OPEN found no room */
	__u16 pad;
	__u32 skip; /* bytes to be passed first */
};

union tap_scratch {
	struct copy copy;
	struct tap_call call;
};

/*
 * The stack has no room for a copy (512 bytes for a chain of functions), so it
 * has a place of its own for each program and CPU: the kernel runs no program
 * again on a CPU where it has not ended.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, TAP_SCRATCHES);
	__type(key, __u32);
	__type(value, union tap_scratch);
} tap_scratches SEC(".maps");

struct copying {
	struct tap_conn *conn;
	struct copy *copy;
};

static __always_inline void head_begins(struct copy *c, struct tap_conn *conn)
{
	__u32 dir = c->dir & 1;

	c->flags |= TAP_F_MESSAGE_START;
	conn->tail[dir] = 0;
	conn->head_bytes[dir] = 0;
	conn->flags &= ~losing(dir);
	conn->line = LINE_OTHER;
	conn->place[dir] =
		c->look == LOOK_REQUEST_BODY ? PLACE_HEAD_BODY : PLACE_HEAD;
	c->scan = 1;
	c->begins = 1;
	c->budget = TAP_HEAD_MAX;
}

/*
 * The last four bytes of a stream: tail, then the n < 4 lowest bytes of next.
 */
static __always_inline __u32 shift_in(__u32 tail, __u32 next, __u32 n)
{
	n = (n & 3) * 8;
	return tail >> n | (__u32)((__u64)next << (32 - n));
}

/*
 * Bytes follow in a direction whose place is not known, where requests can
 * begin anywhere: copies them, and whole answers until the next request.
 */
static __always_inline void go_whole(struct copy *c, struct tap_conn *conn)
{
	c->walk = 0;
	c->whole = 1;
	conn->flags |= CONN_WHOLE_ONCE;
	if (c->budget > TAP_BODY_MAX)
		c->budget = TAP_BODY_MAX;
}

/* The place at pos is place, from where the call is followed. */
static __always_inline void go_walk(struct copy *c, struct tap_conn *conn,
				    __u8 place, __u32 pos)
{
	conn->place[c->dir & 1] = place;
	conn->due[c->dir & 1] = pos;
	c->walk = 1;
}

/*
 * The head of a response ended after end bytes of a piece of n, which are
 * followed by v. Returns the number of bytes to be sent.
 */
static __always_inline __u32 response_ended(struct copy *c,
					    struct tap_conn *conn, __u32 end,
					    __u32 n, __u64 v)
{
	__u32 after = n - end;

	if (conn->h2 & H2_SWITCHES)
		conn->walk[c->dir & 1].next = c->pos + end;
	/* An interim response may be followed by the next one. */
	if (c->whole && after >= 4 && is_http(v, after)) {
		go_walk(c, conn, PLACE_MESSAGE, c->pos + end);
		return end;
	}
	if (c->whole) {
		forget_place(conn, c->dir);
		return n;
	}
	go_walk(c, conn, PLACE_BODY, c->pos + end);
	if (c->left == end)
		return n;
	if (after < 8 || is_chunk(v, after, false) || is_http(v, after))
		return end;
	forget_place(conn, c->dir);
	c->walk = 0;
	return n;
}

/* The same of a request. */
static __always_inline __u32 request_ended(struct copy *c,
					   struct tap_conn *conn, __u32 end,
					   __u32 n)
{
	__u32 dir = c->dir & 1, pos = c->pos + end;
	__u8 place = conn->place[dir];

	if (place == PLACE_HEAD_CODED)
		conn->flags |= CONN_CODED;
	if (c->left == end && (c->flags & TAP_F_CALL_START) && end <= 0xffff &&
	    (!conn->single_len || end < conn->single_len))
		conn->single_len = end; /* a sample: see scan_all */
	if (place == PLACE_HEAD && c->left == end && c->begins) {
		forget_place(conn, dir); /* it was not searched */
		return n;
	}
	conn->tail[dir] = pos; /* where a body begins */
	if (place == PLACE_HEAD_CODED) {
		go_walk(c, conn, PLACE_BODY, pos);
		return end;
	}
	if (place == PLACE_HEAD_LENGTH)
		pos += conn->due[dir];
	go_walk(c, conn, PLACE_MESSAGE, pos);
	return end;
}

/* Must a piece of n bytes of a head be searched for the length of its body? */
static __always_inline bool has_length(const struct copy *c,
				       const struct tap_conn *conn, __u32 end,
				       __u32 n)
{
	/*
	 * Most heads come in one piece, and nothing follows that of a method
	 * without a body.
	 */
	if (conn->place[c->dir & 1] != PLACE_HEAD)
		return true;
	return !brings_answers(conn, c->dir) &&
	       (!c->begins || end != n || c->left != n);
}

/* Is a piece of n bytes, at the end of those copied, of an interim response? */
static __always_inline void note_interim(struct copy *c, struct tap_conn *conn,
					 const __u8 *data, __u32 n,
					 const __u32 cap)
{
	__u32 at = INTERIM_AT - conn->head_bytes[c->dir & 1];

	if (at < n && at < cap && data[at] == '1')
		is_interim(conn, c->dir & 1);
}

/*
 * Looks for the head's end in a piece of n bytes, and decides how the call goes
 * on behind it. Returns the number of bytes to be sent.
 */
static __always_inline __u32 look_for_end(struct copy *c, struct tap_conn *conn,
					  const __u8 *data, __u32 n, __u32 cap)
{
	__u32 dir = c->dir & 1, end, last = 0;
	__u64 v = 0;

	if (n >= 4)
		last = *(const __u32 *)(data + n - 4);
	/* Not if a body may follow: that may end in a blank line, too. */
	if (!c->scan_all && n == c->left && last == BLANK &&
	    conn->place[dir] == PLACE_HEAD && !brings_answers(conn, dir))
		end = n;
	else if (cap == TAP_PIECE_SMALL)
		end = scan_small((const void *)data, n, conn->tail[dir]);
	else
		end = scan_large((const void *)data, n, conn->tail[dir]);
	if (has_length(c, conn, end, n))
		length_in(conn, dir, data, end && end < n ? end : n, cap,
			  c->begins, end && end <= n);
	/*
	 * \n\r counts as the end already, but its \n may come with the next
	 * call: then end > n.
	 */
	if (!end || end > n) {
		if (n >= 4)
			conn->tail[dir] = last;
		else
			conn->tail[dir] = shift_in(conn->tail[dir],
						   *(const __u32 *)data, n);
		return n;
	}
	c->scan = 0;
	if (end < cap)
		v = *(const __u64 *)(data + end);
	if (brings_answers(conn, dir))
		return response_ended(c, conn, end, n, v);
	return request_ended(c, conn, end, n);
}

#endif /* BPF_COPY_HEAD_BPF_H */
