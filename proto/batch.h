/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROTO_BATCH_H
#define PROTO_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/resource.gen.h"
#include "proto/samples.h"

/*
 * The columnar batch, as both ends see it, and its envelope. Files that may use
 * protobuf-c: see tests/lint.sh. A decoded batch is validated: every column of
 * a table has the same length, every index is inside its table, every limit of
 * limits.h holds, strings are valid UTF-8 without NUL, strings[0] is "". So
 * code that reads a batch needs no checks. Stateless; any thread.
 */

/* The side of a request that an event reports. Wire numbers: append only. */
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
	OUTCOME_MALFORMED = 4, /* not HTTP, or not 100 <= status <= 999 */
	OUTCOMES,
};
/* Returns "aborted", "timeout" …; static. NULL: complete, or out of range. */
const char *outcome_name(unsigned outcome);

/* Which kind of remote procedure call. Wire numbers: append only. */
enum rpc_system {
	RPC_NONE = 0,
	RPC_GRPC = 1,
	RPC_CONNECT = 2,
	RPC_SYSTEMS,
};
/* Returns "grpc", "connectrpc"; static. NULL: none, or out of range. */
const char *rpc_system_name(unsigned system);
#define RPC_CODES 17u /* from OK, 0, to UNAUTHENTICATED, 16 */
/* Returns "OK", "NOT_FOUND" …; static. NULL: out of range. */
const char *rpc_code_name(unsigned code);

/* Where requests are lost on the node. Wire numbers: append only. */
enum loss_stage {
	LOSS_RING, /* no room in the ring buffer */
	LOSS_GAP, /* bytes of the connection were not seen */
	LOSS_TABLE, /* connection table full */
	LOSS_BUFFER, /* head buffers or pipeline full */
	LOSS_OUTBOX, /* outbox full, even after folding */
	LOSS_REFUSED, /* the aggregator refused the batch */
	LOSS_STOPPED, /* the agent stopped before it could be sent */
	LOSS_UNSEEN, /* the kernel side saw its answer only */
	LOSS_STAGES,
};
/* Returns "ring", "gap" …; static. NULL: out of range. */
const char *loss_stage_name(unsigned stage);

/* The agent's own counters, in the order of agent_counters.def. */
enum agent_counter {
#define KERNEL_COUNTER(NAME, ...) AGENT_##NAME,
#define AGENT_COUNTER(NAME, ...) AGENT_##NAME,
#include "proto/agent_counters.def"
	AGENT_COUNTERS,
};
/* Values of now that the agent reports. Wire numbers: append only. */
enum agent_gauge {
	AGENT_GAUGE_H2_STREAMS, /* requests under way in HTTP/2 */
	AGENT_GAUGES,
};

/* Why services can't be read, in the order of unseen.def. */
enum gap_reason {
#define UNSEEN_FOUND(REASON, ...) GAP_##REASON,
#include "proto/unseen.def"
	GAP_REASONS,
};
/* Returns "http3", "tls_go" …; static. NULL: out of range. */
const char *gap_reason_name(unsigned reason);

/* Returns part of a metric's name, as "tap_records"; static. NULL: no such. */
const char *agent_counter_name(unsigned counter);

/* A string of a table; NUL-terminated. */
struct batch_string {
	const char *data;
	uint32_t len;
};

/*
 * The columns of a resource as members of a type, by name and by number: put
 * into a struct, it gives x.service and x.column[RESOURCE_service].
 */
#define RESOURCE_NUMBER(name, text) RESOURCE_##name,
enum { RESOURCE_COLUMNS(RESOURCE_NUMBER) RESOURCE_N };
#define RESOURCE_INDEX(name, text) const uint32_t *name;
#define RESOURCE_TEXT(name, text) const char *name;
#define BATCH_RESOURCE_TEXTS                                                   \
	union {                                                                \
		struct {                                                       \
			RESOURCE_COLUMNS(RESOURCE_TEXT)                        \
		};                                                             \
		const char *column[RESOURCE_N];                                \
	}
/* "service", "namespace" …; NULL if out of range. Static. */
const char *batch_resource_name(unsigned column);

