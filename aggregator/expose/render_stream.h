/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_EXPOSE_RENDER_STREAM_H
#define AGGREGATOR_EXPOSE_RENDER_STREAM_H

#include <sys/types.h>

#include "aggregator/expose/expose.h"

/*
 * A rendering that is too large to keep: made piece by piece, as its one reader
 * takes them, out of a snapshot of its own. Not locked: whoever reads does not
 * while another makes the next piece.
 */
struct render_stream;

#define RENDER_PIECE_BYTES (1u << 20)

/*
 * Takes over x, s and the first piece, which is emptied. Sets *out, released by
 * render_stream_free(). -ENOMEM: then they are the caller's still.
 */
int render_stream_new(struct render_stream **out, struct expose *x,
		      const struct snapshot *s,
		      void (*rele)(const struct snapshot *s),
		      struct buf *first);
void render_stream_free(struct render_stream *st); /* NULL is fine */

/* From now on compressed; before anything is read. -ENOMEM, -EMSGSIZE. */
int render_stream_gzip(struct render_stream *st);

/* Up to max bytes; 0: that was all; -EAGAIN: make the next piece first. */
ssize_t render_stream_read(struct render_stream *st, void *to, size_t max);

/* Makes the next piece, which takes its time. -ENOMEM, -EMSGSIZE. */
int render_stream_more(struct render_stream *st);

#endif /* AGGREGATOR_EXPOSE_RENDER_STREAM_H */
