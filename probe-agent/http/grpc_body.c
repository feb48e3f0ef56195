/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/http/grpc.h"

#include <errno.h>
#include <string.h>

/*
 * A body of gRPC-Web and of Connect's streams is messages with a head of five
 * bytes: flags and length. The last one has a flag of its own, and holds the
 * status: as header lines or as JSON.
 */

enum body_state {
	BODY_HEAD, /* in a message's head */
	BODY_MESSAGE, /* in a message */
	BODY_LAST, /* in the last message, or in JSON that is the whole body */
	BODY_LOST, /* the start of the next message is not known */
};

enum match_state { /* as values of matched, behind the key's bytes */
		   MATCH_VALUE =
			   0xf0, /* the key was found; blanks, then the value */
		   MATCH_DONE = 0xf1,
};

#define FLAG_COMPRESSED 0x01
#define FLAG_LAST_WEB 0x80
#define FLAG_LAST_CONNECT 0x02

static bool is_connect(const struct grpc_body *b)
{
	return b->kind == GRPC_CONNECT_UNARY || b->kind == GRPC_CONNECT_STREAM;
}

void grpc_body_begin(struct grpc_body *b, enum grpc_kind kind,
		     uint16_t http_status)
{
	*b = (struct grpc_body){ .kind = (uint8_t)kind };
	if (kind != GRPC_CONNECT_UNARY)
		return;
	if (http_status == 200)
		b->status = 1; /* an error never has this one */
	b->state = b->status ? BODY_LOST : BODY_LAST;
	b->left = UINT32_MAX;
}

void grpc_body_frame(struct grpc_body *b, uint32_t len)
{
	if (b->state != BODY_LOST || b->kind == GRPC_CONNECT_UNARY ||
	    b->kind == GRPC_WEB_TEXT)
		return;
	b->state = BODY_HEAD;
	b->head_len = 0;
	b->guessed = true;
	b->frame = len;
}

static void value_ends(struct grpc_body *b)
{
	struct slice v = { b->value, b->value_len };
	int code =
		is_connect(b) ? grpc_code_of_name(v) : grpc_code_of_number(v);

	b->matched = MATCH_DONE;
	if (code >= 0)
		b->status = (uint8_t)(code + 1);
}

/* A byte of the value, which blanks and quotes may come before. */
static void match_value(struct grpc_body *b, char c)
{
	bool digit = c >= '0' && c <= '9';
	bool letter = (c >= 'a' && c <= 'z') || c == '_';

	if (is_connect(b) ? letter : digit) {
		if (b->value_len < sizeof(b->value))
			b->value[b->value_len++] = c;
		else
			b->matched = MATCH_DONE;
	} else if (b->value_len) {
		value_ends(b);
	} else if (c != ' ' && c != '\t' &&
		   !(is_connect(b) && (c == ':' || c == '"' || c == '\n'))) {
		b->matched = MATCH_DONE;
	}
}

/* Looks for the key, then for its value. */
static void match(struct grpc_body *b, char c)
{
	static const char web[] = "\ngrpc-status:", connect[] = "\"code\"";
	const char *key = is_connect(b) ? connect : web;
	size_t len = is_connect(b) ? sizeof(connect) - 1 : sizeof(web) - 1;

	if (b->matched == MATCH_DONE)
		return;
	if (b->matched == MATCH_VALUE) {
		match_value(b, c);
		return;
	}
	if (!is_connect(b) && c >= 'A' && c <= 'Z')
		c = (char)(c - 'A' + 'a');
	if (c == key[b->matched])
		b->matched++;
	else
		b->matched = c == key[0];
	if (b->matched == len)
		b->matched = MATCH_VALUE;
}

/* The last message begins. */
static void last_begins(struct grpc_body *b)
{
	b->state = BODY_LAST;
	b->matched = !is_connect(b); /* the start is the start of a line */
	b->value_len = 0;
}

/* The last message has ended. */
static void last_ends(struct grpc_body *b)
{
	if (b->matched == MATCH_VALUE && b->value_len)
		value_ends(b);
	/* An error has a code. */
	if (b->kind == GRPC_CONNECT_STREAM && b->matched < MATCH_VALUE)
		b->status = 1;
	b->state = BODY_LOST;
}

static void head_ends(struct grpc_body *b)
{
	uint8_t last = is_connect(b) ? FLAG_LAST_CONNECT : FLAG_LAST_WEB;
	bool is_last = (b->head[0] & last) && !(b->head[0] & FLAG_COMPRESSED);

	b->left = (uint32_t)b->head[1] << 24 | (uint32_t)b->head[2] << 16 |
		  (uint32_t)b->head[3] << 8 | b->head[4];
	b->head_len = 0;
	if (b->guessed && !(is_last && b->left + sizeof(b->head) == b->frame)) {
		b->state = BODY_LOST;
		return;
	}
	b->guessed = false;
	b->state = BODY_MESSAGE;
	if (is_last)
		last_begins(b);
	if (!b->left && is_last)
		last_ends(b);
	else if (!b->left)
		b->state = BODY_HEAD;
}

static size_t take_message(struct grpc_body *b, const uint8_t *data, size_t len)
{
	size_t n = len < b->left ? len : b->left;

	if (b->state == BODY_LAST)
		for (size_t i = 0; i < n; i++)
			match(b, (char)data[i]);
	if (b->kind == GRPC_CONNECT_UNARY)
		return n;
	b->left -= (uint32_t)n;
	if (!b->left && b->state == BODY_LAST)
		last_ends(b);
	else if (!b->left)
		b->state = BODY_HEAD;
	return n;
}

static void feed_binary(struct grpc_body *b, const uint8_t *data, size_t len)
{
	while (len > 0 && b->state != BODY_LOST) {
		size_t n = 1;

		if (b->state == BODY_HEAD) {
			b->head[b->head_len++] = *data;
			if (b->head_len == sizeof(b->head))
				head_ends(b);
		} else {
			n = take_message(b, data, len);
		}
		data += n;
		len -= n;
	}
}

/* -1: not of the alphabet */
static int base64_value(uint8_t c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Base64 may end and begin anew, with or without padding between. */
static void feed_text(struct grpc_body *b, const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		int v = base64_value(data[i]);
		uint8_t byte;

		if (v < 0) {
			b->text_bits = 0;
			continue;
		}
		b->text = b->text << 6 | (uint32_t)v;
		b->text_bits += 6;
		if (b->text_bits < 8)
			continue;
		b->text_bits -= 8;
		byte = (uint8_t)(b->text >> b->text_bits);
		feed_binary(b, &byte, 1);
	}
}

void grpc_body_feed(struct grpc_body *b, const uint8_t *data, size_t len)
{
	if (b->kind == GRPC_WEB_TEXT)
		feed_text(b, data, len);
	else if (b->kind != GRPC_NONE && b->kind != GRPC_PLAIN)
		feed_binary(b, data, len);
}

void grpc_body_skip(struct grpc_body *b, uint32_t len)
{
	if (!len || b->state == BODY_LOST)
		return;
	if (b->state == BODY_MESSAGE && len < b->left &&
	    b->kind != GRPC_WEB_TEXT) {
		b->left -= len;
	} else if (b->state == BODY_MESSAGE && len == b->left &&
		   b->kind != GRPC_WEB_TEXT) {
		b->state = BODY_HEAD;
		b->left = 0;
	} else {
		b->state = BODY_LOST;
	}
}

int grpc_body_status(const struct grpc_body *b)
{
	return b->status ? b->status - 1 : -ENOENT;
}
