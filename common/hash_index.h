/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_HASH_INDEX_H
#define COMMON_HASH_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Finds the entries of a caller's array by their hash: open addressing over
 * numbers of entries, at most half full. The caller compares keys and keeps the
 * hashes, or can make them again. Nothing is ever removed but by a clear. Not
 * locked.
 *
 * Some tables stay written by hand, each for one reason: series/intern.c (its
 * slots are pointers, one memory access less per look-up), batch/intern.c (a
 * reset per batch costs nothing, as slots have a generation), batch/rollup.c (a
 * slot is the cell itself), http/conn.c and identity.c (entries are removed one
 * by one), graph_state.c (entries hang in lists), route.c (slots are strings).
 */
struct hash_index {
	uint32_t *slot; /* entry + 1; 0: free */
	size_t mask; /* slots - 1; slots is a power of two */
	size_t n; /* entries */
};

/* slots: at first, a power of two. 0 or -ENOMEM. All zero may be fini'd. */
int hash_index_init(struct hash_index *x, size_t slots);
void hash_index_fini(struct hash_index *x);
void hash_index_clear(struct hash_index *x); /* keeps its room */

typedef uint64_t (*hash_index_hash_fn)(const void *arg, uint32_t entry);
/*
 * Makes room for one more entry. hash_of() gives the hash of an entry that is
 * in it. 0 or -ENOMEM.
 */
int hash_index_reserve(struct hash_index *x, hash_index_hash_fn hash_of,
		       const void *arg);
/* Adds an entry, after hash_index_reserve(). */
void hash_index_put(struct hash_index *x, uint64_t hash, uint32_t entry);

/*
 * Walks the entries that may have the hash:
 *
 *	size_t at = hash;
 *	while (hash_index_next(x, &at, &i))
 *		if (… entry i has the key …)
 */
static inline bool hash_index_next(const struct hash_index *x, size_t *at,
				   uint32_t *entry)
{
	uint32_t slot = x->slot[(*at)++ & x->mask];

	*entry = slot - 1;
	return slot != 0;
}

/* Asks the CPU to fetch what hash_index_next() will read first. */
static inline void hash_index_ask(const struct hash_index *x, uint64_t hash)
{
	__builtin_prefetch(&x->slot[hash & x->mask]);
}

#endif /* COMMON_HASH_INDEX_H */
