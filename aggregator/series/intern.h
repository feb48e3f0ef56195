/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_SERIES_INTERN_H
#define AGGREGATOR_SERIES_INTERN_H

#include <stddef.h>
#include <stdint.h>

/*
 * Keeps one copy of each label value. A copy is never moved, and freed only
 * with the whole table, so any thread that holds a pointer may read it without
 * a lock. To bound the table, add only values of series that were granted a
 * place. Only one thread may add.
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

/* The hash has a random key per table, so collisions cannot be provoked. */
uint64_t intern_hash(const struct intern *in, const char *data, size_t len);

/* Returns NULL if the value was never added. */
const struct interned *intern_find(const struct intern *in, const char *data,
				   size_t len, uint64_t hash);
/*
 * Ask the CPU to fetch what intern_find() will read: first the place in the
 * table, and once that is there the value.
 */
void intern_ask_place(const struct intern *in, uint64_t hash);
void intern_ask_value(const struct intern *in, uint64_t hash);
/* Finds or adds the value. NULL: out of memory. */
const struct interned *intern_add(struct intern *in, const char *data,
				  size_t len, uint64_t hash);

#endif /* AGGREGATOR_SERIES_INTERN_H */
