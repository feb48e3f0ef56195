/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/views/view_set.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SERIES_MAX 10000000u
#define VALUE_MAX 1e15 /* of a bucket's bound, in its integer unit */
#define FILTERS 5u

struct view_set {
	struct views views;
	struct view view[VIEWS_MAX];
	size_t n_owned; /* memory to free */
	void **owned;
};

struct build {
	struct view_set *set;
	const struct view_entry *entry;
	struct view *view;
	char *why;
	size_t why_size;
};

static int wrong(struct build *b, const char *what)
{
	snprintf(b->why, b->why_size, "view %s: %s", b->entry->name, what);
	return -EINVAL;
}

/* Takes over p, which may be NULL. Returns p; NULL: out of memory. */
static void *own(struct view_set *s, void *p)
{
	void **more =
		p ? realloc(s->owned, (s->n_owned + 1) * sizeof(*more)) : NULL;

	if (!more) {
		free(p);
		return NULL;
	}
	s->owned = more;
	s->owned[s->n_owned++] = p;
	return p;
}

static int copy_text(struct build *b, const char **to, const char *text)
{
	*to = own(b->set, strdup(text));
	return *to ? 0 : -ENOMEM;
}

/* --- parts of a view --- */

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n > m && !strcmp(s + n - m, end);
}

static int check_name(struct build *b, const char *name)
{
	static const char *const taken[] = { "_total", "_bucket", "_count",
					     "_sum",   "_info",	  "_created" };
	static const char letters[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";

	if (!strchr(letters, *name))
		return wrong(b, "not a name of a metric");
	for (const char *at = name; *at; at++)
		if (!strchr(letters, *at) && (*at < '0' || *at > '9'))
			return wrong(b, "not a name of a metric");
	for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++)
		if (ends_with(name, taken[i]))
			return wrong(b, "the name ends in a suffix that the "
					"exposition format adds");
	return 0;
}

/* Returns a default histogram with the same unit, for unit and buckets. */
static const struct view *like(enum view_source source)
{
	const struct views *all = views_default();

	for (size_t i = 0; i < all->n; i++)
		if (all->view[i].kind == VIEW_HISTOGRAM &&
		    view_in_seconds(all->view[i].source) ==
			    view_in_seconds(source))
			return &all->view[i];
	return NULL;
}

static int set_measure(struct build *b)
{
	const struct view_entry *e = b->entry;
	struct view *v = b->view;
	const struct view *model;

	if (e->measure) {
		v->source = (enum view_source)(e->measure - 1);
		v->kind =
			view_counts(v->source) ? VIEW_COUNTER : VIEW_HISTOGRAM;
	}
	if (e->kind && (enum view_kind)(e->kind - 1) != v->kind)
		return wrong(b, "kind does not fit measure: requests are a "
				"counter, all else histograms");
	if (v->kind == VIEW_COUNTER) {
		v->unit = "";
		v->n_bounds = 0;
		return e->n_buckets ? wrong(b, "a counter has no buckets") : 0;
	}
	model = like(v->source);
	v->unit = model->unit;
	if (v->n_bounds == 0 || e->measure) {
		memcpy(v->bounds, model->bounds, sizeof(v->bounds));
		v->n_bounds = model->n_bounds;
	}
	if (!ends_with(v->name,
		       view_in_seconds(v->source) ? "_seconds" : "_bytes"))
		return wrong(b, "the name must end in its unit, _seconds or "
				"_bytes");
	return 0;
}

static int set_buckets(struct build *b)
{
	const struct view_entry *e = b->entry;
	double scale = view_in_seconds(b->view->source) ? 1e6 : 1;

	if (e->n_buckets > VIEW_BOUNDS_MAX)
		return wrong(b, "more than 64 buckets");
	for (unsigned i = 0; i < e->n_buckets; i++) {
		double v = round(e->buckets[i] * scale);

		if (!(v >= 0 && v < VALUE_MAX))
			return wrong(b, "a bucket must be a number from 0 to "
					"1e15 (microseconds or bytes)");
		b->view->bounds[i] = (uint64_t)v;
		if (i > 0 && b->view->bounds[i] <= b->view->bounds[i - 1])
			return wrong(b, "buckets must ascend, by at least a "
					"microsecond or a byte");
	}
	if (e->n_buckets)
		b->view->n_bounds = e->n_buckets;
	return 0;
}

static bool has_label(const struct view *v, enum view_key key)
{
	for (size_t i = 0; i < v->n_labels; i++)
		if (v->labels[i] == key)
			return true;
	return false;
}

