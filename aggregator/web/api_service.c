/* SPDX-License-Identifier: Apache-2.0 */
/* GET /api/v1/service: one service, or one of its routes, in one answer. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/web/api_edges.h"
#include "aggregator/web/api_red.h"

/* Labels of a key of WINDOW_REQUESTS. */
enum {
	AT_JOB,
	AT_ROLE,
	AT_METHOD,
	AT_ROUTE,
	AT_STATUS,
	AT_ERROR,
};

#define LIMIT 25
#define LIMIT_MAX 1000
#define INSTANCES_MAX 200

struct service {
	const char *name, *role;
	const char *route, *method, *status; /* NULL: any; "": absent */
	bool cells;
	struct api_choice choice;
	struct api_red routes, instances;
	struct api_edges edges;
	/* Statuses: key of the first label set that had it. */
	uint32_t *first_of;
};

static bool matches(const char *value, const char *wanted)
{
	return !wanted || !strcmp(value ? value : "", wanted);
}

static bool wants(const struct service *s, const char *const *v)
{
	return v && v[AT_JOB] && v[AT_ROLE] && !strcmp(v[AT_JOB], s->name) &&
	       !strcmp(v[AT_ROLE], s->role) && matches(v[AT_ROUTE], s->route) &&
	       matches(v[AT_METHOD], s->method) &&
	       matches(v[AT_STATUS], s->status);
}

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && !strcmp(a, b));
}

/* Which status a label set has: a few at most, so they are compared. */
static uint32_t status_of(const struct service *s, const char *const *v)
{
	const struct api_red *red = &s->routes;
	uint32_t i = 0;

	for (; i < red->n_seconds; i++) {
		const char *const *w = store_reader_key(
			red->reader, WINDOW_REQUESTS, s->first_of[i]);

		if (same_text(v[AT_STATUS], w[AT_STATUS]) &&
		    same_text(v[AT_ERROR], w[AT_ERROR]))
			break;
	}
	return i;
}

#define STATUSES_MAX 200u

static int group_routes(struct service *s)
{
	struct api_red *red = &s->routes;

	s->first_of = malloc(STATUSES_MAX * sizeof(*s->first_of));
	red->second_of = malloc((red->n_keys + 1) * sizeof(uint32_t));
	if (!s->first_of || !red->second_of)
		return -ENOMEM;
	memset(red->second_of, 0xff, red->n_keys * sizeof(uint32_t));
	for (uint32_t key = 1; key < red->n_keys; key++) {
		const char *const *v =
			store_reader_key(red->reader, WINDOW_REQUESTS, key);
		struct api_group *g;
		uint32_t status;

		if (!wants(s, v))
			continue;
		g = api_red_group(red, v[AT_ROUTE], v[AT_METHOD], false);
		if (!g)
			return -ENOMEM;
		api_red_put(red, key, g);
		status = status_of(s, v);
		if (status == red->n_seconds && status < STATUSES_MAX)
			s->first_of[red->n_seconds++] = key;
		if (status < STATUSES_MAX)
			red->second_of[key] = status;
	}
	red->second = calloc(red->n_seconds * red->range->points + 1,
			     sizeof(uint64_t));
	return red->second ? 0 : -ENOMEM;
}

static int group_instances(struct service *s)
{
	struct api_red *red = &s->instances;

	for (uint32_t key = 1; key < red->n_keys; key++) {
		const char *const *v =
			store_reader_key(red->reader, WINDOW_INSTANCES, key);
		struct api_group *g;

		/* job, instance, role */
		if (!v || !v[0] || !v[2] || strcmp(v[0], s->name) != 0 ||
		    strcmp(v[2], s->role) != 0)
			continue;
		g = api_red_group(red, v[1], NULL, false);
		if (!g)
			return -ENOMEM;
		api_red_put(red, key, g);
	}
	return 0;
}

static int load_instances(struct api *a, const struct api_range *range,
			  struct service *s)
{
	const struct api_choice worst_first = { .order = API_ORDER_RATIO,
						.sign = 1,
						.limit = INSTANCES_MAX };
	int err = api_red_begin(&s->instances, a->reader, range,
				WINDOW_INSTANCES);

	if (!err)
		err = group_instances(s);
	return err < 0 ? err : api_red_run(&s->instances, &worst_first);
}

