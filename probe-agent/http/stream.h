/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_HTTP_STREAM_H
#define PROBE_AGENT_HTTP_STREAM_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "probe-agent/http/conn.h"

/*
 * The HTTP/1 state machine of one connection: bytes of two directions in,
 * exchanges out. The inside of conn.c, in a file of its own; nobody else
 * includes this. Positions are the tap's 32-bit ones, extended to 64 bits by
 * nearness, so that bodies over 4 GiB work.
 */

enum direction_state {
	DIR_HEAD, /* the next message begins at next */
	DIR_CHUNKED, /* in a chunked body, next is where the decoder stands */
	DIR_BODY, /* in a body whose end positions can't tell */
	DIR_LOST, /* the tap must say where a message begins */
};

struct head_buf; /* the start of a head that isn't complete */

struct direction {
	uint64_t next; /* first byte not yet taken by the parser */
	uint64_t seen; /* first byte not yet moved by the program */
	uint64_t seen_ns; /* when the byte before it moved */
	uint64_t chunk_left;
	struct head_buf *buf; /* NULL unless DIR_HEAD stopped inside a head */
	uint32_t call_end; /* end of the last call of which bytes were seen */
	uint8_t state; /* enum direction_state */
	uint8_t chunk_state;
	bool started; /* bytes were seen */
};

/* A request that waits for its (whole) response. Oldest first. */
struct pending;

struct conn {
	uint64_t sock, born_ns;
	struct endpoint end;
	struct direction dir[2]; /* by enum tap_dir */
	struct pending *first, *last;
	uint32_t hash_next; /* index + 1; of conn.c */
	uint32_t watch; /* place in the watch list + 1; of conn.c */
	uint32_t passed_at[2]; /* by direction: how far it was then */
	uint16_t n_pending;
	uint8_t role; /* enum role; 0: not known yet */
	uint8_t strikes; /* malformed messages in a row */
	bool ignored : 1;
	bool unselected : 1; /* ignored because select() said so */
	bool valid : 1; /* has shown a valid message */
	bool desync : 1; /* pairing is lost until nothing is pending */
	bool swallow : 1; /* a response to a malformed request may come */
	bool untrusted : 1; /* framing of an orphan: HEAD is possible */
	bool unsure : 1; /* began where nobody said that a message begins */
	bool tls : 1;
	bool gone : 1; /* the kernel did not know it on the last tick */
	uint8_t passed : 2; /* it was past a message not seen; 1 << direction */
	bool used : 1; /* since the last eviction sweep */
};
static_assert(sizeof(struct conn) <= 256, "what an idle connection costs");

/* What all streams share. */
struct stream_env {
	struct conn_options opt;
	struct conn_stats stats;
	size_t used_bytes, max_bytes; /* head buffers and pending requests */
	struct pending *spare; /* free list of blocks */
	size_t n_spare;
};

void stream_env_fini(struct stream_env *env);

/* c is zeroed but for its identity. */
void stream_init(struct conn *c, const struct tap_rec_progress *done);
/* Frees what hangs on c, without a word. */
void stream_fini(struct stream_env *env, struct conn *c);

/* Takes over what both directions had done; first thing with any record. */
void stream_progress(struct stream_env *env, struct conn *c,
		     const struct tap_rec_progress *done);
void stream_data(struct stream_env *env, struct conn *c,
		 const struct tap_rec_data *r);
/* last_bytes, here and below: see struct tap_conn. */
void stream_end(struct stream_env *env, struct conn *c, int dir,
		uint64_t last_bytes, uint64_t time_ns);
/* The connection's last event; c is left without pending requests. */
void stream_close(struct stream_env *env, struct conn *c, uint32_t error,
		  uint64_t last_bytes, uint64_t time_ns);
/* The same when nobody saw how it ended. */
void stream_vanish(struct stream_env *env, struct conn *c);
/* A message was due in d, and more moved than could go without one. */
bool stream_unseen_message(const struct direction *d);
/* Wants no more of c: frees, tells the kernel. */
void stream_ignore(struct stream_env *env, struct conn *c);

/* True while bytes that cost no record can change what is pending. */
bool stream_wants_poll(const struct conn *c);
/*
 * On ticks, with what the kernel knows now, which may be ahead of the records
 * still in the ring.
 */
void stream_poll(struct stream_env *env, struct conn *c,
		 const struct tap_rec_progress *now, uint64_t last_bytes,
		 uint64_t now_ns);

#endif /* PROBE_AGENT_HTTP_STREAM_H */
