/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/http/http1.h"

#include <errno.h>
#include <string.h>

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

/*
 * The first control character of [p, end), or end. Sixteen bytes per step:
 * heads are long and have few control characters.
 */
static const char *find_control(const char *p, const char *end)
{
	for (; end - p >= 16; p += 16) {
		uint8_t v __attribute__((vector_size(16)));
		uint64_t half[2]; /* a byte is 0xff for a hit */

		memcpy(&v, p, 16);
		v = (__typeof__(v))((v < 0x20) | (v == 0x7f));
		memcpy(half, &v, 16);
		if (half[0])
			return p + __builtin_ctzll(half[0]) / 8;
		if (half[1])
			return p + 8 + __builtin_ctzll(half[1]) / 8;
	}
	while (p < end && (uint8_t)*p >= 0x20 && *p != 0x7f)
		p++;
	return p;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static inline struct slice trim(const char *p, const char *end)
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

/*
 * Are the n bytes at p equal to name, ignoring case? name is in lower case and
 * at least 4 bytes long; some bytes may be compared twice.
 */
static inline bool is_name(const char *p, const char *name, size_t n)
{
	uint32_t got, want, differ = 0;

	for (size_t i = 0; i < n; i += 4) {
		if (i > n - 4)
			i = n - 4;
		memcpy(&got, p + i, 4);
		memcpy(&want, name + i, 4);
		/* Letters have bit 6 (0x40); dashes and digits have not. */
		differ |= (got | (want & 0x40404040) >> 1) ^ want;
	}
	return differ == 0;
}

#define NAME_IS(p, lit) is_name(p, lit, sizeof(lit) - 1)

static void take_transfer_encoding(struct http1_head *h, struct slice v)
{
	const char *last = v.data + v.len;

	while (last > v.data && last[-1] != ',')
		last--;
	v = trim(last, v.data + v.len);
	/* RFC 2616: the coding that is none. */
	if (v.len == 8 && NAME_IS(v.data, "identity"))
		return;
	h->framing = v.len == 7 && NAME_IS(v.data, "chunked")
			     ? HTTP1_FRAMING_CHUNKED
			     : HTTP1_FRAMING_UNKNOWN;
}

/* One header field: the name has n bytes, the line ends before end. */
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
			h->upgrade = trim(value, end);
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
 * One header line, without its end. Only six names matter: the first letter
 * shows where their colon would be. A folded line (obs-fold) begins with a
 * blank; no field of ours needs it. Blanks before a colon are wrong, but
 * accepted.
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
 * 0x80 in each of the 8 bytes that is '\n' or lower. No byte carries into the
 * next.
 */
static inline uint64_t marks_of(uint64_t v)
{
	const uint64_t ones = 0x0101010101010101;

	v |= (v & 0x7f * ones) + (0x7f - '\n') * ones;
	return ~v & 0x80 * ones;
}

/* Goes from one '\n' or lower byte to the next. */
struct walk {
	const char *at, *end; /* bytes not scanned yet */
	uint64_t marks; /* of the 8 bytes before at */
};

/*
 * Returns the next such byte, or NULL. May read the 8 bytes before end,
 * wherever at is.
 */
static inline const char *walk_next(struct walk *w)
{
	const char *at = w->at;
	uint64_t marks = w->marks, v;
	int64_t left;

	while (!marks) {
		left = w->end - at;
		if (left <= 0)
			return NULL;
		memcpy(&v, left < 8 ? w->end - 8 : at, 8);
		/* The bytes shifted in are 0xff: no marks. */
		if (left < 8)
			v = ~(~v >> 8 * (8 - left));
		marks = marks_of(v);
		at += 8;
	}
	w->at = at;
	w->marks = marks & (marks - 1);
	return at - 8 + __builtin_ctzll(marks) / 8;
}

/*
 * Parses lines from p up to the empty one. Returns their bytes with it,
 * -EAGAIN, or -EPROTO. A line without a colon is skipped, as by many peers; a
 * NUL is refused, as by all. The 8 bytes before end must be readable: a first
 * line precedes p.
 */
static ssize_t parse_fields(const char *p, const char *end,
			    struct http1_head *h)
{
	struct walk w = { .at = p, .end = end };
	const char *line = p, *nl;

	while ((nl = walk_next(&w))) {
		if (*nl == '\0')
			return -EPROTO;
		if (*nl != '\n')
			continue;
		if (nl == line || (nl == line + 1 && *line == '\r'))
			return nl + 1 - p;
		parse_line(line, nl, h);
		line = nl + 1;
	}
	return -EAGAIN;
}

/*
 * Parses the method and the space after it. Returns the offset of the target,
 * -EAGAIN or -EPROTO.
 */
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

/*
 * Parses the request line at buf. Returns its bytes with its end; -EAGAIN: it
 * does not end yet, and is valid so far; -EPROTO.
 */
static ssize_t parse_request_line(const char *buf, size_t len,
				  struct http1_head *out)
{
	ssize_t target = parse_method(buf, len, out);
	const char *limit = buf + len, *p, *end, *next;

	if (target < 0)
		return target;
	p = buf + target;
	end = find_control(p, limit);
	next = end < limit && *end == '\r' ? end + 1 : end;
	if (next == limit)
		return -EAGAIN;
	if (*next != '\n')
		return -EPROTO;
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
	return out->target.len ? next + 1 - buf : -EPROTO;
}

ssize_t http1_parse_request(const char *buf, size_t len, struct http1_head *out)
{
	ssize_t line, n;

	memset(out, 0, sizeof(*out));
	line = parse_request_line(buf, len, out);
	if (line < 0)
		return line;
	n = parse_fields(buf + line, buf + len, out);
	return n < 0 ? n : line + n;
}

/*
 * Parses "HTTP/1.1 200" and checks the byte after it. 0, -EAGAIN or -EPROTO.
 * RFC 9110 15: a status from 600 on is invalid, and to be handled as 5xx.
 */
static int parse_status_line(const char *buf, size_t len,
			     struct http1_head *out)
{
	static const char shape[] = "HTTP/1.d ddd";
	const size_t n = sizeof(shape) - 1;
	size_t i = 0;

	/* Nearly every response: no need to check each byte. */
	if (len > n && memcmp(buf, "HTTP/1.1 200 ", 13) == 0)
		i = n;
	for (; i < len && i < n; i++) {
		if (shape[i] == 'd' ? buf[i] < '0' || buf[i] > '9'
				    : buf[i] != shape[i])
			return -EPROTO;
		if (i == 9 && buf[i] < '1')
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
	int err;

	memset(out, 0, sizeof(*out));
	err = parse_status_line(buf, len, out);
	/* The status line is not a header line, so parse_fields() skips it. */
	return err ? err : parse_fields(buf, buf + len, out);
}

int http1_parse_request_cut(const char *buf, size_t len, struct http1_head *out)
{
	const char *end = buf + len, *p, *stop;
	ssize_t n;

	memset(out, 0, sizeof(*out));
	n = parse_request_line(buf, len, out);
	if (n > 0) {
		if (parse_fields(buf + n, end, out) == -EPROTO)
			return -EPROTO;
		if (out->framing == HTTP1_FRAMING_NONE)
			out->framing = HTTP1_FRAMING_UNKNOWN;
		return 0;
	}
	if (n != -EAGAIN || !out->method.data)
		return -EPROTO;
	/* The rest is a target without control characters. */
	p = out->method.data + out->method.len + 1;
	if (end[-1] == '\r')
		end--;
	stop = memchr(p, ' ', (size_t)(end - p));
	out->target_cut = !stop;
	out->target = (struct slice){ p, (size_t)((stop ? stop : end) - p) };
	if (out->target.len == 0)
		return -EPROTO;
	out->version = 11;
	out->framing = HTTP1_FRAMING_UNKNOWN;
	return 0;
}

static struct slice next_word(const char **p, const char *end)
{
	struct slice w;

	while (*p < end && is_blank(**p))
		++*p;
	w.data = *p;
	while (*p < end && (uint8_t) * *p > ' ' && **p != 0x7f)
		++*p;
	w.len = (size_t)(*p - w.data);
	return w;
}

void http1_parse_request_odd(const char *buf, size_t len,
			     struct http1_head *out)
{
	const char *p = buf, *end = buf + len;
	size_t i = 0;

	memset(out, 0, sizeof(*out));
	out->version = 10;
	out->framing = HTTP1_FRAMING_UNKNOWN;
	out->method = next_word(&p, end);
	while (i < out->method.len && token_char[(uint8_t)buf[i]])
		i++;
	if (i < out->method.len || i > HTTP1_METHOD_MAX)
		out->method.len = 0;
	else
		out->target = next_word(&p, end);
}

#define PROXY_LINE_MAX 107

ssize_t http1_proxy_line(const char *buf, size_t len)
{
	static const char start[] = "PROXY ";
	const size_t n = sizeof(start) - 1;
	const char *nl;

	if (memcmp(buf, start, len < n ? len : n) != 0)
		return 0;
	nl = memchr(buf, '\n', len < PROXY_LINE_MAX ? len : PROXY_LINE_MAX);
	if (nl)
		return nl + 1 - buf;
	return len < PROXY_LINE_MAX ? -EAGAIN : 0;
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
