/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "aggregator/ingest/gate_state.h"

/* Says why a peer is not served. */

static void peer_text(const struct gate_conn *c, char out[GATE_PEER_BYTES])
{
	char text[INET6_ADDRSTRLEN];

	if (c->peer.any.sa_family == AF_INET &&
	    inet_ntop(AF_INET, &c->peer.in.sin_addr, text, sizeof(text)))
		snprintf(out, GATE_PEER_BYTES, "%s:%u", text,
			 ntohs(c->peer.in.sin_port));
	else if (c->peer.any.sa_family == AF_INET6 &&
		 inet_ntop(AF_INET6, &c->peer.in6.sin6_addr, text,
			   sizeof(text)))
		snprintf(out, GATE_PEER_BYTES, "[%s]:%u", text,
			 ntohs(c->peer.in6.sin6_port));
	else
		snprintf(out, GATE_PEER_BYTES, "unknown");
}

void gate_tell(struct gate_conn *c, enum refusal cause, const char *agent,
	       const char *detail)
{
	char peer[GATE_PEER_BYTES];

	peer_text(c, peer);
	refusal_tell(c->gate->refusals, cause, peer, agent, detail);
}

const char *gate_tell_hello(const uint8_t *head)
{
	if (head[0] == 0x16 && head[1] == 3)
		return "the peer speaks TLS, but this address does not: use "
		       "tcp:// at the agent, or tls+tcp:// here";
	if (memcmp(head, "GET ", 4) == 0 || memcmp(head, "HEAD", 4) == 0 ||
	    memcmp(head, "POST", 4) == 0)
		return "the peer speaks HTTP: metrics are at another port";
	if (memcmp(head, "\0SP", 4) == 0)
		return "the peer speaks another protocol of nng than REQ";
	return "the peer does not speak nng's REQ/REP";
}
