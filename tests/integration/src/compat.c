/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client that makes its calls as a 32-bit program does (int 0x80, memory
 * below 4 GiB), and a server of the usual kind, one connection for each way to
 * move bytes. Prints "role route status count" of what was really done, "end",
 * and stays until its input ends; "no TEXT" where that can't be done.
 * `compat PORT REQUESTS`.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define MESSAGE_BYTES 600
#define HEAD_BYTES 40 /* of an answer */

static const struct way {
	const char *name;
	int send, receive; /* numbers that i386 has for them */
	enum { BUFFER, VECTOR } shape;
} ways[] = {
	{ "write", 4, 3, BUFFER },
	{ "writev", 146, 145, VECTOR },
	{ "sendto", 369, 371, BUFFER },
};
#define WAYS (sizeof(ways) / sizeof(*ways))
#define GETPID 20

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

#ifndef MAP_32BIT /* only where there are such calls */
#define MAP_32BIT 0
#endif

/* A system call of i386; negative errno. */
static long call32(int nr, long a, uint32_t b, long c)
{
#ifdef __x86_64__
	register long r8 __asm__("r8") = 0;
	int32_t ret;

	/* esi, edi, ebp: flags, address and its length of sendto. */
	__asm__ volatile("push %%rbp; xor %%ebp, %%ebp; int $0x80; pop %%rbp"
			 : "=a"(ret), "+r"(r8)
			 : "0"(nr), "b"(a), "c"(b), "d"(c), "S"(0), "D"(0)
			 : "memory", "r9", "r10", "r11");
	return ret;
#else
	(void)nr, (void)a, (void)b, (void)c;
	return -ENOSYS;
#endif
}

/* What such a call can reach. */
static struct low {
	struct {
		uint32_t base, len;
	} iov;
	char bytes[MESSAGE_BYTES];
} * low;

static long move32(const struct way *way, int nr, int fd, size_t len)
{
	uint32_t bytes = (uint32_t)(uintptr_t)low->bytes;

	if (way->shape == BUFFER)
		return call32(nr, fd, bytes, (long)len);
	low->iov.base = bytes;
	low->iov.len = (uint32_t)len;
	return call32(nr, fd, (uint32_t)(uintptr_t)&low->iov, 1);
}

static void client(const struct way *way, int fd, int requests)
{
	int n;

	for (int i = 0; i < requests; i++) {
		n = snprintf(low->bytes, sizeof(low->bytes),
			     "GET /compat/%s HTTP/1.1\r\nHost: compat\r\n\r\n",
			     way->name);
		if (move32(way, way->send, fd, (size_t)n) != n)
			fail("the client's write");
		if (move32(way, way->receive, fd, MESSAGE_BYTES) !=
		    MESSAGE_BYTES)
			fail("the client's read");
	}
	printf("client /compat/%s 200 %d\n", way->name, requests);
}

static void server(const struct way *way, int fd, int requests)
{
	char in[MESSAGE_BYTES], out[MESSAGE_BYTES];
	int i;

	memset(out, 'x', sizeof(out));
	i = snprintf(out, sizeof(out),
		     "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n",
		     MESSAGE_BYTES - HEAD_BYTES);
	if (i != HEAD_BYTES)
		fail("the answer's head");
	out[i] = 'x';
	for (i = 0; i < requests; i++) {
		if (read(fd, in, sizeof(in)) <= 0)
			fail("the server's read");
		if (write(fd, out, sizeof(out)) != (ssize_t)sizeof(out))
			fail("the server's write");
	}
	printf("server /compat/%s 200 %d\n", way->name, requests);
	fflush(stdout);
}

/* Kernels without such calls answer with a signal. */
static int can_call32(void)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(call32(GETPID, 0, 0, 0) != getpid());
	return waitpid(pid, &status, 0) == pid && status == 0;
}

int main(int argc, char **argv)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_addr = { htonl(INADDR_LOOPBACK) } };
	int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1, status;
	pid_t pid;

	if (argc != 3)
		return 2;
	if (!can_call32()) {
		printf("no system calls of i386 in this kernel\n");
		return 0;
	}
	low = mmap(NULL, sizeof(*low), PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	if (low == MAP_FAILED)
		fail("mmap");
	at.sin_port = htons((uint16_t)atoi(argv[1]));
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listener, (void *)&at, sizeof(at)) || listen(listener, 5))
		fail("listen");
	pid = fork();
	for (size_t w = 0; w < WAYS; w++) {
		int fd;

		if (pid == 0) {
			fd = accept(listener, NULL, NULL);
			server(&ways[w], fd, atoi(argv[2]));
		} else {
			fd = socket(AF_INET, SOCK_STREAM, 0);
			if (connect(fd, (void *)&at, sizeof(at)))
				fail("connect");
			client(&ways[w], fd, atoi(argv[2]));
		}
		close(fd);
	}
	if (pid == 0)
		return 0;
	if (waitpid(pid, &status, 0) != pid || status)
		fail("the server");
	printf("end\n");
	fflush(stdout);
	while (read(0, &one, 1) > 0)
		;
	return 0;
}
