/* SPDX-License-Identifier: Apache-2.0 */

/* The names of bpf/, before any header of libc has its own. */
#define __bpf__ 1
#if defined(__x86_64__)
#define __TARGET_ARCH_x86 1
#else
#define __TARGET_ARCH_arm64 1
#endif
#pragma GCC diagnostic ignored "-Wunknown-pragmas"
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#pragma GCC diagnostic ignored "-Wcast-qual"
#pragma GCC diagnostic ignored "-Wundef"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Waddress"
#pragma GCC diagnostic ignored "-Wpointer-arith"

#define TAP_FRONT TAP_FRONT_FENTRY
#define TCP_TYPED
#include "bpf/tcp.bpf.h"

#undef NULL
#undef true
#undef false
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/probe-agent/tap_core.h"

#define SOCKETS 64
#define CONNS (2 * SOCKETS) /* with their twins */
#define BIG_BUFFER (1 << 30)
#define ITER_OTHER 7 /* a kind that is neither of those read */
#define CALL_NS 1000 /* what a call takes */

/* Its positions lie where the addresses would be, which nothing here needs. */
struct socket_room {
	_Alignas(64) struct sock sk;
	struct iovec iov[1024];
	__u32 tgid;
	bool open;
};

struct entry {
	__u64 key; /* 0: free */
	struct tap_conn conn;
};

struct queued {
	struct queued *next;
	size_t size; /* that it takes in the ring */
	size_t len;
	bool ready, dropped;
	_Alignas(8) char data[];
};

static struct core {
	struct core_options opt;
	struct socket_room sockets[SOCKETS];
	struct entry conns[CONNS];
	__u64 counters[TAP_C_MAX];
	union tap_scratch scratch[TAP_SCRATCHES];
	struct queued *first, *last;
	size_t used;
	__u64 now_ns;
	__u32 tgid; /* that is calling */
	struct task_struct task;
} core;

/* --- what programs call --- */

int core_has(int helper)
{
	return helper != BPF_FUNC_loop || !core.opt.no_loop;
}

void *bpf_rdonly_cast(const void *obj, __u32 btf_id)
{
	return (void *)obj;
}

__u64 bpf_ktime_get_ns(void)
{
	return ++core.now_ns;
}

__u64 bpf_get_current_pid_tgid(void)
{
	return (__u64)core.tgid << 32 | core.tgid;
}

__u64 bpf_get_current_cgroup_id(void)
{
	return 1;
}

__u64 bpf_get_current_task(void)
{
	return (__u64)&core.task;
}

struct task_struct *bpf_get_current_task_btf(void)
{
	return &core.task;
}

void *bpf_map_lookup_elem(void *map, const void *key)
{
	if (map == &tap_counters)
		return &core.counters[*(const __u32 *)key];
	if (map == &tap_scratches)
		return &core.scratch[*(const __u32 *)key];
	if (map != &tap_conns)
		return NULL;
	for (size_t i = 0; i < CONNS; i++)
		if (core.conns[i].key == *(const __u64 *)key)
			return &core.conns[i].conn;
	return NULL;
}

long bpf_map_update_elem(void *map, const void *key, const void *value,
			 __u64 flags)
{
	struct tap_conn *conn = bpf_map_lookup_elem(map, key);

	assert(map == &tap_conns);
	if (conn && flags == BPF_NOEXIST)
		return -EEXIST;
	for (size_t i = 0; i < CONNS && !conn; i++) {
		if (core.conns[i].key)
			continue;
		core.conns[i].key = *(const __u64 *)key;
		conn = &core.conns[i].conn;
	}
	assert(conn);
	*conn = *(const struct tap_conn *)value;
	return 0;
}

long bpf_map_delete_elem(void *map, const void *key)
{
	assert(map == &tap_conns);
	for (size_t i = 0; i < CONNS; i++)
		if (core.conns[i].key == *(const __u64 *)key)
			core.conns[i].key = 0;
	return 0;
}

void *bpf_ringbuf_reserve(void *ring, __u64 size, __u64 flags)
{
	size_t room = 8 + (size + 7) / 8 * 8;
	struct queued *q;

	if (core.opt.ring_bytes && core.used + room > core.opt.ring_bytes)
		return NULL;
	q = malloc(sizeof(*q) + size);
	assert(q);
	q->next = NULL;
	q->size = room;
	q->len = size;
	q->ready = q->dropped = false;
	memset(q->data, 0xa5, size);
	*(core.last ? &core.last->next : &core.first) = q;
	core.last = q;
	core.used += room;
	return q->data;
}

