/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server and a client that move HTTP messages by io_uring and nothing else:
 * one connection for each pair of an operation and of who carries it out (the
 * caller, a worker thread, the kernel's polling thread). Prints "role route
 * status count" of what was really done, "end", and stays until its input
 * ends; "no TEXT" where io_uring can't be used. `uring PORT REQUESTS`.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/io_uring.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define MESSAGE_BYTES 600
#define ENTRIES 4

enum who { CALLER, WORKER, POLLER, N_WHO };
enum op { SEND, SENDMSG, N_OPS };
static const char *const who_name[] = { "caller", "worker", "poller" };
static const char *const op_name[] = { "send", "sendmsg" };

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

/* One ring; one operation at a time. */
struct ring {
	int fd;
	enum who who;
	char *sq, *cq;
	struct io_uring_sqe *sqes;
	struct io_uring_params p;
};

static int ring_open(struct ring *r, enum who who)
{
	size_t sq_bytes, cq_bytes;

	memset(r, 0, sizeof(*r));
	r->who = who;
	if (who == POLLER)
		r->p.flags = IORING_SETUP_SQPOLL;
	r->p.sq_thread_idle = 100;
	r->fd = (int)syscall(SYS_io_uring_setup, ENTRIES, &r->p);
	if (r->fd < 0)
		return -errno;
	sq_bytes = r->p.sq_off.array + r->p.sq_entries * sizeof(uint32_t);
	cq_bytes = r->p.cq_off.cqes +
		   r->p.cq_entries * sizeof(struct io_uring_cqe);
	r->sq = mmap(NULL, sq_bytes, PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_POPULATE, r->fd, IORING_OFF_SQ_RING);
	r->cq = mmap(NULL, cq_bytes, PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_POPULATE, r->fd, IORING_OFF_CQ_RING);
	r->sqes = mmap(NULL, r->p.sq_entries * sizeof(*r->sqes),
		       PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, r->fd,
		       IORING_OFF_SQES);
	if (r->sq == MAP_FAILED || r->cq == MAP_FAILED || r->sqes == MAP_FAILED)
		fail("mmap of a ring");
	return 0;
}

static uint32_t *field(char *ring, uint32_t offset)
{
	return (uint32_t *)(void *)(ring + offset);
}

/* Hands one operation over and waits for it: its result. */
static int carry_out(struct ring *r, const struct io_uring_sqe *op)
{
	uint32_t *tail = field(r->sq, r->p.sq_off.tail);
	uint32_t *head = field(r->cq, r->p.cq_off.head);
	uint32_t *flags = field(r->sq, r->p.sq_off.flags);
	uint32_t mask = *field(r->sq, r->p.sq_off.ring_mask);
	unsigned enter = IORING_ENTER_GETEVENTS;
	struct io_uring_cqe *cqes = (void *)(r->cq + r->p.cq_off.cqes);
	int res;

	r->sqes[*tail & mask] = *op;
	field(r->sq, r->p.sq_off.array)[*tail & mask] = *tail & mask;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_SEQ_CST);
	if (r->who == POLLER &&
	    __atomic_load_n(flags, __ATOMIC_SEQ_CST) & IORING_SQ_NEED_WAKEUP)
		enter |= IORING_ENTER_SQ_WAKEUP;
	while (syscall(SYS_io_uring_enter, r->fd, r->who == POLLER ? 0 : 1, 1,
		       enter, NULL, 0) < 0)
		if (errno != EINTR)
			fail("io_uring_enter");
	mask = *field(r->cq, r->p.cq_off.ring_mask);
	res = cqes[*head & mask].res;
	__atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
	return res;
}

/* All of the buffer, one way or the other. */
static void move(struct ring *r, enum op op, bool out, int fd, char *buf)
{
	size_t done = 0;

	while (done < MESSAGE_BYTES) {
		struct iovec v[2] = { { buf + done, 1 },
				      { buf + done + 1,
					MESSAGE_BYTES - done - 1 } };
		struct msghdr m = { .msg_iov = v, .msg_iovlen = 2 };
		struct io_uring_sqe s = { .fd = fd };
		int n;

		if (op == SEND) {
			s.opcode = out ? IORING_OP_SEND : IORING_OP_RECV;
			s.addr = (uintptr_t)(buf + done);
			s.len = (uint32_t)(MESSAGE_BYTES - done);
		} else {
			s.opcode = out ? IORING_OP_SENDMSG : IORING_OP_RECVMSG;
			s.addr = (uintptr_t)&m;
			s.len = 1;
		}
		if (r->who == WORKER)
			s.flags = IOSQE_ASYNC;
		n = carry_out(r, &s);
		if (n <= 0) {
			errno = -n;
			fail(out ? "sending" : "receiving");
		}
		done += (size_t)n;
	}
}

