/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_REPLAY_REPLAY_STREAMS_H
#define PROBE_AGENT_REPLAY_REPLAY_STREAMS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "proto/batch.h"

/*
 * What is in a trace file, found by reading it once, and as what it is sent.
 *
 * Each agent and epoch of the file is a stream. Its batches keep their
 * sequence numbers, and get an epoch that follows from all that the file holds
 * and the id it is sent under: so the ledger knows the same file again, and
 * where it ended last time. Numbers that the file does not have (heartbeats,
 * which are not stored; other services' batches) count as part of the next
 * batch, so nothing is missed.
 */

struct replay_stream {
	char *agent; /* in the file */
	uint64_t epoch; /* likewise */
	char *id; /* to send as */
	uint64_t new_epoch;
	uint64_t batches, requests;
	int64_t first_us; /* end of its first request */
	/* The sender's: greatest number told, and known to be counted. */
	uint64_t told, counted;
};

struct replay_streams {
	size_t n; /* streams */
	void *tree; /* of the streams; replay_streams.c's */
	uint64_t digest; /* of all batches */
	uint64_t batches, requests;
	uint64_t invalid; /* batches that do not decode: left out */
	int64_t first_us, last_us; /* earliest, latest end of a request */
	const char *damage; /* static; NULL: none */
};

/*
 * Reads the trace f from where it is. as: the id to use (with several agents in
 * the file AS-AGENT), NULL: theirs. -EPROTO, -ENOTSUP: no trace; -EINVAL: an id
 * gets too long; -ENOMEM. Released by replay_streams_fini() in any case.
 */
int replay_streams_make(struct replay_streams *p, FILE *f, const char *as);
void replay_streams_fini(struct replay_streams *p);

/* The stream of a batch; NULL: not in the plan. */
struct replay_stream *replay_streams_find(const struct replay_streams *p,
					  const struct batch *b);

/* End of the batch's last request, µs; its base if it has none. */
int64_t replay_streams_batch_end_us(const struct batch *b);
uint64_t replay_streams_batch_requests(const struct batch *b);

/*
 * The batch as it is sent: its bytes, with what replaces its head after them
 * (protobuf takes the last). *out is malloc'd and the caller's. -EMSGSIZE,
 * -ENOMEM.
 */
int replay_streams_rewrite(const struct replay_stream *s, const struct batch *b,
			   const void *data, size_t len, int64_t shift_us,
			   void **out, size_t *out_len);

#endif /* PROBE_AGENT_REPLAY_REPLAY_STREAMS_H */
