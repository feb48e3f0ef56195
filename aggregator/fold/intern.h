/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_FOLD_INTERN_H
#define AGGREGATOR_FOLD_INTERN_H

#include <stddef.h>
#include <stdint.h>

/*
 * One copy of each label value, never moved and never freed before the whole
 * table is: whoever holds a pointer may read it without a lock. So only values
 * of series that were granted a place may be added. Adding is for one thread.
 */
struct intern;

struct interned {
	uint64_t hash;
	uint32_t id; /* 1, 2, 3 … */
	uint32_t len;
	char text[]; /* NUL-terminated */
};

/* Sets *out, released by intern_free(). -ENOMEM. */
int intern_new(struct intern **out);
void intern_free(struct intern *in); /* NULL is fine */

/* Keyed per table, so that nobody outside can choose collisions. */
uint64_t intern_hash(const struct intern *in, const char *data, size_t len);

/* NULL: never added. */
const struct interned *intern_find(const struct intern *in, const char *data,
				   size_t len, uint64_t hash);
/* Finds or adds. NULL: out of memory. */
const struct interned *intern_add(struct intern *in, const char *data,
				  size_t len, uint64_t hash);

#endif /* AGGREGATOR_FOLD_INTERN_H */
