/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/fold/fold.h"
#include "aggregator/graph/graph_join.h"
#include "proto/limits.h"

#define NOW INT64_C(1700000000000000)
#define MS 1000
#define S 1000000
#define MAX 4096

/* One request as one side saw it, on connection number conn. */
struct seen {
	unsigned role; /* 1 server, 2 client */
	unsigned conn;
	int64_t start_us, duration_us; /* from NOW on */
	const char *service;
	unsigned status, bytes;
	bool loopback;
	unsigned stream;
};

struct bench {
	struct fold *fold;
	struct batch_arena *arena;
	uint64_t log_id;
	struct fold_options o;
};

static int set_up(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	b->o = (struct fold_options){ .views = views_default(),
				      .max_window_series = 1000,
				      .future_us = 3600u * S,
				      .past_us = UINT64_C(86400) * S,
				      .edge_wait_us = 10 * S,
				      .edge_skew_us = 500 * MS };
	assert_int_equal(fold_new(&b->fold, &b->o), 0);
	assert_int_equal(batch_arena_new(&b->arena), 0);
	*state = b;
	return 0;
}

static int tear_down(void **state)
{
	struct bench *b = *state;

	fold_free(b->fold);
	batch_arena_free(b->arena);
	free(b);
	return 0;
}

static void put_end(uint8_t *to, bool loopback, unsigned host, unsigned port)
{
	to[0] = loopback ? 127 : 10;
	to[3] = (uint8_t)host;
	to[16] = (uint8_t)(port >> 8);
	to[17] = (uint8_t)port;
}

/* A batch of the node's, encoded and decoded as one that came. */
static void feed(struct bench *t, const char *node, const struct seen *e,
		 size_t n)
{
	static struct batch_string string[MAX + 8];
	static uint32_t col[13][MAX];
	static uint64_t u64[4][MAX];
	static int64_t delta[MAX];
	static uint8_t local[MAX][18], remote[MAX][18];
	static const uint32_t none[MAX];
	struct batch b = {
		.agent = node, .epoch = 1, .sequence = 1, .base_us = NOW
	};
	struct fold_input fb = { .received_us = NOW };
	struct batch decoded;
	int64_t before = 0;
	size_t len, strings = 4;
	void *data;

	assert_true(n <= MAX);
	memset(local, 0, sizeof(local));
	memset(remote, 0, sizeof(remote));
	string[0] = (struct batch_string){ "", 0 };
	string[1] = (struct batch_string){ "GET", 3 };
	string[2] = (struct batch_string){ "http", 4 };
	string[3] = (struct batch_string){ "api.example", 11 };
	for (size_t i = 0; i < n; i++) {
		bool client = e[i].role == 2;
		uint8_t *from = client ? local[i] : remote[i];

		put_end(from, e[i].loopback, 1, 30000 + e[i].conn);
		put_end(client ? remote[i] : local[i], e[i].loopback, 2, 80);
		string[strings] =
			(struct batch_string){ e[i].service,
					       (uint32_t)strlen(e[i].service) };
		col[0][i] = (uint32_t)strings++; /* service */
		col[1][i] = (uint32_t)i; /* resource, series, connection */
		col[2][i] = e[i].role;
		col[3][i] = 1;
		col[4][i] = 2;
		col[5][i] = e[i].status ? e[i].status : 200;
		col[6][i] = client ? 3 : 0;
		col[7][i] = (uint32_t)i + 1;
		col[8][i] = 11;
		/* Each event has a row of its own for its connection. */
		col[9][i] = 2 * e[i].stream;
		delta[i] = e[i].start_us - before;
		before = e[i].start_us;
		u64[0][i] = (uint64_t)e[i].duration_us;
		u64[1][i] = 0;
		u64[2][i] = 7;
		u64[3][i] = e[i].bytes;
	}
	b.n_strings = strings;
	b.strings = string;
	b.resources = (struct batch_resources){ .n = n };
	for (unsigned c = 0; c < RESOURCE_N; c++)
		b.resources.column[c] = none;
	b.resources.service = col[0];
	b.series = (struct batch_series){
		.n = n,
		.resource = col[1],
		.role = col[2],
		.method = col[3],
		.route = none,
		.status = col[5],
		.outcome = none,
		.version = col[8],
		.scheme = col[4],
		.address = col[6],
		.port = none,
	};
	b.events = (struct batch_events){
		.n = n,
		.series = col[1],
		.start_delta_us = delta,
		.duration_us = u64[0],
		.tail_us = u64[1],
		.request_bytes = u64[2],
		.response_bytes = u64[3],
		.n_connections = n,
		.connection = col[7],
		.connection_local = local[0],
		.connection_remote = remote[0],
		.stream = col[9],
	};
	assert_int_equal(batch_encode(&b, &data, &len), 0);
	assert_int_equal(batch_decode(t->arena, data, len, &decoded, NULL), 0);
	fb.batch = &decoded;
	fb.log_id = ++t->log_id;
	assert_int_equal(fold_apply(t->fold, &fb), 0);
	free(data);
}

