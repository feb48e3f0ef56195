/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_GRAPH_GRAPH_VIEWS_H
#define AGGREGATOR_GRAPH_GRAPH_VIEWS_H

#include <stddef.h>
#include <stdint.h>

#include "aggregator/fold/fold.h"
#include "aggregator/graph/graph_join.h"

/*
 * Counts the edges that a batch completes in the views of edges, once each.
 * Part of the fold, which owns it and locks for it.
 */
struct graph_views;

/* views: the first of them is view number first of f. -ENOMEM. */
int graph_views_new(struct graph_views **out, struct fold *f, size_t first,
		    const struct graph_options *opt);
void graph_views_free(struct graph_views *e); /* NULL is fine */

/* Names of those that are not watched. */
#define EDGES_USER "user" /* a client */
#define EDGES_VIRTUAL "virtual_node" /* connection_type of such an edge */

/* labels: begun with the batch. -ENOMEM. */
int graph_views_batch(struct graph_views *e, const struct fold_input *fb,
		      struct labels *labels);

struct graph *graph_views_graph(struct graph_views *e);

#endif /* AGGREGATOR_GRAPH_GRAPH_VIEWS_H */
