/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_STORE_DURATIONS_H
#define AGGREGATOR_STORE_DURATIONS_H

#include <stddef.h>

#include "aggregator/store/store.h"
#include "common/buf.h"

/*
 * Sparse histograms as the store keeps them: for each bucket that is not empty,
 * ascending, the step from the native index before (zigzag varint; the first
 * from BUCKET_ZERO) and the count (varint). Pure.
 */

/* Errors stick in out->err. */
void durations_encode(struct buf *out, const struct store_bucket *b, size_t n);

/* The sum of two of them; what is cut off or damaged at the end is left out. */
void durations_add(struct buf *out, const void *a, size_t a_len, const void *b,
		   size_t b_len);

/* Up to max buckets; how many there were. */
size_t durations_decode(const void *data, size_t len, struct store_bucket *out,
			size_t max);

/* Every bucket there is, with some room. */
#define DURATIONS_MAX 516u

#endif /* AGGREGATOR_STORE_DURATIONS_H */
