/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/replay/json_scan.h"

#include <errno.h>
#include <string.h>

/*
 *	state          what may come
 *	VALUE          a value
 *	FIRST_VALUE    a value, or ] of an empty array
 *	FIRST_KEY      a key, or } of an empty object
 *	KEY            a key, after a comma
 *	COLON          :
 *	AFTER          , or the end of what is around it
 *	DONE           blanks
 *	STRING, ESCAPE, HEX, NUMBER, LITERAL: within a token
 */
enum {
	VALUE,
	FIRST_VALUE,
	FIRST_KEY,
	KEY,
	COLON,
	AFTER,
	DONE,
	STRING,
	ESCAPE,
	HEX,
	NUMBER,
	LITERAL,
};

#define NO_PATH UINT16_MAX
#define REPLACEMENT 0xfffdu

void json_scan_init(struct json_scan *s, json_scan_fn *fn, void *arg)
{
	s->fn = fn;
	s->arg = arg;
	s->state = VALUE;
	s->err = 0;
	s->depth = 0;
	s->path_len[0] = 0;
	s->path[0] = '\0';
	s->high = 0;
}

/* --- paths --- */

static bool in_object(const struct json_scan *s)
{
	unsigned d = s->depth - 1;

	return s->depth > 0 && s->in_object[d / 8] >> d % 8 & 1;
}

/* The path of what is at the current depth. */
static const char *current_path(const struct json_scan *s)
{
	return s->depth <= JSON_SCAN_NAMED_MAX &&
			       s->path_len[s->depth] != NO_PATH
		       ? s->path
		       : NULL;
}

/* Makes the path of the current depth that of its container, plus text. */
static void set_path(struct json_scan *s, const char *text, size_t len,
		     bool is_key)
{
	uint16_t from;
	bool dot;

	if (s->depth > JSON_SCAN_NAMED_MAX)
		return;
	from = s->path_len[s->depth - 1];
	dot = is_key && from > 0;
	s->path_len[s->depth] = NO_PATH;
	if (from == NO_PATH || from + dot + len > JSON_SCAN_PATH_MAX ||
	    memchr(text, '\0', len))
		return;
	if (dot)
		s->path[from] = '.';
	memcpy(s->path + from + dot, text, len);
	s->path_len[s->depth] = (uint16_t)(from + dot + len);
	s->path[from + dot + len] = '\0';
}

static int report_value(struct json_scan *s, enum json_scan_kind kind)
{
	struct json_scan_item it = { .kind = kind, .path = current_path(s) };

	if (kind == JSON_SCAN_STRING || kind == JSON_SCAN_NUMBER) {
		s->text[s->len] = '\0';
		it.text = s->text;
		it.len = s->len;
		it.cut = s->cut;
	}
	return s->fn(s->arg, &it);
}

static void value_ended(struct json_scan *s)
{
	s->state = s->depth > 0 ? AFTER : DONE;
}

/* --- containers --- */

static int open_container(struct json_scan *s, bool object)
{
	int err = report_value(s, object ? JSON_SCAN_OBJECT : JSON_SCAN_ARRAY);
	unsigned d = s->depth;

	if (err)
		return err;
	if (d == JSON_SCAN_DEPTH_MAX)
		return -EPROTO;
	s->in_object[d / 8] = (uint8_t)((s->in_object[d / 8] & ~(1u << d % 8)) |
					(unsigned)object << d % 8);
	s->depth++;
	s->state = object ? FIRST_KEY : FIRST_VALUE;
	if (!object)
		set_path(s, "[]", 2, false);
	return 0;
}

static int close_container(struct json_scan *s)
{
	s->depth--;
	if (s->depth <= JSON_SCAN_NAMED_MAX && s->path_len[s->depth] != NO_PATH)
		s->path[s->path_len[s->depth]] = '\0';
	value_ended(s);
	return report_value(s, JSON_SCAN_END);
}

/* --- strings --- */

