/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/batch/intern.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/clock.h"
#include "proto/limits.h"
#include "proto/utf8.h"

#define SLOTS_START 256u
/* Bytes of all strings; leaves room for the columns in LIMIT_MESSAGE_BYTES. */
#define CHARS_MAX (1u << 20)
/* New strings that one event can add. */
#define EVENT_STRINGS 9u

int intern_index_init(struct intern_index *ix)
{
	ix->slots = calloc(SLOTS_START, sizeof(*ix->slots));
	if (!ix->slots)
		return -ENOMEM;
	ix->mask = SLOTS_START - 1;
	ix->n = 0;
	ix->generation = 1;
	return 0;
}

void intern_index_reset(struct intern_index *ix)
{
	ix->n = 0;
	if (++ix->generation == 0) {
		memset(ix->slots, 0, (ix->mask + 1) * sizeof(*ix->slots));
		ix->generation = 1;
	}
}

static void index_place(struct intern_index *ix, uint64_t hash, uint32_t id)
{
	size_t i = hash & ix->mask;

	while (ix->slots[i].generation == ix->generation)
		i = (i + 1) & ix->mask;
	ix->slots[i].hash = hash;
	ix->slots[i].generation = ix->generation;
	ix->slots[i].id = id;
}

/* Adds an entry that is new. Keeps the table at most half full. -ENOMEM. */
int intern_index_add(struct intern_index *ix, uint64_t hash, uint32_t id)
{
	if ((ix->n + 1) * 2 > ix->mask + 1) {
		struct intern_index bigger = *ix;
		size_t slots = (ix->mask + 1) * 2;

		bigger.slots = calloc(slots, sizeof(*bigger.slots));
		if (!bigger.slots)
			return -ENOMEM;
		bigger.mask = slots - 1;
		for (size_t i = 0; i <= ix->mask; i++)
			if (ix->slots[i].generation == ix->generation)
				index_place(&bigger, ix->slots[i].hash,
					    ix->slots[i].id);
		free(ix->slots);
		*ix = bigger;
	}
	index_place(ix, hash, id);
	ix->n++;
	return 0;
}

static int rows_init(struct intern_rows *r, size_t width)
{
	r->width = width;
	return intern_index_init(&r->index);
}

static void rows_fini(struct intern_rows *r)
{
	free(r->index.slots);
	free(r->rows);
}

int intern_init(struct intern *t)
{
	memset(t, 0, sizeof(*t));
	if (getrandom(&t->seed, sizeof(t->seed), GRND_NONBLOCK) !=
	    sizeof(t->seed))
		t->seed = clock_mono_ns();
	if (intern_index_init(&t->index) != 0 ||
	    rows_init(&t->resources, RESOURCE_N) != 0 ||
	    rows_init(&t->series, INTERN_SERIES_WIDTH) != 0 ||
	    intern_string_len(t, "", 0) != 0) {
		intern_fini(t);
		return -ENOMEM;
	}
	return 0;
}

void intern_fini(struct intern *t)
{
	free(t->index.slots);
	free(t->offset);
	free(t->len);
	free(t->chars);
	rows_fini(&t->resources);
	rows_fini(&t->series);
	memset(t, 0, sizeof(*t));
}

void intern_reset(struct intern *t)
{
	int64_t empty;

	intern_index_reset(&t->index);
	intern_index_reset(&t->resources.index);
	intern_index_reset(&t->series.index);
	t->n_strings = t->n_chars = 0;
	t->resources.n = t->series.n = 0;
	empty = intern_string_len(t, "", 0); /* the memory exists since init */
	assert(empty == 0);
}

static uint64_t hash_bytes(uint64_t seed, const char *s, size_t len)
{
	uint64_t h = seed ^ len, w;

	for (; len >= 8; s += 8, len -= 8) {
		memcpy(&w, s, 8);
		h = intern_mix(h, w);
	}
	if (len == 0)
		return h;
	w = 0;
	memcpy(&w, s, len);
	return intern_mix(h, w);
}

