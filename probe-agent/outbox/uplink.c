/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/outbox/uplink.h"

#include <errno.h>
#include <nng/nng.h>
#include <nng/protocol/reqrep0/req.h>
#include <nng/supplemental/util/platform.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/clock.h"
#include "common/log.h"
#include "probe-agent/outbox/reply_policy.h"
#include "probe-agent/outbox/uplink_state.h"
#include "probe-agent/outbox/uplink_tls.h"
#include "proto/batch.h"
#include "proto/limits.h"

#define REPLY_TIMEOUT_MS 10000u
#define RECONNECT_MIN_MS 20
/*
 * nng waits for a random part of a time that doubles up to this. So an agent is
 * back soon after a short absence of the aggregator, and 10 000 of them come
 * spread over two seconds after a long one.
 */
#define RECONNECT_MAX_MS 2000
#define PEEK_MS 500
#define CANCEL_AGAIN_MS 10u

static int nng_errno(int code)
{
	switch (code) {
	case 0:
		return 0;
	case NNG_ENOMEM:
		return -ENOMEM;
	case NNG_ETIMEDOUT:
		return -ETIMEDOUT;
	case NNG_ECLOSED:
	case NNG_ECANCELED:
		return -ECANCELED;
	case NNG_EINVAL:
	case NNG_EADDRINVAL:
	case NNG_ENOTSUP:
		return -EINVAL;
	default:
		return -EIO;
	}
}

/* --- waiting that uplink_stop() can cut short --- */

bool uplink_quitting(struct uplink *up)
{
	return atomic_load(&up->quit);
}

struct timespec uplink_in_ms(uint32_t ms)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_sec += ms / 1000;
	t.tv_nsec += (long)(ms % 1000) * 1000000L;
	if (t.tv_nsec >= 1000000000L) {
		t.tv_sec++;
		t.tv_nsec -= 1000000000L;
	}
	return t;
}

void uplink_sleep(struct uplink *up, uint32_t ms)
{
	struct timespec until = uplink_in_ms(ms + nng_random() % (ms / 2 + 1));

	pthread_mutex_lock(&up->lock);
	while (!atomic_load(&up->quit) &&
	       pthread_cond_timedwait(&up->wake, &up->lock, &until) == 0)
		;
	pthread_mutex_unlock(&up->lock);
}

/* --- one exchange --- */

/* Waits for the send or receive; uplink_stop() can cut that short. */
static int finish_send(struct uplink *up)
{
	nng_aio_wait(up->aio);
	return nng_errno(nng_aio_result(up->aio));
}

int uplink_send(struct uplink *up, const struct outbox_item *it,
		int64_t clock_us)
{
	struct push push = {
		.protocol = batch_protocol(it->data, it->len),
		.sent_us = clock_real_us(),
		.clock_us = clock_us,
		.batch_len = it->len,
		.token = up->secret.token.text,
		.token_len = up->secret.token.len,
	};
	uint8_t head[PUSH_HEAD_MAX];
	size_t head_len;
	nng_msg *msg = NULL;
	int err;

	uplink_health(up, &push.health);
	head_len = push_head(&push, head);
	err = nng_errno(nng_msg_alloc(&msg, head_len + it->len));
	if (err)
		return err;
	memcpy(nng_msg_body(msg), head, head_len);
	memcpy((uint8_t *)nng_msg_body(msg) + head_len, it->data, it->len);
	nng_aio_set_msg(up->aio, msg);
	nng_send_aio(up->socket, up->aio);
	err = finish_send(up);
	if (err) {
		nng_msg_free(msg); /* not sent: still ours */
		return err;
	}
	atomic_fetch_add(&up->sent, 1);
	return 0;
}

