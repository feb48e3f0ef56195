/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <jansson.h>

#include "aggregator/fold/fold.h"
#include "aggregator/graph/graph_join.h"
#include "aggregator/samples/samples.h"
#include "aggregator/store/checkpoint.h"
#include "aggregator/web/api_ask.h"
#include "common/log.h"
#include "tests/unit/aggregator/sample_snapshot.h"
#include "tests/unit/aggregator/temp_dir.h"
#include "tests/unit/aggregator/traffic.h"

#define NOW INT64_C(1700000000000000)
#define BATCHES 12u
#define EACH 251u
#define RANGE "from=1699999900&to=1700000010"

/*
 * A store as the engine leaves it, written here from batches; the truth
 * is the plain list of requests.
 */
struct place {
	char dir[TEMP_DIR_LEN];
	struct store *store;
	struct fold *fold;
	struct samples *samples;
	struct checkpoint *checkpoint;
	struct truth truth;
	struct api *api;
	uint64_t last_id;
};

static const struct snapshot *take(void *arg)
{
	(void)arg;
	return &sample;
}

static void rele(const struct snapshot *s)
{
	(void)s;
}

/* Logs a batch and counts it. */
static void add_batch(struct place *p, struct traffic *t, uint64_t *captured)
{
	const struct fold_prepared *prepared;
	struct batch_arena *arena;
	struct store_log row = { .id = ++p->last_id,
				 .received_us = NOW,
				 .requests = EACH };
	struct batch b;
	struct fold_input in = { .batch = &b,
				 .log_id = row.id,
				 .received_us = NOW };
	void *data;

	assert_int_equal(batch_arena_new(&arena), 0);
	traffic_batch(t, "node-a", 1, row.id, NOW, EACH, &p->truth, captured,
		      &data, &row.len);
	row.data = data;
	assert_int_equal(batch_decode(arena, data, row.len, &b, NULL), 0);
	assert_int_equal(fold_prepare(p->fold, &b, NOW, &prepared), 0);
	fold_prepared_range(prepared, &row.first_s, &row.last_s);
	assert_int_equal(fold_count(p->fold, &in, prepared), 0);
	fold_forget(p->fold);
	assert_true(store_put_log(p->store, &row) > 0);
	free(data);
	batch_arena_free(arena);
}

static int setup(void **state)
{
	struct place *p = calloc(1, sizeof(*p));
	const struct fold_options fo = { .views = views_default(),
					 .max_window_series = 10000,
					 .future_us = 60000000,
					 .past_us = 3600000000 };
	struct traffic t = { .seed = 77, .services = 5, .routes = 4 };
	uint64_t captured = 0;
	struct store_packed packed;
	struct api_options opt = { .take = take,
				   .take_all = take,
				   .rele = rele,
				   .telemetry_path = "/metrics",
				   .tail = true,
				   .windows_age_s = 3600 };

	temp_dir_make(p->dir, "api-page");
	assert_int_equal(store_open(&p->store, p->dir), 0);
	assert_int_equal(fold_new(&p->fold, &fo), 0);
	assert_int_equal(
		samples_new(&p->samples, &(struct samples_options){ 0 }), 0);
	assert_int_equal(
		checkpoint_new(&p->checkpoint, p->fold, p->samples, p->store),
		0);
	assert_int_equal(store_begin(p->store), 0);
	for (unsigned i = 0; i < BATCHES; i++) {
		add_batch(p, &t, &captured);
		assert_int_equal(checkpoint_windows(p->checkpoint, p->last_id),
				 0);
		checkpoint_committed(p->checkpoint);
		/* Some windows are packed, some not yet, some are both. */
		if (i == BATCHES / 2)
			assert_int_equal(store_pack(p->store, NOW / 1000000 - 9,
						    SIZE_MAX, &packed),
					 0);
	}
	assert_int_equal(store_commit(p->store), 0);
	opt.store_path = store_path(p->store);
	assert_int_equal(api_new(&p->api, &opt), 0);
	*state = p;
	return 0;
}