static struct queued *queued_of(void *data)
{
	return (struct queued *)((char *)data - offsetof(struct queued, data));
}

void bpf_ringbuf_submit(void *data, __u64 flags)
{
	queued_of(data)->ready = true;
}

void bpf_ringbuf_discard(void *data, __u64 flags)
{
	queued_of(data)->ready = queued_of(data)->dropped = true;
}

long bpf_probe_read_user(void *to, __u32 size, const void *from)
{
	memcpy(to, from, size);
	return 0;
}

long bpf_probe_read_kernel(void *to, __u32 size, const void *from)
{
	memcpy(to, from, size);
	return 0;
}

long bpf_loop(__u32 n, void *fn, void *arg, __u64 flags)
{
	long (*step)(__u64 i, void *arg) = fn;

	for (__u32 i = 0; i < n; i++)
		if (step(i, arg))
			return i + 1;
	return n;
}

/* --- the world --- */

static void clear(void)
{
	while (core.first) {
		struct queued *q = core.first;

		core.first = q->next;
		free(q);
	}
	memset(&core, 0, sizeof(core));
}

void core_begin(const struct core_options *opt)
{
	clear();
	core.opt = *opt;
	core.now_ns = 1000000000;
	core.task.group_leader = &core.task;
	tap_late = 0; /* front-end fentry sees all writes begin */
}

void core_end(void)
{
	clear();
}

static struct sock *sock_at(int socket)
{
	return &core.sockets[socket].sk;
}

static struct tcp_sock *tcp_at(int socket)
{
	return (struct tcp_sock *)sock_at(socket);
}

/* The process of the socket makes a call, which takes some time. */
static void calls(int socket)
{
	assert(core.sockets[socket].open);
	core.tgid = core.sockets[socket].tgid;
	core.task.tgid = core.tgid;
	core.now_ns += CALL_NS;
}

int core_open(uint32_t tgid, uint32_t rx_seq, uint32_t tx_seq)
{
	int i = 0;

	while (core.sockets[i].open)
		i++;
	assert(i < SOCKETS);
	memset(&core.sockets[i], 0, sizeof(core.sockets[i]));
	core.sockets[i].open = true;
	core.sockets[i].tgid = tgid;
	sock_at(i)->__sk_common.skc_family = AF_INET;
	sock_at(i)->__sk_common.skc_state = TCP_ESTABLISHED;
	sock_at(i)->sk_protocol = IPPROTO_TCP;
	tcp_at(i)->copied_seq = rx_seq;
	tcp_at(i)->rcv_nxt = rx_seq;
	tcp_at(i)->write_seq = tx_seq;
	return i;
}

uint64_t core_sock(int socket)
{
	return core.sockets[socket].open ? (uint64_t)sock_at(socket) : 0;
}

/* The message of a call on iov. Returns its bytes. */
static size_t make_msg(int socket, struct msghdr *msg,
		       const struct core_iov *iov, size_t n)
{
	struct iovec *to = core.sockets[socket].iov;
	size_t sum = 0;

	assert(n <= 1024);
	memset(msg, 0, sizeof(*msg));
	for (size_t i = 0; i < n; i++) {
		to[i].iov_base = (void *)iov[i].data;
		to[i].iov_len = iov[i].len;
		sum += iov[i].len;
	}
	msg->msg_iter.count = sum;
	if (n == 1) {
		msg->msg_iter.iter_type = ITER_UBUF;
		msg->msg_iter.ubuf = to[0].iov_base;
	} else {
		msg->msg_iter.iter_type = ITER_IOVEC;
		msg->msg_iter.__iov = to;
		msg->msg_iter.nr_segs = n;
	}
	return sum;
}

/* As the kernel's iov_iter_advance(). */
static void advance_msg(struct msghdr *msg, size_t size)
{
	struct iov_iter *it = &msg->msg_iter;

	it->count -= size;
	if (it->iter_type != ITER_IOVEC) {
		it->iov_offset += size;
		return;
	}
	size += it->iov_offset;
	while (it->nr_segs && size >= it->__iov->iov_len) {
		size -= it->__iov->iov_len;
		it->__iov++;
		it->nr_segs--;
	}
	it->iov_offset = size;
}

static void set_room(int socket, bool room)
{
	sock_at(socket)->sk_sndbuf = room ? BIG_BUFFER : 0;
}

