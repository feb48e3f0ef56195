/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/graph/graph_join.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/graph/graph_state.h"

#define TRACE_BYTES 24u
#define ROUNDING_US 1000u /* also covers small clock adjustments */
#define LOOKED_AT_MAX 256u /* waiting sides compared per event */
#define TIME_MAX (INT64_C(1) << 54) /* so that differences never overflow */

/* --- rows and connections of a batch --- */

static uint32_t mix_hash(uint32_t h, uint64_t v)
{
	uint64_t x = (h ^ v) * 0x9e3779b97f4a7c15;

	return (uint32_t)(x ^ x >> 32);
}

/* Unseeded, since checkpoints store it: the same in every process. */
static uint32_t text_hash(const char *s, size_t len)
{
	uint32_t h = 0x811c9dc5;

	for (size_t i = 0; i < len; i++)
		h = (h ^ (uint8_t)s[i]) * 0x01000193;
	return h;
}

static int make_room(struct graph *g, const struct batch *b)
{
	size_t connections = 2 * b->events.n_connections;
	size_t streams = b->events.stream ? b->events.n_connections + 1 : 0;

	if (b->series.n > g->row_cap) {
		free(g->row);
		g->row = calloc(b->series.n, sizeof(*g->row));
		g->row_cap = g->row ? b->series.n : 0;
	}
	if (connections > g->of_cap) {
		free(g->of);
		g->of = calloc(connections, sizeof(*g->of));
		g->of_cap = g->of ? connections : 0;
	}
	if (streams > g->stream_cap) {
		free(g->stream);
		g->stream = calloc(streams, sizeof(*g->stream));
		g->stream_cap = g->stream ? streams : 0;
	}
	if (g->row_cap < b->series.n || g->of_cap < connections ||
	    g->stream_cap < streams)
		return -ENOMEM;
	memset(g->row, 0, b->series.n * sizeof(*g->row));
	memset(g->of, 0, connections * sizeof(*g->of));
	if (streams)
		memset(g->stream, 0, streams * sizeof(*g->stream));
	return 0;
}

static __attribute__((noinline)) int
make_row(struct graph *g, const struct graph_batch *gb, uint32_t i)
{
	const struct batch_series *s = &gb->batch->series;
	const struct batch_string *method = &gb->batch->strings[s->method[i]];
	const struct batch_string *peer = &gb->batch->strings[s->address[i]];
	struct graph_row *r = &g->row[i];

	r->role = s->role[i] == ROLE_CLIENT ? GRAPH_CLIENT : GRAPH_SERVER;
	r->failed = labels_error_name(s, i) != NULL;
	r->complete = s->outcome[i] == OUTCOME_COMPLETE;
	r->evidence =
		mix_hash(text_hash(method->data, method->len), s->status[i]);
	r->name = graph_names_hold(g->names,
				   labels_job(gb->labels, s->resource[i]));
	if (!r->name)
		return -ENOMEM;
	if (r->role == GRAPH_CLIENT && peer->len > 0) {
		struct series_label l = {
			.data = peer->data,
			.len = peer->len,
			.hash = intern_hash(g->opt.intern, peer->data,
					    peer->len),
		};

		r->peer = graph_names_hold(g->names, &l);
		if (!r->peer)
			return -ENOMEM;
	}
	r->ready = true;
	return 0;
}

static bool of_the_node(const uint8_t *a)
{
	static const uint8_t zero[15], loopback6[16] = { [15] = 1 };

	if (!memcmp(a + 4, zero, 12)) /* IPv4 */
		return a[0] == 127 || (a[0] == 169 && a[1] == 254);
	return !memcmp(a, loopback6, 16) ||
	       (a[0] == 0xfe && (a[1] & 0xc0) == 0x80);
}

static void make_key(const struct graph *g, const struct batch_events *e,
		     uint32_t row, unsigned role, struct graph_key *key)
{
	const uint8_t *local = e->connection_local + row * GRAPH_END_BYTES;
	const uint8_t *remote = e->connection_remote + row * GRAPH_END_BYTES;

	memcpy(key->client, role == GRAPH_CLIENT ? local : remote,
	       GRAPH_END_BYTES);
	memcpy(key->server, role == GRAPH_CLIENT ? remote : local,
	       GRAPH_END_BYTES);
	key->stream = 0;
	key->scope = of_the_node(local) || of_the_node(remote) ? g->scope : 0;
}

/* --- pairing --- */

static uint64_t over(int64_t later, int64_t than)
{
	return later > than ? (uint64_t)(later - than) : 0;
}

/*
 * Returns by how much the server's time sticks out of the client's. On one node
 * both have the same clock, so a server that starts outside of the client's
 * time does not fit (more than skew_us). It may end later, since its write()
 * returns only when it is scheduled again.
 */
