/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server and a client that move HTTP messages with every system call that
 * can: one connection for each pair of a writing and a reading call, IPv4 and
 * IPv6. Prints "role route status count" of what was really done, "end", and
 * stays until its input ends. `syscalls PORT REQUESTS`.
 */
#include <arpa/inet.h>
#include <assert.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

/* Fixed sizes, so that a reader that splices knows where the body begins. */
#define HEAD_BYTES 300
#define BODY_BYTES 1200
#define MESSAGE_BYTES (HEAD_BYTES + BODY_BYTES)

enum writer { WRITE, WRITEV, SENDTO, SENDMSG, SENDMMSG, SENDFILE, SPLICE_OUT };
enum reader { READ, READV, RECVFROM, RECVMSG, RECVMMSG, SPLICE_IN };
static const char *const writers[] = { "write",	  "writev",   "sendto",
				       "sendmsg", "sendmmsg", "sendfile",
				       "splice" };
static const char *const readers[] = { "read",	  "readv",    "recvfrom",
				       "recvmsg", "recvmmsg", "splice" };
#define N_WRITERS 7
#define N_READERS 6

struct pair {
	int writer, reader;
	bool six;
};

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void want(ssize_t got, ssize_t expected, const char *what)
{
	if (got != expected) {
		fprintf(stderr, "%s: %zd, not %zd\n", what, got, expected);
		fail(what);
	}
}

static int status_of(const struct pair *p)
{
	return 200 + p->writer * N_READERS + p->reader + (p->six ? 50 : 0);
}

static void route_of(const struct pair *p, char *out, size_t size)
{
	snprintf(out, size, "/%s/%s/%s", writers[p->writer], readers[p->reader],
		 p->six ? "six" : "four");
}

/* A message of exactly MESSAGE_BYTES: start line, length, padding, body. */
static void make_message(char *out, const char *start)
{
	int n = snprintf(out, HEAD_BYTES,
			 "%s\r\nContent-Length: %d\r\nX-Pad: ", start,
			 BODY_BYTES);

	assert(n > 0 && n < HEAD_BYTES - 4);
	memset(out + n, 'x', (size_t)(HEAD_BYTES - 4 - n));
	memcpy(out + HEAD_BYTES - 4, "\r\n\r\n", 4);
	memset(out + HEAD_BYTES, 'y', BODY_BYTES);
}

static void splice_body_out(int fd, char *body)
{
	int pipes[2];
	size_t left = BODY_BYTES;

	if (pipe(pipes))
		fail("pipe");
	want(write(pipes[1], body, BODY_BYTES), BODY_BYTES, "write to a pipe");
	while (left) {
		ssize_t n = splice(pipes[0], NULL, fd, NULL, left, 0);

		if (n <= 0)
			fail("splice to a socket");
		left -= (size_t)n;
	}
	close(pipes[0]);
	close(pipes[1]);
}

static void sendfile_body(int fd, char *body)
{
	int file = memfd_create("body", 0);
	off_t at = 0;

	if (file < 0)
		fail("memfd_create");
	want(write(file, body, BODY_BYTES), BODY_BYTES, "write to a file");
	while (at < BODY_BYTES) {
		if (sendfile(fd, file, &at, (size_t)(BODY_BYTES - at)) <= 0)
			fail("sendfile");
	}
	close(file);
}

static void send_message(enum writer how, int fd, char *m)
{
	struct iovec v[3] = { { m, 10 },
			      { m + 10, HEAD_BYTES - 10 },
			      { m + HEAD_BYTES, BODY_BYTES } };
	struct msghdr all = { .msg_iov = v, .msg_iovlen = 3 };
	/* The head in two of them: so each has to be found. */
	struct mmsghdr three[3] = {
		{ .msg_hdr = { .msg_iov = v, .msg_iovlen = 1 } },
		{ .msg_hdr = { .msg_iov = v + 1, .msg_iovlen = 1 } },
		{ .msg_hdr = { .msg_iov = v + 2, .msg_iovlen = 1 } },
	};

	switch (how) {
	case WRITE:
		want(write(fd, m, MESSAGE_BYTES), MESSAGE_BYTES, "write");
		break;
	case WRITEV:
		want(writev(fd, v, 3), MESSAGE_BYTES, "writev");
		break;
	case SENDTO:
		want(sendto(fd, m, MESSAGE_BYTES, 0, NULL, 0), MESSAGE_BYTES,
		     "sendto");
		break;
	case SENDMSG:
		want(sendmsg(fd, &all, 0), MESSAGE_BYTES, "sendmsg");
		break;
	case SENDMMSG:
		want(sendmmsg(fd, three, 3, 0), 3, "sendmmsg");
		want(three[0].msg_len + three[1].msg_len + three[2].msg_len,
		     MESSAGE_BYTES, "sendmmsg");
		break;
	case SENDFILE:
		want(write(fd, m, HEAD_BYTES), HEAD_BYTES, "write");
		sendfile_body(fd, m + HEAD_BYTES);
		break;
	case SPLICE_OUT:
		want(write(fd, m, HEAD_BYTES), HEAD_BYTES, "write");
		splice_body_out(fd, m + HEAD_BYTES);
		break;
	}
}