/* Event time goes on by so much; this one's sides are both there. */
static void pass(struct bench *t, int64_t us)
{
	const struct seen e[] = {
		{ 1, 9999, us, 0, "clock", 0, 0, false, 0 },
		{ 2, 9999, us, 0, "clock", 0, 0, false, 0 },
	};

	feed(t, "clock", e, 2);
}

/* Sums of one edge in one view. */
struct sums {
	uint64_t count, sum;
};

static bool is(const struct interned *have, const char *want)
{
	return have ? want && !strcmp(have->text, want) : !want;
}

static struct sums edge(struct bench *t, const char *view, const char *client,
			const char *server, bool one_sided)
{
	for (size_t v = 0; v < fold_views(t->fold); v++) {
		const struct series *s = fold_series(t->fold, v);

		if (strcmp(fold_view(t->fold, v)->name, view) != 0)
			continue;
		for (uint32_t i = 1; i < s->n; i++) {
			const struct interned *const *l = series_labels(s, i);

			if (is(l[0], client) && is(l[1], server) &&
			    is(l[2], one_sided ? "virtual_node" : NULL))
				return (struct sums){ series_at(s, i)->count,
						      series_at(s, i)->sum };
		}
		return (struct sums){ 0, 0 };
	}
	fail_msg("no view %s", view);
	return (struct sums){ 0, 0 };
}

#define REQUESTS "traces_service_graph_request"
#define FAILED "traces_service_graph_request_failed"
#define SERVER "traces_service_graph_request_server_seconds"
#define CLIENT "traces_service_graph_request_client_seconds"
#define NETWORK "redtap_service_graph_network_seconds"

static void expect(struct bench *t, const char *view, const char *client,
		   const char *server, bool one_sided, uint64_t count,
		   uint64_t sum)
{
	struct sums have = edge(t, view, client, server, one_sided);

	assert_int_equal(have.count, count);
	assert_int_equal(have.sum, sum);
}

static struct graph_stats stats(struct bench *t)
{
	struct graph_stats s;

	graph_stats(fold_graph(t->fold), &s);
	return s;
}

/* --- what is proved --- */

