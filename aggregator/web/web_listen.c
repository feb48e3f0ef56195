/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/web/web_listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"

#define BACKLOG 512

/* Splits at the last colon; removes brackets around the host. */
static int split(const char *address, char *host, size_t size,
		 const char **port)
{
	const char *colon = strrchr(address, ':');
	size_t n;

	if (!colon || !colon[1])
		return -EINVAL;
	*port = colon + 1;
	n = (size_t)(colon - address);
	if (n >= 2 && address[0] == '[' && colon[-1] == ']') {
		address++;
		n -= 2;
	} else if (memchr(address, ':', n)) {
		return -EINVAL; /* ::1:9470 is ambiguous */
	}
	if (n >= size)
		return -EINVAL;
	memcpy(host, address, n);
	host[n] = '\0';
	return 0;
}

static int open_socket(const struct addrinfo *ai, bool any, int *out)
{
	int fd, on = 1, off = 0, err;

	fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
		    0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (ai->ai_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, any ? &off : &on,
			   sizeof(on));
	if (bind(fd, ai->ai_addr, ai->ai_addrlen) || listen(fd, BACKLOG)) {
		err = -errno;
		close(fd);
		return err;
	}
	*out = fd;
	return 0;
}

static uint16_t port_of(int fd)
{
	struct sockaddr_storage a;
	socklen_t n = sizeof(a);

	if (getsockname(fd, (struct sockaddr *)&a, &n))
		return 0;
	return ntohs(a.ss_family == AF_INET6
			     ? ((struct sockaddr_in6 *)&a)->sin6_port
			     : ((struct sockaddr_in *)&a)->sin_port);
}

int web_listen(const char *address, int *fd, uint16_t *port)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
				  .ai_flags = AI_PASSIVE | AI_NUMERICSERV };
	struct addrinfo *list = NULL;
	const char *service;
	char host[256];
	int err, code;

	err = split(address, host, sizeof(host), &service);
	if (err) {
		log_error("listen address is not host:port address=\"%s\"",
			  address);
		return err;
	}
	hints.ai_family = *host ? AF_UNSPEC : AF_INET6;
	code = getaddrinfo(*host ? host : "::", service, &hints, &list);
	if (code) {
		log_error("cannot resolve listen address address=\"%s\" "
			  "error=\"%s\"",
			  address, gai_strerror(code));
		return -EINVAL;
	}
	err = open_socket(list, !*host, fd);
	freeaddrinfo(list);
	/* The host has no IPv6. */
	if (err == -EAFNOSUPPORT && !*host) {
		hints.ai_family = AF_INET;
		if (getaddrinfo("0.0.0.0", service, &hints, &list))
			return -EINVAL;
		err = open_socket(list, false, fd);
		freeaddrinfo(list);
	}
	if (err)
		log_error("cannot listen address=\"%s\" error=\"%s\"", address,
			  strerror(-err));
	else
		*port = port_of(*fd);
	return err;
}

bool web_is_loopback(const struct sockaddr *a)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

	if (a->sa_family == AF_INET) {
		const struct sockaddr_in *v4 = (const void *)a;

		return ntohl(v4->sin_addr.s_addr) >> 24 == 127;
	}
	if (a->sa_family == AF_INET6) {
		const uint8_t *b =
			((const struct sockaddr_in6 *)(const void *)a)
				->sin6_addr.s6_addr;

		if (!memcmp(b, mapped, sizeof(mapped)))
			return b[12] == 127;
		return IN6_IS_ADDR_LOOPBACK(
			(const struct in6_addr *)(const void *)b);
	}
	return false;
}