/* One reading call; the number of bytes it brought. */
static ssize_t receive(enum reader how, int fd, char *to, size_t len)
{
	size_t first = len > 100 ? 100 : len;
	struct iovec v[2] = { { to, first }, { to + first, len - first } };
	struct msghdr msg = { .msg_iov = v, .msg_iovlen = 2 };
	struct mmsghdr two[2] = {
		{ .msg_hdr = { .msg_iov = v, .msg_iovlen = 1 } },
		{ .msg_hdr = { .msg_iov = v + 1, .msg_iovlen = 1 } },
	};
	int n;

	switch (how) {
	case READV:
		return readv(fd, v, 2);
	case RECVFROM:
		return recvfrom(fd, to, len, 0, NULL, NULL);
	case RECVMSG:
		return recvmsg(fd, &msg, 0);
	case RECVMMSG:
		n = recvmmsg(fd, two, len > first ? 2 : 1, MSG_WAITFORONE,
			     NULL);
		if (n < 1)
			return n;
		return (ssize_t)two[0].msg_len +
		       (n == 2 ? (ssize_t)two[1].msg_len : 0);
	default:
		return read(fd, to, len);
	}
}

static void splice_in(int fd, char *to, size_t len)
{
	int pipes[2];

	if (pipe(pipes))
		fail("pipe");
	while (len) {
		ssize_t n = splice(fd, NULL, pipes[1], NULL, len, 0);

		if (n <= 0)
			fail("splice from a socket");
		want(read(pipes[0], to, (size_t)n), n, "read from a pipe");
		to += n;
		len -= (size_t)n;
	}
	close(pipes[0]);
	close(pipes[1]);
}

static void receive_message(enum reader how, int fd, char *m)
{
	size_t end = how == SPLICE_IN ? HEAD_BYTES : MESSAGE_BYTES, at = 0;

	while (at < end) {
		ssize_t n = receive(how, fd, m + at, end - at);

		if (n <= 0)
			fail(readers[how]);
		at += (size_t)n;
	}
	if (how == SPLICE_IN)
		splice_in(fd, m + HEAD_BYTES, BODY_BYTES);
}

static void address(bool six, int port, struct sockaddr_storage *out,
		    socklen_t *len)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)out;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;

	memset(out, 0, sizeof(*out));
	if (six) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons((uint16_t)port);
		v6->sin6_addr = in6addr_loopback;
		*len = sizeof(*v6);
	} else {
		v4->sin_family = AF_INET;
		v4->sin_port = htons((uint16_t)port);
		v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		*len = sizeof(*v4);
	}
}

static int tcp_socket(bool six)
{
	int fd = socket(six ? AF_INET6 : AF_INET, SOCK_STREAM, 0), on = 1;

	if (fd < 0)
		fail("socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return fd;
}

static int listen_on(bool six, int port)
{
	struct sockaddr_storage a;
	socklen_t len;
	int fd = tcp_socket(six);

	address(six, port, &a, &len);
	if (bind(fd, (struct sockaddr *)&a, len) || listen(fd, 8))
		fail("listen");
	return fd;
}

static void serve(const struct pair *p, int listener, int requests)
{
	char start[64], out[MESSAGE_BYTES], in[MESSAGE_BYTES], route[64];
	int fd = accept(listener, NULL, NULL), i;

	if (fd < 0)
		fail("accept");
	snprintf(start, sizeof(start), "HTTP/1.1 %d Fine", status_of(p));
	make_message(out, start);
	for (i = 0; i < requests; i++) {
		receive_message(p->reader, fd, in);
		send_message(p->writer, fd, out);
	}
	route_of(p, route, sizeof(route));
	printf("server %s %d %d\n", route, status_of(p), i);
	want(read(fd, in, 1), 0, "end of file");
	close(fd);
}

static void ask(const struct pair *p, int port, int requests)
{
	char start[128], out[MESSAGE_BYTES], in[MESSAGE_BYTES], route[64];
	struct sockaddr_storage a;
	socklen_t len;
	int fd = tcp_socket(p->six), i;

	address(p->six, port, &a, &len);
	if (connect(fd, (struct sockaddr *)&a, len))
		fail("connect");
	route_of(p, route, sizeof(route));
	snprintf(start, sizeof(start), "POST %s HTTP/1.1\r\nHost: localhost",
		 route);
	make_message(out, start);
	for (i = 0; i < requests; i++) {
		send_message(p->writer, fd, out);
		receive_message(p->reader, fd, in);
	}
	printf("client %s %d %d\n", route, status_of(p), i);
	close(fd);
}

/* All pairs, one connection each, in the same order on both sides. */
static void converse(bool server, int port, const int *listener, int requests)
{
	for (int i = 0; i < 2 * N_WRITERS * N_READERS; i++) {
		struct pair p = { .six = i % 2,
				  .writer = i / 2 / N_READERS,
				  .reader = i / 2 % N_READERS };

		if (server)
			serve(&p, listener[i % 2], requests);
		else
			ask(&p, port, requests);
	}
	fflush(stdout);
}

int main(int argc, char **argv)
{
	int port = argc == 3 ? atoi(argv[1]) : 0, listener[2], status = 0;
	int requests = argc == 3 ? atoi(argv[2]) : 0;
	int done[2], leave[2];
	pid_t child;
	char c;

	if (port <= 0 || requests <= 0)
		return 2;
	alarm(30);
	listener[0] = listen_on(false, port);
	listener[1] = listen_on(true, port);
	if (pipe(done) || pipe(leave))
		fail("pipe");
	child = fork();
	if (child < 0)
		fail("fork");
	if (child == 0) {
		alarm(30);
		close(leave[1]);
		converse(true, port, listener, requests);
		close(done[1]);
		return read(leave[0], &c, 1) == 0 ? 0 : 1;
	}
	close(done[1]);
	converse(false, port, listener, requests);
	want(read(done[0], &c, 1), 0, "end of the server");
	printf("end\n");
	fflush(stdout);
	while (read(STDIN_FILENO, &c, 1) > 0)
		;
	close(leave[1]);
	if (waitpid(child, &status, 0) != child || status)
		return 1;
	return 0;
}
