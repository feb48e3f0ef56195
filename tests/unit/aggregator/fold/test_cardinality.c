/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/fold/fold.h"
#include "aggregator/graph/graph_join.h"
#include "aggregator/graph/graph_names.h"
#include "aggregator/series/sketch.h"
#include "proto/limits.h"
#include "tests/unit/used_bytes.h"

#define NOW INT64_C(1700000000000000)
#define ROWS 16381u /* of a batch; prime, and within the limit */
#define SETS_DEFAULT 1000003u

/*
 * Somebody makes up paths, hosts and methods. Each batch has ROWS label sets
 * that never came before, each with one request, encoded and decoded as one
 * that came over the wire. REDTAP_ATTACK=10000000 for as many as that.
 */
struct attack {
	struct batch_arena *arena;
	struct batch batch;
	struct batch_string *string;
	char (*text)[24];
	uint32_t *col[12];
	uint8_t *ends; /* local, then remote, 18 bytes each */
	uint64_t *duration, *zero;
	int64_t *delta;
	uint64_t n, duration_sum; /* of all so far */
	struct fold *fold;
};

static void *array(size_t n, size_t size)
{
	void *p = calloc(n, size);

	assert_non_null(p);
	return p;
}

static void attack_init(struct attack *a, const struct views *views,
			size_t windows)
{
	struct fold_options o = { .views = views,
				  .max_window_series = windows,
				  .future_us = 60000000,
				  .past_us = 86400000000,
				  .max_waiting = 50000 };

	memset(a, 0, sizeof(*a));
	assert_int_equal(fold_new(&a->fold, &o), 0);
	assert_int_equal(batch_arena_new(&a->arena), 0);
	a->string = array(3 * ROWS + 3, sizeof(*a->string));
	a->text = array(3 * ROWS + 3, sizeof(*a->text));
	a->ends = array(2 * ROWS, 18);
	for (size_t i = 0; i < 12; i++)
		a->col[i] = array(ROWS, sizeof(uint32_t));
	a->duration = array(ROWS, sizeof(uint64_t));
	a->zero = array(ROWS, sizeof(uint64_t));
	a->delta = array(ROWS, sizeof(int64_t));
}

static void attack_fini(struct attack *a)
{
	fold_free(a->fold);
	batch_arena_free(a->arena);
	free(a->string);
	free(a->text);
	free(a->ends);
	for (size_t i = 0; i < 12; i++)
		free(a->col[i]);
	free(a->duration);
	free(a->zero);
	free(a->delta);
}

static uint32_t say(struct attack *a, uint32_t *at, const char *before,
		    uint64_t n)
{
	char *text = a->text[*at];
	int len = snprintf(text, sizeof(a->text[0]), "%s%llu", before,
			   (unsigned long long)n);

	a->string[*at] = (struct batch_string){ text, (uint32_t)len };
	return (*at)++;
}

