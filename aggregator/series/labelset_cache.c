/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/series/labelset_state.h"

/* The cache of the slots of label sets. */

#define CACHE_MAX 131072u /* label sets; when full, the cache is emptied */

/* The labels that a batch can have many values of. */
static const enum view_key many_valued[] = { LABEL_ROUTE, LABEL_ADDRESS };
#define MANY_VALUED 2u

static __attribute__((noinline)) uint32_t find_id(const struct labels *l,
						  struct series_label *v)
{
	if (!v->data)
		return 0;
	if (!v->interned)
		v->interned = intern_find(l->intern, v->data, v->len, v->hash);
	return v->interned ? v->interned->id : ID_NONE;
}

/*
 * Returns the id of v, 0 if v is absent. Remembers it in *id; ID_NONE is looked
 * up again, as the value may be interned by now.
 */
static inline uint32_t id_of(const struct labels *l, uint32_t *id,
			     struct series_label *v)
{
	if (*id == ID_NONE)
		*id = find_id(l, v);
	return *id;
}

static inline uint32_t id_of_string(struct labels *l, uint32_t i)
{
	if (l->id[i] == ID_NONE)
		l->id[i] = find_id(l, labels_string(l, i));
	return l->id[i];
}

/*
 * Makes the key of row i. Labels that are not in use are 0, so that they do not
 * distinguish keys. Returns false if some label in use is not interned; such a
 * row cannot be cached.
 */
static bool make_key(struct labels *l, size_t i, uint32_t *key)
{
	const struct batch_series *s = &l->batch->series;
	uint32_t resource = s->resource[i], role = s->role[i];
	uint32_t used = labels_used_by(l, role);
	bool known = true;

#define WORD(word, label, value)                                               \
	do {                                                                   \
		key[word] = used >> (label)&1 ? (value) : 0;                   \
		known &= key[word] != ID_NONE;                                 \
	} while (0)
	WORD(KEY_JOB, LABEL_JOB,
	     id_of(l, &l->job_id[resource], &l->job[resource]));
	WORD(KEY_INSTANCE, LABEL_INSTANCE,
	     id_of(l, &l->instance_id[resource], &l->instance[resource]));
	WORD(KEY_NODE, LABEL_NODE, id_of(l, &l->node_id, &l->node));
	WORD(KEY_SERVICE, LABEL_SERVICE,
	     id_of_string(l, l->batch->resources.service[resource]));
	WORD(KEY_METHOD, LABEL_METHOD, id_of_string(l, s->method[i]));
	if (key[KEY_METHOD] == 0)
		WORD(KEY_METHOD, LABEL_METHOD,
		     id_of(l, &l->other_method_id, &l->other_method));
	WORD(KEY_ROUTE, LABEL_ROUTE, id_of_string(l, s->route[i]));
	WORD(KEY_SCHEME, LABEL_SCHEME, id_of_string(l, s->scheme[i]));
	WORD(KEY_ADDRESS, LABEL_ADDRESS, id_of_string(l, s->address[i]));
#undef WORD
	key[KEY_PORT_STATUS] =
		(used >> LABEL_PORT & 1 ? s->port[i] : 0) << 16 | s->status[i];
	key[KEY_SMALL] = (uint32_t)batch_series_untimed(s, i) << 31 |
			 batch_series_rpc_status(s, i) << 24 |
			 batch_series_rpc(s, i) << 18 | role << 16 |
			 s->outcome[i] << 8 | s->version[i];
	return known;
}

static uint64_t key_hash(const uint32_t *key)
{
	uint64_t h = 0, pair;

	for (size_t i = 0; i < KEY_WORDS; i += 2) {
		memcpy(&pair, key + i, sizeof(pair));
		h = (h ^ pair) * 0x9e3779b97f4a7c15;
		h ^= h >> 32;
	}
	return h;
}

static uint64_t hash_entry(const void *labels, uint32_t i)
{
	const struct labels *l = labels;

	return key_hash(l->entry + i * l->stride);
}

