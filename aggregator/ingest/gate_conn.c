/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "aggregator/ingest/gate_state.h"
#include "common/clock.h"
#include "proto/limits.h"

/*
 * The REP side of nng's REQ/REP protocol, written by hand, because nng's own
 * reads a message from each connection before the program can tell it whether
 * there is room, and because its threads cost more than all else that a small
 * message needs.
 *
 *	hello    0 'S' 'P' 0, protocol (16 bits), 0 0; each side sends one
 *	message  length (64 bits), ids (32 bits each), body. The id with its
 *	         first bit set is the last one and names the request
 *
 * All in network order. A reply begins with the ids of its request.
 *
 * A small message is read with one call, head and body together. That may read
 * beyond its end, into what the peer sent without waiting for the reply.
 */

#define BUSY_RETRY_MS 200u /* when stopped: a successor may be up soon */
#define CROWDED_RETRY_MS 2000u

static const uint8_t our_hello[] = { 0, 'S', 'P', 0, 0, 0x31, 0, 0 };
static const uint8_t their_hello[] = { 0, 'S', 'P', 0, 0, 0x30, 0, 0 };

/* --- bytes in and out --- */

/* Returns the bytes read; -EAGAIN: none for now; -EPIPE: the end; -EIO. */
static ssize_t receive(struct gate_conn *c, void *to, size_t len)
{
	ssize_t n = c->tls ? gate_tls_recv(c->tls, to, len)
			   : recv(c->fd, to, len, 0);

	if (n < 0 && !c->tls)
		n = errno == EAGAIN || errno == EINTR ? -EAGAIN : -EIO;
	if (n == 0)
		return -EPIPE;
	/* Fewer than asked for: the socket is empty, unless at its end. */
	if (n == -EAGAIN || (!c->tls && !c->ended && (size_t)n < len))
		c->readable = false;
	return n;
}

static ssize_t transmit(struct gate_conn *c, const void *from, size_t len)
{
	ssize_t n = c->tls ? gate_tls_send(c->tls, from, len)
			   : send(c->fd, from, len, MSG_NOSIGNAL);

	if (n < 0 && !c->tls)
		n = errno == EAGAIN || errno == EINTR ? -EAGAIN : -EIO;
	return n;
}

/* The connection must end. */
static int disobeys(struct gate_conn *c, enum refusal cause, const char *detail)
{
	gate_tell(c, cause, NULL, detail);
	return -EPROTO;
}

/* --- small parts of a message --- */

static void put_length(uint8_t *p, uint64_t len)
{
	for (unsigned i = 0; i < GATE_LENGTH_BYTES; i++)
		p[i] = (uint8_t)(len >> (56 - 8 * i));
}

static uint64_t get_length(const uint8_t *p)
{
	uint64_t len = 0;

	for (unsigned i = 0; i < GATE_LENGTH_BYTES; i++)
		len = len << 8 | p[i];
	return len;
}

static void drop_body(struct gate_conn *c)
{
	free(c->body);
	c->body = NULL;
}

/* --- messages --- */

static void next_head(struct gate_conn *c)
{
	c->state = GATE_HEAD;
	c->n_head = 0;
	c->want_head = GATE_LENGTH_BYTES + GATE_WORD_BYTES;
	gate_queue_join(c, c->proven ? &c->gate->idle : &c->gate->silent);
}

static void body_complete(struct gate_conn *c)
{
	c->state = GATE_HELD;
	gate_queue_join(c, NULL);
	gate_fifo_push(&c->gate->fresh, c);
}

/*
 * Takes bytes of the head. Returns how many; *complete tells that the rest is
 * body. -EPROTO: no message, or too long a one.
 */
static ssize_t take_head(struct gate_conn *c, const uint8_t *p, size_t n,
			 bool *complete)
{
	size_t used = 0;

	for (;;) {
		size_t want = c->want_head - c->n_head;
		size_t some = want < n - used ? want : n - used;

		memcpy(c->head + c->n_head, p + used, some);
		c->n_head += some;
		used += some;
		if (c->n_head >= GATE_LENGTH_BYTES &&
		    get_length(c->head) > LIMIT_MESSAGE_BYTES)
			return disobeys(c, REFUSAL_SIZE,
					"a message over LIMIT_MESSAGE_BYTES");
		if (c->n_head < c->want_head)
			return (ssize_t)used;
		if (c->head[c->n_head - GATE_WORD_BYTES] & 0x80)
			break;
		c->want_head += GATE_WORD_BYTES;
		if (c->want_head > sizeof(c->head))
			return disobeys(c, REFUSAL_HELLO,
					"too many ids before a message");
	}
	*complete = true;
	return (ssize_t)used;
}

/* Keeps what was read beyond the message; it takes room, too. */
static int keep_spare(struct gate_conn *c, const uint8_t *p, size_t n)
{
	if (n == 0)
		return 0;
	c->spare = malloc(n);
	if (!c->spare)
		return -ENOMEM;
	memcpy(c->spare, p, n);
	c->spare_len = n;
	c->gate->leased_bytes += n;
	return 0;
}

