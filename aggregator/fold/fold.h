/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_FOLD_FOLD_H
#define AGGREGATOR_FOLD_FOLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aggregator/fold/window.h"
#include "aggregator/series/series.h"
#include "aggregator/views/views.h"
#include "proto/batch.h"

/*
 * All visible state, made by folding the batches of the log into series and
 * windows. Sums are integers, so the order of the batches does not matter;
 * except for edges, which depend on which side of a request came first.
 *
 * Pure: no clock, no I/O. Not locked: the engine's thread owns it, and
 * snapshots are taken under the engine's lock.
 */
struct fold;

struct fold_options {
	const struct views *views; /* borrowed */
	size_t max_window_series;
	/* Events that end further from their arrival count as ending then. */
	uint64_t future_us, past_us;
	uint64_t edge_wait_us,
		edge_skew_us; /* see graph_join.h; 0: its defaults */
	size_t max_waiting;
};

/* Sets *out, released by fold_free(). -ENOMEM. */
int fold_new(struct fold **out, const struct fold_options *opt);
void fold_free(struct fold *f); /* NULL is fine */

/* A batch, its id in the log, and its time of arrival. */
struct fold_input {
	const struct batch *batch;
	uint64_t log_id;
	int64_t received_us;
};

/*
 * Reads the events of a batch. This is the part of the work that does not
 * depend on earlier batches, so it needs no lock. The fold owns *out, until
 * fold_forget(). Unless edges are joined, the columns of events are not read
 * again. -ENOMEM.
 */
struct fold_prepared;
int fold_prepare(struct fold *f, const struct batch *b, int64_t received_us,
		 const struct fold_prepared **out);

/*
 * Counts the batch in every view and in the windows. Skips those that contain
 * it already: slots with this log_id or a higher one, and views and windows
 * whose loaded state includes it (see fold_set_loaded_view()). -ENOMEM leaves
 * the state half done; the only remedy is to restart from the store.
 */
int fold_count(struct fold *f, const struct fold_input *fb,
	       const struct fold_prepared *p);

/* Frees all that fold_prepare() made. */
void fold_forget(struct fold *f);

/* Prepares, counts and forgets one batch. */
int fold_apply(struct fold *f, const struct fold_input *fb);

/* Returns the number of requests in a batch: events, and those in rollups. */
uint64_t fold_requests(const struct batch *b);

/* The windows that the events of a prepared batch ended in; -1: no events. */
void fold_prepared_range(const struct fold_prepared *p, int64_t *first_s,
			 int64_t *last_s);

/* Loaded state includes the batches up to log_id: do not count them again. */
void fold_set_loaded_view(struct fold *f, size_t view, uint64_t log_id);
void fold_set_loaded_windows(struct fold *f, uint64_t log_id);
void fold_set_loaded_edges(struct fold *f, uint64_t log_id);
/* Whether the view must count this batch. */
bool fold_view_counts(const struct fold *f, size_t view, uint64_t log_id);

size_t fold_views(const struct fold *f);
size_t fold_event_views(const struct fold *f); /* edge views follow them */
struct graph *fold_graph(struct fold *f); /* NULL: no view of edges */
const struct view *fold_view(const struct fold *f, size_t view);
struct series *fold_series(struct fold *f, size_t view);
struct series *fold_window_series(struct fold *f, enum window_kind kind);
struct windows *fold_windows(struct fold *f, enum window_kind kind);
size_t fold_pending_windows(const struct fold *f); /* deltas of all kinds */
struct intern *fold_intern(struct fold *f);
const struct cells *fold_duration_cells(const struct fold *f);
const struct cells *fold_cells(const struct fold *f, bool seconds);

/* Most labels of a window's series; see window_keys in fold.c. */
#define FOLD_WINDOW_LABELS 8

/* The labels of a service instance, for target_info. Interned; NULL: absent. */
enum fold_target_field {
	TARGET_JOB,
	TARGET_INSTANCE,
	TARGET_NODE,
#define FIELD(name, text) TARGET_##name,
	RESOURCE_ATTRIBUTES(FIELD)
#undef FIELD
		TARGET_FIELDS,
};
struct fold_target {
	const struct interned *value[TARGET_FIELDS];
	bool dirty; /* changed since it was written to the store */
};
size_t fold_targets(const struct fold *f);
struct fold_target *fold_target(struct fold *f, size_t i);
/* For loading. -ENOMEM. Beyond the cap, targets are left out silently. */
int fold_add_target(struct fold *f, const char *const value[TARGET_FIELDS]);

/* A digest of what the view counts and how it groups: changes if these do. */
uint64_t fold_view_digest(const struct fold *f, size_t view);

/*
 * Shares all spans with a new snapshot and returns its generation. Spans of
 * this generation or older are copied before they are written to, and freed
 * once no snapshot can refer to them.
 */
uint64_t fold_share(struct fold *f);
/* No snapshot older than the generation `oldest` is left. */
void fold_unshare(struct fold *f, uint64_t oldest);

/*
 * For fold_edges.c: adds one to a cell of a view's span, or of a window's,
 * which no snapshot has. -ENOMEM.
 */
int fold_add_cell(struct fold *f, struct span **ref, unsigned cell);
int fold_add_window_cell(struct fold *f, struct span **ref, unsigned cell);

/* Whether this batch is counted in windows: not if the stored ones have it. */
bool fold_counts_windows(const struct fold *f);
/* The start of the window of what ended then, as for events. */
int64_t fold_window_s(const struct fold *f, int64_t end_us,
		      int64_t received_us);

/* Events that were too far from their arrival (future_us, past_us), so far. */
uint64_t fold_clamped(const struct fold *f);

#endif /* AGGREGATOR_FOLD_FOLD_H */