static void both_sides_make_one_edge(void **state)
{
	struct bench *t = *state;
	const struct seen e[] = {
		{ 1, 1, 2 * MS, 5 * MS, "cart", 0, 9, false, 0 },
		{ 2, 1, 1 * MS, 9 * MS, "web", 0, 9, false, 0 },
		{ 1, 2, 2 * MS, 5 * MS, "cart", 503, 9, false, 0 },
		{ 2, 2, 1 * MS, 8 * MS, "web", 503, 9, false, 0 },
		/* Once more: the pair goes both ways. */
		{ 1, 3, 2 * MS, 3 * MS, "web", 0, 9, false, 0 },
		{ 2, 3, 1 * MS, 5 * MS, "cart", 404, 9, false, 0 },
	};

	feed(t, "n", e, 6);
	expect(t, REQUESTS, "web", "cart", false, 2, 2);
	expect(t, FAILED, "web", "cart", false, 1, 1);
	expect(t, SERVER, "web", "cart", false, 2, 10 * MS);
	expect(t, CLIENT, "web", "cart", false, 2, 17 * MS);
	expect(t, NETWORK, "web", "cart", false, 2, 7 * MS);
	expect(t, REQUESTS, "cart", "web", false, 1, 1);
	/* Either side's error makes it a failed one. */
	expect(t, FAILED, "cart", "web", false, 1, 1);
	assert_int_equal(stats(t).joined, 3);
	assert_int_equal(stats(t).waiting, 0);
}

static void either_side_may_come_first_and_seconds_apart(void **state)
{
	struct bench *t = *state;
	const struct seen server = { 1, 1, 2 * MS, 5 * MS, "cart", 0, 0, 0, 0 };
	const struct seen client = { 2, 1, 1 * MS, 9 * MS, "web", 0, 0, 0, 0 };
	struct seen late = client;

	feed(t, "a", &server, 1);
	pass(t, 7 * S);
	feed(t, "b", &client, 1);
	late.conn = 2;
	feed(t, "b", &late, 1);
	pass(t, 14 * S);
	late = server;
	late.conn = 2;
	feed(t, "a", &late, 1);
	expect(t, REQUESTS, "web", "cart", false, 2, 2);
	expect(t, NETWORK, "web", "cart", false, 2, 8 * MS);
	assert_int_equal(stats(t).expired, 0);
}

/*
 * A hundred streams at once, all alike but for how long they take; the sides
 * come in different orders, and the clocks are 3 s apart.
 */
static void streams_tell_which_sides_belong_together(void **state)
{
	struct bench *t = *state;
	uint64_t network = 0;
	struct seen e[100];

	for (unsigned i = 0; i < 100; i++)
		e[i] = (struct seen){ 1, 7, 3 * S, 50 * MS + i * i, "cart",
				      0, 0, false, 1 + 2 * i };
	feed(t, "a", e, 100);
	assert_int_equal(stats(t).waiting, 100);
	for (unsigned i = 0; i < 100; i++) {
		unsigned k = i * 37 % 100;

		e[i] = (struct seen){ 2, 7, 0,	   90 * MS + k * k, "web",
				      0, 0, false, 1 + 2 * k };
	}
	feed(t, "b", e, 100);
	for (unsigned i = 0; i < 100; i++)
		network += 40 * MS;
	expect(t, REQUESTS, "web", "cart", false, 100, 100);
	expect(t, NETWORK, "web", "cart", false, 100, network);
	assert_int_equal(stats(t).joined, 100);
	assert_int_equal(stats(t).waiting, 0);
}

static void a_stream_is_not_joined_with_another(void **state)
{
	struct bench *t = *state;
	const struct seen e[] = {
		{ 1, 7, 2 * MS, 5 * MS, "cart", 0, 0, false, 1 },
		{ 2, 7, 1 * MS, 9 * MS, "web", 0, 0, false, 3 },
		/* Nor with what has no stream, or another connection's. */
		{ 2, 7, 1 * MS, 9 * MS, "web", 0, 0, false, 0 },
		{ 2, 8, 1 * MS, 9 * MS, "web", 0, 0, false, 1 },
		/* Nor with one that had its number long before. */
		{ 2, 7, 60 * S, 9 * MS, "web", 0, 0, false, 1 },
	};

	feed(t, "n", e, 5);
	pass(t, 90 * S);
	assert_int_equal(stats(t).joined, 1); /* the clock's */
	expect(t, REQUESTS, "web", "api.example", true, 4, 4);
	expect(t, REQUESTS, "user", "cart", true, 1, 1);
}

