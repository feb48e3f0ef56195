/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "probe-agent/batch/packer.h"
#include "probe-agent/batch/rollup.h"
#include "proto/batch.h"
#include "proto/limits.h"

#define EPOCH 4711u

static struct packer *packer;
static struct batch_arena *arena;
static struct batch_losses losses;
static void *taken; /* the last batch */

static int set_up(void **state)
{
	(void)state;
	memset(&losses, 0, sizeof(losses));
	return packer_new(&packer, "node-a", EPOCH) || batch_arena_new(&arena);
}

static int tear_down(void **state)
{
	(void)state;
	packer_free(packer);
	batch_arena_free(arena);
	free(taken);
	taken = NULL;
	return 0;
}

/* Takes and decodes; *out lives until the next call. */
static size_t take(struct batch *out, uint64_t expected_sequence)
{
	const char *reason = "";
	uint64_t sequence = 0;
	size_t len;

	free(taken); /* what was decoded borrows from it */
	taken = NULL;
	assert_int_equal(packer_take(packer, &losses, &taken, &len, &sequence),
			 0);
	assert_int_equal(sequence, expected_sequence);
	if (batch_decode(arena, taken, len, out, &reason) != 0)
		fail_msg("%s", reason);
	assert_string_equal(out->agent, "node-a");
	assert_int_equal(out->epoch, EPOCH);
	assert_int_equal(out->sequence, expected_sequence);
	return len;
}

static struct packer_event plain_event(void)
{
	return (struct packer_event){
		.service = "shop",
		.namespace_ = "prod",
		.instance = "shop-1",
		.container = "c0ffee",
		.executable = "nginx",
		.method = "GET",
		.route = "/cart/{id}",
		.scheme = "http",
		.address = "",
		.role = 1,
		.status = 200,
		.version = 11,
		.port = 80,
		.start_us = 1700000000000000,
		.duration_us = 1500,
		.ttfb_us = 1400,
		.request_bytes = 0,
		.response_bytes = 612,
	};
}

static const char *text(const struct batch *b, uint32_t id)
{
	return b->strings[id].data;
}

static void assert_event(const struct batch *b, size_t i, int64_t start_us,
			 const struct packer_event *e)
{
	uint32_t s = b->events.series[i], r = b->series.resource[s];
	uint64_t ttfb = e->ttfb_us > 0 && e->ttfb_us <= e->duration_us
				? e->ttfb_us
				: e->duration_us;

	assert_string_equal(text(b, b->resources.service[r]), e->service);
	assert_string_equal(text(b, b->resources.namespace_[r]), e->namespace_);
	assert_string_equal(text(b, b->resources.instance[r]), e->instance);
	assert_string_equal(text(b, b->resources.container[r]), e->container);
	assert_string_equal(text(b, b->resources.executable[r]), e->executable);
	assert_string_equal(text(b, b->series.method[s]), e->method);
	assert_string_equal(text(b, b->series.route[s]), e->route);
	assert_string_equal(text(b, b->series.scheme[s]), e->scheme);
	assert_string_equal(text(b, b->series.address[s]), e->address);
	assert_int_equal(b->series.role[s], e->role);
	assert_int_equal(b->series.status[s], e->status);
	assert_int_equal(b->series.outcome[s], e->outcome);
	assert_int_equal(b->series.version[s], e->version);
	assert_int_equal(b->series.port[s], e->port);
	assert_int_equal(start_us, e->start_us);
	assert_int_equal(b->events.duration_us[i], e->duration_us);
	assert_int_equal(b->events.duration_us[i] - b->events.tail_us[i], ttfb);
	assert_int_equal(b->events.request_bytes[i], e->request_bytes);
	assert_int_equal(b->events.response_bytes[i], e->response_bytes);
}

