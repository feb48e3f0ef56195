/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/fold/fold.h"
#include "aggregator/series/sketch.h"
#include "proto/limits.h"
#include "tests/unit/aggregator/traffic.h"

#define NOW INT64_C(1700000000000000)

static struct fold *make(const struct views *views)
{
	struct fold_options o = { .views = views,
				  .max_window_series = 100000,
				  .future_us = 60000000,
				  .past_us = 86400000000 };
	struct fold *f = NULL;

	assert_int_equal(fold_new(&f, &o), 0);
	return f;
}

/* --- comparing two folds --- */

static bool same_labels(const struct series *a, uint32_t i,
			const struct series *b, uint32_t k)
{
	const struct interned *const *x = series_labels(a, i);
	const struct interned *const *y = series_labels(b, k);

	for (size_t n = 0; n < a->n_keys; n++) {
		if (!x[n] != !y[n])
			return false;
		if (x[n] && strcmp(x[n]->text, y[n]->text) != 0)
			return false;
	}
	return true;
}

static uint32_t find(const struct series *a, uint32_t i, const struct series *b)
{
	for (uint32_t k = 1; k < b->n; k++)
		if (same_labels(a, i, b, k))
			return k;
	fail_msg("a series is missing");
	return 0;
}

static uint64_t cell(const struct span *s, unsigned i)
{
	return s && i - s->first < s->n ? s->count[i - s->first] : 0;
}

static void check_spans(const struct span *a, const struct span *b,
			const struct cells *c)
{
	for (unsigned i = 0; i < c->n; i++)
		assert_int_equal(cell(a, i), cell(b, i));
}

static void check_kind(struct fold *a, struct fold *b, enum window_kind kind)
{
	struct windows *wa = fold_windows(a, kind), *wb = fold_windows(b, kind);
	const struct series *sa = fold_window_series(a, kind);
	const struct series *sb = fold_window_series(b, kind);

	assert_int_equal(windows_count(wa), windows_count(wb));
	for (size_t i = 0; i < windows_count(wa); i++) {
		const struct window_delta *x = windows_at(wa, i);
		const struct window_delta *y =
			windows_get(wb, x->start_s, find(sa, x->key, sb));

		assert_int_equal(x->count, y->count);
		assert_int_equal(x->errors, y->errors);
		for (unsigned k = 0; k < WINDOW_VALUES; k++) {
			assert_int_equal(x->sum[k], y->sum[k]);
			check_spans(x->span[k], y->span[k],
				    fold_duration_cells(a));
		}
	}
}

static void check_windows(struct fold *a, struct fold *b)
{
	check_kind(a, b, WINDOW_REQUESTS);
	check_kind(a, b, WINDOW_INSTANCES);
}

static void check_equal(struct fold *a, struct fold *b)
{
	/* Edges follow from the order: see test_graph.c. */
	for (size_t v = 0; v < fold_event_views(a); v++) {
		const struct series *x = fold_series(a, v);
		const struct series *y = fold_series(b, v);

		assert_int_equal(x->n, y->n);
		for (uint32_t i = 1; i < x->n; i++) {
			struct series_slot *s = series_at(x, i);
			struct series_slot *t = series_at(y, find(x, i, y));

			assert_int_equal(s->count, t->count);
			assert_int_equal(s->sum, t->sum);
			if (x->cells)
				check_spans(s->span, t->span, x->cells);
		}
	}
	check_windows(a, b);
}

/* --- batches --- */

struct made {
	struct batch_arena *arena;
	struct batch batch;
	void *data;
	struct truth truth;
};

static void make_batch(struct made *m, struct traffic *t, size_t n)
{
	uint64_t captured = 0;
	size_t len;

	memset(m, 0, sizeof(*m));
	traffic_batch(t, "node", 1, 1, NOW, n, &m->truth, &captured, &m->data,
		      &len);
	assert_int_equal(batch_arena_new(&m->arena), 0);
	assert_int_equal(batch_decode(m->arena, m->data, len, &m->batch, NULL),
			 0);
}

static void free_batch(struct made *m)
{
	batch_arena_free(m->arena);
	free(m->data);
	free(m->truth.event);
}

static void fold(struct fold *f, const struct batch *b, uint64_t log_id)
{
	struct fold_input fb = { .batch = b,
				 .log_id = log_id,
				 .received_us = NOW };

	assert_int_equal(fold_apply(f, &fb), 0);
}

/* --- tests --- */