/* Twenty ms each, one after the other; times tell which is which. */
static struct seen on_one_connection(unsigned role, unsigned i, int64_t skew)
{
	int64_t at = (int64_t)i * 20 * MS;

	if (role == 2)
		return (struct seen){
			2, 5, at, 15 * MS + i, "web", 0, 0, 0, 0
		};
	return (struct seen){ 1, 5, at + 2 * MS + skew, 7 * MS, "cart", 0, 0,
			      0, 0 };
}

/*
 * Of 211 requests of a connection each side saw some; each batch has 31. The
 * right pairs are those that both saw, and no other sum fits them.
 */
static void some_seen(struct bench *t, bool (*sees)(unsigned role, unsigned i),
		      int64_t skew, bool server_first, const char *client_node)
{
	uint64_t both = 0, client = 0, server = 0, network = 0;

	for (unsigned from = 0; from < 211; from += 31) {
		for (unsigned turn = 0; turn < 2; turn++) {
			unsigned role = turn == server_first ? 2 : 1;
			struct seen e[31];
			size_t n = 0;

			for (unsigned i = from; i < from + 31 && i < 211; i++)
				if (sees(role, i))
					e[n++] = on_one_connection(role, i,
								   skew);
			feed(t, role == 1 ? "a" : client_node, e, n);
		}
	}
	for (unsigned i = 0; i < 211; i++) {
		if (sees(1, i) && sees(2, i)) {
			both++;
			network += 8 * MS + i;
		} else {
			client += sees(2, i);
			server += sees(1, i);
		}
	}
	pass(t, 60 * S);
	expect(t, REQUESTS, "web", "cart", false, both, both);
	expect(t, NETWORK, "web", "cart", false, both, network);
	expect(t, REQUESTS, "web", "api.example", true, client, client);
	expect(t, REQUESTS, "user", "cart", true, server, server);
	expect(t, SERVER, "user", "cart", true, server, server * 7 * MS);
	assert_int_equal(stats(t).waiting, 0);
	assert_int_equal(stats(t).expired, client + server);
}

static bool server_began_late(unsigned role, unsigned i)
{
	return role == 2 || i >= 53;
}

static bool client_began_late(unsigned role, unsigned i)
{
	return role == 1 || i >= 53;
}

static bool both_lose(unsigned role, unsigned i)
{
	return i % (role == 1 ? 7 : 11) != 3;
}

/* A new fold, for which clocks differ by so much at most. */
static struct bench *again(void **state, uint64_t skew_us)
{
	struct bench *t;

	tear_down(state);
	set_up(state);
	t = *state;
	fold_free(t->fold);
	t->o.edge_skew_us = skew_us;
	assert_int_equal(fold_new(&t->fold, &t->o), 0);
	return t;
}

static void an_agent_may_start_within_a_connection(void **state)
{
	some_seen(*state, server_began_late, 0, true, "a");
	some_seen(again(state, 500 * MS), client_began_late, 0, false, "a");
	some_seen(again(state, 9 * MS), server_began_late, 0, true, "b");
	some_seen(again(state, 9 * MS), client_began_late, 0, false, "b");
}

static void a_lost_side_does_not_shift_the_others(void **state)
{
	some_seen(*state, both_lose, 0, true, "a");
	some_seen(again(state, 500 * MS), both_lose, 0, false, "a");
	some_seen(again(state, 9 * MS), both_lose, 0, true, "b");
	some_seen(again(state, 9 * MS), both_lose, 0, false, "b");
}

static void clocks_may_differ(void **state)
{
	some_seen(again(state, 7 * MS), both_lose, 4 * MS, true, "b");
	some_seen(again(state, 7 * MS), both_lose, -4 * MS, false, "b");
}

