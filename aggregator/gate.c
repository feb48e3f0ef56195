/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/gate.h"

#include <errno.h>
#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "aggregator/gate_tls.h"
#include "common/clock.h"
#include "common/log.h"
#include "proto/limits.h"

#define BUSY_RETRY_MS 200u
#define RUBBISH_MAX                                                            \
	8u /* of such messages from one peer, then it is cut off               \
	    */
#define RUBBISH_PEERS 256u

enum slot_state {
	SLOT_RECEIVING,
	SLOT_QUEUED,
	SLOT_HELD, /* collected, not answered yet */
	SLOT_SENDING,
};

struct slot {
	struct gate *gate;
	nng_ctx ctx;
	nng_aio *aio;
	nng_msg *msg;
	int64_t received_us;
	enum slot_state state;
	struct slot *next; /* in the queue */
	bool open;
};

struct gate {
	nng_socket socket;
	struct slot *slot;
	unsigned n_slots;
	pthread_mutex_t mutex; /* queue and what is below */
	pthread_cond_t arrived;
	struct slot *head, **tail;
	size_t queued_bytes, n_queued, max_bytes;
	bool stopped, woken, closing;
	bool plain, tls; /* there are listeners of this kind */
	struct gate_stats stats;
	struct {
		int pipe;
		unsigned n;
	} rubbish[RUBBISH_PEERS];
};

static int from_nng(int rv)
{
	switch (rv) {
	case 0:
		return 0;
	case NNG_EADDRINUSE:
		return -EADDRINUSE;
	case NNG_ENOMEM:
		return -ENOMEM;
	case NNG_EPERM:
		return -EACCES;
	default:
		return -EINVAL;
	}
}

static void receive(struct slot *s)
{
	s->state = SLOT_RECEIVING;
	nng_ctx_recv(s->ctx, s->aio);
}

static void answer(struct slot *s, const struct reply *r)
{
	void *data = NULL;
	size_t len = 0;
	nng_msg *msg = NULL;

	if (reply_encode(r, &data, &len) < 0 || nng_msg_alloc(&msg, 0) != 0 ||
	    nng_msg_append(msg, data, len) != 0) {
		/* No memory: no answer; the agent asks again. */
		if (msg)
			nng_msg_free(msg);
		free(data);
		receive(s);
		return;
	}
	free(data);
	s->state = SLOT_SENDING;
	nng_aio_set_msg(s->aio, msg);
	nng_ctx_send(s->ctx, s->aio);
}

static void say_busy(struct slot *s)
{
	struct reply r = { .protocol = PROTOCOL_VERSION,
			   .status = REPLY_BUSY,
			   .retry_ms = BUSY_RETRY_MS };

	nng_msg_free(s->msg);
	s->msg = NULL;
	answer(s, &r);
}

/* True: queued. The queue always takes one, however big. */
static bool enqueue(struct slot *s)
{
	struct gate *g = s->gate;
	size_t len = nng_msg_len(s->msg);
	bool room;

	pthread_mutex_lock(&g->mutex);
	g->stats.messages++;
	g->stats.bytes += len;
	room = !g->stopped &&
	       (!g->queued_bytes || g->queued_bytes + len <= g->max_bytes);
	if (room) {
		s->state = SLOT_QUEUED;
		s->next = NULL;
		*g->tail = s;
		g->tail = &s->next;
		g->queued_bytes += len;
		g->n_queued++;
		pthread_cond_signal(&g->arrived);
	} else {
		g->stats.busy++;
	}
	pthread_mutex_unlock(&g->mutex);
	return room;
}

static void on_aio(void *arg)
{
	struct slot *s = arg;
	int rv = nng_aio_result(s->aio);

	if (s->state == SLOT_SENDING && rv != 0) {
		/* Not sent: the message is ours again. */
		nng_msg_free(nng_aio_get_msg(s->aio));
		nng_aio_set_msg(s->aio, NULL);
	}
	if (rv == NNG_ECLOSED || rv == NNG_ECANCELED)
		return;
	if (s->state == SLOT_SENDING) {
		receive(s);
		return;
	}
	if (rv != 0) {
		receive(s);
		return;
	}
	s->msg = nng_aio_get_msg(s->aio);
	nng_aio_set_msg(s->aio, NULL);
	s->received_us = clock_real_us();
	if (!enqueue(s))
		say_busy(s);
}

