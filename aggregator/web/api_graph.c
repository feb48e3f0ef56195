/* SPDX-License-Identifier: Apache-2.0 */
/* GET /api/v1/graph: who calls whom, of all or around one service. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/fold/fold_edges.h"
#include "aggregator/web/api_edges.h"

#define NODES 150
#define NODES_MAX 2000
#define HOPS_MAX 5

struct graph_answer {
	struct api_edges edges;
	const char *focus;
	uint64_t hops, limit;
	bool only_errors, by_namespace;
	size_t total_nodes, total_edges; /* before the limit */
	uint64_t total, failed;
};

/* --- what is shown --- */

static bool wanted_edge(const struct graph_answer *g, const struct api_edge *x)
{
	return !g->only_errors || x->failed;
}

/* Nodes within so many hops of the focus; none if it is not there. */
static void show_near(struct graph_answer *g)
{
	struct api_edges *e = &g->edges;

	for (size_t i = 0; i < e->n_nodes; i++)
		e->node[i].shown =
			e->node[i].name && !strcmp(e->node[i].name, g->focus);
	for (uint64_t hop = 0; hop < g->hops; hop++) {
		/* In two steps, so that a hop does not go on by itself. */
		for (size_t i = 0; i < e->n_edges; i++) {
			struct api_edge *x = &e->edge[i];

			x->shown =
				wanted_edge(g, x) && (e->node[x->from].shown ||
						      e->node[x->to].shown);
		}
		for (size_t i = 0; i < e->n_edges; i++)
			if (e->edge[i].shown)
				e->node[e->edge[i].from].shown =
					e->node[e->edge[i].to].shown = true;
	}
	/*
	 * At the rim only edges that lead inwards count: two neighbours may
	 * call each other, and that is shown.
	 */
	for (size_t i = 0; i < e->n_edges; i++) {
		struct api_edge *x = &e->edge[i];

		x->shown = wanted_edge(g, x) && e->node[x->from].shown &&
			   e->node[x->to].shown;
	}
}

static void show_all(struct graph_answer *g)
{
	struct api_edges *e = &g->edges;

	for (size_t i = 0; i < e->n_edges; i++) {
		struct api_edge *x = &e->edge[i];

		x->shown = wanted_edge(g, x);
		if (x->shown)
			e->node[x->from].shown = e->node[x->to].shown = true;
	}
}

struct sorting {
	const struct api_edges *e;
};

static int compare_counts(const void *pa, const void *pb, void *arg)
{
	const struct sorting *s = arg;
	const struct api_edge *a = &s->e->edge[*(const uint32_t *)pa];
	const struct api_edge *b = &s->e->edge[*(const uint32_t *)pb];

	if (a->count != b->count)
		return a->count > b->count ? -1 : 1;
	return *(const uint32_t *)pa < *(const uint32_t *)pb ? -1 : 1;
}

static void count_shown(struct graph_answer *g)
{
	const struct api_edges *e = &g->edges;

	for (size_t i = 0; i < e->n_nodes; i++)
		g->total_nodes += e->node[i].shown;
	for (size_t i = 0; i < e->n_edges; i++) {
		if (!e->edge[i].shown)
			continue;
		g->total_edges++;
		g->total += e->edge[i].count;
		g->failed += e->edge[i].failed;
	}
}

/* Beyond the limit the edges with most requests stay. */
static int limit_nodes(struct graph_answer *g)
{
	struct api_edges *e = &g->edges;
	struct sorting by = { e };
	uint32_t *order;
	size_t n = 0, nodes = 0;

	count_shown(g);
	if (g->total_nodes <= g->limit)
		return 0;
	order = malloc((e->n_edges + 1) * sizeof(*order));
	if (!order)
		return -ENOMEM;
	for (size_t i = 0; i < e->n_edges; i++)
		if (e->edge[i].shown)
			order[n++] = (uint32_t)i;
	qsort_r(order, n, sizeof(*order), compare_counts, &by);
	for (size_t i = 0; i < e->n_nodes; i++)
		e->node[i].shown = false;
	for (size_t i = 0; i < n; i++) {
		struct api_edge *x = &e->edge[order[i]];
		size_t more = !e->node[x->from].shown +
			      (x->from != x->to && !e->node[x->to].shown);

		x->shown = nodes + more <= g->limit;
		if (!x->shown)
			continue;
		nodes += more;
		e->node[x->from].shown = e->node[x->to].shown = true;
	}
	free(order);
	return 0;
}

/* --- the answer --- */

static const char *kind_of(const struct graph_answer *g,
			   const struct api_node *n)
{
	if (!n->name)
		return "overflow";
	if (!strcmp(n->name, EDGES_USER))
		return "user";
	if (!n->service)
		return "address";
	return g->by_namespace ? "namespace" : "service";
}

