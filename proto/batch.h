/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROTO_BATCH_H
#define PROTO_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The columnar batch, as both ends see it. batch.c is the only file that knows
 * protobuf-c. A decoded batch is validated: every column of a table has the
 * same length, every index is inside its table, every limit of limits.h holds,
 * strings are valid UTF-8 without NUL, strings[0] is "". So who walks one needs
 * no checks. Stateless; any thread.
 */

/* The side of a request that an event tells of. Wire numbers: append only. */
enum role {
	ROLE_SERVER = 1, /* the request was read */
	ROLE_CLIENT = 2, /* the request was written */
	ROLES = ROLE_CLIENT,
};

/* How an exchange ended. Wire numbers: append only; see outcome_name(). */
enum outcome {
	OUTCOME_COMPLETE = 0, /* the whole response was seen */
	OUTCOME_ABORTED = 1, /* closed by either side before the end */
	OUTCOME_RESET = 2, /* reset by either side */
	OUTCOME_TIMEOUT = 3, /* the kernel gave up: ETIMEDOUT */
	OUTCOME_MALFORMED = 4, /* not HTTP, or not 100 <= status <= 599 */
	OUTCOMES,
};
/* "aborted", "connection_reset" …; NULL: complete, or out of range. Static. */
const char *outcome_name(unsigned outcome);

/* Where requests are lost on the node. Wire numbers: append only. */
enum loss_stage {
	LOSS_RING, /* no room in the ring buffer */
	LOSS_GAP, /* bytes of the connection were not seen */
	LOSS_TABLE, /* connection table full */
	LOSS_BUFFER, /* head buffers or pipeline full */
	LOSS_OUTBOX, /* outbox full, and rollups too */
	LOSS_REFUSED, /* the aggregator refused the batch */
	LOSS_STAGES,
};
/* "ring", "gap" … ; NULL if out of range. Static. */
const char *loss_stage_name(unsigned stage);

/* The agent's own counters. Wire numbers: append only; see batch.c's names. */
enum agent_counter {
	AGENT_TAP_RECORDS,
	AGENT_TAP_LOST_RECORDS,
	AGENT_TAP_CONN_FULL,
	AGENT_TAP_READ_FAULTS,
	AGENT_TAP_TRUNCATED,
	AGENT_TAP_NOT_HTTP,
	AGENT_MALFORMED,
	AGENT_HTTP2,
	AGENT_UPGRADED,
	AGENT_ORPHANS,
	AGENT_ROUTES_OVERFLOWED,
	AGENT_TLS_CALLS,
	AGENT_TLS_UNKNOWN,
	AGENT_TLS_MOVED,
	AGENT_TLS_EVENTS_LOST,
	AGENT_TLS_MISSED,
	AGENT_COUNTERS,
};
/* Metric suffix, like "tap_records"; NULL if out of range. Static. */
const char *agent_counter_name(unsigned counter);

/* A string of a table: NUL-terminated too. */
struct batch_string {
	const char *data;
	uint32_t len;
};

struct batch_resources {
	size_t n;
	const uint32_t *service, *namespace_, *instance, *container,
		*executable;
};

struct batch_series {
	size_t n;
	const uint32_t *resource, *role, *method, *route, *status, *outcome,
		*version, *scheme, *address, *port;
};

struct batch_events {
	size_t n;
	const uint32_t *series;
	const int64_t *start_delta_us;
	const uint64_t *duration_us, *tail_us, *request_bytes, *response_bytes;
	size_t n_traced;
	const uint32_t *traced; /* delta coded, see redtap.proto */
	const uint8_t *trace_ids; /* 24 bytes each */
	size_t n_connections;
	const uint32_t *connection; /* NULL: none at all */
	const uint8_t *connection_local, *connection_remote; /* 18 bytes each */
};

/* One of the three sparse histograms of the rollups. */
struct batch_rollup_hist {
	const uint32_t *buckets; /* how many of the entries belong to row i */
	const int32_t *index;
	const uint64_t *count;
	size_t n_entries;
};

