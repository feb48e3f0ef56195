/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/fold/window.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK 1024u
#define KEEP_CHUNKS 16u /* kept after a clear; more were for a burst */

struct windows {
	struct window_delta **chunk;
	size_t n_chunks, n;
	uint32_t *table; /* open addressing: index + 1 */
	size_t cap;
};

int windows_new(struct windows **out)
{
	struct windows *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	w->cap = 1024;
	w->table = calloc(w->cap, sizeof(*w->table));
	if (!w->table) {
		free(w);
		return -ENOMEM;
	}
	*out = w;
	return 0;
}

void windows_clear(struct windows *w)
{
	for (size_t i = 0; i < w->n; i++)
		free(windows_at(w, i)->span);
	while (w->n_chunks > KEEP_CHUNKS)
		free(w->chunk[--w->n_chunks]);
	w->n = 0;
	memset(w->table, 0, w->cap * sizeof(*w->table));
}

void windows_free(struct windows *w)
{
	if (!w)
		return;
	windows_clear(w);
	for (size_t c = 0; c < w->n_chunks; c++)
		free(w->chunk[c]);
	free(w->chunk);
	free(w->table);
	free(w);
}

size_t windows_count(const struct windows *w)
{
	return w->n;
}

struct window_delta *windows_at(struct windows *w, size_t i)
{
	return &w->chunk[i / CHUNK][i % CHUNK];
}

static size_t hash_window(int64_t start_s, uint32_t key)
{
	uint64_t h = ((uint64_t)start_s << 32 | (uint32_t)start_s) ^
		     (uint64_t)key * 0x9e3779b97f4a7c15;

	h *= 0xbf58476d1ce4e5b9;
	return (size_t)(h ^ h >> 31);
}

static void place_window(struct windows *w, uint32_t *table, size_t cap,
			 size_t i)
{
	const struct window_delta *d = windows_at(w, i);
	size_t at = hash_window(d->start_s, d->key) & (cap - 1);

	while (table[at])
		at = (at + 1) & (cap - 1);
	table[at] = (uint32_t)i + 1;
}

static int grow_windows(struct windows *w)
{
	size_t cap = w->cap * 2;
	uint32_t *table = calloc(cap, sizeof(*table));

	if (!table)
		return -ENOMEM;
	for (size_t i = 0; i < w->n; i++)
		place_window(w, table, cap, i);
	free(w->table);
	w->table = table;
	w->cap = cap;
	return 0;
}

static int room(struct windows *w)
{
	void *p;

	if (w->n * 2 >= w->cap && grow_windows(w) < 0)
		return -ENOMEM;
	if (w->n < w->n_chunks * CHUNK)
		return 0;
	p = realloc(w->chunk, (w->n_chunks + 1) * sizeof(*w->chunk));
	if (!p)
		return -ENOMEM;
	w->chunk = p;
	w->chunk[w->n_chunks] = calloc(CHUNK, sizeof(**w->chunk));
	if (!w->chunk[w->n_chunks])
		return -ENOMEM;
	w->n_chunks++;
	return 0;
}

struct window_delta *windows_get(struct windows *w, int64_t start_s,
				 uint32_t key)
{
	struct window_delta *d;

	for (size_t i = hash_window(start_s, key) & (w->cap - 1); w->table[i];
	     i = (i + 1) & (w->cap - 1)) {
		d = windows_at(w, w->table[i] - 1);
		if (d->start_s == start_s && d->key == key)
			return d;
	}
	if (room(w) < 0)
		return NULL;
	d = windows_at(w, w->n);
	memset(d, 0, sizeof(*d));
	d->start_s = start_s;
	d->key = key;
	place_window(w, w->table, w->cap, w->n++);
	return d;
}
