/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_REPLAY_BACKFILL_H
#define PROBE_AGENT_REPLAY_BACKFILL_H

#include "proto/batch.h"

/*
 * Turns batches into the past of the duration histograms, as OpenMetrics with
 * timestamps: the samples that a Prometheus would have if it had scraped every
 * 10 s. Keeps all windows in memory until they are written. Not locked.
 */
struct backfill;

/* Sets *out, released by backfill_free(). -ENOMEM. */
int backfill_new(struct backfill **out);
void backfill_free(struct backfill *b); /* NULL is fine */

/* Adds the requests of a batch. -ENOMEM. */
int backfill_add(struct backfill *b, const struct batch *batch);

/* Writes all samples to a file; path "-": standard output. Negative errno. */
int backfill_write(struct backfill *b, const char *path);

#endif /* PROBE_AGENT_REPLAY_BACKFILL_H */
