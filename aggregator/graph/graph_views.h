/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_GRAPH_GRAPH_VIEWS_H
#define AGGREGATOR_GRAPH_GRAPH_VIEWS_H

#include <stddef.h>
#include <stdint.h>

#include "aggregator/fold/fold.h"
#include "aggregator/graph/graph_join.h"

/*
 * Counts each edge that a batch completes, once in every view of edges. Part of
 * the fold, which owns it. Not locked: the fold's caller locks.
 */
struct graph_views;

/*
 * The views of edges are those of f from number first on. Sets *out, released
 * by graph_views_free(). -ENOMEM.
 */
int graph_views_new(struct graph_views **out, struct fold *f, size_t first,
		    const struct graph_options *opt);
void graph_views_free(struct graph_views *e); /* NULL is fine */

/* Label values of edges with one side. */
#define EDGES_USER "user" /* the client, if it is not watched */
#define EDGES_VIRTUAL "virtual_node" /* the label connection_type */

/* labels: after labels_begin() with this batch. -ENOMEM. */
int graph_views_batch(struct graph_views *e, const struct fold_input *fb,
		      struct labels *labels);

struct graph *graph_views_graph(struct graph_views *e);

#endif /* AGGREGATOR_GRAPH_GRAPH_VIEWS_H */
