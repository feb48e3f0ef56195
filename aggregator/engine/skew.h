/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_ENGINE_SKEW_H
#define AGGREGATOR_ENGINE_SKEW_H

#include <stddef.h>
#include <stdint.h>

#include "proto/batch.h"

/*
 * Agents whose clock is off: their batches are moved to our time when they
 * arrive, and the log holds them so. Whoever folds or exports the log later
 * needs to know nothing of it. Pure.
 *
 * Below this nothing is moved. An agent asks again after 10 s, so an ordinary
 * wait on the way does not look like a clock that is behind.
 */
#define SKEW_SLACK_US (15 * INT64_C(1000000))

/*
 * What to add to the batch's times. 0 if the sender's clock is right, or its
 * times are of no clock that runs. Whole windows if there are rollups.
 */
int64_t skew_shift_us(const struct push *p, const struct batch *b,
		      int64_t received_us);

/*
 * The batch with its times moved: *out is malloc'd and the caller's, and valid
 * (it decodes into *b with arena a, whose content is replaced). Negative
 * errno: it can't be moved, and b is to be decoded again.
 */
int skew_move(struct batch_arena *a, struct batch *b, int64_t shift_us,
	      const void *data, size_t len, void **out, size_t *out_len);

#endif /* AGGREGATOR_ENGINE_SKEW_H */
