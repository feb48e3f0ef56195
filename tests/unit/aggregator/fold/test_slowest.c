/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/fold/fold.h"
#include "aggregator/fold/slowest.h"
#include "tests/unit/aggregator/traffic.h"

#define NOW INT64_C(1700000000000000)
#define BOUNDS 3

/* One series, so that the truth is one pass over the events. */
static const struct view whole = {
	.name = "whole_seconds",
	.help = "All requests.",
	.unit = "seconds",
	.kind = VIEW_HISTOGRAM,
	.source = VIEW_DURATION,
	.roles = 6,
	.bounds = { 1000, 40000, 5000000 },
	.n_bounds = BOUNDS,
	.max_series = 10,
};
/* Other bounds in between. */
static const struct view finer = {
	.name = "finer_seconds",
	.help = "All requests.",
	.unit = "seconds",
	.kind = VIEW_HISTOGRAM,
	.source = VIEW_DURATION,
	.roles = 6,
	.bounds = { 1, 1000, 20000, 40000, 60000, 3000000 },
	.n_bounds = 6,
	.max_series = 10,
};

struct fixture {
	struct view view[2];
	struct views views;
	struct fold *fold;
	struct traffic traffic;
	struct batch_arena *arena;
	struct batch batch;
	void *data;
	struct truth truth;
	uint8_t ids[400][24];
	uint32_t traced[400];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct fold_options o = { .max_window_series = 100,
				  .future_us = 60000000,
				  .past_us = 86400000000 };

	assert_non_null(f);
	f->view[0] = whole;
	f->view[1] = finer;
	f->views = (struct views){ .n = 2, .view = f->view };
	o.views = &f->views;
	assert_int_equal(fold_new(&f->fold, &o), 0);
	assert_int_equal(batch_arena_new(&f->arena), 0);
	f->traffic = (struct traffic){ .seed = 7, .services = 3, .routes = 3 };
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	fold_free(f->fold);
	batch_arena_free(f->arena);
	free(f->data);
	free(f->truth.event);
	free(f);
	return 0;
}

/* n events; each third has a trace id that begins with its number. */
static void fold_events(struct fixture *f, uint64_t log_id, size_t n)
{
	struct fold_input fb = { .log_id = log_id, .received_us = NOW };
	uint64_t captured = 0;
	size_t len, traced = 0;

	f->truth.n = 0;
	free(f->data);
	traffic_batch(&f->traffic, "node", 1, log_id, NOW, n, &f->truth,
		      &captured, &f->data, &len);
	assert_int_equal(batch_decode(f->arena, f->data, len, &f->batch, NULL),
			 0);
	for (size_t i = 0; i < n; i += 3) {
		memset(f->ids[traced], 0, 24);
		f->ids[traced][0] = (uint8_t)(i >> 8);
		f->ids[traced][1] = (uint8_t)i;
		f->ids[traced][23] = 1;
		f->traced[traced++] = i ? 3 : 0;
	}
	f->batch.events.n_traced = traced;
	f->batch.events.traced = f->traced;
	f->batch.events.trace_ids = f->ids[0];
	fb.batch = &f->batch;
	assert_int_equal(fold_apply(f->fold, &fb), 0);
}

static unsigned bucket(const struct view *v, uint64_t us)
{
	unsigned b = 0;

	while (b < v->n_bounds && us > v->bounds[b])
		b++;
	return b;
}

static const struct slowest_exemplars *shown(struct fixture *f, size_t view)
{
	return series_at(fold_series(f->fold, view), 1)->exemplars;
}

