/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/fold/window.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cache_line.h"
#include "common/hash_index.h"

#define CHUNK 1024u
#define KEEP_CHUNKS 16u /* kept after a clear; more were for a burst */

struct windows {
	struct window_delta **chunk;
	size_t n_chunks, n;
	struct hash_index index;
};

int windows_new(struct windows **out)
{
	struct windows *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	if (hash_index_init(&w->index, 1024)) {
		free(w);
		return -ENOMEM;
	}
	*out = w;
	return 0;
}

void windows_clear(struct windows *w)
{
	for (size_t i = 0; i < w->n; i++)
		for (unsigned k = 0; k < WINDOW_VALUES; k++)
			free(windows_at(w, i)->span[k]);
	while (w->n_chunks > KEEP_CHUNKS)
		free(w->chunk[--w->n_chunks]);
	w->n = 0;
	hash_index_clear(&w->index);
}

void windows_free(struct windows *w)
{
	if (!w)
		return;
	windows_clear(w);
	for (size_t c = 0; c < w->n_chunks; c++)
		free(w->chunk[c]);
	free(w->chunk);
	hash_index_fini(&w->index);
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

static uint64_t hash_window(int64_t start_s, uint32_t key)
{
	uint64_t h = ((uint64_t)start_s << 32 | (uint32_t)start_s) ^
		     (uint64_t)key * 0x9e3779b97f4a7c15;

	h *= 0xbf58476d1ce4e5b9;
	return h ^ h >> 31;
}

static uint64_t hash_at(const void *windows, uint32_t i)
{
	const struct windows *w = windows;
	const struct window_delta *d = &w->chunk[i / CHUNK][i % CHUNK];

	return hash_window(d->start_s, d->key);
}

static int room(struct windows *w)
{
	void *p;

	if (hash_index_reserve(&w->index, hash_at, w))
		return -ENOMEM;
	if (w->n < w->n_chunks * CHUNK)
		return 0;
	p = realloc(w->chunk, (w->n_chunks + 1) * sizeof(*w->chunk));
	if (!p)
		return -ENOMEM;
	w->chunk = p;
	w->chunk[w->n_chunks] = calloc_lines(CHUNK, sizeof(**w->chunk));
	if (!w->chunk[w->n_chunks])
		return -ENOMEM;
	w->n_chunks++;
	return 0;
}

void windows_ask_place(const struct windows *w, int64_t start_s, uint32_t key)
{
	hash_index_ask(&w->index, hash_window(start_s, key));
}

void windows_ask_delta(const struct windows *w, int64_t start_s, uint32_t key)
{
	size_t at = hash_window(start_s, key);
	uint32_t i;

	if (hash_index_next(&w->index, &at, &i)) {
		const struct window_delta *d = &w->chunk[i / CHUNK][i % CHUNK];

		__builtin_prefetch(d, 1);
		__builtin_prefetch(&d->span[0],
				   1); /* in the next line, mostly */
	}
}

struct window_delta *windows_get(struct windows *w, int64_t start_s,
				 uint32_t key)
{
	const uint64_t hash = hash_window(start_s, key);
	struct window_delta *d;
	size_t at = hash;
	uint32_t i;

	while (hash_index_next(&w->index, &at, &i)) {
		d = windows_at(w, i);
		if (d->start_s == start_s && d->key == key)
			return d;
	}
	if (room(w) < 0)
		return NULL;
	d = windows_at(w, w->n);
	memset(d, 0, sizeof(*d));
	d->start_s = start_s;
	d->key = key;
	hash_index_put(&w->index, hash, (uint32_t)w->n++);
	return d;
}
