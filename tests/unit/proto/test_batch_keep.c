/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/batch_keep.h"

#define S(text)                                                                \
	{                                                                      \
		text, sizeof(text) - 1                                         \
	}

/* Two services, events of both in turns; the 2nd, 3rd and 6th are traced. */
static const struct batch_string strings[] = { S(""),	  S("shop"), S("eu"),
					       S("cart"), S("GET"),  S("/a"),
					       S("/b"),	  S("http") };
static const uint32_t service[] = { 1, 3 }, namespace_[] = { 2, 0 },
		      none[] = { 0, 0, 0 };
static const uint32_t resource[] = { 0, 1, 0 }, role[] = { 1, 1, 1 },
		      method[] = { 4, 4, 4 }, route[] = { 5, 6, 6 },
		      status[] = { 200, 201, 500 }, version[] = { 11, 11, 11 },
		      scheme[] = { 7, 7, 7 }, untimed[] = { 0, 0, 1 };
static const uint32_t event_series[] = { 0, 1, 2, 1, 0, 2 };
static const int64_t start[] = { 5, 10, -3, 7, 100, 1 };
static const uint64_t duration[] = { 11, 12, 13, 14, 15, 16 },
		      tail[] = { 1, 2, 3, 4, 5, 6 }, bytes[6] = { 9 };
static const uint32_t traced[] = { 1, 1, 3 };
static uint8_t ids[3 * 24];
/* The 2nd connection is the other service's, the 3rd has no owner. */
static const uint32_t connection[] = { 4, 2, 0, 2, 1, 4 };
static uint8_t local[4 * 18], remote[4 * 18];

static struct batch make(void)
{
	memset(ids, 1, 24);
	memset(ids + 24, 2, 24);
	memset(ids + 48, 3, 24);
	for (int i = 0; i < 4; i++) {
		memset(local + 18 * i, 'k' + i, 18);
		memset(remote + 18 * i, 'K' + i, 18);
	}
	return (struct batch){
		.agent = "node",
		.epoch = 7,
		.sequence = 9,
		.base_us = 1000000,
		.n_strings = 8,
		.strings = strings,
		.resources = { 2,
			       { { service, namespace_, none, none, none } } },
		.series = { 3, resource, role, method, route, status, none,
			    version, scheme, none, none, untimed },
		.events = { .n = 6,
			    .series = event_series,
			    .start_delta_us = start,
			    .duration_us = duration,
			    .tail_us = tail,
			    .request_bytes = bytes,
			    .response_bytes = bytes,
			    .n_traced = 3,
			    .traced = traced,
			    .trace_ids = ids,
			    .connection = connection,
			    .n_connections = 4,
			    .connection_local = local,
			    .connection_remote = remote },
	};
}

static bool holds(const void *data, size_t len, const char *text)
{
	return memmem(data, len, text, strlen(text)) != NULL;
}