struct batch_rollups {
	size_t n;
	const uint32_t *series;
	const int64_t *window_delta_s;
	const uint64_t *count, *duration_sum_us, *request_bytes_sum,
		*response_bytes_sum;
	struct batch_rollup_hist duration, request, response;
	uint32_t detail;
};

struct batch_losses {
	uint64_t captured, packed, rolled_up;
	uint64_t dropped[LOSS_STAGES];
	uint64_t counters[AGENT_COUNTERS];
};

struct batch_info {
	const char *version, *kernel, *capture; /* "" if not said */
	size_t n_probes;
	const char *const *probes;
	const uint32_t *probe_attached;
};

struct batch {
	const char *agent;
	uint64_t epoch, sequence;
	uint64_t first_sequence; /* of those that it stands for; 0: sequence */
	int64_t base_us;
	size_t n_strings;
	const struct batch_string *strings;
	struct batch_resources resources;
	struct batch_series series;
	struct batch_events events;
	struct batch_rollups rollups;
	struct batch_losses losses;
	struct batch_info info;
};

/* A copy of its own, released by batch_info_free(). -ENOMEM. */
int batch_info_copy(struct batch_info *out, const struct batch_info *in);
void batch_info_free(struct batch_info *info); /* and clears it */

struct batch_arena; /* memory of one decoded batch, reused for the next */

/* Sets *out, released by batch_arena_free(). -ENOMEM. */
int batch_arena_new(struct batch_arena **out);
void batch_arena_free(struct batch_arena *a); /* NULL is fine */

/*
 * Decodes and validates len bytes. *out borrows from the arena until its next
 * use, and from data. -EPROTO: not a batch, or over a limit; then *reason, if
 * asked for, is a static sentence that says what and where. -ENOMEM.
 */
int batch_decode(struct batch_arena *a, const void *data, size_t len,
		 struct batch *out, const char **reason);

/*
 * The same with the columns of the events in an arena of their own: who needs
 * them no longer than until the next batch finds them in memory that is near.
 */
int batch_decode_apart(struct batch_arena *a, struct batch_arena *columns,
		       const void *data, size_t len, struct batch *out,
		       const char **reason);

/*
 * Encodes b. *data is malloc'd and the caller's. -EMSGSIZE if it would be over
 * LIMIT_MESSAGE_BYTES, -ENOMEM.
 */
int batch_encode(const struct batch *b, void **data, size_t *len);

/*
 * An encoded batch that has agent, epoch, sequence and base_us of head, and its
 * first_sequence unless that is 0, in place of its own: they are put after the
 * rest, where protobuf lets the last one win. *out is malloc'd and the
 * caller's. -EMSGSIZE, -ENOMEM.
 */
int batch_put_head(const struct batch *head, const void *data, size_t len,
		   void **out, size_t *out_len);

/* The envelope. */
struct push {
	uint32_t protocol;
	int64_t sent_us; /* the sender's wall clock; 0: not told */
	int64_t clock_us; /* of the clock of the batch's times; 0: none runs */
	const void *batch; /* borrowed from the message */
	size_t batch_len;
};
/* A whole message. *data is malloc'd and the caller's. -EMSGSIZE, -ENOMEM. */
int push_encode(const struct push *p, void **data, size_t *len);
/*
 * Only what comes before the batch's bytes, which follow as they are; p->batch
 * is not used. Returns the length.
 */
#define PUSH_HEAD_MAX 35
size_t push_head(const struct push *p, uint8_t out[PUSH_HEAD_MAX]);
/* -EPROTO: no envelope, or none around a batch. */
int push_decode(const void *data, size_t len, struct push *out);

enum reply_status {
	REPLY_UNKNOWN = 0,
	REPLY_ACCEPTED = 1,
	REPLY_REFUSED = 2,
	REPLY_BUSY = 3,
	REPLY_CONFLICT = 4,
	REPLY_VERSION = 5,
};
struct reply {
	uint32_t protocol;
	enum reply_status status;
	uint64_t epoch, sequence;
	uint32_t retry_ms;
	bool duplicate; /* accepted before; old aggregators don't say */
	char reason[256];
};
int reply_encode(const struct reply *r, void **data, size_t *len);
int reply_decode(const void *data, size_t len, struct reply *out);

#endif /* PROTO_BATCH_H */
