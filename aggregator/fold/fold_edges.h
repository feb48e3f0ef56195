/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_FOLD_FOLD_EDGES_H
#define AGGREGATOR_FOLD_FOLD_EDGES_H

#include <stddef.h>
#include <stdint.h>

#include "aggregator/fold/fold.h"
#include "aggregator/graph/graph_join.h"

/*
 * Counts each edge that a batch completes, once in every view of edges. Part of
 * the fold, which owns it. Not locked: the fold's caller locks.
 */
struct fold_edges;

/*
 * The views of edges are those of f from number first on. Sets *out, released
 * by fold_edges_free(). -ENOMEM.
 */
int fold_edges_new(struct fold_edges **out, struct fold *f, size_t first,
		   const struct graph_options *opt);
void fold_edges_free(struct fold_edges *e); /* NULL is fine */

/* Label values of edges with one side. */
#define EDGES_USER "user" /* the client, if it is not watched */
#define EDGES_VIRTUAL "virtual_node" /* the label connection_type */

/* labels: after labels_begin() with this batch. -ENOMEM. */
int fold_edges_batch(struct fold_edges *e, const struct fold_input *fb,
		     struct labels *labels);

struct graph *fold_edges_graph(struct fold_edges *e);

#endif /* AGGREGATOR_FOLD_FOLD_EDGES_H */
