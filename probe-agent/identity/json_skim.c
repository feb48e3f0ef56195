/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/identity/json_skim.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

/* Deeper texts are no runtime's. */
#define NESTING_MAX 64

struct walk {
	const char *at, *end;
	json_skim_fn *fn;
	void *arg;
	bool done;
	struct json_place place;
	char value[JSON_SKIM_VALUE];
};

static void skip_blanks(struct walk *w)
{
	while (w->at < w->end && (*w->at == ' ' || *w->at == '\n' ||
				  *w->at == '\t' || *w->at == '\r'))
		w->at++;
}

/* Takes c if it is what comes next. */
static bool take(struct walk *w, char c)
{
	skip_blanks(w);
	if (w->at == w->end || *w->at != c)
		return false;
	w->at++;
	return true;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The four digits of \uXXXX, or -1. */
static int32_t take_code(struct walk *w)
{
	int32_t code = 0;

	if (w->end - w->at < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		int digit = hex_digit(*w->at++);

		if (digit < 0)
			return -1;
		code = code << 4 | digit;
	}
	return code;
}

/* UTF-8 of code; halves of a pair, which names don't have, become "?". */
static size_t put_code(char out[4], int32_t code)
{
	if (code >= 0xd800 && code < 0xe000)
		code = '?';
	if (code < 0x80) {
		out[0] = (char)code;
		return 1;
	}
	if (code < 0x800) {
		out[0] = (char)(0xc0 | code >> 6);
		out[1] = (char)(0x80 | (code & 0x3f));
		return 2;
	}
	out[0] = (char)(0xe0 | code >> 12);
	out[1] = (char)(0x80 | (code >> 6 & 0x3f));
	out[2] = (char)(0x80 | (code & 0x3f));
	return 3;
}

/* What follows a backslash, as 1 to 3 bytes. 0: nothing that may. */
static size_t take_escape(struct walk *w, char out[4])
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	const char *which;
	int32_t code;

	if (w->at == w->end)
		return 0;
	if (*w->at == 'u') {
		w->at++;
		code = take_code(w);
		return code > 0 ? put_code(out, code) : 0;
	}
	which = memchr(from, *w->at++, sizeof(from) - 1);
	if (!which)
		return 0;
	out[0] = to[which - from];
	return 1;
}

/* A string behind its quote into out. *cut: not all of it had room. */
static int take_string(struct walk *w, char *out, size_t size, bool *cut)
{
	size_t n = 0;

	*cut = false;
	while (w->at < w->end && *w->at != '"') {
		char bytes[4];
		size_t k = 1;

		bytes[0] = *w->at++;
		if (bytes[0] == '\\')
			k = take_escape(w, bytes);
		if (!k || !bytes[0])
			return -EPROTO;
		if (n + k >= size) {
			*cut = true;
			continue;
		}
		memcpy(out + n, bytes, k);
		n += k;
	}
	if (w->at == w->end)
		return -EPROTO;
	w->at++;
	out[n] = '\0';
	return 0;
}

static int walk_value(struct walk *w, unsigned nesting);

/* Enters a place; NULL: it is too deep for its key to matter. */
static char *key_at(struct walk *w, unsigned nesting)
{
	w->place.depth = nesting;
	return nesting <= JSON_SKIM_DEPTH ? w->place.key[nesting - 1] : NULL;
}

static int walk_members(struct walk *w, unsigned nesting, bool object)
{
	char close = object ? '}' : ']', unused[JSON_SKIM_KEY];
	int err = 0;
	bool cut;

	if (take(w, close))
		return 0;
	do {
		char *key = key_at(w, nesting);

		if (key)
			*key = '\0';
		if (object) {
			if (!take(w, '"'))
				return -EPROTO;
			err = take_string(w, key ? key : unused, JSON_SKIM_KEY,
					  &cut);
			if (!err && !take(w, ':'))
				err = -EPROTO;
		}
		if (!err)
			err = walk_value(w, nesting);
	} while (!err && !w->done && take(w, ','));
	return err || w->done || take(w, close) ? err : -EPROTO;
}

static int walk_string(struct walk *w, unsigned nesting)
{
	bool cut;
	int err = take_string(w, w->value, sizeof(w->value), &cut);

	w->place.depth = nesting;
	if (!err && !cut && nesting <= JSON_SKIM_DEPTH)
		w->done = !w->fn(w->arg, &w->place, w->value);
	return err;
}

/* Numbers, true, false, null: up to what ends them. */
static int walk_word(struct walk *w)
{
	const char *from = w->at;

	while (w->at < w->end && !memchr(",]} \n\t\r\"{[:", *w->at, 12))
		w->at++;
	return w->at == from ? -EPROTO : 0;
}

static int walk_value(struct walk *w, unsigned nesting)
{
	if (take(w, '"'))
		return walk_string(w, nesting);
	if (nesting >= NESTING_MAX)
		return -EPROTO;
	if (take(w, '{'))
		return walk_members(w, nesting + 1, true);
	if (take(w, '['))
		return walk_members(w, nesting + 1, false);
	return walk_word(w);
}

int json_skim(const char *text, size_t len, json_skim_fn *fn, void *arg)
{
	struct walk w;

	w.at = text;
	w.end = text + len;
	w.fn = fn;
	w.arg = arg;
	w.done = false;
	w.place.depth = 0;
	return walk_value(&w, 0);
}

bool json_place_is(const struct json_place *place, unsigned depth,
		   const char *const *key)
{
	if (place->depth != depth)
		return false;
	for (unsigned i = 0; i < depth; i++)
		if (strcmp(place->key[i], key[i]) != 0)
			return false;
	return true;
}
