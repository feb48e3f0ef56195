/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_FOLD_POOL_H
#define AGGREGATOR_FOLD_POOL_H

#include <stddef.h>

/*
 * Memory that is given back all at once and does not move until then. After a
 * reset up to POOL_KEPT_BYTES stay allocated for reuse. Not locked.
 */
#define POOL_KEPT_BYTES ((size_t)16 << 20)

struct pool_chunk;

struct pool {
	struct pool_chunk *first, *now;
};

/* A pool is empty when it is all zero; it needs no init. */
void pool_fini(struct pool *p);

/* Returns memory aligned to 16 bytes, not cleared. NULL: out of memory. */
void *pool_take(struct pool *p, size_t bytes);
/* Shrinks the allocation that was taken last to its first `bytes` bytes. */
void pool_shrink(struct pool *p, const void *last, size_t bytes);
/* Gives back everything. */
void pool_reset(struct pool *p);

#endif /* AGGREGATOR_FOLD_POOL_H */