static void any_order_gives_the_same(void **state)
{
	enum { N = 11 };
	struct traffic t = { .seed = 5, .services = 4, .routes = 5 };
	struct fold *a = make(views_default()), *b = make(views_default());
	struct made m[N];

	(void)state;
	for (size_t i = 0; i < N; i++)
		make_batch(&m[i], &t, 97);
	for (size_t i = 0; i < N; i++) {
		fold(a, &m[i].batch, i + 1);
		fold(b, &m[N - 1 - i].batch, i + 1);
	}
	check_equal(a, b);
	for (size_t i = 0; i < N; i++)
		free_batch(&m[i]);
	fold_free(a);
	fold_free(b);
}

/* One row per event: the simplest rollup there is. */
static void a_rollup_counts_like_its_events(void **state)
{
	enum { N = 503 };
	struct traffic t = { .seed = 9, .services = 3, .routes = 3 };
	struct fold *a = make(views_default()), *b = make(views_default());
	struct made m;
	struct batch r;
	int64_t window[N], start;
	uint64_t one[N];
	uint32_t ones[N];
	int32_t index[3][N];

	(void)state;
	make_batch(&m, &t, N);
	r = m.batch;
	r.base_us = 1000000 * (int64_t)WINDOW_SECONDS;
	start = m.batch.base_us;
	for (size_t i = 0; i < N; i++) {
		start += m.batch.events.start_delta_us[i];
		one[i] = ones[i] = 1;
		window[i] = (start + (int64_t)m.batch.events.duration_us[i]) /
				    10000000 * 10 -
			    10;
		index[0][i] = bucket_seconds(m.batch.events.duration_us[i]);
		index[1][i] = bucket_bytes(m.batch.events.request_bytes[i]);
		index[2][i] = bucket_bytes(m.batch.events.response_bytes[i]);
	}
	r.rollups = (struct batch_rollups){
		.n = N,
		.series = m.batch.events.series,
		.window_delta_s = window,
		.count = one,
		.duration_sum_us = m.batch.events.duration_us,
		.request_bytes_sum = m.batch.events.request_bytes,
		.response_bytes_sum = m.batch.events.response_bytes,
		.duration = { ones, index[0], one, N },
		.request = { ones, index[1], one, N },
		.response = { ones, index[2], one, N },
		.detail = BUCKET_DETAIL,
	};
	r.events.n = 0;
	assert_int_equal(fold_requests(&r), N);
	fold(a, &m.batch, 1);
	fold(b, &r, 1);
	check_equal(a, b);
	free_batch(&m);
	fold_free(a);
	fold_free(b);
}

/* Batches that differ from in by what is in them; arrays are borrowed. */
struct split {
	uint32_t untimed[512], series[512];
	int64_t delta[512];
	uint64_t column[4][512];
};

/* The events of in that are timed, alone. */
static struct batch timed_only(const struct batch *in, struct split *s)
{
	const struct batch_events *e = &in->events;
	int64_t start = in->base_us, before = in->base_us;
	struct batch out = *in;
	size_t n = 0;

	for (size_t i = 0; i < e->n; i++) {
		start += e->start_delta_us[i];
		if (s->untimed[e->series[i]])
			continue;
		s->series[n] = e->series[i];
		s->delta[n] = start - before;
		before = start;
		s->column[0][n] = e->duration_us[i];
		s->column[1][n] = e->tail_us[i];
		s->column[2][n] = e->request_bytes[i];
		s->column[3][n] = e->response_bytes[i];
		n++;
	}
	out.events = (struct batch_events){ .n = n,
					    .series = s->series,
					    .start_delta_us = s->delta,
					    .duration_us = s->column[0],
					    .tail_us = s->column[1],
					    .request_bytes = s->column[2],
					    .response_bytes = s->column[3] };
	return out;
}

static bool of_durations(const struct view *v)
{
	return v->source == VIEW_DURATION || v->source == VIEW_TTFB;
}

