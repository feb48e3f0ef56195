/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/fold/fold_edges.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/hash_index.h"
#include "common/sums.h"
#include "proto/limits.h"

#define CACHE_MAX 65536u /* entries; then the next batch empties it */

enum {
	EDGE_ONE_SIDED = 1,
	EDGE_FAILED = 2,
};

/* Caches an edge's slots; never stale, since names' serials are not reused. */
struct entry {
	uint32_t client, server, flags;
	uint32_t window_key;
	int64_t window_s; /* of window */
	struct window_delta *window; /* the batch's last; NULL: none yet */
	uint32_t due; /* bit by view: count the current batch there */
	uint64_t log_id; /* the last batch that had this edge */
	struct series_slot *slot[]; /* by view; NULL: not counted there */
};
static_assert(VIEWS_MAX <= 32, "a bit for each view");

struct fold_edges {
	struct fold *fold;
	struct graph *graph;
	size_t first, n_views;
	enum view_source source[VIEWS_MAX]; /* by view */
	bool histogram[VIEWS_MAX];
	struct series_label user, kind, absent;
	char *entry; /* stride bytes each */
	size_t stride;
	uint32_t n, cap;
	struct hash_index index;
	uint32_t *touched; /* entries of the batch */
	uint32_t n_touched, touched_cap;
	const struct fold_input *fb;
	const struct cells *cells; /* of seconds */
	bool windows_on;
};

int fold_edges_new(struct fold_edges **out, struct fold *f, size_t first,
		   const struct graph_options *opt)
{
	struct fold_edges *e = calloc(1, sizeof(*e));
	const struct intern *in = fold_intern(f);
	int err = -ENOMEM;

	if (!e)
		return -ENOMEM;
	e->fold = f;
	e->first = first;
	e->n_views = fold_views(f) - first;
	e->stride = sizeof(struct entry) +
		    e->n_views * sizeof(struct series_slot *);
	e->cells = fold_duration_cells(f);
	for (size_t v = 0; v < e->n_views; v++) {
		const struct view *view = fold_view(f, first + v);

		e->source[v] = view->source;
		e->histogram[v] = view->kind == VIEW_HISTOGRAM;
	}
	e->user = (struct series_label){ .data = EDGES_USER,
					 .len = strlen(EDGES_USER) };
	e->user.hash = intern_hash(in, e->user.data, e->user.len);
	e->kind = (struct series_label){ .data = EDGES_VIRTUAL,
					 .len = strlen(EDGES_VIRTUAL) };
	e->kind.hash = intern_hash(in, e->kind.data, e->kind.len);
	if (!hash_index_init(&e->index, 256))
		err = graph_new(&e->graph, opt);
	if (err < 0) {
		fold_edges_free(e);
		return err;
	}
	*out = e;
	return 0;
}

void fold_edges_free(struct fold_edges *e)
{
	if (!e)
		return;
	graph_free(e->graph);
	free(e->entry);
	hash_index_fini(&e->index);
	free(e->touched);
	free(e);
}

struct graph *fold_edges_graph(struct fold_edges *e)
{
	return e->graph;
}

/* --- slots of an edge --- */

static int resolve_window(struct fold_edges *e,
			  struct series_label *const *label, struct entry *x)
{
	int64_t at = series_resolve(fold_window_series(e->fold, WINDOW_EDGES),
				    label, e->fb->received_us);

	x->window_key = (uint32_t)at;
	return at < 0 ? (int)at : 0;
}

static int resolve_edge(struct fold_edges *e, const struct graph_edge *g,
			struct entry *x)
{
	struct series_label *label[LABEL_KEYS] = { NULL };

