/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_WORKER_MAP_READER_H
#define PROBE_AGENT_WORKER_MAP_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "probe-agent/worker/object.h"

/*
 * Reads maps whole, many entries a call, and never changes them. Each key comes
 * once, although others change the map meanwhile. One thread; its buffers serve
 * any number of maps.
 */
struct map_reader;

/* Sets *out, released by map_reader_free(). -ENOMEM. */
int map_reader_new(struct map_reader **out);
void map_reader_free(struct map_reader *r); /* NULL is fine */

/*
 * value: one, or one for each possible CPU, each padded to 8 bytes. Both are
 * borrowed for the call.
 */
typedef int (*map_reader_fn)(void *arg, const uint8_t *key,
			     const uint8_t *value);

struct map_reader_result {
	uint64_t entries; /* that were given to fn */
	bool truncated; /* there were more than max */
};

/*
 * Calls fn for every key, at most max times, until it returns an error. 0, that
 * error, -ENOMEM, or the kernel's.
 */
int map_reader_read(struct map_reader *r, const struct object_map *m,
		    uint64_t max, map_reader_fn fn, void *arg,
		    struct map_reader_result *out);
/* As if the kernel could not read many at once: for tests. */
void map_reader_one_by_one(struct map_reader *r, bool yes);

unsigned map_reader_cpus(const struct map_reader *r); /* possible ones */
/* Bytes from one CPU's value to the next. */
size_t map_reader_stride(const struct object_map *m);

/* One key's value; out has room for it. Negative errno. */
int map_reader_look(const struct object_map *m, const void *key, void *out);
/* Takes a key out and gives its last value. -ENOENT: it was gone already. */
int map_reader_take(struct map_reader *r, const struct object_map *m,
		    const uint8_t *key, const uint8_t **value);

#endif /* PROBE_AGENT_WORKER_MAP_READER_H */