/* Compares with the slowest of the events in f->truth, bucket by bucket. */
static void check_slowest(struct fixture *f, size_t view, uint64_t log_id)
{
	const struct view *v = &f->view[view];
	const struct slowest_exemplars *e = shown(f, view);

	assert_non_null(e);
	for (unsigned b = 0; b <= v->n_bounds; b++) {
		uint64_t most = 0;
		uint32_t i = 0;
		bool any = false;

		for (size_t k = 0; k < f->truth.n; k++) {
			uint64_t us = f->truth.event[k].duration_us;

			if (bucket(v, us) != b)
				continue;
			any = true;
			most = us > most ? us : most;
		}
		if (!any)
			continue;
		while (i < e->n && e->at[i].bucket != b)
			i++;
		assert_true(i < e->n);
		assert_int_equal(e->at[i].value, most);
		assert_int_equal(e->at[i].log_id, log_id);
		assert_int_equal(f->truth.event[e->at[i].event].duration_us,
				 most);
		assert_int_equal(f->truth.event[e->at[i].event].end_us,
				 e->at[i].time_us);
		assert_int_equal(e->at[i].trace[23], e->at[i].event % 3 == 0);
		if (e->at[i].trace[23])
			assert_int_equal(e->at[i].trace[0] << 8 |
						 e->at[i].trace[1],
					 e->at[i].event);
	}
	for (uint32_t i = 1; i < e->n; i++)
		assert_true(e->at[i - 1].bucket < e->at[i].bucket);
}

static void each_bucket_has_its_slowest_request(void **state)
{
	struct fixture *f = *state;

	fold_events(f, 1, 397);
	check_slowest(f, 0, 1);
	check_slowest(f, 1, 1);
}

static void a_faster_one_gives_way_only_after_a_scrape(void **state)
{
	struct fixture *f = *state;
	const struct slowest_exemplars *before;
	struct slowest_exemplars *copy;
	size_t bytes;

	fold_events(f, 1, 397);
	before = shown(f, 0);
	bytes = sizeof(*before) + before->n * sizeof(before->at[0]);
	copy = malloc(bytes);
	memcpy(copy, before, bytes);
	fold_events(f, 2, 1);
	for (uint32_t i = 0; i < copy->n; i++)
		assert_true(shown(f, 0)->at[i].value >= copy->at[i].value);

	memcpy(copy, shown(f, 0), bytes);
	before = shown(f, 0);
	fold_share(f->fold);
	fold_events(f, 3, 5); /* fewer, so most are faster */
	check_slowest(f, 0, 3);
	check_slowest(f, 1, 3);
	/* What the scrape has did not change under it. */
	assert_memory_equal(before, copy, bytes);
	assert_ptr_not_equal(before, shown(f, 0));
	fold_unshare(f->fold, UINT64_MAX);
	free(copy);
}

static void a_row_without_events_makes_no_series(void **state)
{
	struct fixture *f = *state;
	struct fold_options o = { .views = views_default(),
				  .max_window_series = 1000,
				  .future_us = 60000000,
				  .past_us = 86400000000 };
	struct fold_input fb = { .log_id = 2, .received_us = NOW };
	struct fold *fresh = NULL;

	fold_events(f, 1, 211);
	assert_int_equal(fold_new(&fresh, &o), 0);
	fb.batch = &f->batch;
	f->batch.events.n = f->batch.events.n_traced = 0;
	assert_int_equal(fold_apply(fresh, &fb), 0);
	for (size_t v = 0; v < fold_views(fresh); v++)
		assert_int_equal(fold_series(fresh, v)->n, 0);
	assert_int_equal(fold_window_series(fresh, WINDOW_REQUESTS)->n, 0);
	assert_int_equal(fold_targets(fresh), 0);

	f->batch.events.n = 1; /* only the first one's row */
	fb.log_id = 3;
	assert_int_equal(fold_apply(fresh, &fb), 0);
	assert_int_equal(fold_window_series(fresh, WINDOW_REQUESTS)->n, 2);
	fold_free(fresh);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			each_bucket_has_its_slowest_request, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_faster_one_gives_way_only_after_a_scrape, setup,
			teardown),
		cmocka_unit_test_setup_teardown(
			a_row_without_events_makes_no_series, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
