/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef BPF_TAP_BPF_H
#define BPF_TAP_BPF_H

/*
 * The core that every front-end calls: does this call begin an HTTP message?
 * Then copy it, up to the end of its head, and stamp it. It keeps no protocol
 * state beyond that; pairing and framing are the agent's.
 *
 * What is copied
 *   - a call that begins a message: up to the end of its head
 *   - the following calls in that direction, while the head has not ended
 *   - whole calls, on a connection that pipelines: there, a message can begin
 *     anywhere. A connection is known to pipeline when a request comes before
 *     the answer to the one before, or one call holds more than one request.
 *     Finding that takes a scan, so it is made only where it can be true: a
 *     call as long as two of the shortest single requests seen, or shorter
 *     than all of them.
 */

#include "bpf/kernel.h"
#include "bpf/maps.bpf.h"
#include "bpf/sock.bpf.h"
#include "bpf/tap.h"

/* Flags that the later pieces of a call have too. */
#ifndef TAP_F_KEEP
#define TAP_F_KEEP TAP_F_ENTRY
#endif

/* The agent itself: never followed. */
const volatile __u32 tap_self_tgid = 0;
/* The plain text of TLS is captured too, by tls.bpf.c. */
const volatile bool tap_tls = false;

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
/*
 * A record is small, or has room for TAP_PIECE_MAX: the ring is what a burst
 * must fit into. Most requests are small, and most response heads.
 */
#define TAP_PIECE_SMALL 256
/* … and both have room behind them for a step of the scan. */
#define TAP_PIECE_PAD 32
/* Turns of the conversation without HTTP, until the verdict. */
#define TAP_STRIKES 8
/* Calls between two looks at a connection with the verdict OTHER. */
#define TAP_RECHECK 64
/* Bytes looked at to tell what a call begins. */
#define TAP_PEEK 16

