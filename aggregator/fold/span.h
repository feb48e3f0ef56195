/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_FOLD_SPAN_H
#define AGGREGATOR_FOLD_SPAN_H

#include <stdint.h>

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

/* A wider one that has cells [low, high] and the counts of s (may be NULL). */
struct span *span_widen(const struct span *s, unsigned low, unsigned high,
			unsigned n_cells, uint64_t generation);

#endif /* AGGREGATOR_FOLD_SPAN_H */
