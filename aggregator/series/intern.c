/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/series/intern.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/clock.h"

struct intern {
	struct interned **table; /* open addressing, power of two */
	size_t cap, n;
	uint64_t key[2];
};

int intern_new(struct intern **out)
{
	struct intern *in = calloc(1, sizeof(*in));

	if (!in)
		return -ENOMEM;
	in->cap = 1024;
	in->table = calloc(in->cap, sizeof(struct interned *));
	if (!in->table) {
		free(in);
		return -ENOMEM;
	}
	if (getrandom(in->key, sizeof(in->key), GRND_NONBLOCK) !=
	    sizeof(in->key)) {
		in->key[0] = clock_mono_ns() * 0x9e3779b97f4a7c15;
		in->key[1] = (uint64_t)clock_real_ns();
	}
	in->key[1] |= 1;
	*out = in;
	return 0;
}

void intern_free(struct intern *in)
{
	if (!in)
		return;
	for (size_t i = 0; i < in->cap; i++)
		free(in->table[i]);
	free(in->table);
	free(in);
}

static uint64_t mix_hash(uint64_t a, uint64_t b)
{
	__uint128_t p = (__uint128_t)a * b;

	return (uint64_t)p ^ (uint64_t)(p >> 64);
}

uint64_t intern_hash(const struct intern *in, const char *data, size_t len)
{
	uint64_t h = in->key[0] ^ len, word;

	for (; len >= 8; data += 8, len -= 8) {
		memcpy(&word, data, 8);
		h = mix_hash(h ^ word, in->key[1] ^ 0x9e3779b97f4a7c15);
	}
	word = 0;
	memcpy(&word, data, len);
	h = mix_hash(h ^ word, in->key[1]);
	return mix_hash(h ^ 0xbf58476d1ce4e5b9,
			in->key[1] ^ 0x94d049bb133111eb);
}

const struct interned *intern_find(const struct intern *in, const char *data,
				   size_t len, uint64_t hash)
{
	for (size_t i = hash & (in->cap - 1);; i = (i + 1) & (in->cap - 1)) {
		const struct interned *s = in->table[i];

		if (!s)
			return NULL;
		if (s->hash == hash && s->len == len &&
		    memcmp(s->text, data, len) == 0)
			return s;
	}
}

void intern_ask_place(const struct intern *in, uint64_t hash)
{
	__builtin_prefetch(&in->table[hash & (in->cap - 1)]);
}

void intern_ask_value(const struct intern *in, uint64_t hash)
{
	__builtin_prefetch(in->table[hash & (in->cap - 1)]);
}

static void place_string(struct interned **table, size_t cap,
			 struct interned *s)
{
	size_t i = s->hash & (cap - 1);

	while (table[i])
		i = (i + 1) & (cap - 1);
	table[i] = s;
}

static int grow_table(struct intern *in)
{
	size_t cap = in->cap * 2;
	struct interned **table = calloc(cap, sizeof(struct interned *));

	if (!table)
		return -ENOMEM;
	for (size_t i = 0; i < in->cap; i++)
		if (in->table[i])
			place_string(table, cap, in->table[i]);
	free(in->table);
	in->table = table;
	in->cap = cap;
	return 0;
}

const struct interned *intern_add(struct intern *in, const char *data,
				  size_t len, uint64_t hash)
{
	const struct interned *found = intern_find(in, data, len, hash);
	struct interned *s;

	if (found)
		return found;
	if (in->n * 2 >= in->cap && grow_table(in) < 0)
		return NULL;
	s = malloc(sizeof(*s) + len + 1);
	if (!s)
		return NULL;
	s->hash = hash;
	s->id = (uint32_t)++in->n;
	s->len = (uint32_t)len;
	memcpy(s->text, data, len);
	s->text[len] = 0;
	place_string(in->table, in->cap, s);
	return s;
}