static void append_text(struct json_scan *s, const char *data, size_t n)
{
	size_t room = JSON_SCAN_TEXT_MAX - s->len;

	if (n > room) {
		n = room;
		s->cut = true;
	}
	memcpy(s->text + s->len, data, n);
	s->len += n;
}

static void append_code(struct json_scan *s, unsigned c)
{
	char out[4];
	size_t n = 0;

	if (c == 0)
		c = REPLACEMENT;
	if (c < 0x80) {
		out[n++] = (char)c;
	} else if (c < 0x800) {
		out[n++] = (char)(0xc0 | c >> 6);
		out[n++] = (char)(0x80 | (c & 0x3f));
	} else if (c < 0x10000) {
		out[n++] = (char)(0xe0 | c >> 12);
		out[n++] = (char)(0x80 | (c >> 6 & 0x3f));
		out[n++] = (char)(0x80 | (c & 0x3f));
	} else {
		out[n++] = (char)(0xf0 | c >> 18);
		out[n++] = (char)(0x80 | (c >> 12 & 0x3f));
		out[n++] = (char)(0x80 | (c >> 6 & 0x3f));
		out[n++] = (char)(0x80 | (c & 0x3f));
	}
	append_text(s, out, n);
}

/* The first half of a pair did not get its second. */
static void end_pair(struct json_scan *s)
{
	if (s->high)
		append_code(s, REPLACEMENT);
	s->high = 0;
}

static void begin_string(struct json_scan *s, bool is_key)
{
	s->state = STRING;
	s->is_key = is_key;
	s->len = 0;
	s->cut = false;
	s->high = 0;
}

static int end_string(struct json_scan *s)
{
	end_pair(s);
	if (!s->is_key) {
		value_ended(s);
		return report_value(s, JSON_SCAN_STRING);
	}
	s->state = COLON;
	set_path(s, s->text, s->len, true);
	return 0;
}

static void end_escape(struct json_scan *s, unsigned c)
{
	s->state = STRING;
	if (s->high && c >= 0xdc00 && c < 0xe000) {
		c = 0x10000 + ((s->high - 0xd800) << 10) + (c - 0xdc00);
		s->high = 0;
	}
	end_pair(s);
	if (c >= 0xd800 && c < 0xdc00)
		s->high = c;
	else
		append_code(s, c >= 0xdc00 && c < 0xe000 ? REPLACEMENT : c);
}

static int take_escape(struct json_scan *s, char c)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	const char *at = strchr(from, c);

	if (c == 'u' || c == 'x') {
		s->state = HEX;
		s->escape = 0;
		s->digits = c == 'u' ? 4 : 2;
		return 0;
	}
	if (c == '\0' || !at)
		return -EPROTO;
	end_escape(s, (unsigned char)to[at - from]);
	return 0;
}

static int take_hex(struct json_scan *s, char c)
{
	static const char hex[] = "0123456789abcdef";
	const char *at = c == '\0' ? NULL : strchr(hex, c | 0x20);

	/* What |0x20 makes of control bytes is not a letter of hex. */
	if (!at || (c >= 0x10 && c < 0x20))
		return -EPROTO;
	s->escape = s->escape << 4 | (unsigned)(at - hex);
	if (--s->digits == 0)
		end_escape(s, s->escape);
	return 0;
}

/* Takes what is plain text at the beginning of data. Returns how much. */
static size_t take_plain(struct json_scan *s, const char *data, size_t len)
{
	size_t n = 0;

	while (n < len && data[n] != '"' && data[n] != '\\')
		n++;
	if (n > 0) {
		end_pair(s);
		append_text(s, data, n);
	}
	return n;
}

/* --- numbers and words --- */

static const char *skip_digits(const char *p)
{
	return p + strspn(p, "0123456789");
}

