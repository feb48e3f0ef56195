/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_HTTP_HEAD_H
#define PROBE_AGENT_HTTP_HEAD_H

#include "probe-agent/http/conn_engine.h"

/*
 * The start of a message head that is not complete. Its memory counts against
 * the engine's cap; the protocol that asked for it owns it.
 */

#define HEAD_MAX_BYTES (256u << 10) /* a longer head is cut */

/* Where a head began. */
struct head_at {
	uint64_t start; /* position of its first byte */
	uint64_t start_ns; /* when that moved */
	bool at_call_start; /* it was the first byte of its call */
	bool cut; /* no more of the head will be seen */
	uint8_t turn; /* enum tap_turn; 0: not known */
};

struct head_buf {
	struct head_at at;
	uint32_t len, cap;
	char data[];
};

/*
 * Appends to *buf; NULL: creates one, which begins at at. -ENOBUFS: a cap is
 * reached, or no memory; *buf is as it was.
 */
int head_buf_append(struct conn_engine *e, struct head_buf **buf,
		    const struct head_at *at, const char *data, size_t len);
/* NULL is fine. */
void head_buf_free(struct conn_engine *e, struct head_buf *b);
/* Frees *buf, if there is one, and clears it. */
void head_buf_drop(struct conn_engine *e, struct head_buf **buf);

#endif /* PROBE_AGENT_HTTP_HEAD_H */