	label[LABEL_CLIENT] = g->client ? &g->client->label : &e->user;
	label[LABEL_SERVER] = g->server ? &g->server->label : &e->absent;
	label[LABEL_CONNECTION] = g->one_sided ? &e->kind : &e->absent;
	for (size_t v = 0; v < e->n_views; v++) {
		const struct view *view = fold_view(e->fold, e->first + v);
		int64_t at;

		x->slot[v] = NULL;
		if (view->errors_only && !g->failed)
			continue;
		/* A missing side has no duration to count. */
		if ((view->source == VIEW_EDGE_CLIENT &&
		     g->client_us == GRAPH_UNKNOWN_US) ||
		    (view->source == VIEW_EDGE_SERVER &&
		     g->server_us == GRAPH_UNKNOWN_US) ||
		    (view->source == VIEW_EDGE_NETWORK && g->one_sided))
			continue;
		at = series_resolve(fold_series(e->fold, e->first + v), label,
				    e->fb->received_us);
		if (at < 0)
			return (int)at;
		x->slot[v] = series_at(fold_series(e->fold, e->first + v),
				       (uint32_t)at);
	}
	return resolve_window(e, label, x);
}

static uint64_t hash_of(uint32_t client, uint32_t server, uint32_t flags)
{
	uint64_t h = ((uint64_t)client << 32 | server) * 0x9e3779b97f4a7c15;

	return (h ^ h >> 31) + flags * 0x85ebca6b;
}

static struct entry *entry_at(const struct fold_edges *e, uint32_t i)
{
	return (struct entry *)(void *)(e->entry + i * e->stride);
}

static uint64_t hash_at(const void *edges, uint32_t i)
{
	const struct entry *x = entry_at(edges, i);

	return hash_of(x->client, x->server, x->flags);
}

static int more_room(struct fold_edges *e)
{
	uint32_t cap = e->cap ? 2 * e->cap : 64;
	void *p;

	if (e->n == e->cap) {
		p = realloc(e->entry, cap * e->stride);
		if (!p)
			return -ENOMEM;
		e->entry = p;
		e->cap = cap;
	}
	return hash_index_reserve(&e->index, hash_at, e);
}

static int add_entry(struct fold_edges *e, const struct graph_edge *g,
		     const struct entry *key, struct entry **out)
{
	if (more_room(e) < 0)
		return -ENOMEM;
	*out = entry_at(e, e->n);
	**out = *key;
	hash_index_put(&e->index, hash_at(e, e->n), e->n);
	e->n++;
	return resolve_edge(e, g, *out);
}

/* At an edge's first time in a batch: finds views that must count the batch. */
static int begin_entry(struct fold_edges *e, struct entry *x)
{
	x->log_id = e->fb->log_id;
	x->due = 0;
	x->window = NULL;
	for (size_t v = 0; v < e->n_views; v++) {
		if (x->slot[v] && x->slot[v]->log_id < e->fb->log_id &&
		    fold_view_counts(e->fold, e->first + v, e->fb->log_id))
			x->due |= 1u << v;
	}
	if (e->n_touched == e->touched_cap) {
		uint32_t cap = e->touched_cap ? 2 * e->touched_cap : 64;
		void *p = realloc(e->touched, cap * sizeof(*e->touched));

		if (!p)
			return -ENOMEM;
		e->touched = p;
		e->touched_cap = cap;
	}
	e->touched[e->n_touched++] =
		(uint32_t)((size_t)((char *)x - e->entry) / e->stride);
	return 0;
}

static int find_entry(struct fold_edges *e, const struct graph_edge *g,
		      struct entry **out)
{
	struct entry key = {
		.client = g->client ? g->client->serial : 0,
		.server = g->server ? g->server->serial : 0,
		.flags = (g->one_sided ? EDGE_ONE_SIDED : 0) |
			 (g->failed ? EDGE_FAILED : 0),
	};
	size_t at = hash_of(key.client, key.server, key.flags);
	uint32_t i;

	while (hash_index_next(&e->index, &at, &i)) {
		struct entry *x = entry_at(e, i);

		if (x->client == key.client && x->server == key.server &&
		    x->flags == key.flags) {
			*out = x;
			return x->log_id == e->fb->log_id ? 0
							  : begin_entry(e, x);
		}
	}
	if (add_entry(e, g, &key, out) < 0)
		return -ENOMEM;
	return begin_entry(e, *out);
}

/* --- counting --- */

