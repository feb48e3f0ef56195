/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/web/api_edges.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/fold/fold_edges.h"

/* Labels of a key of WINDOW_EDGES. */
enum {
	AT_CLIENT,
	AT_SERVER,
	AT_CONNECTION,
};

/* --- names to nodes --- */

/* The part before the slash; what has none is its own namespace. */
static const char *namespace_of(struct api_edges *e, const char *name)
{
	const char *slash = name ? strchr(name, '/') : NULL;
	char *copy;

	if (!slash)
		return name;
	copy = strndup(name, (size_t)(slash - name));
	if (copy)
		e->own[e->n_own++] = copy;
	return copy;
}

static int compare_nodes(const void *pa, const void *pb)
{
	const struct api_node *a = pa, *b = pb;

	return strcmp(a->name ? a->name : "", b->name ? b->name : "");
}

static uint32_t find_node(const struct api_edges *e, const char *name)
{
	const struct api_node key = { .name = name };
	const struct api_node *n =
		bsearch(&key, e->node, e->n_nodes, sizeof(key), compare_nodes);

	return (uint32_t)(n - e->node);
}

/* All names once, in order: so the same graph has the same nodes. */
static int make_nodes(struct api_edges *e)
{
	size_t n = 0;

	e->node = calloc(2 * e->n_edges + 1, sizeof(*e->node));
	if (!e->node)
		return -ENOMEM;
	for (size_t i = 0; i < e->n_edges; i++) {
		e->node[n++].name = e->edge[i].client;
		e->node[n++].name = e->edge[i].server;
	}
	qsort(e->node, n, sizeof(*e->node), compare_nodes);
	for (size_t i = 0; i < n; i++)
		if (!e->n_nodes ||
		    compare_nodes(&e->node[e->n_nodes - 1], &e->node[i]))
			e->node[e->n_nodes++] = e->node[i];
	for (size_t i = 0; i < e->n_edges; i++) {
		struct api_edge *x = &e->edge[i];

		x->from = find_node(e, x->client);
		x->to = find_node(e, x->server);
		e->node[x->to].count += x->count;
		e->node[x->to].errors += x->failed;
		/* A client is named only if it is watched. */
		if (x->client && strcmp(x->client, EDGES_USER))
			e->node[x->from].service = true;
		if (!x->one_sided ||
		    (x->client && !strcmp(x->client, EDGES_USER)))
			e->node[x->to].service = true;
	}
	return 0;
}

/* --- edges --- */

static int on_edge(void *arg, int64_t start_s, const struct pack_row *row)
{
	struct api_edges *e = arg;
	struct api_edge *x;

	(void)start_s;
	if (row->key >= e->n_keys)
		return 0;
	x = &e->edge[row->key];
	x->count += row->count;
	x->failed += row->errors;
	return 0;
}

static int walk_edges(struct api_edges *e, store_row_fn *fn)
{
	const struct store_rows q = { .kind = WINDOW_EDGES,
				      .from_s = e->range->from_s,
				      .to_s = e->range->to_s,
				      .fn = fn,
				      .arg = e };

	return api_range_rows(e->reader, &q);
}

struct sorting {
	const struct api_edge *edge;
};

static int compare_edges(const void *pa, const void *pb, void *arg)
{
	const struct sorting *s = arg;
	const struct api_edge *a = &s->edge[*(const uint32_t *)pa];
	const struct api_edge *b = &s->edge[*(const uint32_t *)pb];
	int c = strcmp(a->client ? a->client : "", b->client ? b->client : "");

	c = c ? c
	      : strcmp(a->server ? a->server : "", b->server ? b->server : "");
	return c ? c : a->one_sided - b->one_sided;
}

/* Edges by key to edges by their ends, in order, without empty ones. */
static int merge_edges(struct api_edges *e)
{
	uint32_t *order = malloc((e->n_keys + 1) * sizeof(*order));
	struct api_edge *all = e->edge;
	struct api_edge *merged = calloc(e->n_keys + 1, sizeof(*merged));
	struct sorting by = { all };
	size_t n = 0, used = 0;

	if (!order || !merged) {
		free(order);
		free(merged);
		return -ENOMEM;
	}
	for (uint32_t key = 0; key < e->n_keys; key++)
		if (all[key].count)
			order[used++] = key;
	qsort_r(order, used, sizeof(*order), compare_edges, &by);
	for (size_t i = 0; i < used; i++) {
		const struct api_edge *x = &all[order[i]];

		if (!i || compare_edges(&order[i - 1], &order[i], &by))
			merged[n++] = *x;
		else {
			merged[n - 1].count += x->count;
			merged[n - 1].failed += x->failed;
		}
		e->edge_of[order[i]] = (uint32_t)n;
	}
	free(order);
	free(all);
	e->edge = merged;
	e->n_edges = n;
	return 0;
}

