/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "aggregator/config/config.h"
#include "aggregator/engine/engine.h"
#include "aggregator/expose/expose.h"
#include "aggregator/snapshot/snapshot.h"
#include "aggregator/store/store.h"
#include "common/clock.h"
#include "common/log.h"
#include "tests/unit/aggregator/temp_dir.h"
#include "tests/unit/aggregator/traffic.h"

#define BATCHES 7
#define EVENTS 311

/*
 * Views of a configuration, over real stores: what a start or a rebuild makes
 * of the log must be, to the byte, what a fold of the same log from nothing
 * makes of it.
 */

static const char changed[] =
	"views:\n"
	"  - name: http_server_request_duration_seconds\n"
	"    buckets: [0.0007, 0.013, 0.75, 3]\n"
	"  - {name: http_client_request_duration_seconds, node: true}\n"
	"  - {name: redtap_http_request_errors, drop: true}\n"
	"  - name: by_service_bytes\n"
	"    help: Large and small.\n"
	"    measure: response_bytes\n"
	"    kind: histogram\n"
	"    labels: [service, http_route, url_scheme]\n"
	"    buckets: [0, 1000, 100000]\n"
	"    max_series: 5\n"
	"    filter: {role: [server], service: ['svc-[02]', none], "
	"status: ['[2-5]*']}\n"
	"  - name: failed_requests\n"
	"    measure: requests\n"
	"    labels: [job, error_type]\n"
	"    max_values: [{label: error_type, max: 3}]\n"
	"    filter: {errors_only: true}\n";

struct fixture {
	char dir[3][TEMP_DIR_LEN];
	char path[64]; /* of the configuration */
	struct aggregator_config *config;
	struct view_set *set;
	struct truth truth;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int fd;

	assert_non_null(f);
	for (size_t i = 0; i < 3; i++) {
		temp_dir_make(f->dir[i], "views");
	}
	strcpy(f->path, "/tmp/redtap-views-XXXXXX");
	fd = mkstemp(f->path);
	assert_true(fd >= 0);
	close(fd);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < 3; i++)
		temp_dir_remove(f->dir[i]);
	unlink(f->path);
	aggregator_config_free(f->config);
	view_set_free(f->set);
	free(f->truth.event);
	free(f);
	return 0;
}

static int load(struct fixture *f, const char *text)
{
	struct cli_settings flags = { .cli.config_file = f->path };
	FILE *out = fopen(f->path, "w");

	assert_non_null(out);
	fputs(text, out);
	fclose(out);
	aggregator_config_free(f->config);
	f->config = NULL;
	return aggregator_config_load(&f->config, &flags);
}

static const struct views *views_of(struct fixture *f, const char *text)
{
	char why[256];

	assert_int_equal(load(f, text), 0);
	view_set_free(f->set);
	f->set = NULL;
	assert_int_equal(view_set_new(&f->set,
				      (enum view_compat)f->config->compat,
				      f->config->views, f->config->n_views, why,
				      sizeof(why)),
			 0);
	return view_set_views(f->set);
}

/* The same batches into each store's log, as an engine would put them. */
static void fill(struct fixture *f, const char *dir)
{
	struct traffic t = { .seed = 77, .services = 4, .routes = 5 };
	int64_t now_us = clock_real_us() / 60000000 * 60000000;
	struct store *st = NULL;
	uint64_t captured = 0;

	f->truth.n = 0;
	assert_int_equal(store_open(&st, dir), 0);
	assert_int_equal(store_begin(st), 0);
	for (uint64_t i = 1; i <= BATCHES; i++) {
		struct store_log row = { .id = i,
					 .received_us = now_us,
					 .requests = EVENTS };
		void *data;

		traffic_batch(&t, "node-a", 1, i, now_us, EVENTS, &f->truth,
			      &captured, &data, &row.len);
		row.data = data;
		assert_true(store_put_log(st, &row) >= 0);
		free(data);
	}
	assert_int_equal(store_commit(st), 0);
	store_close(st);
}