static bool number_valid(const char *p)
{
	const char *from;

	p += *p == '-';
	from = p;
	p = skip_digits(p);
	if (p == from || (*from == '0' && p > from + 1))
		return false;
	if (*p == '.') {
		from = ++p;
		p = skip_digits(p);
		if (p == from)
			return false;
	}
	if (*p == 'e' || *p == 'E') {
		p++;
		p += *p == '+' || *p == '-';
		from = p;
		p = skip_digits(p);
		if (p == from)
			return false;
	}
	return *p == '\0';
}

static int end_number(struct json_scan *s)
{
	s->text[s->len] = '\0';
	if (s->cut || !number_valid(s->text))
		return -EPROTO;
	value_ended(s);
	return report_value(s, JSON_SCAN_NUMBER);
}

static int take_literal(struct json_scan *s, char c)
{
	if (c != s->literal[s->len])
		return -EPROTO;
	if (s->literal[++s->len] != '\0')
		return 0;
	value_ended(s);
	return report_value(s, *s->literal == 't'   ? JSON_SCAN_TRUE
			       : *s->literal == 'f' ? JSON_SCAN_FALSE
						    : JSON_SCAN_NULL);
}

/* --- from byte to byte --- */

static int begin_value(struct json_scan *s, char c)
{
	switch (c) {
	case '{':
	case '[':
		return open_container(s, c == '{');
	case '"':
		begin_string(s, false);
		return 0;
	case 't':
	case 'f':
	case 'n':
		s->literal = c == 't' ? "true" : c == 'f' ? "false" : "null";
		s->state = LITERAL;
		s->len = 1;
		return 0;
	default:
		if (c != '-' && (c < '0' || c > '9'))
			return -EPROTO;
		s->state = NUMBER;
		s->cut = false;
		s->len = 0;
		append_text(s, &c, 1);
		return 0;
	}
}

/* A byte that is neither a blank nor within a token. */
static int take_between(struct json_scan *s, char c)
{
	switch (s->state) {
	case FIRST_VALUE:
		if (c == ']')
			return close_container(s);
		return begin_value(s, c);
	case VALUE:
		return begin_value(s, c);
	case FIRST_KEY:
	case KEY:
		if (c == '}' && s->state == FIRST_KEY)
			return close_container(s);
		if (c != '"')
			return -EPROTO;
		begin_string(s, true);
		return 0;
	case COLON:
		s->state = VALUE;
		return c == ':' ? 0 : -EPROTO;
	case AFTER:
		if (c == ',')
			s->state = in_object(s) ? KEY : VALUE;
		else if (c == (in_object(s) ? '}' : ']'))
			return close_container(s);
		else
			return -EPROTO;
		return 0;
	default:
		return -EPROTO;
	}
}

static bool in_number(char c)
{
	return (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '+' ||
	       c == 'e' || c == 'E';
}

static int take_byte(struct json_scan *s, char c)
{
	int err;

	switch (s->state) {
	case STRING:
		if (c == '"')
			return end_string(s);
		s->state = ESCAPE; /* c is a backslash: see take_plain() */
		return 0;
	case ESCAPE:
		return take_escape(s, c);
	case HEX:
		return take_hex(s, c);
	case LITERAL:
		return take_literal(s, c);
	case NUMBER:
		if (in_number(c)) {
			append_text(s, &c, 1);
			return 0;
		}
		err = end_number(s);
		if (err)
			return err;
		break;
	default:
		break;
	}
	if (c == ' ' || c == '\t' || c == '\n' || c == '\r')
		return 0;
	return take_between(s, c);
}

int json_scan_feed(struct json_scan *s, const char *data, size_t len)
{
	for (size_t i = 0; i < len && !s->err; i++) {
		if (s->state == STRING) {
			i += take_plain(s, data + i, len - i);
			if (i == len)
				break;
		}
		s->err = take_byte(s, data[i]);
	}
	return s->err;
}

int json_scan_end(struct json_scan *s)
{
	if (!s->err && s->state == NUMBER && s->depth == 0)
		s->err = end_number(s);
	if (!s->err && s->state != DONE)
		s->err = -EPROTO;
	return s->err;
}
