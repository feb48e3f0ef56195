/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <jansson.h>
#include <unistd.h>

#include "aggregator/fold/window.h"
#include "aggregator/store/durations.h"
#include "aggregator/store/store.h"
#include "aggregator/web/api.h"
#include "common/log.h"
#include "proto/buckets.h"

#define NOW 1700000003

static struct api_windows parsed(const char *from, const char *to,
				 const char *by)
{
	struct api_windows q;
	const char *where;
	char why[128];

	if (api_windows_parse(&q, from, to, by, NOW, &where, why, sizeof(why)))
		fail_msg("%s: %s", where, why);
	return q;
}

static void refused(const char *from, const char *to, const char *by,
		    const char *want)
{
	struct api_windows q;
	const char *where = NULL;
	char why[128] = "";

	assert_int_equal(api_windows_parse(&q, from, to, by, NOW, &where, why,
					   sizeof(why)),
			 -EINVAL);
	assert_string_equal(where, want);
	assert_true(*why != '\0');
}

/* As flags and files have them. */
static void times_and_steps_may_be_durations(void **state)
{
	static const struct {
		const char *text;
		int64_t step_s; /* 0: refused */
	} steps[] = {
		{ "60", 60 },	{ "5m", 300 },	   { "1d", 86400 },
		{ "90s", 90 },	{ "5s", 0 },	   { "500ms", 0 },
		{ "40d", 0 },	{ "0", 0 },	   { "m", 0 },
		{ "10 m", 0 },	{ "-60", 0 },	   { "", 0 },
		{ "1h", 3600 }, { "10000ms", 10 },
	};
	struct api_windows q = parsed("1h", "5m", NULL);

	(void)state;
	assert_int_equal(q.from_s, (NOW - 3600) / 10 * 10);
	assert_int_equal(q.to_s, (NOW - 300 + 9) / 10 * 10);
	refused("5m", "1h", NULL, "from");
	refused("1fortnight", NULL, NULL, "from");
	refused(NULL, "9999y", NULL, "to");
	for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
		const int err = api_step_parse(&q, steps[i].text);

		assert_int_equal(err, steps[i].step_s ? 0 : -EINVAL);
		if (!err)
			assert_int_equal(q.step_s, steps[i].step_s);
	}
}

static void defaults_are_the_last_five_minutes_by_service(void **state)
{
	struct api_windows q = parsed(NULL, NULL, NULL);

	(void)state;
	assert_int_equal(q.to_s, 1700000020); /* the open window's too */
	assert_int_equal(q.from_s, 1699999710);
	assert_int_equal(q.n_by, 1);
	assert_int_equal(q.by[0], API_BY_SERVICE);
}

