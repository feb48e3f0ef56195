/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_HTTP_GRPC_H
#define PROBE_AGENT_HTTP_GRPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "probe-agent/http/exchange.h"

/*
 * Remote procedure calls over HTTP: gRPC, gRPC-Web and Connect. Which of them a
 * message belongs to, the method that is called, and the status that the
 * answer ends with. What was not seen is unknown, and never taken for OK.
 *
 * The caller owns all state. No allocation, no globals; any thread.
 */

enum grpc_kind {
	GRPC_NONE,
	GRPC_PLAIN, /* status in the trailers */
	GRPC_WEB, /* status in the trailers, or in the body's last message */
	GRPC_WEB_TEXT, /* the same, and the body is base64 */
	GRPC_CONNECT_UNARY, /* HTTP's status; of an error, code in a JSON body
			     */
	GRPC_CONNECT_STREAM, /* status in the body's last message, in JSON */
};

/* By content-type; never GRPC_CONNECT_UNARY, which has none of its own. */
enum grpc_kind grpc_kind_of(struct slice content_type);
/* The target of a Connect call made by GET says so: "connect=v1". */
bool grpc_is_connect_get(struct slice target);
enum rpc_system grpc_system_of(enum grpc_kind kind);

/*
 * The method that a target names: "/pkg.Service/Method?x" is
 * "pkg.Service/Method". Empty: it names none.
 */
struct slice grpc_method(struct slice target);

/* Value of grpc-status. Returns the code. -EINVAL: it is none. */
int grpc_code_of_number(struct slice value);
/* Connect's name of an error, "not_found". Returns the code. -EINVAL. */
int grpc_code_of_name(struct slice name);

/*
 * Reads the status out of an answer's body, as its bytes come; they may be cut
 * anywhere. Bytes that were not seen do not matter inside a message. If the
 * head of a message is among them, the place is lost until a frame of the
 * transport contains nothing but the last message.
 */
struct grpc_body {
	uint32_t left; /* of the message */
	uint32_t frame; /* bytes of the transport's frame, at its start */
	uint32_t text; /* base64: bits not yet decoded */
	uint8_t kind; /* enum grpc_kind */
	uint8_t state;
	uint8_t head_len;
	uint8_t head[5]; /* of the message: flags, length */
	uint8_t text_bits;
	uint8_t matched; /* bytes of the key */
	uint8_t value_len;
	uint8_t status; /* code + 1; 0: not seen */
	bool guessed; /* the place was lost before this frame */
	char value[20]; /* of the key */
};

/* http_status: of the answer; tells how Connect's unary calls end. */
void grpc_body_begin(struct grpc_body *b, enum grpc_kind kind,
		     uint16_t http_status);
/* A frame of the transport begins, with len bytes. */
void grpc_body_frame(struct grpc_body *b, uint32_t len);
void grpc_body_feed(struct grpc_body *b, const uint8_t *data, size_t len);
void grpc_body_skip(struct grpc_body *b, uint32_t len);
/* Call at the body's end. Returns the code. -ENOENT: it was not seen. */
int grpc_body_status(const struct grpc_body *b);

#endif /* PROBE_AGENT_HTTP_GRPC_H */
