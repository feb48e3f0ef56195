/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/batch.h"
#include "proto/limits.h"
#include "proto/redtap.pb-c.h"
#include "proto/wire.h"

/*
 * Push and Reply. A push is taken apart and put together by hand: protobuf-c
 * would copy the batch, which is nearly all of it.
 */

#define PUSH_PROTOCOL 1u
#define PUSH_SENT_US 2u
#define PUSH_BATCH 3u
#define PUSH_CLOCK_US 4u
#define PUSH_HEALTH 5u
#define PUSH_TOKEN 6u
#define PUSH_ASK 7u

#define HEALTH_OUTBOX_BYTES 1u
#define HEALTH_OUTBOX_BATCHES 2u
#define HEALTH_OLDEST_MS 3u
#define HEALTH_ACKNOWLEDGED_MS 4u
#define HEALTH_MAX (4 * (1 + 10))

#define REPLY_PROTOCOL 1u
#define REPLY_STATUS 2u
#define REPLY_EPOCH 3u
#define REPLY_SEQUENCE 4u
#define REPLY_REASON 5u
#define REPLY_RETRY_MS 6u
#define REPLY_DUPLICATE 7u
#define REPLY_GATHER_MS 8u

static uint8_t *put_varint(uint8_t *p, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		*p++ = (uint8_t)(v | 0x80);
	*p++ = (uint8_t)v;
	return p;
}

/* A field that is left out if it is 0, as proto3 does. */
static uint8_t *put_uint(uint8_t *p, unsigned field, uint64_t v)
{
	if (v == 0)
		return p;
	*p++ = (uint8_t)(field << 3 | WIRE_VARINT);
	return put_varint(p, v);
}

static uint8_t *put_text(uint8_t *p, uint32_t field, const char *text,
			 size_t len)
{
	*p++ = (uint8_t)(field << 3 | WIRE_BYTES);
	p = put_varint(p, len);
	memcpy(p, text, len);
	return p + len;
}

static uint8_t *put_health(uint8_t *p, const struct push_health *h)
{
	const uint64_t v[] = { h->outbox_bytes, h->outbox_batches, h->oldest_ms,
			       h->acknowledged ? h->acknowledged_ms + 1 : 0 };
	uint8_t *len = p + 1;

	*p = PUSH_HEALTH << 3 | WIRE_BYTES;
	p += 2;
	for (uint32_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		if (v[i] == 0)
			continue;
		*p++ = (uint8_t)((i + HEALTH_OUTBOX_BYTES) << 3 | WIRE_VARINT);
		p = put_varint(p, v[i]);
	}
	*len = (uint8_t)(p - len - 1);
	return p;
}

static bool get_health(const struct wire_field *whole, struct push_health *h)
{
	struct wire_reader r = { whole->data, whole->data + whole->value };
	struct wire_field f = { 0 };

	*h = (struct push_health){ .told = true };
	while (r.p < r.end) {
		if (!wire_next(&r, &f))
			return false;
		if (f.type != WIRE_VARINT)
			continue;
		if (f.id == HEALTH_OUTBOX_BYTES)
			h->outbox_bytes = f.value;
		else if (f.id == HEALTH_OUTBOX_BATCHES)
			h->outbox_batches = f.value;
		else if (f.id == HEALTH_OLDEST_MS)
			h->oldest_ms = f.value;
		else if (f.id == HEALTH_ACKNOWLEDGED_MS && f.value > 0) {
			h->acknowledged_ms = f.value - 1;
			h->acknowledged = true;
		}
	}
	return true;
}

/*
 * Four tags, two varints of at most 5 and 10 bytes, and two clocks; health,
 * token and ask, each with its tag and a length of one or two bytes.
 */
static_assert(PUSH_HEAD_MAX == 1 + 5 + 1 + 8 + 1 + 8 + 1 + 10 + 2 + HEALTH_MAX +
				       3 + LIMIT_TOKEN_BYTES + 3 +
				       LIMIT_AGENT_BYTES,
	      "room for the head");
static_assert(HEALTH_MAX < 128, "its length is one byte");