int uplink_receive(struct uplink *up, struct reply *out)
{
	nng_msg *msg;
	int err;

	nng_aio_set_msg(up->aio, NULL);
	nng_recv_aio(up->socket, up->aio);
	err = finish_send(up);
	if (err)
		return err;
	msg = nng_aio_get_msg(up->aio);
	/* nng 1.5.2, if the reply comes just as the timeout expires. */
	if (!msg)
		return -ETIMEDOUT;
	err = reply_decode(nng_msg_body(msg), nng_msg_len(msg), out);
	nng_msg_free(msg);
	return err;
}

/* Counts, and says, why a batch must be sent again. */
static void on_refusal(struct uplink *up, const struct reply *r)
{
	char cause[sizeof(r->reason) + 64];

	switch (r->status) {
	case REPLY_BUSY:
		atomic_fetch_add(&up->busy, 1);
		uplink_busy(up, *r->reason ? r->reason : "it is busy");
		return;
	case REPLY_CONFLICT:
		atomic_fetch_add(&up->conflicts, 1);
		uplink_token_again(&up->secret);
		uplink_failed(up, r->reason);
		return;
	case REPLY_VERSION:
		snprintf(cause, sizeof(cause),
			 "it speaks protocol %u, not %u: %s", r->protocol,
			 PROTOCOL_VERSION, r->reason);
		break;
	default:
		snprintf(cause, sizeof(cause), "unexpected reply status=%d",
			 (int)r->status);
	}
	uplink_failed(up, cause);
}

/* Handles the reply to a batch. Returns how long to wait, ms. */
static uint32_t on_reply(struct uplink *up, const struct outbox_item *it,
			 const struct reply *r)
{
	uint32_t wait_ms;

	switch (reply_policy(r, it->epoch, it->sequence, &wait_ms)) {
	case REPLY_POLICY_COUNTED:
		atomic_store(&up->gather_ms, r->gather_ms);
		atomic_fetch_add(&up->acknowledged, 1);
		up->acknowledged_ns = clock_mono_ns();
		uplink_worked(up);
		outbox_ack(up->outbox, it->epoch, it->sequence);
		break;
	case REPLY_POLICY_REFUSED:
		log_error("aggregator refused batch, dropped "
			  "sequence=%llu reason=\"%s\"",
			  (unsigned long long)it->sequence, r->reason);
		atomic_fetch_add(&up->refused, 1);
		uplink_worked(up);
		outbox_refused(up->outbox, it->epoch, it->sequence);
		break;
	case REPLY_POLICY_AGAIN:
	case REPLY_POLICY_STRANGE:
		on_refusal(up, r);
		break;
	}
	return wait_ms;
}

/*
 * Closes a connection that gave no reply, so that nng dials again. After an
 * outage, TCP may wait as long again as it lasted before it resends; a new
 * connection does not.
 */
void uplink_redial(struct uplink *up)
{
	nng_pipe pipe = { .id = atomic_load(&up->pipe) };

	if (pipe.id)
		nng_pipe_close(pipe);
}

static void exchange(struct uplink *up, const struct outbox_item *it)
{
	struct reply reply;
	uint32_t wait_ms = 0;
	int err;

	if (!atomic_load(&up->pipes)) {
		outbox_not_sent(up->outbox, it->epoch, it->sequence);
		uplink_connected(up);
		return; /* what came meanwhile may go with it */
	}
	err = uplink_send(up, it, clock_steady_us());

	if (err) /* no connection has taken any of it */
		outbox_not_sent(up->outbox, it->epoch, it->sequence);
	else
		err = uplink_receive(up, &reply);
	if (!err) {
		wait_ms = on_reply(up, it, &reply);
	} else if (err == -ETIMEDOUT) {
		atomic_fetch_add(&up->timeouts, 1);
		uplink_redial(up);
		uplink_failed(up, NULL);
	} else if (err != -ECANCELED) {
		uplink_failed(up, strerror(-err));
		wait_ms = REPLY_POLICY_RETRY_MS;
	}
	if (wait_ms > 0)
		uplink_sleep(up, wait_ms);
}

