/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_INGEST_GATE_H
#define AGGREGATOR_INGEST_GATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/batch.h"

/*
 * Where agents knock: the reply side of nng's request and reply. A message is
 * only received when there is room for it; until then its bytes stay in the
 * kernel, and with the agent. Who waits for long is told BUSY. One thread
 * collects and replies. Only gate*.c see nng.
 */
struct gate;

struct gate_options {
	const char *const *urls;
	size_t n_urls;
	bool allow_plaintext;
	const char *cert_file, *key_file, *ca_file;
	size_t queue_bytes; /* of messages, until they are answered */
	size_t max_connections; /* 0: 65 536 */
	/* For room, and for all of a message, at most; 0: 5 s, 15 s. */
	uint32_t wait_ms, body_ms;
};

/* One message, of the gate until gate_reply(). */
struct gate_request {
	const void *data;
	size_t len;
	int64_t received_us; /* wall clock, of its beginning */
	void *handle;
};

/*
 * Listens. Sets *out, released by gate_close(). -EINVAL: a URL, or plain TCP
 * beyond loopback; -EADDRINUSE; -ENOMEM. Logged.
 */
int gate_open(struct gate **out, const struct gate_options *opt);
/*
 * Reads renewed TLS files, for connections from now on; nothing if no URL is
 * tls+tcp. -EINVAL, said in the log: the old ones stay. Any thread.
 */
int gate_renew_tls(struct gate *g, const char *cert_file, const char *key_file,
		   const char *ca_file);
void gate_close(struct gate *g); /* NULL is fine; drops what is queued */

/* So many messages of so many bytes in all, or most_bytes in any number. */
struct gate_enough {
	size_t messages, bytes, most_bytes;
};

/* Sleeps until so much is queued, or until then. The collecting thread. */
void gate_wait(struct gate *g, const struct gate_enough *enough,
	       uint64_t until_ns);
/*
 * Moves what is queued into out, up to max requests or max_bytes (at least
 * one). How many.
 */
size_t gate_collect(struct gate *g, struct gate_request *out, size_t max,
		    size_t max_bytes);
/* Messages queued now, and their bytes. Any thread. */
size_t gate_queued(struct gate *g, size_t *bytes);
/* Ends a gate_wait(), or the next one. Any thread. */
void gate_wake(struct gate *g);
/* From now on every new message is answered BUSY. Any thread. */
void gate_stop(struct gate *g);

/*
 * The sender may speak for this agent: its certificate is of that name, or it
 * came without TLS, where anybody may.
 */
bool gate_may_be(struct gate *g, const struct gate_request *r,
		 const char *agent);

/*
 * Answers and gives the message back. rubbish: it was not one of ours; a peer
 * that keeps sending such is cut off.
 */
void gate_reply(struct gate *g, struct gate_request *r,
		const struct reply *reply, bool rubbish);

struct gate_stats {
	uint64_t messages, bytes, busy, cut_off;
	uint64_t waited; /* messages, for room */
	uint64_t turned_away; /* connections, of which there were too many */
	uint64_t connections, held_bytes; /* now */
};
void gate_stats(struct gate *g, struct gate_stats *out);

#endif /* AGGREGATOR_INGEST_GATE_H */
