/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_EXPOSE_RENDER_H
#define AGGREGATOR_EXPOSE_RENDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "aggregator/expose/expose.h"

/*
 * Renderings of the metrics, shared by scrapes. A request may use any rendering
 * whose snapshot was taken after the request arrived, as this is no staler than
 * a rendering of its own. If rendering takes more than a third of a core, as
 * under a flood of scrapes, one of the last RENDER_STALE_MS is used too.
 *
 * A rendering larger than keep_bytes is neither cached nor shared. Its one
 * reader gets it in pieces that are rendered as they are read, so memory does
 * not grow with its size.
 *
 * Other renderings live as long as they are cached or read. Together they hold
 * at most the budget; above it the oldest one that is not cached loses its
 * memory at once and its readers get -ESTALE.
 *
 * Any thread. render_get() blocks while it renders, one at a time per format.
 */
struct render;
struct rendering;

#define RENDER_STALE_MS 500
#define RENDER_MAX_BYTES (1u << 30) /* most that one piece may have */
#define RENDER_KEEP_BYTES (16u << 20) /* above this, render in pieces */
#define RENDER_STREAMS 4u /* renderings in pieces at once; then -EBUSY */
#define RENDER_BUDGET_BYTES (64u << 20) /* or three of the largest, if more */

struct render_options {
	const struct snapshot *(*take)(void *arg); /* NULL: out of memory */
	void (*rele)(const struct snapshot *s);
	/* Sets the fields that the web server knows: http, config … */
	void (*self)(void *arg, struct metrics_self *self);
	void *take_arg, *self_arg;
	size_t budget_bytes; /* 0: RENDER_BUDGET_BYTES */
	size_t keep_bytes; /* 0: RENDER_KEEP_BYTES */
};

/* Sets *out, released by render_free(). -ENOMEM. */
int render_new(struct render **out, const struct render_options *options);
/* Every rendering must have been released. NULL is fine. */
void render_free(struct render *r);

/*
 * Sets *out, released by rendering_rele(). arrived_ns: clock_mono_ns() at the
 * arrival of the request. -ENOMEM. -EMSGSIZE: over RENDER_MAX_BYTES. -EBUSY:
 * too many renderings in pieces. Failures are counted.
 */
int render_get(struct render *r, enum expose_format format, bool gzip,
	       uint64_t arrived_ns, struct rendering **out);
void rendering_rele(struct rendering *g); /* NULL is fine */

#define RENDERING_IN_PIECES SIZE_MAX /* the length is not known */
size_t rendering_len(const struct rendering *g);
/*
 * Copies up to max bytes from offset; a rendering in pieces ignores the offset
 * and continues where it stopped. Returns the number of bytes, 0 at the end.
 * -ESTALE: cut off. -EAGAIN: call rendering_more() first.
 */
ssize_t rendering_read(struct rendering *g, size_t offset, void *to,
		       size_t max);
/* Renders the next piece; takes as long as rendering. -ENOMEM, -EMSGSIZE. */
int rendering_more(struct rendering *g);

#endif /* AGGREGATOR_EXPOSE_RENDER_H */