static void *uplink_thread(void *arg)
{
	struct uplink *up = arg;
	struct outbox_item it;

	uplink_tell_last_words(up);
	while (!uplink_quitting(up))
		if (outbox_peek(up->outbox, &it, PEEK_MS) == 0)
			exchange(up, &it);
	pthread_mutex_lock(&up->lock);
	up->ended = true;
	pthread_cond_broadcast(&up->wake);
	pthread_mutex_unlock(&up->lock);
	return NULL;
}

/* --- the socket --- */

static void pipe_changed(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
	struct uplink *up = arg;

	if (event == NNG_PIPE_EV_ADD_POST) {
		atomic_store(&up->pipe, (unsigned)nng_pipe_id(pipe));
		pthread_mutex_lock(&up->lock);
		atomic_fetch_add(&up->pipes, 1);
		pthread_cond_broadcast(&up->wake);
		pthread_mutex_unlock(&up->lock);
		atomic_fetch_add(&up->connects, 1);
		log_info("connected url=%s", up->url);
	} else if (event == NNG_PIPE_EV_REM_POST) {
		atomic_fetch_sub(&up->pipes, 1);
		if (!uplink_quitting(up))
			log_warn("connection lost url=%s", up->url);
	}
}

static int open_socket(struct uplink *up, const struct uplink_options *opt)
{
	int code = nng_req0_open(&up->socket);
	int err;

	if (code != 0)
		return nng_errno(code);
	up->has_socket = true;
	code = nng_aio_alloc(&up->aio, NULL, NULL);
	if (code != 0)
		return nng_errno(code);
	nng_aio_set_timeout(up->aio, (nng_duration)up->reply_timeout_ms);
	nng_pipe_notify(up->socket, NNG_PIPE_EV_ADD_POST, pipe_changed, up);
	nng_pipe_notify(up->socket, NNG_PIPE_EV_REM_POST, pipe_changed, up);
	/* Resending is done here: nng must not do it on its own. */
	nng_socket_set_ms(up->socket, NNG_OPT_REQ_RESENDTIME,
			  NNG_DURATION_INFINITE);
	nng_socket_set_ms(up->socket, NNG_OPT_RECONNMINT, RECONNECT_MIN_MS);
	nng_socket_set_ms(up->socket, NNG_OPT_RECONNMAXT, RECONNECT_MAX_MS);
	nng_socket_set_size(up->socket, NNG_OPT_RECVMAXSZ, LIMIT_REPLY_BYTES);
	code = nng_dialer_create(&up->dialer, up->socket, up->url);
	if (code != 0) {
		log_error("bad uplink address url=%s error=\"%s\"", up->url,
			  nng_strerror(code));
		return nng_errno(code);
	}
	if (strncasecmp(up->url, "tls+", 4) == 0) {
		err = nng_errno(uplink_tls_use(up->dialer, opt));
		if (err)
			return err;
	}
	return nng_errno(nng_dialer_start(up->dialer, NNG_FLAG_NONBLOCK));
}

static void release(struct uplink *up)
{
	if (up->has_socket)
		nng_close(up->socket);
	if (up->aio)
		nng_aio_free(up->aio);
	pthread_cond_destroy(&up->wake);
	pthread_mutex_destroy(&up->lock);
	uplink_token_fini(&up->secret);
	free(up->url);
	free(up->ca_file);
	free(up->cert_file);
	free(up->key_file);
	free(up);
}

static int copy(char **to, const char *text)
{
	*to = text ? strdup(text) : NULL;
	return text && !*to ? -ENOMEM : 0;
}

static int copy_options(struct uplink *up, const struct uplink_options *opt)
{
	int err = copy(&up->url, opt->url);

	if (!err)
		err = copy(&up->ca_file, opt->ca_file);
	if (!err)
		err = copy(&up->cert_file, opt->cert_file);
	if (!err)
		err = copy(&up->key_file, opt->key_file);
	return err;
}

