/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_FOLD_FOLD_H
#define AGGREGATOR_FOLD_FOLD_H

#include <stddef.h>
#include <stdint.h>

#include "aggregator/fold/series.h"
#include "aggregator/fold/views.h"
#include "aggregator/fold/window.h"
#include "proto/batch.h"

/*
 * The whole visible state is a fold over the batches of the log, and this is
 * it. Sums are integers, so folding in any order gives the same; but for edges,
 * which also depend on which side waited for which. Pure: no
 * clock, no I/O. Not locked: the engine's thread owns it; snapshots are taken
 * under the engine's lock.
 */
struct fold;

struct fold_options {
	const struct views *views; /* borrowed */
	size_t max_window_series;
	uint64_t future_us, past_us; /* further off: counts as ending now */
	uint64_t edge_wait_us,
		edge_skew_us; /* see graph_join.h; 0: its defaults */
	size_t max_waiting;
};

/* Sets *out, released by fold_free(). -ENOMEM. */
int fold_new(struct fold **out, const struct fold_options *opt);
void fold_free(struct fold *f); /* NULL is fine */

/* Which batch, and when it came. */
struct fold_input {
	const struct batch *batch;
	uint64_t log_id;
	int64_t received_us;
};

/*
 * Reads the events of a batch: what doesn't depend on what was counted before,
 * and so needs no lock. *out is the fold's until fold_forget(). The batch's
 * columns of events are not looked at again, but for edges. -ENOMEM.
 */
struct fold_prepared;
int fold_prepare(struct fold *f, const struct batch *b, int64_t received_us,
		 const struct fold_prepared **out);

/*
 * Counts the batch in every view and in the windows, but not in what has it
 * already: slots whose log_id is not smaller, views and windows whose loaded
 * state is that far (fold_set_loaded()). -ENOMEM leaves the state half done:
 * then only a new start from the store helps.
 */
int fold_count(struct fold *f, const struct fold_input *fb,
	       const struct fold_prepared *p);

/* All that was prepared is counted, or never will be. */
void fold_forget(struct fold *f);

/* All three, for one batch. */
int fold_apply(struct fold *f, const struct fold_input *fb);

/* Requests in a batch, events and rollups. */
uint64_t fold_requests(const struct batch *b);

/* State up to this log id was loaded; batches up to it are not counted. */
void fold_set_loaded_view(struct fold *f, size_t view, uint64_t log_id);
void fold_set_loaded_windows(struct fold *f, uint64_t log_id);
void fold_set_loaded_edges(struct fold *f, uint64_t log_id);
/* Whether the view is to count this batch. */
bool fold_view_counts(const struct fold *f, size_t view, uint64_t log_id);

size_t fold_views(const struct fold *f);
size_t fold_event_views(const struct fold *f); /* the others are of edges */
struct graph *fold_graph(struct fold *f); /* NULL: no view of edges */
const struct view *fold_view(const struct fold *f, size_t view);
struct series *fold_series(struct fold *f, size_t view);
struct series *fold_window_series(struct fold *f);
struct windows *fold_windows(struct fold *f);
struct intern *fold_intern(struct fold *f);
const struct cells *fold_duration_cells(const struct fold *f);
const struct cells *fold_cells(const struct fold *f, bool seconds);

/* Labels of a window's series; see window_keys in fold.c. */
#define FOLD_WINDOW_LABELS 6

/* job and instance pairs; values interned, NULL: absent. */
enum fold_target_field {
	TARGET_JOB,
	TARGET_INSTANCE,
	TARGET_SERVICE,
	TARGET_NAMESPACE,
	TARGET_CONTAINER,
	TARGET_NODE,
	TARGET_EXECUTABLE,
	TARGET_FIELDS,
};
struct fold_target {
	const struct interned *value[TARGET_FIELDS];
	bool dirty;
};
size_t fold_targets(const struct fold *f);
struct fold_target *fold_target(struct fold *f, size_t i);
/* For loading. -ENOMEM; over the cap it is left out silently. */
int fold_add_target(struct fold *f, const char *const value[TARGET_FIELDS]);

/* What counts in the view and how it is grouped: changes if that does. */
uint64_t fold_view_digest(const struct fold *f, size_t view);

/*
 * Snapshots: spans of this generation or older are shared, so they are copied
 * before they are written to, and freed once no snapshot can have them.
 */
uint64_t fold_share(struct fold *f);
/* No snapshot older than this generation is left. */
void fold_unshare(struct fold *f, uint64_t oldest);

/* For graph_views.c: one more value in a span of a view in seconds. -ENOMEM. */
int fold_add_us(struct fold *f, struct span **ref, uint64_t us);

/* Events whose end was clamped since the start. */
uint64_t fold_clamped(const struct fold *f);

#endif /* AGGREGATOR_FOLD_FOLD_H */
