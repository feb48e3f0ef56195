/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_WEB_API_EDGES_H
#define AGGREGATOR_WEB_API_EDGES_H

#include "aggregator/web/api_range.h"
#include "aggregator/web/api_sum.h"

/* Edges of the service graph over a time range, summed up by their ends. */

struct api_edge {
	const char *client, *server; /* borrowed; NULL: unknown */
	uint32_t from, to; /* nodes */
	bool one_sided;
	uint64_t count, failed;
	uint64_t
		*cell[WINDOW_VALUES]; /* API_CELLS each, by enum window_value */
	bool shown;
};

struct api_node {
	const char *name; /* borrowed, or own; NULL: overflow */
	bool service; /* watched itself: it served something */
	bool shown;
	uint64_t count, errors; /* of the edges to it */
};

struct api_edges {
	struct store_reader *reader; /* borrowed */
	const struct api_range *range; /* borrowed */
	bool by_namespace;
	uint32_t *edge_of; /* by key: edge + 1; 0: none */
	uint32_t n_keys;
	struct api_edge *edge;
	size_t n_edges;
	struct api_node *node;
	size_t n_nodes;
	char **own; /* names of namespaces */
	size_t n_own;
};

/* Loads keys and counts; edges without requests are left out. -ENOMEM, -EIO. */
int api_edges_load(struct api_edges *e, struct store_reader *reader,
		   const struct api_range *range, bool by_namespace);
/* Adds up the durations of the edges that are shown. */
int api_edges_details(struct api_edges *e);
void api_edges_fini(struct api_edges *e);

/* Columns one_sided, count, failed, rate and quantiles of the edges shown. */
void api_edges_put_columns(const struct api_edges *e, struct api_json *j);

#endif /* AGGREGATOR_WEB_API_EDGES_H */
