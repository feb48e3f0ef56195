/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/http/hpack.h"

#include <errno.h>
#include <string.h>

#define STATIC_ENTRIES 61u
#define NUMBER_MAX (UINT32_MAX >> 1)

enum block_state {
	AT_FIELD, /* the next byte begins a field */
	AT_NUMBER, /* the next byte continues a number */
	AT_LENGTH, /* the next byte begins the length of a string */
	AT_STRING, /* the next byte is part of a string */
};

/* What a number is for. */
enum block_number {
	NUMBER_FIELD, /* index of a field */
	NUMBER_TABLE, /* size of the table */
	NUMBER_NAME, /* index of a literal's name, 0: a string follows */
	NUMBER_NAME_LEN,
	NUMBER_VALUE_LEN,
};

/* --- names --- */

struct known_name {
	const char *text;
	uint8_t len;
	uint16_t value_max; /* bytes of a value that are kept */
};

#define NAME(text, max)                                                        \
	{                                                                      \
		text, sizeof(text) - 1, max                                    \
	}

static const struct known_name names[HPACK_NAMES] = {
	[HPACK_METHOD] = NAME(":method", 64),
	[HPACK_SCHEME] = NAME(":scheme", 16),
	[HPACK_PATH] = NAME(":path", HPACK_VALUE_MAX_BYTES),
	[HPACK_AUTHORITY] = NAME(":authority", 512),
	[HPACK_PROTOCOL] = NAME(":protocol", 32),
	[HPACK_STATUS] = NAME(":status", 16),
	[HPACK_HOST] = NAME("host", 512),
	[HPACK_CONTENT_TYPE] = NAME("content-type", 64),
	[HPACK_GRPC_STATUS] = NAME("grpc-status", 16),
	[HPACK_CONNECT_VERSION] = NAME("connect-protocol-version", 16),
	[HPACK_TRACEPARENT] = NAME("traceparent", 128),
	[HPACK_DATE] = NAME("date", 32),
};

/*
 * The longest of the names; each is at least as short when it is Huffman coded,
 * so that a longer string is none of them.
 */
#define NAME_MAX_BYTES 24u

enum hpack_name hpack_name_of(const char *name, size_t n)
{
	for (int i = HPACK_METHOD; i < HPACK_NAMES; i++)
		if (names[i].len == n && !memcmp(names[i].text, name, n))
			return (enum hpack_name)i;
	return HPACK_OTHER;
}

/* Fields of the static table, as far as they matter. */
struct static_entry {
	uint8_t name; /* enum hpack_name */
	uint8_t len;
	const char *value;
};

#define STATIC(name, value)                                                    \
	{                                                                      \
		name, sizeof(value) - 1, value                                 \
	}

static const struct static_entry statics[STATIC_ENTRIES + 1] = {
	[1] = STATIC(HPACK_AUTHORITY, ""),
	[2] = STATIC(HPACK_METHOD, "GET"),
	[3] = STATIC(HPACK_METHOD, "POST"),
	[4] = STATIC(HPACK_PATH, "/"),
	[5] = STATIC(HPACK_PATH, "/index.html"),
	[6] = STATIC(HPACK_SCHEME, "http"),
	[7] = STATIC(HPACK_SCHEME, "https"),
	[8] = STATIC(HPACK_STATUS, "200"),
	[9] = STATIC(HPACK_STATUS, "204"),
	[10] = STATIC(HPACK_STATUS, "206"),
	[11] = STATIC(HPACK_STATUS, "304"),
	[12] = STATIC(HPACK_STATUS, "400"),
	[13] = STATIC(HPACK_STATUS, "404"),
	[14] = STATIC(HPACK_STATUS, "500"),
	[31] = STATIC(HPACK_CONTENT_TYPE, ""),
	[33] = STATIC(HPACK_DATE, ""),
	[38] = STATIC(HPACK_HOST, ""),
};

/* --- fields of one byte or a few: an index --- */