/* Opens the store with these views, saves, and renders only what they show. */
static char *shown(const char *dir, const struct views *views, bool all)
{
	struct engine_options o = { .store_dir = dir,
				    .views = views,
				    .fold_all = all };
	static const struct metrics_self self;
	const struct snapshot *taken;
	struct engine *e = NULL;
	struct buf out = { 0 };
	struct snapshot s;
	char *text;
	size_t len;

	assert_int_equal(engine_new(&e, &o), 0);
	assert_int_equal(engine_save(e), 0);
	taken = snapshot_take(engine_snapshots(e));
	assert_non_null(taken);
	s = *taken;
	memset(&s.engine, 0, sizeof(s.engine));
	assert_int_equal(expose_render(&out, EXPOSE_TEXT, &s, &self), 0);
	snapshot_rele(taken);
	engine_free(e);
	assert_int_equal(buf_putc(&out, 0), 0);
	text = buf_take(&out, &len);
	assert_non_null(text);
	return text;
}

/* The view's families only: demand since a start is known to it alone. */
static void cut_own_metrics(char *text)
{
	char *own = strstr(text, "# HELP redtap_aggregator_view_series_demand");

	assert_non_null(own);
	*own = 0;
}

static void a_changed_view_equals_a_fresh_fold(void **state)
{
	struct fixture *f = *state;
	const struct views *views = views_of(f, changed);
	char *before, *after, *fresh;

	fill(f, f->dir[0]);
	before = shown(f->dir[0], views_default(), false);
	after = shown(f->dir[0], views, false);
	fill(f, f->dir[1]);
	fresh = shown(f->dir[1], views, false);
	cut_own_metrics(after);
	cut_own_metrics(fresh);
	assert_string_equal(after, fresh);
	assert_non_null(strstr(after, "by_service_bytes_bucket{service="));
	assert_non_null(strstr(after, "failed_requests_total{"));
	assert_non_null(strstr(after, "le=\"0.0007\""));
	assert_null(strstr(after, "redtap_http_request_errors_total{"));
	free(after);
	/* And back: views that were dropped are there again. */
	after = shown(f->dir[0], views_default(), false);
	cut_own_metrics(before);
	cut_own_metrics(after);
	assert_string_equal(after, before);
	free(before);
	free(after);
	free(fresh);
}

static void a_rebuild_of_all_equals_a_fresh_fold(void **state)
{
	struct fixture *f = *state;
	const struct views *views = views_of(f, changed);
	char *first, *again;

	fill(f, f->dir[0]);
	first = shown(f->dir[0], views, false);
	again = shown(f->dir[0], views, true);
	cut_own_metrics(first);
	cut_own_metrics(again);
	assert_string_equal(first, again);
	free(first);
	free(again);
}

/*
 * The log is gone, so a view that were folded again would be empty: bounds that
 * another view gains must not do that.
 */
static void other_views_keep_what_the_log_no_longer_has(void **state)
{
	struct fixture *f = *state;
	const struct views *views =
		views_of(f, "views:\n"
			    "- {name: extra_seconds, measure: duration,\n"
			    "   buckets: [0.0031, 0.017, 0.33, 7.7]}\n");
	char *before, *after, *at;
	struct store *st = NULL;
	struct store_expired gone;

	fill(f, f->dir[0]);
	before = shown(f->dir[0], views_default(), false);
	assert_int_equal(store_open(&st, f->dir[0]), 0);
	assert_int_equal(store_begin(st), 0);
	assert_true(store_expire_log(st, INT64_MAX, UINT32_MAX, 100, &gone) >
		    0);
	assert_int_equal(gone.batches, BATCHES);
	assert_int_equal(store_commit(st), 0);
	store_close(st);
	/* The default views come first, in the same order. */
	at = strstr(before, "# HELP target_info");
	assert_non_null(at);
	*at = 0;
	for (int turn = 0; turn < 2; turn++) {
		after = shown(f->dir[0], views, false);
		assert_null(strstr(after, "extra_seconds_count"));
		assert_memory_equal(after, before, strlen(before));
		free(after);
	}
	after = shown(f->dir[0], views_default(), false);
	assert_memory_equal(after, before, strlen(before));
	free(after);
	free(before);
}

