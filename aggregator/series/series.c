/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/series/series.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/series/sketch.h"
#include "common/cache_line.h"

#define HASH_ABSENT UINT64_C(0x2545f4914f6cdd1d)

int series_init(struct series *s, const enum view_key *keys, size_t n_keys,
		size_t max, const struct cells *cells, struct intern *intern)
{
	memset(s, 0, sizeof(*s));
	s->keys = keys;
	s->n_keys = n_keys;
	s->max = max;
	s->cells = cells;
	s->intern = intern;
	s->values = calloc(n_keys + 1, sizeof(*s->values));
	if (!s->values || hash_index_init(&s->index, 256))
		return -ENOMEM;
	for (size_t i = 0; i < n_keys; i++)
		s->values[i].max = UINT32_MAX;
	return 0;
}

void series_limit_values(struct series *s, size_t key, size_t max)
{
	s->values[key].max = max < UINT32_MAX ? (uint32_t)max : UINT32_MAX;
}

void series_fini(struct series *s)
{
	for (size_t c = 0; c < s->n_chunks; c++) {
		for (size_t i = 0; s->slot[c] && i < SERIES_CHUNK; i++) {
			free(s->slot[c][i].span);
			free(s->slot[c][i].exemplars);
		}
		free(s->slot[c]);
		free(s->label[c]);
		free(s->hash[c]);
	}
	free(s->slot);
	free(s->label);
	free(s->hash);
	hash_index_fini(&s->index);
	for (size_t i = 0; s->values && i < s->n_keys; i++)
		free(s->values[i].seen);
	free(s->values);
	top_denied_fini(&s->askers);
	memset(s, 0, sizeof(*s));
}

int series_clear(struct series *s)
{
	struct series fresh;
	int err = series_init(&fresh, s->keys, s->n_keys, s->max, s->cells,
			      s->intern);

	if (err < 0) {
		series_fini(&fresh);
		return err;
	}
	for (size_t i = 0; i < s->n_keys; i++)
		fresh.values[i].max = s->values[i].max;
	series_fini(s);
	*s = fresh;
	return 0;
}

/* Adds an empty chunk; on failure the old ones are untouched. */
static int add_chunk(struct series *s)
{
	size_t c = s->n_chunks;
	void *p;

	p = realloc(s->slot, (c + 1) * sizeof(*s->slot));
	if (!p)
		return -ENOMEM;
	s->slot = p;
	p = realloc(s->label, (c + 1) * sizeof(*s->label));
	if (!p)
		return -ENOMEM;
	s->label = p;
	p = realloc(s->hash, (c + 1) * sizeof(*s->hash));
	if (!p)
		return -ENOMEM;
	s->hash = p;
	s->slot[c] = calloc_lines(SERIES_CHUNK, sizeof(**s->slot));
	s->label[c] =
		calloc(SERIES_CHUNK * (s->n_keys + 1), sizeof(**s->label));
	s->hash[c] = calloc(SERIES_CHUNK, sizeof(**s->hash));
	s->n_chunks++; /* series_fini() frees the parts that are there */
	if (!s->slot[c] || !s->label[c] || !s->hash[c]) {
		free(s->slot[c]);
		free(s->label[c]);
		free(s->hash[c]);
		s->n_chunks--;
		return -ENOMEM;
	}
	return 0;
}

static uint64_t hash_at(const void *series, uint32_t slot)
{
	const struct series *s = series;

	return s->hash[slot / SERIES_CHUNK][slot % SERIES_CHUNK];
}

/* Makes room for slot, in the chunks and in the index. */
static int reach(struct series *s, uint32_t slot)
{
	int err;

	while (slot >= s->n_chunks * SERIES_CHUNK) {
		err = add_chunk(s);
		if (err < 0)
			return err;
	}
	return hash_index_reserve(&s->index, hash_at, s);
}

static uint64_t label_set_hash(const struct series *s,
			       struct series_label *const *labels)
{
	uint64_t h = HASH_ABSENT;

	for (size_t i = 0; i < s->n_keys; i++) {
		const struct series_label *l = labels[s->keys[i]];
		uint64_t v = l->data ? l->hash : HASH_ABSENT;

		h = (h ^ v) * 0x9e3779b97f4a7c15;
		h ^= h >> 29;
	}
	h *= 0xbf58476d1ce4e5b9;
	return h ^ h >> 32;
}

static bool same_labels(const struct series *s, uint32_t slot,
			struct series_label *const *labels)
{
	const struct interned *const *have = series_labels(s, slot);

	for (size_t i = 0; i < s->n_keys; i++) {
		const struct series_label *l = labels[s->keys[i]];

		if (have[i] != (l->data ? l->interned : NULL))
			return false;
	}
	return true;
}

/*
 * Looks up the interned values of all labels. Returns false if one has none;
 * such a label set has no slot.
 */
static bool all_interned(const struct series *s,
			 struct series_label *const *labels)
{
	bool all = true;

	for (size_t i = 0; i < s->n_keys; i++) {
		struct series_label *l = labels[s->keys[i]];

		if (!l->data || l->interned)
			continue;
		l->interned = intern_find(s->intern, l->data, l->len, l->hash);
		if (!l->interned)
			all = false;
	}
	return all;
}