/* The head is complete, and n bytes after it have been read, too. */
static int begin_body(struct gate_conn *c, const uint8_t *p, size_t n)
{
	size_t words = c->n_head - GATE_LENGTH_BYTES;
	uint64_t len = get_length(c->head);
	bool room;
	int err;

	if (len < words)
		return disobeys(c, REFUSAL_HELLO,
				"a message shorter than its ids");
	c->len = (size_t)len - words;
	c->got = n < c->len ? n : c->len;
	c->received_us = clock_real_us();
	err = keep_spare(c, p + c->got, n - c->got);
	if (err)
		return err;
	room = gate_queue_lease(c->gate, c);
	c->body = malloc((room ? c->len : c->got) + 1);
	if (!c->body)
		return -ENOMEM; /* the agent will send it again */
	memcpy(c->body, p, c->got);
	if (room && c->got == c->len) {
		body_complete(c);
	} else if (room) {
		c->state = GATE_BODY;
		gate_queue_join(c, &c->gate->reading);
	}
	return 0;
}

static int feed(struct gate_conn *c, const uint8_t *p, size_t n)
{
	bool complete = false;
	ssize_t used = take_head(c, p, n, &complete);

	if (used < 0 || !complete)
		return (int)(used < 0 ? used : 0);
	return begin_body(c, p + used, n - (size_t)used);
}

/* The next message may have been read with the one before. */
static int next_message(struct gate_conn *c)
{
	uint8_t *spare = c->spare;
	size_t n = c->spare_len;
	int err;

	next_head(c);
	if (!spare)
		return 0;
	c->spare = NULL;
	c->spare_len = 0;
	c->gate->leased_bytes -= n;
	err = feed(c, spare, n);
	free(spare);
	return err;
}

void gate_conn_receive(struct gate_conn *c)
{
	uint8_t *body = realloc(c->body, c->len + 1);

	if (!body) {
		gate_conn_die(c);
		return;
	}
	c->body = body;
	c->state = GATE_BODY;
	gate_queue_join(c, &c->gate->reading);
	c->readable = true;
	if (c->got == c->len)
		body_complete(c);
	else
		gate_conn_event(c, 0);
}

/* --- answers --- */

int gate_conn_compose(struct gate_conn *c, const struct reply *reply)
{
	size_t words = c->n_head - GATE_LENGTH_BYTES, len;
	uint8_t data[REPLY_BYTES_MAX];

	len = reply_put(reply, data);
	c->reply_len = c->n_head + len;
	c->reply = c->reply_len <= sizeof(c->small) ? c->small
						    : malloc(c->reply_len);
	if (!c->reply)
		return -ENOMEM;
	put_length(c->reply, words + len);
	memcpy(c->reply + GATE_LENGTH_BYTES, c->head + GATE_LENGTH_BYTES,
	       words);
	memcpy(c->reply + c->n_head, data, len);
	return 0;
}

static void drop_reply(struct gate_conn *c)
{
	if (c->reply != c->small)
		free(c->reply);
	c->reply = NULL;
}

/* Goes on with the reply; once it is sent, with the next message. */
static int send_reply(struct gate_conn *c)
{
	while (c->n_sent < c->reply_len) {
		ssize_t n = transmit(c, c->reply + c->n_sent,
				     c->reply_len - c->n_sent);

		if (n < 0)
			return (int)n;
		c->n_sent += (size_t)n;
	}
	drop_reply(c);
	if (c->turned_away) {
		c->turned_away = false;
		c->state = GATE_DISCARD;
		gate_queue_join(c, &c->gate->reading);
		return 0;
	}
	return next_message(c);
}

void gate_conn_answer(struct gate_conn *c)
{
	drop_body(c);
	gate_queue_relet(c->gate, c, 0);
	if (c->hang_up) {
		gate_conn_die(c);
		return;
	}
	if (c->accepted && !c->proven)
		gate_queue_prove(c->gate, c);
	c->state = GATE_REPLY;
	c->n_sent = 0;
	gate_queue_join(c, &c->gate->sending);
	gate_conn_event(c, EPOLLOUT);
}

static void say_busy(struct gate_conn *c, uint32_t retry_ms)
{
	struct reply r = { .protocol = PROTOCOL_VERSION,
			   .status = REPLY_BUSY,
			   .retry_ms = retry_ms };

	c->gate->busy++;
	c->hang_up = gate_conn_compose(c, &r) < 0;
	gate_conn_answer(c);
}

void gate_conn_refuse(struct gate_conn *c)
{
	say_busy(c, BUSY_RETRY_MS);
}

void gate_conn_turn_away(struct gate_conn *c)
{
	c->turned_away = true;
	c->readable = true;
	say_busy(c, CROWDED_RETRY_MS);
}

/* --- what may happen to a connection in each state --- */

/* Peers that just hang up are no failure. */
static void tell_handshake(struct gate_conn *c)
{
	const struct gate_tls_failure *f = gate_tls_why(c->tls);

	if (f->cause != REFUSALS)
		gate_tell(c, f->cause, NULL, f->text);
}

