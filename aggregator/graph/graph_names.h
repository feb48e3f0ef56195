/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_GRAPH_GRAPH_NAMES_H
#define AGGREGATOR_GRAPH_GRAPH_NAMES_H

#include <stddef.h>
#include <stdint.h>

#include "aggregator/series/series.h"

/*
 * Reference-counted names of waiting sides. Remote peers choose some of them,
 * so a name is interned only once a series was granted for it. When the table
 * is full, names without references are freed. Not locked: the graph owns it.
 */
#define GRAPH_NAMES_MAX 65536u
#define GRAPH_NAMES_BYTES ((size_t)16 << 20)

struct graph_name {
	struct series_label label;
	uint32_t serial; /* unique: never reused */
	uint32_t refs;
	struct graph_name *next; /* in its hash chain */
	char text[];
};

struct graph_names;

/* Sets *out, released by graph_names_free(). -ENOMEM. */
int graph_names_new(struct graph_names **out, const struct intern *intern);
void graph_names_free(struct graph_names *t); /* NULL is fine */

/*
 * Returns the name with a reference for the caller; "_OTHER" if the table is
 * full. NULL: out of memory.
 */
struct graph_name *graph_names_hold(struct graph_names *t,
				    const struct series_label *label);
static inline struct graph_name *graph_name_again(struct graph_name *n)
{
	n->refs++;
	return n;
}
static inline void graph_name_rele(struct graph_name *n)
{
	n->refs--;
}

#endif /* AGGREGATOR_GRAPH_GRAPH_NAMES_H */
