/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_HTTP_PENDING_H
#define PROBE_AGENT_HTTP_PENDING_H

#include "probe-agent/http/http1.h"
#include "probe-agent/http/stream.h"

/*
 * What a connection keeps for a while: requests under way, and partial heads.
 * All of it counts against one cap. Part of the engine, like stream.h.
 */

#define POSITION_NONE UINT64_MAX /* not known yet */

struct pending {
	struct pending *next;
	uint32_t size; /* of this allocation */
	uint64_t start; /* position of its first byte */
	uint64_t body; /* position of its body */
	uint64_t body_end; /* POSITION_NONE: chunked or unknown */
	uint64_t stamp; /* response direction's position at the request */
	uint64_t start_ns;
	uint64_t first_byte_ns; /* of the response */
	uint64_t response_body;
	uint64_t response_end; /* POSITION_NONE: not known from the framing */
	uint16_t status; /* 0: its final response has not begun */
	uint8_t version;
	bool head : 1, connect : 1; /* methods that change framing */
	bool expect : 1; /* waits for 100 before its body */
	bool until_close : 1; /* the response ends with the connection */
	bool chunked : 1; /* the response */
	bool long_body : 1; /* progress matters before the response */
	bool target_cut : 1;
	uint16_t method_len, target_len, host_len, traceparent_len;
	char text[]; /* method, target, host, traceparent */
};

struct head_buf {
	uint64_t pos; /* of data[0] */
	uint64_t first_ns;
	uint32_t len, cap;
	bool call_start; /* data[0] was the first byte of its call */
	char data[];
};

/*
 * Appends a request to c. The caller sets start_ns, positions and framing.
 * NULL: cap reached or no memory.
 */
struct pending *pending_push(struct stream_env *env, struct conn *c,
			     const struct http1_head *h);
/* Drops the oldest, without reporting or counting it. */
void pending_drop(struct stream_env *env, struct conn *c);
/* Drops prev's successors, or all if prev is NULL. */
void pending_drop_after(struct stream_env *env, struct conn *c,
			struct pending *prev);
/* Hands the oldest to exchange() and drops it. */
void pending_finish(struct stream_env *env, struct conn *c,
		    enum outcome outcome, uint64_t end_ns);
void pending_free_spares(struct stream_env *env);

/*
 * Appends to d's buffer, created if needed. -ENOBUFS: a cap is reached, or no
 * memory.
 */
int head_buf_append(struct stream_env *env, struct direction *d, uint64_t pos,
		    uint64_t first_ns, const char *data, size_t len);
/* NULL is fine. */
void head_buf_free(struct stream_env *env, struct head_buf *b);
/* Frees d's buffer, if it has one. */
void head_buf_drop(struct stream_env *env, struct direction *d);

#define HEAD_MAX_BYTES (64u << 10) /* a longer head is cut */
#define TARGET_MAX_BYTES 2048u
#define HOST_MAX_BYTES 512u
#define TRACEPARENT_MAX_BYTES 128u

/* Direction that requests travel in, once the role is known. */
static inline int request_dir(const struct conn *c)
{
	return c->role == ROLE_SERVER ? TAP_RX : TAP_TX;
}

static inline struct direction *requests(struct conn *c)
{
	return &c->dir[request_dir(c)];
}

static inline struct direction *responses(struct conn *c)
{
	return &c->dir[!request_dir(c)];
}

/* Was the request sent? It was not if its write was never accepted. */
static inline bool pending_was_sent(const struct conn *c,
				    const struct pending *p)
{
	/* + 1: one byte may be the FIN. */
	return c->role == ROLE_SERVER || c->dir[TAP_TX].seen > p->start + 1;
}

/* The oldest request, if its response is under way. */
static inline struct pending *pending_answering(const struct conn *c)
{
	return c->first && c->first->status ? c->first : NULL;
}

static inline bool pending_end_is_unknown(const struct pending *p)
{
	return p && p->response_end == POSITION_NONE;
}

/*
 * Drops the oldest request, or all; those that were sent count as lost in a
 * gap.
 */
void pending_lose(struct stream_env *env, struct conn *c);
void pending_lose_all(struct stream_env *env, struct conn *c);
/* Finishes the response under way if all of it has moved. */
void pending_settle(struct stream_env *env, struct conn *c, uint64_t end_ns);
/*
 * Finishes the response under way if its length is not known: it ended with its
 * last byte, as a successor has begun.
 */
void pending_settle_unknown(struct stream_env *env, struct conn *c);

#endif /* PROBE_AGENT_HTTP_PENDING_H */