static void what_both_saw_alike_tells_requests_apart(void **state)
{
	struct bench *t = *state;
	/* Clocks are so far off that time says the opposite. */
	const struct seen e[] = {
		{ 2, 1, 0, 10 * MS, "web", 0, 100, false, 0 },
		{ 2, 1, 20 * MS, 30 * MS, "web", 0, 200, false, 0 },
	};
	const struct seen s = {
		1, 1, 2 * MS, 5 * MS, "cart", 0, 200, false, 0
	};

	feed(t, "a", e, 2);
	feed(t, "b", &s, 1);
	expect(t, NETWORK, "web", "cart", false, 1, 25 * MS);
}

static void a_side_stays_alone_by_event_time(void **state)
{
	struct bench *t = *state;
	const struct seen s = { 1, 1, 0, 5 * MS, "cart", 500, 0, false, 0 };
	const struct seen c = { 2, 2, 0, 6 * MS, "web", 0, 0, false, 0 };

	feed(t, "n", &s, 1);
	feed(t, "n", &c, 1);
	pass(t, 10 * S);
	assert_int_equal(stats(t).waiting, 2);
	pass(t, 10 * S + 6 * MS);
	assert_int_equal(stats(t).waiting, 0);
	assert_int_equal(stats(t).expired, 2);
	expect(t, REQUESTS, "user", "cart", true, 1, 1);
	expect(t, FAILED, "user", "cart", true, 1, 1);
	expect(t, SERVER, "user", "cart", true, 1, 5 * MS);
	expect(t, CLIENT, "user", "cart", true, 0, 0);
	expect(t, REQUESTS, "web", "api.example", true, 1, 1);
	expect(t, CLIENT, "web", "api.example", true, 1, 6 * MS);
	expect(t, NETWORK, "web", "api.example", true, 0, 0);
}

static void the_oldest_makes_room(void **state)
{
	struct bench *t = *state;
	struct seen e[17];

	fold_free(t->fold);
	t->o.max_waiting = 10;
	assert_int_equal(fold_new(&t->fold, &t->o), 0);
	for (unsigned i = 0; i < 17; i++)
		e[i] = (struct seen){ 1, i, i, 5, "cart", 0, 0, false, 0 };
	feed(t, "n", e, 17);
	assert_int_equal(stats(t).waiting, 10);
	assert_int_equal(stats(t).evicted, 7);
	expect(t, REQUESTS, "user", "cart", true, 7, 7);
	/* Those that are left still find their other side. */
	e[0] = (struct seen){ 2, 7, 0, 20, "web", 0, 0, false, 0 };
	feed(t, "n", e, 1);
	expect(t, REQUESTS, "web", "cart", false, 1, 1);
}

static void loopback_is_a_nodes_own(void **state)
{
	struct bench *t = *state;
	const struct seen s = { 1, 1, 2, 5, "cart", 0, 0, true, 0 };
	const struct seen c = { 2, 1, 0, 9, "web", 0, 0, true, 0 };
	const struct seen other = { 2, 1, 0, 9, "elsewhere", 0, 0, true, 0 };

	feed(t, "a", &s, 1);
	feed(t, "b", &other, 1);
	assert_int_equal(stats(t).joined, 0);
	feed(t, "a", &c, 1);
	assert_int_equal(stats(t).joined, 1);
	expect(t, REQUESTS, "web", "cart", false, 1, 1);
}

static void a_server_that_took_longer_counts_as_no_network(void **state)
{
	struct bench *t = *state;
	const struct seen e[] = {
		{ 1, 1, 1, 50, "cart", 0, 0, false, 0 },
		{ 2, 1, 0, 40, "web", 0, 0, false, 0 },
	};

	feed(t, "n", e, 2);
	expect(t, NETWORK, "web", "cart", false, 1, 0);
	assert_int_equal(stats(t).clamped_us, 10);
}

/* --- the checkpoint --- */

static uint64_t rnd(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s * 0x2545f4914f6cdd1d >> 11;
}

