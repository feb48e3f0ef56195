/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/worker/map_reader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "common/hash_index.h"

#define AT_ONCE 4096u /* entries, at first */
#define BUFFER_MAX (256u << 20) /* a bucket's chain is not longer */
#define CURSOR_BYTES 64u /* of a batch: a bucket's number, or a key */

struct map_reader {
	unsigned cpus;
	bool one_by_one;
	uint8_t *keys, *values;
	size_t keys_bytes, values_bytes;
	/* Of the walk by next key: what was seen already. */
	struct hash_index seen;
	uint8_t *seen_key;
	size_t n_seen, cap_seen, key_size;
};

int map_reader_new(struct map_reader **out)
{
	struct map_reader *r = calloc(1, sizeof(*r));
	int cpus = libbpf_num_possible_cpus();

	if (!r)
		return -ENOMEM;
	r->cpus = cpus > 0 ? (unsigned)cpus : 1;
	*out = r;
	return 0;
}

void map_reader_free(struct map_reader *r)
{
	if (!r)
		return;
	hash_index_fini(&r->seen);
	free(r->seen_key);
	free(r->keys);
	free(r->values);
	free(r);
}

void map_reader_one_by_one(struct map_reader *r, bool yes)
{
	r->one_by_one = yes;
}

unsigned map_reader_cpus(const struct map_reader *r)
{
	return r->cpus;
}

size_t map_reader_stride(const struct object_map *m)
{
	return m->per_cpu ? (m->value_size + 7u) & ~7u : m->value_size;
}

static size_t value_bytes(const struct map_reader *r,
			  const struct object_map *m)
{
	return map_reader_stride(m) * (m->per_cpu ? r->cpus : 1);
}

static int grow_room(uint8_t **p, size_t *have, size_t want)
{
	uint8_t *to;

	if (want <= *have)
		return 0;
	if (want > BUFFER_MAX)
		return -ENOMEM;
	to = realloc(*p, want);
	if (!to)
		return -ENOMEM;
	*p = to;
	*have = want;
	return 0;
}

static int make_room(struct map_reader *r, const struct object_map *m, size_t n)
{
	int err = grow_room(&r->keys, &r->keys_bytes, n * m->key_size);

	return err ? err
		   : grow_room(&r->values, &r->values_bytes,
			       n * value_bytes(r, m));
}

/* --- many at once --- */

static int give(const struct map_reader *r, const struct object_map *m,
		size_t n, uint64_t max, map_reader_fn fn, void *arg,
		struct map_reader_result *out)
{
	int err = 0;

	for (size_t i = 0; i < n && !err; i++) {
		if (out->entries == max) {
			out->truncated = true;
			return 0;
		}
		out->entries++;
		err = fn(arg, r->keys + i * m->key_size,
			 r->values + i * value_bytes(r, m));
	}
	return err;
}

/* Entries for the first call: what there is, or a good part of it. */
static size_t first_room(const struct map_reader *r, const struct object_map *m)
{
	size_t n = m->max_entries < AT_ONCE ? m->max_entries : AT_ONCE;
	size_t one = value_bytes(r, m) + m->key_size;

	while (n > 64 && n * one > (8u << 20))
		n /= 2;
	return n > 0 ? n : 1;
}

static int read_batches(struct map_reader *r, const struct object_map *m,
			uint64_t max, map_reader_fn fn, void *arg,
			struct map_reader_result *out)
{
	size_t n = first_room(r, m), bytes = m->key_size > 8 ? m->key_size : 8;
	uint8_t *cursor =
		calloc(2, bytes < CURSOR_BYTES ? CURSOR_BYTES : bytes);
	uint8_t *next = cursor ? cursor + bytes : NULL;
	bool first = true;
	int err = cursor ? 0 : -ENOMEM, got = 0;

	while (!err && got != -ENOENT && !out->truncated) {
		uint32_t count = (uint32_t)n;

		err = make_room(r, m, n);
		if (err)
			break;
		got = bpf_map_lookup_batch(m->fd, first ? NULL : cursor, next,
					   r->keys, r->values, &count, NULL);
		if (got == -ENOSPC) {
			/* A bucket with more keys than there is room for. */
			n *= 2;
			continue;
		}
		if (got == -EINTR || got == -EAGAIN)
			continue;
		if (got && got != -ENOENT) {
			err = got;
			break;
		}
		err = give(r, m, count, max, fn, arg, out);
		memcpy(cursor, next, bytes);
		first = false;
	}
	free(cursor);
	return err;
}

/* --- one by one --- */

