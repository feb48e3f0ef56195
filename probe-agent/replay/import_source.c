/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/replay/import_source.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define RAW_BYTES 65536u
#define UTF8_MOST 4u /* bytes that a code point may take */

enum coding { CODING_BYTES, CODING_UTF16LE, CODING_UTF16BE };

struct import_source {
	FILE *in;
	enum coding coding;
	bool ended;
	int err;
	char *text; /* IMPORT_LINE_MAX bytes, and one for a NUL */
	size_t at, end; /* of what is not taken yet */
	/* UTF-16 only. */
	uint8_t *raw;
	size_t n_raw; /* bytes of raw that are not converted yet */
	const char *packed;
};

/* --- reading --- */

static size_t put_utf8(char *out, uint32_t c)
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (char)(0xe0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 0x3f));
		out[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 0x3f));
	out[2] = (char)(0x80 | (c >> 6 & 0x3f));
	out[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

static uint32_t unit_at(const struct import_source *s, size_t i)
{
	uint32_t a = s->raw[i], b = s->raw[i + 1];

	return s->coding == CODING_UTF16LE ? b << 8 | a : a << 8 | b;
}

/*
 * Converts what raw holds, but for half a unit or half a pair at its end. A
 * lone half of a pair becomes U+FFFD.
 */
static void convert(struct import_source *s)
{
	size_t i = 0;

	while (i + 2 <= s->n_raw && s->end + UTF8_MOST <= IMPORT_LINE_MAX) {
		uint32_t c = unit_at(s, i), low;

		if (c >= 0xd800 && c < 0xdc00) {
			if (i + 4 > s->n_raw && !s->ended)
				break;
			low = i + 4 <= s->n_raw ? unit_at(s, i + 2) : 0;
			if (low >= 0xdc00 && low < 0xe000) {
				c = 0x10000 + ((c - 0xd800) << 10) +
				    (low - 0xdc00);
				i += 2;
			}
		}
		if (c >= 0xd800 && c < 0xe000)
			c = 0xfffd;
		s->end += put_utf8(s->text + s->end, c);
		i += 2;
	}
	s->n_raw -= i;
	memmove(s->raw, s->raw + i, s->n_raw);
}

static size_t read_bytes(struct import_source *s, void *to, size_t n)
{
	size_t got = fread(to, 1, n, s->in);

	if (got < n) {
		s->ended = true;
		if (ferror(s->in))
			s->err = -EIO;
	}
	return got;
}

/* Fills the buffer behind what it has. Returns false if nothing was added. */
static bool fill_text(struct import_source *s)
{
	size_t before;

	if (s->at > 0) {
		memmove(s->text, s->text + s->at, s->end - s->at);
		s->end -= s->at;
		s->at = 0;
	}
	before = s->end;
	if (s->coding == CODING_BYTES) {
		if (!s->ended)
			s->end += read_bytes(s, s->text + s->end,
					     IMPORT_LINE_MAX - s->end);
		return s->end > before;
	}
	while (s->end + UTF8_MOST <= IMPORT_LINE_MAX) {
		size_t had = s->end;

		if (!s->ended)
			s->n_raw += read_bytes(s, s->raw + s->n_raw,
					       RAW_BYTES - s->n_raw);
		convert(s);
		if (s->end == had)
			break;
	}
	return s->end > before;
}

/* --- opening --- */

static const char *packed_with(const char *p, size_t n)
{
	static const struct {
		const char *name, *magic;
		size_t len;
	} known[] = {
		{ "gzip", "\x1f\x8b", 2 },
		{ "zstd", "\x28\xb5\x2f\xfd", 4 },
		{ "bzip2", "BZh", 3 },
		{ "xz",
		  "\xfd"
		  "7zXZ",
		  5 },
		{ "zip", "PK\x03\x04", 4 },
		{ "lz4", "\x04\x22\x4d\x18", 4 },
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (n >= known[i].len &&
		    memcmp(p, known[i].magic, known[i].len) == 0)
			return known[i].name;
	return NULL;
}

static int begin_utf16(struct import_source *s, enum coding coding)
{
	size_t n = s->end - 2;

	/* The buffer was filled with bytes that are still to be converted. */
	s->raw = malloc(n > RAW_BYTES ? n : RAW_BYTES);
	if (!s->raw)
		return -ENOMEM;
	memcpy(s->raw, s->text + 2, n);
	s->n_raw = n;
	s->coding = coding;
	s->at = s->end = 0;
	return 0;
}

static int begin_source(struct import_source *s)
{
	/* What is converted must not outgrow the buffer for bytes. */
	size_t n = read_bytes(s, s->text, RAW_BYTES);
	int err = 0;

	s->end = n;
	s->packed = packed_with(s->text, n);
	if (n >= 3 && memcmp(s->text, "\xef\xbb\xbf", 3) == 0)
		s->at = 3;
	else if (n >= 2 && memcmp(s->text, "\xff\xfe", 2) == 0)
		err = begin_utf16(s, CODING_UTF16LE);
	else if (n >= 2 && memcmp(s->text, "\xfe\xff", 2) == 0)
		err = begin_utf16(s, CODING_UTF16BE);
	if (err)
		return err;
	fill_text(s);
	return s->err;
}

int import_source_new(struct import_source **out, FILE *in)
{
	struct import_source *s = calloc(1, sizeof(*s));
	int err;

	if (!s)
		return -ENOMEM;
	s->in = in;
	s->text = malloc((size_t)IMPORT_LINE_MAX + 1);
	err = s->text ? begin_source(s) : -ENOMEM;
	if (err) {
		import_source_free(s);
		return err;
	}
	*out = s;
	return 0;
}

void import_source_free(struct import_source *s)
{
	if (!s)
		return;
	free(s->text);
	free(s->raw);
	free(s);
}

const char *import_source_sample(const struct import_source *s, size_t *len)
{
	*len = s->end - s->at;
	return s->text + s->at;
}

const char *import_source_packed(const struct import_source *s)
{
	return s->packed;
}

/* --- taking --- */

/* Drops what comes up to the end of the line. */
static int skip_line(struct import_source *s)
{
	char *newline;

	do {
		newline = memchr(s->text + s->at, '\n', s->end - s->at);
		s->at = newline ? (size_t)(newline - s->text) + 1 : s->end;
	} while (!newline && fill_text(s));
	return s->err ? s->err : -EMSGSIZE;
}

int import_source_line(struct import_source *s, char **line, size_t *len)
{
	char *newline = NULL;
	size_t seen = 0;

	for (;;) {
		size_t n = s->end - s->at;

		newline = memchr(s->text + s->at + seen, '\n', n - seen);
		if (newline)
			break;
		seen = n;
		if (s->at == 0 && s->end + UTF8_MOST > IMPORT_LINE_MAX)
			return skip_line(s);
		if (!fill_text(s))
			break;
	}
	if (s->err)
		return s->err;
	if (!newline && s->at == s->end)
		return 0;
	*line = s->text + s->at;
	*len = newline ? (size_t)(newline - *line) : s->end - s->at;
	s->at += *len + (newline ? 1 : 0);
	(*line)[*len] = '\0';
	if (*len > 0 && (*line)[*len - 1] == '\r')
		(*line)[--*len] = '\0';
	return 1;
}

int import_source_part(struct import_source *s, const char **data, size_t *len)
{
	if (s->at == s->end && !fill_text(s))
		return s->err;
	*data = s->text + s->at;
	*len = s->end - s->at;
	s->at = s->end;
	return *len > 0;
}
