/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "probe-agent/batch/merge.h"
#include "probe-agent/batch/packer.h"
#include "probe-agent/batch/samples_table.h"
#include "proto/batch.h"
#include "proto/limits.h"

/* Packs the same events into many batches and merges those: all are there. */

#define BATCHES 60u

struct event {
	char service[16], route[24];
	unsigned status, role;
	int64_t start_us;
	uint64_t duration_us, ttfb_us, request, response;
	bool traced, connected;
	uint8_t trace[24], address[16];
	uint16_t port;
	uint32_t stream; /* 0: not HTTP/2 */
};

struct world {
	struct packer *packer;
	struct merge *merge;
	struct batch_arena *arena;
	struct event *event;
	size_t n;
	uint64_t random;
};

static uint64_t rnd(struct world *w, uint64_t n)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 7;
	w->random ^= w->random << 17;
	return (w->random >> 11) % n;
}

static int set_up(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	w->random = 88172645463325252u;
	w->event = calloc(200000, sizeof(*w->event));
	assert_non_null(w->event);
	assert_int_equal(packer_new(&w->packer, "node-a", 4711), 0);
	assert_int_equal(merge_new(&w->merge), 0);
	assert_int_equal(batch_arena_new(&w->arena), 0);
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	packer_free(w->packer);
	merge_free(w->merge);
	batch_arena_free(w->arena);
	free(w->event);
	free(w);
	return 0;
}

static void make_event(struct world *w, struct event *e)
{
	snprintf(e->service, sizeof(e->service), "service-%u",
		 (unsigned)rnd(w, 5));
	snprintf(e->route, sizeof(e->route), "/route-%u/{id}",
		 (unsigned)rnd(w, 30));
	e->status = rnd(w, 9) ? 200 : 503;
	e->role = 1 + (unsigned)rnd(w, 2);
	e->start_us = 1700000000000000 + (int64_t)rnd(w, 1u << 30);
	e->duration_us = 1 + rnd(w, 1u << 20);
	e->ttfb_us = 1 + rnd(w, e->duration_us);
	e->request = rnd(w, 5000);
	e->response = rnd(w, 1u << 30);
	e->traced = rnd(w, 7) == 0;
	for (size_t i = 0; i < sizeof(e->trace); i++)
		e->trace[i] = (uint8_t)rnd(w, 256);
	e->connected = rnd(w, 5) > 0;
	e->address[15] = (uint8_t)rnd(w, 20);
	e->address[0] = 0x20;
	e->port = (uint16_t)(1024 + rnd(w, 20));
	e->stream = e->connected && rnd(w, 3)
			    ? 1 + 2 * (uint32_t)rnd(w, 1u << 20)
			    : 0;
}

static void pack(struct world *w, const struct event *e)
{
	static const uint8_t local[16] = { 0x20, 1 };
	struct packer_event p = {
		.service = e->service,
		.namespace_ = "",
		.instance = e->service,
		.container = "",
		.executable = "x",
		.method = "GET",
		.route = e->route,
		.scheme = "http",
		.address = "",
		.role = e->role,
		.status = e->status,
		.version = 11,
		.start_us = e->start_us,
		.duration_us = e->duration_us,
		.ttfb_us = e->ttfb_us,
		.request_bytes = e->request,
		.response_bytes = e->response,
		.trace = e->traced ? e->trace : NULL,
		.local = { e->connected ? local : NULL, 80 },
		.remote = { e->connected ? e->address : NULL, e->port },
		.stream = e->stream,
	};

	assert_true(packer_add(w->packer, &p) >= 0);
}

/* A batch of n new events, as it would be in the outbox. */
static void *next_batch(struct world *w, size_t n, size_t *len)
{
	struct batch_losses losses = { .captured = w->n + n };
	uint64_t sequence;
	void *data;

	for (size_t i = 0; i < n; i++) {
		make_event(w, &w->event[w->n]);
		pack(w, &w->event[w->n++]);
	}
	assert_int_equal(packer_take(w->packer, &losses, &data, len, &sequence),
			 0);
	return data;
}

