/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_HTTP_H2_STATE_H
#define PROBE_AGENT_HTTP_H2_STATE_H

#include "probe-agent/http/h2.h"
#include "probe-agent/http/h2_frame.h"
#include "probe-agent/http/h2_head.h"
#include "probe-agent/http/hpack.h"

/*
 * The inside of h2.h, for its files only: h2_env.c, h2.c (pieces and frames),
 * h2_block.c (header blocks), h2_message.c (what both mean for streams),
 * h2_finish.c (how streams end) and h2_stream.c (the streams of a connection).
 */

#define H2_BLOCK_MAX_BYTES (256u << 10) /* a longer header block is cut */

/* A header block that is being decoded. */
struct h2_block {
	struct hpack_block code;
	struct h2_head head;
};

/* What is known of an open header block without its content. */
struct h2_opening {
	uint64_t start_ns; /* first byte of its first frame */
	uint32_t stream; /* that the head is of */
	uint32_t bytes; /* so far */
	uint8_t type; /* H2_HEADERS, H2_PUSH_PROMISE */
	bool open;
	bool end_stream;
	bool given_up; /* over a cap, or not to be decoded */
};

struct h2_dir {
	struct h2_frame frame;
	struct hpack_window window;
	struct h2_opening opening;
	struct h2_block *block; /* NULL: none open, or no memory for it */
	uint64_t frame_ns; /* when the first byte of the frame moved */
	uint32_t next; /* position expected */
	uint32_t block_stream; /* that CONTINUATION must have */
	uint16_t seq; /* of the last piece */
	uint8_t control[8]; /* content of RST_STREAM, GOAWAY */
	uint8_t control_len;
	bool started; /* a piece was seen */
	bool lost; /* a piece must tell where frames begin */
	bool hurt; /* no frame has begun since it did */
};

/* A request, its response, or both. */
struct h2_stream {
	uint64_t start_ns, first_byte_ns, end_ns;
	uint64_t request_bytes, response_bytes;
	struct grpc_body *body; /* if it has the status */
	uint32_t id;
	uint32_t size; /* of this allocation */
	uint16_t status; /* of the final response */
	uint8_t kind; /* enum grpc_kind */
	uint8_t code; /* grpc-status + 1; 0: not known */
	uint8_t outcome; /* enum outcome, of one that is held */
	uint8_t unknown; /* 1 << enum h2_unknown */
	uint8_t protocol; /* enum h2_tunnel_protocol */
	uint8_t evidence; /* bits, of the request; see h2_head.h */
	bool requested : 1; /* its request was seen */
	bool request_ended : 1;
	bool answered : 1; /* the final response has begun */
	bool ended : 1; /* the final response has ended */
	bool held : 1; /* finished, to be reported once there is proof */
	bool doubtful : 1; /* its end may have been lost */
	bool connect : 1; /* the request asks for a tunnel */
	bool tunnel : 1; /* it has become one */
	bool target_cut : 1;
	uint16_t len[H2_TEXTS];
	char text[];
};

/* The streams of a connection, by number. */
struct h2_streams {
	struct h2_stream **slots;
	uint32_t n, room; /* room is a power of two, or 0 */
};

struct h2_env {
	struct h2_options opt;
	struct h2_stats stats;
	struct hpack_budget windows;
	size_t used_bytes, max_bytes;
	struct h2_block *spare;
	struct h2_head unknown; /* the head of a block that had no memory */
};

#define H2_DIR_UNKNOWN 2

struct h2 {
	struct h2_env *env;
	void *owner;
	struct h2_dir dir[2]; /* by enum tap_dir */
	struct h2_streams streams;
	uint32_t last_request; /* highest stream of a request */
	uint32_t halves; /* streams with a response and no request so far */
	uint16_t evidence; /* bits, of requests with their answers */
	uint8_t request_dir; /* enum tap_dir, or H2_DIR_UNKNOWN */
	uint8_t strikes; /* contradictions in a row */
	bool joined; /* not seen from the start */
	bool proved; /* that it is HTTP/2 */
};

/* --- h2_env.c --- */

