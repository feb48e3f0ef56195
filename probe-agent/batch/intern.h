/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_BATCH_INTERN_H
#define PROBE_AGENT_BATCH_INTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/batch.h"

/*
 * The tables of a batch under construction: strings, resources and series. Each
 * distinct one is stored once and numbered in the order of arrival. A reset
 * keeps the memory for the next batch, so the steady state has no malloc. Not
 * locked.
 */

/* A slot of an open-addressed table; one of another generation is empty. */
struct intern_slot {
	uint64_t hash;
	uint32_t generation, id;
};

struct intern_index {
	struct intern_slot *slots;
	size_t mask; /* slots - 1 */
	size_t n;
	uint32_t generation;
};

/* Distinct rows of width numbers each. */
struct intern_rows {
	struct intern_index index;
	uint32_t *rows;
	size_t n, cap, width;
};

struct intern {
	uint64_t seed; /* random, since peers choose some of the strings */
	struct intern_index index;
	size_t n_strings, cap_strings;
	uint32_t *offset, *len; /* of each string, in chars */
	char *chars;
	size_t n_chars, cap_chars;
	struct intern_rows resources, series;
};

/* Numbers per row of series; one of resources has RESOURCE_N. */
#define INTERN_SERIES_WIDTH 13

/* 0 or -ENOMEM. String 0 is "". */
int intern_init(struct intern *t);
void intern_fini(struct intern *t);
void intern_reset(struct intern *t);

/*
 * Returns the number of a string, resource or series, which is added if it is
 * new. -ENOMEM. Strings are cleaned: cut at LIMIT_STRING_BYTES, with "?" for
 * each byte that is not UTF-8. NULL is "".
 */
int64_t intern_string(struct intern *t, const char *s);
int64_t intern_string_len(struct intern *t, const char *s, size_t len);
int64_t intern_resource(struct intern *t, const uint32_t row[RESOURCE_N]);
int64_t intern_series(struct intern *t,
		      const uint32_t row[INTERN_SERIES_WIDTH]);

/*
 * Returns the number of series i of a decoded batch, whose strings, resource
 * and series are added if they are new. -ENOMEM.
 */
int64_t intern_batch_series(struct intern *t, const struct batch *b,
			    uint32_t i);

/* True once an event with only new strings might not fit any more. */
bool intern_full(const struct intern *t);

/*
 * Fills in the strings, resources and series of b. Their arrays are in *memory,
 * which the caller frees after encoding; the bytes of the strings are borrowed
 * from t. -ENOMEM.
 */
int intern_tables(const struct intern *t, struct batch *b, void **memory);

/* The index alone, for tables of other rows: see samples_rows.h. -ENOMEM. */
int intern_index_init(struct intern_index *ix);
void intern_index_reset(struct intern_index *ix);
/* Adds an entry that is new. -ENOMEM. */
int intern_index_add(struct intern_index *ix, uint64_t hash, uint32_t id);

/* Mixes two numbers into a hash of 64 bits. */
static inline uint64_t intern_mix(uint64_t a, uint64_t b)
{
	__uint128_t m = (__uint128_t)(a ^ 0x9e3779b97f4a7c15u) *
			(b ^ 0xe7037ed1a0b428dbu);

	return (uint64_t)m ^ (uint64_t)(m >> 64);
}

#endif /* PROBE_AGENT_BATCH_INTERN_H */
