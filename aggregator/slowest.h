/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_SLOWEST_H
#define AGGREGATOR_SLOWEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "aggregator/histogram.h"
#include "aggregator/snapshot.h"
#include "aggregator/views.h"
#include "proto/batch.h"
#include "proto/limits.h"

/*
 * The slowest request of each classic bucket since the last snapshot. While a
 * batch is folded, only the greatest duration per row and group is kept; what
 * is left of it at the end of the batch goes to the series. Pure; not locked.
 */

/* Those of one series. Shared with snapshots as spans are. */
struct exemplars {
	uint64_t generation;
	uint32_t n;
	struct snapshot_exemplar at[]; /* ascending by bucket */
};

/* The slowest events of a batch. */
struct slowest;

/*
 * Groups are the intervals between all the bounds of the views that measure
 * durations: each bucket of each of them is a run of groups. Sets *out,
 * released by slowest_free(). -ENOMEM.
 */
int slowest_new(struct slowest **out, const struct cells *cells,
		const struct views *views);
void slowest_free(struct slowest *s); /* NULL is fine */

/* Starts on a batch, borrowed until the next one. -ENOMEM. */
int slowest_begin(struct slowest *s, const struct batch *b);

#define SLOWEST_GROUPS 64u

/* Of one row of the batch. */
struct slowest_row {
	uint64_t groups; /* bit by group: there is an event */
	uint64_t best[SLOWEST_GROUPS]; /* by group: the greatest word */
};

/* Open, as every event passes here. */
struct slowest {
	const struct views *views; /* borrowed */
	const struct batch *batch;
	unsigned n_groups; /* at most SLOWEST_GROUPS */
	uint8_t *group; /* by cell */
	uint8_t (*bucket)[SLOWEST_GROUPS]; /* by view and group */
	int64_t *end_us; /* by event */
	size_t event_cap;
	uint32_t *traced; /* events with a trace id, ascending */
	size_t traced_cap;
};

_Static_assert(LIMIT_EVENTS <= 1u << 16 && LIMIT_DURATION_US < 1ull << 48,
	       "duration and event fit in one word");

static inline uint64_t slowest_word(uint64_t duration_us, size_t event)
{
	return duration_us << 16 | event;
}

static inline void slowest_init(const struct slowest *s, struct slowest_row *r)
{
	r->groups = 0;
	memset(r->best, 0, s->n_groups * sizeof(r->best[0]));
}

static inline void slowest_note(const struct slowest *s, struct slowest_row *r,
				unsigned cell, uint64_t word)
{
	unsigned group = s->group[cell];

	r->groups |= UINT64_C(1) << group;
	if (word > r->best[group])
		r->best[group] = word;
}

/*
 * Merges the row into the exemplars of a series of view v. *ref must be the
 * caller's alone, or NULL; it moves when it grows. generation: of snapshots; an
 * exemplar of an older one gives way to any. -ENOMEM.
 */
int slowest_merge(const struct slowest *s, const struct slowest_row *r,
		  size_t v, uint64_t log_id, uint64_t generation,
		  struct exemplars **ref);

/* Something of the row would take a place in e. */
bool slowest_wins(const struct slowest *s, const struct slowest_row *r,
		  size_t v, uint64_t generation, const struct exemplars *e);

#endif /* AGGREGATOR_SLOWEST_H */
