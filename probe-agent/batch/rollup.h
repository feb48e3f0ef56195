/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_BATCH_ROLLUP_H
#define PROBE_AGENT_BATCH_ROLLUP_H

#include <stddef.h>
#include <stdint.h>

#include "proto/batch.h"

/*
 * Folds batches into one that keeps every count, sum and histogram per series
 * and window, and gives up the single events: their exact times, time to first
 * byte, traces and connections. Histograms stay exact, see proto/buckets.h.
 * Pure; not locked.
 */
struct rollup;

/* Sets *out, released by rollup_free(). -ENOMEM. */
int rollup_new(struct rollup **out);
void rollup_free(struct rollup *r); /* NULL is fine */
void rollup_reset(struct rollup *r);

/*
 * Adds events and rollups of the next batch, in order of sequence numbers.
 * Losses and identity are those of the newest. -ENOMEM: start over.
 */
int rollup_add(struct rollup *r, const struct batch *b);

uint64_t rollup_events(const struct rollup *r); /* added since reset */

/*
 * Encodes what was added, as sequences first to last. *data is malloc'd and
 * the caller's. -EMSGSIZE: it would be over a limit; -ENOMEM.
 */
int rollup_encode(struct rollup *r, const char *agent, uint64_t epoch,
		  uint64_t first, uint64_t last, void **data, size_t *len);

#endif /* PROBE_AGENT_BATCH_ROLLUP_H */