static uint64_t next_random(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

/* One for each pair of texts that differ in the test below. */
static uint64_t resource_number(const struct packer_event *e)
{
	return 1 + strlen(e->service) * 256 + strlen(e->instance);
}

static void events_come_out_as_they_went_in(void **state)
{
	static const char *const words[] = { "a", "b/c", "longer than eight",
					     "", "é" };
	static struct packer_event in[5000];
	uint64_t x = 42;
	struct batch b;

	(void)state;
	for (uint64_t round = 1; round <= 3; round++) {
		int64_t at;

		for (size_t i = 0; i < 5000; i++) {
			struct packer_event *e = &in[i];

			*e = plain_event();
			e->service = words[next_random(&x) % 5];
			e->instance = words[next_random(&x) % 5];
			/* In one round the texts have no number. */
			if (round != 2)
				e->resource = resource_number(e);
			e->route = words[next_random(&x) % 5];
			e->method = words[next_random(&x) % 5];
			e->address = words[next_random(&x) % 5];
			e->role = 1 + next_random(&x) % 2;
			e->status = 200 + next_random(&x) % 4;
			e->outcome = next_random(&x) % 5;
			e->port = next_random(&x) % 3 * 32767;
			e->start_us += (int64_t)(next_random(&x) % 1000000);
			e->duration_us = next_random(&x) % 100000;
			e->ttfb_us = next_random(&x) % 100000;
			e->request_bytes = next_random(&x) % 70000;
			e->response_bytes = next_random(&x) >> 20;
			assert_int_equal(packer_add(packer, e), 0);
		}
		assert_int_equal(packer_pending(packer), 5000);
		take(&b, round);
		assert_int_equal(packer_pending(packer), 0);
		assert_int_equal(b.events.n, 5000);
		assert_int_equal(b.losses.packed, 5000 * round);
		at = b.base_us;
		for (size_t i = 0; i < 5000; i++) {
			at += b.events.start_delta_us[i];
			assert_event(&b, i, at, &in[i]);
		}
	}
}

static void each_series_and_string_is_sent_once(void **state)
{
	struct packer_event e = plain_event();
	struct batch b;

	(void)state;
	for (int i = 0; i < 100; i++) {
		e.status = i % 2 ? 200 : 404;
		assert_int_equal(packer_add(packer, &e), 0);
	}
	take(&b, 1);
	assert_int_equal(b.resources.n, 1);
	assert_int_equal(b.series.n, 2);
	assert_int_equal(b.n_strings, 9); /* "" is the address too */
}

/* Its memory may have been another's of the same text before. */
static void a_resource_number_stands_for_its_texts(void **state)
{
	struct packer_event e = plain_event();
	char service[] = "shop";
	struct batch b;

	(void)state;
	e.service = service;
	for (e.resource = 0; e.resource < 3; e.resource++) {
		service[3] = (char)('0' + e.resource);
		assert_int_equal(packer_add(packer, &e), 0);
		assert_int_equal(packer_add(packer, &e), 0);
	}
	take(&b, 1);
	assert_int_equal(b.resources.n, 3);
	assert_int_equal(b.series.n, 3);
	for (uint32_t i = 0; i < 6; i++) {
		uint32_t r = b.series.resource[b.events.series[i]];

		service[3] = (char)('0' + i / 2);
		assert_string_equal(text(&b, b.resources.service[r]), service);
	}
}

static void a_duration_that_is_not_known_is_said_and_zero(void **state)
{
	struct packer_event e = plain_event();
	struct batch b;

	(void)state;
	for (e.resource = 0; e.resource < 2; e.resource++) {
		e.untimed = false;
		assert_int_equal(packer_add(packer, &e), 0);
		e.untimed = true;
		assert_int_equal(packer_add(packer, &e), 0);
		assert_int_equal(packer_add(packer, &e), 0);
	}
	take(&b, 1);
	assert_int_equal(b.series.n, 2);
	for (uint32_t i = 0; i < 6; i++) {
		uint32_t s = b.events.series[i];

		assert_int_equal(batch_series_untimed(&b.series, s),
				 i % 3 != 0);
		assert_int_equal(b.events.duration_us[i], i % 3 ? 0 : 1500);
		assert_int_equal(b.events.tail_us[i], i % 3 ? 0 : 100);
	}
	/* Where all are known, nothing is said. */
	e.untimed = false;
	assert_int_equal(packer_add(packer, &e), 0);
	take(&b, 2);
	assert_null(b.series.untimed);
}

/* Three connections in turns; streams end in any order. */
static void calls_and_their_streams_come_out_as_they_went_in(void **state)
{
	static const uint8_t a[16] = { 10, 0, 0, 1 }, b[16] = { 10, 0, 0, 2 };
	struct packer_event e = plain_event();
	uint32_t last[4] = { 0 }, streams[300];
	uint64_t x = 4711;
	struct batch out;

	(void)state;
	e.local = (struct packer_end){ a, 80 };
	for (uint32_t i = 0; i < 300; i++) {
		e.resource = i % 2;
		e.remote = (struct packer_end){ b, (uint16_t)(1 + i % 3) };
		e.stream = streams[i] =
			i % 7 ? (uint32_t)next_random(&x) >> (1 + i % 31) : 0;
		e.rpc = i % 3;
		e.rpc_status = e.rpc ? i % 18 : 0;
		assert_int_equal(packer_add(packer, &e), 0);
	}
	take(&out, 1);
	assert_non_null(out.events.stream);
	for (uint32_t i = 0; i < 300; i++) {
		uint32_t s = out.events.series[i];
		uint32_t row = out.events.connection[i];

		assert_int_equal(row, 1 + i % 3);
		assert_int_equal(
			batch_stream_get(&last[row], out.events.stream[i]),
			streams[i]);
		assert_int_equal(batch_series_rpc(&out.series, s), i % 3);
		assert_int_equal(batch_series_rpc_status(&out.series, s),
				 i % 3 ? i % 18 : 0);
	}
	/* Without any, neither column is there; and numbers begin anew. */
	e.stream = e.rpc = e.rpc_status = 0;
	assert_int_equal(packer_add(packer, &e), 0);
	take(&out, 2);
	assert_null(out.events.stream);
	assert_null(out.series.rpc);
	assert_null(out.series.rpc_status);
	e.stream = 5;
	assert_int_equal(packer_add(packer, &e), 0);
	take(&out, 3);
	last[1] = 0;
	assert_int_equal(batch_stream_get(&last[1], out.events.stream[0]), 5);
}

static void a_rollup_keeps_calls_apart_by_their_code(void **state)
{
	struct packer_event e = plain_event();
	struct rollup *r;
	struct batch b;
	uint64_t seen = 0;
	void *data;
	size_t len;

	(void)state;
	for (unsigned i = 0; i < 36; i++) {
		e.rpc = 1 + i % 2;
		e.rpc_status = i / 2;
		assert_int_equal(packer_add(packer, &e), 0);
	}
	take(&b, 1);
	assert_int_equal(rollup_new(&r), 0);
	assert_int_equal(rollup_add(r, &b), 0);
	assert_int_equal(rollup_encode(r, "node", 1, 1, 1, &data, &len), 0);
	assert_int_equal(batch_decode(arena, data, len, &b, NULL), 0);
	assert_int_equal(b.rollups.n, 36);
	for (size_t i = 0; i < 36; i++) {
		uint32_t s = b.rollups.series[i];

		assert_int_equal(b.rollups.count[i], 1);
		seen |= UINT64_C(1)
			<< (batch_series_rpc(&b.series, s) - 1 +
			    2 * batch_series_rpc_status(&b.series, s));
	}
	assert_int_equal(seen, (UINT64_C(1) << 36) - 1);
	free(data);
	rollup_free(r);
}

static void a_rollup_keeps_apart_what_is_not_timed(void **state)
{
	struct packer_event e = plain_event();
	struct rollup *r;
	struct batch b;
	void *data;
	size_t len;

	(void)state;
	for (int i = 0; i < 5; i++) {
		e.untimed = i < 2;
		assert_int_equal(packer_add(packer, &e), 0);
	}
	take(&b, 1);
	assert_int_equal(rollup_new(&r), 0);
	assert_int_equal(rollup_add(r, &b), 0);
	assert_int_equal(rollup_encode(r, "node", 1, 1, 1, &data, &len), 0);
	assert_int_equal(batch_decode(arena, data, len, &b, NULL), 0);
	assert_int_equal(b.rollups.n, 2);
	for (size_t i = 0; i < 2; i++) {
		bool untimed =
			batch_series_untimed(&b.series, b.rollups.series[i]);

		assert_int_equal(b.rollups.count[i], untimed ? 2 : 3);
		assert_int_equal(b.rollups.duration_sum_us[i],
				 untimed ? 0 : 4500);
	}
	free(data);
	rollup_free(r);
}

static void a_full_batch_says_so(void **state)
{
	struct packer_event e = plain_event();
	struct batch b;

	(void)state;
	for (unsigned i = 1; i < BATCH_EVENTS; i++)
		assert_int_equal(packer_add(packer, &e), 0);
	assert_int_equal(packer_add(packer, &e), 1);
	take(&b, 1);
	assert_int_equal(b.events.n, BATCH_EVENTS);
	assert_int_equal(packer_add(packer, &e), 0);
	take(&b, 2);
	assert_int_equal(b.events.n, 1);
}

/* Whatever the strings are, the batch must stay one that is taken. */
static void long_and_many_strings_fill_a_batch_before_its_limit(void **state)
{
	static char route[3000], service[3000];
	struct packer_event e = plain_event();
	size_t events = 0, batches = 0;
	struct batch b;

	(void)state;
	memset(route, 'r', sizeof(route) - 1);
	memset(service, 's', sizeof(service) - 1);
	e.route = route;
	e.service = service;
	for (int i = 0; i < 3000; i++) {
		int full;

		snprintf(route, 8, "%07d", i);
		snprintf(service, 8, "%07d", i / 2);
		route[7] = service[7] = 'x';
		full = packer_add(packer, &e);
		assert_true(full >= 0);
		if (full) {
			take(&b, ++batches);
			events += b.events.n;
			assert_int_equal(b.strings[b.series.route[0]].len,
					 LIMIT_STRING_BYTES);
		}
	}
	take(&b, ++batches);
	assert_int_equal(events + b.events.n, 3000);
	assert_true(batches > 2);
}

static void strings_that_are_not_utf8_are_cleaned(void **state)
{
	struct packer_event e = plain_event();
	struct batch b;

	(void)state;
	e.route = "/\xff\xc3\xa9\xc3";
	assert_int_equal(packer_add(packer, &e), 0);
	assert_int_equal(packer_add(packer, &e), 0);
	e.route = "/?\xc3\xa9?";
	assert_int_equal(packer_add(packer, &e), 0);
	take(&b, 1);
	assert_int_equal(b.series.n, 1);
	assert_string_equal(text(&b, b.series.route[0]), "/?\xc3\xa9?");
}

static void traces_name_their_event(void **state)
{
	static const size_t traced[] = { 0, 3, 4, 9 };
	struct packer_event e = plain_event();
	uint8_t ids[10][24];
	struct batch b;
	size_t at = 0;

	(void)state;
	for (size_t i = 0; i < 10; i++) {
		memset(ids[i], (int)i + 1, 24);
		e.trace = NULL;
		for (size_t k = 0; k < 4; k++)
			if (traced[k] == i)
				e.trace = ids[i];
		assert_int_equal(packer_add(packer, &e), 0);
	}
	take(&b, 1);
	assert_int_equal(b.events.n_traced, 4);
	for (size_t k = 0; k < 4; k++) {
		at += b.events.traced[k];
		assert_int_equal(at, traced[k]);
		assert_memory_equal(b.events.trace_ids + 24 * k, ids[at], 24);
	}
}

static void values_over_a_limit_are_clamped_not_refused(void **state)
{
	struct packer_event e = plain_event();
	struct batch b;

	(void)state;
	e.start_us = -5;
	e.duration_us = UINT64_MAX;
	e.ttfb_us = 0;
	e.request_bytes = e.response_bytes = UINT64_MAX;
	e.status = 70000;
	assert_int_equal(packer_add(packer, &e), 0);
	take(&b, 1);
	assert_int_equal(b.base_us, 0);
	assert_int_equal(b.events.duration_us[0], LIMIT_DURATION_US - 1);
	assert_int_equal(b.events.tail_us[0], 0);
	assert_int_equal(b.events.response_bytes[0], LIMIT_BODY_BYTES - 1);
	assert_int_equal(b.series.status[0], 0);
}

static void a_heartbeat_carries_losses_and_identity(void **state)
{
	static const char *const probes[] = { "read", "write" };
	static const uint32_t attached[] = { 1, 0 };
	struct batch_info info = {
		"1.0", "6.18", "syscall", 2, probes, attached
	};
	struct packer_event e = plain_event();
	struct batch b;

	(void)state;
	assert_int_equal(packer_set_info(packer, &info), 0);
	losses.captured = 12;
	losses.dropped[LOSS_GAP] = 3;
	take(&b, 1);
	assert_int_equal(b.events.n, 0);
	assert_int_equal(b.losses.captured, 12);
	assert_int_equal(b.losses.dropped[LOSS_GAP], 3);
	assert_string_equal(b.info.kernel, "6.18");
	assert_int_equal(b.info.n_probes, 2);
	assert_string_equal(b.info.probes[1], "write");
	assert_int_equal(b.info.probe_attached[1], 0);
	assert_int_equal(packer_add(packer, &e), 0);
	take(&b, 2); /* said already */
	assert_int_equal(b.info.n_probes, 0);
	info.n_probes = 1;
	assert_int_equal(packer_set_info(packer, &info), 0);
	assert_int_equal(packer_add(packer, &e), 0);
	take(&b, 3);
	assert_int_equal(b.info.n_probes, 1);
}

static void a_resumed_packer_goes_on_counting(void **state)
{
	struct packer_event e = plain_event();
	struct batch b;

	(void)state;
	packer_resume(packer, 41, 1000);
	assert_int_equal(packer_add(packer, &e), 0);
	take(&b, 42);
	assert_int_equal(b.losses.packed, 1001);
}

/*
 * Keep-alive traffic as nginx gives it: 3 services, 40 routes, a few statuses,
 * pages of 0.2 to 60 kB, 5,000 requests/s, latencies spread over two decades.
 */
static double keep_alive_traffic(unsigned connections)
{
	static const char *const services[] = { "web", "api", "auth" };
	struct packer_event e = plain_event();
	uint64_t x = 7, y = 9;
	uint8_t local[16] = { 10, 1 }, remote[16] = { 10, 2 };
	struct batch b;
	char route[32];
	double bytes;

	e.route = route;
	for (unsigned i = 0; i < BATCH_EVENTS; i++) {
		uint64_t r = next_random(&x);

		e.service = services[r % 3];
		snprintf(route, sizeof(route), "/v1/thing%u/{id}",
			 (unsigned)(r >> 8) % 40);
		e.status = (r >> 20) % 50 == 0 ? 404 : 200;
		e.start_us += (int64_t)(r >> 30) % 400;
		e.duration_us = 100u << (r >> 40) % 7;
		e.duration_us += next_random(&x) % e.duration_us;
		e.ttfb_us = e.duration_us - next_random(&x) % 60;
		e.response_bytes = 200 + (next_random(&x) % 60000);
		if (connections) {
			e.local = (struct packer_end){ local, 80 };
			e.remote = (struct packer_end){
				remote, (uint16_t)(40000 + next_random(&y) %
								   connections)
			};
		}
		packer_add(packer, &e);
	}
	bytes = (double)take(&b, 1) / BATCH_EVENTS;
	print_message("%.2f bytes an event, %u connections\n", bytes,
		      connections);
	assert_int_equal(b.events.n, BATCH_EVENTS);
	assert_int_equal(b.events.n_connections, connections);
	return bytes;
}

static void keep_alive_traffic_takes_at_most_12_bytes_an_event(void **state)
{
	(void)state;
	assert_true(keep_alive_traffic(0) <= 12.0);
}

static void connections_take_at_most_2_bytes_an_event_more(void **state)
{
	double without = keep_alive_traffic(0);

	tear_down(state);
	set_up(state);
	assert_true(keep_alive_traffic(64) - without <= 2.0);
}

static void both_ends_of_a_connection_come_out_as_they_went_in(void **state)
{
	static const uint8_t four[16] = { 10, 0, 0, 7 };
	static const uint8_t mapped[16] = { [10] = 0xff, 0xff, 10, 0, 0, 7 };
	static const uint8_t six[16] = { 0x20, 1, 0xd, 0xb8, [15] = 1 };
	static const struct {
		const uint8_t *local;
		uint16_t local_port;
		const uint8_t *remote;
		uint16_t remote_port;
		uint32_t row; /* + 1; what it is sent as */
	} in[] = {
		{ four, 80, six, 258, 1 }, { NULL, 0, NULL, 0, 0 },
		{ four, 81, six, 258, 2 }, { mapped, 80, six, 258, 1 },
		{ six, 80, six, 258, 3 },  { four, 80, six, 258, 1 },
	};
	struct packer_event e = plain_event();
	struct batch b;

	(void)state;
	/* Twice: a new batch has a new table. */
	for (uint64_t turn = 1; turn <= 2; turn++) {
		for (size_t i = 0; i < 6; i++) {
			e.local = (struct packer_end){ in[i].local,
						       in[i].local_port };
			e.remote = (struct packer_end){ in[i].remote,
							in[i].remote_port };
			assert_int_equal(packer_add(packer, &e), 0);
		}
		take(&b, turn);
		assert_int_equal(b.events.n_connections, 3);
		for (size_t i = 0; i < 6; i++)
			assert_int_equal(b.events.connection[i], in[i].row);
		assert_memory_equal(b.events.connection_local, four, 16);
		assert_int_equal(b.events.connection_local[16], 0);
		assert_int_equal(b.events.connection_local[17], 80);
		assert_memory_equal(b.events.connection_remote, six, 16);
		assert_int_equal(b.events.connection_remote[16], 1);
		assert_int_equal(b.events.connection_remote[17], 2);
		assert_memory_equal(b.events.connection_local + 36, six, 16);
	}
	e = plain_event();
	packer_add(packer, &e);
	take(&b, 3);
	assert_null(b.events.connection);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(events_come_out_as_they_went_in),
		TEST(each_series_and_string_is_sent_once),
		TEST(a_resource_number_stands_for_its_texts),
		TEST(a_duration_that_is_not_known_is_said_and_zero),
		TEST(calls_and_their_streams_come_out_as_they_went_in),
		TEST(a_rollup_keeps_calls_apart_by_their_code),
		TEST(a_rollup_keeps_apart_what_is_not_timed),
		TEST(a_full_batch_says_so),
		TEST(long_and_many_strings_fill_a_batch_before_its_limit),
		TEST(strings_that_are_not_utf8_are_cleaned),
		TEST(traces_name_their_event),
		TEST(values_over_a_limit_are_clamped_not_refused),
		TEST(a_heartbeat_carries_losses_and_identity),
		TEST(a_resumed_packer_goes_on_counting),
		TEST(keep_alive_traffic_takes_at_most_12_bytes_an_event),
		TEST(connections_take_at_most_2_bytes_an_event_more),
		TEST(both_ends_of_a_connection_come_out_as_they_went_in),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
