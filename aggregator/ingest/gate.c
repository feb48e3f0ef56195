/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/ingest/gate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "aggregator/ingest/gate_state.h"
#include "common/clock.h"
#include "common/fds.h"
#include "common/log.h"

#define RUBBISH_MAX 8u /* invalid messages, then the connection is closed */
#define WAIT_MS 5000u
#define BODY_MS 15000u
#define FIRST_MS 60000u
#define IDLE_MS 600000u /* agents say something at least every 5 s */
#define CONNECTIONS_MAX 65536u
/* Of the descriptors; the others are for the web server and the store. */
#define CONNECTIONS_PERCENT 70u

/* --- start and end --- */

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
	bool tls = gate_url_is_tls(url);
	int err = tls ? use_tls(g, opt) : 0;

	if (err)
		return err;
	if (!tls && strncmp(url, "tcp://", 6) != 0) {
		log_error("ingest address needs tcp:// or tls+tcp:// url=%s",
			  url);
		return -EINVAL;
	}
	if (!tls && !gate_url_is_loopback(url) && !opt->allow_plaintext) {
		log_error("plain TCP beyond loopback refused, use tls+tcp:// "
			  "or --ingest.allow-plaintext url=%s",
			  url);
		return -EINVAL;
	}
	*l = (struct gate_listener){ .tls = tls };
	err = gate_listen(url, &l->fd);
	if (err)
		return err;
	g->n_listeners++;
	return gate_loop_watch(g, l->fd, l, false);
}

static int open_descriptors(struct gate *g)
{
	g->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (g->epoll < 0)
		return -errno;
	g->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (g->wake < 0)
		return -errno;
	return gate_loop_watch(g, g->wake, g, false);
}

static struct gate *new_gate(const struct gate_options *opt)
{
	struct gate *g = calloc(1, sizeof(*g));
	pthread_condattr_t attr;

	if (!g)
		return NULL;
	pthread_mutex_init(&g->mutex, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&g->arrived, &attr);
	pthread_condattr_destroy(&attr);
	g->epoll = g->wake = -1;
	g->now_ns = clock_mono_ns();
	g->max_bytes = opt->queue_bytes;
	g->max_conns =
		fds_share(CONNECTIONS_PERCENT,
			  opt->max_connections ? (unsigned)opt->max_connections
					       : CONNECTIONS_MAX);
	g->shared_name = opt->shared_name;
	g->wait_ns = (opt->wait_ms ? opt->wait_ms : WAIT_MS) * CLOCK_NS_PER_MS;
	g->body_ns = (opt->body_ms ? opt->body_ms : BODY_MS) * CLOCK_NS_PER_MS;
	g->first_ns =
		(opt->first_ms ? opt->first_ms : FIRST_MS) * CLOCK_NS_PER_MS;
	g->idle_ns = (opt->idle_ms ? opt->idle_ms : IDLE_MS) * CLOCK_NS_PER_MS;
	return g;
}

int gate_open(struct gate **out, const struct gate_options *opt)
{
	struct gate *g = new_gate(opt);
	int err;

	if (!g)
		return -ENOMEM;
	g->listener = calloc(opt->n_urls + 1, sizeof(*g->listener));
	err = g->listener ? refusal_new(&g->refusals) : -ENOMEM;
	if (!err)
		err = open_descriptors(g);
	for (size_t i = 0; i < opt->n_urls && !err; i++)
		err = listen_on(g, opt, opt->urls[i]);
	if (!err)
		err = -pthread_create(&g->thread, NULL, gate_loop, g);
	if (err) {
		gate_close(g);
		return err;
	}
	g->started = true;
	pthread_setname_np(g->thread, "gate");
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

/* The gate's thread goes through what it was given. */
static void wake_thread(struct gate *g)
{
	uint64_t one = 1;

	while (write(g->wake, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

void gate_close(struct gate *g)
{
	struct gate_conn *c;

	if (!g)
		return;
	atomic_store(&g->closing, true);
	if (g->started) {
		wake_thread(g);
		pthread_join(g->thread, NULL);
	}
	while ((c = g->unproven.newest ? g->unproven.newest
				       : g->proven.newest)) {
		gate_queue_remove(g, c);
		gate_conn_free(c);
	}
	refusal_free(g->refusals);
	for (size_t i = 0; i < g->n_listeners; i++)
		close(g->listener[i].fd);
	free(g->listener);
	if (g->wake >= 0)
		close(g->wake);
	if (g->epoll >= 0)
		close(g->epoll);
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

	pthread_mutex_lock(&g->mutex);
	while (g->queued.head && n < max) {
		struct gate_conn *c = g->queued.head;

		if (n > 0 && bytes + c->len > max_bytes)
			break;
		gate_fifo_pop(&g->queued);
		bytes += c->len;
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
	n = g->queued.n;
	*bytes = g->queued.bytes;
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

	return !c->tls || gate_tls_peer_is(c->tls, agent) ||
	       (g->shared_name && gate_tls_peer_is(c->tls, g->shared_name));
}

int64_t gate_certificate_s(const struct gate_request *r)
{
	const struct gate_conn *c = r->handle;

	return c->tls ? gate_tls_peer_expires(c->tls) : 0;
}

void gate_refuse(struct gate *g, const struct gate_request *r,
		 enum refusal cause, const char *agent, const char *detail)
{
	(void)g;
	gate_tell(r->handle, cause, agent, detail);
}

void gate_reply(struct gate *g, struct gate_request *r,
		const struct reply *reply, bool rubbish)
{
	struct gate_conn *c = r->handle;

	r->data = NULL;
	r->handle = NULL;
	if (rubbish && ++c->rubbish >= RUBBISH_MAX) {
		g->cut_off++;
		c->hang_up = true;
		gate_tell(c, REFUSAL_RUBBISH, NULL,
			  "too many invalid messages");
	} else if (gate_conn_compose(c, reply) < 0) {
		c->hang_up = true;
	}
	c->accepted |= reply->status == REPLY_ACCEPTED;
	gate_fifo_push(&g->answering, c);
}

void gate_flush(struct gate *g)
{
	if (!g->answering.head)
		return;
	pthread_mutex_lock(&g->mutex);
	gate_fifo_move(&g->answered, &g->answering);
	pthread_mutex_unlock(&g->mutex);
	wake_thread(g);
}

void gate_stats(struct gate *g, struct gate_stats *out)
{
	*out = (struct gate_stats){
		.messages = g->messages,
		.bytes = g->bytes,
		.busy = g->busy,
		.cut_off = g->cut_off,
		.waited = g->waited,
		.rounds = g->rounds,
		.connections = g->n_conns,
		.held_bytes = g->leased_bytes,
	};
	refusal_counts(g->refusals, out->refused);
}
