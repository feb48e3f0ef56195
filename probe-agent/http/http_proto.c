/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/http/http_proto.h"

#include "probe-agent/http/h1_conn.h"

const struct http_proto *const http_protos[] = {
	&h1_proto,
	NULL,
};
