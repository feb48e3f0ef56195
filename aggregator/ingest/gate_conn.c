/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/ingest/gate_state.h"
#include "aggregator/ingest/gate_tls.h"
#include "common/clock.h"
#include "proto/limits.h"

/*
 * The REP side of nng's REQ/REP protocol, written by hand, because nng's own
 * reads a message from each connection before the program can tell it whether
 * there is room.
 *
 *	hello    0 'S' 'P' 0, protocol (16 bits), 0 0; each side sends one
 *	message  length (64 bits), ids (32 bits each), body. The id with its
 *	         first bit set is the last one and names the request
 *
 * All in network order. A reply begins with the ids of its request.
 */

#define HELLO_MS 10000
#define REPLY_MS 10000
#define DISCARD_BYTES ((size_t)16 << 10)
#define BUSY_RETRY_MS 200u /* when stopped: a successor may be up soon */
#define CROWDED_RETRY_MS 2000u

static const uint8_t our_hello[] = { 0, 'S', 'P', 0, 0, 0x31, 0, 0 };
static const uint8_t their_hello[] = { 0, 'S', 'P', 0, 0, 0x30, 0, 0 };

static void body_arrived(struct gate_conn *c);

static void receive(struct gate_conn *c, void *to, size_t len, int timeout_ms)
{
	nng_iov iov = { .iov_buf = to, .iov_len = len };

	nng_aio_set_iov(c->aio, 1, &iov);
	nng_aio_set_timeout(c->aio, timeout_ms);
	nng_stream_recv(c->stream, c->aio);
}

/* Time left since c->since_ns; at least 1. */
static int timeout_ms(const struct gate_conn *c, uint64_t whole_ns)
{
	uint64_t took_ns = clock_mono_ns() - c->since_ns;

	if (took_ns >= whole_ns)
		return 1;
	return (int)((whole_ns - took_ns) / CLOCK_NS_PER_MS) + 1;
}

static void receive_head(struct gate_conn *c)
{
	receive(c, c->head + c->n_head, c->want_head - c->n_head,
		timeout_ms(c,
			   c->proven ? c->gate->idle_ns : c->gate->first_ns));
}

static void next_message(struct gate_conn *c)
{
	c->state = GATE_HEAD;
	c->since_ns = clock_mono_ns();
	c->n_head = 0;
	c->want_head = GATE_LENGTH_BYTES + GATE_WORD_BYTES;
	receive_head(c);
}

/* A connection that is slower than this closes; its agent sends again. */
static int body_timeout_ms(const struct gate_conn *c)
{
	return timeout_ms(c, c->gate->body_ns);
}

static void receive_body(struct gate_conn *c)
{
	size_t left = c->len - c->got;

	if (c->state == GATE_BODY)
		receive(c, c->body + c->got, left, body_timeout_ms(c));
	else
		receive(c, c->body, left < DISCARD_BYTES ? left : DISCARD_BYTES,
			body_timeout_ms(c));
}

void gate_conn_receive(struct gate_conn *c)
{
	c->state = GATE_BODY;
	c->got = 0;
	c->since_ns = clock_mono_ns();
	c->body = malloc(c->len + 1);
	if (!c->body)
		gate_conn_die(c); /* the agent will send it again */
	else
		body_arrived(c); /* starts to read; the body may be empty */
}

/* --- answers --- */

static void send_rest(struct gate_conn *c)
{
	nng_iov iov = { .iov_buf = c->reply + c->n_sent,
			.iov_len = c->reply_len - c->n_sent };

	nng_aio_set_iov(c->aio, 1, &iov);
	nng_aio_set_timeout(c->aio, REPLY_MS);
	nng_stream_send(c->stream, c->aio);
}

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

/* Makes c->reply the message to send. -ENOMEM. */
static int compose(struct gate_conn *c, const struct reply *reply)
{
	size_t words = c->n_head - GATE_LENGTH_BYTES, len;
	void *data;
	int err = reply_encode(reply, &data, &len);

	if (err < 0)
		return err;
	c->reply_len = c->n_head + len;
	c->reply = malloc(c->reply_len);
	if (c->reply) {
		put_length(c->reply, words + len);
		memcpy(c->reply + GATE_LENGTH_BYTES,
		       c->head + GATE_LENGTH_BYTES, words);
		memcpy(c->reply + c->n_head, data, len);
	}
	free(data);
	return c->reply ? 0 : -ENOMEM;
}

