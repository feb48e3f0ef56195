/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_GRAPH_GRAPH_JOIN_H
#define AGGREGATOR_GRAPH_GRAPH_JOIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aggregator/graph/graph_names.h"
#include "aggregator/series/labelset.h"
#include "common/buf.h"
#include "proto/batch.h"

/*
 * The service graph: joins the client's and the server's event of a request
 * into one edge. Both events, the request's sides, have the same connection
 * (both addresses and ports), and the server's time lies within the client's:
 *
 *	client   |-----------------------|
 *	server       |-------------|          sticks out by 0
 *	server                 |------------|  sticks out by its late end
 *
 * 1. A side that arrives is compared with the waiting sides of the other role
 *    on its connection. If none fits, it waits.
 * 2. A pair fits if the server sticks out by at most skew_us, since the clocks
 *    of nodes differ. Within one node the server must also start within the
 *    client's time, to 1 ms.
 * 3. Of several that fit, the one that sticks out least is joined. A different
 *    method, status, size or trace counts like skew_us more. Of equals, the one
 *    that has waited longest is joined.
 * 4. A side that waits until event time (the latest end in any batch) has moved
 *    on by wait_us becomes an edge with one side. So does the oldest one when
 *    max_waiting sides wait.
 *
 * In HTTP/2 a request is alone on its stream, which is part of the key: then a
 * pair fits whatever the clocks say, up to wait_us.
 *
 * So a lost event, or an agent that started late, does not shift the pairing of
 * later requests. This always holds within a node, and between nodes as long as
 * skew_us is less than half the time between two requests of a connection. If
 * clocks differ by more than skew_us, a request becomes two edges with one side
 * each.
 *
 * Loopback and link-local addresses exist on every node, so there the key also
 * has the agent's id. All other addresses must be unique in the fleet.
 *
 * No clock: the same batches in the same order give the same edges, and waiting
 * sides are part of the checkpoint. Not locked: the fold owns it.
 */
struct graph;

#define GRAPH_WAIT_US 15000000u
#define GRAPH_SKEW_US 100000u
#define GRAPH_WAITING 262144u
#define GRAPH_UNKNOWN_US UINT64_MAX

struct graph_options {
	const struct intern *intern; /* borrowed */
	uint64_t wait_us, skew_us; /* 0: GRAPH_WAIT_US, GRAPH_SKEW_US */
	size_t max_waiting; /* 0: GRAPH_WAITING */
	uint64_t future_us; /* event time's limit beyond a batch's arrival */
};

/* One request. Names are borrowed until the callback returns. */
struct graph_edge {
	struct graph_name *client; /* NULL: not a watched process */
	struct graph_name *server; /* NULL: unknown */
	bool failed; /* an error on either side */
	bool one_sided;
	uint64_t client_us, server_us; /* durations, or GRAPH_UNKNOWN_US */
	int64_t end_us; /* of the server's side, else of the client's */
};

/* Called per edge. Returns 0, or -ENOMEM, which ends the batch. */
typedef int graph_edge_fn(void *arg, const struct graph_edge *e);

/* Sums since the first batch, also over restarts; waiting is current. */
struct graph_stats {
	uint64_t waiting; /* sides */
	uint64_t joined; /* edges with both sides */
	uint64_t expired, evicted; /* edges with one side: by time, by cap */
	uint64_t clamped_us; /* by which servers took longer than clients */
};

/* Sets *out, released by graph_free(). -ENOMEM. */
int graph_new(struct graph **out, const struct graph_options *opt);
void graph_free(struct graph *g); /* NULL is fine */

struct graph_batch {
	const struct batch *batch;
	struct labels *labels; /* after labels_begin() with this batch */
	int64_t received_us;
	graph_edge_fn *edge;
	void *arg;
};

/* Joins the events that have a connection. -ENOMEM, or what edge() returns. */
int graph_join_batch(struct graph *g, const struct graph_batch *gb);

void graph_stats(const struct graph *g, struct graph_stats *out);

/* Appends the waiting sides, for a checkpoint. Returns out->err. */
int graph_save(const struct graph *g, struct buf *out);
/* Loads into a new graph. -EUCLEAN: not from graph_save(); -ENOMEM. */
int graph_load(struct graph *g, const void *data, size_t len);

#endif /* AGGREGATOR_GRAPH_GRAPH_JOIN_H */
