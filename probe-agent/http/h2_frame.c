/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/http/h2_frame.h"

#include <errno.h>
#include <string.h>

enum frame_state {
	FRAME_BETWEEN, /* in the head, or before it */
	FRAME_PREFACE,
	FRAME_FIELDS, /* in what comes before the content */
	FRAME_BODY,
};

#define PRIORITY_BYTES 5 /* in HEADERS */
#define PROMISED_BYTES 4

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 |
	       (uint32_t)p[2] << 8 | p[3];
}

void h2_frame_init(struct h2_frame *f, bool preface)
{
	*f = (struct h2_frame){
		.state = preface ? FRAME_PREFACE : FRAME_BETWEEN,
	};
}

bool h2_frame_is_between(const struct h2_frame *f)
{
	return f->state == FRAME_BETWEEN && !f->have;
}

uint8_t h2_frame_head_bytes(const struct h2_frame *f)
{
	return f->state == FRAME_BETWEEN ? f->have : 0;
}

uint32_t h2_frame_left(const struct h2_frame *f)
{
	if (f->state == FRAME_PREFACE)
		return H2_PREFACE_BYTES - f->have;
	return f->state == FRAME_BETWEEN ? 0 : f->left;
}

/*
 * Are length and stream those that this type has? Frames that say nothing are
 * not judged: mostly they are not even seen.
 */
static bool is_sane(const struct h2_frame *f)
{
	switch (f->type) {
	case H2_DATA:
	case H2_HEADERS:
	case H2_CONTINUATION:
		return f->stream != 0;
	case H2_PUSH_PROMISE:
		return f->stream != 0 && f->left >= PROMISED_BYTES;
	case H2_RST_STREAM:
		return f->stream != 0 && f->left == 4;
	case H2_GOAWAY:
		return f->stream == 0 && f->left >= 8;
	default:
		return true;
	}
}

/* Length of the pad length, 1 or 0, at the start of the payload. */
static uint8_t pad_bytes(const struct h2_frame *f)
{
	bool may = f->type == H2_DATA || f->type == H2_HEADERS ||
		   f->type == H2_PUSH_PROMISE;

	return may && f->flags & H2_FLAG_PADDED ? 1 : 0;
}

/* Bytes before the content. */
static uint8_t field_bytes(const struct h2_frame *f)
{
	uint8_t n = pad_bytes(f);

	if (f->type == H2_HEADERS && f->flags & H2_FLAG_PRIORITY)
		n += PRIORITY_BYTES;
	if (f->type == H2_PUSH_PROMISE)
		n += PROMISED_BYTES;
	return n;
}

static int head_ends(struct h2_frame *f)
{
	f->left = get32(f->head) >> 8;
	f->type = f->head[3];
	f->flags = f->head[4];
	f->stream = get32(f->head + 5) & INT32_MAX;
	f->have = 0;
	f->len = f->left;
	f->content = f->left;
	if (!is_sane(f) || field_bytes(f) > f->left)
		return -EPROTO;
	if (field_bytes(f)) {
		f->state = FRAME_FIELDS;
		return H2_FRAME_NONE;
	}
	f->state = FRAME_BODY;
	return H2_FRAME_BEGINS;
}

/* Pad length, priority and promised stream are complete: in f->head. */
static int fields_end(struct h2_frame *f)
{
	uint8_t pad = pad_bytes(f) ? f->head[0] : 0;

	if (pad > f->left)
		return -EPROTO;
	f->content = f->left - pad;
	if (f->type == H2_PUSH_PROMISE)
		f->promised = get32(f->head + pad_bytes(f)) & INT32_MAX;
	f->state = FRAME_BODY;
	return H2_FRAME_BEGINS;
}

/* Takes bytes into f->head until it has want. Returns whether it has. */
static bool collect_head(struct h2_frame *f, uint8_t want, const uint8_t **at,
			 const uint8_t *end)
{
	size_t n = (size_t)(want - f->have);

	if (n > (size_t)(end - *at))
		n = (size_t)(end - *at);
	memcpy(f->head + f->have, *at, n);
	f->have = (uint8_t)(f->have + n);
	*at += n;
	return f->have == want;
}

static int take_preface(struct h2_frame *f, const uint8_t **at,
			const uint8_t *end)
{
	for (; *at < end && f->have < H2_PREFACE_BYTES; (*at)++)
		if (**at != (uint8_t)H2_PREFACE[f->have++])
			return -EPROTO;
	if (f->have < H2_PREFACE_BYTES)
		return H2_FRAME_NONE;
	h2_frame_init(f, false);
	return H2_FRAME_PREFACE;
}

static int take_fields(struct h2_frame *f, const uint8_t **at,
		       const uint8_t *end)
{
	uint8_t before = f->have;
	bool whole = collect_head(f, field_bytes(f), at, end);

	f->left -= (uint32_t)(f->have - before);
	return whole ? fields_end(f) : H2_FRAME_NONE;
}

static int take_body(struct h2_frame *f, const uint8_t **at, const uint8_t *end,
		     const uint8_t **data, size_t *len)
{
	size_t n = (size_t)(end - *at);

	if (!f->left) {
		f->state = FRAME_BETWEEN;
		f->have = 0;
		return H2_FRAME_ENDS;
	}
	if (f->content) {
		*data = *at;
		*len = n < f->content ? n : f->content;
		*at += *len;
		f->content -= (uint32_t)*len;
		f->left -= (uint32_t)*len;
		return H2_FRAME_CONTENT;
	}
	if (n > f->left)
		n = f->left;
	*at += n;
	f->left -= (uint32_t)n;
	return H2_FRAME_NONE;
}

static bool ends_here(const struct h2_frame *f)
{
	return f->state == FRAME_BODY && !f->left;
}

int h2_frame_next(struct h2_frame *f, const uint8_t **at, const uint8_t *end,
		  const uint8_t **data, size_t *len)
{
	int event = H2_FRAME_NONE;

	while (!event && (*at < end || ends_here(f))) {
		switch (f->state) {
		case FRAME_BETWEEN:
			if (collect_head(f, H2_HEAD_BYTES, at, end))
				event = head_ends(f);
			break;
		case FRAME_PREFACE:
			event = take_preface(f, at, end);
			break;
		case FRAME_FIELDS:
			event = take_fields(f, at, end);
			break;
		default:
			event = take_body(f, at, end, data, len);
		}
	}
	return event;
}

int64_t h2_frame_skip(struct h2_frame *f, uint32_t n)
{
	uint32_t content;

	if (f->state != FRAME_BODY || n > f->left)
		return -EPROTO;
	content = n < f->content ? n : f->content;
	f->content -= content;
	f->left -= n;
	return content;
}

void h2_frame_resync(struct h2_frame *f, uint32_t left)
{
	*f = (struct h2_frame){ .left = left,
				.type = H2_UNSEEN,
				.state = left ? FRAME_BODY : FRAME_BETWEEN };
}