static void keeps_one_service_and_nothing_of_others(void **state)
{
	static const uint64_t durations[] = { 11, 13, 15, 16 };
	static const int64_t starts[] = { 5, 12, 119, 120 };
	static const uint32_t statuses[] = { 200, 500, 200, 500 };
	struct batch_losses losses = { .captured = 4, .packed = 4 };
	struct batch in = make(), out;
	struct batch_arena *arena;
	int64_t at = 0;
	uint64_t n;
	void *data;
	size_t len;

	(void)state;
	assert_int_equal(
		batch_keep_service(&in, "eu/shop", &losses, &data, &len, &n),
		0);
	assert_int_equal(n, 4);
	assert_false(holds(data, len, "cart"));
	assert_true(holds(data, len, "shop"));
	assert_int_equal(batch_arena_new(&arena), 0);
	assert_int_equal(batch_decode(arena, data, len, &out, NULL), 0);
	assert_int_equal(out.sequence, 9);
	assert_int_equal(out.losses.packed, 4);
	assert_int_equal(out.resources.n, 1);
	assert_int_equal(out.series.n, 2);
	assert_false(batch_series_untimed(&out.series, 0));
	assert_true(batch_series_untimed(&out.series, 1));
	assert_int_equal(out.events.n, 4);
	for (size_t i = 0; i < 4; i++) {
		at += out.events.start_delta_us[i];
		assert_int_equal(at, starts[i]);
		assert_int_equal(out.events.duration_us[i], durations[i]);
		assert_int_equal(out.series.status[out.events.series[i]],
				 statuses[i]);
	}
	/* The 3rd and the 6th event, now the 2nd and the 4th. */
	assert_int_equal(out.events.n_traced, 2);
	assert_int_equal(out.events.traced[0], 1);
	assert_int_equal(out.events.traced[1], 2);
	assert_int_equal(out.events.trace_ids[0], 2);
	assert_int_equal(out.events.trace_ids[24], 3);
	assert_int_equal(out.events.n_connections, 2);
	assert_int_equal(out.events.connection[0], 1);
	assert_int_equal(out.events.connection[1], 0);
	assert_int_equal(out.events.connection[2], 2);
	assert_int_equal(out.events.connection[3], 1);
	assert_memory_equal(out.events.connection_local, local + 54, 18);
	assert_memory_equal(out.events.connection_remote + 18, remote, 18);
	assert_false(holds(data, len, "llllllll"));
	assert_false(holds(data, len, "MMMMMMMM"));
	batch_arena_free(arena);
	free(data);
}

static void streams_stay_those_of_their_connections(void **state)
{
	/* Of the connections 4, 2, none, 2, 1, 4. */
	static const uint32_t streams[] = { 7, 9, 0, 3, 1000001, 5 };
	static const uint32_t kept[] = { 7, 0, 1000001, 5 };
	static const uint32_t rpc[] = { 1, 2, 1 }, code[] = { 1, 0, 15 };
	uint32_t column[6], last[5] = { 0 }, again[5] = { 0 };
	struct batch_losses losses = { .captured = 4, .packed = 4 };
	struct batch in = make(), out;
	struct batch_arena *arena;
	uint64_t n;
	void *data;
	size_t len;

	(void)state;
	for (size_t i = 0; i < 6; i++)
		column[i] = batch_stream_put(&last[connection[i]], streams[i]);
	in.events.stream = column;
	in.series.rpc = rpc;
	in.series.rpc_status = code;
	assert_int_equal(
		batch_keep_service(&in, "shop", &losses, &data, &len, &n), 0);
	assert_int_equal(batch_arena_new(&arena), 0);
	assert_int_equal(batch_decode(arena, data, len, &out, NULL), 0);
	assert_int_equal(out.events.n, 4);
	assert_non_null(out.events.stream);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(
			batch_stream_get(&again[out.events.connection[i]],
					 out.events.stream[i]),
			kept[i]);
	assert_int_equal(batch_series_rpc(&out.series, 0), 1);
	assert_int_equal(batch_series_rpc_status(&out.series, 0), 1);
	assert_int_equal(batch_series_rpc(&out.series, 1), 1);
	assert_int_equal(batch_series_rpc_status(&out.series, 1), 15);
	batch_arena_free(arena);
	free(data);
}

static void takes_a_name_with_and_without_namespace(void **state)
{
	struct batch in = make();

	(void)state;
	assert_int_equal(batch_keep_count(&in, "shop"), 4);
	assert_int_equal(batch_keep_count(&in, "eu/shop"), 4);
	assert_int_equal(batch_keep_count(&in, "us/shop"), 0);
	assert_int_equal(batch_keep_count(&in, "cart"), 2);
	assert_int_equal(batch_keep_count(&in, "eu/cart"), 0);
	assert_int_equal(batch_keep_count(&in, "car"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps_one_service_and_nothing_of_others),
		cmocka_unit_test(streams_stay_those_of_their_connections),
		cmocka_unit_test(takes_a_name_with_and_without_namespace),
	};

	return cmocka_run_group_tests_name("batch_keep", tests, NULL, NULL);
}