/* ---- opening ----------------------------------------------------------- */

static bool is_loopback(const char *url)
{
	const char *host = strstr(url, "://");

	if (!host)
		return false;
	host += 3;
	return strncmp(host, "127.", 4) == 0 ||
	       strncmp(host, "localhost:", 10) == 0 ||
	       strncmp(host, "[::1]:", 6) == 0;
}

static int listen_on(struct gate *g, const struct gate_options *opt,
		     const char *url)
{
	nng_listener l;
	int rv;

	if (strncmp(url, "tls+tcp://", 10) == 0) {
		struct gate_tls_files files = { .cert_file = opt->cert_file,
						.key_file = opt->key_file,
						.ca_file = opt->ca_file };

		rv = g->tls ? 0 : gate_tls_use(&files);
		if (rv < 0)
			return rv;
		g->tls = true;
	} else {
		g->plain = true;
	}
	if (strncmp(url, "tcp://", 6) == 0 && !is_loopback(url) &&
	    !opt->allow_plaintext) {
		log_error("%s: plain TCP beyond loopback needs "
			  "--ingest.allow-plaintext",
			  url);
		return -EINVAL;
	}
	rv = nng_listener_create(&l, g->socket, url);
	if (rv == 0)
		rv = nng_listener_start(l, 0);
	if (rv != 0)
		log_error("cannot listen on %s: %s", url, nng_strerror(rv));
	return from_nng(rv);
}

static int open_slots(struct gate *g, unsigned n)
{
	int rv = 0;

	g->slot = calloc(n, sizeof(*g->slot));
	if (!g->slot)
		return -ENOMEM;
	g->n_slots = n;
	for (unsigned i = 0; i < n && rv == 0; i++) {
		struct slot *s = &g->slot[i];

		s->gate = g;
		rv = nng_aio_alloc(&s->aio, on_aio, s);
		if (rv == 0)
			rv = nng_ctx_open(&s->ctx, g->socket);
		s->open = rv == 0;
	}
	return from_nng(rv);
}

int gate_open(struct gate **out, const struct gate_options *opt)
{
	struct gate *g = calloc(1, sizeof(*g));
	pthread_condattr_t attr;
	int err;

	if (!g)
		return -ENOMEM;
	pthread_mutex_init(&g->mutex, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&g->arrived, &attr);
	pthread_condattr_destroy(&attr);
	g->tail = &g->head;
	g->max_bytes = opt->queue_bytes;
	err = from_nng(nng_rep0_open(&g->socket));
	if (err < 0) {
		pthread_cond_destroy(&g->arrived);
		pthread_mutex_destroy(&g->mutex);
		free(g);
		return err;
	}
	nng_socket_set_size(g->socket, NNG_OPT_RECVMAXSZ, LIMIT_MESSAGE_BYTES);
	err = open_slots(g, opt->contexts);
	for (size_t i = 0; i < opt->n_urls && err == 0; i++)
		err = listen_on(g, opt, opt->urls[i]);
	if (err < 0) {
		gate_close(g);
		return err;
	}
	for (unsigned i = 0; i < g->n_slots; i++)
		receive(&g->slot[i]);
	*out = g;
	return 0;
}

int gate_renew_tls(struct gate *g, const char *cert_file, const char *key_file,
		   const char *ca_file)
{
	struct gate_tls_files files = { .cert_file = cert_file,
					.key_file = key_file,
					.ca_file = ca_file };

	return g->tls ? gate_tls_use(&files) : 0;
}

void gate_close(struct gate *g)
{
	if (!g)
		return;
	nng_close(g->socket);
	for (unsigned i = 0; i < g->n_slots; i++) {
		struct slot *s = &g->slot[i];

		if (!s->aio)
			continue;
		nng_aio_stop(s->aio);
		if (s->msg)
			nng_msg_free(s->msg);
		nng_aio_free(s->aio);
	}
	free(g->slot);
	pthread_cond_destroy(&g->arrived);
	pthread_mutex_destroy(&g->mutex);
	free(g);
}

