/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_GRAPH_GRAPH_JOIN_H
#define AGGREGATOR_GRAPH_GRAPH_JOIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aggregator/fold/labelset.h"
#include "aggregator/graph/graph_names.h"
#include "common/buf.h"
#include "proto/batch.h"

/*
 * Who calls whom: the client's and the server's event of a request are found
 * by their connection (both addresses and ports) and put together to an edge.
 *
 * A side that finds no other waits. Of those that wait on the connection the
 * one fits that has the client around the server: order and containment in
 * time. Clocks of nodes differ, so it may stick out by skew_us; of several that
 * could be, the one is taken that sticks out least, and rather one with the
 * same method, status, sizes and trace; of equals the one that waits longest.
 * So neither an agent that started late nor a lost event shifts the others:
 * always within a node, and between nodes as long as skew_us is less than half
 * of the time between two requests of a connection. If clocks are further apart
 * than skew_us, a request is two edges with one side each.
 *
 * What still waits when event time (the latest end in any batch) has moved on
 * by wait_us, or when max_waiting others wait, is an edge with one side. There
 * is no clock: the same batches in the same order give the same edges, and what
 * waits is part of the checkpoint. Not locked: the fold owns it.
 *
 * Loopback and link-local addresses are those of a node, so the key has the
 * agent's id; all others are taken to be one host's in the whole fleet.
 */
struct graph;

#define GRAPH_WAIT_US 15000000u
#define GRAPH_SKEW_US 100000u
#define GRAPH_WAITING 262144u
#define GRAPH_UNKNOWN_US UINT64_MAX

struct graph_options {
	const struct intern *intern; /* borrowed */
	uint64_t wait_us, skew_us; /* 0: as above */
	size_t max_waiting; /* 0: as above */
	uint64_t future_us; /* no event time is further ahead of its arrival */
};

/* One request. */
struct graph_edge {
	struct graph_name *client; /* NULL: nobody who was watched */
	struct graph_name *server;
	bool failed; /* an error for one side */
	bool one_sided;
	uint64_t client_us, server_us; /* GRAPH_UNKNOWN_US: no such side */
};

/* 0 or -ENOMEM, which ends the batch. */
typedef int graph_edge_fn(void *arg, const struct graph_edge *e);

/* Counts since the first batch but waiting. */
struct graph_stats {
	uint64_t waiting; /* sides, now */
	uint64_t joined; /* requests with both sides */
	uint64_t expired, evicted; /* sides left alone: by time, by the cap */
	uint64_t clamped_us; /* servers took longer than clients, in all */
};

/* Sets *out, released by graph_free(). -ENOMEM. */
int graph_new(struct graph **out, const struct graph_options *opt);
void graph_free(struct graph *g); /* NULL is fine */

struct graph_batch {
	const struct batch *batch;
	struct labels *labels; /* begun with the batch */
	int64_t received_us;
	graph_edge_fn *edge;
	void *arg;
};

/* Joins the events that have a connection. -ENOMEM, or what edge() returns. */
int graph_join_batch(struct graph *g, const struct graph_batch *gb);

void graph_stats(const struct graph *g, struct graph_stats *out);

/* All that waits, for a checkpoint. Returns out->err. */
int graph_save(const struct graph *g, struct buf *out);
/* Into a new graph. -EUCLEAN: not what graph_save() wrote; -ENOMEM. */
int graph_load(struct graph *g, const void *data, size_t len);

#endif /* AGGREGATOR_GRAPH_GRAPH_JOIN_H */
