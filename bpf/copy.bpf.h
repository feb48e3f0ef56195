/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef BPF_COPY_BPF_H
#define BPF_COPY_BPF_H

/* Records: filling, sending, and copying a call into them piece by piece. */

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
	__u32 dir, flags;
	/*
	 * enum classify_result; LOOK_LATER and LOOK_WEAK are replaced by what
	 * was found.
	 */
	__u32 look;
	__u32 copied; /* out: bytes were copied */
	__u32 lost; /* out: requests that found no room in the ring */
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

struct copying {
	struct tap_conn *conn;
	struct copy copy;
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

/* Do line ends stand before a message, in the n first bytes of a call? */
static __always_inline bool is_blank_start(const struct tap_conn *conn,
					   const __u8 *data, __u32 n)
{
	__u64 v = *(const __u64 *)data;
	__u64 other = HIGHS & ~(zero_bytes(v ^ ONES * '\r') |
				zero_bytes(v ^ ONES * '\n'));
	__u32 k = other ? first_byte(other) : 8;
	int look;

	if (!k || conn->flags & CONN_STRAY)
		return false;
	if (k >= n || k == 8)
		return true;
	n -= k;
	look = look_at((const void *)(data + k), n < TAP_PEEK ? n : TAP_PEEK);
	return is_message(look) || look == LOOK_WEAK;
}

/* A call in the direction of requests, where one is due, began none. */
static __always_inline int settle_stray(struct copy *c, struct tap_conn *conn,
					const __u8 *data, __u32 n)
{
	__u32 dir = c->dir & 1, room = TAP_HEAD_MAX - conn->head_bytes[dir];

	if (is_blank_start(conn, data, n)) {
		if (!(c->flags & TAP_F_FRAMED))
			conn->flags |= CONN_UNSURE;
		go_walk(c, conn, PLACE_BLANK, c->pos);
		return 0;
	}
	/* What else can be there where a message begins, servers answer. */
	if (c->flags & TAP_F_FRAMED) {
		c->look = LOOK_REQUEST_BODY;
		message_begins(conn, dir, c->look, c->pos);
		head_begins(c, conn);
		return 1;
	}
	/*
	 * The rest of a body, perhaps, and the next request behind it: only the
	 * agent knows. From here on it gets all, up to a limit.
	 */
	if (conn->head_bytes[dir] >= TAP_HEAD_MAX)
		return c->whole;
	conn->flags |= CONN_STRAY | CONN_WHOLE_ONCE;
	c->whole = 1;
	if (c->budget > room)
		c->budget = room;
	return 1;
}

/*
 * What the first line of data says of a call that is weakly a request: 1 it is
 * one, 0 it is none, 2 it may be one. A line that does not end in these n bytes
 * may be, if it has no more than its method, or something like a target behind
 * it.
 */
static __always_inline int weak_line(const __u8 *data, __u32 n, const __u32 cap)
{
	__u64 v, lf, graph;
	__u32 at, end;

	for (at = 0; at < cap; at += 8) {
		if (at >= n)
			break;
		lf = zero_bytes(*(const __u64 *)(data + at) ^ ONES * '\n');
		if (!lf)
			continue;
		end = at + (first_byte(lf) & 7);
		if (end < 12)
			return 0;
		end -= data[end - 1] == '\r' ? 9 : 8;
		v = *(const __u64 *)(data + end);
		return (v & ~0ull >> 8) == (EIGHT("HTTP/1. ") & ~0ull >> 8);
	}
	at = 0;
	v = *(const __u64 *)data;
	if (!zero_bytes(v ^ ONES * ' ')) {
		at = 8;
		v = *(const __u64 *)(data + 8);
	}
	graph = zero_bytes(v ^ ONES * ' ');
	if (!graph)
		return n < TAP_PEEK ? 2 : 0;
	/* The first byte behind the blanks. */
	graph = HIGHS & ~graph & ~((graph & -graph) - 1);
	at += graph ? first_byte(graph) : 8;
	return at >= n || data[at & 15] - 0x21u < 0x5e ? 2 : 0;
}

/* Global, so that the verifier checks each once: see copy_call(). */
__noinline int weak_small(const struct head_end_small *p, __u32 n)
{
	return p ? weak_line(p->at, n, TAP_PIECE_SMALL) : 0;
}

__noinline int weak_large(const struct head_end_large *p, __u32 n)
{
	return p ? weak_line(p->at, n, TAP_PIECE_MAX) : 0;
}

static __always_inline void settle_weak(struct copy *c, struct tap_conn *conn,
					const __u8 *data, __u32 n, __u32 cap)
{
	int is = cap == TAP_PIECE_SMALL ? weak_small((const void *)data, n)
					: weak_large((const void *)data, n);

	bool by_turn =
		conn->verdict == VERDICT_HTTP && !(c->flags & TAP_F_FRAMED);

	c->look = is ? LOOK_REQUEST_BODY : LOOK_NONE;
	if (!is)
		return;
	message_begins(conn, c->dir, c->look, c->pos);
	if (is == 2 && by_turn)
		conn->flags |= CONN_UNSURE;
}

/*
 * Classifies what was due to begin a message, by its first n bytes. Returns 0
 * if this piece must not be sent. An answer to a request is reported whether it
 * is HTTP or not.
 */
static __always_inline int settle(struct copy *c, struct tap_conn *conn,
				  const __u8 *data, __u32 n, __u32 cap)
{
	__u32 dir = c->dir & 1;
	bool due = c->look == LOOK_LATER;

	if (due)
		c->look = begins(conn, (const void *)data,
				 n < TAP_PEEK ? n : TAP_PEEK, dir, c->pos);
	if (c->look == LOOK_WEAK && !brings_answers(conn, dir))
		settle_weak(c, conn, data, n, cap);
	if (is_message(c->look)) {
		head_begins(c, conn);
		return 1;
	}
	forget_place(conn, dir);
	if (c->look == LOOK_WEAK)
		c->look = LOOK_NONE;
	if (conn->verdict != VERDICT_HTTP || !due)
		return 0;
	if (!brings_answers(conn, dir))
		return settle_stray(c, conn, data, n);
	conn->flags |= CONN_ANSWERED;
	return 1;
}

/*
 * As weak_line(), in the program's memory at c->from, where at most
 * TAP_PIECE_MAX bytes are searched for the line's end. Global: see copy_call().
 */
__noinline int weak_lost(const struct copy *c)
{
	__u64 v = 0, lf;
	__u32 at, n;

	if (!c)
		return 0;
	n = c->seg_left;
	for (at = 0; at < TAP_PIECE_MAX; at += 8) {
		if (at + 8 > n || bpf_probe_read_user(&v, 8, c->from + at))
			return 0;
		lf = zero_bytes(v ^ ONES * '\n');
		if (lf)
			break;
	}
	if (at >= TAP_PIECE_MAX)
		return 0;
	at += first_byte(lf);
	if (at < 12 || bpf_probe_read_user(&v, 8, c->from + at - 9))
		return 0;
	/* Behind the version stand its last digit and a CR, or no CR. */
	return (v & ~0ull >> 8) == (EIGHT("HTTP/1. ") & ~0ull >> 8) ||
	       v >> 8 == (EIGHT("HTTP/1. ") & ~0ull >> 8);
}

/* No room in the ring for what is not classified yet: does so without a copy.
 */
static __always_inline void settle_lost(struct copy *c, struct tap_conn *conn)
{
	struct classify_beginning b[2] = {}; /* and room behind it */
	__u32 n = c->seg_left, dir = c->dir & 1;
	bool due = c->look == LOOK_LATER;

	if (n > TAP_PEEK)
		n = TAP_PEEK;
	if (n == TAP_PEEK
		    ? bpf_probe_read_user(b, TAP_PEEK, c->from)
		    : bpf_probe_read_user(b, n & (TAP_PEEK - 1), c->from)) {
		c->look = LOOK_NONE;
		return;
	}
	if (due)
		c->look = begins(conn, b, n, dir, c->pos);
	if (!brings_answers(conn, dir) &&
	    ((c->look == LOOK_WEAK && weak_lost(c)) ||
	     (c->flags & TAP_F_FRAMED && conn->verdict == VERDICT_HTTP &&
	      !is_message(c->look) && !is_blank_start(conn, b->at, n)))) {
		c->look = LOOK_REQUEST_BODY;
		message_begins(conn, dir, c->look, c->pos);
	}
	if (is_message(c->look)) {
		head_begins(c, conn);
		return;
	}
	c->look = LOOK_NONE;
	if (brings_answers(conn, dir)) {
		conn->flags |= CONN_ANSWERED;
	} else if (due && is_blank_start(conn, b->at, n)) {
		if (!(c->flags & TAP_F_FRAMED))
			conn->flags |= CONN_UNSURE;
		go_walk(c, conn, PLACE_BLANK, c->pos);
	}
}

/*
 * The ring has no room for a piece. If it is of a head, that is passed to its
 * end: no other part of it is sent, or lost once more.
 */
__noinline int piece_lost(struct copy *c, struct tap_conn *conn)
{
	if (!c || !conn)
		return 1;
	if (c->look == LOOK_LATER || c->look == LOOK_WEAK)
		settle_lost(c, conn);
	if (c->walk)
		return 0;
	if (c->begins && c->look != LOOK_RESPONSE)
		c->lost++;
	else
		tap_count(TAP_C_LOST_RECORDS);
	c->begins = 0;
	c->flags &= TAP_F_KEEP | CUT_EARLY;
	if (!c->scan) {
		forget_place(conn, c->dir);
		return 1;
	}
	c->scan = 0;
	c->walk = 1;
	conn->flags |= losing(c->dir);
	return 0;
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
	d->lost = conn->lost + conn->tx_lost + c->lost;
	d->turn = c->begins ? conn->turn : 0;
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
#ifdef __BPF__
	asm volatile("if %0 <= %1 goto +1\n\t%0 = %1" : "+r"(n) : "i"(cap));
	return n;
#else
	return n <= cap ? n : cap; /* a unit test: tap_core.c */
#endif
}

/* The bytes at c->from can't be read. Returns 1. */
static __always_inline int unreadable(struct copy *c, struct tap_conn *conn)
{
	if (can_wait(c)) {
		c->flags |= CUT_UNREAD;
		return 1;
	}
	tap_count(TAP_C_READ_FAULTS);
	c->scan = c->whole = c->walk = 0;
	forget_place(conn, c->dir);
	return 1;
}

static __always_inline void advance(struct copy *c, __u32 n)
{
	c->from += n;
	c->pos += n;
	c->seg_left -= n;
	c->left -= n;
}

/*
 * Copies n <= cap bytes into a record of their own. Returns 0 to go on with the
 * next step, 1 at the end.
 */
static __always_inline int copy_piece(struct copy *c, struct tap_conn *conn,
				      __u32 n, const __u32 cap)
{
	struct tap_rec_data *d = NULL;
	int send = 1;

	if (!c->shut)
		d = bpf_ringbuf_reserve(&tap_ring,
					sizeof(*d) + cap + TAP_PIECE_PAD, 0);
	if (!d)
		return piece_lost(c, conn);
	n = at_most(n, cap);
	if (bpf_probe_read_user(d->data, n, c->from)) {
		bpf_ringbuf_discard(d, BPF_RB_NO_WAKEUP);
		return unreadable(c, conn);
	}
	*(__u64 *)(d->data + n) = 0;
	if (c->look == LOOK_LATER || c->look == LOOK_WEAK)
		send = settle(c, conn, d->data, n, cap);
	if (!send) {
		bpf_ringbuf_discard(d, BPF_RB_NO_WAKEUP);
		return !c->walk;
	}
	if (c->scan && brings_answers(conn, c->dir))
		note_interim(c, conn, d->data, n, cap);
	if (c->scan)
		n = look_for_end(c, conn, d->data, n, cap);
	n = at_most(n, cap);
	fill_data(d, c, conn, n);
	submit(d);
	c->flags &= TAP_F_KEEP | CUT_EARLY;
	c->begins = 0;
	c->copied = 1;
	conn->head_bytes[c->dir & 1] += n;
	c->budget -= n;
	advance(c, n);
	return c->left == 0 || !(c->scan || c->whole || c->walk);
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

/* The place was lost: what the rest of the call holds is not known. */
static __always_inline int walk_failed(struct copy *c, struct tap_conn *conn)
{
	c->walk = 0;
	if (conn->verdict != VERDICT_HTTP || brings_answers(conn, c->dir))
		return !c->whole;
	go_whole(c, conn);
	return 0;
}

/* Follows what stands at conn->place by one step. Returns as copy_piece(). */
__noinline int copy_walk(struct copy *c, struct tap_conn *conn)
{
	__u32 dir, n, ahead;
	__u64 v = 0;
	__u8 place;

	if (!c || !conn)
		return 1;
	dir = c->dir & 1;
	n = c->seg_left;
	place = conn->place[dir];
	ahead = conn->due[dir] - c->pos;
	if (place_is_ahead(place) && ahead) {
		if (n > ahead)
			n = ahead;
	} else if (place == PLACE_MESSAGE) {
		c->walk = 0;
		c->look = LOOK_LATER;
		if (!(conn->flags & CONN_UNSURE))
			c->flags |= TAP_F_FRAMED;
		return 0;
	} else {
		if (n > 8)
			n = 8;
		if (n == 8 ? bpf_probe_read_user(&v, 8, c->from)
			   : bpf_probe_read_user(&v, n & 7, c->from))
			return unreadable(c, conn);
		n = place_is_head(place) ? lost_bytes(conn, v, n, dir, c->pos)
					 : frame_bytes(conn, v, n, dir, c->pos);
		if (conn->place[dir] == PLACE_UNKNOWN)
			return walk_failed(c, conn);
	}
	if (n)
		c->flags &= TAP_F_KEEP | CUT_EARLY;
	advance(c, n);
	return c->left == 0;
}

/* The next step. Returns 0 to go on, 1 at the end. */
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
		if (!c->seg_left)
			return 0;
	}
	n = c->seg_left;
	if (c->skip) {
		if (n > c->skip)
			n = c->skip;
		c->skip -= n;
		c->flags &= ~TAP_F_CALL_START;
		advance(c, n);
		return 0;
	}
	if (c->walk)
		return copy_walk(c, k->conn) != 0;
	if (n > c->budget)
		n = c->budget;
	if (n > TAP_PIECE_MAX)
		n = TAP_PIECE_MAX;
	if (n == 0)
		return 1; /* the budget is used up */
	if (n <= TAP_PIECE_SMALL)
		return copy_small(c, k->conn, n) != 0;
	return copy_large(c, k->conn, n) != 0;
}

