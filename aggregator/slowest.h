/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_SLOWEST_H
#define AGGREGATOR_SLOWEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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

/* One row of the batch: its own until the next batch. All zero. */
struct slowest_row {
	uint64_t groups; /* bit by group: there is an event */
	uint64_t *best; /* by group: duration << 16 | event */
};
void slowest_row(struct slowest *s, size_t row, struct slowest_row *out);

#define SLOWEST_GROUPS 64u

/* Open, as every event passes here. */
struct slowest {
	const struct batch *batch;
	unsigned n_groups; /* at most SLOWEST_GROUPS */
	uint8_t *group; /* by cell */
	uint64_t *best; /* n_groups per row */
	size_t best_cap;
	int64_t *end_us; /* by event */
	size_t event_cap;
	uint32_t *traced; /* events with a trace id, ascending */
	size_t traced_cap;
};

_Static_assert(LIMIT_EVENTS <= 1u << 16 && LIMIT_DURATION_US < 1ull << 48,
	       "duration and event fit in one word");

static inline void slowest_note(const struct slowest *s, struct slowest_row *r,
				unsigned cell, uint64_t duration_us,
				size_t event)
{
	unsigned group = s->group[cell];
	uint64_t v = duration_us << 16 | event;

	r->groups |= UINT64_C(1) << group;
	if (v > r->best[group])
		r->best[group] = v;
}

/*
 * Merges the row into a series' exemplars. *ref must be the caller's alone, or
 * NULL; it moves when it grows. generation: of snapshots; an exemplar of an
 * older one gives way to any. -ENOMEM.
 */
int slowest_merge(const struct slowest *s, const struct slowest_row *r,
		  const struct view *v, uint64_t log_id, uint64_t generation,
		  struct exemplars **ref);

/* Something of the row would take a place in e. */
bool slowest_wins(const struct slowest_row *r, const struct view *v,
		  uint64_t generation, const struct exemplars *e);

#endif /* AGGREGATOR_SLOWEST_H */
