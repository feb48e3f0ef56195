/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_HTTP_MESSAGE_H
#define PROBE_AGENT_HTTP_MESSAGE_H

#include "probe-agent/http/stream.h"

/*
 * Bytes that are in their place → heads, bodies, and what they mean for the
 * requests under way. Part of the engine, as stream.h, which finds the place.
 */

/* What is left to take of one record. */
struct input {
	int dir;
	uint8_t flags; /* those about data[0] go when it is passed */
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

/* Takes all of in. May leave c ignored. */
void message_take(struct stream_env *env, struct conn *c, struct input *in);

#endif /* PROBE_AGENT_HTTP_MESSAGE_H */
