/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_GRAPH_EDGES_H
#define AGGREGATOR_GRAPH_EDGES_H

#include <stddef.h>
#include <stdint.h>

#include "aggregator/fold/fold.h"
#include "aggregator/graph/graph.h"

/*
 * Counts the edges that a batch completes in the views of edges, once each.
 * Part of the fold, which owns it and locks for it.
 */
struct edges;

/* views: the first of them is view number first of f. -ENOMEM. */
int edges_new(struct edges **out, struct fold *f, size_t first,
	      const struct graph_options *opt);
void edges_free(struct edges *e); /* NULL is fine */

/* Names of those that are not watched. */
#define EDGES_USER "user" /* a client */
#define EDGES_VIRTUAL "virtual_node" /* connection_type of such an edge */

/* labels: begun with the batch. -ENOMEM. */
int edges_batch(struct edges *e, const struct fold_batch *fb,
		struct labels *labels);

struct graph *edges_graph(struct edges *e);

#endif /* AGGREGATOR_GRAPH_EDGES_H */
