/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_SERIES_SPAN_H
#define AGGREGATOR_SERIES_SPAN_H

#include <stdint.h>

/*
 * The counts of a run of cells. Snapshots share spans with the engine: a span
 * that the newest snapshot may refer to is copied before it is written to.
 */
struct span {
	uint64_t generation; /* number of snapshots taken before it was made */
	uint16_t first, n; /* cells [first, first + n) */
	uint64_t count[];
};

/* Makes a span of zeros, released by free(). NULL: out of memory. */
struct span *span_new(unsigned first, unsigned n, uint64_t generation);

/*
 * Makes a span that has the cells [low, high] and those of s, with the counts
 * of s. s may be NULL and is not freed. NULL: out of memory.
 */
struct span *span_widen(const struct span *s, unsigned low, unsigned high,
			unsigned n_cells, uint64_t generation);

#endif /* AGGREGATOR_SERIES_SPAN_H */
