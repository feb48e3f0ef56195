/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_FOLD_WINDOW_H
#define AGGREGATOR_FOLD_WINDOW_H

#include <stddef.h>
#include <stdint.h>

#include "aggregator/fold/cells.h"
#include "aggregator/fold/span.h"

/*
 * What was counted per window of WINDOW_SECONDS and label set since windows
 * were last written to the store, which adds it to what it has. So a late
 * event needs nothing special, and memory holds no window for long. An event
 * belongs to the window in which it ended.
 * Not locked: the engine's thread owns it.
 */
struct window_delta {
	int64_t start_s;
	uint32_t key; /* of the label set: a slot of the window series */
	uint64_t count, errors;
	uint64_t duration_sum_us, request_bytes_sum, response_bytes_sum;
	struct span *span; /* of duration cells; NULL: none yet */
};

struct windows;

/* Sets *out, released by windows_free(). -ENOMEM. */
int windows_new(struct windows **out);
void windows_free(struct windows *w); /* NULL is fine */

/*
 * The delta of that window, all zero if it is new. Stays where it is until
 * windows_clear(). NULL: out of memory.
 */
struct window_delta *windows_get(struct windows *w, int64_t start_s,
				 uint32_t key);

size_t windows_count(const struct windows *w);
struct window_delta *windows_at(struct windows *w, size_t i);

/* They are in the store now: starts again with none. */
void windows_clear(struct windows *w);

#endif /* AGGREGATOR_FOLD_WINDOW_H */
