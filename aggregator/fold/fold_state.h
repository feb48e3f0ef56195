/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_FOLD_FOLD_STATE_H
#define AGGREGATOR_FOLD_FOLD_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aggregator/fold/fold.h"
#include "aggregator/fold/labelset.h"
#include "aggregator/fold/pool.h"
#include "aggregator/fold/slowest.h"
#include "aggregator/graph/graph_views.h"

/* The inside of the fold, for fold.c and fold_*.c only. */

#define WINDOW_US ((int64_t)WINDOW_SECONDS * 1000000)

/* What of an event goes into histograms. */
enum fold_measure {
	MEASURE_DURATION, /* the windows' too */
	MEASURE_TTFB,
	MEASURE_REQUEST_BYTES,
	MEASURE_RESPONSE_BYTES,
	MEASURES,
	MEASURE_NONE = MEASURES, /* a counter's */
};

struct fold_tally {
	uint64_t count, sum[MEASURES];
};

/*
 * The events of one row of the series table that ended in one window. Row i
 * begins with bin i; where it needs more than one, the others follow all rows.
 */
struct fold_bin {
	int64_t window_us; /* start; INT64_MIN: no event */
	uint32_t next; /* of the same row; 0: none, as bin 0 begins a row */
	uint32_t begin, end; /* its events in counted */
	uint32_t best, n_best; /* its slowest; a row's first bin has them all */
	struct fold_tally tally;
};

/* An event on its way to the histograms: nothing else of it is needed then. */
struct fold_counted {
	uint16_t cell[MEASURES];
};

/* What there is of a batch once its events were read; memory of the pool. */
struct fold_prepared {
	struct fold_bin *bin;
	size_t n_bins;
	struct fold_counted *counted; /* bin after bin */
	struct slowest_pick *best;
	struct slowest_traces traces;
	int64_t *rollup_window_us; /* by rollup */
	uint64_t clamped;
};

/*
 * Bins while events are read, one array for each of what an event looks at or
 * adds to.
 */
struct fold_bins {
	size_t n, cap;
	int64_t *window_us;
	uint32_t *next, *events;
	uint64_t *rolled; /* requests of rollups */
	uint64_t *sum[MEASURES];
	uint64_t *best; /* by row and group: the greatest word, or 0 */
	size_t best_cap;
	/* By event. */
	uint32_t *of;
	struct fold_counted *counted, *sorted;
	int64_t *end_us;
};

/* One row of the batch while it is folded. */
struct fold_row {
	uint32_t bin; /* its first, and its number */
	uint32_t window_key;
	bool error;
	bool exemplars; /* a view wants some */
	unsigned n; /* slots that count it */
	uint8_t view[VIEWS_MAX];
	struct series_slot *slot[VIEWS_MAX];
	struct window_delta *window; /* of the row's first bin */
};

/*
 * Rows are counted in blocks: what a block needs is asked for all together,
 * so that with many series one waits for memory once a block, not once a
 * look-up; and a block's share still fits the nearest caches.
 */
#define FOLD_BLOCK 32u

struct fold_view_state {
	const struct view *view;
	struct series series;
	uint64_t loaded; /* batches up to this one are in it */
	enum fold_measure sum; /* what is added up; none: requests */
	enum fold_measure measure; /* what there are histograms of */
	bool exemplars;
};

struct fold_retired {
	void *memory; /* a span or exemplars */
	uint64_t generation; /* newest snapshot that can have it */
};

struct fold {
	size_t n_all;
	size_t n_views; /* of events; those of edges follow */
	struct fold_view_state *view;
	struct graph_views *edges; /* NULL: no view of edges */
	uint64_t edges_loaded; /* batches up to this one are joined */
	struct graph_options edge_options; /* part of the views' digests */
	struct cells seconds, bytes;
	bool wants_ttfb, wants_slowest;
	uint32_t filtered; /* bit by label: some view filters by it */
	struct intern *intern;
	struct labels *labels;
	struct series window_series;
	struct windows *windows;
	bool windows_on; /* false: this batch is in the stored windows */
	uint64_t windows_loaded;
	uint64_t future_us, past_us, clamped;

	/* Of the batch that is folded. */
	uint32_t turn; /* which it is */
	struct slowest *slowest;
	const struct fold_prepared *now;
	struct fold_row row[FOLD_BLOCK];

	/* Of the batches that wait to be counted. */
	struct pool pool;
	struct fold_bins bins;

	struct fold_target *target;
	size_t n_targets, target_cap;
	uint32_t *target_table; /* open addressing: index + 1 */
	size_t target_table_cap;

	uint64_t generation; /* of spans made now */
	uint64_t newest_shared; /* newest snapshot, if any_shared */
	bool any_shared;
	struct fold_retired
		*retired; /* ring by age: [retired_head, n_retired) */
	size_t retired_head, n_retired, retired_cap;
};

static inline const struct cells *fold_cells_of(const struct fold *f,
						enum fold_measure m)
{
	return m == MEASURE_DURATION || m == MEASURE_TTFB ? &f->seconds
							  : &f->bytes;
}

/* --- fold_spans.c --- */

/* Makes it one that no snapshot has. NULL is fine. -ENOMEM. */
int fold_own_span(struct fold *f, struct span **ref);
int fold_own_exemplars(struct fold *f, struct slowest_exemplars **ref);

/* Adds count to a cell of a span of one's own. -ENOMEM. */
int fold_add(struct fold *f, enum fold_measure m, struct span **ref,
	     unsigned cell, uint64_t count);
/* Adds that measure of n events. -ENOMEM. */
int fold_add_events(struct fold *f, enum fold_measure m, struct span **ref,
		    const struct fold_counted *e, size_t n);

/* --- fold_events.c --- */

int fold_bins_init(struct fold_bins *b); /* -ENOMEM */
void fold_bins_fini(struct fold_bins *b);

/* --- fold_rows.c --- */

/* Words of a cache entry; see labels_new(). */
size_t fold_row_words(size_t n_views);
/* The slots that count row i of the series table. -ENOMEM. */
int fold_find_row(struct fold *f, const struct fold_input *fb, size_t i,
		  struct fold_row *r);

/* --- fold_targets.c --- */

int fold_note_targets(struct fold *f, const struct batch *b);

#endif /* AGGREGATOR_FOLD_FOLD_STATE_H */
