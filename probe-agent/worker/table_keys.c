/* SPDX-License-Identifier: Apache-2.0 */
/* The keys of a map, and what is kept of each. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "probe-agent/worker/table_state.h"

static uint64_t hash_key(const uint8_t *p, size_t n)
{
	uint64_t h = 0x9e3779b97f4a7c15u ^ n, w;

	for (; n >= 8; n -= 8, p += 8) {
		memcpy(&w, p, 8);
		h = (h ^ w) * 0xff51afd7ed558ccdu;
		h ^= h >> 32;
	}
	w = 0;
	memcpy(&w, p, n);
	h = (h ^ w) * 0xc4ceb9fe1a85ec53u;
	return h ^ h >> 33;
}

static uint64_t hash_of(const void *arg, uint32_t i)
{
	const struct table *t = arg;

	return hash_key(table_key_at(t, i), t->key_len);
}

static int grow_keys(struct table *t)
{
	size_t cap = t->cap_keys ? 2 * t->cap_keys : 64;
	void *p;

	if (t->n_keys < t->cap_keys)
		return 0;
	p = reallocarray(t->keys, cap, t->key_len);
	if (!p)
		return -ENOMEM;
	t->keys = p;
	p = reallocarray(t->key, cap, sizeof(*t->key));
	if (!p)
		return -ENOMEM;
	t->key = p;
	p = reallocarray(t->cell, cap * t->n_metrics, sizeof(*t->cell));
	if (!p)
		return -ENOMEM;
	t->cell = p;
	t->cap_keys = cap;
	return 0;
}

int64_t table_find_key(struct table *t, const uint8_t *key, bool *fresh)
{
	uint64_t hash = hash_key(key, t->key_len);
	size_t at = hash, n = t->n_keys;
	uint32_t i;
	int err;

	*fresh = false;
	while (hash_index_next(&t->index, &at, &i))
		if (!memcmp(table_key_at(t, i), key, t->key_len))
			return i;
	err = grow_keys(t);
	if (!err)
		err = hash_index_reserve(&t->index, hash_of, t);
	if (err)
		return err;
	memcpy(table_key_at(t, n), key, t->key_len);
	t->key[n] = (struct table_key){ .round = 0 };
	for (size_t m = 0; m < t->n_metrics; m++)
		*table_cell_at(t, n, m) =
			(struct table_cell){ .series = TABLE_UNDECIDED };
	hash_index_put(&t->index, hash, (uint32_t)n);
	t->n_keys++;
	*fresh = true;
	return (int64_t)n;
}

/* Label values that no key has any more go, too. */
static int renew_series(struct table *t, size_t metric)
{
	struct table_metric *m = &t->metric[metric], old = *m;
	int err;

	memset(&m->texts, 0, sizeof(m->texts));
	m->series = NULL;
	m->n_series = m->cap_series = 0;
	err = hash_index_init(&m->index, 64);
	if (!err && table_intern(t, m, "", 0) < 0)
		err = -ENOMEM;
	for (size_t i = 0; i < t->n_keys && !err; i++) {
		struct table_cell *c = table_cell_at(t, i, metric);
		const char *text;
		size_t n = 0;
		int64_t id;

		if (c->series >= old.n_series || c->series == TABLE_OVERFLOW)
			continue;
		text = old.texts.data + old.series[c->series].text;
		for (size_t k = 0; k < m->spec->n_labels; k++)
			n += strlen(text + n) + 1;
		id = table_intern(t, m, text, n);
		if (id < 0)
			err = (int)id;
		else
			c->series = (uint32_t)id;
	}
	hash_index_fini(&old.index);
	buf_fini(&old.texts);
	free(old.series);
	return err;
}

int table_compact(struct table *t)
{
	size_t live = 0, n = 0;
	int err = 0;

	for (size_t i = 0; i < t->n_keys; i++)
		live += !t->key[i].gone;
	if (t->n_keys - live <= live / 2 + 256)
		return 0;
	for (size_t i = 0; i < t->n_keys; i++) {
		if (t->key[i].gone)
			continue;
		memmove(table_key_at(t, n), table_key_at(t, i), t->key_len);
		memmove(table_cell_at(t, n, 0), table_cell_at(t, i, 0),
			t->n_metrics * sizeof(*t->cell));
		t->key[n++] = t->key[i];
	}
	t->n_keys = n;
	hash_index_clear(&t->index);
	for (size_t i = 0; i < n; i++)
		hash_index_put(&t->index, hash_of(t, (uint32_t)i), (uint32_t)i);
	for (size_t m = 0; m < t->n_metrics && !err; m++)
		err = renew_series(t, m);
	return err;
}
