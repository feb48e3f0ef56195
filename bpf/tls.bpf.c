/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */

/*
 * Front-end for TLS: uprobes on the functions of OpenSSL and GnuTLS that take
 * or return plain text. They need a front-end for sockets beside them, which
 * shows which socket each TLS call used (tls_touched() in the core).
 *
 * To the core, the plain text of a connection is a connection of its own: the
 * twin. Its key is the socket's address with TAP_TWIN set, and its positions
 * count bytes of plain text.
 *
 * Uprobe programs can be preempted, also by another one on the same CPU. So
 * nothing here or in the core may keep data in per-CPU memory from one
 * statement to the next: state is kept by thread and by connection, and
 * counters are added to atomically.
 */

#define TAP_FRONT conn->front
#define TAP_F_KEEP TAP_F_TLS
#define TAP_PREEMPTIBLE

/* Some functions of the core are for sockets and not used here. */
#pragma clang diagnostic ignored "-Wunused-function"

#include "bpf/tap.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#if defined(__TARGET_ARCH_x86)
#define ARG0(r) ((r)->di)
#define ARG1(r) ((r)->si)
#define ARG2(r) ((r)->dx)
#define ARG3(r) ((r)->cx)
#define RESULT(r) ((r)->ax)
#define STACK(r) ((r)->sp)
#define RETURN_POPS 8 /* the return address */
#elif defined(__TARGET_ARCH_arm64)
#define ARG0(r) ((r)->regs[0])
#define ARG1(r) ((r)->regs[1])
#define ARG2(r) ((r)->regs[2])
#define ARG3(r) ((r)->regs[3])
#define RESULT(r) ((r)->regs[0])
#define STACK(r) ((r)->sp)
#define RETURN_POPS 0
#endif

/*
 * Sessions whose socket is known: 56 bytes each. LRU, because a session's end
 * is not observed.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 32768);
	__type(key, struct tls_key);
	__type(value, struct tls_session);
} tls_sessions SEC(".maps");

/* Room for a burst of program starts; lost ones are counted. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 64 * 1024);
} tls_events SEC(".maps");

/* Executables in which the agent found no TLS functions. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct tls_file);
	__type(value, __u8);
} tls_no_tls SEC(".maps");

/*
 * A TLS call that has not returned after this time is assumed never to return.
 */
#define TLS_STALE_NS 10000000000ull

/* --- entry --- */

/* A TLS call begins. */
static __noinline int entered(struct pt_regs *ctx, __u32 op, __u32 flags,
			      __u32 front)
{
	__u64 id = bpf_get_current_pid_tgid(), now = bpf_ktime_get_ns();
	struct tls_thread *t, none = {};

	if (id >> 32 == tap_self_tgid)
		return 0;
	t = bpf_map_lookup_elem(&tls_threads, &id);
	if (!t) {
		bpf_map_update_elem(&tls_threads, &id, &none, BPF_NOEXIST);
		t = bpf_map_lookup_elem(&tls_threads, &id);
		if (!t)
			return 0;
	}
	/*
	 * A TLS call inside another one is part of that: it is made by the
	 * library, or moves encrypted bytes of a session inside its own.
	 */
	if (t->session && STACK(ctx) < t->sp &&
	    now - t->entry_ns < TLS_STALE_NS) {
		if (ARG0(ctx) != t->session)
			t->flags |= TLS_F_INNER;
		return 0;
	}
	t->session = ARG0(ctx);
	t->buf = ARG1(ctx);
	t->count = ARG3(ctx);
	t->sp = STACK(ctx);
	t->entry_ns = now;
	t->sock = 0;
	t->op = op;
	t->flags = flags;
	t->front = front;
	if (t->read_sock && !t->read_session)
		t->read_session = t->session;
	return 0;
}

SEC("uprobe")
int openssl_handshake(struct pt_regs *ctx)
{
	return entered(ctx, TLS_HANDSHAKE, 0, TAP_FRONT_OPENSSL);
}

SEC("uprobe")
int openssl_read(struct pt_regs *ctx)
{
	return entered(ctx, TLS_READ, 0, TAP_FRONT_OPENSSL);
}

SEC("uprobe")
int openssl_read_ex(struct pt_regs *ctx)
{
	return entered(ctx, TLS_READ, TLS_F_COUNT, TAP_FRONT_OPENSSL);
}

SEC("uprobe")
int openssl_write(struct pt_regs *ctx)
{
	return entered(ctx, TLS_WRITE, 0, TAP_FRONT_OPENSSL);
}

SEC("uprobe")
int openssl_write_ex(struct pt_regs *ctx)
{
	return entered(ctx, TLS_WRITE, TLS_F_COUNT, TAP_FRONT_OPENSSL);
}

/*
 * The functions that both of each pair call: see probe-agent/tls/elf_callee.h.
 */
SEC("uprobe")
int openssl_read_inner(struct pt_regs *ctx)
{
	return entered(ctx, TLS_READ, TLS_F_COUNT | TLS_F_END,
		       TAP_FRONT_OPENSSL);
}

