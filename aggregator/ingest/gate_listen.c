/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "aggregator/ingest/gate_state.h"
#include "common/log.h"

#define BACKLOG 4096 /* a fleet that comes back at once */
#define HOST_BYTES 256

/* The host and port of a URL, or NULL. */
static const char *after_scheme(const char *url)
{
	if (gate_url_is_tls(url))
		return url + strlen("tls+tcp://");
	return strncmp(url, "tcp://", 6) == 0 ? url + 6 : NULL;
}

bool gate_url_is_tls(const char *url)
{
	return strncmp(url, "tls+tcp://", 10) == 0;
}

bool gate_url_is_loopback(const char *url)
{
	const char *host = after_scheme(url);

	if (!host)
		return false;
	return strncmp(host, "127.", 4) == 0 ||
	       strncmp(host, "localhost:", 10) == 0 ||
	       strncmp(host, "[::1]:", 6) == 0;
}

/* Brackets around the host go; "" and "*" are every address. */
static int split_url(const char *url, char host[HOST_BYTES], const char **port)
{
	const char *at = after_scheme(url);
	const char *colon = at ? strrchr(at, ':') : NULL;
	size_t n;

	if (!colon || !colon[1])
		return -EINVAL;
	*port = colon + 1;
	n = (size_t)(colon - at);
	if (n >= 2 && at[0] == '[' && colon[-1] == ']') {
		at++;
		n -= 2;
	} else if (memchr(at, ':', n)) {
		return -EINVAL; /* ::1:9471 could mean two things */
	}
	if (n >= HOST_BYTES)
		return -EINVAL;
	if (n == 1 && *at == '*')
		n = 0;
	memcpy(host, at, n);
	host[n] = '\0';
	return 0;
}

static int open_socket(const struct addrinfo *ai, int *out)
{
	int fd, on = 1, err = 0;

	fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
		    0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, ai->ai_addr, ai->ai_addrlen) || listen(fd, BACKLOG))
		err = -errno;
	if (err)
		close(fd);
	else
		*out = fd;
	return err;
}

int gate_listen(const char *url, int *fd)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
				  .ai_flags = AI_PASSIVE | AI_NUMERICSERV };
	struct addrinfo *list = NULL;
	char host[HOST_BYTES];
	const char *port, *why;
	int code, err = split_url(url, host, &port);

	if (err) {
		log_error("ingest address is not tcp://host:port url=%s", url);
		return err;
	}
	code = getaddrinfo(*host ? host : NULL, port, &hints, &list);
	why = code ? gai_strerror(code) : NULL;
	err = -EINVAL;
	for (struct addrinfo *ai = list; ai && err; ai = ai->ai_next)
		err = open_socket(ai, fd);
	if (list)
		freeaddrinfo(list);
	if (err)
		log_error("cannot listen url=%s error=\"%s\"", url,
			  why ? why : strerror(-err));
	return err;
}