static int teardown(void **state)
{
	struct place *p = *state;

	api_free(p->api);
	checkpoint_free(p->checkpoint);
	fold_free(p->fold);
	samples_free(p->samples);
	store_close(p->store);
	free(p->truth.event);
	temp_dir_remove(p->dir);
	free(p);
	return 0;
}

/* --- asking --- */

/* The value of a key in "a=b&c=d", until the next call. */
static const char *get(const void *arg, const char *key)
{
	static char value[8][512];
	static unsigned turn;
	const char *at = arg;
	size_t n = strlen(key);

	for (; *at; at += strcspn(at, "&"), at += *at == '&')
		if (!strncmp(at, key, n) && at[n] == '=') {
			char *to = value[turn++ % 8];

			snprintf(to, sizeof(value[0]), "%.*s",
				 (int)strcspn(at + n + 1, "&"), at + n + 1);
			return to;
		}
	return NULL;
}

typedef unsigned ask_fn(struct api *a, const struct api_query *q,
			struct buf *out);

static json_t *ask_status(struct place *p, ask_fn *fn, const char *arguments,
			  unsigned want)
{
	const struct api_query q = { get, arguments };
	struct buf out = { 0 };
	unsigned status = fn(p->api, &q, &out);
	json_error_t error;
	json_t *o = json_loadb(out.data, out.len, 0, &error);

	if (!o)
		fail_msg("%s: %s in %.300s", arguments, error.text,
			 buf_str(&out));
	if (want && status != want)
		fail_msg("%s: %u: %.300s", arguments, status, buf_str(&out));
	buf_fini(&out);
	return o;
}

static json_t *ask(struct place *p, ask_fn *fn, const char *arguments)
{
	return ask_status(p, fn, arguments, 200);
}

static uint64_t number(json_t *o, const char *table, const char *column,
		       size_t i)
{
	if (table)
		o = json_object_get(o, table);
	o = json_object_get(o, column);
	if (json_is_array(o))
		o = json_array_get(o, i);
	assert_true(json_is_integer(o));
	return (uint64_t)json_integer_value(o);
}

static const char *text(json_t *o, const char *table, const char *column,
			size_t i)
{
	return json_string_value(json_array_get(
		json_object_get(json_object_get(o, table), column), i));
}

static size_t rows(json_t *o, const char *table, const char *column)
{
	return json_array_size(
		json_object_get(json_object_get(o, table), column));
}

/* --- the truth --- */

struct want {
	const char *job, *role, *method, *route, *instance;
	bool errors;
};

static void job_of(const struct truth_event *e, char out[64])
{
	snprintf(out, 64, "%s%s%s", e->namespace_, *e->namespace_ ? "/" : "",
		 e->service);
}

static bool is_wanted(const struct truth_event *e, const struct want *w)
{
	char job[64], error[24];

	job_of(e, job);
	truth_error(e, error);
	return (!w->job || !strcmp(job, w->job)) &&
	       (!w->role ||
		!strcmp(e->role == 2 ? "client" : "server", w->role)) &&
	       (!w->method || !strcmp(e->method, w->method)) &&
	       (!w->route || !strcmp(e->route, w->route)) &&
	       (!w->instance || !strcmp(e->instance, w->instance)) &&
	       (!w->errors || *error);
}

static uint64_t count_of(const struct place *p, const struct want *w)
{
	uint64_t n = 0;

	for (size_t i = 0; i < p->truth.n; i++)
		n += is_wanted(&p->truth.event[i], w);
	return n;
}

/* --- tests --- */

static void check_service(struct place *p, json_t *o, size_t i,
			  const char *role)
{
	struct want w = { .job = text(o, "services", "service", i),
			  .role = role };
	uint64_t points = 0;
	json_t *line = json_array_get(
		json_object_get(json_object_get(o, "points"), "count"), i);

	assert_int_equal(number(o, "services", "count", i), count_of(p, &w));
	for (size_t k = 0; k < json_array_size(line); k++)
		points += (uint64_t)json_integer_value(json_array_get(line, k));
	assert_int_equal(points, count_of(p, &w));
	w.errors = true;
	assert_int_equal(number(o, "services", "errors", i), count_of(p, &w));
}