static void make_batch(struct attack *a, uint32_t n)
{
	uint32_t at = 1, service;
	static const uint32_t none[1];

	a->string[0] = (struct batch_string){ "", 0 };
	service = say(a, &at, "victim", 0);
	for (uint32_t i = 0; i < n; i++) {
		uint64_t id = a->n + i;

		a->col[1][i] = 1 + id % 2; /* role */
		a->col[2][i] = say(a, &at, "M", id);
		a->col[3][i] = id % 2 ? 0 : say(a, &at, "/p/", id);
		a->col[8][i] = id % 2 ? say(a, &at, "host-", id) : 0;
		a->col[4][i] = 500;
		a->col[6][i] = 11;
		a->col[10][i] = i;
		a->col[11][i] = i + 1;
		/* No side ever gets its other side. */
		memcpy(a->ends + 18 * i, &id, sizeof(id));
		a->ends[18 * i + 16] = a->ends[18 * (ROWS + i) + 16] = 1;
		a->duration[i] = id % 1000003;
		a->delta[i] = i ? (int64_t)a->duration[i - 1] -
					      (int64_t)a->duration[i]
				: -(int64_t)a->duration[i];
		a->duration_sum += a->duration[i];
	}
	a->batch = (struct batch){
		.agent = "evil",
		.epoch = 1,
		.sequence = 1 + a->n,
		.base_us = NOW,
		.n_strings = at,
		.strings = a->string,
		.resources = { 1, { { &service, none, none, none, none } } },
		.series = { n, a->col[0], a->col[1], a->col[2], a->col[3],
			    a->col[4], a->col[5], a->col[6], a->col[7],
			    a->col[8], a->col[9] },
		.events = { .n = n,
			    .series = a->col[10],
			    .start_delta_us = a->delta,
			    .duration_us = a->duration,
			    .tail_us = a->zero,
			    .request_bytes = a->zero,
			    .response_bytes = a->duration,
			    .connection = a->col[11],
			    .n_connections = n,
			    .connection_local = a->ends,
			    .connection_remote = a->ends + (size_t)18 * ROWS },
	};
	a->n += n;
}

static void fold_made(struct attack *a)
{
	struct fold_input fb = { .received_us = NOW };
	struct batch decoded;
	void *data;
	size_t len;

	fb.log_id = a->batch.sequence;
	assert_int_equal(batch_encode(&a->batch, &data, &len), 0);
	assert_int_equal(batch_decode(a->arena, data, len, &decoded, NULL), 0);
	fb.batch = &decoded;
	assert_int_equal(fold_apply(a->fold, &fb), 0);
	free(data);
}

static void attack_once(struct attack *a, uint32_t n)
{
	make_batch(a, n);
	fold_made(a);
}

static uint64_t span_total(const struct span *s)
{
	uint64_t sum = 0;

	for (unsigned i = 0; s && i < s->n; i++)
		sum += s->count[i];
	return sum;
}

/* What the view should have counted, from how the attack is made. */
static void check_totals(const struct attack *a, size_t v)
{
	const struct view *view = fold_view(a->fold, v);
	const struct series *s = fold_series(a->fold, v);
	uint64_t count = 0, sum = 0, cells = 0, want = 0, want_sum = 0;

	for (uint32_t i = 0; i < s->n; i++) {
		count += series_at(s, i)->count;
		sum += series_at(s, i)->sum;
		cells += span_total(series_at(s, i)->span);
	}
	for (uint64_t id = 0; id < a->n; id++) {
		if (!(view->roles >> (1 + id % 2) & 1) ||
		    view->calls == VIEW_CALLS_ONLY)
			continue;
		want++;
		want_sum += view->source == VIEW_DURATION ||
					    view->source == VIEW_RESPONSE_BYTES
				    ? id % 1000003
			    : view->source == VIEW_REQUESTS ? 1
							    : 0;
	}
	assert_int_equal(count, want);
	assert_int_equal(sum, want_sum);
	if (view->kind == VIEW_HISTOGRAM)
		assert_int_equal(cells, want);
	assert_true(!want || series_at(s, SERIES_OVERFLOW)->count > 0);
}

/* Edges with one side, and what still waits to be one. */
static void check_edges(const struct attack *a)
{
	struct graph_stats g;

	graph_stats(fold_graph(a->fold), &g);
	assert_int_equal(g.joined, 0);
	assert_int_equal(g.waiting, 50000);
	for (size_t v = fold_event_views(a->fold); v < fold_views(a->fold);
	     v++) {
		const struct series *s = fold_series(a->fold, v);
		enum view_source source = fold_view(a->fold, v)->source;
		uint64_t count = 0, want = a->n - g.waiting;

		for (uint32_t i = 0; i < s->n; i++)
			count += series_at(s, i)->count;
		if (source == VIEW_EDGE_NETWORK)
			want = 0;
		else if (source != VIEW_EDGE_REQUESTS)
			want /= 2; /* every other one is a client */
		assert_in_range(count, want, want + 1);
	}
}

