/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_FOLD_SLOWEST_H
#define AGGREGATOR_FOLD_SLOWEST_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "aggregator/series/cells.h"
#include "aggregator/series/exemplar.h"
#include "aggregator/series/span.h"
#include "aggregator/views/views.h"
#include "proto/batch.h"
#include "proto/limits.h"

/*
 * Exemplars: the slowest request of each classic bucket since the last
 * snapshot. While a batch is read, only the greatest duration per row and group
 * is kept; when the batch is counted, these are merged into the series. Pure;
 * not locked.
 */

/* The exemplars of one series. Shared with snapshots like spans. */
struct slowest_exemplars {
	uint64_t generation;
	uint32_t n;
	struct exemplar at[]; /* ascending by bucket */
};

/*
 * Groups are the intervals between all the bounds of all views of durations.
 * Each bucket of each of these views is a run of whole groups.
 */
#define SLOWEST_GROUPS 64u /* one bit each in a word */

/* Not opaque, as the loop over events reads it. */
struct slowest {
	const struct views *views; /* borrowed */
	unsigned n_groups; /* at most SLOWEST_GROUPS */
	uint8_t *group; /* by cell */
	uint8_t (*bucket)[SLOWEST_GROUPS]; /* by view and group */
};

/* Sets *out, released by slowest_free(). -ENOMEM. */
int slowest_new(struct slowest **out, const struct cells *cells,
		const struct views *views);
void slowest_free(struct slowest *s); /* NULL is fine */

static_assert(LIMIT_EVENTS <= 1u << 16 && LIMIT_DURATION_US <= 1ull << 42 &&
		      SLOWEST_GROUPS <= 1u << 6,
	      "group, duration and event fit in one word");

/* A word that is greater the slower the event is. 0, less than any: none. */
static inline uint64_t slowest_word(uint64_t duration_us, size_t event)
{
	return (duration_us << 16 | event) + 1;
}

/* The slowest event of a row in one group. */
struct slowest_pick {
	uint64_t word; /* group << 58 | duration << 16 | event */
	int64_t end_us;
};

static inline struct slowest_pick slowest_pick(unsigned group, uint64_t word,
					       const int64_t *end_us)
{
	return (struct slowest_pick){
		.word = (uint64_t)group << 58 | (word - 1),
		.end_us = end_us[(word - 1) & 0xffff],
	};
}

/* Events that have a trace id. */
struct slowest_traces {
	const uint32_t *event; /* ascending */
	size_t n;
	const uint8_t *ids; /* 24 bytes each: trace id, span id */
};

/* The slowest events of one row of the batch. */
struct slowest_row {
	const struct slowest_pick *best; /* ascending by group */
	size_t n;
	const struct slowest_traces *traces;
};

/*
 * Merges the row into the exemplars *ref of a series of view v. No snapshot may
 * share *ref; NULL is fine; it moves when it grows. generation: that of new
 * spans; an exemplar of an older generation is replaced by any event. -ENOMEM.
 */
int slowest_merge(const struct slowest *s, const struct slowest_row *r,
		  size_t v, uint64_t log_id, uint64_t generation,
		  struct slowest_exemplars **ref);

/* Whether slowest_merge() would change e. */
bool slowest_wins(const struct slowest *s, const struct slowest_row *r,
		  size_t v, uint64_t generation,
		  const struct slowest_exemplars *e);

#endif /* AGGREGATOR_FOLD_SLOWEST_H */
