/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_SYNTH_FLEET_STATE_H
#define PROBE_AGENT_SYNTH_FLEET_STATE_H

#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "probe-agent/synth/fleet.h"
#include "probe-agent/synth/fleet_timer.h"
#include "proto/limits.h"

/*
 * Internals of the fleet, for fleet*.c only: fleet.c has the thread and the
 * public functions, fleet_member.c what an agent does, fleet_conn.c its
 * connection: the REQ side of nng's REQ/REP protocol, see gate_conn.c of the
 * aggregator.
 */

#define FLEET_HEAD_MAX 768u /* all of a message but the batch's body */
#define FLEET_IN_MAX 512u /* a reply, and a part of the next */

enum fleet_link {
	FLEET_DOWN,
	FLEET_CONNECTING,
	FLEET_HELLO, /* ours is sent, the aggregator's is awaited */
	FLEET_UP,
};

/* What the outstanding message is. */
enum fleet_content {
	FLEET_BATCH,
	FLEET_AGAIN, /* a batch that was acknowledged */
	FLEET_RUBBISH,
};

/* One agent. Its timer means what its state says: see fleet_member_timer(). */
struct fleet_member {
	struct fleet *fleet;
	struct fleet_timer timer;
	unsigned index;
	char id[LIMIT_AGENT_BYTES + 1];

	int fd; /* -1: none */
	enum fleet_link link;
	uint32_t backoff_ms;
	bool asking; /* a message was begun, its reply has not come */
	uint32_t request; /* its id */
	uint8_t head[FLEET_HEAD_MAX];
	const void *body;
	size_t head_len, body_len, sent;
	uint8_t in[FLEET_IN_MAX];
	size_t in_len;

	bool finished;
	bool holds; /* a batch without a reply, under way or not */
	enum fleet_content content;
	struct fleet_batch batch;
	uint64_t k, taken; /* batches; intervals that they cover */
	uint64_t sequence, packed, read;
	uint8_t *joined; /* a batch of samples, as it is sent; NULL: none yet */
	int64_t base_us;
	uint64_t asked_ns; /* when the batch was sent first; 0: not yet */
	uint32_t gather_ms;
};

struct fleet {
	struct fleet_options opt;
	struct sockaddr_storage to;
	socklen_t to_len;
	int epoll, wake;
	pthread_t thread;
	bool started;

	/* Only for the thread. */
	struct fleet_member *members;
	struct fleet_timers timers;
	uint64_t start_ns, now_ns, random;
	int64_t start_us;

	atomic_bool stop, closing;
	atomic_uint active, outstanding, connected, gather_ms;
	atomic_uint_fast64_t batches, events, bytes, resent, refused, busy,
		conflicts, duplicates, late, rubbish, dials;
	atomic_uint reply_ms[FLEET_REPLY_MS + 1]; /* replies by their time */
};

/* --- fleet.c --- */

void fleet_wake_in(struct fleet_member *m, uint64_t ms);
uint32_t fleet_random(struct fleet *f, uint32_t below);

/* --- fleet_member.c --- */

void fleet_member_timer(struct fleet_member *m);
void fleet_member_stop(struct fleet_member *m); /* fleet_stop() was called */
/* The connection is up: goes on with the batch that it holds, or a new one. */
void fleet_member_up(struct fleet_member *m);
/* The connection is lost. */
void fleet_member_down(struct fleet_member *m);
/* A reply to the outstanding message. */
void fleet_member_reply(struct fleet_member *m, const uint8_t *data,
			size_t len);

/* --- fleet_conn.c --- */

void fleet_conn_dial(struct fleet_member *m);
void fleet_conn_event(struct fleet_member *m, uint32_t events);
void fleet_conn_close(struct fleet_member *m);
/*
 * Sends a new message: len bytes that the caller has put behind
 * FLEET_MESSAGE_HEAD in m->head, then m->body.
 */
#define FLEET_MESSAGE_HEAD 12u
void fleet_conn_ask(struct fleet_member *m, size_t len);

#endif /* PROBE_AGENT_SYNTH_FLEET_STATE_H */
