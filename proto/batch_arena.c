/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/batch_arena.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/batch.h"

/*
 * Memory of one decoded batch: a bump allocator under protobuf-c. Only a reset
 * frees. What does not fit in the first block gets an extra block; the reset
 * grows the first block to the sum, so that after a few batches there is no
 * malloc at all.
 *
 *   | size (8 bytes) | size bytes … pad to 8 | size | …
 */
struct block {
	struct block *next;
	size_t cap, used;
	uint8_t data[];
};

#define ARENA_START (256u << 10)
/*
 * Most bytes for one batch. A message of LIMIT_MESSAGE_BYTES needs up to 8
 * bytes of column per byte, and protobuf-c about 40 bytes per unknown field,
 * which has at least two.
 */
#define ARENA_MAX (160u << 20)

static struct block *block_new(size_t cap)
{
	struct block *b = malloc(sizeof(*b) + cap);

	if (!b)
		return NULL;
	b->next = NULL;
	b->cap = cap;
	b->used = 0;
	return b;
}

static void *block_take(struct block *b, size_t whole, size_t size)
{
	uint8_t *p = b->data + b->used;

	memcpy(p, &size, sizeof(size));
	b->used += whole;
	return p + sizeof(size);
}

void *batch_arena_alloc(void *arg, size_t size)
{
	struct batch_arena *a = arg;
	size_t whole = sizeof(size_t) + (size + 7) / 8 * 8;
	struct block *b = a->first;

	if (size > ARENA_MAX || a->total - a->begun + whole > ARENA_MAX)
		return NULL;
	if (whole > b->cap - b->used) {
		b = a->extra;
		if (!b || whole > b->cap - b->used) {
			b = block_new(whole > ARENA_START ? whole
							  : ARENA_START);
			if (!b) {
				a->out_of_memory = true;
				return NULL;
			}
			b->next = a->extra;
			a->extra = b;
		}
	}
	a->total += whole;
	return block_take(b, whole, size);
}

static void arena_release(void *arg, void *p)
{
	(void)arg;
	(void)p;
}

/* The size that p was requested with from batch_arena_alloc(). */
size_t batch_arena_size(const void *p)
{
	size_t size;

	memcpy(&size, (const uint8_t *)p - sizeof(size), sizeof(size));
	return size;
}

static void arena_drop_extra(struct batch_arena *a)
{
	while (a->extra) {
		struct block *b = a->extra;

		a->extra = b->next;
		free(b);
	}
}

/* Forgets the last batch. An unusually large one does not grow a->first. */
void batch_arena_reset(struct batch_arena *a)
{
	size_t want = a->total + a->total / 4;

	if (a->extra && want < ARENA_MAX / 4) {
		struct block *b = block_new(want);

		if (b) {
			free(a->first);
			a->first = b;
		}
	}
	arena_drop_extra(a);
	a->first->used = 0;
	a->total = a->begun = 0;
	a->out_of_memory = false;
}

void batch_arena_begin(struct batch_arena *a)
{
	a->begun = a->total;
	a->out_of_memory = false;
}

size_t batch_arena_used(const struct batch_arena *a)
{
	return a->total;
}

int batch_arena_new(struct batch_arena **out)
{
	struct batch_arena *a = calloc(1, sizeof(*a));

	if (!a)
		return -ENOMEM;
	a->first = block_new(ARENA_START);
	if (!a->first) {
		free(a);
		return -ENOMEM;
	}
	a->allocator.alloc = batch_arena_alloc;
	a->allocator.free = arena_release;
	a->allocator.allocator_data = a;
	*out = a;
	return 0;
}

void batch_arena_free(struct batch_arena *a)
{
	if (!a)
		return;
	arena_drop_extra(a);
	free(a->first);
	free(a);
}
