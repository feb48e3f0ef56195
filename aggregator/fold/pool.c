/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/fold/pool.h"

#include <stdlib.h>

#define CHUNK_BYTES ((size_t)1 << 20)
#define ALIGN 16u

struct pool_chunk {
	struct pool_chunk *next;
	size_t cap, used;
	_Alignas(ALIGN) char data[];
};

static size_t rounded(size_t bytes)
{
	return (bytes + ALIGN - 1) / ALIGN * ALIGN;
}

void pool_fini(struct pool *p)
{
	while (p->first) {
		struct pool_chunk *c = p->first;

		p->first = c->next;
		free(c);
	}
	p->now = NULL;
}

/*
 * Moves on to the chunk after the one in use; allocates and inserts a new one
 * if there is none or it is too small.
 */
static struct pool_chunk *advance(struct pool *p, size_t bytes)
{
	struct pool_chunk **at = p->now ? &p->now->next : &p->first;
	struct pool_chunk *c = *at;

	if (!c || c->cap < bytes) {
		size_t cap = bytes > CHUNK_BYTES ? bytes : CHUNK_BYTES;

		c = malloc(sizeof(*c) + cap);
		if (!c)
			return NULL;
		c->next = *at;
		c->cap = cap;
		*at = c;
	}
	c->used = 0;
	p->now = c;
	return c;
}

void *pool_take(struct pool *p, size_t bytes)
{
	struct pool_chunk *c = p->now;
	void *out;

	bytes = rounded(bytes);
	if (!c || c->cap - c->used < bytes)
		c = advance(p, bytes);
	if (!c)
		return NULL;
	out = c->data + c->used;
	c->used += bytes;
	return out;
}

void pool_shrink(struct pool *p, const void *last, size_t bytes)
{
	p->now->used =
		(size_t)((const char *)last - p->now->data) + rounded(bytes);
}

void pool_reset(struct pool *p)
{
	struct pool_chunk **at = &p->first;
	size_t kept = 0;

	while (*at) {
		struct pool_chunk *c = *at;

		if (kept + c->cap > POOL_KEPT_BYTES) {
			*at = c->next;
			free(c);
			continue;
		}
		kept += c->cap;
		at = &c->next;
	}
	p->now = NULL;
}
