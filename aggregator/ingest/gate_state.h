/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_INGEST_GATE_STATE_H
#define AGGREGATOR_INGEST_GATE_STATE_H

#include <nng/nng.h>
#include <pthread.h>

#include "aggregator/ingest/gate.h"

/*
 * Internals of the gate, for gate*.c only: gate.c listens and has the public
 * functions, gate_conn.c speaks the protocol with one peer, gate_queue.c grants
 * room to connections and keeps their lists.
 */

#define GATE_LENGTH_BYTES 8u
#define GATE_WORD_BYTES 4u
#define GATE_WORDS_MAX 8u /* ids of forwarders, then the request's id */
#define GATE_PEER_BYTES 64

enum gate_conn_state {
	GATE_HELLO_OUT,
	GATE_HELLO_IN,
	GATE_HEAD, /* reads a message's length and ids */
	GATE_WAITING, /* for room for the body */
	GATE_BODY,
	GATE_QUEUED,
	GATE_HELD, /* the engine has the message, not answered yet */
	GATE_REPLY,
	GATE_DISCARD, /* reads and drops the body of a message answered BUSY */
};

/*
 * A connection. It has one operation under way at a time, or is in one list.
 * The callback of that operation, or the thread that takes it off the list,
 * then owns it and needs no lock.
 */
struct gate_conn {
	struct gate *gate;
	nng_stream *stream;
	nng_aio *aio;
	enum gate_conn_state state;
	bool tls;
	bool proven; /* a message of it was accepted */
	bool closed; /* it ends, or has ended; under the gate's mutex */
	bool discard; /* counted in n_discarding */
	char peer[GATE_PEER_BYTES]; /* its address, for the log */
	uint8_t head[GATE_LENGTH_BYTES + GATE_WORDS_MAX * GATE_WORD_BYTES];
	size_t n_head, want_head;
	uint8_t *body;
	size_t len, got; /* of the body: bytes expected, bytes read */
	uint64_t since_ns; /* start of the wait: for head, room, or body */
	int64_t received_us; /* wall clock, when the head had arrived */
	uint8_t *reply;
	size_t reply_len, n_sent;
	unsigned rubbish; /* invalid messages so far */
	struct gate_conn *next; /* in its gate_list */
	struct gate_conn *newer, *older; /* all connections */
};

struct gate_list {
	struct gate_conn *head, **tail;
};

struct gate_listener {
	struct gate *gate;
	nng_stream_listener *listener;
	nng_aio *aio;
	bool tls, pausing;
};

struct gate {
	struct gate_listener *listener;
	size_t n_listeners;
	uint64_t wait_ns, body_ns, first_ns, idle_ns;
	struct refusal_table *refusals; /* has its own lock */
	size_t max_bytes, max_conns;
	pthread_mutex_t mutex; /* guards all that follows */
	pthread_cond_t arrived;
	struct gate_conn *newest, *oldest;
	size_t n_unproven, n_closed; /* of the connections */
	struct gate_list waiting, queued, dead;
	size_t leased_bytes; /* room granted to bodies, until answered */
	size_t queued_bytes, n_queued, n_conns, n_discarding;
	struct gate_enough enough; /* ends gate_wait() */
	bool stopped, woken, closing;
	struct gate_stats stats;
};

/* --- gate_conn.c --- */

/* Owns the stream from here on, even when it fails. */
void gate_conn_start(struct gate *g, nng_stream *stream, bool tls);
/* Reads the body, once room for it has been granted. */
void gate_conn_receive(struct gate_conn *c);
/* Sends the reply, then reads the next message. */
void gate_conn_answer(struct gate_conn *c, const struct reply *reply);
/* Answers BUSY to a message that waited too long, and drops its body. */
void gate_conn_turn_away(struct gate_conn *c);
/* Closes the connection; gate_queue_tend() frees it later. */
void gate_conn_die(struct gate_conn *c);
/* The same, and says why. */
void gate_conn_refuse(struct gate_conn *c, enum refusal cause,
		      const char *detail);
/* Waits for the callback of c, so must not be called from it. */
void gate_conn_free(struct gate_conn *c);

/* --- gate_queue.c --- */

/*
 * Registers c. If there are too many, the oldest that has not proven itself is
 * closed for it. -ENOSPC: all have.
 */
int gate_queue_add(struct gate *g, struct gate_conn *c);
/*
 * True: room is granted, the caller receives the body. False: c is in the list
 * of the waiting, and gate_conn_receive() is called when there is room.
 */
bool gate_queue_lease(struct gate *g, struct gate_conn *c);
/* Returns the room of a body and grants it to waiting connections. */
void gate_queue_release(struct gate *g, size_t len);
/* A message of c was accepted. */
void gate_queue_prove(struct gate *g, struct gate_conn *c);
/* Queues the complete message. False: the gate is stopped, nothing queued. */
bool gate_queue_push(struct gate *g, struct gate_conn *c);
/* The caller holds the mutex. */
bool gate_queue_has_enough(const struct gate *g);
void gate_queue_discarded(struct gate *g, struct gate_conn *c);
void gate_queue_mark_dead(struct gate *g, struct gate_conn *c);
/* Periodic work: answers messages that waited too long, frees the dead. */
void gate_queue_tend(struct gate *g);

#endif /* AGGREGATOR_INGEST_GATE_STATE_H */