static int add(struct world *w, const void *data, size_t len)
{
	struct batch b;

	assert_int_equal(batch_decode(w->arena, data, len, &b, NULL), 0);
	return merge_add(w->merge, &b);
}

static const char *text(const struct batch *b, uint32_t id)
{
	return b->strings[id].data;
}

/* The events [from, from + b.n) of the world are those of b, in order. */
static void expect_events(struct world *w, const struct batch *b, size_t from)
{
	const struct batch_events *e = &b->events;
	int64_t start_us = b->base_us;
	uint32_t *last = calloc(e->n_connections + 1, sizeof(*last));
	size_t traced = 0, at = 0;

	assert_non_null(last);
	for (size_t i = 0; i < e->n; i++) {
		const struct event *want = &w->event[from + i];
		uint32_t s = e->series[i], r = b->series.resource[s];
		bool is_traced =
			traced < e->n_traced && at + e->traced[traced] == i;

		start_us += e->start_delta_us[i];
		assert_int_equal(start_us, want->start_us);
		assert_string_equal(text(b, b->resources.service[r]),
				    want->service);
		assert_string_equal(text(b, b->series.route[s]), want->route);
		assert_int_equal(b->series.status[s], want->status);
		assert_int_equal(b->series.role[s], want->role);
		assert_int_equal(e->duration_us[i], want->duration_us);
		assert_int_equal(e->tail_us[i],
				 want->duration_us - want->ttfb_us);
		assert_int_equal(e->request_bytes[i], want->request);
		assert_int_equal(e->response_bytes[i], want->response);
		assert_int_equal(is_traced, want->traced);
		if (is_traced) {
			assert_memory_equal(e->trace_ids + 24 * traced,
					    want->trace, 24);
			at = i;
			traced++;
		}
		assert_int_equal(e->connection && e->connection[i] > 0,
				 want->connected);
		if (want->connected) {
			const uint8_t *end = e->connection_remote +
					     18 * (e->connection[i] - 1);

			assert_memory_equal(end, want->address, 16);
			assert_int_equal(end[16] << 8 | end[17], want->port);
			assert_non_null(e->stream);
			assert_int_equal(
				batch_stream_get(&last[e->connection[i]],
						 e->stream[i]),
				want->stream);
		}
	}
	free(last);
	assert_int_equal(traced, e->n_traced);
}

static void merged_batches_have_every_event_in_order(void **state)
{
	struct world *w = *state;
	struct batch_info info = { .version = "1.2", .kernel = "6.1" };
	size_t apart = 0, len;
	struct batch b;
	void *data;

	assert_int_equal(packer_set_info(w->packer, &info), 0);
	for (unsigned i = 0; i < BATCHES; i++) {
		size_t n = i % 9 == 3 ? 0 : 1 + rnd(w, 300); /* heartbeats */

		data = next_batch(w, n, &len);
		apart += len;
		assert_int_equal(add(w, data, len), 0);
		free(data);
	}
	assert_int_equal(
		merge_encode(w->merge, "node-a", 4711, 1, BATCHES, &data, &len),
		0);
	assert_int_equal(batch_decode(w->arena, data, len, &b, NULL), 0);
	assert_string_equal(b.agent, "node-a");
	assert_int_equal(b.epoch, 4711);
	assert_int_equal(b.first_sequence, 1);
	assert_int_equal(b.sequence, BATCHES);
	assert_int_equal(b.events.n, w->n);
	assert_int_equal(b.losses.captured, w->n);
	assert_int_equal(b.losses.packed, w->n);
	assert_string_equal(b.info.version, "1.2");
	/* Each service, route and connection is there once. */
	assert_true(b.events.n_connections <= 20 * 20);
	assert_true(len < apart * 4 / 5);
	expect_events(w, &b, 0);
	free(data);
}