static void times_are_seconds_or_rfc3339(void **state)
{
	static const struct {
		const char *text;
		int64_t s; /* by `date -u -d TEXT +%s`, down to a window */
	} time[] = {
		{ "0", 0 },
		{ "1700000000", 1700000000 },
		{ "1700000009.999", 1700000000 },
		{ "2023-11-14T22:13:20Z", 1700000000 },
		{ "2023-11-14t22:13:20.123456z", 1700000000 },
		{ "2023-11-14 22:13:20Z", 1700000000 },
		{ "2023-11-14T23:13:20+01:00", 1700000000 },
		{ "2023-11-14T23:13:20 01:00", 1700000000 },
		{ "2023-11-14T17:43:20-04:30", 1700000000 },
		{ "2024-02-29T00:00:00Z", 1709164800 },
		{ "1970-01-01T00:00:00Z", 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(time) / sizeof(time[0]); i++) {
		char to[32];

		snprintf(to, sizeof(to), "%lld", (long long)time[i].s + 100);
		assert_int_equal(parsed(time[i].text, to, NULL).from_s,
				 time[i].s);
	}
}

static void nonsense_is_refused_with_its_place(void **state)
{
	static const char *const bad[] = {
		"x",
		"-1",
		"1e9",
		"17000000000000000000000",
		"999999999999",
		"2023-02-29T00:00:00Z",
		"2023-13-01T00:00:00Z",
		"2023-00-01T00:00:00Z",
		"2023-01-32T00:00:00Z",
		"2023-01-01T24:00:00Z",
		"2023-01-01T00:60:00Z",
		"2023-01-01T00:00:00",
		"2023-01-01T00:00:00.Z",
		"2023-01-01T00:00:00Z ",
		"2023-01-01",
		"2023-01-01T00:00:00+1:00",
		"1970-01-01T00:00:00+01:00",
		"1.5.5",
		" 1",
		"",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		refused(bad[i], NULL, NULL, "from");
		refused(NULL, bad[i], NULL, "to");
	}
	refused("1700000000", "1700000000", NULL, "from");
	refused("1700000010", "1700000000", NULL, "from");
	refused("1600000000", "1700000000", NULL, "from"); /* too long */
	refused(NULL, NULL, "services", "by");
	refused(NULL, NULL, "service,", "by");
	refused(NULL, NULL, ",service", "by");
	refused(NULL, NULL, "service,,route", "by");
}

static void by_is_kept_in_order_without_duplicates(void **state)
{
	struct api_windows q =
		parsed(NULL, NULL, "status,route,status,role,method,service");
	const enum api_by want[] = { API_BY_STATUS, API_BY_ROUTE, API_BY_ROLE,
				     API_BY_METHOD, API_BY_SERVICE };

	(void)state;
	assert_int_equal(q.n_by, 5);
	for (size_t i = 0; i < 5; i++)
		assert_int_equal(q.by[i], want[i]);
	assert_int_equal(parsed(NULL, NULL, "").n_by, 0);
}

/* --- answers, from a real store that durations were written to --- */

#define START 1700000000
#define WINDOWS 3
#define KEYS 5
#define EACH 701 /* durations of each label set in each window */

static const char *const label[KEYS][STORE_WINDOW_LABELS] = {
	{ NULL, NULL, NULL, NULL, NULL, NULL }, /* key 0: the overflow */
	{ "shop/cart", "server", "GET", "/users/{id}", "200", NULL },
	{ "shop/cart", "server", "GET", "/users/{id}", "500", "500" },
	{ "shop/cart", "server", "POST", "/buy \"now\"", "200", NULL },
	{ "nginx", "client", "GET", NULL, NULL, "timeout" },
};

static uint64_t raw[WINDOWS][KEYS][EACH]; /* µs */

static uint64_t random_us(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return (*x >> 20) % (1ull << (4 + *x % 24));
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void fill_row(struct pack_row *row, int window, uint32_t key,
		     struct buf *hist)
{
	struct store_bucket bucket[EACH];
	size_t n = 0;

	*row = (struct pack_row){ .key = key,
				  .count = EACH,
				  .errors = label[key][5] ? EACH : 0 };
	qsort(raw[window][key], EACH, sizeof(uint64_t), by_value);
	for (size_t i = 0; i < EACH; i++) {
		uint64_t us = raw[window][key][i];
		int native = us ? bucket_native_seconds(us) : BUCKET_ZERO;

		if (!n || bucket[n - 1].native != native)
			bucket[n++] = (struct store_bucket){ native, 0 };
		bucket[n - 1].count++;
		row->sum[WINDOW_DURATION] += us;
	}
	buf_reset(hist);
	durations_encode(hist, bucket, n);
	row->hist[0] = (struct pack_hist){ (void *)hist->data, hist->len };
}

static void write_window(struct store *st, int window)
{
	struct store_delta d = { .start_s = START + 10 * window, .rows = KEYS };
	struct buf pack = { 0 }, hist = { 0 };
	struct pack_writer w;

	pack_begin(&w, &pack);
	for (uint32_t k = 0; k < KEYS; k++) {
		struct pack_row row;

		fill_row(&row, window, k, &hist);
		pack_put(&w, &row);
	}
	d.data = pack.data;
	d.len = pack.len;
	assert_int_equal(store_put_delta(st, &d), 0);
	buf_fini(&hist);
	buf_fini(&pack);
}

struct place {
	char dir[64], path[128];
};

static int make_store(void **state)
{
	struct place *p = calloc(1, sizeof(*p));
	struct store *st;
	uint64_t x = 88172645463325252u;

	strcpy(p->dir, "/tmp/redtap-api-XXXXXX");
	assert_non_null(mkdtemp(p->dir));
	assert_int_equal(store_open(&st, p->dir), 0);
	snprintf(p->path, sizeof(p->path), "%s", store_path(st));
	assert_int_equal(store_begin(st), 0);
	for (uint32_t k = 0; k < KEYS; k++)
		if (k)
			assert_int_equal(store_put_window_key(st,
							      WINDOW_REQUESTS,
							      k, label[k]),
					 0);
	for (int w = 0; w < WINDOWS; w++) {
		for (uint32_t k = 0; k < KEYS; k++)
			for (size_t i = 0; i < EACH; i++)
				raw[w][k][i] = random_us(&x);
		write_window(st, w);
	}
	assert_int_equal(store_commit(st), 0);
	store_close(st);
	*state = p;
	return 0;
}

static int remove_store(void **state)
{
	struct place *p = *state;
	char command[128];
	int err;

	snprintf(command, sizeof(command), "rm -r %s", p->dir);
	err = system(command);
	free(p);
	return err;
}

static json_t *ask(const struct place *p, const char *from, const char *to,
		   const char *by, unsigned want)
{
	struct buf out = { 0 };
	json_error_t error;
	json_t *j;

	assert_int_equal(api_windows(&out, p->path, from, to, by), want);
	assert_non_null(buf_str(&out));
	j = json_loads(out.data, 0, &error);
	if (!j)
		fail_msg("%s: %s", error.text, out.data);
	buf_fini(&out);
	return j;
}

static double number(const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);

	assert_true(json_is_number(v));
	return json_number_value(v);
}

/* The true quantile of these label sets, µs. */
static double truth(int window, const unsigned *keys, size_t n, double q)
{
	uint64_t all[KEYS * EACH];

	for (size_t i = 0; i < n; i++)
		memcpy(all + i * EACH, raw[window][keys[i]], sizeof(raw[0][0]));
	qsort(all, n * EACH, sizeof(all[0]), by_value);
	return (double)all[(size_t)(q * (double)(n * EACH - 1) + 0.5)];
}

static void check_group(const json_t *g, int window, const unsigned *keys,
			size_t n)
{
	static const struct {
		const char *name;
		double q;
	} p[] = { { "p50", 0.5 }, { "p90", 0.9 }, { "p99", 0.99 } };
	uint64_t errors = 0, sum = 0;

	for (size_t i = 0; i < n; i++) {
		errors += label[keys[i]][5] ? EACH : 0;
		for (size_t k = 0; k < EACH; k++)
			sum += raw[window][keys[i]][k];
	}
	assert_true(number(g, "count") == (double)(n * EACH));
	assert_true(number(g, "errors") == (double)errors);
	assert_float_equal(number(g, "rate"), (double)(n * EACH) / 10, 1e-6);
	assert_float_equal(number(g, "error_ratio"),
			   (double)errors / (double)(n * EACH), 1e-8);
	assert_float_equal(number(g, "mean"),
			   (double)sum / 1e6 / (double)(n * EACH), 1e-6);
	for (size_t i = 0; i < 3; i++) {
		double want = truth(window, keys, n, p[i].q) / 1e6;
		double got = number(g, p[i].name);

		/* A bucket's width, and one rank. */
		if (got < want * 0.88 || got > want * 1.12)
			fail_msg("%s: %g, truth %g", p[i].name, got, want);
	}
}

static const json_t *find(const json_t *window, const char *key,
			  const char *value)
{
	json_t *groups = json_object_get(window, "groups"), *g;
	size_t i;

	json_array_foreach(groups, i, g)
	{
		const char *v = json_string_value(json_object_get(g, key));

		if (value ? v && !strcmp(v, value)
			  : !v && !json_object_get(g, "overflow"))
			return g;
	}
	fail_msg("no group with %s %s", key, value ? value : "absent");
	return NULL;
}

static void services_add_up_to_the_truth(void **state)
{
	json_t *j = ask(*state, "1700000000", "1700000030", NULL, 200);
	json_t *windows = json_object_get(j, "windows"), *w;
	size_t i;

	assert_int_equal(json_array_size(windows), WINDOWS);
	json_array_foreach(windows, i, w)
	{
		const unsigned shop[] = { 1, 2, 3 }, nginx[] = { 4 };

		assert_true(number(w, "start") == (double)(START + 10 * i));
		assert_int_equal(json_array_size(json_object_get(w, "groups")),
				 3);
		check_group(find(w, "service", "shop/cart"), (int)i, shop, 3);
		check_group(find(w, "service", "nginx"), (int)i, nginx, 1);
	}
	json_decref(j);
}

static void every_label_groups(void **state)
{
	static const struct {
		const char *by, *value;
		unsigned keys[3];
		size_t n;
	} ask_for[] = {
		{ "route", "/users/{id}", { 1, 2 }, 2 },
		{ "route", "/buy \"now\"", { 3 }, 1 },
		{ "route", NULL, { 4 }, 1 },
		{ "method", "GET", { 1, 2, 4 }, 3 },
		{ "status", "200", { 1, 3 }, 2 },
		{ "status", NULL, { 4 }, 1 },
		{ "role", "client", { 4 }, 1 },
	};

	for (size_t i = 0; i < sizeof(ask_for) / sizeof(ask_for[0]); i++) {
		json_t *j = ask(*state, "1700000010", "1700000020",
				ask_for[i].by, 200);
		json_t *windows = json_object_get(j, "windows");

		assert_int_equal(json_array_size(windows), 1);
		check_group(find(json_array_get(windows, 0), ask_for[i].by,
				 ask_for[i].value),
			    1, ask_for[i].keys, ask_for[i].n);
		json_decref(j);
	}
}

static void overflow_is_a_group_of_its_own(void **state)
{
	json_t *j = ask(*state, "1700000000", "1700000010", "", 200);
	json_t *w = json_array_get(json_object_get(j, "windows"), 0), *g;
	const unsigned all[] = { 1, 2, 3, 4 }, none[] = { 0 };
	json_t *groups = json_object_get(w, "groups");
	size_t i, overflows = 0;

	assert_int_equal(json_array_size(groups), 2);
	json_array_foreach(groups, i, g)
	{
		if (json_object_get(g, "overflow")) {
			overflows++;
			check_group(g, 0, none, 1);
		} else {
			check_group(g, 0, all, 4);
		}
	}
	assert_int_equal(overflows, 1);
	json_decref(j);
}

static void an_empty_range_is_an_empty_list(void **state)
{
	json_t *j = ask(*state, "1600000000", "1600000100", NULL, 200);

	assert_int_equal(json_array_size(json_object_get(j, "windows")), 0);
	json_decref(j);
}

static void errors_are_json_with_their_place(void **state)
{
	struct place none = { .path = "/nonexistent/redtap.db" };
	json_t *j = ask(*state, "yesterday", NULL, NULL, 400);

	assert_string_equal(json_string_value(json_object_get(j, "where")),
			    "from");
	assert_true(json_is_string(json_object_get(j, "error")));
	json_decref(j);
	j = ask(&none, NULL, NULL, NULL, 503);
	assert_true(json_is_string(json_object_get(j, "error")));
	json_decref(j);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_are_the_last_five_minutes_by_service),
		cmocka_unit_test(times_and_steps_may_be_durations),
		cmocka_unit_test(times_are_seconds_or_rfc3339),
		cmocka_unit_test(nonsense_is_refused_with_its_place),
		cmocka_unit_test(by_is_kept_in_order_without_duplicates),
		cmocka_unit_test(services_add_up_to_the_truth),
		cmocka_unit_test(every_label_groups),
		cmocka_unit_test(overflow_is_a_group_of_its_own),
		cmocka_unit_test(an_empty_range_is_an_empty_list),
		cmocka_unit_test(errors_are_json_with_their_place),
	};

	log_init(LOG_LEVEL_ERROR, LOG_FORMAT_LOGFMT);
	return cmocka_run_group_tests_name("api", tests, make_store,
					   remove_store);
}
