/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "probe-agent/http/http1.h"

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
	if (ch->state == CHUNK_SIZE && c != ';' && c != '\r' && c != ' ' &&
	    c != '\t')
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
