/* SPDX-License-Identifier: Apache-2.0 */
/*
 * protobuf-c is the truth: what our own unpacking takes, protobuf-c takes, too,
 * and both understand the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/batch.h"
#include "proto/batch_unpack.h"
#include "proto/buckets.h"

#define U32(...) ((const uint32_t[]){ __VA_ARGS__ })
#define U64(...) ((const uint64_t[]){ __VA_ARGS__ })
#define I64(...) ((const int64_t[]){ __VA_ARGS__ })
#define I32(...) ((const int32_t[]){ __VA_ARGS__ })

static const struct batch_string strings[] = {
	{ "", 0 },    { "shop", 4 },	{ "prod", 4 }, { "shop-1", 6 },
	{ "GET", 3 }, { "/a/{id}", 7 }, { "http", 4 }, { "\u00e9", 2 },
};

static const char *const probes[] = { "read", "write" };

static const struct batch sample = {
	.agent = "node-1.example",
	.epoch = 0x1122334455667788,
	.sequence = 300,
	.first_sequence = 290,
	.base_us = 1700000000000000,
	.n_strings = 8,
	.strings = strings,
	.resources = { 2, U32(1, 1), U32(2, 0), U32(3, 0), U32(0, 7),
		       U32(5, 7) },
	.series = { 3, U32(0, 1, 0), U32(1, 2, 1), U32(4, 4, 4), U32(5, 7, 0),
		    U32(200, 0, 503), U32(0, 2, 0), U32(11, 10, 11),
		    U32(6, 6, 6), U32(0, 7, 0), U32(0, 65535, 80) },
	.events = { .n = 3,
		    .series = U32(0, 1, 2),
		    .start_delta_us = I64(-5000000, 17, -1),
		    .duration_us = U64(0, 300, 70000),
		    .tail_us = U64(0, 1, 70000),
		    .request_bytes = U64(0, 1, 127),
		    .response_bytes = U64(612, 0, 16383) },
	.rollups = { .n = 1,
		     .series = U32(2),
		     .window_delta_s = I64(-10),
		     .count = U64(5),
		     .duration_sum_us = U64(12345678),
		     .request_bytes_sum = U64(9),
		     .response_bytes_sum = U64(99),
		     .duration = { U32(2), I32(-31, 40), U64(2, 3), 2 },
		     .request = { U32(1), I32(BUCKET_ZERO), U64(5), 1 },
		     .response = { U32(1), I32(1), U64(5), 1 },
		     .detail = BUCKET_DETAIL },
	.losses = { .captured = 1000,
		    .packed = 990,
		    .rolled_up = 5,
		    .dropped = { 1, 2, 300 },
		    .counters = { 7, 0, 1 << 20 } },
	.info = { "1.2.3", "6.1.0", "socket", 2, probes, U32(1, 0) },
};

struct arenas {
	struct batch_arena *a, *columns, *theirs;
};

static int setup(void **state)
{
	struct arenas *x = calloc(1, sizeof(*x));

	assert_non_null(x);
	assert_int_equal(batch_arena_new(&x->a), 0);
	assert_int_equal(batch_arena_new(&x->columns), 0);
	assert_int_equal(batch_arena_new(&x->theirs), 0);
	*state = x;
	return 0;
}

static int teardown(void **state)
{
	struct arenas *x = *state;

	batch_arena_free(x->a);
	batch_arena_free(x->columns);
	batch_arena_free(x->theirs);
	free(x);
	return 0;
}

/* Fields of tomorrow, which protobuf-c keeps and we skip. */
static void forget_unknown(ProtobufCMessage *m)
{
	if (m)
		m->n_unknown_fields = 0;
}

static void forget_all_unknown(Redtap__Batch *m)
{
	forget_unknown(&m->base);
	if (m->resources)
		forget_unknown(&m->resources->base);
	if (m->series)
		forget_unknown(&m->series->base);
	if (m->events)
		forget_unknown(&m->events->base);
	if (m->rollups)
		forget_unknown(&m->rollups->base);
	if (m->losses)
		forget_unknown(&m->losses->base);
	if (m->info)
		forget_unknown(&m->info->base);
}

static void *packed(Redtap__Batch *m, size_t *len)
{
	uint8_t *out;

	forget_all_unknown(m);
	out = malloc(redtap__batch__get_packed_size(m) + 1);
	*len = redtap__batch__pack(m, out);
	return out;
}

