/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_STORE_DURATIONS_H
#define AGGREGATOR_STORE_DURATIONS_H

#include <stddef.h>

#include "aggregator/store/store.h"
#include "common/buf.h"

/*
 * The store's encoding of sparse histograms. Each bucket that is not empty, in
 * ascending order, is the difference to the previous native index (zigzag
 * varint; the first to BUCKET_ZERO) and the count (varint). Pure.
 */

/* Appends n buckets to out. Errors are kept in out->err. */
void durations_encode(struct buf *out, const struct store_bucket *b, size_t n);

/* Appends the sum of a and b to out. Ignores a truncated or invalid rest. */
void durations_add(struct buf *out, const void *a, size_t a_len, const void *b,
		   size_t b_len);

/* Decodes at most max buckets. Returns how many. */
size_t durations_decode(const void *data, size_t len, struct store_bucket *out,
			size_t max);

/* The number of native buckets over seconds, with some room. */
#define DURATIONS_MAX 516u

#endif /* AGGREGATOR_STORE_DURATIONS_H */