static int strings_grow(struct intern *t, size_t len)
{
	if (t->n_strings == t->cap_strings) {
		size_t cap = t->cap_strings > 0 ? t->cap_strings * 2 : 128;
		uint32_t *p = reallocarray(t->offset, cap, sizeof(*p));

		if (!p)
			return -ENOMEM;
		t->offset = p;
		p = reallocarray(t->len, cap, sizeof(*p));
		if (!p)
			return -ENOMEM;
		t->len = p;
		t->cap_strings = cap;
	}
	if (t->cap_chars - t->n_chars < len + 1) {
		size_t cap = (t->cap_chars + len + 1) * 2;
		char *p = realloc(t->chars, cap);

		if (!p)
			return -ENOMEM;
		t->chars = p;
		t->cap_chars = cap;
	}
	return 0;
}

/* Adds a string that is clean and new. */
static int64_t string_add(struct intern *t, uint64_t hash, const char *s,
			  size_t len)
{
	uint32_t id = (uint32_t)t->n_strings;

	if (strings_grow(t, len) != 0 ||
	    intern_index_add(&t->index, hash, id) != 0)
		return -ENOMEM;
	t->offset[id] = (uint32_t)t->n_chars;
	t->len[id] = (uint32_t)len;
	memcpy(t->chars + t->n_chars, s, len);
	t->chars[t->n_chars + len] = '\0';
	t->n_chars += len + 1;
	t->n_strings++;
	return id;
}

/*
 * Looks the string up before it is cleaned. The table has only clean strings,
 * so one that is not clean is not found; only then is it cleaned and looked up
 * again.
 */
int64_t intern_string_len(struct intern *t, const char *s, size_t len)
{
	uint64_t hash = hash_bytes(t->seed, s, len);
	const struct intern_slot *slot;
	char clean[LIMIT_STRING_BYTES + 1];

	for (size_t i = hash & t->index.mask;; i = (i + 1) & t->index.mask) {
		slot = &t->index.slots[i];
		if (slot->generation != t->index.generation)
			break;
		if (slot->hash == hash && t->len[slot->id] == len &&
		    memcmp(t->chars + t->offset[slot->id], s, len) == 0)
			return slot->id;
	}
	if (len <= LIMIT_STRING_BYTES && utf8_valid(s, len))
		return string_add(t, hash, s, len);
	len = utf8_clean(clean, LIMIT_STRING_BYTES, s, len);
	return intern_string_len(t, clean, len);
}

int64_t intern_string(struct intern *t, const char *s)
{
	/* Most columns of most resources are "". */
	return !s || !*s ? 0 : intern_string_len(t, s, strlen(s));
}

static int64_t row_id(struct intern_rows *r, uint64_t seed, const uint32_t *row)
{
	size_t size = r->width * sizeof(*row);
	uint64_t hash = hash_bytes(seed, (const char *)row, size);
	const struct intern_slot *slot;

	for (size_t i = hash & r->index.mask;; i = (i + 1) & r->index.mask) {
		slot = &r->index.slots[i];
		if (slot->generation != r->index.generation)
			break;
		if (slot->hash == hash &&
		    memcmp(r->rows + slot->id * r->width, row, size) == 0)
			return slot->id;
	}
	if (r->n == r->cap) {
		size_t cap = r->cap > 0 ? r->cap * 2 : 64;
		uint32_t *p = reallocarray(r->rows, cap, size);

		if (!p)
			return -ENOMEM;
		r->rows = p;
		r->cap = cap;
	}
	if (intern_index_add(&r->index, hash, (uint32_t)r->n) != 0)
		return -ENOMEM;
	memcpy(r->rows + r->n * r->width, row, size);
	return (int64_t)r->n++;
}

