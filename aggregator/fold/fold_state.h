/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_FOLD_FOLD_STATE_H
#define AGGREGATOR_FOLD_FOLD_STATE_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aggregator/fold/fold.h"
#include "aggregator/fold/fold_edges.h"
#include "aggregator/fold/pool.h"
#include "aggregator/fold/slowest.h"
#include "aggregator/series/labelset.h"
#include "common/hash_index.h"

/* Internals of the fold, for fold.c and fold_*.c only. */

#define WINDOW_US ((int64_t)WINDOW_SECONDS * 1000000)

/* The values of an event that go into histograms. */
enum fold_measure {
	MEASURE_DURATION, /* in the windows, too */
	MEASURE_TTFB,
	MEASURE_REQUEST_BYTES,
	MEASURE_RESPONSE_BYTES,
	MEASURES,
	MEASURE_NONE = MEASURES, /* for counters */
};

struct fold_tally {
	uint64_t count, sum[MEASURES];
};

/*
 * A bin: the events of one row of the series table that ended in one window.
 * Bin i is the first one of row i; its further bins come after those of all
 * rows.
 */
struct fold_bin {
	int64_t window_us; /* start of the window; INT64_MIN: no event */
	uint32_t next; /* next bin of the row; 0 (always a first one): none */
	uint32_t begin, end; /* its events are counted[begin] … [end - 1] */
	uint32_t best, n_best; /* slowest events; in a row's first bin only */
	struct fold_tally tally;
};

/* All that is kept of an event until it is counted: its cells. */
struct fold_counted {
	uint16_t cell[MEASURES];
};

/* What fold_prepare() makes of a batch. Memory of the pool. */
struct fold_prepared {
	struct fold_bin *bin;
	size_t n_bins;
	struct fold_counted *counted; /* sorted by bin */
	struct slowest_pick *best;
	struct slowest_traces traces;
	int64_t *rollup_window_us; /* by rollup */
	uint64_t clamped;
};

/*
 * The bins while events are read: one array per value that an event reads or
 * adds to.
 */
struct fold_bins {
	size_t n, cap;
	int64_t *window_us;
	uint32_t *next, *events;
	uint64_t *rolled; /* requests from rollups */
	uint64_t *sum[MEASURES];
	uint64_t *best; /* by row and group: greatest slowest_word(), or 0 */
	uint64_t *groups; /* by row: bit 1 << group where best[] is not 0 */
	size_t best_cap, groups_cap;
	/* Indexed by event. */
	uint32_t *of; /* its bin */
	struct fold_counted *counted, *sorted;
	int64_t *end_us;
};

/* Kinds of windows that a row counts in: its requests, and its instance's. */
#define FOLD_ROW_WINDOWS 2
static_assert(WINDOW_REQUESTS == 0 && WINDOW_INSTANCES == 1,
	      "they are the first");

/* One row of the batch's series table while it is counted. */
struct fold_row {
	struct labels_lookup labels;
	int64_t window_us; /* of its first bin; INT64_MIN: no event */
	uint32_t window_key[FOLD_ROW_WINDOWS];
	bool error;
	bool untimed; /* its durations count nowhere */
	unsigned n; /* number of slots that count the row */
	uint8_t view[VIEWS_MAX];
	struct series_slot *slot[VIEWS_MAX];
	struct window_delta *window[FOLD_ROW_WINDOWS]; /* of its first bin */
};

/*
 * Rows are counted in steps, each some rows behind the one before, so that the
 * memory a step asked for arrives while other rows are worked on. With many
 * series the CPU would wait for it some twenty times per row.
 */
#define FOLD_STEPS 8u
#define FOLD_APART 3u
#define FOLD_ROWS                                                              \
	32u /* a power of two; rows between their first and last step */
static_assert((FOLD_STEPS - 1) * FOLD_APART < FOLD_ROWS, "a row is kept");

struct fold_view_state {
	const struct view *view;
	struct series series;
	uint64_t loaded; /* log id; includes the batches up to this one */
	enum fold_measure sum; /* what is added up; MEASURE_NONE: requests */
};

struct fold_retired {
	void *memory; /* a span or exemplars */
	uint64_t generation; /* newest snapshot that can refer to it */
};

struct fold {
	size_t n_all;
	size_t n_views; /* views of events; those of edges follow */
	struct fold_view_state *view;
	uint8_t measure[VIEWS_MAX]; /* the histogram's; MEASURE_NONE: counter */
	uint32_t exemplars; /* bit 1 << view: it has exemplars */
	struct fold_edges *edges; /* NULL: no view of edges */
	uint64_t edges_loaded; /* log id; batches up to this one are joined */
	struct graph_options edge_options; /* part of the views' digests */
	struct cells seconds, bytes;
	bool wants_ttfb;
	uint32_t filtered; /* bit 1 << label: some view filters by it */
	struct intern *intern;
	struct labels *labels;
	struct series window_series[WINDOW_KINDS];
	struct windows *windows[WINDOW_KINDS];
	bool windows_on; /* false: stored windows include this batch already */
	uint64_t windows_loaded;
	uint64_t future_us, past_us, clamped;

	/* The batch being counted. */
	uint32_t turn; /* its number since the start, to compare with slots' */
	struct slowest *slowest;
	const struct fold_prepared *now;
	struct window_delta *instance; /* the window counted in last */
	struct fold_row row[FOLD_ROWS];

	/* Batches that are prepared but not counted yet. */
	struct pool pool;
	struct fold_bins bins;

	struct fold_target *target;
	size_t n_targets, target_cap;
	struct hash_index target_index;

	uint64_t generation; /* given to new spans */
	uint64_t newest_shared; /* generation of the newest snapshot */
	bool any_shared;
	struct fold_retired
		*retired; /* queue by age: [retired_head, n_retired) */
	size_t retired_head, n_retired, retired_cap;
};

static inline const struct cells *fold_cells_of(const struct fold *f,
						enum fold_measure m)
{
	return m == MEASURE_DURATION || m == MEASURE_TTFB ? &f->seconds
							  : &f->bytes;
}

/* --- fold_spans.c --- */

/* Replaces *ref by a copy if a snapshot may share it. NULL is fine. -ENOMEM. */
int fold_own_span(struct fold *f, struct span **ref);
int fold_own_exemplars(struct fold *f, struct slowest_exemplars **ref);

/* Adds count to a cell of a span that no snapshot shares. -ENOMEM. */
int fold_add(struct fold *f, enum fold_measure m, struct span **ref,
	     unsigned cell, uint64_t count);
/* Adds measure m of n events to such a span. -ENOMEM. */
int fold_add_events(struct fold *f, enum fold_measure m, struct span **ref,
		    const struct fold_counted *e, size_t n);

/* Adds the durations of n events to two spans that no snapshot has. -ENOMEM. */
int fold_add_durations(struct fold *f, struct span **a, struct span **b,
		       const struct fold_counted *e, size_t n);

/* --- fold_events.c --- */

int fold_bins_init(struct fold_bins *b); /* -ENOMEM */
void fold_bins_fini(struct fold_bins *b);

/* --- fold_rows.c --- */

/* The number of words per cache entry; n_slots of labels_new(). */
size_t fold_row_words(size_t n_views);
/* Finds the slots that count the row. -ENOMEM. */
int fold_find_row(struct fold *f, const struct fold_input *fb,
		  struct fold_row *r);

/* --- fold_targets.c --- */

int fold_note_targets(struct fold *f, const struct batch *b);

#endif /* AGGREGATOR_FOLD_FOLD_STATE_H */