static void services_are_those_of_the_truth(void **state)
{
	static const char *const role[] = { "server", "client" };
	struct place *p = *state;

	for (unsigned r = 0; r < 2; r++) {
		struct want w = { .role = role[r] };
		char arguments[128];
		uint64_t before = UINT64_MAX;
		json_t *o;

		snprintf(arguments, sizeof(arguments), RANGE "&role=%s",
			 role[r]);
		o = ask(p, api_services, arguments);
		assert_int_equal(number(o, "sum", "count", 0), count_of(p, &w));
		for (size_t i = 0; i < rows(o, "services", "service"); i++) {
			check_service(p, o, i, role[r]);
			assert_true(number(o, "services", "errors", i) <=
				    before);
			before = number(o, "services", "errors", i);
		}
		assert_int_equal(number(o, NULL, "total", 0),
				 rows(o, "services", "service"));
		json_decref(o);
	}
}

static void the_worst_instance_is_the_worst(void **state)
{
	struct place *p = *state;
	json_t *o = ask(p, api_services, RANGE);

	for (size_t i = 0; i < rows(o, "services", "service"); i++) {
		const char *worst = text(o, "services", "worst_instance", i);
		static const char *const instance[] = { "i-0", "i-1",
							"node-a" };
		double most = -1, got = -1;

		for (unsigned k = 0; k < 3; k++) {
			struct want w = { .job = text(o, "services", "service",
						      i),
					  .role = "server",
					  .instance = instance[k] };
			double n = (double)count_of(p, &w), ratio;

			w.errors = true;
			ratio = n ? (double)count_of(p, &w) / n : -1;
			most = fmax(most, ratio);
			if (!strcmp(instance[k], worst))
				got = ratio;
		}
		assert_true(got == most);
	}
	json_decref(o);
}

static void a_service_adds_up_by_route_status_and_cell(void **state)
{
	struct place *p = *state;
	json_t *o = ask(p, api_service, RANGE "&service=shop/svc-2&limit=100");
	struct want w = { .job = "shop/svc-2", .role = "server" };
	uint64_t total = count_of(p, &w), statuses = 0;

	assert_int_equal(number(o, "sum", "count", 0), total);
	for (size_t i = 0; i < rows(o, "routes", "route"); i++) {
		w.route = text(o, "routes", "route", i);
		w.method = text(o, "routes", "method", i);
		assert_int_equal(number(o, "routes", "count", i),
				 count_of(p, &w));
	}
	for (size_t i = 0; i < rows(o, "statuses", "count"); i++)
		statuses += number(o, "statuses", "count", i);
	assert_int_equal(statuses, total);
	json_decref(o);
	o = ask(p, api_service,
		RANGE "&service=shop/svc-2&route=/r/1&method=GET&cells=1");
	w.route = "/r/1";
	w.method = "GET";
	assert_int_equal(number(o, "sum", "count", 0), count_of(p, &w));
	assert_null(json_object_get(o, "routes"));
	for (size_t i = 0; i < rows(o, "cells", "upper"); i++) {
		json_t *c = json_object_get(o, "cells");
		double low = json_number_value(
			json_array_get(json_object_get(c, "lower"), i));
		double high = json_number_value(
			json_array_get(json_object_get(c, "upper"), i));
		json_t *line = json_array_get(json_object_get(c, "count"), i);
		uint64_t got = 0, want = 0;

		for (size_t k = 0; k < json_array_size(line); k++)
			got += (uint64_t)json_integer_value(
				json_array_get(line, k));
		for (size_t k = 0; k < p->truth.n; k++) {
			const struct truth_event *e = &p->truth.event[k];
			double s = (double)e->duration_us / 1e6;

			want += is_wanted(e, &w) &&
				(high == 0 ? s == 0 : s > low && s <= high);
		}
		assert_int_equal(got, want);
	}
	json_decref(o);
}

