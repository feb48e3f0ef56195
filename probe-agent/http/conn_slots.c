/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/http/conn_slots.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int conn_slots_init(struct conn_slots *s, uint32_t max)
{
	unsigned bits = 4;

	s->max = max;
	while ((1u << bits) < max)
		bits++;
	s->shift = 64 - bits;
	s->buckets = calloc((size_t)1 << bits, sizeof(*s->buckets));
	s->slabs = calloc(max / CONN_SLOTS_SLAB + 1, sizeof(*s->slabs));
	return s->buckets && s->slabs ? 0 : -ENOMEM;
}

void conn_slots_fini(struct conn_slots *s)
{
	for (uint32_t i = 0; s->slabs && i * CONN_SLOTS_SLAB < s->n; i++)
		free(s->slabs[i]);
	free(s->slabs);
	free(s->buckets);
}

uint32_t conn_slots_victim(struct conn_slots *s)
{
	for (;;) {
		uint32_t i = s->hand;
		struct conn *c = conn_slots_at(s, i);

		s->hand = (i + 1) % s->n;
		if (!c->used)
			return i;
		c->used = false;
	}
}

static int take_slot(struct conn_slots *s, uint32_t *index)
{
	char **slab;

	if (s->free) {
		*index = s->free - 1;
		s->free = conn_slots_at(s, *index)->hash_next;
		return 0;
	}
	slab = &s->slabs[s->n / CONN_SLOTS_SLAB];
	if (!*slab)
		*slab = calloc(CONN_SLOTS_SLAB, HTTP_PROTO_CONN_BYTES);
	if (!*slab)
		return -ENOMEM;
	*index = s->n++;
	return 0;
}

int conn_slots_add(struct conn_slots *s, uint64_t sock, uint32_t *index)
{
	int err = take_slot(s, index);
	uint32_t *bucket;
	struct conn *c;

	if (err)
		return err;
	c = conn_slots_at(s, *index);
	c->sock = sock;
	bucket = conn_slots_bucket(s, sock);
	c->hash_next = *bucket;
	*bucket = *index + 1;
	s->n_live++;
	return 0;
}

void conn_slots_drop(struct conn_slots *s, uint32_t index)
{
	struct conn *c = conn_slots_at(s, index);
	uint32_t *link = conn_slots_bucket(s, c->sock);

	while (*link != index + 1)
		link = &conn_slots_at(s, *link - 1)->hash_next;
	*link = c->hash_next;
	memset(c, 0, HTTP_PROTO_CONN_BYTES);
	c->hash_next = s->free;
	s->free = index + 1;
	s->n_live--;
}
