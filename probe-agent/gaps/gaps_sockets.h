/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_GAPS_GAPS_SOCKETS_H
#define PROBE_AGENT_GAPS_GAPS_SOCKETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/batch.h"

/*
 * The sockets of a network namespace that may carry HTTP, as /proc/PID/net
 * lists them: TCP listeners, connections, and UDP at port 443. Not locked.
 */
struct gaps_socket {
	uint64_t inode;
	uint16_t local_port, remote_port;
	bool udp, listens;
};

/* Sockets that are read of one namespace; those behind are counted only. */
#define GAPS_SOCKETS_MAX (1u << 20)

struct gaps_sockets {
	struct gaps_socket *socket; /* by inode */
	size_t n, cap;
	uint64_t left_out; /* over the cap */
	uint8_t listening[65536 / 8]; /* bits of local TCP ports */
};

/*
 * Reads the namespace of a process. 0, or negative errno: that of reading, or
 * -ENOMEM. gaps_sockets_fini() releases what is in *out, also after an error.
 */
int gaps_sockets_read(struct gaps_sockets *out, const char *proc, uint32_t pid);
void gaps_sockets_fini(struct gaps_sockets *s);

/* NULL: no such socket, or none that may carry HTTP. */
const struct gaps_socket *gaps_sockets_find(const struct gaps_sockets *s,
					    uint64_t inode);
/* *port: the service's, which is local on a server and remote on a client. */
enum role gaps_sockets_role(const struct gaps_sockets *s,
			    const struct gaps_socket *socket, uint16_t *port);

/* Parses one line of /proc/net/tcp, tcp6, udp or udp6. False: not of interest.
 */
bool gaps_sockets_parse(const char *line, bool udp, struct gaps_socket *out);

#endif /* PROBE_AGENT_GAPS_GAPS_SOCKETS_H */
