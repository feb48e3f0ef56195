/* SPDX-License-Identifier: Apache-2.0 */
#include "common/hash_index.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int hash_index_init(struct hash_index *x, size_t slots)
{
	x->slot = calloc(slots, sizeof(*x->slot));
	x->mask = slots - 1;
	x->n = 0;
	return x->slot ? 0 : -ENOMEM;
}

void hash_index_fini(struct hash_index *x)
{
	free(x->slot);
	x->slot = NULL;
}

void hash_index_clear(struct hash_index *x)
{
	memset(x->slot, 0, (x->mask + 1) * sizeof(*x->slot));
	x->n = 0;
}

static void place_entry(struct hash_index *x, uint64_t hash, uint32_t entry)
{
	size_t at = hash & x->mask;

	while (x->slot[at])
		at = (at + 1) & x->mask;
	x->slot[at] = entry + 1;
}

int hash_index_reserve(struct hash_index *x, hash_index_hash_fn hash_of,
		       const void *arg)
{
	struct hash_index bigger;

	if ((x->n + 1) * 2 <= x->mask + 1)
		return 0;
	if (hash_index_init(&bigger, 2 * (x->mask + 1)))
		return -ENOMEM;
	for (size_t i = 0; i <= x->mask; i++)
		if (x->slot[i])
			place_entry(&bigger, hash_of(arg, x->slot[i] - 1),
				    x->slot[i] - 1);
	bigger.n = x->n;
	free(x->slot);
	*x = bigger;
	return 0;
}

void hash_index_put(struct hash_index *x, uint64_t hash, uint32_t entry)
{
	place_entry(x, hash, entry);
	x->n++;
}