/* --- a look-up, step by step --- */

void labels_ask_strings(struct labels *l, size_t row)
{
	const struct batch_series *s = &l->batch->series;
	uint32_t used = labels_used_by(l, s->role[row]);
	const uint32_t string[] = { s->route[row], s->address[row] };

	for (unsigned i = 0; i < MANY_VALUED; i++)
		if (used >> many_valued[i] & 1 && l->id[string[i]] == ID_NONE)
			intern_ask_place(l->intern,
					 labels_string(l, string[i])->hash);
}

void labels_ask_values(struct labels *l, size_t row)
{
	const struct batch_series *s = &l->batch->series;
	uint32_t used = labels_used_by(l, s->role[row]);
	const uint32_t string[] = { s->route[row], s->address[row] };

	for (unsigned i = 0; i < MANY_VALUED; i++)
		if (used >> many_valued[i] & 1 && l->id[string[i]] == ID_NONE)
			intern_ask_value(l->intern,
					 labels_string(l, string[i])->hash);
}

void labels_ask_place(struct labels *l, struct labels_lookup *x)
{
	x->known = make_key(l, x->row, x->key);
	x->hash = key_hash(x->key);
	hash_index_ask(&l->index, x->hash);
}

void labels_ask_entry(const struct labels *l, const struct labels_lookup *x)
{
	size_t at = x->hash;
	uint32_t k;

	/* Another entry may be in the way of the one that is looked for. */
	for (int i = 0; i < 2 && hash_index_next(&l->index, &at, &k); i++) {
		__builtin_prefetch(l->entry + k * l->stride);
		if (l->stride > LINE_WORDS)
			__builtin_prefetch(l->entry + k * l->stride +
					   LINE_WORDS);
	}
}

/* Rows before this one may have interned its labels since. */
static bool know_key(struct labels *l, struct labels_lookup *x)
{
	if (!x->known) {
		x->known = make_key(l, x->row, x->key);
		x->hash = key_hash(x->key);
	}
	return x->known;
}

const uint32_t *labels_cached(struct labels *l, struct labels_lookup *x)
{
	size_t at;
	uint32_t k;

	if (!know_key(l, x))
		return NULL;
	at = x->hash;
	while (hash_index_next(&l->index, &at, &k)) {
		const uint32_t *e = l->entry + k * l->stride;

		if (memcmp(e, x->key, sizeof(x->key)) == 0)
			return e + KEY_WORDS;
	}
	return NULL;
}

uint32_t *labels_scratch(struct labels *l)
{
	return l->scratch;
}

static int grow_entries(struct labels *l)
{
	size_t cap = l->cap ? 2 * l->cap : 256;
	uint32_t *p = calloc_lines(cap, l->stride * sizeof(*p));

	if (!p)
		return -ENOMEM;
	if (l->n)
		memcpy(p, l->entry, l->n * l->stride * sizeof(*p));
	free(l->entry);
	l->entry = p;
	l->cap = cap;
	return 0;
}

static int cache_room(struct labels *l)
{
	if (l->n >= CACHE_MAX) {
		hash_index_clear(&l->index);
		l->n = 0;
	}
	if (l->n == l->cap && grow_entries(l) < 0)
		return -ENOMEM;
	return hash_index_reserve(&l->index, hash_entry, l);
}

int labels_cache(struct labels *l, size_t i, const uint32_t *slot)
{
	uint32_t key[KEY_WORDS];
	uint32_t *e;
	int err;

	if (!make_key(l, i, key))
		return 0;
	err = cache_room(l);
	if (err < 0)
		return err;
	e = l->entry + l->n * l->stride;
	memcpy(e, key, sizeof(key));
	memcpy(e + KEY_WORDS, slot, l->n_slots * sizeof(*slot));
	hash_index_put(&l->index, key_hash(key), (uint32_t)l->n++);
	return 0;
}