/* One call on a socket, and where its bytes are in the program's memory. */
struct tap_call {
	struct sock *sk;
	__u32 tgid; /* the process that makes it */
	const char *buf; /* if iov is NULL; also the first ones: see first */
	const struct iovec *iov;
	__u32 iovs;
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

enum tap_look {
	LOOK_NONE,
	LOOK_REQUEST,
	LOOK_REQUEST_BODY, /* of a method that usually brings a body */
	LOOK_RESPONSE,
	LOOK_EITHER, /* just an H: of HEAD, or of HTTP/ */
	LOOK_TLS,
};

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

#define ONES 0x0101010101010101ull
#define HIGHS 0x8080808080808080ull

/* --- what does a call begin? --- */

static __always_inline bool is_upper(__u8 c)
{
	return c >= 'A' && c <= 'Z';
}

#define FOURCC(a, b, c, d)                                                     \
	((__u32)(a) | (__u32)(b) << 8 | (__u32)(c) << 16 | (__u32)(d) << 24)

/* 0x80 in each byte of x that is zero. */
static __always_inline __u64 zero_bytes(__u64 x)
{
	const __u64 low = ~HIGHS;

	return ~(((x & low) + low) | x | low);
}

/* Index of the lowest byte that is 0x80 in hit; hit is not 0. */
static __always_inline __u32 first_byte(__u64 hit)
{
	return (0x0001020304050607ull * ((hit & -hit) >> 7)) >> 56;
}

/* 0x80 in each byte that no method has: not a capital, nor - or _. */
static __always_inline __u64 no_token(__u64 x)
{
	return HIGHS & ~(zero_bytes((x & ONES * 0xe0) ^ ONES * 0x40) |
			 zero_bytes(x ^ ONES * '-'));
}

/*
 * A token in capitals, a space, and what a target can begin with. A call that
 * ends inside the token can still become a request. Eight bytes at a time: the
 * verifier would follow a loop once for each end it can have.
 */
static __always_inline int look_token(const __u8 *p, __u32 n)
{
	__u64 lo = *(const __u64 *)p, hi = *(const __u64 *)(p + 8);
	__u64 space = zero_bytes(lo ^ ONES * ' '), bad = no_token(lo);
	__u32 at = 0;
	__u8 c;

	if (!space && n > 8) {
		if (bad)
			return LOOK_NONE;
		at = 8;
		n -= 8;
		space = zero_bytes(hi ^ ONES * ' ');
		bad = no_token(hi);
	}
	if (!space) {
		if (n < 8)
			bad &= (1ull << (n * 8)) - 1;
		return bad ? LOOK_NONE : LOOK_REQUEST;
	}
	/* Up to the space, and not at once. */
	if (bad & ((space & -space) - 1))
		return LOOK_NONE;
	n -= first_byte(space);
	at += first_byte(space);
	if (at == 0)
		return LOOK_NONE;
	if (n < 2)
		return LOOK_REQUEST;
	c = p[(at + 1) & (TAP_PEEK - 1)];
	if (c == '/' || c == '*' || c == 'h' || c == 'H')
		return LOOK_REQUEST;
	/* CONNECT host:port */
	if (at == 7 && p[0] == 'C' && c > ' ' && c < 0x7f)
		return LOOK_REQUEST;
	return LOOK_NONE;
}

static __always_inline int look_at(const __u8 *p, __u32 n)
{
	__u32 w = *(const __u32 *)p;

	if (n >= 5) {
		if (w == FOURCC('H', 'T', 'T', 'P'))
			return p[4] == '/' ? LOOK_RESPONSE : LOOK_NONE;
		if (w == FOURCC('G', 'E', 'T', ' ') && p[4] == '/')
			return LOOK_REQUEST;
		/* Any TLS record, for a start in mid-connection. */
		if (p[0] - 0x14u < 4 && p[1] == 3 && p[2] <= 4 && p[3] <= 0x41)
			return LOOK_TLS;
		if (!is_upper(p[0]))
			return LOOK_NONE;
		if (w == FOURCC('P', 'O', 'S', 'T') ||
		    w == FOURCC('P', 'U', 'T', ' ') ||
		    w == FOURCC('P', 'A', 'T', 'C')) {
			return look_token(p, n) ? LOOK_REQUEST_BODY : LOOK_NONE;
		}
		return look_token(p, n);
	}
	/* A start in pieces: HEAD and HTTP/ both begin with H. */
	if (p[0] == 'H')
		return n == 1	     ? LOOK_EITHER
		       : p[1] == 'T' ? LOOK_RESPONSE
				     : LOOK_REQUEST;
	return look_token(p, n);
}

/* Reads the first bytes of the call. Their number, or < 0. */
static __always_inline int peek(const struct tap_call *c, __u8 *to)
{
	const char *from = c->buf;
	__u32 n = c->len;
	struct iovec v;
	int i;

	if (c->iov && FIRST(c)) {
		n = FIRST(c);
	} else if (c->iov) {
		for (i = 0; i < 4; i++) {
			if (i >= c->iovs)
				return -1;
			if (READ_IOVEC(&v, sizeof(v), c->iov + i))
				return -1;
			if (v.iov_len)
				break;
		}
		from = v.iov_base;
		if (v.iov_len < n)
			n = v.iov_len;
	}
	if (n >= TAP_PEEK) {
		if (bpf_probe_read_user(to, TAP_PEEK, from))
			return -1;
		return TAP_PEEK;
	}
	if (bpf_probe_read_user(to, n & (TAP_PEEK - 1), from))
		return -1;
	return n;
}

/* --- the end of a head --- */

/*
 * Finds \n\r or \n\n in v, at one of its first 7 bytes: the blank line that
 * ends a head. Offset of what follows the blank line, or 0. Without branches
 * on where it is: the verifier would follow each.
 */
static __always_inline __u32 blank_line(__u64 v)
{
	__u64 lf = v ^ (ONES * '\n');
	__u64 crlf = lf | ((v >> 8) ^ (ONES * '\r'));
	__u64 lflf = lf | ((v >> 8) ^ (ONES * '\n'));
	__u64 hit, at;

	/* A byte is zero where both match; the lowest is found exactly. */
	crlf = (crlf - ONES) & ~crlf & (HIGHS >> 8);
	lflf = (lflf - ONES) & ~lflf & (HIGHS >> 8);
	hit = crlf | lflf;
	if (!hit)
		return 0;
	at = first_byte(hit);
	return at + 2 + ((crlf >> (at * 8 + 7)) & 1);
}

/*
 * x, with all that the verifier knows of it forgotten: a value from a map can
 * be anything. It would else tell each turn of a loop from the one before by
 * it, and never come to an end.
 */
static __always_inline __u32 forget(struct tap_conn *conn, __u32 dir, __u32 x)
{
	volatile __u32 *scratch = &conn->scratch[dir & 1];

	*scratch = x;
	return *scratch;
}

#define SCAN_STEP 28 /* bytes looked at in one turn */

struct scan {
	struct tap_conn *conn;
	const __u8 *data;
	__u32 dir, len;
	__u32 end; /* result: offset behind the head; 0: not found */
};

/* Looks at the bytes from at on. 1: done. */
static __always_inline long scan_step(struct scan *s, __u32 at)
{
	__u32 i, end;

#pragma unroll
	for (i = 0; i < SCAN_STEP; i += 7) {
		if (at + i >= s->len)
			return 1;
		end = blank_line(*(const __u64 *)(s->data + at + i));
		if (end) {
			s->end = forget(s->conn, s->dir, at + i + end);
			return 1;
		}
	}
	return 0;
}

#define SCAN_TURNS(cap) ((cap) / SCAN_STEP + 1)

static long scan_small(__u32 i, struct scan *s)
{
	return i >= SCAN_TURNS(TAP_PIECE_SMALL) || scan_step(s, i * SCAN_STEP);
}

static long scan_large(__u32 i, struct scan *s)
{
	return i >= SCAN_TURNS(TAP_PIECE_MAX) || scan_step(s, i * SCAN_STEP);
}

/*
 * Scans data[0..len) for the end of a head; the connection's tail holds the
 * bytes before it, the last in the highest byte. data has cap bytes and
 * TAP_PIECE_PAD more; those behind len are zero, as far as a step looks.
 */
static __always_inline __u32 find_head_end(struct tap_conn *conn, __u32 dir,
					   const __u8 *data, __u32 len,
					   const __u32 cap)
{
	struct scan s = { .conn = conn, .data = data, .dir = dir, .len = len };
	__u32 tail = conn->tail[dir & 1];
	__u64 v = (__u64)(tail >> 8) | *(const __u64 *)data << 24;
	__u32 at = blank_line(v & 0xffffffffffffull), i;

	/* The end itself is in this piece, its beginning in the one before. */
	if (at > 3)
		return at - 3;
	if (!bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_loop)) {
		for (i = 0; i < cap; i += SCAN_STEP)
			if (scan_step(&s, i))
				break;
	} else if (cap == TAP_PIECE_SMALL) {
		bpf_loop(SCAN_TURNS(cap), scan_small, &s, 0);
	} else {
		bpf_loop(SCAN_TURNS(cap), scan_large, &s, 0);
	}
	return s.end;
}

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
	end = forget(c->conn, c->dir,
		     find_head_end(c->conn, c->dir, data, n, cap));
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
	if (err)
		return 1;
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