static void memory_stays_flat_and_totals_exact(void **state)
{
	const char *sets = getenv("REDTAP_ATTACK");
	uint64_t total = sets ? strtoull(sets, NULL, 10) : SETS_DEFAULT;
	size_t early = 0, late;
	struct attack a;

	(void)state;
	attack_init(&a, views_default(), 100000);
	while (a.n < total) {
		attack_once(&a, total - a.n < ROWS ? (uint32_t)(total - a.n)
						   : ROWS);
		/* An engine writes windows out and clears them; this test does
		 * not. */
		for (unsigned k = 0; k < WINDOW_KINDS; k++)
			windows_clear(
				fold_windows(a.fold, (enum window_kind)k));
		if (!early && a.n >= total / 4)
			early = used_bytes();
	}
	late = used_bytes();
	for (size_t v = 0; v < fold_event_views(a.fold); v++)
		check_totals(&a, v);
	check_edges(&a);
	/* The last three quarters of the attack left nothing behind. */
	print_message("%llu label sets: %zu bytes, then %zu\n",
		      (unsigned long long)a.n, early, late);
#ifndef __SANITIZE_THREAD__
	/* But for unused names, which the next sweep frees. */
	assert_in_range(late, 1,
			early + (1 << 20) + (GRAPH_NAMES_MAX - 50000) * 96);
#endif
	attack_fini(&a);
}

static size_t key_at(const struct view *v, enum view_key key)
{
	for (size_t i = 0; i < v->n_labels; i++)
		if (v->labels[i] == key)
			return i;
	fail_msg("the view does not have the label");
	return 0;
}

static void a_label_has_a_budget_of_its_own(void **state)
{
	static const struct view view = {
		.name = "by_route",
		.help = "Requests.",
		.unit = "",
		.kind = VIEW_COUNTER,
		.source = VIEW_REQUESTS,
		.roles = 1u << 1,
		.labels = { LABEL_JOB, LABEL_ROUTE, LABEL_STATUS },
		.n_labels = 3,
		.max_series = 1000,
		.max_values = { [LABEL_ROUTE] = 17 },
	};
	const struct views views = { .n = 1, .view = &view };
	const struct series_values *v;
	const struct series *s;
	uint64_t demand;
	struct attack a;

	(void)state;
	attack_init(&a, &views, 100);
	attack_once(&a, 4001);
	s = fold_series(a.fold, 0);
	v = &s->values[key_at(&view, LABEL_ROUTE)];
	assert_int_equal(s->n, 17 + 1);
	assert_int_equal(v->n, 17);
	assert_int_equal(s->values[key_at(&view, LABEL_JOB)].n, 1);
	assert_int_equal(s->values[key_at(&view, LABEL_STATUS)].n, 1);
	assert_int_equal(series_at(s, SERIES_OVERFLOW)->count, 2001 - 17);
	/* The demand of a service is estimated within some per cent. */
	demand = sketch_estimate(v->sketch, SERIES_VALUES_BITS);
	assert_in_range(demand, 2001 * 3 / 4, 2001 * 5 / 4);
	demand = sketch_estimate(s->values[0].sketch, SERIES_VALUES_BITS);
	assert_int_equal(demand, 1);
	/* Known values still count where they did. */
	a.n = 0;
	make_batch(&a, 33);
	a.batch.sequence = 5000;
	fold_made(&a);
	assert_int_equal(s->n, 17 + 1);
	assert_int_equal(series_at(s, SERIES_OVERFLOW)->count, 2001 - 17);
	for (uint32_t i = 1; i <= 17; i++)
		assert_int_equal(series_at(s, i)->count, 2);
	attack_fini(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_stays_flat_and_totals_exact),
		cmocka_unit_test(a_label_has_a_budget_of_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
