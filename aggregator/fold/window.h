/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_FOLD_WINDOW_H
#define AGGREGATOR_FOLD_WINDOW_H

#include <stddef.h>
#include <stdint.h>

#include "aggregator/series/cells.h"
#include "aggregator/series/span.h"

/*
 * Counts per window of WINDOW_SECONDS and label set, since windows were last
 * written to the store. The store adds these deltas to the rows it has, so late
 * events need no special care and memory holds no window for long. An event
 * belongs to the window in which it ended. Not locked: the engine's thread owns
 * it.
 */
struct window_delta {
	int64_t start_s;
	uint32_t key; /* the label set: a slot of the window series */
	uint64_t count, errors;
	uint64_t duration_sum_us, request_bytes_sum, response_bytes_sum;
	struct span *span; /* duration cells; NULL: none yet */
};

struct windows;

/* Sets *out, released by windows_free(). -ENOMEM. */
int windows_new(struct windows **out);
void windows_free(struct windows *w); /* NULL is fine */

/*
 * Returns the delta of a window and label set; a new one is all zero. It does
 * not move until windows_clear(). NULL: out of memory.
 */
struct window_delta *windows_get(struct windows *w, int64_t start_s,
				 uint32_t key);

size_t windows_count(const struct windows *w);
struct window_delta *windows_at(struct windows *w, size_t i);

/* Removes all deltas, once the store has them. */
void windows_clear(struct windows *w);

#endif /* AGGREGATOR_FOLD_WINDOW_H */