static uint64_t number_after(const char *text, const char *what)
{
	const char *at = strstr(text, what);

	assert_non_null(at);
	return strtoull(at + strlen(what), NULL, 10);
}

static void filters_count_what_they_say(void **state)
{
	struct fixture *f = *state;
	const struct views *views = views_of(
		f, "views:\n"
		   "- {name: some_requests, labels: [role], filter: {role: "
		   "[server],\n"
		   "   service: ['svc-[02]'], status: ['2*', ''], route: "
		   "['/r/[0-3]']}}\n");
	uint64_t want = 0;
	char *text;

	fill(f, f->dir[0]);
	text = shown(f->dir[0], views, false);
	for (size_t i = 0; i < f->truth.n; i++) {
		const struct truth_event *e = &f->truth.event[i];

		want += e->role == 1 &&
			(!strcmp(e->service, "svc-0") ||
			 !strcmp(e->service, "svc-2")) &&
			(e->status == 0 || e->status / 100 == 2) &&
			e->route[3] <= '3';
	}
	assert_true(want > 10);
	assert_int_equal(
		number_after(text, "some_requests_total{role=\"server\"} "),
		want);
	free(text);
}

static uint64_t count_in(struct fixture *f, const struct views *views,
			 const char *name)
{
	char *text = shown(f->dir[0], views, true), *at = text;
	size_t n = strlen(name);
	uint64_t sum = 0;

	for (; at; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL)
		if (!strncmp(at, name, n) && at[n] == '{')
			sum += strtoull(strstr(at, "} ") + 2, NULL, 10);
	free(text);
	return sum;
}

/* Plain requests and calls, apart or together, as a configuration wants. */
static void calls_count_where_they_are_wanted(void **state)
{
	struct fixture *f = *state;
	uint64_t calls = 0, plain = 0;
	const struct views *v;

	fill(f, f->dir[0]);
	for (size_t i = 0; i < f->truth.n; i++) {
		if (f->truth.event[i].role != 1)
			continue;
		calls += f->truth.event[i].rpc != 0;
		plain += f->truth.event[i].rpc == 0;
	}
	v = views_of(f, "{}");
	assert_int_equal(
		count_in(f, v, "http_server_request_duration_seconds_count"),
		plain);
	assert_int_equal(
		count_in(f, v, "rpc_server_call_duration_seconds_count"),
		calls);
	assert_int_equal(count_in(f, v, "rpc_server_duration_seconds_count"),
			 0);
	v = views_of(f, "compat: beyla\nviews:\n"
			"  - name: http_server_request_duration_seconds\n"
			"    filter: {calls: any}\n"
			"  - name: mine\n"
			"    filter: {calls: only, role: [server]}\n");
	assert_int_equal(
		count_in(f, v, "http_server_request_duration_seconds_count"),
		plain + calls);
	assert_int_equal(count_in(f, v, "mine_total"), calls);
	assert_int_equal(count_in(f, v, "rpc_server_duration_seconds_count"),
			 calls);
}

