/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_HTTP_H1_MESSAGE_H
#define PROBE_AGENT_HTTP_H1_MESSAGE_H

#include "probe-agent/http/h1_conn.h"

/*
 * Parses bytes whose position is known into heads and bodies, and applies them
 * to the requests under way. Part of HTTP/1 like h1_conn.h, which finds the
 * position.
 */

/* The bytes of one record that are not consumed yet. */
struct h1_input {
	int dir;
	uint8_t flags; /* flags about data[0] are cleared once it is consumed */
	uint8_t turn; /* enum tap_turn, likewise */
	uint64_t pos;
	const char *data;
	size_t len;
	uint64_t first_ns, last_ns;
};

/* Consumes all of in. May ignore the connection: see conn_ignore(). */
void h1_message_take(struct conn_engine *e, struct h1_conn *h,
		     struct h1_input *in);

#endif /* PROBE_AGENT_HTTP_H1_MESSAGE_H */
