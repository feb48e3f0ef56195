/* SPDX-License-Identifier: Apache-2.0 */
/*
 * protobuf-c is the truth: whatever it writes must be read as it would read it,
 * and what is written in another way must be left to it.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/batch.h"
#include "proto/batch_columns.h"

#define MAX 700

struct columns {
	uint32_t series[MAX], traced[MAX], connection[MAX];
	int64_t start[MAX];
	uint64_t duration[MAX], tail[MAX], request[MAX], response[MAX];
	uint8_t trace_ids[24 * MAX], local[18], remote[18];
};

static uint64_t next_random(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

/* Every length that a value can have, short ones in runs. */
static uint64_t wide(uint64_t *x, size_t i)
{
	uint64_t r = next_random(x);

	if (i / 16 % 3 == 0)
		return r & 0x7f;
	return r >> (next_random(x) & 63);
}

static void fill(struct columns *c, Redtap__Events *m, size_t n, uint64_t *x)
{
	for (size_t i = 0; i < n; i++) {
		c->series[i] = (uint32_t)wide(x, i);
		c->traced[i] = (uint32_t)wide(x, i);
		c->connection[i] = (uint32_t)wide(x, i);
		c->start[i] = (int64_t)wide(x, i);
		c->duration[i] = wide(x, i);
		c->tail[i] = wide(x, i);
		c->request[i] = wide(x, i);
		c->response[i] = wide(x, i);
	}
	m->n_series = m->n_start_delta_us = m->n_duration_us = m->n_tail_us =
		m->n_request_bytes = m->n_response_bytes = m->n_traced =
			m->n_connection = n;
	m->series = c->series;
	m->start_delta_us = c->start;
	m->duration_us = c->duration;
	m->tail_us = c->tail;
	m->request_bytes = c->request;
	m->response_bytes = c->response;
	m->traced = c->traced;
	m->connection = c->connection;
	m->trace_ids.data = c->trace_ids;
	m->trace_ids.len = 24 * n;
	m->connection_local.data = c->local;
	m->connection_local.len = sizeof(c->local);
	m->connection_remote.data = c->remote;
	m->connection_remote.len = sizeof(c->remote);
}

/* Blocks handed out, so that they can be freed. */
struct heap {
	void *block[16];
	size_t n;
};

static void *take(void *arg, size_t size)
{
	struct heap *h = arg;

	return h->block[h->n++] = malloc(size);
}

static void give_back(struct heap *h)
{
	while (h->n > 0)
		free(h->block[--h->n]);
}

static int decode(const uint8_t *data, size_t len, Redtap__Events *out,
		  struct heap *h)
{
	uint8_t *exact = malloc(len + 1); /* reading past it is an error */
	int err;

	memcpy(exact, data, len);
	exact = realloc(exact, len > 0 ? len : 1);
	err = batch_columns_events(exact, len, out, take, h);
	/* Borrowed: only compared before this. */
	h->block[h->n++] = exact;
	return err;
}