static uint64_t misfit(const struct graph *g, const struct graph_side *client,
		       const struct graph_side *server)
{
	uint64_t begin = over(client->start_us, server->start_us) +
			 over(server->start_us, client->end_us);

	if (client->node == server->node && begin > ROUNDING_US)
		return g->opt.skew_us + begin;
	return begin + over(server->end_us, client->end_us);
}

/* Returns the waiting side that fits s best; 0: none. */
static uint32_t find_other(const struct graph *g, const struct graph_side *s)
{
	unsigned other = s->role == GRAPH_CLIENT ? GRAPH_SERVER : GRAPH_CLIENT;
	bool alone = g->link[s->link].key.stream != 0;
	uint64_t skew = alone ? g->opt.wait_us : g->opt.skew_us;
	uint64_t least = UINT64_MAX;
	uint32_t best = 0, left = LOOKED_AT_MAX;

	for (uint32_t i = g->link[s->link].first[other]; i && left--;
	     i = g->side[i].next) {
		const struct graph_side *o = &g->side[i];
		uint64_t out = s->role == GRAPH_CLIENT ? misfit(g, s, o)
						       : misfit(g, o, s);
		uint64_t cost = out;

		/* Sides further on in the list stick out more. */
		if (out > least || o->start_us > s->end_us + (int64_t)skew)
			break;
		if (out > skew)
			continue;
		if (o->evidence && s->evidence && o->evidence != s->evidence)
			cost += g->opt.skew_us;
		cost += o->node != s->node;
		if (cost < least) {
			least = cost;
			best = i;
		}
		if (cost == 0)
			break;
	}
	return best;
}

static int tell(struct graph *g, const struct graph_batch *gb,
		const struct graph_side *client,
		const struct graph_side *server)
{
	struct graph_edge e = {
		.failed = (client && client->failed) ||
			  (server && server->failed),
		.one_sided = !client || !server,
		.client_us = GRAPH_UNKNOWN_US,
		.server_us = GRAPH_UNKNOWN_US,
		.end_us = server ? server->end_us : client->end_us,
	};

	if (client) {
		e.client = client->name;
		e.client_us = (uint64_t)(client->end_us - client->start_us);
	}
	if (server)
		e.server_us = (uint64_t)(server->end_us - server->start_us);
	e.server = server ? server->name : client->peer;
	if (client && server && e.server_us > e.client_us)
		g->stats.clamped_us += e.server_us - e.client_us;
	return gb->edge(gb->arg, &e);
}

static void forget(struct graph *g, uint32_t i)
{
	struct graph_side *s = &g->side[i];

	graph_name_rele(s->name);
	if (s->peer)
		graph_name_rele(s->peer);
	graph_drop_side(g, i);
}

/* Makes the side an edge with one side. */
static int give_up(struct graph *g, const struct graph_batch *gb, uint32_t i)
{
	const struct graph_side *s = &g->side[i];
	uint32_t link = s->link;
	int err = s->role == GRAPH_CLIENT ? tell(g, gb, s, NULL)
					  : tell(g, gb, NULL, s);

	forget(g, i);
	graph_tidy_link(g, link);
	return err;
}

static int wait_for_other(struct graph *g, const struct graph_batch *gb,
			  struct graph_side *s)
{
	int err = 0;

	if (g->stats.waiting >= g->opt.max_waiting) {
		g->stats.evicted++;
		err = give_up(g, gb, g->oldest);
	}
	s->due_us = g->now_us + (int64_t)g->opt.wait_us;
	if (graph_add_side(g, s) < 0)
		return -ENOMEM;
	graph_name_again(s->name);
	if (s->peer)
		graph_name_again(s->peer);
	return err;
}

static int join(struct graph *g, const struct graph_batch *gb,
		struct graph_side *s)
{
	uint32_t other = find_other(g, s);
	int err;

	if (!other)
		return wait_for_other(g, gb, s);
	err = s->role == GRAPH_CLIENT ? tell(g, gb, s, &g->side[other])
				      : tell(g, gb, &g->side[other], s);
	forget(g, other);
	g->stats.joined++;
	return err;
}

/* The same for a stream, which mostly has no link yet. */
static int find_stream(struct graph *g, const struct graph_batch *gb,
		       uint32_t connection, uint32_t stream, unsigned role,
		       uint32_t *out)
{
	struct graph_key key;
	uint64_t hash;

	make_key(g, &gb->batch->events, connection - 1, role, &key);
	key.stream = stream;
	hash = intern_hash(g->opt.intern, (const char *)&key, sizeof(key));
	*out = graph_find_link(g, &key, hash);
	return *out ? 0 : graph_add_link(g, &key, hash, out);
}

/* Sets *out to the link of a connection of the batch, seen from this role. */
static int find_link(struct graph *g, const struct graph_batch *gb,
		     uint32_t connection, unsigned role, uint32_t *out)
{
	uint32_t *at = &g->of[2 * (connection - 1) + role];
	struct graph_key key;
	uint64_t hash;

	if (!*at) {
		make_key(g, &gb->batch->events, connection - 1, role, &key);
		hash = intern_hash(g->opt.intern, (const char *)&key,
				   sizeof(key));
		*at = graph_find_link(g, &key, hash);
		if (!*at && graph_add_link(g, &key, hash, at) < 0)
			return -ENOMEM;
		g->link[*at].stamp = g->stamp;
	}
	*out = *at;
	return 0;
}

