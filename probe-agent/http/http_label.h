/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_HTTP_HTTP_LABEL_H
#define PROBE_AGENT_HTTP_HTTP_LABEL_H

#include <stdbool.h>
#include <stdint.h>

#include "probe-agent/http/exchange.h"

/*
 * What an event says of an exchange, from what was sent: bounded sets of
 * values, and texts that are safe as labels. No allocation, no globals; any
 * thread.
 */

#define HTTP_LABEL_HOST_MAX 253 /* of a DNS name */

/*
 * The methods of RFC 9110 and RFC 5789; all others are one label value,
 * "_OTHER". Static.
 */
const char *http_label_method(struct slice method);

/*
 * The name that a client asked for: the Host header without its port, in lower
 * case. If that can't be a host name, the server's address.
 */
void http_label_host(const struct exchange *x,
		     char out[HTTP_LABEL_HOST_MAX + 1]);

/*
 * W3C Trace Context: "00-" trace id "-" parent id "-" flags, to 16 and 8 bytes.
 * False if it is none.
 */
bool http_label_trace(struct slice traceparent, uint8_t out[24]);

#endif /* PROBE_AGENT_HTTP_HTTP_LABEL_H */