/* A message of exactly MESSAGE_BYTES. */
static void make_message(char *out, const char *start)
{
	int body = MESSAGE_BYTES / 2;
	int n = snprintf(out, MESSAGE_BYTES,
			 "%s\r\nContent-Length: %d\r\nX-Pad: ", start, body);

	memset(out + n, 'x', (size_t)(MESSAGE_BYTES - body - 4 - n));
	memcpy(out + MESSAGE_BYTES - body - 4, "\r\n\r\n", 4);
	memset(out + MESSAGE_BYTES - body, 'y', (size_t)body);
}

static int status_of(enum who who, enum op op)
{
	return 200 + (int)who * N_OPS + (int)op;
}

static void converse(struct ring *r, enum op op, int fd, bool server,
		     int requests)
{
	char want[MESSAGE_BYTES], got[MESSAGE_BYTES], start[128];

	for (int i = 0; i < requests; i++) {
		snprintf(start, sizeof(start), "POST /%s/%s HTTP/1.1",
			 who_name[r->who], op_name[op]);
		make_message(want, start);
		if (server) {
			move(r, op, false, fd, got);
			if (memcmp(want, got, sizeof(got)))
				exit(2);
			snprintf(start, sizeof(start), "HTTP/1.1 %d Fine",
				 status_of(r->who, op));
			make_message(want, start);
			move(r, op, true, fd, want);
		} else {
			move(r, op, true, fd, want);
			move(r, op, false, fd, got);
			if (memcmp(got, "HTTP/1.1 2", 10))
				exit(2);
		}
	}
}

static int endpoint(int listener, const struct sockaddr_in *to)
{
	int fd;

	if (listener >= 0) {
		fd = accept(listener, NULL, NULL);
	} else {
		fd = socket(AF_INET, SOCK_STREAM, 0);
		if (connect(fd, (const void *)to, sizeof(*to)))
			fail("connect");
	}
	if (fd < 0)
		fail("a socket");
	return fd;
}

/* One end of all connections; says what it did. */
static void side(int listener, const struct sockaddr_in *to, int requests)
{
	for (int who = 0; who < N_WHO; who++)
		for (int op = 0; op < N_OPS; op++) {
			int fd = endpoint(listener, to);
			struct ring r;

			if (ring_open(&r, (enum who)who))
				fail("io_uring_setup");
			converse(&r, (enum op)op, fd, listener >= 0, requests);
			printf("%s /%s/%s %d %d\n",
			       listener >= 0 ? "server" : "client",
			       who_name[who], op_name[op],
			       status_of((enum who)who, (enum op)op), requests);
			fflush(stdout);
			close(r.fd);
			close(fd);
		}
}

int main(int argc, char **argv)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_addr = { htonl(INADDR_LOOPBACK) } };
	int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1, status, c;
	int over[2];
	struct ring probe;
	pid_t pid;

	if (argc != 3)
		return 2;
	for (c = 0; c < N_WHO; c++) {
		int err = ring_open(&probe, (enum who)c);

		if (err) {
			printf("no io_uring: %s\n", strerror(-err));
			return 0;
		}
		close(probe.fd);
	}
	at.sin_port = htons((uint16_t)atoi(argv[1]));
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listener, (void *)&at, sizeof(at)) || listen(listener, 5))
		fail("listen");
	if (pipe(over))
		fail("pipe");
	pid = fork();
	if (pid == 0) {
		side(-1, &at, atoi(argv[2]));
		close(over[0]);
		close(over[1]);
		while (read(0, &one, 1) > 0)
			;
		return 0;
	}
	side(listener, NULL, atoi(argv[2]));
	close(over[1]);
	while (read(over[0], &one, 1) > 0) /* until the client is done, too */
		;
	printf("end\n");
	fflush(stdout);
	while (read(0, &one, 1) > 0)
		;
	waitpid(pid, &status, 0);
	return status ? 1 : 0;
}
