/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/identity/segment.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define PLAIN_MAX 64u /* bytes; names of resources are not longer */

/* One number counts several classes of characters, with 9 bits each. */
#define PLAIN (UINT64_C(1) << 0) /* occurs in plain names */
#define DIGIT (UINT64_C(1) << 9)
#define HEX_LETTER (UINT64_C(1) << 18)
#define LOWER (UINT64_C(1) << 27)
#define UPPER (UINT64_C(1) << 36)
#define MARK (UINT64_C(1) << 45) /* occurs in numbers: 1.5, 3,4, 10:20 */
#define AT_OR_DOT (UINT64_C(1) << 54)
/* Separates the parts of a name. A flag, not counted. */
#define BREAK (UINT64_C(1) << 63)
#define COUNT_BITS 0x1ffu
static_assert(SEGMENT_MAX_BYTES <= COUNT_BITS, "a count has room");

static const uint64_t classes[256] = {
	['0' ... '9'] = PLAIN | DIGIT,
	['a' ... 'f'] = PLAIN | LOWER | HEX_LETTER,
	['g' ... 'z'] = PLAIN | LOWER,
	['A' ... 'F'] = PLAIN | UPPER | HEX_LETTER,
	['G' ... 'Z'] = PLAIN | UPPER,
	['.'] = PLAIN | MARK | BREAK | AT_OR_DOT,
	['-'] = PLAIN | MARK | BREAK,
	['_'] = PLAIN | MARK | BREAK,
	[','] = PLAIN | MARK,
	[':'] = PLAIN | MARK,
	['+'] = PLAIN | MARK,
	['~'] = PLAIN,
	['!'] = PLAIN,
	['$'] = PLAIN,
	['&'] = PLAIN,
	['\''] = PLAIN,
	['('] = PLAIN,
	[')'] = PLAIN,
	['*'] = PLAIN,
	['='] = PLAIN,
	['@'] = PLAIN | AT_OR_DOT,
};

struct counts {
	size_t len, digits, hex_letters, lower, upper, marks;
	bool foreign, at_or_dot;
};

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

size_t segment_decode(char *to, const char *from, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len && from[i] != ';'; i++) {
		char c = from[i];

		if (n == SEGMENT_MAX_BYTES)
			return n + 1;
		if (c == '%' && len - i > 2 && hex_value(from[i + 1]) >= 0 &&
		    hex_value(from[i + 2]) >= 0) {
			c = (char)(hex_value(from[i + 1]) * 16 +
				   hex_value(from[i + 2]));
			i += 2;
			/* Encoded, they are data: a NUL is never plain. */
			if (c == '/' || c == ';')
				c = '\0';
		}
		to[n++] = c;
	}
	return n;
}

/* The count of one class within n. */
static inline size_t of(uint64_t n, uint64_t class)
{
	return n / class & COUNT_BITS;
}

static struct counts count_characters(const char *s, size_t len)
{
	uint64_t n = 0;

	for (size_t i = 0; i < len; i++)
		n += classes[(uint8_t)s[i]] & ~BREAK;
	return (struct counts){
		.len = len,
		.digits = of(n, DIGIT),
		.hex_letters = of(n, HEX_LETTER),
		.lower = of(n, LOWER),
		.upper = of(n, UPPER),
		.marks = of(n, MARK),
		.foreign = (n & COUNT_BITS) != len,
		.at_or_dot = of(n, AT_OR_DOT) != 0,
	};
}

/* '9' stands for a digit, 'x' for a hex digit, '-' for one of "-_.". */
static bool has_shape(const char *s, size_t len, const char *shape)
{
	for (size_t i = 0; shape[i]; i++) {
		uint64_t k;

		if (i >= len)
			return false;
		k = classes[(uint8_t)s[i]];
		if (shape[i] == '9'   ? !(k & DIGIT)
		    : shape[i] == 'x' ? !(k & (DIGIT | HEX_LETTER))
				      : !(k & BREAK))
			return false;
	}
	return true;
}

