/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_INGEST_GATE_STATE_H
#define AGGREGATOR_INGEST_GATE_STATE_H

#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "aggregator/ingest/gate.h"
#include "aggregator/ingest/gate_tls.h"

/*
 * Internals of the gate, for gate*.c only: gate.c has the public functions,
 * gate_listen.c the sockets that listen, gate_loop.c the thread, gate_conn.c
 * speaks the protocol with one peer, gate_queue.c grants room to connections,
 * gate_tell.c says why a peer is not served.
 */

#define GATE_LENGTH_BYTES 8u
#define GATE_WORD_BYTES 4u
#define GATE_WORDS_MAX 8u /* ids of forwarders, then the request's id */
#define GATE_HEAD_MAX (GATE_LENGTH_BYTES + GATE_WORDS_MAX * GATE_WORD_BYTES)
#define GATE_SCRATCH_BYTES ((size_t)16 << 10)
#define GATE_PEER_BYTES 64u
#define GATE_SMALL_REPLY 64u /* an ACCEPTED fits, with two ids */

enum gate_conn_state {
	GATE_HANDSHAKE, /* of TLS */
	GATE_HELLO, /* reads the peer's hello */
	GATE_HEAD, /* reads a message's length and ids */
	GATE_WAITING, /* for room for the body */
	GATE_BODY,
	GATE_HELD, /* queued or with the engine, not answered yet */
	GATE_REPLY, /* the socket did not take all of the reply yet */
	GATE_DISCARD, /* reads and drops the body of a message answered BUSY */
	GATE_DEAD, /* freed at the end of the round */
};

/*
 * A connection. The gate's thread owns it, but for a message that is GATE_HELD:
 * then the engine may read body and tls, and may write what answers it.
 */
struct gate_conn {
	struct gate *gate;
	struct gate_tls *tls; /* NULL: plain TCP */
	int fd;
	enum gate_conn_state state;
	bool readable; /* the socket may have bytes that were not read */
	bool ended; /* the peer has shut down: read on until the end */
	bool turned_away; /* answered BUSY before its body was read */
	bool hang_up; /* instead of an answer */
	bool accepted; /* its message was, as the engine says */
	bool proven; /* accepted, as the gate's thread knows */
	unsigned rubbish; /* invalid messages so far */
	union {
		struct sockaddr any;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} peer;
	size_t n_head, want_head;
	uint8_t head[GATE_HEAD_MAX];
	uint8_t *body;
	size_t len, got; /* of the body: bytes expected, bytes read */
	size_t leased; /* room that it has in the queue */
	uint8_t *spare; /* read beyond the message; leased, too */
	size_t spare_len;
	int64_t received_us; /* wall clock, when the head had arrived */
	uint64_t since_ns; /* when it joined its list */
	uint8_t *reply; /* small, or malloc'd */
	size_t reply_len, n_sent;
	uint8_t small[GATE_SMALL_REPLY];
	struct gate_list *list; /* that it is in, or NULL */
	struct gate_conn *next, *prev; /* there, or next in a gate_fifo */
	struct gate_conn *newer, *older; /* of the connections as proven */
};

/* Connections by age. */
struct gate_ages {
	struct gate_conn *newest, *oldest;
};

/* Connections with one time-out, longest in it first. */
struct gate_list {
	struct gate_conn *head, *tail;
};

/* Messages on their way between the two threads. */
struct gate_fifo {
	struct gate_conn *head, **tail;
	size_t n, bytes;
};

struct gate_listener {
	int fd;
	bool tls, pausing; /* pausing: accept() failed */
	uint64_t again_ns; /* when the pause ends */
};

struct gate {
	const char *shared_name; /* see gate_options */
	struct gate_listener *listener;
	size_t n_listeners;
	uint64_t wait_ns, body_ns, first_ns, idle_ns;
	struct refusal_table *refusals; /* has its own lock */
	size_t max_bytes, max_conns;
	int epoll, wake; /* wake: an eventfd, for answers and the end */
	pthread_t thread;
	bool started;

	/* Only for the gate's thread. */
	uint64_t now_ns; /* at the start of the round */
	struct gate_ages unproven, proven; /* all that live */
	struct gate_list starting, waiting, reading, sending, dead;
	struct gate_list silent, idle; /* between messages; silent: unproven */
	struct gate_fifo fresh; /* messages complete in this round */
	uint64_t rate_since_ns, rate_messages, rate_bytes;
	bool many_small; /* messages arrive so fast that a nap pays */
	uint8_t scratch[GATE_SCRATCH_BYTES];

	/* Only for the engine's thread. */
	struct gate_fifo answering;