static int load_neighbours(struct api *a, const struct api_range *range,
			   struct service *s)
{
	int err = api_edges_load(&s->edges, a->reader, range, false);

	for (size_t i = 0; i < s->edges.n_edges; i++) {
		struct api_edge *x = &s->edges.edge[i];

		x->shown = (x->client && !strcmp(x->client, s->name)) ||
			   (x->server && !strcmp(x->server, s->name));
	}
	return err < 0 ? err : api_edges_details(&s->edges);
}

/* --- the answer --- */

struct order_by {
	const uint64_t *total;
};

static int compare_totals(const void *pa, const void *pb, void *arg)
{
	const struct order_by *o = arg;
	uint64_t a = o->total[*(const uint32_t *)pa];
	uint64_t b = o->total[*(const uint32_t *)pb];

	return a > b ? -1 : a < b;
}

static void put_labels(const struct service *s, struct api_json *j,
		       const char *key, unsigned label, const uint32_t *order,
		       size_t n)
{
	api_json_key(j, key);
	api_json_open(j, '[');
	for (size_t i = 0; i < n; i++)
		api_json_text(
			j, store_reader_key(s->routes.reader, WINDOW_REQUESTS,
					    s->first_of[order[i]])[label]);
	api_json_close(j, ']');
}

/* Statuses with their counts by point, most frequent first. */
static void put_statuses(const struct service *s, struct api_json *j)
{
	const struct api_red *red = &s->routes;
	uint64_t total[STATUSES_MAX] = { 0 };
	uint32_t order[STATUSES_MAX];
	struct order_by by = { total };
	size_t points = red->range->points, n = 0;

	for (uint32_t i = 0; i < red->n_seconds; i++) {
		for (size_t k = 0; k < points; k++)
			total[i] += red->second[i * points + k];
		if (total[i])
			order[n++] = i;
	}
	qsort_r(order, n, sizeof(*order), compare_totals, &by);
	api_json_key(j, "statuses");
	api_json_open(j, '{');
	put_labels(s, j, "status", AT_STATUS, order, n);
	put_labels(s, j, "error", AT_ERROR, order, n);
	api_json_key(j, "count");
	api_json_open(j, '[');
	for (size_t i = 0; i < n; i++)
		api_json_u64(j, total[order[i]]);
	api_json_close(j, ']');
	api_json_key(j, "points");
	api_json_open(j, '[');
	for (size_t i = 0; i < n; i++) {
		api_json_open(j, '[');
		for (size_t k = 0; k < points; k++)
			api_json_u64(j, red->second[order[i] * points + k]);
		api_json_close(j, ']');
	}
	api_json_close(j, ']');
	api_json_close(j, '}');
}

static void put_cells(const struct api_red *red, struct api_json *j)
{
	static const char *const key[] = { "lower", "upper", "count" };

	api_json_key(j, "cells");
	api_json_open(j, '{');
	for (unsigned k = 0; k < 3; k++) {
		api_json_key(j, key[k]);
		api_json_open(j, '[');
		for (size_t c = 0; c < API_CELLS; c++) {
			if (!red->total.cell[c])
				continue;
			if (k == 0)
				api_json_us(j, (int64_t)api_sum_lower_us(c));
			if (k == 1)
				api_json_us(j, (int64_t)api_sum_upper_us(c));
			if (k < 2)
				continue;
			api_json_open(j, '[');
			for (size_t i = 0; i < red->range->points; i++)
				api_json_u64(j, red->point[i].cell[c]);
			api_json_close(j, ']');
		}
		api_json_close(j, ']');
	}
	api_json_close(j, '}');
}

static void put_names(const struct api_red *red, struct api_json *j,
		      const char *name, const char *more)
{
	api_json_key(j, name);
	api_json_open(j, '[');
	for (size_t i = 0; i < red->n_chosen; i++)
		api_json_text(j, red->chosen[i]->name);
	api_json_close(j, ']');
	if (!more)
		return;
	api_json_key(j, more);
	api_json_open(j, '[');
	for (size_t i = 0; i < red->n_chosen; i++)
		api_json_text(j, red->chosen[i]->more);
	api_json_close(j, ']');
}