static void name_edges(struct api_edges *e)
{
	for (uint32_t key = 0; key < e->n_keys; key++) {
		const char *const *v =
			store_reader_key(e->reader, WINDOW_EDGES, key);
		struct api_edge *x = &e->edge[key];

		if (!v)
			continue;
		x->client = v[AT_CLIENT];
		x->server = v[AT_SERVER];
		x->one_sided = v[AT_CONNECTION] != NULL;
		if (!e->by_namespace || !x->count)
			continue;
		x->client = namespace_of(e, x->client);
		x->server = namespace_of(e, x->server);
	}
}

int api_edges_load(struct api_edges *e, struct store_reader *reader,
		   const struct api_range *range, bool by_namespace)
{
	int err = store_reader_update_keys(reader, WINDOW_EDGES);

	*e = (struct api_edges){ .reader = reader,
				 .range = range,
				 .by_namespace = by_namespace };
	if (err < 0)
		return err;
	e->n_keys = store_reader_keys(reader, WINDOW_EDGES);
	e->edge = calloc(e->n_keys + 1, sizeof(*e->edge));
	e->edge_of = calloc(e->n_keys + 1, sizeof(*e->edge_of));
	e->own = calloc(2 * (size_t)e->n_keys + 1, sizeof(*e->own));
	if (!e->edge || !e->edge_of || !e->own)
		return -ENOMEM;
	err = walk_edges(e, on_edge);
	if (err < 0)
		return err;
	name_edges(e);
	err = merge_edges(e);
	return err < 0 ? err : make_nodes(e);
}

static int on_detail(void *arg, int64_t start_s, const struct pack_row *row)
{
	struct api_edges *e = arg;
	struct api_edge *x;

	(void)start_s;
	if (row->key >= e->n_keys || !e->edge_of[row->key])
		return 0;
	x = &e->edge[e->edge_of[row->key] - 1];
	for (unsigned i = 0; x->shown && i < WINDOW_VALUES; i++)
		api_sum_add_cells(x->cell[i], &row->hist[i]);
	return 0;
}

int api_edges_details(struct api_edges *e)
{
	for (size_t i = 0; i < e->n_edges; i++)
		for (unsigned k = 0; e->edge[i].shown && k < WINDOW_VALUES;
		     k++) {
			e->edge[i].cell[k] =
				calloc(API_CELLS, sizeof(uint64_t));
			if (!e->edge[i].cell[k])
				return -ENOMEM;
		}
	return walk_edges(e, on_detail);
}

void api_edges_fini(struct api_edges *e)
{
	for (size_t i = 0; i < e->n_edges; i++)
		for (unsigned k = 0; k < WINDOW_VALUES; k++)
			free(e->edge[i].cell[k]);
	for (size_t i = 0; i < e->n_own; i++)
		free(e->own[i]);
	free(e->own);
	free(e->edge);
	free(e->edge_of);
	free(e->node);
}

/* --- the answer --- */

static void put_quantiles(const struct api_edges *e, struct api_json *j,
			  const char *key, unsigned value, double q)
{
	api_json_key(j, key);
	api_json_open(j, '[');
	for (size_t i = 0; i < e->n_edges; i++)
		if (e->edge[i].shown)
			api_json_real(
				j, api_sum_quantile(e->edge[i].cell[value], q));
	api_json_close(j, ']');
}

void api_edges_put_columns(const struct api_edges *e, struct api_json *j)
{
	static const struct {
		const char *p50, *p99;
		unsigned value;
	} side[] = {
		{ "client_p50", "client_p99", WINDOW_CLIENT },
		{ "server_p50", "server_p99", WINDOW_SERVER },
		{ "network_p50", "network_p99", WINDOW_NETWORK },
	};

	api_json_key(j, "one_sided");
	api_json_open(j, '[');
	for (size_t i = 0; i < e->n_edges; i++)
		if (e->edge[i].shown)
			api_json_bool(j, e->edge[i].one_sided);
	api_json_close(j, ']');
	api_json_key(j, "count");
	api_json_open(j, '[');
	for (size_t i = 0; i < e->n_edges; i++)
		if (e->edge[i].shown)
			api_json_u64(j, e->edge[i].count);
	api_json_close(j, ']');
	api_json_key(j, "failed");
	api_json_open(j, '[');
	for (size_t i = 0; i < e->n_edges; i++)
		if (e->edge[i].shown)
			api_json_u64(j, e->edge[i].failed);
	api_json_close(j, ']');
	api_json_key(j, "rate");
	api_json_open(j, '[');
	for (size_t i = 0; i < e->n_edges; i++)
		if (e->edge[i].shown)
			api_json_real(j, (double)e->edge[i].count /
						 e->range->seconds);
	api_json_close(j, ']');
	for (size_t i = 0; i < 3; i++) {
		put_quantiles(e, j, side[i].p50, side[i].value, 0.5);
		put_quantiles(e, j, side[i].p99, side[i].value, 0.99);
	}
}