/* ---- the collecting thread --------------------------------------------- */

static void wait_for_one(struct gate *g, int timeout_ms)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += timeout_ms / 1000;
	until.tv_nsec += timeout_ms % 1000 * 1000000L;
	if (until.tv_nsec >= 1000000000L) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000L;
	}
	while (!g->head && !g->woken)
		if (pthread_cond_timedwait(&g->arrived, &g->mutex, &until) ==
		    ETIMEDOUT)
			break;
	g->woken = false;
}

size_t gate_collect(struct gate *g, struct gate_request *out, size_t max,
		    size_t max_bytes, int timeout_ms)
{
	size_t n = 0, bytes = 0;

	pthread_mutex_lock(&g->mutex);
	if (timeout_ms > 0)
		wait_for_one(g, timeout_ms);
	while (g->head && n < max) {
		struct slot *s = g->head;
		size_t len = nng_msg_len(s->msg);

		if (n > 0 && bytes + len > max_bytes)
			break;
		g->head = s->next;
		if (!g->head)
			g->tail = &g->head;
		g->queued_bytes -= len;
		g->n_queued--;
		bytes += len;
		s->state = SLOT_HELD;
		out[n++] = (struct gate_request){
			.data = nng_msg_body(s->msg),
			.len = len,
			.received_us = s->received_us,
			.handle = s,
		};
	}
	pthread_mutex_unlock(&g->mutex);
	return n;
}

size_t gate_queued(struct gate *g, size_t *bytes)
{
	size_t n;

	pthread_mutex_lock(&g->mutex);
	n = g->n_queued;
	*bytes = g->queued_bytes;
	pthread_mutex_unlock(&g->mutex);
	return n;
}

void gate_wake(struct gate *g)
{
	pthread_mutex_lock(&g->mutex);
	g->woken = true;
	pthread_cond_signal(&g->arrived);
	pthread_mutex_unlock(&g->mutex);
}

void gate_stop(struct gate *g)
{
	pthread_mutex_lock(&g->mutex);
	g->stopped = true;
	pthread_mutex_unlock(&g->mutex);
}

/* Peers share the places by pipe id: a collision only forgets a count. */
static bool too_much_rubbish(struct gate *g, nng_pipe pipe)
{
	int id = nng_pipe_id(pipe);
	size_t at = (unsigned)id % RUBBISH_PEERS;
	bool cut;

	if (id < 0)
		return false;
	pthread_mutex_lock(&g->mutex);
	if (g->rubbish[at].pipe != id) {
		g->rubbish[at].pipe = id;
		g->rubbish[at].n = 0;
	}
	cut = ++g->rubbish[at].n >= RUBBISH_MAX;
	if (cut)
		g->stats.cut_off++;
	pthread_mutex_unlock(&g->mutex);
	return cut;
}

/* Only pipes of TLS know the option that says whether it is in use. */
bool gate_may_be(struct gate *g, const struct gate_request *r,
		 const char *agent)
{
	struct slot *s = r->handle;
	nng_pipe pipe = nng_msg_get_pipe(s->msg);
	bool verified;

	if (!g->tls)
		return true;
	if (g->plain && nng_pipe_get_bool(pipe, NNG_OPT_TLS_VERIFIED,
					  &verified) == NNG_ENOTSUP)
		return true;
	return gate_tls_peer_is(pipe, agent);
}

void gate_reply(struct gate *g, struct gate_request *r,
		const struct reply *reply, bool rubbish)
{
	struct slot *s = r->handle;
	nng_pipe pipe = nng_msg_get_pipe(s->msg);

	nng_msg_free(s->msg);
	s->msg = NULL;
	r->data = NULL;
	r->handle = NULL;
	if (rubbish && too_much_rubbish(g, pipe)) {
		nng_pipe_close(pipe);
		receive(s);
		return;
	}
	answer(s, reply);
}

void gate_stats(struct gate *g, struct gate_stats *out)
{
	pthread_mutex_lock(&g->mutex);
	*out = g->stats;
	pthread_mutex_unlock(&g->mutex);
}
