/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/ingest/gate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "aggregator/ingest/gate_state.h"
#include "aggregator/ingest/gate_tls.h"
#include "common/clock.h"
#include "common/log.h"

#define ACCEPT_AGAIN_MS 100 /* pause after accept() failed */
#define RUBBISH_MAX 8u /* invalid messages, then the connection is closed */
#define WAIT_MS 5000u
#define BODY_MS 15000u
#define FIRST_MS 60000u
#define IDLE_MS 600000u /* agents say something at least every 5 s */
#define CONNECTIONS_MAX 65536u

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

/* --- opening --- */

static void accept_next(struct gate_listener *l)
{
	l->pausing = false;
	nng_stream_listener_accept(l->listener, l->aio);
}

static void on_accept(void *arg)
{
	struct gate_listener *l = arg;
	int rv = nng_aio_result(l->aio);

	if (rv == NNG_ECLOSED || rv == NNG_ECANCELED)
		return;
	if (l->pausing) {
		accept_next(l);
		return;
	}
	if (rv != 0) {
		l->pausing = true;
		nng_sleep_aio(ACCEPT_AGAIN_MS, l->aio);
		return;
	}
	gate_conn_start(l->gate, nng_aio_get_output(l->aio, 0), l->tls);
	accept_next(l);
}

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

static int use_tls(const struct gate *g, const struct gate_options *opt)
{
	struct gate_tls_files files = { .cert_file = opt->cert_file,
					.key_file = opt->key_file,
					.ca_file = opt->ca_file };

	for (size_t i = 0; i < g->n_listeners; i++)
		if (g->listener[i].tls)
			return 0;
	return gate_tls_use(&files);
}

static int listen_on(struct gate *g, const struct gate_options *opt,
		     const char *url)
{
	struct gate_listener *l = &g->listener[g->n_listeners];
	bool tls = strncmp(url, "tls+tcp://", 10) == 0;
	int rv = tls ? use_tls(g, opt) : 0;

	if (rv < 0)
		return rv;
	if (!tls && strncmp(url, "tcp://", 6) != 0) {
		log_error("ingest address needs tcp:// or tls+tcp:// url=%s",
			  url);
		return -EINVAL;
	}
	if (!tls && !is_loopback(url) && !opt->allow_plaintext) {
		log_error("plain TCP beyond loopback refused, use tls+tcp:// "
			  "or --ingest.allow-plaintext url=%s",
			  url);
		return -EINVAL;
	}
	*l = (struct gate_listener){ .gate = g, .tls = tls };
	g->n_listeners++;
	rv = nng_aio_alloc(&l->aio, on_accept, l);
	if (rv == 0)
		rv = nng_stream_listener_alloc(&l->listener, url);
	if (rv == 0)
		rv = nng_stream_listener_listen(l->listener);
	if (rv != 0) {
		log_error("cannot listen url=%s error=\"%s\"", url,
			  nng_strerror(rv));
		return from_nng(rv);
	}
	/* Finds peers whose machine disappeared without closing. */
	nng_stream_listener_set_bool(l->listener, NNG_OPT_TCP_KEEPALIVE, true);
	return 0;
}

int gate_open(struct gate **out, const struct gate_options *opt)
{
	struct gate *g = calloc(1, sizeof(*g));
	pthread_condattr_t attr;
	int err = 0;

	if (!g)
		return -ENOMEM;
	pthread_mutex_init(&g->mutex, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&g->arrived, &attr);
	pthread_condattr_destroy(&attr);
	g->max_bytes = opt->queue_bytes;
	g->max_conns =
		opt->max_connections ? opt->max_connections : CONNECTIONS_MAX;
	g->wait_ns = (opt->wait_ms ? opt->wait_ms : WAIT_MS) * CLOCK_NS_PER_MS;
	g->body_ns = (opt->body_ms ? opt->body_ms : BODY_MS) * CLOCK_NS_PER_MS;
	g->first_ns =
		(opt->first_ms ? opt->first_ms : FIRST_MS) * CLOCK_NS_PER_MS;
	g->idle_ns = (opt->idle_ms ? opt->idle_ms : IDLE_MS) * CLOCK_NS_PER_MS;
	err = refusal_new(&g->refusals);
	g->listener = calloc(opt->n_urls + 1, sizeof(*g->listener));
	if (!g->listener)
		err = err ? err : -ENOMEM;
	for (size_t i = 0; i < opt->n_urls && !err; i++)
		err = listen_on(g, opt, opt->urls[i]);
	if (err < 0) {
		gate_close(g);
		return err;
	}
	for (size_t i = 0; i < g->n_listeners; i++)
		accept_next(&g->listener[i]);
	*out = g;
	return 0;
}