static void what_makes_no_sense_is_refused(void **state)
{
	static const char *const wrong[] = {
		"views: [{labels: [job]}]", /* no name */
		"views: [{name: a, lables: [job]}]",
		"views: [{name: a, labels: [jobs]}]",
		"views: [{name: a, measure: size}]",
		"views: [{name: a, kind: summary}]",
		"views: [{name: 1a}]",
		"views: [{name: a-b}]",
		"views: [{name: a_total}]",
		"views: [{name: a}, {name: a}]",
		"views: [{name: a, drop: true}]",
		"views: [{name: a, kind: histogram}]",
		"views: [{name: a, measure: duration}]", /* not _seconds */
		"views: [{name: a_seconds, measure: response_bytes}]",
		"views: [{name: a, buckets: [1, 2]}]", /* a counter */
		"views: [{name: a_seconds, measure: duration, buckets: [2, "
		"1]}]",
		"views: [{name: a_seconds, measure: duration, buckets: [-1]}]",
		"views: [{name: a_seconds, measure: duration, buckets: [x]}]",
		"views: [{name: a, labels: [job, job]}]",
		"views: [{name: a, max_values: [{label: node, max: 1}]}]",
		"views: [{name: a, max_values: [{label: job, max: 0}]}]",
		"views: [{name: a, max_series: 99999999}]",
		"views: [{name: a, filter: {role: [proxy]}}]",
		"views: [{name: a, filter: {host: [x]}}]",
		"views: [{name: a, filter: {calls: some}}]",
		"compat: pixie",
		"views: [{name: redtap_agent_up}]",
		"views: [{name: target}]", /* target_info */
		"log: {level: loud}",
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		if (load(f, wrong[i]) != -EINVAL)
			fail_msg("taken: %s", wrong[i]);
}

static void labels_have_the_names_that_are_exposed(void **state)
{
	struct fixture *f = *state;

	for (int k = 0; k < LABEL_KEYS; k++) {
		char text[128];

		bool edges = k >= LABEL_EVENT_KEYS;

		snprintf(text, sizeof(text),
			 "views: [{name: a, measure: %s, labels: [%s]}]",
			 edges ? "edge_requests" : "requests",
			 label_key_name((enum view_key)k));
		assert_int_equal(
			views_of(f, text)->view[edges ? 13 : 8].labels[0], k);
	}
}

static void a_reload_tells_what_needs_a_restart(void **state)
{
	struct fixture *f = *state;
	struct aggregator_config *now;
	char what[256];

	assert_int_equal(load(f, changed), 0);
	now = f->config;
	f->config = NULL;
	assert_int_equal(load(f, changed), 0);
	aggregator_config_needs_restart(now, f->config, what, sizeof(what));
	assert_string_equal(what, "");
	assert_int_equal(load(f, "store: {dir: /x}\nlog: {level: debug}\n"
				 "retention: {raw_age_s: 5}\n"
				 "series: {idle_s: 7}\n"
				 "ingest: {max_agents: 3}\n"),
			 0);
	aggregator_config_needs_restart(now, f->config, what, sizeof(what));
	assert_string_equal(what, "store.dir, ingest, views");
	assert_int_equal(f->config->log.level, LOG_LEVEL_DEBUG + 1);
	assert_int_equal(f->config->series.idle_s, 7);
	aggregator_config_free(now);
}

static void idle_series_are_hidden_and_keep_their_value(void **state)
{
	struct fixture *f = *state;
	struct engine_options o = { .store_dir = f->dir[0],
				    .series_idle_s = 1 };
	const struct snapshot *s;
	struct engine *e = NULL;
	size_t series = 0;
	uint64_t idle = 0;

	fill(f, f->dir[0]); /* received up to a minute ago */
	sleep(2);
	assert_int_equal(engine_new(&e, &o), 0);
	s = snapshot_take(engine_snapshots(e));
	for (size_t i = 0; i < s->n_views; i++) {
		assert_int_equal(s->views[i].n, 0);
		idle += s->views[i].idle;
	}
	snapshot_rele(s);
	o.series_idle_s = 3600;
	engine_set_limits(e, &o);
	s = snapshot_take(engine_snapshots(e));
	for (size_t i = 0; i < s->n_views; i++) {
		assert_int_equal(s->views[i].idle, 0);
		for (size_t k = 0; k < s->views[i].n; k++)
			assert_true(s->views[i].series[k].count > 0);
		series += s->views[i].n;
	}
	assert_int_equal(series, idle);
	assert_true(series > 50);
	snapshot_rele(s);
	engine_free(e);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_changed_view_equals_a_fresh_fold),
		TEST(a_rebuild_of_all_equals_a_fresh_fold),
		TEST(other_views_keep_what_the_log_no_longer_has),
		TEST(filters_count_what_they_say),
		TEST(calls_count_where_they_are_wanted),
		TEST(what_makes_no_sense_is_refused),
		TEST(labels_have_the_names_that_are_exposed),
		TEST(a_reload_tells_what_needs_a_restart),
		TEST(idle_series_are_hidden_and_keep_their_value),
	};

	log_init(LOG_LEVEL_ERROR, LOG_FORMAT_LOGFMT);
	return cmocka_run_group_tests_name("views", tests, NULL, NULL);
}