SEC("uprobe")
int openssl_write_inner(struct pt_regs *ctx)
{
	return entered(ctx, TLS_WRITE, TLS_F_COUNT, TAP_FRONT_OPENSSL);
}

SEC("uprobe")
int gnutls_handshake(struct pt_regs *ctx)
{
	return entered(ctx, TLS_HANDSHAKE, 0, TAP_FRONT_GNUTLS);
}

SEC("uprobe")
int gnutls_recv(struct pt_regs *ctx)
{
	return entered(ctx, TLS_READ, TLS_F_LONG, TAP_FRONT_GNUTLS);
}

SEC("uprobe")
int gnutls_send(struct pt_regs *ctx)
{
	return entered(ctx, TLS_WRITE, TLS_F_LONG, TAP_FRONT_GNUTLS);
}

/* --- the socket of a call --- */

/*
 * The connection of the socket (not its twin), if it is still the same socket.
 */
static __always_inline struct tap_conn *socket_conn(__u64 sock, __u64 born_ns)
{
	struct tap_conn *conn = bpf_map_lookup_elem(&tap_conns, &sock);

	if (!sock || !conn || conn->born_ns != born_ns)
		return NULL;
	return conn;
}

/* Links a session and a socket, in both directions. */
static __always_inline void bind(const struct tls_key *key,
				 struct tls_session *s, struct tap_conn *conn,
				 __u64 sock)
{
	struct tls_session new = { .sock = sock, .born_ns = conn->born_ns };

	conn->session = key->session;
	conn->tgid = key->tgid;
	if (s) {
		s->sock = sock;
		s->born_ns = conn->born_ns;
	} else {
		bpf_map_update_elem(&tls_sessions, key, &new, BPF_ANY);
	}
}

/*
 * May the socket that this thread read last be the session's? Only if no other
 * session was used since then, it belongs to no other one, and the read was
 * long enough.
 */
static __always_inline bool fits(const struct tls_thread *t,
				 const struct tls_key *key,
				 const struct tap_conn *conn, long moved)
{
	if (t->read_session != key->session)
		return false;
	if (t->op == TLS_READ && moved > (long)t->read_len)
		return false;
	return !conn->session ||
	       (conn->session == key->session && conn->tgid == key->tgid);
}

/* The socket of the call that t describes; 0: not found. */
static __noinline __u64 socket_of(struct tls_thread *t, __u32 tgid, long moved)
{
	struct tls_key key = { .tgid = tgid };
	struct tls_session *s;
	struct tap_conn *conn;
	bool known;

	if (!t)
		return 0;
	key.session = t->session;
	s = bpf_map_lookup_elem(&tls_sessions, &key);
	if (t->sock && !(t->flags & TLS_F_MANY)) {
		conn = socket_conn(t->sock, t->born_ns);
		if (!conn)
			return 0;
		if (s && s->sock == t->sock && s->born_ns == t->born_ns)
			return s->sock;
		/*
		 * A handshake may begin another connection, of a session at the
		 * same address.
		 */
		if (s && t->op != TLS_HANDSHAKE &&
		    socket_conn(s->sock, s->born_ns))
			tap_count(TAP_C_TLS_MOVED);
		bind(&key, s, conn, t->sock);
		return t->sock;
	}
	known = s && socket_conn(s->sock, s->born_ns);
	conn = socket_conn(t->read_sock, t->read_born_ns);
	/*
	 * A socket without a session: an old session's address is in use again.
	 */
	if (conn && fits(t, &key, conn, moved) &&
	    (!known || (t->op != TLS_WRITE && !conn->session))) {
		bind(&key, s, conn, t->read_sock);
		return t->read_sock;
	}
	return known ? s->sock : 0;
}

/* The twin that has the plain text of the call that t describes. */
static __noinline __u32 twin_for(const struct tls_thread *t, __u32 tgid)
{
	struct tls_key key = { .tgid = tgid };
	struct tls_session *s;

	if (!t)
		return TAP_TWIN;
	key.session = t->session;
	s = bpf_map_lookup_elem(&tls_sessions, &key);
	if (!s)
		return TAP_TWIN;
	if (t->flags & TLS_F_INNER)
		s->inner = 1;
	return s->inner ? TAP_TWIN | TAP_INNER : TAP_TWIN;
}

/* --- the plain text --- */

/* A function of its own: its stack is not there while a call is copied. */
static __noinline int make_twin(__u64 key, __u8 front)
{
	struct tap_conn new = { .front = front };

	new.born_ns = bpf_ktime_get_ns();
	bpf_map_update_elem(&tap_conns, &key, &new, BPF_ANY);
	return 0;
}

/*
 * The twin of a socket, created if needed. NULL: no such socket, or table full.
 */
static __always_inline struct tap_conn *twin_of(__u64 sock, __u32 twin,
						__u8 front)
{
	__u64 key = sock + twin;
	struct tap_conn *own = bpf_map_lookup_elem(&tap_conns, &sock);
	struct tap_conn *conn = bpf_map_lookup_elem(&tap_conns, &key);

	if (!own)
		return NULL;
	/*
	 * A twin older than its socket belongs to an earlier socket at that
	 * address.
	 */
	if (conn && conn->born_ns >= own->born_ns)
		return conn;
	make_twin(key, front);
	conn = bpf_map_lookup_elem(&tap_conns, &key);
	if (!conn)
		tap_count(TAP_C_CONN_FULL);
	return conn;
}

