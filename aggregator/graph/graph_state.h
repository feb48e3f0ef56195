/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_GRAPH_GRAPH_STATE_H
#define AGGREGATOR_GRAPH_GRAPH_STATE_H

#include <assert.h>

#include "aggregator/graph/graph_join.h"

/* The inside of the graph, for graph*.c only. Index 0 of a pool is nobody. */

#define GRAPH_END_BYTES 18u

struct graph_key {
	uint8_t client[GRAPH_END_BYTES], server[GRAPH_END_BYTES];
	uint32_t pad;
	uint64_t scope; /* of the node's own addresses; else 0 */
};
static_assert(sizeof(struct graph_key) == 48, "no holes: it is compared");

enum graph_role {
	GRAPH_CLIENT,
	GRAPH_SERVER,
};

/* A connection on which sides wait. */
struct graph_link {
	struct graph_key key;
	uint64_t hash;
	uint32_t chain; /* next of the same bucket, or of the free ones */
	uint32_t stamp; /* of the batch that has it at hand */
	uint32_t first[2], last[2]; /* sides by enum graph_role, as they came */
};

/* A side that waits. */
struct graph_side {
	int64_t start_us, end_us;
	int64_t due_us; /* event time at which it stays alone */
	struct graph_name *name, *peer; /* peer: whom a client asked for */
	uint32_t link;
	uint32_t next, before; /* on the connection */
	uint32_t newer, older; /* of all; next of the free ones: newer */
	uint32_t evidence; /* what both sides see alike */
	uint32_t node;
	uint8_t role; /* enum graph_role */
	bool failed;
};

/* What all events of a row of the batch have in common. */
struct graph_row {
	struct graph_name *name, *peer;
	uint32_t evidence;
	uint8_t role;
	bool failed, complete, ready;
};

struct graph {
	struct graph_options opt;
	struct graph_names *names;
	struct graph_side *side;
	uint32_t n_sides, side_cap, free_side;
	uint32_t oldest, newest;
	struct graph_link *link;
	uint32_t n_links, link_cap, free_link, live_links;
	uint32_t *bucket;
	uint32_t n_buckets; /* a power of two */
	int64_t now_us; /* event time */
	struct graph_stats stats;

	/* Of the batch. */
	uint32_t stamp;
	struct graph_row *row;
	size_t row_cap;
	uint32_t *of; /* link by connection and role */
	size_t of_cap;
	uint64_t scope;
	uint32_t node;
};

/* A side at the end of what waits; its link is made if need be. -ENOMEM. */
uint32_t graph_find_link(const struct graph *g, const struct graph_key *key,
			 uint64_t hash);
int graph_add_link(struct graph *g, const struct graph_key *key, uint64_t hash,
		   uint32_t *out);
int graph_add_side(struct graph *g, const struct graph_side *s);
void graph_drop_side(struct graph *g, uint32_t i);
/* Unless somebody waits on it or the batch has it at hand. */
void graph_tidy_link(struct graph *g, uint32_t i);

#endif /* AGGREGATOR_GRAPH_GRAPH_STATE_H */
