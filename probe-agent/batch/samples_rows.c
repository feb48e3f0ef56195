/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/batch/samples_rows.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int samples_rows_init(struct samples_rows *r)
{
	return intern_index_init(&r->index);
}

void samples_rows_fini(struct samples_rows *r)
{
	free(r->index.slots);
	free(r->words);
	free(r->row);
	memset(r, 0, sizeof(*r));
}

void samples_rows_reset(struct samples_rows *r)
{
	intern_index_reset(&r->index);
	r->n = r->n_words = 0;
}

static uint64_t hash_row(const uint32_t *word, size_t len)
{
	uint64_t h = len;

	for (size_t i = 0; i < len; i++)
		h = intern_mix(h ^ word[i], i + 1);
	return h;
}

static int make_room(struct samples_rows *r, size_t len)
{
	void *p;

	if (r->n_words + len > r->cap_words) {
		size_t cap = 2 * (r->n_words + len) + 1024;

		p = reallocarray(r->words, cap, sizeof(*r->words));
		if (!p)
			return -ENOMEM;
		r->words = p;
		r->cap_words = cap;
	}
	if (r->n == r->cap) {
		size_t cap = 2 * r->n + 256;

		p = reallocarray(r->row, cap, sizeof(*r->row));
		if (!p)
			return -ENOMEM;
		r->row = p;
		r->cap = cap;
	}
	return 0;
}

int64_t samples_rows_add(struct samples_rows *r, const uint32_t *word,
			 size_t len, bool *fresh)
{
	uint64_t h = hash_row(word, len);
	const struct intern_index *ix = &r->index;
	int err;

	*fresh = false;
	for (size_t i = h & ix->mask; ix->slots[i].generation == ix->generation;
	     i = (i + 1) & ix->mask) {
		uint32_t id = ix->slots[i].id;

		if (ix->slots[i].hash == h && r->row[id].len == len &&
		    !memcmp(samples_row(r, id), word, len * sizeof(*word)))
			return id;
	}
	err = make_room(r, len);
	if (!err)
		err = intern_index_add(&r->index, h, (uint32_t)r->n);
	if (err)
		return err;
	memcpy(r->words + r->n_words, word, len * sizeof(*word));
	r->row[r->n].at = (uint32_t)r->n_words;
	r->row[r->n].len = (uint32_t)len;
	r->n_words += len;
	*fresh = true;
	return (int64_t)r->n++;
}
