/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/expose/render_stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

struct render_stream {
	struct expose *x; /* NULL: the last piece is rendered */
	const struct snapshot *s;
	void (*rele)(const struct snapshot *s);
	struct buf piece; /* the piece being read */
	size_t at; /* offset in piece of the next byte to read */
	struct buf plain; /* input of the compression */
	bool gzip;
	z_stream z;
};

int render_stream_new(struct render_stream **out, struct expose *x,
		      const struct snapshot *s,
		      void (*rele)(const struct snapshot *s), struct buf *first)
{
	struct render_stream *st = calloc(1, sizeof(*st));

	if (!st)
		return -ENOMEM;
	st->x = x;
	st->s = s;
	st->rele = rele;
	st->piece = *first;
	*first = (struct buf){ 0 };
	*out = st;
	return 0;
}

static void all_made(struct render_stream *st)
{
	if (st->s)
		st->rele(st->s);
	expose_free(st->x);
	st->s = NULL;
	st->x = NULL;
}

void render_stream_free(struct render_stream *st)
{
	if (!st)
		return;
	all_made(st);
	if (st->gzip)
		deflateEnd(&st->z);
	buf_fini(&st->piece);
	buf_fini(&st->plain);
	free(st);
}

/* Compresses plain and appends the result to piece. */
static int compress_piece(struct render_stream *st, bool last)
{
	struct buf *to = &st->piece;

	st->z.next_in = (Bytef *)st->plain.data;
	st->z.avail_in = (uInt)st->plain.len;
	do {
		st->z.next_out = buf_reserve(to, RENDER_PIECE_BYTES / 8);
		if (!st->z.next_out)
			return to->err;
		st->z.avail_out = RENDER_PIECE_BYTES / 8;
		deflate(&st->z, last ? Z_FINISH : Z_NO_FLUSH);
		to->len += RENDER_PIECE_BYTES / 8 - st->z.avail_out;
	} while (st->z.avail_out == 0);
	return 0;
}

int render_stream_gzip(struct render_stream *st)
{
	/* 15 + 16: the largest window, with the gzip header. */
	if (deflateInit2(&st->z, 1, Z_DEFLATED, 15 + 16, 8,
			 Z_DEFAULT_STRATEGY) != Z_OK)
		return -ENOMEM;
	st->gzip = true;
	st->plain = st->piece;
	st->piece = (struct buf){ 0 };
	return compress_piece(st, !st->x);
}

ssize_t render_stream_read(struct render_stream *st, void *to, size_t max)
{
	size_t left = st->piece.len - st->at;

	if (left == 0)
		return st->x ? -EAGAIN : 0;
	if (left > max)
		left = max;
	memcpy(to, st->piece.data + st->at, left);
	st->at += left;
	return (ssize_t)left;
}

/* Empties b for reuse; frees it if it is large, as after the first piece. */
static void empty(struct buf *b)
{
	if (b->cap > 4 * RENDER_PIECE_BYTES)
		buf_fini(b);
	buf_reset(b);
}

int render_stream_more(struct render_stream *st)
{
	struct buf *to = st->gzip ? &st->plain : &st->piece;
	int more;

	empty(&st->piece);
	empty(&st->plain);
	st->at = 0;
	/* zlib may hold back all of its output: repeat until it gives some. */
	do {
		buf_reset(to);
		more = expose_next(st->x, to, RENDER_PIECE_BYTES);
		if (more < 0)
			return more;
		if (more == 0)
			all_made(st);
		if (st->gzip && compress_piece(st, more == 0) < 0)
			return st->piece.err;
	} while (st->piece.len == 0 && st->x);
	return 0;
}
