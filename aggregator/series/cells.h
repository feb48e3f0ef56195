/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_SERIES_CELLS_H
#define AGGREGATOR_SERIES_CELLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "proto/buckets.h"

/*
 * Cells are the intervals between all the bounds of the native buckets and of
 * the classic buckets of every view in the same unit. Each bucket is a run of
 * whole cells, so one count per cell serves all of these histograms exactly.
 */
#define CELLS_EXACT_BITS 53 /* integers below 2^53 are exact as doubles */
#define CELLS_STEPS (64u * 16)
struct cells {
	bool seconds; /* values are µs, exposed in seconds; else bytes */
	uint32_t n;
	uint64_t *upper; /* ascending; cell i holds (upper[i-1], upper[i]] */
	int16_t *native; /* native bucket of each cell; cell 0 holds only 0 */
	uint16_t start[CELLS_STEPS]; /* see cells_index() */
};

/*
 * bounds: the classic bounds, in any order, duplicates allowed. Released by
 * cells_fini(). -ENOMEM.
 */
int cells_init(struct cells *c, bool seconds, const uint64_t *bounds,
	       size_t n_bounds);
void cells_fini(struct cells *c);

/* Like cells_index(), by bisection alone. */
unsigned cells_find(const struct cells *c, uint64_t v);

/* The index in start for v > 0: its exponent and the four bits that follow. */
static inline unsigned cells_step(uint64_t v)
{
	double d = (double)(int64_t)v;
	uint64_t bits;

	memcpy(&bits, &d, sizeof(bits));
	return (unsigned)(bits >> 48) % CELLS_STEPS;
}

/*
 * Returns the cell of v < 2^CELLS_EXACT_BITS. start[] has the first cell to try
 * for the highest bit of v and the four bits below it, which a double has side
 * by side. These make 16 steps per power of two, which has only eight native
 * buckets: a step contains at most one of their bounds, so one comparison
 * usually settles it. 0 has the step of 2.
 */
static inline unsigned cells_index_exact(const struct cells *c, uint64_t v)
{
	unsigned i = c->start[cells_step(v)];

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

#endif /* AGGREGATOR_SERIES_CELLS_H */
