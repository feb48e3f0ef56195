/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_HTTP_MESSAGE_H
#define PROBE_AGENT_HTTP_MESSAGE_H

#include "probe-agent/http/stream.h"

/*
 * Parses bytes whose position is known into heads and bodies, and applies them
 * to the requests under way. Part of the engine like stream.h, which finds the
 * position.
 */

/* The bytes of one record that are not consumed yet. */
struct input {
	int dir;
	uint8_t flags; /* flags about data[0] are cleared once it is consumed */
	uint64_t pos;
	const char *data;
	size_t len;
	uint64_t first_ns, last_ns;
};

static inline void input_advance(struct input *in, size_t n)
{
	if (n == 0)
		return;
	in->pos += n;
	in->data += n;
	in->len -= n;
	in->flags &= (uint8_t) ~(TAP_F_CALL_START | TAP_F_MESSAGE_START);
}

/* Consumes all of in. May ignore c: see stream_ignore(). */
void message_take(struct stream_env *env, struct conn *c, struct input *in);

#endif /* PROBE_AGENT_HTTP_MESSAGE_H */
