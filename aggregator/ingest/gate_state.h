/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_INGEST_GATE_STATE_H
#define AGGREGATOR_INGEST_GATE_STATE_H

#include <nng/nng.h>
#include <pthread.h>

#include "aggregator/ingest/gate.h"

/*
 * The inside of the gate: gate.c listens and is what the engine sees,
 * gate_conn.c talks with one peer, gate_queue.c says who may go on.
 */

#define GATE_LENGTH_BYTES 8u
#define GATE_WORD_BYTES 4u
#define GATE_WORDS_MAX 8u /* the request's id behind those of forwarders */

enum gate_conn_state {
	GATE_HELLO_OUT,
	GATE_HELLO_IN,
	GATE_HEAD, /* waits for a message, and for who asks */
	GATE_WAITING, /* for room for its body */
	GATE_BODY,
	GATE_QUEUED,
	GATE_HELD, /* collected, not answered yet */
	GATE_REPLY,
	GATE_DISCARD, /* answered before its body was read */
};

/*
 * One operation at a time: who is called back, or takes it from a list, has it
 * for himself.
 */
struct gate_conn {
	struct gate *gate;
	nng_stream *stream;
	nng_aio *aio;
	enum gate_conn_state state;
	bool tls;
	bool discard; /* counted in n_discarding */
	uint8_t head[GATE_LENGTH_BYTES + GATE_WORDS_MAX * GATE_WORD_BYTES];
	size_t n_head, want_head;
	uint8_t *body;
	size_t len, got; /* of the body */
	uint64_t since_ns; /* it waits, or its body is awaited */
	int64_t received_us; /* when its head was here */
	uint8_t *reply;
	size_t reply_len, n_sent;
	unsigned rubbish;
	struct gate_conn *next; /* in the list where it is */
	struct gate_conn *newer, *older; /* of all */
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
	uint64_t wait_ns, body_ns;
	size_t max_bytes, max_conns;
	pthread_mutex_t mutex; /* what is below */
	pthread_cond_t arrived;
	struct gate_conn *newest;
	struct gate_list waiting, queued, dead;
	size_t leased_bytes; /* given to bodies, until they are answered */
	size_t queued_bytes, n_queued, n_conns, n_discarding;
	struct gate_enough enough; /* what gate_wait() waits for */
	bool stopped, woken, closing;
	struct gate_stats stats;
};

/* --- gate_conn.c --- */

/* Takes the stream, whatever happens. */
void gate_conn_start(struct gate *g, nng_stream *stream, bool tls);
/* Goes on with the body of one that was granted room. */
void gate_conn_receive(struct gate_conn *c);
/* Sends the answer, then listens again. */
void gate_conn_answer(struct gate_conn *c, const struct reply *reply);
/* Says BUSY to one that waited too long, and throws its message away. */
void gate_conn_turn_away(struct gate_conn *c);
/* The end: gate_queue_tend() gives it to gate_conn_free(). */
void gate_conn_die(struct gate_conn *c);
/* Not in a callback of its own. */
void gate_conn_free(struct gate_conn *c);

/* --- gate_queue.c --- */

/* -ENOSPC: there are too many; counted. */
int gate_queue_add(struct gate *g, struct gate_conn *c);
/* True: its body may be received. Or it waits for gate_conn_receive(). */
bool gate_queue_lease(struct gate *g, struct gate_conn *c);
/* Gives the body's room to those who wait. */
void gate_queue_release(struct gate *g, size_t len);
/* Its message is whole. False: the gate is stopped. */
bool gate_queue_push(struct gate *g, struct gate_conn *c);
/* With the mutex held. */
bool gate_queue_has_enough(const struct gate *g);
void gate_queue_discarded(struct gate *g, struct gate_conn *c);
void gate_queue_mark_dead(struct gate *g, struct gate_conn *c);
/* What is due now and then: those who waited too long, and the dead. */
void gate_queue_tend(struct gate *g);

#endif /* AGGREGATOR_INGEST_GATE_STATE_H */
