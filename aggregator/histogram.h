/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_HISTOGRAM_H
#define AGGREGATOR_HISTOGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/buckets.h"

/*
 * Cells: the common refinement of the native buckets and of the classic bounds
 * of every view that measures the same thing. One increment of a cell is one
 * increment of each of these histograms, and all of them stay exact.
 */
struct cells {
	bool seconds; /* µs shown in seconds; else bytes */
	uint32_t n;
	uint64_t *upper; /* ascending; cell i holds (upper[i-1], upper[i]] */
	int16_t *native; /* native bucket of a cell; [0] is the zero cell */
	uint16_t base[516]; /* first cell of a native bucket, by offset */
};

/*
 * bounds: the classic bounds, any order, doubles allowed. cells_fini() frees.
 * -ENOMEM.
 */
int cells_init(struct cells *c, bool seconds, const uint64_t *bounds,
	       size_t n_bounds);
void cells_fini(struct cells *c);

static inline unsigned cells_find(const struct cells *c, unsigned i, uint64_t v)
{
	i = c->base[i];
	while (v > c->upper[i])
		i++;
	return i;
}

/* The cell of a duration in µs; c->seconds must be set. */
static inline unsigned cells_index_seconds(const struct cells *c, uint64_t us)
{
	if (us == 0)
		return 0;
	return cells_find(c,
			  (unsigned)(bucket_native_seconds(us) -
				     BUCKET_NATIVE_SECONDS_MIN),
			  us);
}

/* The cell of a size; c->seconds must not be set. */
static inline unsigned cells_index_bytes(const struct cells *c, uint64_t bytes)
{
	if (bytes == 0)
		return 0;
	return cells_find(c, (unsigned)bucket_native_bytes(bytes), bytes);
}

/*
 * Counts of neighbouring cells. A snapshot shares spans with the engine: one
 * that is older than the newest snapshot is copied before it is written to.
 */
struct span {
	uint64_t generation; /* when it was made, in snapshots */
	uint16_t first, n; /* cells [first, first + n) */
	uint64_t count[];
};

/* All zero. NULL: out of memory. free() releases. */
struct span *span_new(unsigned first, unsigned n, uint64_t generation);

/* A wider one that has cell inside, with the counts of s (may be NULL). */
struct span *span_widen(const struct span *s, unsigned cell, unsigned n_cells,
			uint64_t generation);

#endif /* AGGREGATOR_HISTOGRAM_H */
