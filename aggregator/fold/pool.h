/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_FOLD_POOL_H
#define AGGREGATOR_FOLD_POOL_H

#include <stddef.h>

/*
 * Memory that is given back all at once, and stays where it is until then. What
 * one round took is kept for the next, up to POOL_KEPT_BYTES. Not locked.
 */
#define POOL_KEPT_BYTES ((size_t)16 << 20)

struct pool_chunk;

struct pool {
	struct pool_chunk *first, *now;
};

/* All zero is an empty pool. */
void pool_fini(struct pool *p);

/* Aligned to 16 bytes, not cleared. NULL: out of memory. */
void *pool_take(struct pool *p, size_t bytes);
/* Gives back the end of what was taken last: all but so many bytes. */
void pool_shrink(struct pool *p, const void *last, size_t bytes);
/* Gives back all. */
void pool_reset(struct pool *p);

#endif /* AGGREGATOR_FOLD_POOL_H */