/* The name at an index of both tables. -EPROTO: there is no such entry. */
static int name_at(const struct hpack_window *w, uint32_t index)
{
	if (index <= STATIC_ENTRIES)
		return index ? statics[index].name : -EPROTO;
	return hpack_window_name(w, index - STATIC_ENTRIES);
}

/* The field at an index. Returns 1. -EPROTO: there is no such entry. */
static int field_at(const struct hpack_window *w, struct hpack_block *b,
		    struct hpack_field *out)
{
	int name = name_at(w, b->number), len;

	if (name < 0)
		return name;
	*out = (struct hpack_field){ .name = (enum hpack_name)name };
	if (name < HPACK_METHOD)
		return 1;
	if (b->number <= STATIC_ENTRIES) {
		out->known = true;
		out->value = (struct slice){ statics[b->number].value,
					     statics[b->number].len };
		return 1;
	}
	len = hpack_window_value(w, b->number - STATIC_ENTRIES, b->text,
				 &out->cut);
	out->known = len >= 0;
	if (out->known)
		out->value = (struct slice){ b->text, (size_t)len };
	return 1;
}

/* --- literals --- */

static uint8_t wanted_name(const struct hpack_block *b, int name)
{
	bool wanted = name < HPACK_METHOD || b->wanted >> name & 1;

	return (uint8_t)(wanted ? name : HPACK_OTHER);
}

static void string_begins(struct hpack_block *b, uint16_t max)
{
	b->code = (struct hpack_huffman){ 0 };
	b->left = b->number;
	b->text_len = 0;
	b->text_max = max;
	b->cut = false;
	b->state = AT_STRING;
}

/*
 * Takes what there is of a string, and keeps as much as is wanted. -EPROTO: it
 * is not coded so.
 */
static int take_string(struct hpack_block *b, const uint8_t **at,
		       const uint8_t *end)
{
	size_t n =
		(size_t)(end - *at) < b->left ? (size_t)(end - *at) : b->left;
	size_t room = b->text_max - b->text_len;
	ssize_t made = (ssize_t)n;

	if (b->text_max && b->huffman)
		made = hpack_huffman_feed(&b->code, *at, n,
					  b->text + b->text_len, room);
	else if (b->text_max)
		memcpy(b->text + b->text_len, *at, n < room ? n : room);
	if (made < 0)
		return (int)made;
	if ((size_t)made > room)
		b->cut = true;
	b->text_len += (uint16_t)((size_t)made < room ? (size_t)made : room);
	*at += n;
	b->left -= (uint32_t)n;
	if (!b->left && b->text_max && b->huffman)
		return hpack_huffman_end(&b->code);
	return 0;
}

/* The literal's value is complete: that is a field. */
static void literal_ends(struct hpack_window *w, struct hpack_block *b,
			 struct hpack_field *out)
{
	bool kept = b->name >= HPACK_METHOD;

	*out = (struct hpack_field){ .name = (enum hpack_name)b->name,
				     .known = kept,
				     .cut = b->cut && kept };
	if (kept)
		out->value = (struct slice){ b->text, b->text_len };
	if (b->insert)
		hpack_window_insert(w, (enum hpack_name)b->name, b->text,
				    b->text_len, b->cut);
	b->state = AT_FIELD;
}

/* --- the block --- */

/* The string that was being read is complete. Returns 1 if so is the field. */
static int string_ends(struct hpack_window *w, struct hpack_block *b,
		       struct hpack_field *out)
{
	if (b->what == NUMBER_VALUE_LEN) {
		literal_ends(w, b, out);
		return 1;
	}
	if (b->text_max && !b->cut)
		b->name = wanted_name(b,
				      (int)hpack_name_of(b->text, b->text_len));
	b->what = NUMBER_VALUE_LEN;
	b->state = AT_LENGTH;
	return 0;
}

/* The number that was being read is complete. Returns 1 if so is the field. */
static int number_ends(struct hpack_window *w, struct hpack_block *b,
		       struct hpack_field *out)
{
	int name = HPACK_OTHER;

