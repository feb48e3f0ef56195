/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_GRAPH_GRAPH_STATE_H
#define AGGREGATOR_GRAPH_GRAPH_STATE_H

#include <assert.h>

#include "aggregator/graph/graph_join.h"

/* Internals of the graph, for graph*.c only. Index 0 of a pool means none. */

#define GRAPH_END_BYTES 18u

struct graph_key {
	uint8_t client[GRAPH_END_BYTES], server[GRAPH_END_BYTES];
	uint32_t stream; /* of HTTP/2; 0: none */
	uint64_t scope; /* 0, or of the agent, for addresses per node */
};
static_assert(sizeof(struct graph_key) == 48,
	      "no holes: compared with memcmp()");

enum graph_role {
	GRAPH_CLIENT,
	GRAPH_SERVER,
};

/* A connection with waiting sides, or one of the current batch. */
struct graph_link {
	struct graph_key key;
	uint64_t hash;
	uint32_t chain; /* next in its bucket, or in the free list */
	uint32_t stamp; /* of the last batch that used it */
	uint32_t first[2], last[2]; /* by enum graph_role, in arrival order */
};

/* A waiting side. */
struct graph_side {
	int64_t start_us, end_us;
	int64_t due_us; /* event time at which it expires */
	struct graph_name *name, *peer; /* peer: address a client called */
	uint32_t link;
	uint32_t next, before; /* of its role on the connection */
	uint32_t newer, older; /* of all sides; newer: next free one */
	uint32_t evidence; /* hash of what both sides see; 0: unknown */
	uint32_t node; /* hash of the agent's id */
	uint8_t role; /* enum graph_role */
	bool failed;
};

/* What all events of one series row of the batch share. */
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
	int64_t now_us; /* event time: the latest end so far */
	struct graph_stats stats;

	/* Of the current batch. */
	uint32_t stamp;
	struct graph_row *row;
	size_t row_cap;
	uint32_t *of; /* link, by connection and role; 0: not found yet */
	size_t of_cap;
	uint32_t *stream; /* the last one, by row of the connection + 1 */
	size_t stream_cap;
	uint64_t scope;
	uint32_t node;
};

/* Returns the link of this key, or 0. */
uint32_t graph_find_link(const struct graph *g, const struct graph_key *key,
			 uint64_t hash);
/* Adds a link without sides. -ENOMEM. */
int graph_add_link(struct graph *g, const struct graph_key *key, uint64_t hash,
		   uint32_t *out);
/* Adds a copy of s as the newest side, on link s->link. -ENOMEM. */
int graph_add_side(struct graph *g, const struct graph_side *s);
/* Removes the side; the caller owns its references to names then. */
void graph_drop_side(struct graph *g, uint32_t i);
/* Removes the link unless a side waits on it or the current batch uses it. */
void graph_tidy_link(struct graph *g, uint32_t i);

#endif /* AGGREGATOR_GRAPH_GRAPH_STATE_H */
