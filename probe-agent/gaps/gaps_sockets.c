/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/gaps/gaps_sockets.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TCP_STATE_ESTABLISHED 0x01
#define TCP_STATE_LISTEN 0x0a
#define HTTPS_PORT 443

/*
 *   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt
 *    0: 0100007F:24FF 00000000:0000 0A 00000000:00000000 00:00000000 00000000
 *       uid  timeout inode
 *         0        0 12345 …
 */
bool gaps_sockets_parse(const char *line, bool udp, struct gaps_socket *out)
{
	unsigned local, remote, state;
	unsigned long long inode;

	if (sscanf(line,
		   " %*u: %*[0-9A-Fa-f]:%4x %*[0-9A-Fa-f]:%4x %2x "
		   "%*x:%*x %*x:%*x %*x %*u %*u %llu",
		   &local, &remote, &state, &inode) != 4 ||
	    !inode)
		return false;
	if (udp ? local != HTTPS_PORT && remote != HTTPS_PORT
		: state != TCP_STATE_LISTEN && state != TCP_STATE_ESTABLISHED)
		return false;
	*out = (struct gaps_socket){ .inode = inode,
				     .local_port = (uint16_t)local,
				     .remote_port = (uint16_t)remote,
				     .udp = udp,
				     .listens = !udp &&
						state == TCP_STATE_LISTEN };
	return true;
}

static int add_socket(struct gaps_sockets *s, const struct gaps_socket *socket)
{
	if (socket->listens)
		s->listening[socket->local_port / 8] |=
			(uint8_t)(1 << socket->local_port % 8);
	if (s->n == GAPS_SOCKETS_MAX) {
		s->left_out++;
		return 0;
	}
	if (s->n == s->cap) {
		size_t cap = s->cap ? 2 * s->cap : 256;
		void *p = realloc(s->socket, cap * sizeof(*s->socket));

		if (!p)
			return -ENOMEM;
		s->socket = p;
		s->cap = cap;
	}
	s->socket[s->n++] = *socket;
	return 0;
}

static int read_table(struct gaps_sockets *s, const char *path, bool udp)
{
	struct gaps_socket socket;
	char line[512];
	int err = 0;
	FILE *f = fopen(path, "re");

	if (!f)
		return -errno;
	while (!err && fgets(line, sizeof(line), f))
		if (gaps_sockets_parse(line, udp, &socket))
			err = add_socket(s, &socket);
	fclose(f);
	return err;
}

static int compare_inodes(const void *pa, const void *pb)
{
	const struct gaps_socket *a = pa, *b = pb;

	return a->inode < b->inode ? -1 : a->inode > b->inode;
}

int gaps_sockets_read(struct gaps_sockets *out, const char *proc, uint32_t pid)
{
	static const char *const tables[] = { "tcp", "tcp6", "udp", "udp6" };
	char path[64];
	int err = 0;

	memset(out, 0, sizeof(*out));
	for (size_t i = 0; i < sizeof(tables) / sizeof(*tables) && !err; i++) {
		snprintf(path, sizeof(path), "%s/%u/net/%s", proc, pid,
			 tables[i]);
		err = read_table(out, path, *tables[i] == 'u');
		/* A kernel without IPv6 has no table of it. */
		if (err == -ENOENT && strchr(tables[i], '6'))
			err = 0;
	}
	if (out->n)
		qsort(out->socket, out->n, sizeof(*out->socket),
		      compare_inodes);
	return err;
}

void gaps_sockets_fini(struct gaps_sockets *s)
{
	free(s->socket);
	memset(s, 0, sizeof(*s));
}

const struct gaps_socket *gaps_sockets_find(const struct gaps_sockets *s,
					    uint64_t inode)
{
	const struct gaps_socket key = { .inode = inode };

	if (!s->n)
		return NULL;
	return bsearch(&key, s->socket, s->n, sizeof(*s->socket),
		       compare_inodes);
}

enum role gaps_sockets_role(const struct gaps_sockets *s,
			    const struct gaps_socket *socket, uint16_t *port)
{
	bool server;

	if (socket->udp)
		server = socket->local_port == HTTPS_PORT;
	else
		server = s->listening[socket->local_port / 8] &
			 1 << socket->local_port % 8;
	*port = server ? socket->local_port : socket->remote_port;
	return server ? ROLE_SERVER : ROLE_CLIENT;
}