static const char *const key_name[] = { "key" };
static const uint64_t bounds[] = { 1, 10 };
static const struct samples_family hits = {
	.name = "hits_total",
	.program = "p",
	.kind = SAMPLES_COUNTER,
	.multiplier = 1,
	.label = key_name,
	.n_labels = 1,
};
static const struct samples_family sizes = {
	.name = "sizes",
	.program = "p",
	.kind = SAMPLES_HISTOGRAM,
	.multiplier = 1,
	.label = key_name,
	.n_labels = 1,
	.bound = bounds,
	.n_bounds = 2,
};
static const struct samples_family level = {
	.name = "level",
	.program = "p",
	.kind = SAMPLES_GAUGE,
	.multiplier = 1,
	.label = key_name,
	.n_labels = 1,
};

static uint32_t series(struct samples_table *t, const struct samples_family *f,
		       const char *key)
{
	int64_t family = samples_table_family(t, f), id;

	assert_true(family >= 0);
	id = samples_table_series(t, (uint32_t)family, &key);
	assert_true(id >= 0);
	return (uint32_t)id;
}

/* What batch i of a row of 10 has, beside an event. */
static void make_samples(struct samples_table *t, unsigned i)
{
	static const char *const key[] = { "a", "b" };
	uint32_t id = series(t, &sizes, "c");

	samples_table_count_read(t, 2 * i + 2);
	samples_table_add(t, series(t, &hits, key[i % 2]), i + 1);
	assert_int_equal(samples_table_add_bucket(t, id, i % 3, i + 1), 0);
	samples_table_add_sum(t, id, 100 * i);
	samples_table_begin_gauges(t,
				   (uint32_t)samples_table_family(t, &level));
	samples_table_set(t, series(t, &level, "d"), -(int64_t)i);
}

static void samples_add_up_and_the_last_gauge_stays(void **state)
{
	struct world *w = *state;
	const struct batch_samples *s;
	uint64_t bucket[3] = { 0 };
	struct batch b;
	size_t len;
	void *data;

	for (unsigned i = 0; i < 10; i++) {
		if (i != 4) /* one without */
			make_samples(packer_samples(w->packer), i);
		data = next_batch(w, 1, &len);
		assert_int_equal(add(w, data, len), 0);
		free(data);
	}
	assert_int_equal(
		merge_encode(w->merge, "node-a", 4711, 1, 10, &data, &len), 0);
	assert_int_equal(batch_protocol(data, len), 2);
	assert_int_equal(batch_decode(w->arena, data, len, &b, NULL), 0);
	expect_events(w, &b, 0);
	s = &b.samples;
	/* Of 1 to 10 without 5: odd numbers are of a. */
	assert_int_equal(s->n_counters, 2);
	for (size_t i = 0; i < s->n_counters; i++)
		assert_int_equal(s->increment[i],
				 text(&b, s->label_value[s->counter[i]])[0] ==
						 'a'
					 ? 1 + 3 + 7 + 9
					 : 2 + 4 + 6 + 8 + 10);
	assert_int_equal(s->n_histograms, 1);
	assert_int_equal(s->sum[0], 100 * (45 - 4));
	for (size_t i = 0; i < s->n_bucket_values; i++)
		bucket[s->bucket[i]] = s->count[i];
	assert_int_equal(bucket[0], 1 + 4 + 7 + 10);
	assert_int_equal(bucket[1], 2 + 8);
	assert_int_equal(bucket[2], 3 + 6 + 9);
	assert_int_equal(s->n_gauges, 1);
	assert_int_equal(s->value[0], -9);
	assert_int_equal(s->read, 2 * (55 - 5));
	assert_int_equal(samples_increments(s), s->read);
	free(data);
	/* Nothing of that is in the next. */
	merge_reset(w->merge);
	data = next_batch(w, 1, &len);
	assert_int_equal(add(w, data, len), 0);
	free(data);
	assert_int_equal(
		merge_encode(w->merge, "node-a", 4711, 11, 11, &data, &len), 0);
	assert_int_equal(batch_protocol(data, len), 1);
	free(data);
}

