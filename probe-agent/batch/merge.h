/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_BATCH_MERGE_H
#define PROBE_AGENT_BATCH_MERGE_H

#include <stddef.h>
#include <stdint.h>

#include "proto/batch.h"

/*
 * Joins batches of events into one that stands for their sequence numbers and
 * has every event with all its detail; their samples add up. A backlog is sent
 * that way, since a batch waits for the reply to the one before: what limits it
 * is the number of batches. Not locked.
 */
struct merge;

/* More than an agent's batch has, as a full one is the cheapest per event. */
#define MERGE_EVENTS 32768u

/* Sets *out, released by merge_free(). -ENOMEM. */
int merge_new(struct merge **out);
void merge_free(struct merge *m); /* NULL is fine */
void merge_reset(struct merge *m);

/*
 * Adds the events of a batch without rollups. Batches must come in the order of
 * their sequence numbers: losses are those of the last one, info that of the
 * last one that has any. -EMSGSIZE: the batch does not fit, nothing is added.
 * -ENOMEM: the merge is unusable until a reset.
 */
int merge_add(struct merge *m, const struct batch *b);

/*
 * Encodes what was added as one batch that stands for the sequence numbers
 * first to last. *data is malloc'd and the caller's. -EMSGSIZE, -ENOMEM.
 */
int merge_encode(struct merge *m, const char *agent, uint64_t epoch,
		 uint64_t first, uint64_t last, void **data, size_t *len);

#endif /* PROBE_AGENT_BATCH_MERGE_H */
