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
 * exchanges out. Internal to the engine (conn.c, stream.c, message.c,
 * pending.c). Positions are the tap's 32-bit ones, extended to the nearest
 * 64-bit value, so that bodies over 4 GiB work.
 */

enum direction_state {
	DIR_HEAD, /* the next message begins at next */
	DIR_CHUNKED, /* in a chunked body, next is where the decoder stands */
	DIR_BODY, /* in a body whose end no position shows */
	DIR_LOST, /* until the tap marks the start of a message */
};

struct head_buf; /* the start of a head that isn't complete */

struct direction {
	uint64_t next; /* first byte not yet taken by the parser */
	uint64_t seen; /* first byte not yet moved by the program */
	uint64_t seen_ns; /* when the last byte before seen moved */
	uint64_t chunk_left;
	struct head_buf *buf; /* NULL unless DIR_HEAD stopped inside a head */
	uint32_t call_end; /* end of the last call that had a DATA record */
	uint8_t state; /* enum direction_state */
	uint8_t chunk_state;
	bool started; /* bytes were seen */
};

/* A request whose response is not complete. Oldest first. */
struct pending;

struct conn {
	uint64_t sock, born_ns;
	struct endpoint end;
	struct direction dir[2]; /* by enum tap_dir */
	struct pending *first, *last;
	uint32_t hash_next; /* index + 1; of conn.c */
	uint32_t watch; /* place in the watch list + 1; of conn.c */
	/* per direction: the position when passed was set */
	uint32_t passed_at[2];
	uint16_t n_pending;
	uint8_t role; /* enum role; 0: not known yet */
	uint8_t strikes; /* malformed messages in a row */
	bool ignored : 1;
	bool unselected : 1; /* ignored because select() said so */
	bool valid : 1; /* has shown a valid message */
	bool desync : 1; /* pairing is lost until nothing is pending */
	bool swallow : 1; /* a response to a malformed request may come */
	/* framing of an orphan response: it may answer HEAD */
	bool untrusted : 1;
	bool unsure : 1; /* parsing began where no message was marked */
	bool tls : 1;
	bool gone : 1; /* the kernel did not know it on the last tick */
	/* kernel was past an unseen message; 1 << direction */
	uint8_t passed : 2;
	bool used : 1; /* since the last eviction sweep */
};
static_assert(sizeof(struct conn) <= 256, "what an idle connection costs");

/* Shared by all connections. */
struct stream_env {
	struct conn_options opt;
	struct conn_stats stats;
	size_t used_bytes, max_bytes; /* head buffers and pending requests */
	struct pending *spare; /* free list of blocks */
	size_t n_spare;
};

void stream_env_fini(struct stream_env *env);

/* Sets the positions of a connection that is new, or was ignored. */
void stream_init(struct conn *c, const struct tap_rec_progress *done);
/* Frees what c owns, without reporting it. */
void stream_fini(struct stream_env *env, struct conn *c);

/*
 * Advances both directions to where they were at a record; before anything else
 * in it.
 */
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
/* The same if its end was not seen. */
void stream_vanish(struct stream_env *env, struct conn *c);
/*
 * Was a message due in d that came unseen? So it is if more bytes moved than a
 * FIN or stray line ends.
 */
bool stream_unseen_message(const struct direction *d);
/* Stops following c: frees what it owns, and calls ignore(). */
void stream_ignore(struct stream_env *env, struct conn *c);

/* True while bytes that cost no record can change what is pending. */
bool stream_wants_poll(const struct conn *c);
/*
 * Called on ticks with the progress in the kernel, which may be ahead of
 * records that are still in the ring.
 */
void stream_poll(struct stream_env *env, struct conn *c,
		 const struct tap_rec_progress *now, uint64_t last_bytes,
		 uint64_t now_ns);

#endif /* PROBE_AGENT_HTTP_STREAM_H */
