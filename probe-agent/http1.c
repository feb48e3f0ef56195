/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/http1.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

/* RFC 9110 5.6.2: the characters of a token. */
static const bool token_char[256] = {
	['!'] = 1,	   ['#'] = 1,	      ['$'] = 1, ['%'] = 1,
	['&'] = 1,	   ['\''] = 1,	      ['*'] = 1, ['+'] = 1,
	['-'] = 1,	   ['.'] = 1,	      ['^'] = 1, ['_'] = 1,
	['`'] = 1,	   ['|'] = 1,	      ['~'] = 1, ['0' ... '9'] = 1,
	['A' ... 'Z'] = 1, ['a' ... 'z'] = 1,
};

static const char preface[] = "PRI * HTTP/2.0";

bool http1_is_http2_preface(const char *buf, size_t len)
{
	return len >= sizeof(preface) - 1 &&
	       memcmp(buf, preface, sizeof(preface) - 1) == 0;
}

enum http1_kind http1_kind(const char *buf, size_t len)
{
	size_t n = len < 5 ? len : 5;
	size_t i;

	if (memcmp(buf, "HTTP/", n) == 0)
		return n == 5 ? HTTP1_KIND_RESPONSE : HTTP1_KIND_EITHER;
	for (i = 0; i < len && i <= HTTP1_METHOD_MAX; i++)
		if (!token_char[(uint8_t)buf[i]])
			return i > 0 && buf[i] == ' ' ? HTTP1_KIND_REQUEST
						      : HTTP1_KIND_NEITHER;
	return i <= HTTP1_METHOD_MAX ? HTTP1_KIND_REQUEST : HTTP1_KIND_NEITHER;
}