static uint64_t hash_bytes(const uint8_t *p, size_t n)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (size_t i = 0; i < n; i++)
		h = (h ^ p[i]) * 0x100000001b3u;
	return h ^ h >> 29;
}

static uint64_t hash_of_seen(const void *arg, uint32_t i)
{
	const struct map_reader *r = arg;

	return hash_bytes(r->seen_key + i * r->key_size, r->key_size);
}

/* 1: it is new. 0: it came before. */
static int note_key(struct map_reader *r, const uint8_t *key)
{
	uint64_t hash = hash_bytes(key, r->key_size);
	size_t at = hash;
	uint32_t i;
	int err;

	while (hash_index_next(&r->seen, &at, &i))
		if (!memcmp(r->seen_key + i * r->key_size, key, r->key_size))
			return 0;
	if (r->n_seen == r->cap_seen) {
		size_t cap = r->cap_seen ? 2 * r->cap_seen : 1024;
		void *p = reallocarray(r->seen_key, cap, r->key_size);

		if (!p)
			return -ENOMEM;
		r->seen_key = p;
		r->cap_seen = cap;
	}
	err = hash_index_reserve(&r->seen, hash_of_seen, r);
	if (err)
		return err;
	memcpy(r->seen_key + r->n_seen * r->key_size, key, r->key_size);
	hash_index_put(&r->seen, hash, (uint32_t)r->n_seen++);
	return 1;
}

static int read_one(struct map_reader *r, const struct object_map *m,
		    const uint8_t *key, uint64_t max, map_reader_fn fn,
		    void *arg, struct map_reader_result *out)
{
	int fresh = note_key(r, key);

	if (fresh <= 0)
		return fresh;
	/* Deleted since the walk came by: it is no entry. */
	if (bpf_map_lookup_elem(m->fd, key, r->values))
		return errno == ENOENT ? 0 : -errno;
	if (out->entries == max) {
		out->truncated = true;
		return 0;
	}
	out->entries++;
	return fn(arg, key, r->values);
}

/*
 * A key that is deleted while it is the walk's place sends it back to the
 * start; more steps than twice the entries are given up.
 */
static int read_keys(struct map_reader *r, const struct object_map *m,
		     uint64_t max, map_reader_fn fn, void *arg,
		     struct map_reader_result *out)
{
	uint64_t steps = 2 * (uint64_t)m->max_entries + 1024;
	uint8_t *key, *next;
	int err = make_room(r, m, 2);

	if (!err && !r->seen.slot)
		err = hash_index_init(&r->seen, 1024);
	if (err)
		return err;
	hash_index_clear(&r->seen);
	r->n_seen = 0;
	r->cap_seen = r->key_size == m->key_size ? r->cap_seen : 0;
	r->key_size = m->key_size;
	key = r->keys;
	next = r->keys + m->key_size;
	if (bpf_map_get_next_key(m->fd, NULL, next))
		return errno == ENOENT ? 0 : -errno;
	do {
		memcpy(key, next, m->key_size);
		err = read_one(r, m, key, max, fn, arg, out);
	} while (!err && !out->truncated && steps-- > 0 &&
		 !bpf_map_get_next_key(m->fd, key, next));
	return err;
}

int map_reader_read(struct map_reader *r, const struct object_map *m,
		    uint64_t max, map_reader_fn fn, void *arg,
		    struct map_reader_result *out)
{
	int err = -ENOTSUP;

	*out = (struct map_reader_result){ 0 };
	if (m->type != OBJECT_MAP_HASH && m->type != OBJECT_MAP_ARRAY)
		return -EINVAL;
	if (!r->one_by_one)
		err = read_batches(r, m, max, fn, arg, out);
	/* 524: the kernel's ENOTSUPP, which has no name here. */
	if (out->entries == 0 &&
	    (err == -ENOTSUP || err == -EINVAL || err == -524))
		err = read_keys(r, m, max, fn, arg, out);
	return err;
}

int map_reader_take(struct map_reader *r, const struct object_map *m,
		    const uint8_t *key, const uint8_t **value)
{
	int err = make_room(r, m, 1);

	if (err)
		return err;
	*value = r->values;
	err = bpf_map_lookup_and_delete_elem(m->fd, key, r->values);
	if (!err || errno == ENOENT)
		return err ? -ENOENT : 0;
	/* Before 5.14 hash maps can't; between the two calls some is lost. */
	if (bpf_map_lookup_elem(m->fd, key, r->values))
		return -errno;
	bpf_map_delete_elem(m->fd, key);
	return 0;
}

int map_reader_look(const struct object_map *m, const void *key, void *out)
{
	return bpf_map_lookup_elem(m->fd, key, out);
}