static int64_t find_slot(const struct series *s,
			 struct series_label *const *labels, uint64_t hash)
{
	size_t at = hash;
	uint32_t slot;

	while (hash_index_next(&s->index, &at, &slot))
		if (hash_at(s, slot) == hash && same_labels(s, slot, labels))
			return slot;
	return -ENOENT;
}

static bool value_seen(const struct series_values *v,
		       const struct interned *value)
{
	return value->id / 8 < v->seen_bytes &&
	       v->seen[value->id / 8] >> value->id % 8 & 1;
}

static int see_value(struct series_values *v, const struct interned *value)
{
	size_t need = value->id / 8 + 1;

	if (value_seen(v, value))
		return 0;
	if (need > v->seen_bytes) {
		size_t bytes = need < 64 ? 64 : 2 * need;
		uint8_t *p = realloc(v->seen, bytes);

		if (!p)
			return -ENOMEM;
		memset(p + v->seen_bytes, 0, bytes - v->seen_bytes);
		v->seen = p;
		v->seen_bytes = bytes;
	}
	v->seen[value->id / 8] |= (uint8_t)(1u << value->id % 8);
	v->n++;
	return 0;
}

/* Whether the label set has a new value for a label that is at its budget. */
static bool over_label_budget(const struct series *s,
			      struct series_label *const *labels)
{
	for (size_t i = 0; i < s->n_keys; i++) {
		const struct series_label *l = labels[s->keys[i]];
		const struct series_values *v = &s->values[i];

		if (l->data && v->n >= v->max &&
		    (!l->interned || !value_seen(v, l->interned)))
			return true;
	}
	return false;
}

/* Notes that the label set was asked for, granted or not. */
static void note_demand(struct series *s, struct series_label *const *labels,
			uint64_t hash)
{
	sketch_add(s->sketch, SERIES_SKETCH_BITS, hash);
	for (size_t i = 0; i < s->n_keys; i++) {
		const struct series_label *l = labels[s->keys[i]];

		if (l->data)
			sketch_add(s->values[i].sketch, SERIES_VALUES_BITS,
				   l->hash * 0x9e3779b97f4a7c15);
	}
}

/* Notes the job that asks for a label set without a slot. */
static void note_asker(struct series *s, struct series_label *const *labels,
		       uint64_t hash)
{
	for (size_t i = 0; i < s->n_keys; i++) {
		const struct series_label *l = labels[s->keys[i]];

		if (s->keys[i] == LABEL_JOB && l->data)
			top_denied_add(&s->askers, l->data, l->len, l->hash,
				       hash);
	}
}

static int fill(struct series *s, uint32_t slot,
		struct series_label *const *labels, uint64_t hash)
{
	const struct interned **row =
		s->label[slot / SERIES_CHUNK] + slot % SERIES_CHUNK * s->n_keys;

	for (size_t i = 0; i < s->n_keys; i++) {
		struct series_label *l = labels[s->keys[i]];

		if (l->data && !l->interned) {
			l->interned =
				intern_add(s->intern, l->data, l->len, l->hash);
			if (!l->interned)
				return -ENOMEM;
		}
		row[i] = l->data ? l->interned : NULL;
		if (l->data && see_value(&s->values[i], l->interned) < 0)
			return -ENOMEM;
	}
	s->hash[slot / SERIES_CHUNK][slot % SERIES_CHUNK] = hash;
	return 0;
}

static int ensure_overflow(struct series *s)
{
	int err;

	if (s->n > 0)
		return 0;
	err = reach(s, 0);
	if (err < 0)
		return err;
	s->n = 1;
	return 0;
}

int64_t series_resolve(struct series *s, struct series_label *const *labels,
		       int64_t now_us)
{
	uint64_t hash = label_set_hash(s, labels);
	struct series_slot *new_slot;
	int64_t slot;
	int err;

	note_demand(s, labels, hash);
	if (all_interned(s, labels)) {
		slot = find_slot(s, labels, hash);
		if (slot >= 0)
			return slot;
	}
	note_asker(s, labels, hash);
	err = ensure_overflow(s);
	if (err < 0)
		return err;
	if (s->n - 1 >= s->max || over_label_budget(s, labels)) {
		new_slot = series_at(s, SERIES_OVERFLOW);
		if (!new_slot->created_us)
			new_slot->created_us = now_us;
		return SERIES_OVERFLOW;
	}
	err = reach(s, s->n);
	if (!err)
		err = fill(s, s->n, labels, hash);
	if (err < 0)
		return err;
	hash_index_put(&s->index, hash, s->n);
	series_at(s, s->n)->created_us = now_us;
	return s->n++;
}

int series_restore(struct series *s, uint32_t slot,
		   struct series_label *const *labels)
{
	uint64_t hash;
	int err = ensure_overflow(s);

	if (err < 0 || slot == SERIES_OVERFLOW)
		return err;
	if (slot != s->n)
		return -EINVAL;
	hash = label_set_hash(s, labels);
	note_demand(s, labels, hash);
	if (all_interned(s, labels) && find_slot(s, labels, hash) >= 0)
		return -EEXIST;
	note_asker(s, labels, hash);
	err = reach(s, slot);
	if (!err)
		err = fill(s, slot, labels, hash);
	if (err < 0)
		return err;
	hash_index_put(&s->index, hash, slot);
	s->n++;
	return 0;
}
