/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/http/http_proto.h"

#include "probe-agent/http/h1_conn.h"
#include "probe-agent/http/h2_conn.h"
#include "probe-agent/http/tunnel.h"

const struct http_proto *const http_protos[] = {
	&h2_proto,
	&tunnel_proto,
	&h1_proto,
	NULL,
};