static int on_handshake(struct gate_conn *c)
{
	int err = gate_tls_handshake(c->tls);

	if (err == -EAGAIN)
		c->readable = false;
	if (err == -EPROTO)
		tell_handshake(c);
	if (err)
		return err;
	c->state = GATE_HELLO;
	return transmit(c, our_hello, sizeof(our_hello)) == sizeof(our_hello)
		       ? 0
		       : -EIO;
}

static int on_hello(struct gate_conn *c)
{
	ssize_t n = receive(c, c->head + c->n_head,
			    sizeof(their_hello) - c->n_head);

	if (n < 0)
		return (int)n;
	c->n_head += (size_t)n;
	if (c->n_head < sizeof(their_hello))
		return 0;
	if (memcmp(c->head, their_hello, sizeof(their_hello)) != 0)
		return disobeys(c, REFUSAL_HELLO, gate_tell_hello(c->head));
	next_head(c);
	return 0;
}

/* Where there is little room, not a byte of the body before it is granted. */
static int on_head(struct gate_conn *c)
{
	struct gate *g = c->gate;
	size_t len = gate_queue_is_roomy(g) ? sizeof(g->scratch)
					    : c->want_head - c->n_head;
	ssize_t n = receive(c, g->scratch, len);

	return n < 0 ? (int)n : feed(c, g->scratch, (size_t)n);
}

static int on_body(struct gate_conn *c)
{
	ssize_t n = receive(c, c->body + c->got, c->len - c->got);

	if (n < 0)
		return (int)n;
	c->got += (size_t)n;
	if (c->got == c->len)
		body_complete(c);
	return 0;
}

static int on_discard(struct gate_conn *c)
{
	size_t left = c->len - c->got;
	ssize_t n = 0;

	if (left > 0)
		n = receive(c, c->gate->scratch,
			    left < GATE_SCRATCH_BYTES ? left
						      : GATE_SCRATCH_BYTES);
	if (n < 0)
		return (int)n;
	c->got += (size_t)n;
	return c->got == c->len ? next_message(c) : 0;
}

/* One step. -EAGAIN: it goes on with an event, or with the engine. */
static int conn_step(struct gate_conn *c)
{
	switch (c->state) {
	case GATE_HANDSHAKE:
		return c->readable ? on_handshake(c) : -EAGAIN;
	case GATE_HELLO:
		return c->readable ? on_hello(c) : -EAGAIN;
	case GATE_HEAD:
		return c->readable ? on_head(c) : -EAGAIN;
	case GATE_BODY:
		return c->readable ? on_body(c) : -EAGAIN;
	case GATE_DISCARD:
		return c->readable ? on_discard(c) : -EAGAIN;
	case GATE_REPLY:
		return send_reply(c);
	case GATE_WAITING:
	case GATE_HELD:
	case GATE_DEAD:
		break;
	}
	return -EAGAIN;
}

void gate_conn_event(struct gate_conn *c, uint32_t events)
{
	int err;

	if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		c->ended = true;
	if (events & ~(uint32_t)EPOLLOUT || c->state == GATE_HANDSHAKE)
		c->readable = true;
	do {
		err = conn_step(c);
	} while (!err);
	if (err != -EAGAIN)
		gate_conn_die(c);
}

/* --- start and end --- */

static int start(struct gate_conn *c)
{
	struct gate *g = c->gate;
	int on = 1, err = gate_queue_add(g, c);

	if (err) {
		gate_tell(c, REFUSAL_CONNECTIONS, NULL, "too many connections");
		return err;
	}
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	/* Finds peers whose machine disappeared without closing. */
	setsockopt(c->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	gate_queue_join(c, &g->starting);
	err = gate_loop_watch(g, c->fd, c, true);
	if (!err && !c->tls &&
	    transmit(c, our_hello, sizeof(our_hello)) != sizeof(our_hello))
		err = -EIO;
	if (err)
		gate_conn_die(c);
	return 0;
}

void gate_conn_start(struct gate *g, int fd, bool tls,
		     const struct sockaddr_storage *peer)
{
	struct gate_conn *c = calloc(1, sizeof(*c));

	if (!c) {
		close(fd);
		return;
	}
	*c = (struct gate_conn){ .gate = g,
				 .fd = fd,
				 .state = tls ? GATE_HANDSHAKE : GATE_HELLO };
	memcpy(&c->peer, peer, sizeof(c->peer));
	if ((tls && gate_tls_open(&c->tls, fd) < 0) || start(c) < 0)
		gate_conn_free(c);
}

void gate_conn_die(struct gate_conn *c)
{
	if (c->state == GATE_DEAD)
		return;
	c->state = GATE_DEAD;
	gate_queue_remove(c->gate, c);
	gate_queue_relet(c->gate, c, 0);
	c->gate->leased_bytes -= c->spare_len;
	c->spare_len = 0;
	gate_queue_join(c, &c->gate->dead);
}

void gate_conn_free(struct gate_conn *c)
{
	gate_tls_close(c->tls);
	close(c->fd);
	free(c->body);
	free(c->spare);
	drop_reply(c);
	free(c);
}