int uplink_open(struct uplink **out, const struct uplink_options *opt)
{
	struct uplink *up;
	pthread_condattr_t attr;
	int err = 0;

	if (!opt->url || (strncasecmp(opt->url, "tcp://", 6) != 0 &&
			  strncasecmp(opt->url, "tls+tcp://", 10) != 0))
		return -EINVAL;
	up = calloc(1, sizeof(*up));
	if (!up)
		return -ENOMEM;
	pthread_mutex_init(&up->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&up->wake, &attr);
	pthread_condattr_destroy(&attr);
	up->reply_timeout_ms = opt->reply_timeout_ms > 0 ? opt->reply_timeout_ms
							 : REPLY_TIMEOUT_MS;
	err = copy_options(up, opt);
	if (!err)
		err = uplink_token_open(&up->secret, opt);
	if (!err)
		err = open_socket(up, opt);
	if (err) {
		release(up);
		return err;
	}
	*out = up;
	return 0;
}

/* Ends all sleeps; from now on a lost connection is not logged. */
static void hang_up(struct uplink *up)
{
	pthread_mutex_lock(&up->lock);
	atomic_store(&up->quit, true);
	pthread_cond_broadcast(&up->wake);
	pthread_mutex_unlock(&up->lock);
}

void uplink_close(struct uplink *up)
{
	if (!up)
		return;
	hang_up(up);
	release(up);
}

int uplink_exchange(struct uplink *up, const void *batch, size_t len,
		    struct reply *out)
{
	struct outbox_item it = { .data = batch, .len = len };
	int err = uplink_send(up, &it, 0);

	return err ? err : uplink_receive(up, out);
}

int uplink_start(struct uplink **out, const struct uplink_options *opt,
		 struct outbox *ob)
{
	struct uplink *up;
	int err = uplink_open(&up, opt);

	if (err)
		return err;
	up->outbox = ob;
	up->last_words = opt->last_words;
	err = -pthread_create(&up->thread, NULL, uplink_thread, up);
	if (err) {
		release(up);
		return err;
	}
	*out = up;
	return 0;
}

static bool drained(struct uplink *up)
{
	struct outbox_stats stats;

	outbox_stats(up->outbox, &stats);
	return stats.batches == 0;
}

/*
 * Ends the thread before its socket is closed: nng_close() can hang (nng #1813)
 * while another thread receives. Cancels repeatedly, since an operation may
 * begin just after it was cancelled.
 */
static void join(struct uplink *up)
{
	struct timespec until;

	pthread_mutex_lock(&up->lock);
	while (!up->ended) {
		pthread_mutex_unlock(&up->lock);
		nng_aio_cancel(up->aio);
		until = uplink_in_ms(CANCEL_AGAIN_MS);
		pthread_mutex_lock(&up->lock);
		if (!up->ended)
			pthread_cond_timedwait(&up->wake, &up->lock, &until);
	}
	pthread_mutex_unlock(&up->lock);
	pthread_join(up->thread, NULL);
}

void uplink_stop(struct uplink *up, uint32_t drain_ms)
{
	uint64_t until_ns;

	if (!up)
		return;
	until_ns = clock_mono_ns() + drain_ms * CLOCK_NS_PER_MS;
	while (!drained(up) && clock_mono_ns() < until_ns)
		nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
	hang_up(up);
	outbox_wake(up->outbox);
	join(up);
	release(up);
}

uint32_t uplink_gather_ms(const struct uplink *up)
{
	uint32_t ms = up ? atomic_load(&up->gather_ms) : 0;

	return ms < HEARTBEAT_MS ? ms : HEARTBEAT_MS;
}

void uplink_stats(struct uplink *up, struct uplink_stats *out)
{
	*out = (struct uplink_stats){
		.sent = atomic_load(&up->sent),
		.acknowledged = atomic_load(&up->acknowledged),
		.refused = atomic_load(&up->refused),
		.busy = atomic_load(&up->busy),
		.timeouts = atomic_load(&up->timeouts),
		.connects = atomic_load(&up->connects),
		.conflicts = atomic_load(&up->conflicts),
		.connected = atomic_load(&up->pipes) > 0,
	};
}