#define SAME(column, width)                                                    \
	do {                                                                   \
		assert_int_equal(out.n_##column, in.n_##column);               \
		if (in.n_##column > 0)                                         \
			assert_memory_equal(out.column, in.column,             \
					    in.n_##column *(width));           \
	} while (0)

static void columns_of_every_width_are_read_as_they_were_written(void **state)
{
	struct columns *c = calloc(1, sizeof(*c));
	uint64_t x = 88172645463325252u;

	(void)state;
	for (size_t round = 0; round < 2000; round++) {
		Redtap__Events in = REDTAP__EVENTS__INIT, out;
		size_t n = 1 + next_random(&x) % (round < 1900 ? 40 : MAX);
		struct heap h = { 0 };
		uint8_t *data;
		size_t len;

		fill(c, &in, n, &x);
		data = malloc(redtap__events__get_packed_size(&in));
		len = redtap__events__pack(&in, data);
		assert_int_equal(decode(data, len, &out, &h), 0);
		SAME(series, 4);
		SAME(start_delta_us, 8);
		SAME(duration_us, 8);
		SAME(tail_us, 8);
		SAME(request_bytes, 8);
		SAME(response_bytes, 8);
		SAME(traced, 4);
		SAME(connection, 4);
		assert_int_equal(out.trace_ids.len, 24 * n);
		assert_memory_equal(out.trace_ids.data, c->trace_ids, 24 * n);
		assert_int_equal(out.connection_local.len, 18);
		assert_int_equal(out.connection_remote.len, 18);
		give_back(&h);
		free(data);
	}
	free(c);
}

static void what_is_written_otherwise_is_left_to_protobuf(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
	} cases[] = {
		{ "\x08\x01", 2 }, /* not packed */
		{ "\x0a\x01\x01\x0a\x01\x02", 6 }, /* in two pieces */
		{ "\x0a\x00", 2 }, /* empty */
		{ "\x0a\x02\x01\x80", 4 }, /* last value cut */
		{ "\x0a\x05\x80\x80\x80\x80\x10", 7 }, /* over 32 bits */
		{ "\x1a\x0b\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", 13 },
		{ "\x0a\x03\x01\x01", 4 }, /* shorter than it says */
		{ "\x7a\x01\x01", 3 }, /* a field of tomorrow */
		{ "\x42\x01\x01\x42\x01\x01", 6 }, /* bytes twice */
		{ "\x0b", 1 }, /* a group */
		{ "\x00", 1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct heap h = { 0 };
		Redtap__Events out;

		if (decode((const uint8_t *)cases[i].bytes, cases[i].len, &out,
			   &h) != -ENOTSUP)
			fail_msg("case %zu was taken", i);
		give_back(&h);
	}
}

/* A second, empty field of events makes batch_decode() take the slow way. */
static void both_ways_give_the_same_batch(void **state)
{
	static const uint32_t zero[2] = { 0, 0 }, one[1] = { 1 };
	static const uint32_t series[] = { 0, 0, 0 };
	static const int64_t start[] = { 5, -3, 1 << 30 };
	static const uint64_t a[] = { 1, 300, 70000 }, b[] = { 0, 299, 128 };
	struct batch in = {
		.agent = "n",
		.epoch = 1,
		.sequence = 1,
		.base_us = 1700000000000000,
		.resources = { 1, { { zero, zero, zero, zero, zero } } },
		.series = { 1, zero, one, zero, zero, zero, zero, zero, zero,
			    zero, zero },
		.events = { .n = 3,
			    .series = series,
			    .start_delta_us = start,
			    .duration_us = a,
			    .tail_us = b,
			    .request_bytes = b,
			    .response_bytes = a },
	};
	struct batch_arena *quick, *slow;
	struct batch x, y;
	uint8_t *more;
	void *data;
	size_t len;

	(void)state;
	assert_int_equal(batch_arena_new(&quick), 0);
	assert_int_equal(batch_arena_new(&slow), 0);
	assert_int_equal(batch_encode(&in, &data, &len), 0);
	more = malloc(len + 2);
	memcpy(more, data, len);
	memcpy(more + len, "\x42\x00", 2);
	assert_int_equal(batch_decode(quick, data, len, &x, NULL), 0);
	assert_int_equal(batch_decode(slow, more, len + 2, &y, NULL), 0);
	assert_int_equal(x.events.n, 3);
	assert_int_equal(y.events.n, 3);
	assert_memory_equal(x.events.series, y.events.series, 12);
	assert_memory_equal(x.events.start_delta_us, y.events.start_delta_us,
			    24);
	assert_memory_equal(x.events.duration_us, y.events.duration_us, 24);
	assert_memory_equal(x.events.tail_us, y.events.tail_us, 24);
	assert_memory_equal(x.events.request_bytes, y.events.request_bytes, 24);
	assert_memory_equal(x.events.response_bytes, y.events.response_bytes,
			    24);
	free(more);
	free(data);
	batch_arena_free(quick);
	batch_arena_free(slow);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			columns_of_every_width_are_read_as_they_were_written),
		cmocka_unit_test(what_is_written_otherwise_is_left_to_protobuf),
		cmocka_unit_test(both_ways_give_the_same_batch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
