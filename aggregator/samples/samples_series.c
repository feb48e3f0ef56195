/* SPDX-License-Identifier: Apache-2.0 */
/* Label sets of a family to slots. A slot never moves and is never reused. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/samples/samples_state.h"

const struct samples_shape *
samples_shape_find(struct samples_family *f, const struct interned *const *name,
		   size_t n)
{
	struct samples_shape *shape;

	for (shape = f->shapes; shape; shape = shape->next)
		if (shape->n == n &&
		    (n == 0 || !memcmp(shape->name, name, n * sizeof(*name))))
			return shape;
	shape = malloc(sizeof(*shape) + n * sizeof(*name));
	if (!shape)
		return NULL;
	shape->n = n;
	if (n > 0)
		memcpy(shape->name, name, n * sizeof(*name));
	shape->next = f->shapes;
	f->shapes = shape;
	return shape;
}

static int add_chunk(struct samples_family *f)
{
	struct samples_chunk **list = reallocarray(
		f->chunk, f->n_chunks + 1, sizeof(struct samples_chunk *));
	struct samples_chunk *c;

	if (!list)
		return -ENOMEM;
	f->chunk = list;
	c = calloc(1,
		   sizeof(*c) + SAMPLES_CHUNK * f->stride * sizeof(uint64_t));
	if (!c)
		return -ENOMEM;
	if (f->kind == SAMPLES_GAUGE) {
		c->gauge = calloc(SAMPLES_CHUNK, sizeof(*c->gauge));
		if (!c->gauge) {
			free(c);
			return -ENOMEM;
		}
	}
	f->chunk[f->n_chunks++] = c;
	return 0;
}

static void put_in_table(uint32_t *table, size_t cap, uint64_t hash,
			 uint32_t slot)
{
	size_t at = hash & (cap - 1);

	while (table[at])
		at = (at + 1) & (cap - 1);
	table[at] = slot + 1;
}

static int grow_table(struct samples_family *f)
{
	size_t cap = f->cap ? 2 * f->cap : 64;
	uint32_t *table = calloc(cap, sizeof(*table));

	if (!table)
		return -ENOMEM;
	for (uint32_t i = 1; i < f->n; i++)
		if (samples_slot_at(f, i)->shape)
			put_in_table(table, cap, samples_slot_at(f, i)->hash,
				     i);
	free(f->table);
	f->table = table;
	f->cap = cap;
	return 0;
}

/* Room for slots up to this one; the overflow series is always there. */
static int reach_slot(struct samples_family *f, uint32_t slot)
{
	while (f->n_chunks * SAMPLES_CHUNK <= slot) {
		int err = add_chunk(f);

		if (err < 0)
			return err;
	}
	if (slot >= f->n)
		f->n = slot + 1;
	return 0;
}

static uint64_t hash_labels(const struct samples_labels *l)
{
	uint64_t h = (uintptr_t)l->shape;

	for (size_t i = 0; i < l->shape->n; i++) {
		h ^= l->hash[i];
		h *= UINT64_C(0x9e3779b97f4a7c15);
		h ^= h >> 29;
	}
	return h;
}

static int64_t find_slot(const struct samples_family *f,
			 const struct samples_labels *l, uint64_t hash)
{
	size_t at = hash & (f->cap - 1);

	for (; f->cap && f->table[at]; at = (at + 1) & (f->cap - 1)) {
		const struct samples_slot *slot =
			samples_slot_at(f, f->table[at] - 1);

		if (slot->hash == hash && slot->shape == l->shape &&
		    !memcmp(slot->value, l->value,
			    l->shape->n * sizeof(*l->value)))
			return f->table[at] - 1;
	}
	return -ENOENT;
}

static int fill_slot(struct samples_family *f, uint32_t at, uint64_t hash,
		     const struct samples_shape *shape,
		     const struct interned *const *value)
{
	struct samples_slot *slot;
	int err = reach_slot(f, at);

	if (!err && 2 * ((size_t)f->n + 1) > f->cap)
		err = grow_table(f);
	if (err < 0)
		return err;
	slot = samples_slot_at(f, at);
	slot->value = calloc(shape->n + 1, sizeof(*slot->value));
	if (!slot->value)
		return -ENOMEM;
	memcpy(slot->value, value, shape->n * sizeof(*value));
	slot->hash = hash;
	slot->shape = shape;
	slot->dirty = true; /* its number is taken, whatever it counts */
	f->n_granted++;
	put_in_table(f->table, f->cap, hash, at);
	return 0;
}

/*
 * The lowest free slot. A checkpoint may lack series that were made while it
 * was written; folding the log again makes them in the same order, so that
 * each gets its own number back.
 */
static uint32_t free_slot(struct samples_family *f)
{
	if (f->gap == SAMPLES_OVERFLOW)
		f->gap++;
	while (f->gap < f->n && samples_slot_at(f, f->gap)->shape)
		f->gap++;
	return f->gap;
}

int64_t samples_resolve(struct samples *s, struct samples_family *f,
			const struct samples_labels *l)
{
	uint64_t hash = hash_labels(l);
	bool known = true;
	int64_t found;
	uint32_t at;
	int err;

	for (size_t i = 0; i < l->shape->n; i++)
		known &= l->value[i] != NULL;
	found = known ? find_slot(f, l, hash) : -ENOENT;
	if (found >= 0)
		return found;
	err = f->n == 0 ? reach_slot(f, SAMPLES_OVERFLOW) : 0;
	if (err < 0)
		return err;
	if (f->n_granted >= s->opt.max_series)
		return SAMPLES_OVERFLOW;
	for (size_t i = 0; i < l->shape->n; i++) {
		if (!l->value[i])
			l->value[i] = intern_add(s->intern, l->text[i]->data,
						 l->text[i]->len, l->hash[i]);
		if (!l->value[i])
			return -ENOMEM;
	}
	at = free_slot(f);
	err = fill_slot(f, at, hash, l->shape, l->value);
	return err < 0 ? err : (int64_t)at;
}

int samples_restore(struct samples *s, struct samples_family *f, uint32_t slot,
		    const struct samples_shape *shape,
		    const struct interned *const *value)
{
	uint64_t hash[LIMIT_SAMPLE_LABELS + 1];
	struct samples_labels l = { .shape = shape, .hash = hash };

	(void)s;
	if ((slot == SAMPLES_OVERFLOW) != !shape || slot > 1u << 24)
		return -EUCLEAN;
	if (slot < f->n && samples_slot_at(f, slot)->shape)
		return -EUCLEAN;
	if (!shape)
		return reach_slot(f, slot);
	for (size_t i = 0; i < shape->n; i++)
		hash[i] = value[i]->hash;
	return fill_slot(f, slot, hash_labels(&l), shape, value);
}