static void edges_are_those_of_the_graph(void **state)
{
	struct place *p = *state;
	json_t *o = ask(p, api_graph, RANGE);
	struct series *s = NULL;
	uint64_t total = 0;

	for (size_t v = 0; v < fold_views(p->fold); v++)
		if (fold_view(p->fold, v)->source == VIEW_EDGE_REQUESTS && !s)
			s = fold_series(p->fold, v);
	assert_true(s->n > 3);
	for (uint32_t i = 0; i < s->n; i++)
		total += series_at(s, i)->count;
	assert_int_equal(number(o, NULL, "total", 0), total);
	for (size_t i = 0; i < rows(o, "edges", "count"); i++) {
		const char *client = text(o, "nodes", "name",
					  number(o, "edges", "client", i));
		const char *server = text(o, "nodes", "name",
					  number(o, "edges", "server", i));
		bool one = json_is_true(json_array_get(
			json_object_get(json_object_get(o, "edges"),
					"one_sided"),
			i));
		uint64_t want = 0;

		for (uint32_t k = 1; k < s->n; k++) {
			const struct interned *const *l = series_labels(s, k);

			want += l[0] && !strcmp(l[0]->text, client) && l[1] &&
						!strcmp(l[1]->text, server) &&
						!l[2] == !one
					? series_at(s, k)->count
					: 0;
		}
		assert_int_equal(number(o, "edges", "count", i), want);
	}
	json_decref(o);
}

static void requests_come_each_once_page_by_page(void **state)
{
	struct place *p = *state;
	struct want w = { .role = "server", .errors = true };
	uint64_t total = count_of(p, &w), seen = 0;
	char arguments[160] = RANGE "&role=server&errors=1&limit=100";
	uint64_t last_id = UINT64_MAX, last_event = 0;

	for (;;) {
		json_t *o = ask(p, api_requests, arguments);
		const char *next =
			json_string_value(json_object_get(o, "next"));

		if (!seen)
			assert_int_equal(number(o, NULL, "matched", 0), total);
		for (size_t i = 0; i < rows(o, "requests", "id"); i++) {
			unsigned long long id, event;

			assert_int_equal(sscanf(text(o, "requests", "id", i),
						"%llu-%llu", &id, &event),
					 2);
			assert_true(id < last_id ||
				    (id == last_id && event < last_event));
			last_id = id;
			last_event = event;
			seen++;
		}
		if (next)
			snprintf(arguments, sizeof(arguments),
				 RANGE "&role=server&errors=1&limit=100"
				       "&after=%s",
				 next);
		json_decref(o);
		if (!next)
			break;
	}
	assert_int_equal(seen, total);
}

static int by_duration(const void *pa, const void *pb)
{
	const struct truth_event *a = pa, *b = pb;

	return a->duration_us > b->duration_us
		       ? -1
		       : a->duration_us < b->duration_us;
}

static void the_slowest_are_the_slowest(void **state)
{
	struct place *p = *state;
	json_t *o = ask(p, api_requests, RANGE "&order=slowest&limit=50");
	struct truth_event *e = malloc(p->truth.n * sizeof(*e));

	memcpy(e, p->truth.event, p->truth.n * sizeof(*e));
	qsort(e, p->truth.n, sizeof(*e), by_duration);
	for (size_t i = 0; i < 50; i++) {
		double s = json_number_value(json_array_get(
			json_object_get(json_object_get(o, "requests"),
					"duration"),
			i));

		assert_int_equal(llround(s * 1e6), e[i].duration_us);
	}
	free(e);
	json_decref(o);
}

static uint64_t tail_seen;

static unsigned tail(struct api *a, const struct api_query *q, struct buf *out)
{
	unsigned status = api_tail(a, q, false, &tail_seen, out);

	if (!status)
		buf_puts(out, "{}");
	return status ? status : 204;
}

