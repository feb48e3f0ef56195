/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_HTTP_H2_FRAME_H
#define PROBE_AGENT_HTTP_H2_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The bytes of one direction of HTTP/2 → frames (RFC 9113, sections 3.4, 4.1
 * and 6). The bytes may be cut anywhere, and payload may be missing: the caller
 * passes over bytes that were not seen. Content is a frame's payload without
 * padding and without the fields in front of it. What a frame contains, and
 * which frame may follow which, is up to the caller.
 *
 * The caller owns the state. No allocation, no globals; any thread.
 */

enum h2_frame_type {
	H2_DATA = 0,
	H2_HEADERS = 1,
	H2_PRIORITY = 2,
	H2_RST_STREAM = 3,
	H2_SETTINGS = 4,
	H2_PUSH_PROMISE = 5,
	H2_PING = 6,
	H2_GOAWAY = 7,
	H2_WINDOW_UPDATE = 8,
	H2_CONTINUATION = 9,
	H2_UNSEEN = 0xff, /* the head of the frame was not seen */
};

#define H2_FLAG_END_STREAM 0x01 /* DATA, HEADERS */
#define H2_FLAG_ACK 0x01 /* SETTINGS, PING */
#define H2_FLAG_END_HEADERS 0x04
#define H2_FLAG_PADDED 0x08
#define H2_FLAG_PRIORITY 0x20

/*
 * The kernel copies DATA up to this length, because the status of a call may be
 * in it. Of longer DATA it copies bytes only by chance.
 */
#define H2_DATA_COPIED_BYTES 256

#define H2_HEAD_BYTES 9
#define H2_PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define H2_PREFACE_BYTES 24

struct h2_frame {
	uint32_t left; /* payload bytes still to come */
	uint32_t len; /* payload bytes */
	uint32_t content; /* content bytes of these */
	uint32_t stream;
	uint32_t promised; /* stream, of PUSH_PROMISE */
	uint8_t type; /* enum h2_frame_type, or an unknown one */
	uint8_t flags;
	uint8_t state; /* of h2_frame.c */
	uint8_t have; /* bytes of the head, or of the fields behind it */
	uint8_t head[H2_HEAD_BYTES];
};

enum h2_frame_event {
	H2_FRAME_NONE, /* the input is used up */
	H2_FRAME_PREFACE, /* the client's preface has ended */
	H2_FRAME_BEGINS, /* type, flags, stream and content are known */
	H2_FRAME_CONTENT, /* len bytes of content at *data */
	H2_FRAME_ENDS, /* the same are still known */
};

/* preface: the client's comes first. */
void h2_frame_init(struct h2_frame *f, bool preface);

/*
 * Takes bytes from *at on, up to the next event. *data and *len are set by
 * H2_FRAME_CONTENT, and borrow from the input. -EPROTO: no peer would take this
 * for a frame.
 */
int h2_frame_next(struct h2_frame *f, const uint8_t **at, const uint8_t *end,
		  const uint8_t **data, size_t *len);

/* Frames of this type must be seen whole. */
static inline bool h2_frame_is_needed(const struct h2_frame *f)
{
	return f->type == H2_HEADERS || f->type == H2_CONTINUATION ||
	       f->type == H2_PUSH_PROMISE || f->type == H2_RST_STREAM ||
	       f->type == H2_GOAWAY;
}

/* No frame has begun. */
bool h2_frame_is_between(const struct h2_frame *f);
/* Bytes of the next frame's head that were taken. */
uint8_t h2_frame_head_bytes(const struct h2_frame *f);
/* Payload bytes of the open frame still to come. */
uint32_t h2_frame_left(const struct h2_frame *f);

/*
 * Passes over n bytes that were not seen. They end inside the open frame, or
 * with it: then H2_FRAME_ENDS is next. Returns the number of content bytes
 * among them. -EPROTO: fields that must be seen are among them, or the frame is
 * not as long.
 */
int64_t h2_frame_skip(struct h2_frame *f, uint32_t n);
/* Bytes were lost: next come left bytes of a frame whose head was not seen. */
void h2_frame_resync(struct h2_frame *f, uint32_t left);

#endif /* PROBE_AGENT_HTTP_H2_FRAME_H */