/* A TLS call has moved c->len > 0 bytes of plain text. */
static __noinline int plain_moved(struct tap_call *c, __u32 dir, __u64 first_ns,
				  __u32 front)
{
	struct tap_conn *conn;

	if (!c)
		return 0;
	conn = twin_of((__u64)c->sk, c->twin, front);
	if (!conn || conn->verdict == VERDICT_IGNORED ||
	    conn->verdict == VERDICT_TLS)
		return 0;
	return tap_counted(c, conn, dir, first_ns);
}

/*
 * A write that has to be retried keeps the time of its first try: that is when
 * its bytes were on their way. Returns the time of the first try.
 */
static __noinline __u64 first_try(struct tls_thread *t, __u32 tgid, long moved)
{
	struct tls_key key = { .tgid = tgid };
	struct tls_session *s;
	__u64 ns;

	if (!t)
		return 0;
	ns = t->entry_ns;
	key.session = t->session;
	s = bpf_map_lookup_elem(&tls_sessions, &key);
	if (!s)
		return ns;
	if (s->retry_ns) {
		ns = s->retry_ns;
		/*
		 * GnuTLS keeps the data, and a retry may pass no buffer at all.
		 */
		if (!t->buf)
			t->buf = s->retry_buf;
	}
	s->retry_ns = moved > 0 ? 0 : ns;
	s->retry_buf = t->buf;
	return ns;
}

/* Bytes of plain text that the call moved; 0: end of the stream, < 0: none. */
static __always_inline long moved_by(const struct tls_thread *t,
				     struct pt_regs *ctx)
{
	long ret = RESULT(ctx);
	__u64 n;

	if (!(t->flags & TLS_F_LONG))
		ret = (int)ret;
	if (t->flags & TLS_F_COUNT) {
		if (ret == 0 && t->flags & TLS_F_END)
			return 0;
		/* Without TLS_F_END, 0 is any failure. */
		if (ret != 1)
			return -1;
		if (bpf_probe_read_user(&n, sizeof(n), (void *)t->count)) {
			tap_count(TAP_C_READ_FAULTS);
			return -1;
		}
		ret = n;
	}
	return ret < 0x7fffffff ? ret : 0x7fffffff;
}

/* Any of the functions above returns. */
SEC("uretprobe")
int tls_return(struct pt_regs *ctx)
{
	__u64 id = bpf_get_current_pid_tgid(), first_ns;
	struct tls_thread *t = bpf_map_lookup_elem(&tls_threads, &id);
	struct tap_call c = { .tgid = id >> 32 };
	__u32 dir;
	long moved;

	if (!t || !t->session || STACK(ctx) != t->sp + RETURN_POPS)
		return 0;
	moved = t->op == TLS_HANDSHAKE ? -1 : moved_by(t, ctx);
	c.sk = (struct sock *)socket_of(t, c.tgid, moved);
	c.twin = twin_for(t, c.tgid);
	dir = t->op == TLS_READ ? TAP_RX : TAP_TX;
	first_ns = t->op == TLS_WRITE ? first_try(t, c.tgid, moved) : 0;
	c.buf = (const char *)t->buf;
	t->session = 0;
	if (moved > 0) {
		tap_count(TAP_C_TLS_CALLS);
		c.len = moved;
		if (c.sk)
			plain_moved(&c, dir, first_ns, t->front);
		else
			tap_count(TAP_C_TLS_UNKNOWN);
	} else if (c.sk && t->op == TLS_READ &&
		   (moved == 0 || t->flags & TLS_F_EOF)) {
		end_conn(c.sk, c.twin, TAP_RX);
	}
	return 0;
}

/* --- program starts --- */

static __always_inline void tell(const struct tls_file *file)
{
	struct tls_event *e;

	e = bpf_ringbuf_reserve(&tls_events, sizeof(*e), 0);
	if (!e) {
		tap_count(TAP_C_TLS_EVENTS_LOST);
		return;
	}
	e->tgid = bpf_get_current_pid_tgid() >> 32;
	e->pad = 0;
	e->file = *file;
	bpf_ringbuf_submit(e, 0);
}

static __always_inline void identify(struct tls_file *f, struct inode *inode)
{
	f->device = BPF_CORE_READ(inode, i_sb, s_dev);
	f->inode = BPF_CORE_READ(inode, i_ino);
	f->size = BPF_CORE_READ(inode, i_size);
}

/*
 * Reports a program start, unless its executable is known to have no TLS calls.
 */
SEC("raw_tp/sched_process_exec")
int process_exec(struct bpf_raw_tracepoint_args *ctx)
{
	struct linux_binprm *bprm = (struct linux_binprm *)ctx->args[2];
	struct tls_file file = {};

	identify(&file, BPF_CORE_READ(bprm, file, f_inode));
	if (!bpf_map_lookup_elem(&tls_no_tls, &file))
		tell(&file);
	return 0;
}