	switch (b->what) {
	case NUMBER_FIELD:
		b->state = AT_FIELD;
		return field_at(w, b, out);
	case NUMBER_TABLE:
		/* Only at the start of a block: RFC 7541, section 4.2. */
		if (b->fields)
			return -EPROTO;
		hpack_window_resize(w, b->number);
		b->state = AT_FIELD;
		return 0;
	case NUMBER_NAME:
		if (b->number)
			name = name_at(w, b->number);
		if (name < 0)
			return name;
		b->name = wanted_name(b, name);
		b->what = b->number ? NUMBER_VALUE_LEN : NUMBER_NAME_LEN;
		b->state = AT_LENGTH;
		return 0;
	case NUMBER_NAME_LEN:
		string_begins(b,
			      b->number > NAME_MAX_BYTES ? 0 : NAME_MAX_BYTES);
		return 0;
	default:
		string_begins(b, names[b->name].value_max);
		return 0;
	}
}

/* A number; its first bits are those of byte that mask selects. */
static int number_begins(struct hpack_window *w, struct hpack_block *b,
			 uint8_t byte, uint8_t mask, struct hpack_field *out)
{
	b->number = byte & mask;
	b->shift = 0;
	b->state = AT_NUMBER;
	return b->number < mask ? number_ends(w, b, out) : 0;
}

static int number_goes_on(struct hpack_window *w, struct hpack_block *b,
			  uint8_t byte, struct hpack_field *out)
{
	uint64_t sum = b->number + ((uint64_t)(byte & 0x7f) << b->shift);

	if (sum > NUMBER_MAX || b->shift > 28)
		return -EPROTO;
	b->number = (uint32_t)sum;
	b->shift += 7;
	return byte & 0x80 ? 0 : number_ends(w, b, out);
}

/* The first byte of a field: what it is, and the first bits of a number. */
static int field_begins(struct hpack_window *w, struct hpack_block *b,
			uint8_t byte, struct hpack_field *out)
{
	b->insert = false;
	if (byte & 0x80) {
		b->what = NUMBER_FIELD;
		return number_begins(w, b, byte, 0x7f, out);
	}
	if ((byte & 0xe0) == 0x20) {
		b->what = NUMBER_TABLE;
		return number_begins(w, b, byte, 0x1f, out);
	}
	b->what = NUMBER_NAME;
	b->insert = byte & 0x40;
	return number_begins(w, b, byte, b->insert ? 0x3f : 0x0f, out);
}

static bool is_string_whole(const struct hpack_block *b)
{
	return b->state == AT_STRING && !b->left;
}

static int take_some(struct hpack_window *w, struct hpack_block *b,
		     const uint8_t **at, const uint8_t *end,
		     struct hpack_field *out)
{
	uint8_t byte;
	int err;

	if (b->state == AT_STRING) {
		err = take_string(b, at, end);
		if (err)
			return err;
		return is_string_whole(b) ? string_ends(w, b, out) : 0;
	}
	byte = *(*at)++;
	switch (b->state) {
	case AT_FIELD:
		return field_begins(w, b, byte, out);
	case AT_LENGTH:
		b->huffman = byte & 0x80;
		return number_begins(w, b, byte, 0x7f, out);
	default:
		return number_goes_on(w, b, byte, out);
	}
}

void hpack_begin(struct hpack_block *b, uint16_t wanted)
{
	memset(b, 0, offsetof(struct hpack_block, text));
	b->wanted = wanted;
}

int hpack_next(struct hpack_window *w, struct hpack_block *b,
	       const uint8_t **at, const uint8_t *end, struct hpack_field *out)
{
	int got;

	while (*at < end || is_string_whole(b)) {
		got = take_some(w, b, at, end, out);
		if (!got)
			continue;
		b->fields = true;
		return got;
	}
	return 0;
}

int hpack_end(const struct hpack_block *b)
{
	return b->state == AT_FIELD ? 0 : -EPROTO;
}