/* What a has of durations is what timed has; what else it has, all has. */
static void check_untimed(struct fold *a, struct fold *all, struct fold *timed)
{
	struct windows *wa = fold_windows(a, WINDOW_REQUESTS);
	uint64_t count = 0, want = 0;

	for (size_t v = 0; v < fold_event_views(a); v++) {
		struct fold *b = of_durations(fold_view(a, v)) ? timed : all;
		const struct series *x = fold_series(a, v);
		const struct series *y = fold_series(b, v);

		assert_int_equal(x->n, y->n);
		for (uint32_t i = 1; i < x->n; i++) {
			struct series_slot *s = series_at(x, i);
			struct series_slot *t = series_at(y, find(x, i, y));

			assert_int_equal(s->count, t->count);
			assert_int_equal(s->sum, t->sum);
			if (x->cells)
				check_spans(s->span, t->span, x->cells);
		}
	}
	for (size_t i = 0; i < windows_count(wa); i++) {
		const struct window_delta *x = windows_at(wa, i);
		uint32_t key =
			find(fold_window_series(a, WINDOW_REQUESTS), x->key,
			     fold_window_series(all, WINDOW_REQUESTS));
		const struct window_delta *y = windows_get(
			fold_windows(all, WINDOW_REQUESTS), x->start_s, key);

		assert_int_equal(x->count, y->count);
		assert_int_equal(x->errors, y->errors);
		assert_int_equal(x->sum[WINDOW_RESPONSE_BYTES],
				 y->sum[WINDOW_RESPONSE_BYTES]);
		count += x->count;
		const struct span *span = x->span[WINDOW_DURATION];

		for (unsigned k = 0; span && k < span->n; k++)
			want += span->count[k];
	}
	assert_int_equal(windows_count(wa),
			 windows_count(fold_windows(all, WINDOW_REQUESTS)));
	assert_int_equal(count, 503);
	/* Each timed request is in one cell of a window, and no other is. */
	for (size_t i = 0;
	     i < windows_count(fold_windows(timed, WINDOW_REQUESTS)); i++)
		want -= windows_at(fold_windows(timed, WINDOW_REQUESTS), i)
				->count;
	assert_int_equal(want, 0);
}

static void unknown_durations_count_everywhere_but_in_durations(void **state)
{
	enum { N = 503 };
	static struct split s;
	struct traffic t = { .seed = 7, .services = 3, .routes = 3 };
	struct fold *a = make(views_default()), *all = make(views_default());
	struct fold *timed = make(views_default());
	struct made m;
	struct batch b;

	(void)state;
	make_batch(&m, &t, N);
	for (size_t i = 0; i < N; i++)
		s.untimed[i] = traffic_random(&t) % 3 == 0;
	fold(all, &m.batch, 1);
	b = timed_only(&m.batch, &s);
	assert_in_range(b.events.n, 1, N - 1);
	fold(timed, &b, 1);
	b = m.batch;
	b.series.untimed = s.untimed;
	fold(a, &b, 1);
	check_untimed(a, all, timed);
	/* Once more: now the cache knows the label sets. */
	fold(a, &b, 2);
	fold(all, &m.batch, 2);
	b = timed_only(&m.batch, &s);
	fold(timed, &b, 2);
	for (size_t v = 0; v < fold_event_views(a); v++)
		assert_int_equal(
			fold_series(a, v)->n,
			fold_series(of_durations(fold_view(a, v)) ? timed : all,
				    v)
				->n);
	free_batch(&m);
	fold_free(a);
	fold_free(all);
	fold_free(timed);
}

static void beyond_the_budget_totals_stay_exact(void **state)
{
	struct view small[VIEWS_MAX];
	struct views views = { .view = small };
	struct traffic t = { .seed = 3, .services = 40, .routes = 50 };
	struct truth all = { 0 };
	struct fold *f;

	(void)state;
	while (!view_of_edges(views_default()->view[views.n].source))
		views.n++; /* test_graph.c has the others */
	memcpy(small, views_default()->view, views.n * sizeof(small[0]));
	for (size_t v = 0; v < views.n; v++)
		small[v].max_series = 17;
	f = make(&views);
	for (uint64_t i = 1; i <= 9; i++) {
		struct made m;

		make_batch(&m, &t, 211);
		fold(f, &m.batch, i);
		for (size_t k = 0; k < m.truth.n; k++)
			truth_add(&all, &m.truth.event[k]);
		free_batch(&m);
	}
	for (size_t v = 0; v < views.n; v++) {
		const struct series *s = fold_series(f, v);
		uint64_t total = 0, sum = 0, want = 0, want_sum = 0;

		assert_int_equal(s->n, 17 + 1);
		for (uint32_t i = 0; i < s->n; i++) {
			total += series_at(s, i)->count;
			sum += series_at(s, i)->sum;
		}
		for (size_t k = 0; k < all.n; k++) {
			char error[24];

			truth_error(&all.event[k], error);
			if (!truth_in_view(&small[v], &all.event[k]) ||
			    (small[v].errors_only && !*error))
				continue;
			want++;
			want_sum += small[v].source == VIEW_DURATION
					    ? all.event[k].duration_us
				    : small[v].source == VIEW_REQUEST_BYTES
					    ? all.event[k].request_bytes
				    : small[v].source == VIEW_RESPONSE_BYTES
					    ? all.event[k].response_bytes
					    : 1;
		}
		assert_int_equal(total, want);
		assert_int_equal(sum, want_sum);
		assert_true(series_at(s, SERIES_OVERFLOW)->count > 0);
		/* More asked than got a place; known to a few per cent. */
		assert_true(sketch_estimate(s->sketch, SERIES_SKETCH_BITS) >
			    100);
	}
	free(all.event);
	fold_free(f);
}