static int64_t clamp_time(int64_t us)
{
	return us < 0 ? 0 : us < TIME_MAX ? us : TIME_MAX;
}

static int join_event(struct graph *g, const struct graph_batch *gb, size_t i,
		      int64_t start_us, const uint8_t *trace)
{
	const struct batch_events *e = &gb->batch->events;
	struct graph_row *r = &g->row[e->series[i]];
	uint64_t duration = e->duration_us[i];
	struct graph_side s = { .node = g->node };
	int64_t latest = gb->received_us + (int64_t)g->opt.future_us;
	uint32_t stream = e->stream ? g->stream[e->connection[i]] : 0;
	int err = r->ready ? 0 : make_row(g, gb, e->series[i]);

	if (!err && stream)
		err = find_stream(g, gb, e->connection[i], stream, r->role,
				  &s.link);
	else if (!err)
		err = find_link(g, gb, e->connection[i], r->role, &s.link);
	if (err < 0)
		return err;
	s.start_us = clamp_time(start_us);
	s.end_us = s.start_us + (int64_t)duration;
	s.name = r->name;
	s.peer = r->peer;
	s.role = r->role;
	s.failed = r->failed;
	if (r->complete) {
		s.evidence = mix_hash(r->evidence, e->request_bytes[i]);
		s.evidence = mix_hash(s.evidence, e->response_bytes[i]);
		if (trace)
			s.evidence = mix_hash(
				s.evidence,
				text_hash((const char *)trace, TRACE_BYTES));
		s.evidence |= 1; /* 0 means unknown */
	}
	if (s.end_us < latest)
		latest = s.end_us;
	if (latest > g->now_us)
		g->now_us = latest;
	err = join(g, gb, &s);
	if (stream)
		graph_tidy_link(g, s.link);
	return err;
}

/* --- the batch --- */

static int join_events(struct graph *g, const struct graph_batch *gb)
{
	const struct batch_events *e = &gb->batch->events;
	const uint32_t *role = gb->batch->series.role;
	int64_t start = gb->batch->base_us;
	size_t next = 0, traced = e->n_traced ? e->traced[0] : SIZE_MAX;
	int err = 0;

	for (size_t i = 0; i < e->n && !err; i++) {
		const uint8_t *trace = NULL;

		/* Hostile values may wrap: defined, and clamped. */
		start = (int64_t)((uint64_t)start +
				  (uint64_t)e->start_delta_us[i]);
		if (i == traced) {
			trace = e->trace_ids + next * TRACE_BYTES;
			traced = ++next < e->n_traced ? i + e->traced[next]
						      : SIZE_MAX;
		}
		if (e->stream)
			batch_stream_get(&g->stream[e->connection[i]],
					 e->stream[i]);
		/* A side without a duration cannot be paired by its time. */
		if (e->connection[i] == 0 ||
		    batch_series_untimed(&gb->batch->series, e->series[i]) ||
		    (role[e->series[i]] != ROLE_CLIENT &&
		     role[e->series[i]] != ROLE_SERVER))
			continue;
		err = join_event(g, gb, i, start, trace);
	}
	return err;
}

static int expire(struct graph *g, const struct graph_batch *gb)
{
	int err = 0;

	while (g->oldest && g->side[g->oldest].due_us <= g->now_us && !err) {
		g->stats.expired++;
		err = give_up(g, gb, g->oldest);
	}
	return err;
}

static void end_batch(struct graph *g, const struct batch *b)
{
	g->stamp++; /* so that graph_tidy_link() removes links without sides */
	for (size_t i = 0; i < 2 * b->events.n_connections; i++) {
		uint32_t link = g->of[i];

		/* Two rows may have the same link: tidy it only once. */
		if (link && g->link[link].stamp == g->stamp - 1) {
			g->link[link].stamp = g->stamp - 2;
			graph_tidy_link(g, link);
		}
	}
	for (size_t i = 0; i < b->series.n; i++) {
		struct graph_row *r = &g->row[i];

		if (r->name)
			graph_name_rele(r->name);
		if (r->peer)
			graph_name_rele(r->peer);
	}
}

int graph_join_batch(struct graph *g, const struct graph_batch *gb)
{
	const struct batch *b = gb->batch;
	int err;

	if (!b->events.connection || b->events.n == 0)
		return 0;
	if (make_room(g, b) < 0)
		return -ENOMEM;
	g->stamp++;
	g->scope = (uint64_t)text_hash(b->agent, strlen(b->agent)) << 1 | 1;
	g->node = (uint32_t)(g->scope >> 1);
	err = join_events(g, gb);
	if (!err)
		err = expire(g, gb);
	end_batch(g, b);
	return err;
}