static __always_inline void copy_call(struct tap_call *call,
				      struct tap_conn *conn, struct copy *c)
{
	__u32 dir = c->dir & 1, start = c->pos, i;

	if (!(conn->flags & CONN_OPENED) || conn->tgid != call->tgid) {
		if (open_record(call->sk, call->twin, conn)) {
			if (c->flags & TAP_F_MESSAGE_START &&
			    c->look != LOOK_RESPONSE)
				tap_count(TAP_C_LOST_REQUESTS);
			return;
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
	conn->head_bytes[dir] += c->pos - start;
	conn->head_open[dir] = c->scan && conn->head_bytes[dir] < TAP_HEAD_MAX;
}

/* --- the life of a connection --- */

/* A function of its own: its stack is not there while a call is copied. */
static __noinline int make_conn(struct sock *sk, __u32 tgid)
{
	__u64 key = (__u64)sk;
	struct tap_conn new = {};

	if (!sock_is_tcp(sk))
		return -1;
	new.born_ns = bpf_ktime_get_ns();
	new.done.rx_seq = sock_rx_seq(sk);
	new.done.tx_seq = sock_tx_seq(sk);
	if (tgid == tap_self_tgid)
		new.verdict = VERDICT_IGNORED;
	bpf_map_update_elem(&tap_conns, &key, &new, BPF_NOEXIST);
	return 0;
}

/* The connection of a socket, made if need be. NULL: none, or table full. */
static __always_inline struct tap_conn *conn_of(struct sock *sk, __u32 tgid)
{
	__u64 key = (__u64)sk;
	struct tap_conn *conn = bpf_map_lookup_elem(&tap_conns, &key);

	if (conn || make_conn(sk, tgid))
		return conn;
	conn = bpf_map_lookup_elem(&tap_conns, &key);
	if (!conn)
		tap_count(TAP_C_CONN_FULL);
	return conn;
}

static __always_inline void not_http(struct tap_conn *conn)
{
	conn->verdict = VERDICT_OTHER;
	conn->recheck = TAP_RECHECK;
	tap_count(TAP_C_NOT_HTTP);
}

/*
 * A call moves bytes of a socket that has to do with TLS, or may have. Inside a
 * TLS call it tells whose socket that is; outside, a read is remembered for
 * sessions that are fed from memory. True: it was inside.
 */
static __noinline int tls_touched(__u64 sock, struct tap_conn *conn,
				  __u32 read_len)
{
	__u64 id = bpf_get_current_pid_tgid();
	struct tls_thread *t = bpf_map_lookup_elem(&tls_threads, &id);
	struct tls_thread none = {};

	if (!conn)
		return false;
	if (t && t->session) {
		if (t->sock && t->sock != sock)
			t->flags |= TLS_F_MANY;
		t->sock = sock;
		t->born_ns = conn->born_ns;
		return true;
	}
	if (!read_len || conn->verdict == VERDICT_NEW)
		return false;
	if (!t) {
		bpf_map_update_elem(&tls_threads, &id, &none, BPF_NOEXIST);
		t = bpf_map_lookup_elem(&tls_threads, &id);
		if (!t)
			return false;
	}
	t->read_sock = sock;
	t->read_born_ns = conn->born_ns;
	t->read_session = 0;
	t->read_len = read_len;
	return false;
}

/* The connection is encrypted: for good, HTTP can't be seen on it. */
static __always_inline void is_tls(struct tap_conn *conn)
{
	if (conn->verdict != VERDICT_OTHER)
		tap_count(TAP_C_NOT_HTTP);
	conn->verdict = VERDICT_TLS;
	conn->session = 0;
}

/*
 * Nothing to be looked at: encrypted, or the agent said so. What is new, and
 * used by a TLS call, is encrypted.
 */
static __always_inline bool
is_opaque(struct tap_conn *conn, const struct tap_call *call, __u32 read_len)
{
	if (conn->verdict == VERDICT_HTTP || conn->verdict == VERDICT_OTHER)
		return false;
	if (tap_tls && tls_touched((__u64)call->sk, conn, read_len) &&
	    conn->verdict == VERDICT_NEW)
		is_tls(conn);
	return conn->verdict != VERDICT_NEW;
}

/* It looks like TLS. After CONNECT that is so if a TLS call makes it. */
static __always_inline void looks_encrypted(const struct tap_call *call,
					    struct tap_conn *conn, __u8 dir)
{
	__u32 read_len = dir == TAP_RX ? call->len : 0;

	if (conn->verdict == VERDICT_HTTP) {
		if (tap_tls && tls_touched((__u64)call->sk, conn, 0))
			is_tls(conn);
		return;
	}
	is_tls(conn);
	if (tap_tls && !call->twin)
		tls_touched((__u64)call->sk, conn, read_len);
}

/* A call that began no message. A body in many calls counts once. */
static __always_inline void strike(const struct tap_call *call,
				   struct tap_conn *conn, __u8 dir, int look)
{
	if (look == LOOK_TLS)
		looks_encrypted(call, conn, dir);
	if (conn->verdict != VERDICT_NEW)
		return;
	if (conn->last_dir != dir + 1 && ++conn->strikes >= TAP_STRIKES)
		not_http(conn);
	conn->last_dir = dir + 1;
}

static __always_inline void message_begins(struct tap_conn *conn, __u8 dir,
					   int look, __u32 pos)
{
	conn->verdict = VERDICT_HTTP;
	if (look == LOOK_RESPONSE) {
		conn->role = (dir ^ 1) + 1;
		conn->flags |= CONN_ANSWERED;
		return;
	}
	/* A request before the last was answered; but not a write tried
	 * again because the kernel had no room for it. */
	if (conn->role && !(conn->flags & CONN_ANSWERED) &&
	    conn->request_pos != pos)
		conn->flags |= CONN_PIPELINED;
	conn->role = dir + 1;
	conn->flags &= ~(CONN_ANSWERED | CONN_WHOLE_ONCE);
	conn->request_pos = pos;
}

/*
 * Does the call hold bytes to copy? CALL_COPY, with what it begins in *look
 * (LOOK_NONE: it goes on), CALL_BODY, or CALL_UNKNOWN if it can't be read.
 */
static __always_inline int judge(struct tap_call *call, struct tap_conn *conn,
				 __u8 dir, __u32 pos, __u8 *look)
{
	__u8 first[TAP_PEEK] = {};
	int n, l;

	*look = LOOK_NONE;
	if (conn->verdict == VERDICT_OTHER) {
		if (--conn->recheck)
			return CALL_BODY;
		conn->recheck = TAP_RECHECK;
	}
	if (conn->head_open[dir])
		return CALL_COPY;
	n = peek(call, first);
	if (n < 0) {
		tap_count(TAP_C_READ_FAULTS);
		return CALL_UNKNOWN;
	}
	l = forget(conn, dir, look_at(first, n));
	if (l == LOOK_EITHER)
		l = conn->role == (dir ^ 1) + 1 ? LOOK_RESPONSE : LOOK_REQUEST;
	if (l == LOOK_RESPONSE		      ? conn->role != dir + 1
	    : l != LOOK_NONE && l != LOOK_TLS ? conn->role != (dir ^ 1) + 1
					      : 0) {
		*look = l;
		message_begins(conn, dir, l, pos);
		return CALL_COPY;
	}
	strike(call, conn, dir, l);
	/* Whatever answers a request is shown, HTTP or not. */
	if (conn->verdict == VERDICT_HTTP && conn->role == (dir ^ 1) + 1 &&
	    !(conn->flags & CONN_ANSWERED)) {
		conn->flags |= CONN_ANSWERED;
		return CALL_COPY;
	}
	if (conn->flags & CONN_PIPELINED ||
	    (conn->flags & CONN_WHOLE_ONCE && conn->role != dir + 1))
		return CALL_COPY;
	return CALL_BODY;
}

/* --- what front-ends call --- */

/* A call has read c->len > 0 bytes. */
static __noinline int tap_received(struct tap_call *c)
{
	struct tap_conn *conn;
	struct copy copy = {};
	__u64 now;
	__u32 seq;
	__u8 look;

	if (!c)
		return 0;
	conn = conn_of(c->sk, c->tgid);
	if (!conn || is_opaque(conn, c, c->len))
		return 0;
	if (conn->verdict == VERDICT_OTHER && conn->recheck > 1) {
		conn->recheck--;
		return 0;
	}
	now = bpf_ktime_get_ns();
	seq = sock_rx_seq(c->sk) - c->after;
	conn->done.rx_seq = seq - c->len;
	if (judge(c, conn, TAP_RX, seq - c->len, &look) == CALL_COPY) {
		conn->done.tx_seq = sock_tx_seq(c->sk);
		copy.dir = TAP_RX;
		copy.pos = seq - c->len;
		copy.first_ns = copy.last_ns = now;
		copy.look = look;
		if (look)
			copy.flags = TAP_F_MESSAGE_START;
		copy_call(c, conn, &copy);
	}
	conn->done.rx_seq = seq;
	conn->done.rx_ns = now;
	return 0;
}

/*
 * A call is about to write c->len bytes. A request goes out at once, so that
 * it comes before its answer even if another thread reads that first.
 */
static __noinline int tap_sending(struct tap_call *c)
{
	struct tap_conn *conn;
	struct copy copy = {};
	__u8 look;

	if (!c)
		return 0;
	conn = conn_of(c->sk, c->tgid);
	if (!conn || conn->verdict == VERDICT_TLS || is_opaque(conn, c, 0))
		return 0;
	if (conn->verdict == VERDICT_OTHER && conn->recheck > 1)
		return 0;
	conn->tx_entry_ns = bpf_ktime_get_ns();
	copy.pos = sock_tx_seq(c->sk);
	conn->tx_kind = judge(c, conn, TAP_TX, copy.pos, &look);
	conn->tx_look = look;
	if (conn->tx_kind == CALL_COPY && conn->role == TAP_TX + 1) {
		conn->tx_kind = CALL_SENT;
		conn->done.tx_seq = copy.pos;
		conn->done.rx_seq = sock_rx_seq(c->sk);
		copy.dir = TAP_TX;
		copy.first_ns = conn->tx_entry_ns;
		copy.flags = TAP_F_ENTRY;
		copy.look = look;
		if (look)
			copy.flags |= TAP_F_MESSAGE_START;
		copy_call(c, conn, &copy);
	}
	return 0;
}

/* … and has written c->len > 0 of them. */
static __noinline int tap_sent(struct tap_call *c)
{
	struct tap_conn *conn;
	struct copy copy = {};
	__u64 now;
	__u32 seq;
	__u8 kind, look;

	if (!c)
		return 0;
	conn = conn_of(c->sk, c->tgid);
	if (!conn || is_opaque(conn, c, 0))
		return 0;
	kind = conn->tx_kind;
	if (conn->verdict == VERDICT_OTHER && conn->recheck > 1) {
		conn->recheck--;
		return 0;
	}
	now = bpf_ktime_get_ns();
	seq = sock_tx_seq(c->sk) - c->after;
	copy.pos = seq - c->len;
	look = conn->tx_look;
	if (kind == CALL_UNKNOWN) {
		kind = judge(c, conn, TAP_TX, copy.pos, &look);
		conn->tx_entry_ns = now;
	}
	if (kind == CALL_COPY) {
		conn->done.tx_seq = copy.pos;
		conn->done.rx_seq = sock_rx_seq(c->sk);
		copy.dir = TAP_TX;
		copy.first_ns = conn->tx_entry_ns;
		copy.last_ns = now;
		copy.look = look;
		if (look)
			copy.flags = TAP_F_MESSAGE_START;
		copy_call(c, conn, &copy);
	}
	conn->tx_kind = CALL_UNKNOWN;
	conn->done.tx_seq = seq;
	conn->done.tx_ns = now;
	return 0;
}

/* Bytes went through without passing the program's memory (sendfile). */
static __noinline int tap_moved(struct sock *sk, int dir)
{
	__u64 key = (__u64)sk;
	struct tap_conn *conn = bpf_map_lookup_elem(&tap_conns, &key);

	if (!conn || conn->verdict != VERDICT_HTTP)
		return 0;
	if (dir == TAP_TX) {
		conn->done.tx_seq = sock_tx_seq(sk);
		conn->done.tx_ns = bpf_ktime_get_ns();
	} else {
		conn->done.rx_seq = sock_rx_seq(sk);
		conn->done.rx_ns = bpf_ktime_get_ns();
	}
	return 0;
}

/*
 * One direction of a socket, or of its twin, is over. Returns the connection's
 * verdict.
 */
static __noinline int end_conn(struct sock *sk, __u32 twin, int dir)
{
	__u8 flag = dir == TAP_RX ? CONN_ENDED_RX : CONN_ENDED_TX;
	__u64 key = (__u64)sk + twin;
	struct tap_conn *conn = bpf_map_lookup_elem(&tap_conns, &key);
	struct tap_end *e;

	if (!conn)
		return VERDICT_NEW;
	if (conn->flags & flag)
		return conn->verdict;
	/* The state changes before the FIN is made: not counted yet. */
	if (dir == TAP_TX && !twin)
		conn->done.tx_seq = sock_tx_seq(sk);
	conn->flags |= flag;
	if (!(conn->flags & CONN_OPENED) || conn->verdict == VERDICT_IGNORED)
		return conn->verdict;
	e = bpf_ringbuf_reserve(&tap_ring, sizeof(*e), 0);
	if (!e) {
		tap_count(TAP_C_LOST_RECORDS);
		return conn->verdict;
	}
	fill_record(&e->rec, key, conn, TAP_END);
	e->rec.dir = dir;
	e->time_ns = bpf_ktime_get_ns();
	submit(e);
	return conn->verdict;
}

/*
 * One direction is over: the program read EOF, or shut its side down. What is
 * read inside TLS ends when the TLS call says so.
 */
static __noinline int tap_ended(struct sock *sk, int dir)
{
	__u64 id;
	struct tls_thread *t;

	if (end_conn(sk, 0, dir) == VERDICT_HTTP || !tap_tls)
		return 0;
	if (dir == TAP_TX) {
		end_conn(sk, TAP_TWIN, dir);
		return 0;
	}
	id = bpf_get_current_pid_tgid();
	t = bpf_map_lookup_elem(&tls_threads, &id);
	if (t && t->session)
		t->flags |= TLS_F_EOF;
	return 0;
}

/* The last of a socket, or of its twin. Returns the connection's verdict. */
static __noinline int close_conn(struct sock *sk, __u32 twin)
{
	__u64 key = (__u64)sk + twin;
	struct tap_conn *conn = bpf_map_lookup_elem(&tap_conns, &key);
	struct tap_close *c;
	int verdict;

	if (!conn)
		return VERDICT_NEW;
	verdict = conn->verdict;
	if (conn->flags & CONN_OPENED && verdict != VERDICT_IGNORED) {
		if (!(conn->flags & CONN_ENDED_TX) && !twin)
			conn->done.tx_seq = sock_tx_seq(sk);
		c = bpf_ringbuf_reserve(&tap_ring, sizeof(*c), 0);
		if (c) {
			fill_record(&c->rec, key, conn, TAP_CLOSE);
			c->rec.tgid = 0;
			c->time_ns = bpf_ktime_get_ns();
			c->error = READ(struct sock, sk, sk_err);
			c->pad = 0;
			submit(c);
		} else {
			tap_count(TAP_C_LOST_RECORDS);
		}
	}
	bpf_map_delete_elem(&tap_conns, &key);
	return verdict;
}

/* The socket is closed: nothing of it may reach the next one at its address. */
static __noinline int tap_closed(struct sock *sk)
{
	if (close_conn(sk, 0) != VERDICT_HTTP && tap_tls)
		close_conn(sk, TAP_TWIN);
	return 0;
}

#endif /* BPF_TAP_BPF_H */