static void a_tail_goes_on_where_it_was(void **state)
{
	struct place *p = *state;
	struct want w = { .errors = true };
	uint64_t told = 0, after = 0;
	json_t *o;

	tail_seen = 0;
	while (after < BATCHES) {
		char arguments[80];

		snprintf(arguments, sizeof(arguments),
			 "after=%llu&errors=1&limit=7",
			 (unsigned long long)after);
		o = ask(p, tail, arguments);
		told += number(o, NULL, "shown", 0) +
			number(o, NULL, "skipped", 0);
		assert_true(number(o, NULL, "shown", 0) <= 7);
		after = number(o, NULL, "next", 0);
		json_decref(o);
	}
	assert_int_equal(told, count_of(p, &w));
	json_decref(ask_status(p, tail, "after=12", 204));
	assert_int_equal(tail_seen, BATCHES);
	/* From now on: tells at once where that is. */
	o = ask(p, tail, "");
	assert_int_equal(number(o, NULL, "next", 0), BATCHES);
	json_decref(o);
	/* A store that was set aside begins anew. */
	json_decref(ask_status(p, tail, "after=9999", 204));
}

static unsigned status(struct api *a, const struct api_query *q,
		       struct buf *out)
{
	const struct api_config_state config = { .successful = true };

	(void)q;
	return api_status(a, &config, out);
}

/* Whatever the arguments are, the answer is JSON: 200, or 400 and which. */
static void any_arguments_give_json(void **state)
{
	static ask_fn *const all[] = { api_services,	api_service, api_graph,
				       api_requests,	api_agents,  api_gaps,
				       api_cardinality, tail,	     status,
				       api_programs };
	static const char *const key[] = {
		"from",	 "to",	   "range",  "step", "role",	 "order",
		"limit", "filter", "errors", "hops", "focus",	 "by",
		"view",	 "after",  "min",    "max",  "status",	 "service",
		"route", "method", "cells",  "node", "instance",
	};
	static const char *const value[] = {
		"",
		"0",
		"1",
		"-1",
		"10",
		"60",
		"3600",
		"17",
		"x",
		"client",
		"server",
		"errors",
		"-p99",
		"name",
		"newest",
		"slowest",
		"namespace",
		"svc-1",
		"shop/svc-2",
		"GET",
		"/r/1",
		"500",
		"none",
		"1e9",
		"nan",
		"\x7f\"\\",
		"1699999900",
		"1700000010",
		"99999999999999999999",
		"5-3",
		"redtap_http_requests",
	};
	struct place *p = *state;
	struct traffic t = { .seed = 3 };

	for (unsigned i = 0; i < 4000; i++) {
		ask_fn *fn = all[traffic_random(&t) %
				 (sizeof(all) / sizeof(all[0]))];
		char arguments[1024] = "from=1699999900&to=1700000010";
		unsigned n = (unsigned)(traffic_random(&t) % 5);
		json_t *o;

		if (traffic_random(&t) % 4 == 0)
			*arguments = '\0';
		for (unsigned k = 0; k < n; k++) {
			size_t at = strlen(arguments);

			snprintf(arguments + at, sizeof(arguments) - at,
				 "&%s=%s",
				 key[traffic_random(&t) %
				     (sizeof(key) / sizeof(key[0]))],
				 value[traffic_random(&t) %
				       (sizeof(value) / sizeof(value[0]))]);
		}
		tail_seen = 0;
		o = ask_status(p, fn, arguments, 0);
		if (json_object_get(o, "error"))
			assert_non_null(json_object_get(o, "where"));
		json_decref(o);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(services_are_those_of_the_truth),
		TEST(the_worst_instance_is_the_worst),
		TEST(a_service_adds_up_by_route_status_and_cell),
		TEST(edges_are_those_of_the_graph),
		TEST(requests_come_each_once_page_by_page),
		TEST(the_slowest_are_the_slowest),
		TEST(a_tail_goes_on_where_it_was),
		TEST(any_arguments_give_json),
	};

	log_init(LOG_LEVEL_ERROR, LOG_FORMAT_LOGFMT);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