int gate_renew_tls(struct gate *g, const char *cert_file, const char *key_file,
		   const char *ca_file)
{
	struct gate_tls_files files = { .cert_file = cert_file,
					.key_file = key_file,
					.ca_file = ca_file };

	for (size_t i = 0; i < g->n_listeners; i++)
		if (g->listener[i].tls)
			return gate_tls_use(&files);
	return 0;
}

/* From here on no connection is accepted and no room is granted. */
static void close_listeners(struct gate *g)
{
	pthread_mutex_lock(&g->mutex);
	g->closing = true;
	pthread_mutex_unlock(&g->mutex);
	for (size_t i = 0; i < g->n_listeners; i++) {
		struct gate_listener *l = &g->listener[i];

		if (l->listener)
			nng_stream_listener_close(l->listener);
		if (l->aio)
			nng_aio_free(l->aio);
		if (l->listener)
			nng_stream_listener_free(l->listener);
	}
	free(g->listener);
}

void gate_close(struct gate *g)
{
	struct gate_conn *c;

	if (!g)
		return;
	close_listeners(g);
	for (c = g->newest; c; c = c->older)
		nng_stream_close(c->stream);
	for (c = g->newest; c; c = c->older)
		nng_aio_stop(c->aio);
	while ((c = g->newest)) {
		g->newest = c->older;
		gate_conn_free(c);
	}
	refusal_free(g->refusals);
	pthread_cond_destroy(&g->arrived);
	pthread_mutex_destroy(&g->mutex);
	free(g);
}

/* --- the collecting thread --- */

void gate_wait(struct gate *g, const struct gate_enough *enough,
	       uint64_t until_ns)
{
	const struct timespec until = {
		.tv_sec = (time_t)(until_ns / CLOCK_NS_PER_S),
		.tv_nsec = (long)(until_ns % CLOCK_NS_PER_S),
	};

	pthread_mutex_lock(&g->mutex);
	g->enough = *enough;
	while (!gate_queue_has_enough(g) && !g->woken)
		if (pthread_cond_timedwait(&g->arrived, &g->mutex, &until) ==
		    ETIMEDOUT)
			break;
	g->woken = false;
	pthread_mutex_unlock(&g->mutex);
}

size_t gate_collect(struct gate *g, struct gate_request *out, size_t max,
		    size_t max_bytes)
{
	size_t n = 0, bytes = 0;

	gate_queue_tend(g);
	pthread_mutex_lock(&g->mutex);
	while (g->queued.head && n < max) {
		struct gate_conn *c = g->queued.head;

		if (n > 0 && bytes + c->len > max_bytes)
			break;
		g->queued.head = c->next;
		g->queued_bytes -= c->len;
		g->n_queued--;
		bytes += c->len;
		c->state = GATE_HELD;
		out[n++] = (struct gate_request){
			.data = c->body,
			.len = c->len,
			.received_us = c->received_us,
			.handle = c,
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

bool gate_may_be(struct gate *g, const struct gate_request *r,
		 const char *agent)
{
	const struct gate_conn *c = r->handle;

	(void)g;
	return !c->tls || gate_tls_peer_is(c->stream, agent);
}

int64_t gate_certificate_s(const struct gate_request *r)
{
	const struct gate_conn *c = r->handle;

	return c->tls ? gate_tls_peer_expires(c->stream) : 0;
}

void gate_refuse(struct gate *g, const struct gate_request *r,
		 enum refusal cause, const char *agent, const char *detail)
{
	const struct gate_conn *c = r->handle;

	refusal_tell(g->refusals, cause, c->peer, agent, detail);
}

static bool too_much_rubbish(struct gate *g, struct gate_conn *c)
{
	if (++c->rubbish < RUBBISH_MAX)
		return false;
	pthread_mutex_lock(&g->mutex);
	g->stats.cut_off++;
	pthread_mutex_unlock(&g->mutex);
	return true;
}

void gate_reply(struct gate *g, struct gate_request *r,
		const struct reply *reply, bool rubbish)
{
	struct gate_conn *c = r->handle;

	r->data = NULL;
	r->handle = NULL;
	free(c->body);
	c->body = NULL;
	gate_queue_release(g, c->len);
	if (reply->status == REPLY_ACCEPTED)
		gate_queue_prove(g, c);
	if (rubbish && too_much_rubbish(g, c))
		gate_conn_refuse(c, REFUSAL_RUBBISH,
				 "too many invalid messages");
	else
		gate_conn_answer(c, reply);
}

void gate_stats(struct gate *g, struct gate_stats *out)
{
	pthread_mutex_lock(&g->mutex);
	*out = g->stats;
	out->connections = g->n_conns;
	out->held_bytes = g->leased_bytes;
	pthread_mutex_unlock(&g->mutex);
	refusal_counts(g->refusals, out->refused);
}
