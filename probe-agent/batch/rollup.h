/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_BATCH_ROLLUP_H
#define PROBE_AGENT_BATCH_ROLLUP_H

#include <stddef.h>
#include <stdint.h>

#include "proto/batch.h"

/*
 * Folds batches into one, to save space. The result keeps the count, sums and
 * histograms of each series and window, and loses the single events: their
 * exact times, times to first byte, traces and connections. Histograms stay
 * exact, see proto/buckets.h. Not locked.
 */
struct rollup;

/* Sets *out, released by rollup_free(). -ENOMEM. */
int rollup_new(struct rollup **out);
void rollup_free(struct rollup *r); /* NULL is fine */
void rollup_reset(struct rollup *r);

/*
 * Adds the events and rollups of a batch. Batches must come in the order of
 * their sequence numbers: losses and info are those of the last one. -ENOMEM:
 * the rollup is unusable until a reset.
 */
int rollup_add(struct rollup *r, const struct batch *b);

uint64_t rollup_events(const struct rollup *r); /* added since the reset */

/*
 * Encodes what was added as one batch that stands for the sequence numbers
 * first to last. *data is malloc'd and the caller's. -EMSGSIZE: over a limit.
 * -ENOMEM.
 */
int rollup_encode(struct rollup *r, const char *agent, uint64_t epoch,
		  uint64_t first, uint64_t last, void **data, size_t *len);

#endif /* PROBE_AGENT_BATCH_ROLLUP_H */