/* Columns of string numbers. */
struct batch_resources {
	size_t n;
	union {
		struct {
			RESOURCE_COLUMNS(RESOURCE_INDEX)
		};
		const uint32_t *column[RESOURCE_N];
	};
};

struct batch_series {
	size_t n;
	const uint32_t *resource, *role, *method, *route, *status, *outcome,
		*version, *scheme, *address, *port;
	/* Of each row: 1 if the durations are unknown. NULL: all are known. */
	const uint32_t *untimed;
	const uint32_t *rpc; /* enum rpc_system; NULL: none is a call */
	const uint32_t *rpc_status; /* a code + 1; 0, NULL: not known */
};

/* True if the durations of row i are unknown: they must not be used. */
static inline bool batch_series_untimed(const struct batch_series *s, size_t i)
{
	return s->untimed && s->untimed[i];
}

static inline uint32_t batch_series_rpc(const struct batch_series *s, size_t i)
{
	return s->rpc ? s->rpc[i] : RPC_NONE;
}

static inline uint32_t batch_series_rpc_status(const struct batch_series *s,
					       size_t i)
{
	return s->rpc_status ? s->rpc_status[i] : 0;
}

struct batch_events {
	size_t n;
	const uint32_t *series;
	const int64_t *start_delta_us;
	const uint64_t *duration_us, *tail_us, *request_bytes, *response_bytes;
	size_t n_traced;
	const uint32_t *traced; /* delta coded, see redtap.proto */
	const uint8_t *trace_ids; /* 24 bytes each */
	size_t n_connections;
	const uint32_t *connection; /* NULL: no event has one */
	const uint8_t *connection_local, *connection_remote; /* 18 bytes each */
	/*
	 * See batch_stream_put(). NULL: no event has one; never without
	 * connection.
	 */
	const uint32_t *stream;
};

/*
 * What the column has for a stream. *last: the stream of the connection's event
 * before, 0 at first; becomes this one.
 */
static inline uint32_t batch_stream_put(uint32_t *last, uint32_t stream)
{
	uint32_t difference = stream - *last;

	*last = stream;
	return difference << 1 ^ -(difference >> 31);
}

/* The stream that a value of the column stands for. */
static inline uint32_t batch_stream_get(uint32_t *last, uint32_t value)
{
	*last += value >> 1 ^ -(value & 1);
	return *last;
}

/* One of the three sparse histograms of the rollups. */
struct batch_rollup_hist {
	const uint32_t *buckets; /* number of entries of each row */
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
	/* The only ones that may fall. */
	uint64_t gauges[AGENT_GAUGES];
	uint64_t gaps[GAP_REASONS]; /* services */
};

struct batch_info {
	const char *version, *kernel, *capture; /* "" if unknown */
	size_t n_probes;
	const char *const *probes;
	const uint32_t *probe_attached;
};

struct batch {
	const char *agent;
	uint64_t epoch, sequence;
	uint64_t first_sequence; /* first that it stands for; 0: sequence */
	int64_t base_us;
	size_t n_strings;
	const struct batch_string *strings;
	struct batch_resources resources;
	struct batch_series series;
	struct batch_events events;
	struct batch_rollups rollups;
	struct batch_losses losses;
	struct batch_info info;
	struct batch_samples samples;
};

/* Makes a deep copy, released by batch_info_free(). -ENOMEM. */
int batch_info_copy(struct batch_info *out, const struct batch_info *in);
void batch_info_free(struct batch_info *info); /* also clears it */

struct batch_arena; /* memory of decoded batches, reused for the next ones */

/* Sets *out, released by batch_arena_free(). -ENOMEM. */
int batch_arena_new(struct batch_arena **out);
void batch_arena_free(struct batch_arena *a); /* NULL is fine */
void batch_arena_reset(struct batch_arena *a); /* forgets its batches */
/* Bytes given to batches since the last reset. */
size_t batch_arena_used(const struct batch_arena *a);

/*
 * Decodes and validates len bytes. *out borrows from the arena until its next
 * use, and from data. -EPROTO: not a batch, or over a limit; *reason, unless
 * reason is NULL, is a static text that says what and where. -ENOMEM: the batch
 * may be valid.
 */
