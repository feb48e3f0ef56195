/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/series/span.h"

#include <stdlib.h>
#include <string.h>

/* Spans begin and end at multiples of this, so they are seldom reallocated. */
#define SPAN_STEP 8u

struct span *span_new(unsigned first, unsigned n, uint64_t generation)
{
	struct span *s = calloc(1, sizeof(*s) + n * sizeof(s->count[0]));

	if (!s)
		return NULL;
	s->generation = generation;
	s->first = (uint16_t)first;
	s->n = (uint16_t)n;
	return s;
}

struct span *span_widen(const struct span *s, unsigned low, unsigned high,
			unsigned n_cells, uint64_t generation)
{
	unsigned first = low / SPAN_STEP * SPAN_STEP;
	unsigned end = (high / SPAN_STEP + 1) * SPAN_STEP;
	struct span *wide;

	if (s && s->n) {
		if (s->first < first)
			first = s->first;
		if ((unsigned)s->first + s->n > end)
			end = (unsigned)s->first + s->n;
	}
	if (end > n_cells)
		end = n_cells;
	wide = span_new(first, end - first, generation);
	if (wide && s && s->n)
		memcpy(wide->count + (s->first - first), s->count,
		       s->n * sizeof(s->count[0]));
	return wide;
}