void gate_conn_answer(struct gate_conn *c, const struct reply *reply)
{
	c->state = GATE_REPLY;
	c->n_sent = 0;
	if (compose(c, reply) < 0)
		gate_conn_die(c);
	else
		send_rest(c);
}

static void say_busy(struct gate_conn *c, uint32_t retry_ms)
{
	struct reply r = { .protocol = PROTOCOL_VERSION,
			   .status = REPLY_BUSY,
			   .retry_ms = retry_ms };

	gate_conn_answer(c, &r);
}

void gate_conn_turn_away(struct gate_conn *c)
{
	say_busy(c, CROWDED_RETRY_MS);
}

static void answered(struct gate_conn *c)
{
	free(c->reply);
	c->reply = NULL;
	if (!c->discard) {
		next_message(c);
		return;
	}
	c->state = GATE_DISCARD;
	c->got = 0;
	c->since_ns = clock_mono_ns();
	c->body = malloc(DISCARD_BYTES);
	if (!c->body)
		gate_conn_die(c);
	else
		body_arrived(c);
}

/* --- reading --- */

static void head_arrived(struct gate_conn *c)
{
	uint64_t len = get_length(c->head);
	size_t words;

	if (c->n_head >= GATE_LENGTH_BYTES && len > LIMIT_MESSAGE_BYTES) {
		gate_conn_refuse(c, REFUSAL_SIZE,
				 "a message over LIMIT_MESSAGE_BYTES");
		return;
	}
	if (c->n_head < c->want_head) {
		receive_head(c);
		return;
	}
	if (!(c->head[c->n_head - GATE_WORD_BYTES] & 0x80)) {
		c->want_head += GATE_WORD_BYTES;
		if (c->want_head > sizeof(c->head))
			gate_conn_refuse(c, REFUSAL_HELLO,
					 "too many ids before a message");
		else
			receive_head(c);
		return;
	}
	words = c->n_head - GATE_LENGTH_BYTES;
	if (len < words) {
		gate_conn_refuse(c, REFUSAL_HELLO,
				 "a message shorter than its ids");
		return;
	}
	c->len = (size_t)len - words;
	c->received_us = clock_real_us();
	if (gate_queue_lease(c->gate, c))
		gate_conn_receive(c);
}

static void drop_body(struct gate_conn *c)
{
	free(c->body);
	c->body = NULL;
}

static void body_arrived(struct gate_conn *c)
{
	if (c->got < c->len) {
		receive_body(c);
		return;
	}
	if (c->state == GATE_DISCARD) {
		drop_body(c);
		gate_queue_discarded(c->gate, c);
		next_message(c);
		return;
	}
	if (!gate_queue_push(c->gate, c)) {
		drop_body(c);
		gate_queue_release(c->gate, c->len);
		say_busy(c, BUSY_RETRY_MS);
	}
}

/* What a peer speaks that begins like this, if it is known. */
static const char *wrong_hello(const uint8_t *head)
{
	if (head[0] == 0x16 && head[1] == 3)
		return "the peer speaks TLS, but this address does not: use "
		       "tcp:// at the agent, or tls+tcp:// here";
	if (memcmp(head, "GET ", 4) == 0 || memcmp(head, "HEAD", 4) == 0 ||
	    memcmp(head, "POST", 4) == 0)
		return "the peer speaks HTTP: metrics are at another port";
	if (memcmp(head, their_hello, 4) == 0)
		return "the peer speaks another protocol of nng than REQ";
	return "the peer does not speak nng's REQ/REP";
}

static void hello_arrived(struct gate_conn *c)
{
	if (c->n_head < sizeof(their_hello))
		receive(c, c->head + c->n_head, sizeof(their_hello) - c->n_head,
			HELLO_MS);
	else if (memcmp(c->head, their_hello, sizeof(their_hello)) != 0)
		gate_conn_refuse(c, REFUSAL_HELLO, wrong_hello(c->head));
	else
		next_message(c);
}

/*
 * The operation under way failed. Peers that just hang up are no refusal, nor
 * are agents that have been silent for long.
 */