/* Memory that counts against the cap. NULL: cap reached, or none. */
void *h2_alloc(struct h2_env *env, size_t size);
void h2_release(struct h2_env *env, void *p, size_t size);

/* --- h2.c --- */

/* A peer did what HTTP/2 does not allow. -EPROTO: too often. */
int h2_contradict(struct h2 *h, enum h2_desync cause);

/* --- h2_stream.c --- */

/* NULL: there is none, or it is finished and held. */
struct h2_stream *h2_stream_find(const struct h2 *h, uint32_t id);
/*
 * text: of the request; NULL: not seen yet. Returns NULL if a cap is reached.
 */
struct h2_stream *h2_stream_add(struct h2 *h, uint32_t id,
				const struct slice text[H2_TEXTS]);
/*
 * Gives a stream the text of its request. Returns the stream, which may have
 * moved; NULL if a cap is reached.
 */
struct h2_stream *h2_stream_set_text(struct h2 *h, struct h2_stream *s,
				     const struct slice text[H2_TEXTS]);
struct slice h2_stream_text(const struct h2_stream *s, enum h2_text t);
/* Drops s without a report. */
void h2_stream_remove(struct h2 *h, struct h2_stream *s);
/* Calls fn for each stream. fn may remove the stream that it gets, no other. */
void h2_stream_each(struct h2 *h,
		    void (*fn)(struct h2 *h, struct h2_stream *s, void *arg),
		    void *arg);
void h2_stream_free_all(struct h2 *h);

/* --- h2_block.c --- */

/* A block begins with the frame that d is at. */
void h2_block_begin(struct h2 *h, struct h2_dir *d);
/* -EPROTO: the block does not decode, and h2_contradict() says so too. */
int h2_block_feed(struct h2 *h, struct h2_dir *d, const uint8_t *data,
		  size_t len);
/* Returns the head, lent until h2_block_drop(), which must follow; or NULL. */
const struct h2_head *h2_block_end(struct h2 *h, struct h2_dir *d);
void h2_block_drop(struct h2 *h, struct h2_dir *d);

/* --- h2_message.c --- */

/* A head is complete; end_ns is when its last byte moved. -EPROTO. */
int h2_message_head(struct h2 *h, int dir, const struct h2_head *head,
		    uint64_t end_ns);
/* Content of DATA; data is NULL if the bytes were not seen. */
void h2_message_body(struct h2 *h, int dir, uint32_t id, const uint8_t *data,
		     size_t len);
/* A frame of DATA begins with len bytes of content. */
void h2_message_frame(struct h2 *h, int dir, uint32_t id, uint32_t len);
/* END_STREAM */
void h2_message_end(struct h2 *h, int dir, uint32_t id, uint64_t time_ns);

/* --- h2_finish.c --- */

/* The request of s has ended: reports it, or holds it until there is proof. */
void h2_finish(struct h2 *h, struct h2_stream *s, enum outcome outcome,
	       uint64_t end_ns);
/* s has a response and will not get a request. */
void h2_finish_orphan(struct h2 *h, struct h2_stream *s);
/* The CONNECT of s has succeeded: reports it; s goes on as a tunnel. */
void h2_finish_tunnel_begins(struct h2 *h, struct h2_stream *s,
			     uint64_t time_ns);
void h2_finish_tunnel_ends(struct h2 *h, struct h2_stream *s, uint64_t time_ns);
/* RST_STREAM and GOAWAY, sent in direction dir. */
void h2_finish_reset(struct h2 *h, int dir, uint32_t id, uint64_t time_ns);
void h2_finish_goaway(struct h2 *h, int dir, uint32_t last, uint64_t time_ns);
/* All streams end like this. */
void h2_finish_all(struct h2 *h, enum outcome outcome, uint64_t time_ns);
/* All streams end, and it is not known how. */
void h2_finish_lost(struct h2 *h);
/* The ends of open streams may have been lost. */
void h2_finish_doubt(struct h2 *h);
/* Makes room: drops the streams whose end may have been lost. */
void h2_finish_doubtful(struct h2 *h);
/* The connection is HTTP/2: reports the requests that were held. */
void h2_finish_proved(struct h2 *h);

#endif /* PROBE_AGENT_HTTP_H2_STATE_H */
