/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_HTTP_TUNNEL_H
#define PROBE_AGENT_HTTP_TUNNEL_H

#include "probe-agent/http/conn_engine.h"

/*
 * Connections that HTTP has opened for another protocol. What they carry is not
 * inspected; their bytes and their time are counted when they end.
 */
extern const struct http_proto tunnel_proto;

struct tunnel_begin {
	enum conn_tunnel_protocol protocol;
	uint64_t from[2]; /* its first byte, by enum tap_dir */
	uint64_t start_ns;
};

/*
 * c becomes a tunnel, and what c was is gone. Without tunnel_proto in the
 * engine c is ignored.
 */
void tunnel_begin(struct conn_engine *e, struct conn *c,
		  const struct tunnel_begin *begin);

#endif /* PROBE_AGENT_HTTP_TUNNEL_H */
