/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_OUTBOX_UPLINK_STATE_H
#define PROBE_AGENT_OUTBOX_UPLINK_STATE_H

#include <nng/nng.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#include "common/token.h"
#include "probe-agent/outbox/uplink.h"
#include "proto/batch.h"

/*
 * Internals of the uplink, for uplink*.c only: uplink.c has the socket and the
 * outbox's batches, uplink_words.c those of earlier starts, uplink_token.c the
 * secret, uplink_trouble.c says what keeps batches waiting, uplink_trial.c
 * finds that out.
 */

/* The files that may have the token; one of them is in use. */
#define UPLINK_TOKENS 3u
struct uplink_secret {
	char *file[UPLINK_TOKENS];
	size_t n, current;
	struct token token; /* len 0: none */
};

/* What keeps batches waiting. */
struct uplink_trouble {
	uint64_t since_ns; /* 0: nothing keeps them */
	uint64_t told_ns; /* 0: not yet */
};

struct uplink {
	struct outbox *outbox;
	struct last_words *last_words;
	char *url;
	char *ca_file, *cert_file, *key_file; /* NULL: none */
	struct uplink_secret secret;
	struct uplink_trouble trouble;
	uint64_t acknowledged_ns; /* the last time; 0: never */
	uint32_t reply_timeout_ms;
	nng_socket socket;
	nng_dialer dialer;
	nng_aio *aio; /* the send or receive in progress */
	bool has_socket;
	pthread_t thread;
	pthread_mutex_t lock; /* guards ended */
	pthread_cond_t wake; /* announces ended, quit, and more pipes */
	bool ended;
	atomic_bool quit;
	atomic_uint pipe; /* id of the latest one */
	atomic_uint pipes;
	atomic_uint gather_ms; /* of the last reply */
	atomic_uint_fast64_t sent, acknowledged, refused, busy, timeouts,
		connects, conflicts;
};

/* --- uplink.c --- */

bool uplink_quitting(struct uplink *up);
struct timespec uplink_in_ms(uint32_t ms); /* CLOCK_MONOTONIC */
/*
 * Sleeps for that long and up to half as long again, or until uplink_stop().
 * Agents to which one aggregator says wait, or that lost it at the same moment,
 * must not come back in step.
 */
void uplink_sleep(struct uplink *up, uint32_t ms);
/* Sends a new request, so that a late reply to the previous one is ignored. */
int uplink_send(struct uplink *up, const struct outbox_item *it,
		int64_t clock_us);
/* -ETIMEDOUT, -ECANCELED, -EPROTO, -EIO. */
int uplink_receive(struct uplink *up, struct reply *out);
/* Closes a connection that gave no reply, so that nng dials again. */
void uplink_redial(struct uplink *up);

/* --- uplink_token.c --- */

/* -EINVAL: the file that opt names cannot be used; logged. -ENOMEM. */
int uplink_token_open(struct uplink_secret *s,
		      const struct uplink_options *opt);
/* The aggregator holds batches back: the file may be newer, or another one. */
void uplink_token_again(struct uplink_secret *s);
void uplink_token_fini(struct uplink_secret *s);

/* --- uplink_trouble.c: only for the uplink's thread --- */

/*
 * Waits for a connection. False: there is none within some time, which is said,
 * or uplink_stop() was called.
 */
bool uplink_connected(struct uplink *up);
/* A batch was acknowledged, or refused for good. */
void uplink_worked(struct uplink *up);
/*
 * A batch must wait. cause is what the aggregator says; with NULL it is
 * searched for. Warns at the first failure, then once a minute.
 */
void uplink_failed(struct uplink *up, const char *cause);
/* The same for an aggregator that has no room: only warns if that goes on. */
void uplink_busy(struct uplink *up, const char *cause);
/* What the outbox has, for the aggregator. */
void uplink_health(const struct uplink *up, struct push_health *out);

/* --- uplink_trial.c --- */

/*
 * As uplink_try(), but ends early when *quit becomes true. Without a node, the
 * aggregator is not asked about it.
 */
void uplink_trial_run(const struct uplink_options *opt,
		      const struct token *token, const char *node,
		      const atomic_bool *quit, struct uplink_trial *out);
/* Sets the step that failed, its cause and an advice; returns -EPROTO. */
int uplink_trial_fail(struct uplink_trial *t, enum uplink_step step,
		      const char *advice, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* --- uplink_trial_tls.c --- */

struct uplink_trial_tls;

/*
 * Reads the files, and shakes hands over fd, which is borrowed. The caller
 * frees *out, which is valid after errors, too. -EPROTO: failed, *t says why.
 */
int uplink_trial_tls_open(struct uplink_trial_tls **out,
			  const struct uplink_options *opt, const char *host,
			  int fd, struct uplink_trial *t);
void uplink_trial_tls_free(struct uplink_trial_tls *tls); /* NULL is fine */
/* As send() and recv(); they block as long as the socket does. */
ssize_t uplink_trial_tls_send(struct uplink_trial_tls *tls, const void *data,
			      size_t len);
ssize_t uplink_trial_tls_recv(struct uplink_trial_tls *tls, void *data,
			      size_t len);

/* --- uplink_words.c --- */

/* Sends what earlier starts gave up, before any batch of this one. */
void uplink_tell_last_words(struct uplink *up);

#endif /* PROBE_AGENT_OUTBOX_UPLINK_STATE_H */
