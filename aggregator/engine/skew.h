/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_ENGINE_SKEW_H
#define AGGREGATOR_ENGINE_SKEW_H

#include <stddef.h>
#include <stdint.h>

#include "proto/batch.h"

/*
 * Corrects the times of batches from agents whose clock is off. A batch is
 * moved to our clock on arrival and logged like that, so a later fold or export
 * of the log needs no correction. Pure.
 */

/*
 * A smaller difference is not corrected. It must exceed the 10 s after which an
 * agent sends again, or a batch that waited on its way would look like a clock
 * that is behind.
 */
#define SKEW_SLACK_US (15 * INT64_C(1000000))

/*
 * Returns what to add to the batch's times. 0: the sender's clock is right, or
 * the times are of no running clock, as in a replay. Whole windows if the batch
 * has rollups.
 */
int64_t skew_shift_us(const struct push *p, const struct batch *b,
		      int64_t received_us);

/*
 * Encodes the batch with its times moved into *out, which is malloc'd and owned
 * by the caller, and decodes that into *b with arena a. Negative errno: it
 * cannot be moved, and the caller must decode the original into *b again.
 */
int skew_move(struct batch_arena *a, struct batch *b, int64_t shift_us,
	      const void *data, size_t len, void **out, size_t *out_len);

#endif /* AGGREGATOR_ENGINE_SKEW_H */
