/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_FOLD_WINDOW_H
#define AGGREGATOR_FOLD_WINDOW_H

#include <stddef.h>
#include <stdint.h>

#include "aggregator/series/cells.h"
#include "aggregator/series/span.h"
#include "proto/limits.h"

/*
 * Counts per window of WINDOW_SECONDS and label set, since windows were last
 * written to the store. The store adds these deltas to the rows it has, so late
 * events need no special care and memory holds no window for long. An event
 * belongs to the window in which it ended. Not locked: the engine's thread owns
 * it.
 */

/* What a window counts, and its label set. Numbers are in the store. */
enum window_kind {
	/* job, role, method, route, status, error, rpc_system, rpc_status */
	WINDOW_REQUESTS,
	WINDOW_INSTANCES, /* job, instance, role */
	WINDOW_EDGES, /* client, server, connection_type: of the graph */
	WINDOW_KINDS,
};

/* Places of the sums and histograms. */
enum window_value {
	WINDOW_DURATION = 0, /* µs; requests and instances */
	WINDOW_REQUEST_BYTES = 1, /* a sum only */
	WINDOW_RESPONSE_BYTES = 2, /* a sum only */
	WINDOW_SERVER = 0, /* µs; edges */
	WINDOW_CLIENT = 1,
	WINDOW_NETWORK = 2,
	WINDOW_VALUES = 3,
};

struct window_delta {
	int64_t start_s;
	uint32_t key; /* the label set: a slot of the kind's series */
	uint64_t count, errors;
	uint64_t sum[WINDOW_VALUES];
	struct span *span[WINDOW_VALUES]; /* duration cells; NULL: none yet */
};

/*
 * The start of the window that an event counts in: that of its end, or of its
 * arrival if that is further away than future_us or past_us.
 */
static inline int64_t window_start_s(int64_t end_us, int64_t received_us,
				     uint64_t future_us, uint64_t past_us)
{
	if (end_us < 0)
		end_us = 0;
	if ((end_us > received_us &&
	     (uint64_t)(end_us - received_us) > future_us) ||
	    (end_us < received_us &&
	     (uint64_t)(received_us - end_us) > past_us))
		end_us = received_us;
	return end_us / (WINDOW_SECONDS * INT64_C(1000000)) * WINDOW_SECONDS;
}

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

/*
 * Ask the CPU to fetch what windows_get() will read: first the place in the
 * index, and once that is there the delta.
 */
void windows_ask_place(const struct windows *w, int64_t start_s, uint32_t key);
void windows_ask_delta(const struct windows *w, int64_t start_s, uint32_t key);

size_t windows_count(const struct windows *w);
struct window_delta *windows_at(struct windows *w, size_t i);

/* Removes all deltas, once the store has them. */
void windows_clear(struct windows *w);

#endif /* AGGREGATOR_FOLD_WINDOW_H */