/*
 * The call could not be followed to its end: an open head has no rest, and
 * where the next message begins is not known.
 */
__noinline int copy_cut_short(struct copy *c, struct tap_conn *conn)
{
	struct tap_rec_data *d;

	if (!c || !conn || !(c->scan || c->whole || c->walk))
		return 0;
	forget_place(conn, c->dir);
	/* The last piece has told, if it used up the budget. */
	if (c->shut || !c->scan || (!c->budget && c->copied))
		return 0;
	d = bpf_ringbuf_reserve(&tap_ring, sizeof(*d), 0);
	if (!d) {
		tap_count(TAP_C_LOST_RECORDS);
		return 0;
	}
	fill_data(d, c, conn, 0);
	d->rec.flags |= TAP_F_TRUNCATED;
	tap_count(TAP_C_TRUNCATED);
	submit(d);
	return 0;
}

/* Sets up a copy of the call. Global: see copy_call(). */
__noinline int copy_begin(struct copy *c, struct tap_call *call,
			  struct tap_conn *conn, const struct copy_cut *cut)
{
	__u32 dir;

	if (!c || !call || !conn || !cut)
		return 0;
	dir = cut->dir & 1;
	c->first_ns = cut->first_ns;
	c->last_ns = cut->last_ns;
	c->pos = cut->pos;
	c->dir = dir;
	c->flags = cut->flags | TAP_F_CALL_START;
	c->look = cut->look;
	c->sk = (__u64)call->sk + call->twin;
	c->from = call->buf;
	c->left = call->len;
	c->seg_left = call->iov ? FIRST(call) : call->len;
	c->iov = call->iov;
	c->iovs = call->iov ? call->iovs : 0;
	c->skip = call->skip;
	c->walk = place_is_known(conn->place[dir]);
	c->scan = place_is_head(conn->place[dir]);
	if (c->scan && conn->flags & losing(dir)) {
		c->scan = 0;
		c->walk = 1;
	}
	c->whole = (conn->flags & CONN_PIPELINED) ||
		   ((conn->flags & CONN_WHOLE_ONCE) && conn->role != dir + 1);
	c->budget = TAP_CALL_MAX;
	if (c->scan)
		c->budget = TAP_HEAD_MAX -
			    at_most(conn->head_bytes[dir], TAP_HEAD_MAX);
	c->scan_all = call->len < conn->single_len ||
		      call->len >= 2 * (__u32)conn->single_len;
	if (is_message(c->look) && c->look != LOOK_LATER)
		head_begins(c, conn);
	if (!(conn->flags & CONN_OPENED) || conn->tgid != call->tgid)
		c->shut = open_record(call->sk, call->twin, conn) != 0;
	return 0;
}

/* Global, so that the verifier checks it once, whoever calls it with what. */
__noinline int copy_call(struct tap_call *call, struct tap_conn *conn,
			 struct copy_cut *cut)
{
	struct copying k = {};
	struct copy *c = &k.copy;
	__u32 dir, i, due, tail;
	__u8 place;

	if (!call || !conn || !cut)
		return 0;
	dir = cut->dir & 1;
	due = conn->due[dir];
	tail = conn->tail[dir];
	place = conn->place[dir];
	k.conn = conn;
	copy_begin(c, call, conn, cut);
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
		conn->due[dir] = due;
		conn->tail[dir] = tail;
		conn->place[dir] = place;
		cut->flags |= CUT_UNREAD;
		return 0;
	}
	if (c->left)
		copy_cut_short(c, conn);
	cut->look = c->look;
	cut->copied = c->copied;
	cut->lost = c->lost;
	return 0;
}

#endif /* BPF_COPY_BPF_H */
