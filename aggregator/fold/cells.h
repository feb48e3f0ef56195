/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_FOLD_CELLS_H
#define AGGREGATOR_FOLD_CELLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "proto/buckets.h"

/*
 * Cells: the common refinement of the native buckets and of the classic bounds
 * of every view that measures the same thing. One increment of a cell is one
 * increment of each of these histograms, and all of them stay exact.
 */
#define CELLS_EXACT_BITS 53 /* of a double */
#define CELLS_STEPS (64u * 16)
struct cells {
	bool seconds; /* µs shown in seconds; else bytes */
	uint32_t n;
	uint64_t *upper; /* ascending; cell i holds (upper[i-1], upper[i]] */
	int16_t *native; /* native bucket of a cell; [0] is the zero cell */
	uint16_t start[CELLS_STEPS]; /* see cells_index() */
};

/*
 * bounds: the classic bounds, any order, doubles allowed. cells_fini() frees.
 * -ENOMEM.
 */
int cells_init(struct cells *c, bool seconds, const uint64_t *bounds,
	       size_t n_bounds);
void cells_fini(struct cells *c);

/* The same for any value, by bisection. */
unsigned cells_find(const struct cells *c, uint64_t v);

/* Where in start a value is, 0 apart: its exponent and four bits. */
static inline unsigned cells_step(uint64_t v)
{
	double d = (double)(int64_t)v;
	uint64_t bits;

	memcpy(&bits, &d, sizeof(bits));
	return (unsigned)(bits >> 48) % CELLS_STEPS;
}

/*
 * The cell of a value. start says where to look, by the value's highest bit and
 * the four below it: of 16 such steps in a power of two, each has at most one
 * boundary of the eight native buckets, so one step mostly settles it. A double
 * has these bits side by side; that of 0 falls on the step of 2.
 */
static inline unsigned cells_index_exact(const struct cells *c, uint64_t v)
{
	unsigned i = c->start[cells_step(v)]; /* v < 2^CELLS_EXACT_BITS */

	i += v > c->upper[i];
	while (__builtin_expect(v > c->upper[i], 0))
		i++;
	return i;
}

static inline unsigned cells_index(const struct cells *c, uint64_t v)
{
	return v >> CELLS_EXACT_BITS ? cells_find(c, v)
				     : cells_index_exact(c, v);
}

#endif /* AGGREGATOR_FOLD_CELLS_H */
