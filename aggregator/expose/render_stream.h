/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_EXPOSE_RENDER_STREAM_H
#define AGGREGATOR_EXPOSE_RENDER_STREAM_H

#include <sys/types.h>

#include "aggregator/expose/expose.h"

/*
 * A rendering that is too large to keep. It owns a snapshot and renders it in
 * pieces, as its one reader takes them. Not locked: the caller must not read
 * while another thread makes the next piece.
 */
struct render_stream;

#define RENDER_PIECE_BYTES (1u << 20)

/*
 * Takes over x, s and the contents of first, the first piece. Sets *out,
 * released by render_stream_free(). -ENOMEM: the caller still owns all three.
 */
int render_stream_new(struct render_stream **out, struct expose *x,
		      const struct snapshot *s,
		      void (*rele)(const struct snapshot *s),
		      struct buf *first);
void render_stream_free(struct render_stream *st); /* NULL is fine */

/* Turns compression on; call before the first read. -ENOMEM, -EMSGSIZE. */
int render_stream_gzip(struct render_stream *st);

/*
 * Copies up to max bytes. Returns their number, 0 at the end. -EAGAIN: call
 * render_stream_more() first.
 */
ssize_t render_stream_read(struct render_stream *st, void *to, size_t max);

/* Renders the next piece; takes as long as rendering. -ENOMEM, -EMSGSIZE. */
int render_stream_more(struct render_stream *st);

#endif /* AGGREGATOR_EXPOSE_RENDER_STREAM_H */