static void put_edge_names(const struct api_edges *e, struct api_json *j)
{
	api_json_key(j, "client");
	api_json_open(j, '[');
	for (size_t i = 0; i < e->n_edges; i++)
		if (e->edge[i].shown)
			api_json_text(j, e->edge[i].client);
	api_json_close(j, ']');
	api_json_key(j, "server");
	api_json_open(j, '[');
	for (size_t i = 0; i < e->n_edges; i++)
		if (e->edge[i].shown)
			api_json_text(j, e->edge[i].server);
	api_json_close(j, ']');
}

/* What only a whole service has. */
static void put_parts(const struct service *s, struct api_json *j)
{
	api_json_key(j, "routes");
	api_json_open(j, '{');
	api_json_put_u64(j, "total", s->routes.n_listed);
	put_names(&s->routes, j, "route", "method");
	api_red_put_columns(&s->routes, j);
	api_red_put_points(&s->routes, j, "points", 0);
	api_red_put_points(&s->routes, j, "points_errors", 1);
	api_json_close(j, '}');
	api_json_key(j, "instances");
	api_json_open(j, '{');
	api_json_put_u64(j, "total", s->instances.n_listed);
	put_names(&s->instances, j, "instance", NULL);
	api_red_put_columns(&s->instances, j);
	api_json_close(j, '}');
	api_json_key(j, "neighbours");
	api_json_open(j, '{');
	put_edge_names(&s->edges, j);
	api_edges_put_columns(&s->edges, j);
	api_json_close(j, '}');
}

static int answer_service(struct api *a, struct api_range *range,
			  struct service *s, struct buf *out)
{
	struct api_json j = { .out = out };
	bool whole = !s->route && !s->method && !s->status;
	int err = api_range_settle(range, a->reader, WINDOW_REQUESTS);

	if (!err)
		err = api_red_begin(&s->routes, a->reader, range,
				    WINDOW_REQUESTS);
	if (!err)
		err = group_routes(s);
	if (!err)
		err = api_red_run(&s->routes, &s->choice);
	if (!err && whole)
		err = load_instances(a, range, s);
	if (!err && whole)
		err = load_neighbours(a, range, s);
	if (err < 0)
		return err;
	api_json_open(&j, '{');
	api_range_put(range, &j);
	api_json_put_text(&j, "role", s->role);
	api_json_put_text(&j, "service", s->name);
	api_red_put_sum(&s->routes, &j, "sum");
	api_red_put_series(&s->routes, &j);
	put_statuses(s, &j);
	if (whole)
		put_parts(s, &j);
	if (s->cells)
		put_cells(&s->routes, &j);
	api_json_close(&j, '}');
	buf_putc(out, '\n');
	return out->err;
}

static unsigned parse_service(struct service *s, const struct api_query *q,
			      struct buf *out)
{
	uint64_t limit;

	s->name = api_get(q, "service");
	s->role = api_get(q, "role");
	s->route = api_get(q, "route");
	s->method = api_get(q, "method");
	s->status = api_get(q, "status");
	s->cells = api_get_flag(q, "cells");
	if (!s->name || !*s->name)
		return api_bad(out, "service", "is missing");
	if (!s->role || !*s->role)
		s->role = "server";
	if (strcmp(s->role, "server") && strcmp(s->role, "client"))
		return api_bad(out, "role", "neither server nor client");
	if (api_get_u64(q, "limit", 1, LIMIT_MAX, LIMIT, &limit))
		return api_bad(out, "limit", "not 1 to 1000");
	if (api_order_parse(api_get(q, "order"), &s->choice.order,
			    &s->choice.sign))
		return api_bad(out, "order", "no such column");
	s->choice.limit = limit;
	return 0;
}

unsigned api_service(struct api *a, const struct api_query *q, struct buf *out)
{
	struct service s = { .name = NULL };
	struct api_range range;
	unsigned status = api_range_parse(&range, q, out);
	int err;

	if (!status)
		status = parse_service(&s, q, out);
	if (!status)
		status = api_open(a, out);
	if (status)
		return status;
	err = store_reader_begin(a->reader);
	if (!err) {
		err = answer_service(a, &range, &s, out);
		store_reader_end(a->reader);
	}
	api_red_end(&s.routes);
	api_red_end(&s.instances);
	api_edges_fini(&s.edges);
	free(s.first_of);
	return err < 0 ? api_failed(out, err) : 200;
}