	pthread_mutex_t mutex; /* guards all that follows */
	pthread_cond_t arrived;
	struct gate_fifo queued, answered;
	struct gate_enough enough; /* ends gate_wait() */
	bool stopped, woken;

	/* Any thread. */
	atomic_bool closing;
	atomic_size_t leased_bytes; /* room granted, until answered */
	atomic_size_t n_conns;
	atomic_uint_fast64_t messages, bytes, busy, cut_off, waited, rounds;
};

static inline void gate_fifo_push(struct gate_fifo *f, struct gate_conn *c)
{
	c->next = NULL;
	if (!f->head)
		f->tail = &f->head;
	*f->tail = c;
	f->tail = &c->next;
	f->n++;
	f->bytes += c->len;
}

static inline struct gate_conn *gate_fifo_pop(struct gate_fifo *f)
{
	struct gate_conn *c = f->head;

	if (c) {
		f->head = c->next;
		f->n--;
		f->bytes -= c->len;
	}
	return c;
}

/* Appends all of from, which is empty afterwards. */
static inline void gate_fifo_move(struct gate_fifo *to, struct gate_fifo *from)
{
	if (!from->head)
		return;
	if (!to->head)
		to->tail = &to->head;
	*to->tail = from->head;
	to->tail = from->tail;
	to->n += from->n;
	to->bytes += from->bytes;
	*from = (struct gate_fifo){ .head = NULL };
}

/* --- gate_listen.c --- */

/*
 * Opens the socket of a tcp:// or tls+tcp:// URL, TLS or not, which the caller
 * closes. -EINVAL, -EADDRINUSE, -EACCES …; logged.
 */
int gate_listen(const char *url, int *fd);
bool gate_url_is_tls(const char *url);
bool gate_url_is_loopback(const char *url);

/* --- gate_loop.c: the gate's thread --- */

/* Watches the descriptor; events come with this pointer. -errno. */
int gate_loop_watch(struct gate *g, int fd, void *what, bool is_conn);
void *gate_loop(void *gate);

/* --- gate_conn.c: only for the gate's thread, but for compose --- */

/* Owns fd from here on, even when it fails. */
void gate_conn_start(struct gate *g, int fd, bool tls,
		     const struct sockaddr_storage *peer);
/* What epoll told of it. */
void gate_conn_event(struct gate_conn *c, uint32_t events);
/* Reads the body, once room for it has been granted. */
void gate_conn_receive(struct gate_conn *c);
/* Encodes the answer to its message. -ENOMEM. Whoever holds the message. */
int gate_conn_compose(struct gate_conn *c, const struct reply *reply);
/* Sends what was composed, or hangs up, then reads the next message. */
void gate_conn_answer(struct gate_conn *c);
/* Answers BUSY to a message that was read whole: the gate is stopped. */
void gate_conn_refuse(struct gate_conn *c);
/* Answers BUSY to a message that waited too long, and drops its body. */
void gate_conn_turn_away(struct gate_conn *c);
/* Closes the connection; its memory is freed at the end of the round. */
void gate_conn_die(struct gate_conn *c);
void gate_conn_free(struct gate_conn *c);

/* --- gate_tell.c --- */

/* Counts and logs why its peer is not served. Any thread that has c. */
void gate_tell(struct gate_conn *c, enum refusal cause, const char *agent,
	       const char *detail);
/* What a peer speaks whose hello begins with these 8 bytes. Static. */
const char *gate_tell_hello(const uint8_t *head);

/* --- gate_queue.c: only for the gate's thread --- */

/* Moves c to the list, or to none, and notes the time. */
void gate_queue_join(struct gate_conn *c, struct gate_list *l);
/*
 * Registers c. If there are too many, the oldest that has not proven itself
 * dies for it, so that strangers cannot keep agents out by being silent.
 * -ENOSPC: all have.
 */
int gate_queue_add(struct gate *g, struct gate_conn *c);
void gate_queue_remove(struct gate *g, struct gate_conn *c);
/* A message of c was accepted. */
void gate_queue_prove(struct gate *g, struct gate_conn *c);
/* Room for more than a head is free: reading ahead needs no further check. */
bool gate_queue_is_roomy(const struct gate *g);
/*
 * True: room is granted, the caller receives the body. False: c waits with the
 * bytes that it has, and gate_conn_receive() is called when there is room.
 */
bool gate_queue_lease(struct gate *g, struct gate_conn *c);
/* Sets how much room c has. */
void gate_queue_relet(struct gate *g, struct gate_conn *c, size_t leased);
/* Grants free room to connections that wait. */
void gate_queue_grant(struct gate *g);
/* The caller holds the mutex. */
bool gate_queue_has_enough(const struct gate *g);

#endif /* AGGREGATOR_INGEST_GATE_STATE_H */
