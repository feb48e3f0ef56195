/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROTO_BATCH_ARENA_H
#define PROTO_BATCH_ARENA_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>

#include "proto/batch.h"

/* The inside of the arena of batch.h, for batch.c only. */

struct block;

struct batch_arena {
	struct block *first; /* kept for the next batch */
	struct block *extra; /* more blocks, of this batch only */
	size_t total; /* bytes given since the last reset */
	size_t begun; /* of these, before the current batch */
	bool out_of_memory; /* an allocation failed, but not by the limit */
	ProtobufCAllocator allocator;
};

/* Of the type that protobuf-c needs. NULL: over the limit, or no memory. */
void *batch_arena_alloc(void *arena, size_t size);
/* The size that p was requested with from batch_arena_alloc(). */
size_t batch_arena_size(const void *p);
/* What follows is given to another batch, with a limit of its own. */
void batch_arena_begin(struct batch_arena *a);

#endif /* PROTO_BATCH_ARENA_H */