static void far_off_times_count_as_now(void **state)
{
	static const int64_t base[] = { NOW, NOW + 3600 * INT64_C(1000000),
					NOW - 2 * 86400 * INT64_C(1000000),
					INT64_MIN + 5, INT64_MAX - 5 };
	struct traffic t = { .seed = 3, .services = 1, .routes = 1 };
	struct fold *f = make(views_default());
	uint64_t total = 0;

	(void)state;
	for (size_t i = 0; i < 5; i++) {
		struct made m;

		make_batch(&m, &t, 1);
		m.batch.base_us = base[i]; /* the last two: hostile */
		if (i <= 2)
			m.batch.base_us -= m.truth.event[0].end_us - NOW;
		fold(f, &m.batch, i + 1);
		free_batch(&m);
	}
	assert_int_equal(fold_clamped(f), 4);
	for (size_t i = 0; i < windows_count(fold_windows(f, WINDOW_REQUESTS));
	     i++) {
		const struct window_delta *d =
			windows_at(fold_windows(f, WINDOW_REQUESTS), i);

		assert_true(d->start_s >= NOW / 1000000 - 40 &&
			    d->start_s <= NOW / 1000000);
		total += d->count;
	}
	assert_int_equal(total, 5);
	fold_free(f);
}

static void what_was_loaded_is_not_counted_again(void **state)
{
	struct traffic t = { .seed = 3, .services = 1, .routes = 1 };
	struct fold *f = make(views_default());
	struct made m;
	uint64_t count = 0;

	(void)state;
	make_batch(&m, &t, 31);
	fold_set_loaded_view(f, 4, 7); /* redtap_http_requests */
	fold_set_loaded_windows(f, 7);
	fold(f, &m.batch, 7);
	for (uint32_t i = 0; i < fold_series(f, 4)->n; i++)
		count += series_at(fold_series(f, 4), i)->count;
	assert_int_equal(count, 0);
	assert_int_equal(windows_count(fold_windows(f, WINDOW_REQUESTS)), 0);
	fold(f, &m.batch, 8);
	for (uint32_t i = 0; i < fold_series(f, 4)->n; i++)
		count += series_at(fold_series(f, 4), i)->count;
	assert_int_equal(count, 31);
	assert_true(windows_count(fold_windows(f, WINDOW_REQUESTS)) > 0);
	free_batch(&m);
	fold_free(f);
}

/* Both kinds count each request: their sums by job are the same. */
static void instances_add_up_to_their_requests(void **state)
{
	struct traffic t = { .seed = 9, .services = 3, .routes = 5 };
	struct fold *f = make(views_default());
	uint64_t count[2] = { 0 }, errors[2] = { 0 }, us[2] = { 0 };
	struct made m;

	(void)state;
	make_batch(&m, &t, 499);
	fold(f, &m.batch, 1);
	for (unsigned kind = 0; kind < 2; kind++) {
		struct windows *w = fold_windows(f, (enum window_kind)kind);

		for (size_t i = 0; i < windows_count(w); i++) {
			const struct window_delta *d = windows_at(w, i);
			const struct span *s = d->span[WINDOW_DURATION];
			uint64_t cells = 0;

			for (unsigned k = 0; k < s->n; k++)
				cells += s->count[k];
			assert_int_equal(cells, d->count);
			count[kind] += d->count;
			errors[kind] += d->errors;
			us[kind] += d->sum[WINDOW_DURATION];
		}
	}
	assert_int_equal(count[WINDOW_REQUESTS], 499);
	assert_int_equal(count[WINDOW_INSTANCES], 499);
	assert_int_equal(errors[0], errors[1]);
	assert_int_equal(us[0], us[1]);
	free_batch(&m);
	fold_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_order_gives_the_same),
		cmocka_unit_test(a_rollup_counts_like_its_events),
		cmocka_unit_test(
			unknown_durations_count_everywhere_but_in_durations),
		cmocka_unit_test(beyond_the_budget_totals_stay_exact),
		cmocka_unit_test(far_off_times_count_as_now),
		cmocka_unit_test(what_was_loaded_is_not_counted_again),
		cmocka_unit_test(instances_add_up_to_their_requests),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