static void samples_that_do_not_fit_stay_apart(void **state)
{
	struct world *w = *state;
	size_t len;
	void *data;

	for (unsigned k = 0; k < 2; k++) {
		struct samples_table *t = packer_samples(w->packer);

		for (unsigned i = 0; i < LIMIT_SAMPLE_SERIES - 3; i++) {
			char key[16];

			snprintf(key, sizeof(key), "%u-%u", k, i);
			samples_table_add(t, series(t, &hits, key), 1);
		}
		data = next_batch(w, 0, &len);
		assert_int_equal(add(w, data, len), k ? -EMSGSIZE : 0);
		free(data);
	}
}

static void a_reset_begins_a_batch_of_its_own(void **state)
{
	struct world *w = *state;
	struct batch b;
	size_t len, from;
	void *data;

	for (unsigned round = 0; round < 5; round++) {
		merge_reset(w->merge);
		from = w->n;
		for (unsigned i = 0; i < 3; i++) {
			data = next_batch(w, 50, &len);
			assert_int_equal(add(w, data, len), 0);
			free(data);
		}
		assert_int_equal(merge_encode(w->merge, "node-a", 4711,
					      3 * round + 1, 3 * round + 3,
					      &data, &len),
				 0);
		assert_int_equal(batch_decode(w->arena, data, len, &b, NULL),
				 0);
		assert_int_equal(b.events.n, 150);
		expect_events(w, &b, from);
		free(data);
	}
}

static void takes_no_more_than_a_message_holds(void **state)
{
	struct world *w = *state;
	size_t added = 0, len;
	struct batch b;
	void *data;
	int err = 0;

	while (!err) {
		data = next_batch(w, 5000, &len);
		err = add(w, data, len);
		added += err ? 0 : 5000;
		free(data);
	}
	assert_int_equal(err, -EMSGSIZE);
	assert_int_equal(added, MERGE_EVENTS / 5000 * 5000);
	assert_int_equal(
		merge_encode(w->merge, "node-a", 4711, 1, 9, &data, &len), 0);
	assert_true(len <= LIMIT_MESSAGE_BYTES);
	assert_int_equal(batch_decode(w->arena, data, len, &b, NULL), 0);
	assert_int_equal(b.events.n, added);
	expect_events(w, &b, 0);
	free(data);
}

static void heartbeats_alone_merge_into_one(void **state)
{
	struct world *w = *state;
	struct batch b;
	size_t len;
	void *data;

	for (unsigned i = 0; i < 3; i++) {
		data = next_batch(w, 0, &len);
		assert_int_equal(add(w, data, len), 0);
		free(data);
	}
	assert_int_equal(
		merge_encode(w->merge, "node-a", 4711, 1, 3, &data, &len), 0);
	assert_int_equal(batch_decode(w->arena, data, len, &b, NULL), 0);
	assert_int_equal(b.events.n, 0);
	assert_int_equal(b.sequence, 3);
	free(data);
}

static void rollups_are_left_to_themselves(void **state)
{
	struct world *w = *state;
	struct batch b = { .agent = "node-a", .epoch = 1, .sequence = 1 };

	b.rollups.n = 1;
	assert_int_equal(merge_add(w->merge, &b), -EMSGSIZE);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(merged_batches_have_every_event_in_order),
		TEST(samples_add_up_and_the_last_gauge_stays),
		TEST(samples_that_do_not_fit_stay_apart),
		TEST(a_reset_begins_a_batch_of_its_own),
		TEST(takes_no_more_than_a_message_holds),
		TEST(heartbeats_alone_merge_into_one),
		TEST(rollups_are_left_to_themselves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