static void failed(struct gate_conn *c, int code)
{
	bool hello = c->state == GATE_HELLO_OUT || c->state == GATE_HELLO_IN;
	struct gate_tls_failure why = { .cause = REFUSALS };

	if (hello && c->tls)
		gate_tls_why(c->stream, &why);
	if (why.cause != REFUSALS)
		gate_conn_refuse(c, why.cause, why.text);
	else if (code != NNG_ETIMEDOUT || c->proven)
		gate_conn_die(c);
	else if (c->state == GATE_BODY || c->state == GATE_DISCARD)
		gate_conn_refuse(c, REFUSAL_SLOW,
				 "a message that did not arrive in time");
	else
		gate_conn_refuse(c, REFUSAL_SILENT, "no message in time");
}

static void on_aio(void *arg)
{
	struct gate_conn *c = arg;
	size_t n = nng_aio_count(c->aio);
	int code = nng_aio_result(c->aio);

	if (code != 0) {
		failed(c, code);
		return;
	}
	switch (c->state) {
	case GATE_HELLO_OUT:
	case GATE_REPLY:
		c->n_sent += n;
		if (c->n_sent < c->reply_len) {
			send_rest(c);
		} else if (c->state == GATE_REPLY) {
			answered(c);
		} else {
			free(c->reply);
			c->reply = NULL;
			c->state = GATE_HELLO_IN;
			hello_arrived(c);
		}
		break;
	case GATE_HELLO_IN:
		c->n_head += n;
		hello_arrived(c);
		break;
	case GATE_HEAD:
		c->n_head += n;
		head_arrived(c);
		break;
	case GATE_BODY:
	case GATE_DISCARD:
		c->got += n;
		body_arrived(c);
		break;
	case GATE_WAITING:
	case GATE_QUEUED:
	case GATE_HELD:
		break; /* no operation is under way */
	}
}

/* --- start and end --- */

static void note_peer(struct gate_conn *c)
{
	char text[INET6_ADDRSTRLEN] = "";
	nng_sockaddr a;

	snprintf(c->peer, sizeof(c->peer), "unknown");
	if (nng_stream_get_addr(c->stream, NNG_OPT_REMADDR, &a) != 0)
		return;
	if (a.s_family == NNG_AF_INET &&
	    inet_ntop(AF_INET, &a.s_in.sa_addr, text, sizeof(text)))
		snprintf(c->peer, sizeof(c->peer), "%s:%u", text,
			 ntohs(a.s_in.sa_port));
	else if (a.s_family == NNG_AF_INET6 &&
		 inet_ntop(AF_INET6, a.s_in6.sa_addr, text, sizeof(text)))
		snprintf(c->peer, sizeof(c->peer), "[%s]:%u", text,
			 ntohs(a.s_in6.sa_port));
}

void gate_conn_start(struct gate *g, nng_stream *stream, bool tls)
{
	struct gate_conn *c = calloc(1, sizeof(*c));

	if (!c) {
		nng_stream_free(stream);
		return;
	}
	*c = (struct gate_conn){ .gate = g, .stream = stream, .tls = tls };
	note_peer(c);
	c->reply = malloc(sizeof(our_hello));
	if (!c->reply || nng_aio_alloc(&c->aio, on_aio, c) != 0) {
		gate_conn_free(c);
		return;
	}
	if (gate_queue_add(g, c) < 0) {
		refusal_tell(g->refusals, REFUSAL_CONNECTIONS, c->peer, NULL,
			     "too many connections");
		gate_conn_free(c);
		return;
	}
	memcpy(c->reply, our_hello, sizeof(our_hello));
	c->reply_len = sizeof(our_hello);
	c->state = GATE_HELLO_OUT;
	send_rest(c);
}

void gate_conn_die(struct gate_conn *c)
{
	struct gate *g = c->gate;
	bool leased = c->state == GATE_BODY;
	size_t len = c->len;

	drop_body(c);
	if (c->discard)
		gate_queue_discarded(g, c);
	nng_stream_close(c->stream);
	gate_queue_mark_dead(g, c); /* c may be freed from here on */
	if (leased)
		gate_queue_release(g, len);
}

void gate_conn_refuse(struct gate_conn *c, enum refusal cause,
		      const char *detail)
{
	refusal_tell(c->gate->refusals, cause, c->peer, NULL, detail);
	gate_conn_die(c);
}

void gate_conn_free(struct gate_conn *c)
{
	if (c->aio)
		nng_aio_free(c->aio);
	nng_stream_free(c->stream);
	free(c->body);
	free(c->reply);
	free(c);
}