static void some_batch(struct bench *t, uint64_t seed)
{
	static const char *const names[] = { "a", "b", "c", "shop/d" };
	struct seen e[97];

	for (size_t i = 0; i < 97; i++)
		e[i] = (struct seen){
			.role = 1 + rnd(&seed) % 2,
			.conn = rnd(&seed) % 13,
			.start_us =
				(int64_t)(t->log_id * S + rnd(&seed) % (S / 2)),
			.duration_us = (int64_t)(rnd(&seed) % (400 * MS)),
			.service = names[rnd(&seed) % 4],
			.status = rnd(&seed) % 5 ? 200 : 500,
			.bytes = rnd(&seed) % 3,
			.loopback = rnd(&seed) % 2,
			.stream = rnd(&seed) % 4,
		};
	feed(t, seed % 2 ? "x" : "y", e, 97);
}

/* What waits, saved and loaded after each batch, changes nothing. */
static void what_waits_survives_a_restart(void **state)
{
	struct bench *t = *state;
	struct buf plain = { 0 };
	struct graph *moved = NULL;
	struct graph_options go = {
		.intern = fold_intern(t->fold),
		.wait_us = t->o.edge_wait_us,
		.skew_us = t->o.edge_skew_us,
		.future_us = t->o.future_us,
	};

	for (uint64_t i = 1; i <= 40; i++) {
		struct buf again = { 0 };

		some_batch(t, i * 77);
		buf_reset(&plain);
		assert_int_equal(graph_save(fold_graph(t->fold), &plain), 0);
		assert_int_equal(graph_new(&moved, &go), 0);
		assert_int_equal(graph_load(moved, plain.data, plain.len), 0);
		assert_int_equal(graph_save(moved, &again), 0);
		assert_int_equal(again.len, plain.len);
		assert_memory_equal(again.data, plain.data, plain.len);
		buf_fini(&again);
		graph_free(moved);
	}
	assert_true(stats(t).waiting > 0 && stats(t).joined > 0 &&
		    stats(t).expired > 0);
	/* Cut anywhere, it is refused and not believed. */
	for (size_t n = 0; n < plain.len; n += 1 + n / 7) {
		assert_int_equal(graph_new(&moved, &go), 0);
		assert_int_equal(graph_load(moved, plain.data, n), -EUCLEAN);
		graph_free(moved);
	}
	buf_fini(&plain);
}

/* Every request is in one edge, or waits, or is half of one. */
static void each_request_is_counted_once(void **state)
{
	struct bench *t = *state;
	uint64_t total = 0;
	struct graph_stats g;

	for (uint64_t i = 1; i <= 40; i++)
		some_batch(t, i * 31);
	g = stats(t);
	for (size_t v = 0; v < fold_views(t->fold); v++) {
		const struct series *s = fold_series(t->fold, v);

		if (strcmp(fold_view(t->fold, v)->name, REQUESTS) != 0)
			continue;
		for (uint32_t i = 0; i < s->n; i++)
			total += series_at(s, i)->count;
	}
	assert_int_equal(total, g.joined + g.expired + g.evicted);
	assert_int_equal(2 * g.joined + g.expired + g.evicted + g.waiting,
			 40 * 97);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(both_sides_make_one_edge),
		TEST(either_side_may_come_first_and_seconds_apart),
		TEST(an_agent_may_start_within_a_connection),
		TEST(a_lost_side_does_not_shift_the_others),
		TEST(clocks_may_differ),
		TEST(what_both_saw_alike_tells_requests_apart),
		TEST(streams_tell_which_sides_belong_together),
		TEST(a_stream_is_not_joined_with_another),
		TEST(a_side_stays_alone_by_event_time),
		TEST(the_oldest_makes_room),
		TEST(loopback_is_a_nodes_own),
		TEST(a_server_that_took_longer_counts_as_no_network),
		TEST(what_waits_survives_a_restart),
		TEST(each_request_is_counted_once),
	};

	return cmocka_run_group_tests_name("graph", tests, NULL, NULL);
}