/* Events and edges have no labels in common. */
static int check_edges(struct build *b)
{
	const struct view *v = b->view;
	bool edges = view_of_edges(v->source);

	for (size_t i = 0; i < v->n_labels; i++)
		if ((v->labels[i] >= LABEL_EVENT_KEYS) != edges)
			return wrong(b, edges ? "edges have the labels client, "
						"server and connection_type"
					      : "only edges have the labels "
						"client, server and "
						"connection_type");
	if (edges && (v->roles || v->n_filters || v->calls))
		return wrong(b, "edges can only be filtered by errors_only");
	return 0;
}

static int set_labels(struct build *b)
{
	static const enum view_key of_edges[] = { LABEL_CLIENT, LABEL_SERVER,
						  LABEL_CONNECTION };
	const struct view_entry *e = b->entry;
	struct view *v = b->view;

	if (e->measure && view_of_edges(v->source)) {
		v->roles = 0;
		v->n_labels = 3;
		memcpy(v->labels, of_edges, sizeof(of_edges));
	}

	if (e->n_labels)
		v->n_labels = 0;
	for (unsigned i = 0; i < e->n_labels; i++) {
		enum view_key key = (enum view_key)(e->labels[i] - 1);

		if (has_label(v, key))
			return wrong(b, "a label appears twice");
		v->labels[v->n_labels++] = key;
	}
	if (e->node && !has_label(v, LABEL_NODE))
		v->labels[v->n_labels++] = LABEL_NODE;
	return 0;
}

static int set_limits(struct build *b)
{
	const struct view_entry *e = b->entry;

	if (e->max_series > SERIES_MAX)
		return wrong(b, "max_series must be at most 10 million");
	if (e->max_series)
		b->view->max_series = e->max_series;
	for (unsigned i = 0; i < e->n_max_values; i++) {
		int key = e->max_values[i].label - 1;

		if (!has_label(b->view, (enum view_key)key))
			return wrong(b, "max_values names a label that the "
					"view does not have");
		if (!e->max_values[i].max || e->max_values[i].max > SERIES_MAX)
			return wrong(b, "max_values must be from 1 to 10 "
					"million");
		b->view->max_values[key] = e->max_values[i].max;
	}
	return 0;
}

static int add_filter(struct build *b, struct view_filter *to,
		      enum view_key key, char **glob, unsigned n)
{
	const char **copy = own(b->set, calloc(n, sizeof(*copy)));

	if (!copy)
		return -ENOMEM;
	for (unsigned i = 0; i < n; i++)
		if (copy_text(b, &copy[i], glob[i]) < 0)
			return -ENOMEM;
	to[b->view->n_filters++] = (struct view_filter){ key, n, copy };
	return 0;
}

static int set_filter(struct build *b)
{
	const struct view_entry *e = b->entry;
	const struct {
		enum view_key key;
		char **glob;
		unsigned n;
	} all[FILTERS] = {
		{ LABEL_JOB, e->filter.job, e->filter.n_job },
		{ LABEL_SERVICE, e->filter.service, e->filter.n_service },
		{ LABEL_METHOD, e->filter.method, e->filter.n_method },
		{ LABEL_ROUTE, e->filter.route, e->filter.n_route },
		{ LABEL_STATUS, e->filter.status, e->filter.n_status },
	};
	struct view_filter *filter =
		own(b->set, calloc(FILTERS, sizeof(*filter)));
	int err = filter ? 0 : -ENOMEM;

	b->view->filter = filter;
	if (e->filter.n_roles)
		b->view->roles = 0;
	for (unsigned i = 0; i < e->filter.n_roles; i++)
		b->view->roles |= 1u << e->filter.roles[i];
	b->view->errors_only |= e->filter.errors_only;
	if (e->filter.calls)
		b->view->calls = (enum view_calls)(e->filter.calls - 1);
	for (size_t i = 0; i < FILTERS && !err; i++)
		if (all[i].n)
			err = add_filter(b, filter, all[i].key, all[i].glob,
					 all[i].n);
	return err;
}

/* --- the set --- */

static struct view *find_view(struct view_set *s, const char *name)
{
	for (size_t i = 0; i < s->views.n; i++)
		if (!strcmp(s->view[i].name, name))
			return &s->view[i];
	return NULL;
}

static int begin_new(struct build *b)
{
	static const struct view plain = {
		.help = "HTTP requests, in a view from the configuration.",
		.unit = "",
		.kind = VIEW_COUNTER,
		.source = VIEW_REQUESTS,
		.roles = 1u << 1 | 1u << 2,
		.labels = { LABEL_JOB },
		.n_labels = 1,
		.max_series = VIEW_SERIES_DEFAULT,
	};

	if (b->set->views.n == VIEWS_MAX)
		return wrong(b, "more than 32 views");
	b->view = &b->set->view[b->set->views.n];
	*b->view = plain;
	b->set->views.n++;
	return copy_text(b, &b->view->name, b->entry->name);
}