size_t push_head(const struct push *push, uint8_t out[PUSH_HEAD_MAX])
{
	uint8_t *p = out;

	*p++ = PUSH_PROTOCOL << 3 | WIRE_VARINT;
	p = put_varint(p, push->protocol);
	*p++ = PUSH_SENT_US << 3 | WIRE_FIXED64;
	memcpy(p, &push->sent_us, 8);
	p += 8;
	if (push->clock_us != 0) {
		*p++ = PUSH_CLOCK_US << 3 | WIRE_FIXED64;
		memcpy(p, &push->clock_us, 8);
		p += 8;
	}
	if (push->health.told)
		p = put_health(p, &push->health);
	if (push->token_len > 0 && push->token_len <= LIMIT_TOKEN_BYTES)
		p = put_text(p, PUSH_TOKEN, push->token, push->token_len);
	if (push->ask && push->ask_len <= LIMIT_AGENT_BYTES)
		p = put_text(p, PUSH_ASK, push->ask, push->ask_len);
	*p++ = PUSH_BATCH << 3 | WIRE_BYTES;
	p = put_varint(p, push->batch_len);
	return (size_t)(p - out);
}

int push_encode(const struct push *push, void **data, size_t *len)
{
	uint8_t *p;

	if (push->batch_len > LIMIT_MESSAGE_BYTES)
		return -EMSGSIZE;
	p = malloc(PUSH_HEAD_MAX + push->batch_len);
	if (!p)
		return -ENOMEM;
	*len = push_head(push, p);
	memcpy(p + *len, push->batch, push->batch_len);
	*len += push->batch_len;
	*data = p;
	return 0;
}

int push_decode(const void *data, size_t len, struct push *out)
{
	struct wire_reader r = { data, (const uint8_t *)data + len };
	struct wire_field f = { 0 };

	memset(out, 0, sizeof(*out));
	while (r.p < r.end) {
		if (!wire_next(&r, &f))
			return -EPROTO;
		if (f.id == PUSH_PROTOCOL && f.type == WIRE_VARINT) {
			if (f.value > UINT32_MAX)
				return -EPROTO;
			out->protocol = (uint32_t)f.value;
		} else if (f.id == PUSH_SENT_US && f.type == WIRE_FIXED64) {
			memcpy(&out->sent_us, &f.value, 8);
		} else if (f.id == PUSH_CLOCK_US && f.type == WIRE_FIXED64) {
			memcpy(&out->clock_us, &f.value, 8);
		} else if (f.id == PUSH_BATCH && f.type == WIRE_BYTES) {
			out->batch = f.data;
			out->batch_len = (size_t)f.value;
		} else if (f.id == PUSH_HEALTH && f.type == WIRE_BYTES) {
			if (!get_health(&f, &out->health))
				return -EPROTO;
		} else if (f.id == PUSH_TOKEN && f.type == WIRE_BYTES) {
			out->token = (const char *)f.data;
			out->token_len = (size_t)f.value;
		} else if (f.id == PUSH_ASK && f.type == WIRE_BYTES) {
			out->ask = (const char *)f.data;
			out->ask_len = (size_t)f.value;
		}
	}
	return out->batch ? 0 : -EPROTO;
}

size_t reply_put(const struct reply *r, uint8_t out[REPLY_BYTES_MAX])
{
	size_t reason = strnlen(r->reason, sizeof(r->reason) - 1);
	uint8_t *p = out;

	p = put_uint(p, REPLY_PROTOCOL, r->protocol);
	p = put_uint(p, REPLY_STATUS, r->status);
	if (r->epoch != 0) {
		*p++ = REPLY_EPOCH << 3 | WIRE_FIXED64;
		memcpy(p, &r->epoch, 8);
		p += 8;
	}
	p = put_uint(p, REPLY_SEQUENCE, r->sequence);
	if (reason > 0) {
		*p++ = REPLY_REASON << 3 | WIRE_BYTES;
		p = put_varint(p, reason);
		memcpy(p, r->reason, reason);
		p += reason;
	}
	p = put_uint(p, REPLY_RETRY_MS, r->retry_ms);
	p = put_uint(p, REPLY_DUPLICATE, r->duplicate);
	p = put_uint(p, REPLY_GATHER_MS, r->gather_ms);
	return (size_t)(p - out);
}

