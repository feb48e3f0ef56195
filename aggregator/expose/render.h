/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_EXPOSE_RENDER_H
#define AGGREGATOR_EXPOSE_RENDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "aggregator/expose/expose.h"

/*
 * Renderings that scrapes share. A request may have any rendering whose
 * snapshot was taken after the request came in: no staler than one of its own.
 * Only if rendering takes more than a third of a core, as under a flood of
 * scrapes, one of the last RENDER_STALE_MS is good enough too.
 *
 * What is larger than keep_bytes is not kept nor shared: its one reader gets it
 * in pieces, made as they are read, so its size costs no memory.
 *
 * Finished renderings live as long as somebody reads them, but all of them
 * together hold at most the budget: beyond it the oldest loses its memory at
 * once and its readers get -ESTALE. Any thread; render_get() blocks while it
 * renders, one at a time for each format.
 */
struct render;
struct rendering;

#define RENDER_STALE_MS 500
#define RENDER_MAX_BYTES (1u << 30) /* of a piece: of a family of protobuf */
#define RENDER_KEEP_BYTES (16u << 20) /* larger: in pieces */
#define RENDER_STREAMS 4u /* in pieces at once; more: -EBUSY */
#define RENDER_BUDGET_BYTES (64u << 20) /* and at least three renderings */

struct render_options {
	const struct snapshot *(*take)(void *arg);
	void (*rele)(const struct snapshot *s);
	/* Fills in what it knows: http, connections, config … */
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
 * Sets *out, released by rendering_rele(). arrived_ns: clock_mono_ns() when the
 * request came in. -ENOMEM, -EMSGSIZE, -EBUSY: counted.
 */
int render_get(struct render *r, enum expose_format format, bool gzip,
	       uint64_t arrived_ns, struct rendering **out);
void rendering_rele(struct rendering *g); /* NULL is fine */

#define RENDERING_IN_PIECES SIZE_MAX
size_t rendering_len(const struct rendering *g);
/*
 * Copies up to max bytes from offset. How many, or -ESTALE: cut off. In pieces:
 * what follows, whatever the offset; 0: that was all; -EAGAIN: first call
 * rendering_more(), which renders.
 */
ssize_t rendering_read(struct rendering *g, size_t offset, void *to,
		       size_t max);
int rendering_more(struct rendering *g); /* -ENOMEM, -EMSGSIZE */

#endif /* AGGREGATOR_EXPOSE_RENDER_H */
