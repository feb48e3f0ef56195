/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_REPLAY_REPLAY_STREAMS_H
#define PROBE_AGENT_REPLAY_REPLAY_STREAMS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "proto/batch.h"

/*
 * The streams of batches in a trace file, found by reading it once, and the
 * ids and epochs under which they are sent. Not locked.
 *
 * Each agent and epoch of the file is a stream. Its batches keep their
 * sequence numbers, and get a new epoch that is computed from the whole content
 * of the file and from the id to send as. So the aggregator's ledger recognises
 * the same file, and knows where it stopped last time. Sequence numbers that
 * are missing in the file (heartbeats, which are not stored; batches of other
 * services) are sent as part of the next batch, so that none counts as lost.
 */

/* Most streams of a file; an aggregator has no room for more agents either. */
#define REPLAY_STREAMS_MAX 10000u

struct replay_stream {
	char *agent; /* in the file */
	uint64_t epoch; /* in the file */
	char *id; /* the agent to send as */
	uint64_t new_epoch;
	uint64_t batches, requests;
	int64_t first_us; /* end of its first request */
	/* Greatest sequence numbers: sent, and known to be counted. */
	uint64_t told, counted;
};

struct replay_streams {
	size_t n; /* streams */
	void *tree; /* of the streams; private to replay_streams.c */
	uint64_t digest; /* of all batches */
	uint64_t batches, requests;
	uint64_t bytes; /* of batches, decompressed */
	uint64_t invalid; /* batches that do not decode, and are skipped */
	int64_t first_us, last_us; /* earliest, latest end of a request */
	const char *damage; /* static; NULL: none */
};

/*
 * Reads the trace f from its current position. as is the id to send as (if the
 * file has several agents, AS-AGENT), NULL: those in the file. Damage is not an
 * error: p->damage is set. -EPROTO: not a trace. -ENOTSUP: of a newer version.
 * -E2BIG: more than REPLAY_STREAMS_MAX streams. -EFBIG: it decompresses to much
 * more than its requests need. -EINVAL: an id is too long. -ENOMEM, -EIO. The
 * caller releases *p with replay_streams_fini(), after errors too.
 */
int replay_streams_make(struct replay_streams *p, FILE *f, const char *as);
void replay_streams_fini(struct replay_streams *p);

/* The stream of a batch. NULL: the file has no such stream. */
struct replay_stream *replay_streams_find(const struct replay_streams *p,
					  const struct batch *b);

/* When the last request of a batch ended, µs; its base_us if it has none. */
int64_t replay_streams_batch_end_us(const struct batch *b);
uint64_t replay_streams_batch_requests(const struct batch *b);

/*
 * Encodes a batch for sending: its bytes as they are, then a new head that
 * replaces the old one (in protobuf, the last value of a field wins). *out is
 * malloc'd and the caller's. -EMSGSIZE, -ENOMEM.
 */
int replay_streams_rewrite(const struct replay_stream *s, const struct batch *b,
			   const void *data, size_t len, int64_t shift_us,
			   void **out, size_t *out_len);

#endif /* PROBE_AGENT_REPLAY_REPLAY_STREAMS_H */
