/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_HTTP_H2_HEAD_H
#define PROBE_AGENT_HTTP_H2_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "probe-agent/http/grpc.h"
#include "probe-agent/http/hpack.h"

/*
 * What the fields of one header block come to: the head of a request or of an
 * answer, or trailers. A value that has been named but is not known, and a
 * field that has not been named, are remembered as such.
 *
 * The caller owns the state. No allocation, no globals; any thread.
 */

/* Texts that are kept of a head. */
enum h2_text {
	H2_TEXT_METHOD,
	H2_TEXT_TARGET,
	H2_TEXT_HOST,
	H2_TEXT_TRACEPARENT,
	H2_TEXTS,
	H2_TEXT_PROTOCOL = H2_TEXTS, /* :protocol; not kept of a stream */
	H2_HEAD_TEXTS,
};

/* The most that HPACK keeps of all of them. */
#define H2_HEAD_TEXT_BYTES (HPACK_VALUE_MAX_BYTES + 1280u)

struct h2_head {
	uint16_t named; /* 1 << enum hpack_name; the field was there */
	uint16_t known; /* 1 << enum hpack_name; and its value is known */
	uint16_t status; /* 0: not known */
	uint16_t evidence; /* bits that chance would have had to get right */
	uint8_t kind; /* enum grpc_kind, by content-type */
	uint8_t code; /* grpc-status + 1; 0: not known */
	bool unnamed; /* a field's name is not known */
	bool disordered; /* not what RFC 9113, section 8.3, lets a peer send */
	bool regular; /* a field that is no pseudo-header was there */
	bool connect_version; /* connect-protocol-version: 1 */
	bool target_cut;
	uint16_t text_len;
	uint16_t at[H2_HEAD_TEXTS], len[H2_HEAD_TEXTS];
	char text[H2_HEAD_TEXT_BYTES];
};

void h2_head_begin(struct h2_head *h);
void h2_head_add(struct h2_head *h, const struct hpack_field *f);
/* Nothing of the block can be believed: as if no field had been named. */
void h2_head_distrust(struct h2_head *h);

/* Empty: not there, or not known. */
static inline struct slice h2_head_text(const struct h2_head *h, enum h2_text t)
{
	return (struct slice){ h->text + h->at[t], h->len[t] };
}

static inline bool h2_head_has(uint16_t names, enum hpack_name name)
{
	return names >> name & 1;
}

/* A name that only requests have was there. */
bool h2_head_is_request(const struct h2_head *h);
/* A field of this name may have been there, but its value is not known. */
bool h2_head_misses(const struct h2_head *h, enum hpack_name name);

#endif /* PROBE_AGENT_HTTP_H2_HEAD_H */
