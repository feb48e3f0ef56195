/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/fold/fold.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/fold/fold_state.h"
#include "proto/limits.h"

static const enum view_key request_keys[] = {
	LABEL_JOB,    LABEL_ROLE,  LABEL_METHOD,     LABEL_ROUTE,
	LABEL_STATUS, LABEL_ERROR, LABEL_RPC_SYSTEM, LABEL_RPC_STATUS
};
static const enum view_key instance_keys[] = { LABEL_JOB, LABEL_INSTANCE,
					       LABEL_ROLE };
static const enum view_key edge_keys[] = { LABEL_CLIENT, LABEL_SERVER,
					   LABEL_CONNECTION };

#define KEYS(of)                                                               \
	{                                                                      \
		of, sizeof(of) / sizeof(of[0])                                 \
	}
static const struct {
	const enum view_key *key;
	size_t n;
} window_keys[WINDOW_KINDS] = {
	[WINDOW_REQUESTS] = KEYS(request_keys),
	[WINDOW_INSTANCES] = KEYS(instance_keys),
	[WINDOW_EDGES] = KEYS(edge_keys),
};
#undef KEYS
static_assert(sizeof(request_keys) / sizeof(request_keys[0]) ==
		      FOLD_WINDOW_LABELS,
	      "readers of window labels expect this many");

/* --- construction --- */

static enum fold_measure measure_of(const struct view *v)
{
	switch (v->source) {
	case VIEW_TTFB:
		return MEASURE_TTFB;
	case VIEW_REQUEST_BYTES:
		return MEASURE_REQUEST_BYTES;
	case VIEW_RESPONSE_BYTES:
		return MEASURE_RESPONSE_BYTES;
	case VIEW_DURATION:
		return MEASURE_DURATION;
	default:
		return MEASURE_NONE;
	}
}

static int make_cells(const struct views *views, bool seconds,
		      struct cells *out)
{
	uint64_t *bounds = NULL;
	size_t n = 0;
	int err;

	bounds = calloc(views->n * VIEW_BOUNDS_MAX + 1, sizeof(*bounds));
	if (!bounds)
		return -ENOMEM;
	for (size_t i = 0; i < views->n; i++) {
		const struct view *v = &views->view[i];

		if (v->kind != VIEW_HISTOGRAM ||
		    view_in_seconds(v->source) != seconds)
			continue;
		memcpy(bounds + n, v->bounds, v->n_bounds * sizeof(*bounds));
		n += v->n_bounds;
	}
	err = cells_init(out, seconds, bounds, n);
	free(bounds);
	return err;
}

static int make_views(struct fold *f, const struct views *views)
{
	int err;

	f->view = calloc(views->n + 1, sizeof(*f->view));
	if (!f->view)
		return -ENOMEM;
	for (size_t i = 0; i < views->n; i++) {
		const struct view *v = &views->view[i];
		const struct cells *c = NULL;

		if (v->kind == VIEW_HISTOGRAM)
			c = view_in_seconds(v->source) ? &f->seconds
						       : &f->bytes;
		f->view[i].view = v;
		f->view[i].sum = measure_of(v);
		f->measure[i] = c ? measure_of(v) : MEASURE_NONE;
		if (c && v->source == VIEW_DURATION)
			f->exemplars |= UINT32_C(1) << i;
		f->wants_ttfb |= v->source == VIEW_TTFB;
		f->n_all = i + 1;
		if (!view_of_edges(v->source))
			f->n_views = f->n_all;
		err = series_init(&f->view[i].series, v->labels, v->n_labels,
				  v->max_series, c, f->intern);
		if (err < 0)
			return err;
		for (size_t k = 0; k < v->n_labels; k++) {
			size_t max = v->max_values[v->labels[k]];

			series_limit_values(
				&f->view[i].series, k,
				max ? max : views_label_budget(v->labels[k]));
		}
	}
	return 0;
}

static uint32_t filter_labels(const struct view *v)
{
	uint32_t used = 0;

	for (size_t k = 0; k < v->n_filters; k++)
		used |= 1u << v->filter[k].key;
	return used;
}

/* Labels that decide which slots count a row with this role. */
static uint32_t used_labels(const struct views *views, unsigned role)
{
	uint32_t used = 0;

	for (unsigned kind = 0; kind < FOLD_ROW_WINDOWS; kind++)
		for (size_t i = 0; i < window_keys[kind].n; i++)
			used |= 1u << window_keys[kind].key[i];
	for (size_t i = 0; i < views->n; i++) {
		if (!(views->view[i].roles >> role & 1))
			continue;
		used |= filter_labels(&views->view[i]);
		for (size_t k = 0; k < views->view[i].n_labels; k++)
			used |= 1u << views->view[i].labels[k];
	}
	return used;
}

static int make_edges(struct fold *f, const struct fold_options *opt)
{
	f->edge_options = (struct graph_options){
		.intern = f->intern,
		.wait_us = opt->edge_wait_us,
		.skew_us = opt->edge_skew_us,
		.max_waiting = opt->max_waiting,
		.future_us = opt->future_us,
	};
	return fold_edges_new(&f->edges, f, f->n_views, &f->edge_options);
}

static int make_windows(struct fold *f, size_t max)
{
	int err = 0;

	for (unsigned kind = 0; kind < WINDOW_KINDS && !err; kind++) {
		err = series_init(&f->window_series[kind],
				  window_keys[kind].key, window_keys[kind].n,
				  max, &f->seconds, f->intern);
		if (!err)
			err = windows_new(&f->windows[kind]);
	}
	return err;
}

