/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/batch/packer_conns.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "probe-agent/batch/intern.h"
#include "proto/limits.h"

#define END_BYTES 18u
#define SLOTS (4u * BATCH_EVENTS) /* a power of two */

struct packer_conns {
	uint32_t n;
	uint8_t local[BATCH_EVENTS][END_BYTES];
	uint8_t remote[BATCH_EVENTS][END_BYTES];
	uint32_t used[BATCH_EVENTS]; /* the slot of each row */
	uint32_t stream[BATCH_EVENTS + 1]; /* the last one, by row + 1 */
	uint32_t last; /* row + 1 of the previous event; 0: none */
	uint16_t slot[SLOTS]; /* row + 1; 0: empty */
};

static_assert(BATCH_EVENTS < UINT16_MAX, "a row fits in a slot");

int packer_conns_new(struct packer_conns **out)
{
	*out = calloc(1, sizeof(**out));
	return *out ? 0 : -ENOMEM;
}

void packer_conns_free(struct packer_conns *t)
{
	free(t);
}

void packer_conns_reset(struct packer_conns *t)
{
	for (uint32_t i = 0; i < t->n; i++)
		t->slot[t->used[i]] = 0;
	memset(t->stream, 0, (t->n + 1) * sizeof(*t->stream));
	t->n = t->last = 0;
}

/* An IPv4-mapped address is written as IPv4: ::ffff:10.0.0.1 as 10.0.0.1. */
static void put_end(const struct packer_end *e, uint8_t out[END_BYTES])
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

	memcpy(out, e->address, 16);
	if (!memcmp(e->address, mapped, sizeof(mapped))) {
		memcpy(out, e->address + 12, 4);
		memset(out + 4, 0, 12);
	}
	out[16] = (uint8_t)(e->port >> 8);
	out[17] = (uint8_t)e->port;
}

static uint64_t word(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static bool same(const struct packer_conns *t, uint32_t row,
		 const uint8_t *local, const uint8_t *remote)
{
	return !memcmp(t->local[row], local, END_BYTES) &&
	       !memcmp(t->remote[row], remote, END_BYTES);
}

uint32_t packer_conns_row(struct packer_conns *t, const struct packer_end *l,
			  const struct packer_end *r)
{
	uint8_t local[END_BYTES], remote[END_BYTES];
	uint64_t h;
	uint32_t i;

	if (!l->address || !r->address)
		return 0;
	put_end(l, local);
	put_end(r, remote);
	if (t->last && same(t, t->last - 1, local, remote))
		return t->last;
	h = intern_mix(word(local), word(remote));
	h = intern_mix(h ^ word(local + 8), word(remote + 8));
	h = intern_mix(h, (uint64_t)l->port << 16 | r->port);
	for (i = (uint32_t)h & (SLOTS - 1); t->slot[i];
	     i = (i + 1) & (SLOTS - 1))
		if (same(t, t->slot[i] - 1u, local, remote))
			return t->last = t->slot[i];
	if (t->n == BATCH_EVENTS)
		return 0;
	memcpy(t->local[t->n], local, END_BYTES);
	memcpy(t->remote[t->n], remote, END_BYTES);
	t->used[t->n] = i;
	t->slot[i] = (uint16_t)++t->n;
	return t->last = t->n;
}

uint32_t packer_conns_stream(struct packer_conns *t, uint32_t row,
			     uint32_t stream)
{
	return batch_stream_put(&t->stream[row], stream);
}

bool packer_conns_table(const struct packer_conns *t, struct batch_events *out)
{
	if (t->n == 0)
		return false;
	out->n_connections = t->n;
	out->connection_local = t->local[0];
	out->connection_remote = t->remote[0];
	return true;
}
