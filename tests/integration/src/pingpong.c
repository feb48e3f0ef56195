/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ping-pong that is not HTTP, on one connection between two processes:
 * what a call costs that has nothing to do with us. `pingpong PORT TURNS`
 * prints the ns per turn (four calls: two writes, two reads).
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char ping[] = "*1\r\n$4\r\nPING\r\n", pong[] = "+PONG\r\n";

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void move(int fd, const char *out, size_t out_len, size_t in_len)
{
	char in[64];
	size_t at = 0;

	if (out && write(fd, out, out_len) != (ssize_t)out_len)
		fail("write");
	while (at < in_len) {
		ssize_t n = read(fd, in + at, in_len - at);

		if (n <= 0)
			fail("read");
		at += (size_t)n;
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1, status;
	long turns = argc == 3 ? atol(argv[2]) : 0, i;
	struct timespec begin, end;

	if (turns <= 0 || fd < 0)
		return 2;
	alarm(60);
	a.sin_port = htons((uint16_t)atoi(argv[1]));
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, 1))
		fail("listen");
	if (fork() == 0) {
		int s = accept(fd, NULL, NULL);

		alarm(60);
		setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		for (i = 0; i < turns; i++) {
			move(s, NULL, 0, sizeof(ping) - 1);
			move(s, pong, sizeof(pong) - 1, 0);
		}
		return 0;
	}
	close(fd);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)))
		fail("connect");
	clock_gettime(CLOCK_MONOTONIC, &begin);
	for (i = 0; i < turns; i++)
		move(fd, ping, sizeof(ping) - 1, sizeof(pong) - 1);
	clock_gettime(CLOCK_MONOTONIC, &end);
	printf("%ld\n", ((end.tv_sec - begin.tv_sec) * 1000000000L +
			 end.tv_nsec - begin.tv_nsec) /
				turns);
	return wait(&status) > 0 && status == 0 ? 0 : 1;
}