int fold_new(struct fold **out, const struct fold_options *opt)
{
	struct fold *f = calloc(1, sizeof(*f));
	uint32_t used[LABELS_ROLES];
	int err = -ENOMEM;

	if (!f)
		return -ENOMEM;
	assert(opt->views->n <= VIEWS_MAX);
	f->future_us = opt->future_us;
	f->past_us = opt->past_us;
	for (size_t i = 0; i < opt->views->n; i++)
		f->filtered |= filter_labels(&opt->views->view[i]);
	f->generation = 1;
	if (hash_index_init(&f->target_index, 1024) ||
	    fold_bins_init(&f->bins) < 0)
		goto fail;
	err = intern_new(&f->intern);
	if (err < 0)
		goto fail;
	err = make_cells(opt->views, true, &f->seconds);
	if (!err)
		err = make_cells(opt->views, false, &f->bytes);
	if (!err)
		err = make_views(f, opt->views);
	if (!err)
		err = make_windows(f, opt->max_window_series);
	for (unsigned role = 0; role < LABELS_ROLES; role++)
		used[role] = used_labels(opt->views, role);
	if (!err)
		err = labels_new(&f->labels, f->intern, used,
				 fold_row_words(f->n_views));
	if (!err)
		err = slowest_new(&f->slowest, &f->seconds, opt->views);
	if (!err && f->n_views < f->n_all)
		err = make_edges(f, opt);
	if (err < 0)
		goto fail;
	*out = f;
	return 0;
fail:
	fold_free(f);
	return err;
}

void fold_free(struct fold *f)
{
	if (!f)
		return;
	for (size_t i = f->retired_head; i < f->n_retired; i++)
		free(f->retired[i].memory);
	free(f->retired);
	fold_edges_free(f->edges);
	for (size_t i = 0; i < f->n_all; i++)
		series_fini(&f->view[i].series);
	free(f->view);
	for (unsigned kind = 0; kind < WINDOW_KINDS; kind++) {
		series_fini(&f->window_series[kind]);
		windows_free(f->windows[kind]);
	}
	labels_free(f->labels);
	slowest_free(f->slowest);
	intern_free(f->intern);
	cells_fini(&f->seconds);
	cells_fini(&f->bytes);
	fold_bins_fini(&f->bins);
	pool_fini(&f->pool);
	free(f->target);
	hash_index_fini(&f->target_index);
	free(f);
}

/* --- access --- */

void fold_set_loaded_view(struct fold *f, size_t view, uint64_t log_id)
{
	f->view[view].loaded = log_id;
}

void fold_set_loaded_windows(struct fold *f, uint64_t log_id)
{
	f->windows_loaded = log_id;
}

void fold_set_loaded_edges(struct fold *f, uint64_t log_id)
{
	f->edges_loaded = log_id;
}

bool fold_view_counts(const struct fold *f, size_t view, uint64_t log_id)
{
	return log_id > f->view[view].loaded;
}

size_t fold_views(const struct fold *f)
{
	return f->n_all;
}

size_t fold_event_views(const struct fold *f)
{
	return f->n_views;
}

struct graph *fold_graph(struct fold *f)
{
	return f->edges ? fold_edges_graph(f->edges) : NULL;
}

const struct view *fold_view(const struct fold *f, size_t view)
{
	return f->view[view].view;
}

struct series *fold_series(struct fold *f, size_t view)
{
	return &f->view[view].series;
}

struct series *fold_window_series(struct fold *f, enum window_kind kind)
{
	return &f->window_series[kind];
}

struct windows *fold_windows(struct fold *f, enum window_kind kind)
{
	return f->windows[kind];
}

size_t fold_pending_windows(const struct fold *f)
{
	size_t n = 0;

	for (unsigned kind = 0; kind < WINDOW_KINDS; kind++)
		n += windows_count(f->windows[kind]);
	return n;
}

bool fold_counts_windows(const struct fold *f)
{
	return f->windows_on;
}

struct intern *fold_intern(struct fold *f)
{
	return f->intern;
}

const struct cells *fold_duration_cells(const struct fold *f)
{
	return &f->seconds;
}

uint64_t fold_clamped(const struct fold *f)
{
	return f->clamped;
}

/* FNV-1a over all that decides where a value is counted. */
static uint64_t digest(uint64_t h, uint64_t v)
{
	for (unsigned i = 0; i < 64; i += 8)
		h = (h ^ (v >> i & 0xff)) * 0x100000001b3;
	return h;
}

static uint64_t digest_text(uint64_t h, const char *text)
{
	do
		h = (h ^ (uint8_t)*text) * 0x100000001b3;
	while (*text++);
	return h;
}

uint64_t fold_view_digest(const struct fold *f, size_t view)
{
	const struct view *v = f->view[view].view;
	uint64_t h = 0xcbf29ce484222325;

	h = digest(h, (uint64_t)v->kind << 32 | (uint64_t)v->source);
	h = digest(h, (uint64_t)v->calls << 32 | (uint64_t)v->roles << 1 |
			      v->errors_only);
	for (size_t i = 0; i < v->n_labels; i++)
		h = digest(h, (uint64_t)v->labels[i]);
	if (view_of_edges(v->source)) {
		h = digest(h, f->edge_options.wait_us);
		h = digest(h, f->edge_options.skew_us);
		h = digest(h, f->edge_options.max_waiting);
	}
	for (size_t i = 0; i < v->n_filters; i++) {
		h = digest(h,
			   (uint64_t)v->filter[i].key << 32 | v->filter[i].n);
		for (size_t k = 0; k < v->filter[i].n; k++)
			h = digest_text(h, v->filter[i].glob[k]);
	}
	if (v->kind == VIEW_HISTOGRAM)
		for (size_t i = 0; i < v->n_bounds; i++)
			h = digest(h, v->bounds[i]);
	return h;
}

const struct cells *fold_cells(const struct fold *f, bool seconds)
{
	return seconds ? &f->seconds : &f->bytes;
}
