/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/http/h2_head.h"

#include <assert.h>
#include <string.h>

/*
 * Evidence: bits of a random block that would have to be right by chance. A
 * field from the static table, and a field that has a name of it; the first
 * character of a path; and texts that have a form.
 */
#define PSEUDO_BITS 7
#define STATUS_BITS 5
#define SLASH_BITS 4
#define DATE_BITS 30
#define TYPE_BITS 30

void h2_head_begin(struct h2_head *h)
{
	memset(h, 0, offsetof(struct h2_head, text));
}

void h2_head_distrust(struct h2_head *h)
{
	h2_head_begin(h);
	h->unnamed = true;
}

/* Peers refuse control characters: RFC 9113, section 8.2.1. */
static bool is_text(struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((uint8_t)s.data[i] < ' ' || s.data[i] == 0x7f)
			return false;
	return true;
}

static bool is_token(struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((uint8_t)s.data[i] <= ' ' || (uint8_t)s.data[i] >= 0x7f)
			return false;
	return s.len > 0;
}

static void keep(struct h2_head *h, enum h2_text t, struct slice s)
{
	assert(h->text_len + s.len <= sizeof(h->text));
	h->at[t] = h->text_len;
	h->len[t] = (uint16_t)s.len;
	memcpy(h->text + h->text_len, s.data, s.len);
	h->text_len = (uint16_t)(h->text_len + s.len);
}

static uint16_t status_of(struct slice s)
{
	uint16_t n = 0;

	if (s.len != 3)
		return 0;
	for (size_t i = 0; i < 3; i++) {
		if (s.data[i] < '0' || s.data[i] > '9')
			return 0;
		n = (uint16_t)(n * 10 + s.data[i] - '0');
	}
	return n >= 100 && n <= 599 ? n : 0;
}

static bool is_scheme(struct slice s)
{
	return (s.len == 4 && !memcmp(s.data, "http", 4)) ||
	       (s.len == 5 && !memcmp(s.data, "https", 5));
}

/* A target is a path, or * of OPTIONS. */
static bool is_target(struct slice s)
{
	return s.len && (s.data[0] == '/' || (s.len == 1 && s.data[0] == '*'));
}

/* What a pseudo-header that makes sense is worth. */
static uint8_t pseudo_bits(enum hpack_name name)
{
	switch (name) {
	case HPACK_AUTHORITY:
	case HPACK_PROTOCOL:
		return 0;
	case HPACK_STATUS:
		return STATUS_BITS;
	default:
		return PSEUDO_BITS;
	}
}

/* As RFC 9110, section 5.6.7, has it: "Sun, 06 Nov 1994 08:49:37 GMT". */
static bool is_date(struct slice s)
{
	return s.len == 29 && s.data[3] == ',' && s.data[4] == ' ' &&
	       s.data[19] == ':' && !memcmp(s.data + 25, " GMT", 4);
}

/* Takes the value of a pseudo-header. Returns whether it makes sense. */
static bool take_pseudo(struct h2_head *h, const struct hpack_field *f)
{
	struct slice v = f->value;

	switch (f->name) {
	case HPACK_METHOD:
		keep(h, H2_TEXT_METHOD, v);
		return is_token(v);
	case HPACK_PATH:
		keep(h, H2_TEXT_TARGET, v);
		h->target_cut = f->cut;
		h->evidence += v.len > 1 ? SLASH_BITS : 0;
		return is_target(v);
	case HPACK_AUTHORITY:
		h->len[H2_TEXT_HOST] = 0; /* instead of what host said */
		keep(h, H2_TEXT_HOST, v);
		return true;
	case HPACK_PROTOCOL:
		keep(h, H2_TEXT_PROTOCOL, v);
		return is_token(v);
	case HPACK_STATUS:
		h->status = status_of(v);
		return h->status != 0;
	default:
		return is_scheme(v);
	}
}

static void take_regular(struct h2_head *h, const struct hpack_field *f)
{
	int code;

	switch (f->name) {
	case HPACK_HOST:
		if (!h2_head_has(h->named, HPACK_AUTHORITY))
			keep(h, H2_TEXT_HOST, f->value);
		break;
	case HPACK_CONTENT_TYPE:
		h->kind = (uint8_t)grpc_kind_of(f->value);
		if (h->kind)
			h->evidence += TYPE_BITS;
		break;
	case HPACK_GRPC_STATUS:
		code = grpc_code_of_number(f->value);
		h->code = code < 0 ? 0 : (uint8_t)(code + 1);
		break;
	case HPACK_CONNECT_VERSION:
		h->connect_version =
			f->value.len == 1 && f->value.data[0] == '1';
		break;
	case HPACK_TRACEPARENT:
		keep(h, H2_TEXT_TRACEPARENT, f->value);
		break;
	default:
		if (is_date(f->value))
			h->evidence += DATE_BITS;
	}
}

void h2_head_add(struct h2_head *h, const struct hpack_field *f)
{
	bool pseudo = hpack_is_pseudo(f->name);
	uint16_t bit = (uint16_t)(1u << f->name);

	if (f->name == HPACK_UNKNOWN) {
		h->unnamed = true;
		return;
	}
	if (pseudo && (h->regular || h->named & bit))
		h->disordered = true;
	if (!pseudo)
		h->regular = true;
	/* Of two, the first counts. */
	if (f->name == HPACK_OTHER || h->named & bit)
		return;
	h->named |= bit;
	if (!f->known)
		return;
	if (!is_text(f->value)) {
		h->disordered = true;
		return;
	}
	h->known |= bit;
	if (!pseudo)
		take_regular(h, f);
	else if (take_pseudo(h, f))
		h->evidence += pseudo_bits(f->name);
	else
		h->disordered = true;
}

bool h2_head_is_request(const struct h2_head *h)
{
	return h->named &
	       (1u << HPACK_METHOD | 1u << HPACK_SCHEME | 1u << HPACK_PATH |
		1u << HPACK_AUTHORITY | 1u << HPACK_PROTOCOL);
}

bool h2_head_misses(const struct h2_head *h, enum hpack_name name)
{
	return !h2_head_has(h->known, name) &&
	       (h->unnamed || h2_head_has(h->named, name));
}