void core_write(int socket, const struct core_write *w)
{
	struct msghdr msg;
	size_t sum = make_msg(socket, &msg, w->iov, w->n);

	assert(w->taken <= (long)sum && (!w->room || w->taken == (long)sum));
	calls(socket);
	set_room(socket, w->room);
	tcp_sending(sock_at(socket), &msg);
	if (w->taken > 0) {
		advance_msg(&msg, (size_t)w->taken);
		tcp_at(socket)->write_seq += (__u32)w->taken;
	}
	if (w->between)
		w->between(w->arg);
	calls(socket);
	tcp_sent(sock_at(socket), &msg, (int)w->taken);
}

void core_read(int socket, const struct core_iov *iov, size_t n)
{
	struct msghdr msg;
	size_t sum = make_msg(socket, &msg, iov, n);

	calls(socket);
	advance_msg(&msg, sum);
	tcp_at(socket)->copied_seq += (__u32)sum;
	tcp_at(socket)->rcv_nxt = tcp_at(socket)->copied_seq;
	tcp_received(sock_at(socket), &msg, (__u32)sum);
}

void core_pass(int socket, int dir, size_t len)
{
	struct msghdr msg = { .msg_iter = { .iter_type = ITER_OTHER,
					    .count = len } };

	calls(socket);
	if (dir == TAP_RX) {
		tcp_at(socket)->copied_seq += (__u32)len;
		tcp_at(socket)->rcv_nxt = tcp_at(socket)->copied_seq;
		tap_moved(sock_at(socket), TAP_RX, 0);
		return;
	}
	set_room(socket, true);
	tcp_sending(sock_at(socket), &msg);
	advance_msg(&msg, len);
	tcp_at(socket)->write_seq += (__u32)len;
	tcp_sent(sock_at(socket), &msg, (int)len);
}

void core_read_end(int socket)
{
	calls(socket);
	sock_at(socket)->__sk_common.skc_flags |= 1ul << SOCK_DONE;
	tcp_at(socket)->rcv_nxt = ++tcp_at(socket)->copied_seq;
	tap_ended(sock_at(socket), TAP_RX);
}

static void set_state(int socket, int state)
{
	__u64 args[3] = { (__u64)sock_at(socket), 0, (__u64)state };

	inet_sock_set_state((struct bpf_raw_tracepoint_args *)args);
	sock_at(socket)->__sk_common.skc_state = (unsigned char)state;
}

void core_shutdown(int socket)
{
	calls(socket);
	set_state(socket, TCP_FIN_WAIT1);
	tcp_at(socket)->write_seq++;
}

void core_close(int socket, int error)
{
	__u64 args[1] = { (__u64)sock_at(socket) };

	calls(socket);
	sock_at(socket)->sk_err = error;
	set_state(socket, TCP_CLOSE);
	tcp_destroy_sock((struct bpf_raw_tracepoint_args *)args);
	core.sockets[socket].open = false;
}

/* --- the agent's side --- */

size_t core_drain_some(size_t n)
{
	struct queued *q;
	size_t left = 0;

	while (n && (q = core.first)) {
		assert(q->ready);
		core.first = q->next;
		if (!core.first)
			core.last = NULL;
		core.used -= q->size;
		if (!q->dropped) {
			core.opt.record(core.opt.arg, q->data, q->len);
			n--;
		}
		free(q);
	}
	for (q = core.first; q; q = q->next)
		left++;
	return left;
}

void core_drain(void)
{
	core_drain_some((size_t)-1);
}

int core_progress(void *arg, uint64_t sock, uint64_t born_ns,
		  struct tap_rec_progress *out, struct tap_rec_place *answers)
{
	const struct tap_conn *conn = bpf_map_lookup_elem(&tap_conns, &sock);

	(void)arg;
	if (!conn || conn->born_ns != born_ns)
		return -ENOENT;
	*out = conn->done;
	fill_place(answers, conn);
	return 0;
}

/* As probe-agent/tap/tap.c does. */
void core_ignore(void *arg, uint64_t sock, uint64_t born_ns, bool for_good)
{
	struct tap_conn *conn = bpf_map_lookup_elem(&tap_conns, &sock);

	(void)arg;
	if (!conn || conn->born_ns != born_ns || conn->flags & CONN_LATE)
		return;
	conn->verdict = for_good ? VERDICT_IGNORED : VERDICT_OTHER;
	conn->recheck = TAP_RECHECK;
	conn->flags &= CONN_OPENED | CONN_ENDED_RX | CONN_ENDED_TX;
	conn->place[TAP_RX] = conn->place[TAP_TX] = PLACE_UNKNOWN;
	conn->role = conn->strikes = 0;
}

uint64_t core_counter(int counter)
{
	return core.counters[counter];
}

uint64_t core_now_ns(void)
{
	return core.now_ns;
}

void core_wait(uint64_t ns)
{
	core.now_ns += ns;
}