static void drop_view(struct view_set *s, struct view *v)
{
	size_t i = (size_t)(v - s->view);

	memmove(v, v + 1, (s->views.n - i - 1) * sizeof(*v));
	s->views.n--;
}

static int apply(struct build *b)
{
	const struct view_entry *e = b->entry;
	int err = 0;

	b->view = find_view(b->set, e->name);
	if (e->drop) {
		if (!b->view)
			return wrong(b, "no default view has this name, so it "
					"cannot be dropped");
		drop_view(b->set, b->view);
		return 0;
	}
	if (!b->view)
		err = check_name(b, e->name);
	if (!err && !b->view)
		err = begin_new(b);
	if (!err && e->help)
		err = copy_text(b, &b->view->help, e->help);
	if (!err)
		err = set_measure(b);
	if (!err)
		err = set_buckets(b);
	if (!err)
		err = set_labels(b);
	if (!err)
		err = set_limits(b);
	if (!err)
		err = set_filter(b);
	return !err ? check_edges(b) : err;
}

static void edges_last(struct view_set *s)
{
	struct view edge[VIEWS_MAX];
	size_t n = 0, events = 0;

	for (size_t i = 0; i < s->views.n; i++)
		if (view_of_edges(s->view[i].source))
			edge[n++] = s->view[i];
		else
			s->view[events++] = s->view[i];
	memcpy(s->view + events, edge, n * sizeof(*edge));
}

int view_set_new(struct view_set **out, enum view_compat compat,
		 const struct view_entry *entry, size_t n, char *why,
		 size_t why_size)
{
	const struct views *base = views_default();
	const struct views *more = views_compat(compat);
	struct view_set *s = calloc(1, sizeof(*s));
	struct build b = { .set = s, .why = why, .why_size = why_size };
	int err = 0;

	if (!s)
		return -ENOMEM;
	s->views = (struct views){ .n = base->n + more->n, .view = s->view };
	memcpy(s->view, base->view, base->n * sizeof(*s->view));
	if (more->n)
		memcpy(s->view + base->n, more->view,
		       more->n * sizeof(*s->view));
	for (size_t i = 0; i < n && !err; i++) {
		b.entry = &entry[i];
		for (size_t k = 0; k < i && !err; k++)
			if (!strcmp(entry[k].name, entry[i].name))
				err = wrong(&b, "appears twice");
		if (!err)
			err = apply(&b);
	}
	if (err < 0) {
		view_set_free(s);
		return err;
	}
	edges_last(s);
	*out = s;
	return 0;
}

void view_set_free(struct view_set *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->n_owned; i++)
		free(s->owned[i]);
	free(s->owned);
	free(s);
}

const struct views *view_set_views(const struct view_set *s)
{
	return &s->views;
}

static bool same_filters(const struct view *a, const struct view *b)
{
	if (a->n_filters != b->n_filters)
		return false;
	for (size_t i = 0; i < a->n_filters; i++) {
		const struct view_filter *x = &a->filter[i];
		const struct view_filter *y = &b->filter[i];

		if (x->key != y->key || x->n != y->n)
			return false;
		for (size_t k = 0; k < x->n; k++)
			if (strcmp(x->glob[k], y->glob[k]) != 0)
				return false;
	}
	return true;
}

static bool same_view(const struct view *a, const struct view *b)
{
	return !strcmp(a->name, b->name) && !strcmp(a->help, b->help) &&
	       a->kind == b->kind && a->source == b->source &&
	       a->roles == b->roles && a->errors_only == b->errors_only &&
	       a->calls == b->calls && a->n_labels == b->n_labels &&
	       !memcmp(a->labels, b->labels,
		       a->n_labels * sizeof(*a->labels)) &&
	       a->n_bounds == b->n_bounds &&
	       !memcmp(a->bounds, b->bounds,
		       a->n_bounds * sizeof(*a->bounds)) &&
	       a->max_series == b->max_series &&
	       !memcmp(a->max_values, b->max_values, sizeof(a->max_values)) &&
	       same_filters(a, b);
}

bool view_set_same(const struct view_set *a, const struct view_set *b)
{
	if (a->views.n != b->views.n)
		return false;
	for (size_t i = 0; i < a->views.n; i++)
		if (!same_view(&a->view[i], &b->view[i]))
			return false;
	return true;
}