static void put_nodes(const struct graph_answer *g, struct api_json *j)
{
	const struct api_edges *e = &g->edges;

	api_json_key(j, "nodes");
	api_json_open(j, '{');
	api_json_key(j, "name");
	api_json_open(j, '[');
	for (size_t i = 0; i < e->n_nodes; i++)
		if (e->node[i].shown)
			api_json_text(j, e->node[i].name);
	api_json_close(j, ']');
	api_json_key(j, "kind");
	api_json_open(j, '[');
	for (size_t i = 0; i < e->n_nodes; i++)
		if (e->node[i].shown)
			api_json_text(j, kind_of(g, &e->node[i]));
	api_json_close(j, ']');
	api_json_key(j, "count");
	api_json_open(j, '[');
	for (size_t i = 0; i < e->n_nodes; i++)
		if (e->node[i].shown)
			api_json_u64(j, e->node[i].count);
	api_json_close(j, ']');
	api_json_key(j, "errors");
	api_json_open(j, '[');
	for (size_t i = 0; i < e->n_nodes; i++)
		if (e->node[i].shown)
			api_json_u64(j, e->node[i].errors);
	api_json_close(j, ']');
	api_json_close(j, '}');
}

static int put_edges(const struct graph_answer *g, struct api_json *j)
{
	const struct api_edges *e = &g->edges;
	uint32_t *row = malloc((e->n_nodes + 1) * sizeof(*row));
	uint32_t n = 0;

	if (!row)
		return -ENOMEM;
	for (size_t i = 0; i < e->n_nodes; i++) {
		row[i] = n;
		n += e->node[i].shown;
	}
	api_json_key(j, "edges");
	api_json_open(j, '{');
	api_json_key(j, "client");
	api_json_open(j, '[');
	for (size_t i = 0; i < e->n_edges; i++)
		if (e->edge[i].shown)
			api_json_u64(j, row[e->edge[i].from]);
	api_json_close(j, ']');
	api_json_key(j, "server");
	api_json_open(j, '[');
	for (size_t i = 0; i < e->n_edges; i++)
		if (e->edge[i].shown)
			api_json_u64(j, row[e->edge[i].to]);
	api_json_close(j, ']');
	api_edges_put_columns(e, j);
	api_json_close(j, '}');
	free(row);
	return 0;
}

static int answer_graph(struct api *a, struct api_range *range,
			struct graph_answer *g, struct buf *out)
{
	struct api_json j = { .out = out };
	int err = api_edges_load(&g->edges, a->reader, range, g->by_namespace);

	if (err < 0)
		return err;
	if (g->focus && *g->focus)
		show_near(g);
	else
		show_all(g);
	err = limit_nodes(g);
	if (!err)
		err = api_edges_details(&g->edges);
	if (err < 0)
		return err;
	api_json_open(&j, '{');
	api_range_put(range, &j);
	api_json_put_text(&j, "focus", g->focus && *g->focus ? g->focus : NULL);
	api_json_put_u64(&j, "hops", g->hops);
	api_json_put_text(&j, "by", g->by_namespace ? "namespace" : "service");
	api_json_put_u64(&j, "total_nodes", g->total_nodes);
	api_json_put_u64(&j, "total_edges", g->total_edges);
	api_json_put_u64(&j, "total", g->total);
	api_json_put_u64(&j, "failed", g->failed);
	put_nodes(g, &j);
	err = put_edges(g, &j);
	api_json_close(&j, '}');
	buf_putc(out, '\n');
	return err ? err : out->err;
}

unsigned api_graph(struct api *a, const struct api_query *q, struct buf *out)
{
	struct graph_answer g = { .focus = api_get(q, "focus"),
				  .only_errors = api_get_flag(q, "errors") };
	const char *by = api_get(q, "by");
	struct api_range range;
	unsigned status = api_range_parse(&range, q, out);
	int err;

	if (status)
		return status;
	if (api_get_u64(q, "hops", 1, HOPS_MAX, 1, &g.hops))
		return api_bad(out, "hops", "not 1 to 5");
	if (api_get_u64(q, "limit", 1, NODES_MAX, NODES, &g.limit))
		return api_bad(out, "limit", "not 1 to 2000");
	if (by && *by && strcmp(by, "service") && strcmp(by, "namespace"))
		return api_bad(out, "by", "neither service nor namespace");
	g.by_namespace = by && !strcmp(by, "namespace");
	status = api_open(a, out);
	if (status)
		return status;
	err = store_reader_begin(a->reader);
	if (!err) {
		err = answer_graph(a, &range, &g, out);
		store_reader_end(a->reader);
	}
	api_edges_fini(&g.edges);
	return err < 0 ? api_failed(out, err) : 200;
}