int reply_decode(const void *data, size_t len, struct reply *out)
{
	Redtap__Reply *m;

	memset(out, 0, sizeof(*out));
	if (len > LIMIT_REPLY_BYTES)
		return -EPROTO;
	m = redtap__reply__unpack(NULL, len, data);
	if (!m)
		return -EPROTO;
	out->protocol = m->protocol;
	if (m->status >= REDTAP__REPLY__STATUS__ACCEPTED &&
	    m->status <= REDTAP__REPLY__STATUS__VERSION)
		out->status = (enum reply_status)m->status;
	out->epoch = m->epoch;
	out->sequence = m->sequence;
	out->retry_ms = m->retry_ms;
	out->duplicate = m->duplicate;
	out->gather_ms = m->gather_ms;
	snprintf(out->reason, sizeof(out->reason), "%s", m->reason);
	redtap__reply__free_unpacked(m, NULL);
	return 0;
}

const char *outcome_name(unsigned outcome)
{
	static const char *const names[] = {
		[OUTCOME_ABORTED] = "aborted",
		[OUTCOME_RESET] = "connection_reset",
		[OUTCOME_TIMEOUT] = "timeout",
		[OUTCOME_MALFORMED] = "malformed_response",
	};

	static_assert(sizeof(names) / sizeof(*names) == OUTCOMES &&
			      LIMIT_OUTCOME == OUTCOMES - 1,
		      "each outcome that the wire allows has a name");
	return outcome < OUTCOMES ? names[outcome] : NULL;
}

const char *rpc_system_name(unsigned system)
{
	static const char *const names[RPC_SYSTEMS] = {
		[RPC_GRPC] = "grpc",
		[RPC_CONNECT] = "connectrpc",
	};

	return system < RPC_SYSTEMS ? names[system] : NULL;
}

const char *rpc_code_name(unsigned code)
{
	static const char *const names[RPC_CODES] = {
		"OK",
		"CANCELLED",
		"UNKNOWN",
		"INVALID_ARGUMENT",
		"DEADLINE_EXCEEDED",
		"NOT_FOUND",
		"ALREADY_EXISTS",
		"PERMISSION_DENIED",
		"RESOURCE_EXHAUSTED",
		"FAILED_PRECONDITION",
		"ABORTED",
		"OUT_OF_RANGE",
		"UNIMPLEMENTED",
		"INTERNAL",
		"UNAVAILABLE",
		"DATA_LOSS",
		"UNAUTHENTICATED",
	};

	return code < RPC_CODES ? names[code] : NULL;
}

const char *loss_stage_name(unsigned stage)
{
	static const char *const names[LOSS_STAGES] = {
		[LOSS_RING] = "ring",	    [LOSS_GAP] = "gap",
		[LOSS_TABLE] = "table",	    [LOSS_BUFFER] = "buffer",
		[LOSS_OUTBOX] = "outbox",   [LOSS_REFUSED] = "refused",
		[LOSS_STOPPED] = "stopped", [LOSS_UNSEEN] = "unseen",
	};

	return stage < LOSS_STAGES ? names[stage] : NULL;
}

const char *batch_resource_name(unsigned column)
{
#define NAME(name, text) [RESOURCE_##name] = text,
	static const char *const names[] = { RESOURCE_COLUMNS(NAME) };
#undef NAME

	return column < RESOURCE_N ? names[column] : NULL;
}

const char *gap_reason_name(unsigned reason)
{
	static const char *const names[GAP_REASONS] = {
#define UNSEEN_FOUND(REASON, key, ...) [GAP_##REASON] = (key),
#include "proto/unseen.def"
	};

	return reason < GAP_REASONS ? names[reason] : NULL;
}

const char *agent_counter_name(unsigned counter)
{
	static const char *const names[AGENT_COUNTERS] = {
#define KERNEL_COUNTER(NAME, metric, ...) [AGENT_##NAME] = #metric,
#define AGENT_COUNTER(NAME, metric, ...) [AGENT_##NAME] = #metric,
#include "proto/agent_counters.def"
	};

	return counter < AGENT_COUNTERS ? names[counter] : NULL;
}