static bool is_uuid(const char *s, size_t len)
{
	return len == 36 &&
	       has_shape(s, len, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx");
}

static bool is_date(const char *s, size_t len)
{
	if (len == 7 && has_shape(s, len, "9999-99"))
		return s[0] == '1' || s[0] == '2';
	if (len < 10 || !has_shape(s, len, "9999-99-99") || s[4] != s[7])
		return false;
	if (len == 10)
		return true;
	if (s[10] != 'T' && s[10] != 't' && s[10] != '_' && s[10] != ' ')
		return false;
	for (size_t i = 11; i < len; i++)
		if (!(classes[(uint8_t)s[i]] & (DIGIT | MARK)) && s[i] != 'Z' &&
		    s[i] != 'z')
			return false;
	return true;
}

static bool is_email(const char *s, size_t len)
{
	const char *at = memchr(s, '@', len);
	const char *dot;

	if (!at || at == s || count_characters(s, len).foreign)
		return false;
	dot = memrchr(at, '.', (size_t)(s + len - at));
	return dot && dot > at + 1 && dot + 1 < s + len;
}

/* A number, a list of numbers, a bare version, an IPv4 address. */
static bool is_number(const struct counts *c)
{
	return c->digits > 0 && c->digits + c->marks == c->len;
}

static bool is_hex(const char *s, const struct counts *c)
{
	if (c->len > 2 && s[0] == '0' && (s[1] | 0x20) == 'x')
		return true;
	if (c->digits + c->hex_letters != c->len)
		return false;
	return (c->len >= 7 && c->digits > 0) || c->len >= 16;
}

/* Ends in a separate number of four digits or more: order-1234. */
static bool ends_in_number(const char *s, size_t len)
{
	size_t n = 0;

	while (n < len && (classes[(uint8_t)s[len - 1 - n]] & DIGIT))
		n++;
	return n >= 4 && n < len && (classes[(uint8_t)s[len - 1 - n]] & BREAK);
}

static bool is_id(const char *s, const struct counts *c)
{
	if (is_number(c) || is_hex(s, c) || ends_in_number(s, c->len))
		return true;
	/* Names in APIs have at most four digits (iso8601, base64, sha256). */
	if (c->digits >= 5)
		return true;
	if (c->len > PLAIN_MAX)
		return true;
	if (c->len >= 16 && c->digits && c->lower && c->upper)
		return true;
	return c->len >= 8 && s[c->len - 1] == '='; /* base64 */
}

static size_t put_text(char *out, const char *text)
{
	size_t n = strlen(text);

	memcpy(out, text, n);
	return n;
}

/* Length of a file name's extension without its dot. 0: no file name. */
static size_t extension_len(const char *s, size_t len)
{
	const char *dot = memrchr(s, '.', len);
	struct counts c;
	size_t n;

	if (!dot || dot == s)
		return 0;
	n = (size_t)(s + len - dot - 1);
	c = count_characters(dot + 1, n);
	return n <= 5 && c.lower + c.upper > 0 &&
			       c.lower + c.upper + c.digits == n
		       ? n
		       : 0;
}

/* True for a part of a file name that is a content hash or a number. */
static bool is_file_part_id(const char *s, size_t len)
{
	struct counts c = count_characters(s, len);

	if (c.digits == len)
		return len >= 4;
	if (c.digits + c.hex_letters == len && c.digits)
		return len >= 6;
	return len >= 8 && c.digits && c.lower && c.upper;
}

/* Replaces the parts that are ids: app.3f2a9c → app.{id}. */
static size_t put_parts(char *out, const char *s, size_t len)
{
	size_t start = 0, n = 0;

	for (size_t i = 0; i <= len; i++) {
		if (i < len && !(classes[(uint8_t)s[i]] & BREAK))
			continue;
		if (is_file_part_id(s + start, i - start)) {
			n += put_text(out + n, "{id}");
		} else {
			memcpy(out + n, s + start, i - start);
			n += i - start;
		}
		if (i < len)
			out[n++] = s[i];
		start = i + 1;
	}
	return n;
}

static size_t put_file(char *out, const char *s, size_t len, size_t extension)
{
	size_t stem = len - extension - 1, n;
	struct counts c = count_characters(s, stem);

	if (is_uuid(s, stem))
		n = put_text(out, "{uuid}");
	else if (is_date(s, stem))
		n = put_text(out, "{date}");
	else if (is_number(&c) || is_hex(s, &c) || c.len > PLAIN_MAX)
		n = put_text(out, "{id}");
	else
		n = put_parts(out, s, stem);
	memcpy(out + n, s + stem, extension + 1);
	return n + extension + 1;
}

size_t segment_template(char out[SEGMENT_OUT_BYTES], const char *s, size_t len)
{
	struct counts c;
	size_t extension;

	if (len == 0)
		return 0;
	if (len > SEGMENT_MAX_BYTES)
		return put_text(out, "{id}");
	c = count_characters(s, len);
	/* The most frequent case by far: a word. */
	if (c.lower == len && len <= PLAIN_MAX && c.hex_letters != len) {
		memcpy(out, s, len);
		return len;
	}
	if (is_date(s, len))
		return put_text(out, "{date}");
	if (c.foreign)
		return put_text(out, "{text}");
	if (is_uuid(s, len))
		return put_text(out, "{uuid}");
	if (is_number(&c))
		return put_text(out, "{id}");
	if (c.at_or_dot) {
		if (is_email(s, len))
			return put_text(out, "{email}");
		extension = extension_len(s, len);
		if (extension)
			return put_file(out, s, len, extension);
	}
	if (is_id(s, &c))
		return put_text(out, "{id}");
	memcpy(out, s, len);
	return len;
}