size_t http1_head_end(const char *buf, size_t len, size_t from)
{
	const char *p = buf + from, *end = buf + len;

	while (p < end && (p = memchr(p, '\n', (size_t)(end - p)))) {
		p++;
		if (p < end && *p == '\n')
			return (size_t)(p + 1 - buf);
		if (end - p >= 2 && p[0] == '\r' && p[1] == '\n')
			return (size_t)(p + 2 - buf);
	}
	return 0;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static struct slice trim(const char *p, const char *end)
{
	while (p < end && is_blank(*p))
		p++;
	while (end > p && (is_blank(end[-1]) || end[-1] == '\r'))
		end--;
	return (struct slice){ p, (size_t)(end - p) };
}

/* "HTTP/1.x" in exactly 8 bytes. 10, 11, or 0. */
static uint8_t version_of(const char *p)
{
	if (memcmp(p, "HTTP/1.", 7) != 0 || p[7] < '0' || p[7] > '9')
		return 0;
	return p[7] == '0' ? 10 : 11;
}

/*
 * RFC 9110 8.6: a list of equal values counts as one of them. -EPROTO for
 * anything else that is no number.
 */
static int parse_length(struct slice v, uint64_t *out)
{
	const char *p = v.data, *end = v.data + v.len;
	bool first = true;

	for (;;) {
		const char *comma = memchr(p, ',', (size_t)(end - p));
		struct slice one = trim(p, comma ? comma : end);
		uint64_t n = 0;
		size_t i;

		/* An empty value may be folded onto the next line: unknown. */
		if (one.len == 0 || one.len > 18) /* 10^18 bytes is plenty */
			return -EPROTO;
		for (i = 0; i < one.len; i++) {
			if (one.data[i] < '0' || one.data[i] > '9')
				return -EPROTO;
			n = n * 10 + (uint64_t)(one.data[i] - '0');
		}
		if (!first && n != *out)
			return -EPROTO;
		*out = n;
		first = false;
		if (!comma)
			return 0;
		p = comma + 1;
	}
}

static void take_length(struct http1_head *h, struct slice v)
{
	uint64_t n = 0;

	/* RFC 9112 6.3: a transfer coding overrides any length. */
	if (h->framing == HTTP1_FRAMING_CHUNKED ||
	    h->framing == HTTP1_FRAMING_UNKNOWN)
		return;
	if (parse_length(v, &n) != 0 ||
	    (h->framing == HTTP1_FRAMING_LENGTH && n != h->content_length)) {
		h->framing = HTTP1_FRAMING_UNKNOWN;
		return;
	}
	h->framing = HTTP1_FRAMING_LENGTH;
	h->content_length = n;
}

static void take_transfer_encoding(struct http1_head *h, struct slice v)
{
	static const char chunked[] = "chunked";
	const size_t n = sizeof(chunked) - 1;
	const char *last = v.data + v.len;

	while (last > v.data && last[-1] != ',')
		last--;
	v = trim(last, v.data + v.len);
	h->framing = v.len == n && strncasecmp(v.data, chunked, n) == 0
			     ? HTTP1_FRAMING_CHUNKED
			     : HTTP1_FRAMING_UNKNOWN;
}

#define NAME_IS(p, lit) (strncasecmp(p, lit, sizeof(lit) - 1) == 0)

/* One field; name is n bytes, the line ends before end. */
static void take_field(struct http1_head *h, const char *name, size_t n,
		       const char *value, const char *end)
{
	switch (n) {
	case 4:
		if (NAME_IS(name, "host"))
			h->host = trim(value, end);
		break;
	case 6:
		if (NAME_IS(name, "expect")) {
			struct slice v = trim(value, end);

			h->expect_continue =
				v.len == 12 && NAME_IS(v.data, "100-continue");
		}
		break;
	case 7:
		if (NAME_IS(name, "upgrade"))
			h->upgrade = true;
		break;
	case 11:
		if (NAME_IS(name, "traceparent"))
			h->traceparent = trim(value, end);
		break;
	case 14:
		if (NAME_IS(name, "content-length"))
			take_length(h, trim(value, end));
		break;
	case 17:
		if (NAME_IS(name, "transfer-encoding"))
			take_transfer_encoding(h, trim(value, end));
		break;
	}
}

/*
 * One line of fields, its end excluded. Only six names matter: the first letter
 * tells where their colon would be. A folded line (obs-fold) begins with a
 * blank; no field of ours needs it. Blanks before a colon are wrong, but read.
 */
static void parse_line(const char *p, const char *nl, struct http1_head *h)
{
	size_t len = (size_t)(nl - p), n, colon;

	switch (*p | 0x20) {
	case 'h':
		n = 4;
		break;
	case 'e':
		n = 6;
		break;
	case 'u':
		n = 7;
		break;
	case 't':
		n = len > 11 && (p[11] == ':' || is_blank(p[11])) ? 11 : 17;
		break;
	case 'c':
		n = 14;
		break;
	default:
		return;
	}
	for (colon = n; colon < len && is_blank(p[colon]);)
		colon++;
	if (colon < len && p[colon] == ':')
		take_field(h, p, n, p + colon + 1, nl);
}

/*
 * Fields from p, up to the empty line. Returns the bytes with it, -EAGAIN, or
 * -EPROTO. A line without a colon is passed over, as many peers do; a NUL is
 * refused, as all do.
 */
static ssize_t parse_fields(const char *p, const char *end,
			    struct http1_head *h)
{
	const char *start = p, *nl;

	for (; p < end; p = nl + 1) {
		if (*p == '\n') {
			end = p + 1;
			break;
		}
		if (*p == '\r' && end - p >= 2 && p[1] == '\n') {
			end = p + 2;
			break;
		}
		nl = memchr(p, '\n', (size_t)(end - p));
		if (!nl) {
			p = end;
			break;
		}
		parse_line(p, nl, h);
	}
	if (memchr(start, 0, (size_t)(end - start)))
		return -EPROTO;
	return p < end ? end - start : -EAGAIN;
}

/* Method and the space after it. Offset of the target, -EAGAIN, -EPROTO. */
static ssize_t parse_method(const char *buf, size_t len, struct http1_head *out)
{
	size_t i;

	for (i = 0; i < len && token_char[(uint8_t)buf[i]]; i++)
		if (i == HTTP1_METHOD_MAX)
			return -EPROTO;
	if (i == len)
		return -EAGAIN;
	if (i == 0 || buf[i] != ' ')
		return -EPROTO;
	out->method = (struct slice){ buf, i };
	return (ssize_t)i + 1;
}

static bool has_control(const char *p, const char *end)
{
	for (; p < end; p++)
		if ((uint8_t)*p < 0x20 || *p == 0x7f)
			return true;
	return false;
}

/* The request line in [buf, nl). 0 or -EPROTO. */
static int parse_request_line(const char *buf, const char *nl,
			      struct http1_head *out)
{
	ssize_t target = parse_method(buf, (size_t)(nl - buf), out);
	const char *p, *end = nl;

	if (target < 0)
		return -EPROTO;
	if (end[-1] == '\r')
		end--;
	p = buf + target;
	while (end > p && end[-1] == ' ')
		end--;
	if (end - p < 10) /* a target, a space, HTTP/1.x */
		return -EPROTO;
	end -= 8;
	out->version = version_of(end);
	if (!out->version || end[-1] != ' ')
		return -EPROTO;
	/* Blanks inside a target are wrong, but peers do answer them. */
	out->target = trim(p, end);
	if (out->target.len == 0 || has_control(p, end))
		return -EPROTO;
	return 0;
}

/* A request line without its end: could it still become one? */
static int check_request_start(const char *buf, size_t len)
{
	struct http1_head h;
	ssize_t target = parse_method(buf, len, &h);
	const char *end = buf + len;

	if (target < 0)
		return (int)target;
	if (end[-1] == '\r')
		end--;
	return has_control(buf + target, end) ? -EPROTO : -EAGAIN;
}

ssize_t http1_parse_request(const char *buf, size_t len, struct http1_head *out)
{
	const char *nl = memchr(buf, '\n', len);
	struct http1_head h;
	ssize_t n;

	if (len == 0)
		return -EAGAIN;
	if (!nl)
		return check_request_start(buf, len);
	memset(&h, 0, sizeof(h));
	if (parse_request_line(buf, nl, &h) != 0)
		return -EPROTO;
	n = parse_fields(nl + 1, buf + len, &h);
	if (n < 0)
		return n;
	*out = h;
	return nl + 1 - buf + n;
}

/*
 * "HTTP/1.1 200" and what may follow a status. 0, -EAGAIN, -EPROTO; RFC 9110
 * 15: a status outside 100..599 is invalid.
 */
static int parse_status_line(const char *buf, size_t len,
			     struct http1_head *out)
{
	static const char shape[] = "HTTP/1.d ddd";
	const size_t n = sizeof(shape) - 1;
	size_t i = 0;

	/* All there and as it nearly always is: no need to go through it. */
	if (len > n && memcmp(buf, "HTTP/1.1 200 ", 13) == 0)
		i = n;
	for (; i < len && i < n; i++) {
		if (shape[i] == 'd' ? buf[i] < '0' || buf[i] > '9'
				    : buf[i] != shape[i])
			return -EPROTO;
		if (i == 9 && (buf[i] < '1' || buf[i] > '5'))
			return -EPROTO;
	}
	if (len <= n)
		return -EAGAIN;
	if (buf[n] != ' ' && buf[n] != '\r' && buf[n] != '\n')
		return -EPROTO;
	out->version = version_of(buf);
	out->status = (uint16_t)((buf[9] - '0') * 100 + (buf[10] - '0') * 10 +
				 (buf[11] - '0'));
	return 0;
}

ssize_t http1_parse_response(const char *buf, size_t len,
			     struct http1_head *out)
{
	struct http1_head h;
	const char *nl;
	ssize_t n;
	int err;

	memset(&h, 0, sizeof(h));
	err = parse_status_line(buf, len, &h);
	if (err)
		return err;
	nl = memchr(buf, '\n', len);
	if (memchr(buf, 0, nl ? (size_t)(nl - buf) : len))
		return -EPROTO;
	if (!nl)
		return -EAGAIN;
	n = parse_fields(nl + 1, buf + len, &h);
	if (n < 0)
		return n;
	*out = h;
	return nl + 1 - buf + n;
}

int http1_parse_request_cut(const char *buf, size_t len, struct http1_head *out)
{
	const char *nl = memchr(buf, '\n', len);
	const char *p, *end;
	struct http1_head h;
	ssize_t target;

	memset(&h, 0, sizeof(h));
	if (nl) {
		if (parse_request_line(buf, nl, &h) != 0 ||
		    parse_fields(nl + 1, buf + len, &h) == -EPROTO)
			return -EPROTO;
		if (h.framing == HTTP1_FRAMING_NONE)
			h.framing = HTTP1_FRAMING_UNKNOWN;
		*out = h;
		return 0;
	}
	target = parse_method(buf, len, &h);
	end = buf + len;
	if (target < 0 || (size_t)target == len)
		return -EPROTO;
	if (end[-1] == '\r')
		end--;
	if (has_control(buf + target, end))
		return -EPROTO;
	p = memchr(buf + target, ' ', (size_t)(end - buf - target));
	h.target_cut = !p;
	h.target.data = buf + target;
	h.target.len = (size_t)((p ? p : end) - h.target.data);
	if (h.target.len == 0)
		return -EPROTO;
	h.version = 11;
	h.framing = HTTP1_FRAMING_UNKNOWN;
	*out = h;
	return 0;
}

int http1_parse_response_cut(const char *buf, size_t len,
			     struct http1_head *out)
{
	const char *nl = memchr(buf, '\n', len);
	struct http1_head h;

	memset(&h, 0, sizeof(h));
	if (parse_status_line(buf, len, &h) != 0)
		return -EPROTO;
	if (nl && parse_fields(nl + 1, buf + len, &h) == -EPROTO)
		return -EPROTO;
	if (h.framing == HTTP1_FRAMING_NONE)
		h.framing = HTTP1_FRAMING_UNKNOWN;
	*out = h;
	return 0;
}

struct slice http1_authority(struct slice method, struct slice target)
{
	const char *p = target.data, *end, *scheme, *at;

	if (!p || target.len == 0)
		return target;
	end = p + target.len;
	if (method.len == 7 && memcmp(method.data, "CONNECT", 7) == 0)
		return target;
	if (*p == '/' || *p == '*')
		return (struct slice){ p, 0 };
	scheme = memmem(p, target.len, "://", 3);
	if (!scheme || memchr(p, '/', (size_t)(scheme - p)) ||
	    memchr(p, '?', (size_t)(scheme - p)))
		return (struct slice){ p, 0 };
	p = scheme + 3;
	for (scheme = p; scheme < end; scheme++)
		if (*scheme == '/' || *scheme == '?' || *scheme == '#')
			break;
	end = scheme;
	at = memrchr(p, '@', (size_t)(end - p));
	if (at)
		p = at + 1;
	return (struct slice){ p, (size_t)(end - p) };
}

enum chunk_state {
	CHUNK_SIZE_FIRST, /* a digit must come */
	CHUNK_SIZE,
	CHUNK_EXTENSION, /* up to the end of the size line */
	CHUNK_DATA,
	CHUNK_DATA_END, /* CRLF after the data */
	CHUNK_TRAILER_START, /* at the start of a line after the last chunk */
	CHUNK_TRAILER_CR, /* a CR that began such a line */
	CHUNK_TRAILER, /* inside such a line */
	CHUNK_DONE,
};

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One byte of a chunk's size line. 0 or -EPROTO. */
static int chunk_size_byte(struct http1_chunked *ch, char c)
{
	int digit = hex_digit(c);

	if (ch->state != CHUNK_EXTENSION && digit >= 0) {
		if (ch->left >> 56)
			return -EPROTO;
		ch->left = ch->left << 4 | (uint64_t)digit;
		ch->state = CHUNK_SIZE;
		return 0;
	}
	if (ch->state == CHUNK_SIZE_FIRST)
		return -EPROTO;
	if (c == '\n') {
		ch->state = ch->left ? CHUNK_DATA : CHUNK_TRAILER_START;
		return 0;
	}
	if (ch->state == CHUNK_SIZE && c != ';' && c != '\r' && !is_blank(c))
		return -EPROTO;
	ch->state = CHUNK_EXTENSION;
	return 0;
}

/* One byte after a chunk's data, or of the trailer. 0 or -EPROTO. */
static int chunk_other_byte(struct http1_chunked *ch, char c)
{
	switch (ch->state) {
	case CHUNK_DATA_END:
		if (c == '\n')
			ch->state = CHUNK_SIZE_FIRST;
		else if (c != '\r')
			return -EPROTO;
		return 0;
	case CHUNK_TRAILER_START:
		ch->state = c == '\n'	? CHUNK_DONE
			    : c == '\r' ? CHUNK_TRAILER_CR
					: CHUNK_TRAILER;
		return 0;
	case CHUNK_TRAILER_CR:
		ch->state = c == '\n' ? CHUNK_DONE : CHUNK_TRAILER;
		return 0;
	default:
		if (c == '\n')
			ch->state = CHUNK_TRAILER_START;
		return 0;
	}
}

ssize_t http1_chunked_feed(struct http1_chunked *ch, const char *buf,
			   size_t len, bool *done)
{
	size_t i = 0;
	int err;

	*done = ch->state == CHUNK_DONE;
	while (i < len && ch->state != CHUNK_DONE) {
		if (ch->state == CHUNK_DATA) {
			size_t n = len - i < ch->left ? len - i : ch->left;

			i += n;
			ch->left -= n;
			if (ch->left == 0)
				ch->state = CHUNK_DATA_END;
			continue;
		}
		err = ch->state <= CHUNK_EXTENSION
			      ? chunk_size_byte(ch, buf[i])
			      : chunk_other_byte(ch, buf[i]);
		if (err)
			return err;
		i++;
	}
	*done = ch->state == CHUNK_DONE;
	return (ssize_t)i;
}

int http1_chunked_skip(struct http1_chunked *ch, uint64_t n)
{
	if (n == 0)
		return 0;
	if (ch->state != CHUNK_DATA || n > ch->left)
		return -EPROTO;
	ch->left -= n;
	if (ch->left == 0)
		ch->state = CHUNK_DATA_END;
	return 0;
}
