/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_HTTP_H2_CONN_H
#define PROBE_AGENT_HTTP_H2_CONN_H

#include "probe-agent/http/http_proto.h"

/*
 * HTTP/2 as a protocol of the engine: records of the tap become the pieces that
 * h2.h takes, and what it reports becomes exchanges. A connection is claimed by
 * its first record that the kernel side has marked as HTTP/2, or taken over
 * from HTTP/1 after an upgrade.
 */
extern const struct http_proto h2_proto;

#endif /* PROBE_AGENT_HTTP_H2_CONN_H */