/* An edge's durations and their cells, by enum window_value. */
struct edge_times {
	uint64_t us[WINDOW_VALUES];
	uint16_t cell[WINDOW_VALUES];
	bool has[WINDOW_VALUES];
};
static_assert(VIEW_EDGE_SERVER - VIEW_EDGE_SERVER == WINDOW_SERVER &&
		      VIEW_EDGE_CLIENT - VIEW_EDGE_SERVER == WINDOW_CLIENT &&
		      VIEW_EDGE_NETWORK - VIEW_EDGE_SERVER == WINDOW_NETWORK,
	      "a view's source tells the value");

static void read_edge(const struct fold_edges *e, const struct graph_edge *g,
		      struct edge_times *t)
{
	t->us[WINDOW_SERVER] = g->server_us;
	t->us[WINDOW_CLIENT] = g->client_us;
	t->us[WINDOW_NETWORK] =
		g->client_us > g->server_us ? g->client_us - g->server_us : 0;
	t->has[WINDOW_SERVER] = g->server_us != GRAPH_UNKNOWN_US;
	t->has[WINDOW_CLIENT] = g->client_us != GRAPH_UNKNOWN_US;
	t->has[WINDOW_NETWORK] = !g->one_sided;
	for (unsigned i = 0; i < WINDOW_VALUES; i++)
		if (t->has[i])
			t->cell[i] = (uint16_t)cells_index(e->cells, t->us[i]);
}

static int count_edge_window(struct fold_edges *e, const struct graph_edge *g,
			     const struct edge_times *t, struct entry *x)
{
	struct window_delta *w = x->window;
	int err = 0;

	if (!w || (uint64_t)(g->end_us - x->window_s * 1000000) >=
			  WINDOW_SECONDS * UINT64_C(1000000)) {
		x->window_s =
			fold_window_s(e->fold, g->end_us, e->fb->received_us);
		w = windows_get(fold_windows(e->fold, WINDOW_EDGES),
				x->window_s, x->window_key);
		if (!w)
			return -ENOMEM;
		x->window = w;
	}
	w->count++;
	w->errors += g->failed;
	for (unsigned i = 0; i < WINDOW_VALUES; i++) {
		if (!t->has[i])
			continue;
		w->sum[i] += t->us[i];
		err |= fold_add_window_cell(e->fold, &w->span[i], t->cell[i]);
	}
	return err;
}

/* Marks the batch's slots as having counted it. */
static void end_entries(struct fold_edges *e)
{
	for (uint32_t i = 0; i < e->n_touched; i++) {
		const struct entry *x = entry_at(e, e->touched[i]);

		for (size_t v = 0; v < e->n_views; v++) {
			struct series_slot *s;

			if (!(x->due >> v & 1))
				continue;
			s = x->slot[v];
			s->log_id = e->fb->log_id;
			s->active_us = e->fb->received_us;
			s->dirty = true;
		}
	}
	e->n_touched = 0;
}

static int count_edge(void *arg, const struct graph_edge *g)
{
	struct fold_edges *e = arg;
	struct edge_times t;
	struct entry *x;
	int err = find_entry(e, g, &x);

	if (err < 0)
		return err;
	read_edge(e, g, &t);
	for (uint32_t left = x->due; left && !err; left &= left - 1) {
		unsigned v = (unsigned)__builtin_ctz(left);
		enum view_source source = e->source[v];
		struct series_slot *s = x->slot[v];

		s->count++;
		if (!e->histogram[v]) {
			s->sum++;
			continue;
		}
		s->sum = sums_add(s->sum, t.us[source - VIEW_EDGE_SERVER]);
		err = fold_add_cell(e->fold, &s->span,
				    t.cell[source - VIEW_EDGE_SERVER]);
	}
	if (!err && e->windows_on)
		err = count_edge_window(e, g, &t, x);
	return err;
}

int fold_edges_batch(struct fold_edges *e, const struct fold_input *fb,
		     struct labels *labels)
{
	const struct graph_batch gb = {
		.batch = fb->batch,
		.labels = labels,
		.received_us = fb->received_us,
		.edge = count_edge,
		.arg = e,
	};
	int err;

	if (e->n >= CACHE_MAX) {
		hash_index_clear(&e->index);
		e->n = 0;
	}
	e->fb = fb;
	e->windows_on = fold_counts_windows(e->fold);
	err = graph_join_batch(e->graph, &gb);
	end_entries(e);
	return err;
}