/* True if we took it. The lengths of strings count, as they may hold NULs. */
static bool agrees(struct arenas *x, const void *data, size_t len)
{
	uint8_t *exact = malloc(len > 0 ? len : 1); /* no byte more is read */
	Redtap__Batch *ours, *theirs;
	size_t n, m;
	void *p, *q;

	memcpy(exact, data, len);
	batch_arena_reset(x->a);
	batch_arena_reset(x->columns);
	batch_arena_reset(x->theirs);
	ours = batch_unpack(x->a, x->columns, exact, len);
	if (ours) {
		theirs = redtap__batch__unpack(&x->theirs->allocator, len,
					       exact);
		assert_non_null(theirs);
		assert_int_equal(ours->n_strings, theirs->n_strings);
		for (size_t i = 0; i < ours->n_strings; i++)
			if (theirs->strings[i] != protobuf_c_empty_string)
				assert_int_equal(
					batch_arena_size(ours->strings[i]),
					batch_arena_size(theirs->strings[i]));
		p = packed(ours, &n);
		q = packed(theirs, &m);
		assert_int_equal(n, m);
		assert_memory_equal(p, q, n);
		free(p);
		free(q);
	}
	free(exact);
	return ours != NULL;
}

static void what_we_encode_is_unpacked_here(void **state)
{
	struct batch some = sample;
	size_t len;
	void *data;

	assert_int_equal(batch_encode(&sample, &data, &len), 0);
	assert_true(agrees(*state, data, len));
	free(data);
	/* A heartbeat, a batch of events, one of rollups. */
	memset(&some.rollups, 0, sizeof(some.rollups));
	assert_int_equal(batch_encode(&some, &data, &len), 0);
	assert_true(agrees(*state, data, len));
	free(data);
	some.rollups = sample.rollups;
	memset(&some.events, 0, sizeof(some.events));
	assert_int_equal(batch_encode(&some, &data, &len), 0);
	assert_true(agrees(*state, data, len));
	free(data);
	some = (struct batch){ .agent = "n", .epoch = 1, .sequence = 1 };
	assert_int_equal(batch_encode(&some, &data, &len), 0);
	assert_true(agrees(*state, data, len));
	free(data);
}

/* What is put after a batch wins, as batch_put_head() needs it. */
static void later_numbers_win_and_tables_come_once(void **state)
{
	struct batch head = { .agent = "other", .epoch = 9, .sequence = 10 };
	size_t len, more_len;
	void *data, *more;
	uint8_t *twice;

	assert_int_equal(batch_encode(&sample, &data, &len), 0);
	assert_int_equal(batch_put_head(&head, data, len, &more, &more_len), 0);
	assert_true(agrees(*state, more, more_len));
	twice = malloc(2 * len);
	memcpy(twice, data, len);
	memcpy(twice + len, data, len);
	assert_false(agrees(*state, twice, 2 * len));
	free(twice);
	free(more);
	free(data);
}

static void every_prefix_is_understood_alike(void **state)
{
	size_t len;
	void *data;

	assert_int_equal(batch_encode(&sample, &data, &len), 0);
	for (size_t n = 0; n < len; n++)
		agrees(*state, data, n);
	free(data);
}

static void every_changed_byte_is_understood_alike(void **state)
{
	static const uint8_t other[] = { 0x00, 0x01, 0x08, 0x0a, 0x12,
					 0x7f, 0x80, 0xfa, 0xff };
	size_t len, taken = 0;
	uint8_t *bytes;
	void *data;

	assert_int_equal(batch_encode(&sample, &data, &len), 0);
	bytes = data;
	for (size_t i = 0; i < len; i++) {
		uint8_t was = bytes[i];

		for (size_t k = 0; k < sizeof(other); k++) {
			bytes[i] = other[k];
			taken += agrees(*state, data, len);
		}
		for (unsigned bit = 0; bit < 8; bit++) {
			bytes[i] = (uint8_t)(was ^ 1u << bit);
			taken += agrees(*state, data, len);
		}
		bytes[i] = was;
	}
	/* Most changes are of values and strings: those are taken. */
	assert_true(taken > len);
	free(data);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(what_we_encode_is_unpacked_here),
		TEST(later_numbers_win_and_tables_come_once),
		TEST(every_prefix_is_understood_alike),
		TEST(every_changed_byte_is_understood_alike),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