int64_t intern_resource(struct intern *t, const uint32_t row[RESOURCE_N])
{
	return row_id(&t->resources, t->seed, row);
}

int64_t intern_series(struct intern *t, const uint32_t row[INTERN_SERIES_WIDTH])
{
	return row_id(&t->series, t->seed, row);
}

static uint32_t batch_string(struct intern *t, const struct batch *b,
			     uint32_t id, bool *failed)
{
	int64_t mine =
		intern_string_len(t, b->strings[id].data, b->strings[id].len);

	*failed |= mine < 0;
	return (uint32_t)mine;
}

int64_t intern_batch_series(struct intern *t, const struct batch *b, uint32_t i)
{
	const struct batch_resources *res = &b->resources;
	const struct batch_series *s = &b->series;
	uint32_t k = s->resource[i];
	bool failed = false;
	uint32_t resource[RESOURCE_N];
	uint32_t method = batch_string(t, b, s->method[i], &failed);
	uint32_t route = batch_string(t, b, s->route[i], &failed);
	uint32_t scheme = batch_string(t, b, s->scheme[i], &failed);
	uint32_t address = batch_string(t, b, s->address[i], &failed);
	int64_t row;

	for (unsigned c = 0; c < RESOURCE_N; c++)
		resource[c] = batch_string(t, b, res->column[c][k], &failed);
	if (failed)
		return -ENOMEM;
	row = intern_resource(t, resource);
	if (row < 0)
		return row;
	return intern_series(t, (uint32_t[INTERN_SERIES_WIDTH]){
					(uint32_t)row,
					s->role[i],
					method,
					route,
					s->status[i],
					s->outcome[i],
					s->version[i],
					scheme,
					address,
					s->port[i],
					batch_series_untimed(s, i),
					batch_series_rpc(s, i),
					batch_series_rpc_status(s, i),
				});
}

bool intern_full(const struct intern *t)
{
	return t->n_strings + EVENT_STRINGS > LIMIT_STRINGS ||
	       t->n_chars + EVENT_STRINGS * LIMIT_STRING_BYTES > CHARS_MAX ||
	       t->resources.n >= LIMIT_RESOURCES || t->series.n >= LIMIT_SERIES;
}

/* Writes rows as columns, one after the other. Returns the end of them. */
static uint32_t *columns(const struct intern_rows *r, uint32_t *out)
{
	for (size_t c = 0; c < r->width; c++)
		for (size_t i = 0; i < r->n; i++)
			*out++ = r->rows[i * r->width + c];
	return out;
}

int intern_tables(const struct intern *t, struct batch *b, void **memory)
{
	size_t nr = t->resources.n, ns = t->series.n;
	struct batch_string *strings;
	uint32_t *r, *s;
	uint8_t *p;

	p = malloc(t->n_strings * sizeof(*strings) +
		   (nr * RESOURCE_N + ns * INTERN_SERIES_WIDTH) * sizeof(*r));
	if (!p)
		return -ENOMEM;
	strings = (struct batch_string *)(void *)p;
	for (size_t i = 0; i < t->n_strings; i++) {
		strings[i].data = t->chars + t->offset[i];
		strings[i].len = t->len[i];
	}
	b->n_strings = t->n_strings;
	b->strings = strings;
	r = (uint32_t *)(void *)(strings + t->n_strings);
	s = columns(&t->resources, r);
	columns(&t->series, s);
	b->resources.n = nr;
	for (unsigned c = 0; c < RESOURCE_N; c++)
		b->resources.column[c] = r + c * nr;
	b->series = (struct batch_series){
		ns,	    s,		 s + ns,      s + 2 * ns,  s + 3 * ns,
		s + 4 * ns, s + 5 * ns,	 s + 6 * ns,  s + 7 * ns,  s + 8 * ns,
		s + 9 * ns, s + 10 * ns, s + 11 * ns, s + 12 * ns,
	};
	*memory = p;
	return 0;
}
