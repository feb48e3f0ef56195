/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_INGEST_GATE_H
#define AGGREGATOR_INGEST_GATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aggregator/ingest/refusal.h"
#include "proto/batch.h"

/*
 * The server that agents connect to: the REP side of nng's REQ/REP protocol.
 * The body of a message is read only when the queue has room for it; until then
 * its bytes stay in the kernel and with the agent. A message that waits too
 * long is answered BUSY. The gate has a thread of its own for all connections;
 * another one, the engine's, collects messages and replies.
 */
struct gate;

struct gate_options {
	const char *const *urls;
	size_t n_urls;
	bool allow_plaintext;
	const char *cert_file, *key_file, *ca_file;
	/*
	 * A certificate of this name may speak for any agent: the pods of a
	 * DaemonSet share one. NULL: none. Borrowed for the gate's life.
	 */
	const char *shared_name;
	size_t queue_bytes; /* limit of all messages not answered yet */
	size_t max_connections; /* 0: 65,536; at most 70 % of the fds */
	/*
	 * Time-outs for room in the queue [5 s], for the body [15 s], for the
	 * first message [60 s] and for each further one [10 min].
	 */
	uint32_t wait_ms, body_ms, first_ms, idle_ms;
};

/* One message; the gate owns its data until gate_reply(). */
struct gate_request {
	const void *data;
	size_t len;
	int64_t received_us; /* wall clock, when its head had arrived */
	void *handle;
};

/*
 * Starts to listen. Sets *out, released by gate_close(). -EINVAL: bad URL,
 * plain TCP beyond loopback, or TLS files that cannot be used; -EADDRINUSE;
 * -EACCES; -ENOMEM. Errors are logged.
 */
int gate_open(struct gate **out, const struct gate_options *opt);
/*
 * Reads renewed TLS files for new connections; does nothing if no URL is
 * tls+tcp. -EINVAL: cannot be used, which is logged, and the old ones stay in
 * force; -ENOMEM. Any thread.
 */
int gate_renew_tls(struct gate *g, const char *cert_file, const char *key_file,
		   const char *ca_file);
void gate_close(struct gate *g); /* NULL is fine; drops queued messages */

/* Enough: messages and bytes are both reached, or most_bytes is. */
struct gate_enough {
	size_t messages, bytes, most_bytes;
};

/*
 * Sleeps until enough is queued, until_ns (CLOCK_MONOTONIC) or gate_wake(). The
 * collecting thread.
 */
void gate_wait(struct gate *g, const struct gate_enough *enough,
	       uint64_t until_ns);
/*
 * Moves queued messages into out: at most max, and at most max_bytes in all,
 * but the first one whatever its size. Returns their number. The collecting
 * thread.
 */
size_t gate_collect(struct gate *g, struct gate_request *out, size_t max,
		    size_t max_bytes);
/* Returns the number of queued messages and sets their bytes. Any thread. */
size_t gate_queued(struct gate *g, size_t *bytes);
/* Makes the current gate_wait(), or else the next one, return. Any thread. */
void gate_wake(struct gate *g);
/* From now on answers every newly received message BUSY. Any thread. */
void gate_stop(struct gate *g);

/*
 * True if the sender may send for this agent: its certificate has that name, or
 * the connection has no TLS, where every sender may.
 */
bool gate_may_be(struct gate *g, const struct gate_request *r,
		 const char *agent);

/*
 * When certificate and CA of the TLS files in force expire, the first of each;
 * unix time, 0: there are none. Any thread.
 */
struct gate_tls_expiry {
	int64_t own_s, ca_s;
};
void gate_tls_expires(struct gate_tls_expiry *out);
/* When the sender's certificate expires, unix time; 0: it has none. */
int64_t gate_certificate_s(const struct gate_request *r);

/* Counts and logs that a message is refused or held back; see refusal.h. */
void gate_refuse(struct gate *g, const struct gate_request *r,
		 enum refusal cause, const char *agent, const char *detail);

/*
 * Takes the reply, which is sent with gate_flush(), and the message back.
 * rubbish: the message was invalid; a connection that brings too many of those
 * is closed. Both only for the collecting thread.
 */
void gate_reply(struct gate *g, struct gate_request *r,
		const struct reply *reply, bool rubbish);
/* Lets the gate's thread send the replies taken since the last call. */
void gate_flush(struct gate *g);

struct gate_stats {
	uint64_t messages, bytes, busy, cut_off;
	uint64_t waited; /* messages that had to wait for room */
	uint64_t refused[REFUSALS];
	uint64_t rounds; /* wake-ups of the gate's thread */
	uint64_t connections, held_bytes; /* current values */
};
void gate_stats(struct gate *g, struct gate_stats *out);

#endif /* AGGREGATOR_INGEST_GATE_H */
