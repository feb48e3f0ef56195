/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROTO_BATCH_ARENA_H
#define PROTO_BATCH_ARENA_H

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>

/* The inside of the arena of batch.h, for batch.c only. */

struct block;

struct batch_arena {
	struct block *first; /* the one that is kept */
	struct block *extra; /* of this batch only */
	size_t total; /* handed out for this batch */
	ProtobufCAllocator allocator;
};

/* As protobuf-c asks for it; arg is the arena. NULL: no more. */
void *batch_arena_alloc(void *arena, size_t size);
/* How much was asked for at p, which came from batch_arena_alloc(). */
size_t batch_arena_size(const void *p);
/* Forgets the last batch. */
void batch_arena_reset(struct batch_arena *a);

#endif /* PROTO_BATCH_ARENA_H */