int batch_decode(struct batch_arena *a, const void *data, size_t len,
		 struct batch *out, const char **reason);

/*
 * The same, with the columns of the events in an arena of their own. If it is
 * used for each batch in turn, the columns stay in the processor's cache, while
 * the rest of many batches can be kept in other arenas.
 */
int batch_decode_apart(struct batch_arena *a, struct batch_arena *columns,
		       const void *data, size_t len, struct batch *out,
		       const char **reason);

/*
 * Decodes behind the batches that the arena holds, which stay valid until
 * batch_arena_reset(). columns is reset first, unless it is a. Errors as above.
 */
int batch_decode_more(struct batch_arena *a, struct batch_arena *columns,
		      const void *data, size_t len, struct batch *out,
		      const char **reason);

/*
 * Encodes b. *data is malloc'd and the caller's. -EMSGSIZE: over
 * LIMIT_MESSAGE_BYTES. -ENOMEM.
 */
int batch_encode(const struct batch *b, void **data, size_t *len);

/*
 * Copies an encoded batch and replaces its agent, epoch, sequence and base_us
 * by those of head, and its first_sequence unless that of head is 0. The new
 * values are appended: in protobuf, the last value of a field wins. *out is
 * malloc'd and the caller's. -EMSGSIZE, -ENOMEM.
 */
int batch_put_head(const struct batch *head, const void *data, size_t len,
		   void **out, size_t *out_len);

/* The protocol that a receiver of these encoded bytes must speak. */
uint32_t batch_protocol(const void *data, size_t len);

/* What an encoded batch is about; agent is borrowed and not terminated. */
struct batch_peek {
	const char *agent;
	size_t agent_len;
	uint64_t epoch, sequence;
	uint64_t first_sequence; /* never 0 */
	int64_t base_us;
};
/* Reads only that, without validating the rest. -EPROTO: malformed. */
int batch_peek(const void *data, size_t len, struct batch_peek *out);

/* The sender's outbox when it sends. */
struct push_health {
	bool told; /* false: the message does not say */
	uint64_t outbox_bytes, outbox_batches;
	uint64_t oldest_ms; /* age of the oldest batch */
	uint64_t acknowledged_ms; /* since the last acknowledgement */
	bool acknowledged; /* false: there was none yet */
};

/* The envelope of a batch. */
struct push {
	uint32_t protocol;
	int64_t sent_us; /* the sender's wall clock; 0: not sent */
	int64_t clock_us; /* now by the clock of its times; 0: not running */
	const void *batch; /* borrowed from the message */
	size_t batch_len;
	struct push_health health;
	const char *token; /* borrowed, not terminated; NULL: none */
	size_t token_len; /* at most LIMIT_TOKEN_BYTES */
	/* Without a batch: the agent that asks whether it would be heard. */
	const char *ask; /* borrowed, not terminated; NULL: a batch follows */
	size_t ask_len; /* at most LIMIT_AGENT_BYTES */
};
/* Encodes a message; *data is malloc'd and the caller's. -EMSGSIZE, -ENOMEM. */
int push_encode(const struct push *p, void **data, size_t *len);
/*
 * Encodes only the part of a message before the bytes of the batch, which the
 * caller appends as they are. p->batch is not used. Returns the length.
 */
#define PUSH_HEAD_MAX 468
size_t push_head(const struct push *p, uint8_t out[PUSH_HEAD_MAX]);
/* *out borrows from data. -EPROTO: malformed, or without a batch. */
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
	uint32_t gather_ms; /* least time between batches; 0: any */
	bool duplicate; /* accepted before; never set by old aggregators */
	char reason[256];
};
/* Encodes r and returns the length. */
#define REPLY_BYTES_MAX 320 /* six numbers, an epoch, a reason */
size_t reply_put(const struct reply *r, uint8_t out[REPLY_BYTES_MAX]);
/* -EPROTO: malformed; an unknown status becomes REPLY_UNKNOWN. */
int reply_decode(const void *data, size_t len, struct reply *out);

#endif /* PROTO_BATCH_H */
