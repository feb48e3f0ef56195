/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "probe-agent/synth/traffic.h"
#include "proto/batch.h"

#define SERVICES 13
#define ROUTES 9
#define METHODS 4

/* 17 times as many do not fit in a batch. */
static const unsigned multiples[] = { 2, 5, 16, 17 };

static const struct traffic_options options = {
	.seed = 42,
	.services = SERVICES,
	.routes = ROUTES,
	.events = 503,
	.multiples = multiples,
	.n_multiples = 4,
	.rest = 97,
	.gap_us = 100,
};

/* One event, with how often its template was counted. */
struct seen {
	unsigned service, route, method, status;
	uint64_t duration_us, request_bytes, response_bytes, times;
};

static unsigned number(const char *s, const char *prefix)
{
	assert_memory_equal(s, prefix, strlen(prefix));
	return (unsigned)atoi(s + strlen(prefix));
}

static unsigned method_of(const char *s)
{
	static const char *const names[] = { "GET", "POST", "PUT", "DELETE" };

	for (unsigned i = 0; i < METHODS; i++)
		if (strcmp(s, names[i]) == 0)
			return i;
	fail_msg("method %s", s);
	return 0;
}

/* A head in front of the body makes a batch: as a fleet does it. */
static size_t decode(const struct traffic_template *t, uint64_t times,
		     struct seen *out)
{
	struct batch head = { .agent = "a",
			      .epoch = 1,
			      .sequence = 1,
			      .base_us = 1700000000000000 };
	const char *reason = "";
	struct batch_arena *arena;
	struct batch b;
	uint8_t *whole;
	void *data;
	size_t len;

	assert_int_equal(batch_encode(&head, &data, &len), 0);
	whole = malloc(len + t->len);
	memcpy(whole, data, len);
	memcpy(whole + len, t->body, t->len);
	assert_int_equal(batch_arena_new(&arena), 0);
	if (batch_decode(arena, whole, len + t->len, &b, &reason) != 0)
		fail_msg("%s", reason);
	assert_int_equal(b.events.n, t->events);
	for (size_t i = 0; i < b.events.n; i++) {
		uint32_t s = b.events.series[i];
		uint32_t r = b.series.resource[s];

		out[i] = (struct seen){
			.service =
				number(b.strings[b.resources.service[r]].data,
				       "service-"),
			.route = number(b.strings[b.series.route[s]].data,
					"/route-"),
			.method = method_of(b.strings[b.series.method[s]].data),
			.status = b.series.status[s],
			.duration_us = b.events.duration_us[i],
			.request_bytes = b.events.request_bytes[i],
			.response_bytes = b.events.response_bytes[i],
			.times = times,
		};
	}
	batch_arena_free(arena);
	free(whole);
	free(data);
	return t->events;
}

struct line {
	unsigned service, route, status, outcome, method;
	uint64_t count, duration, request, response, p50, p90, p99, max;
};

static bool parse(const char *s, struct line *l)
{
	char method[16];

	if (sscanf(s,
		   "{\"service\":\"service-%u\",\"route\":\"/route-%u/{id}\","
		   "\"method\":\"%15[A-Z]\",\"status\":%u,\"outcome\":%u,"
		   "\"count\":%" SCNu64 ",\"duration_us_sum\":%" SCNu64
		   ",\"request_bytes_sum\":%" SCNu64
		   ",\"response_bytes_sum\":%" SCNu64 ",\"p50_us\":%" SCNu64
		   ",\"p90_us\":%" SCNu64 ",\"p99_us\":%" SCNu64
		   ",\"max_us\":%" SCNu64,
		   &l->service, &l->route, method, &l->status, &l->outcome,
		   &l->count, &l->duration, &l->request, &l->response, &l->p50,
		   &l->p90, &l->p99, &l->max) != 13)
		return false;
	l->method = method_of(method);
	return true;
}

/* Share of the events that are below v, and at or below v, in 1/1000. */
static void assert_quantile(const struct seen *s, size_t n,
			    const struct line *l, unsigned per_mille,
			    uint64_t v)
{
	uint64_t below = 0, at_most = 0;

	for (size_t i = 0; i < n; i++) {
		if (s[i].service != l->service || s[i].route != l->route ||
		    s[i].method != l->method || s[i].status != l->status)
			continue;
		below += s[i].duration_us < v ? s[i].times : 0;
		at_most += s[i].duration_us <= v ? s[i].times : 0;
	}
	assert_true(below * 1000 < per_mille * l->count);
	assert_true(at_most * 1000 >= per_mille * l->count);
}

static void assert_line(const struct seen *s, size_t n, const struct line *l)
{
	uint64_t count = 0, duration = 0, request = 0, response = 0;

	for (size_t i = 0; i < n; i++) {
		if (s[i].service != l->service || s[i].route != l->route ||
		    s[i].method != l->method || s[i].status != l->status)
			continue;
		count += s[i].times;
		duration += s[i].times * s[i].duration_us;
		request += s[i].times * s[i].request_bytes;
		response += s[i].times * s[i].response_bytes;
	}
	assert_int_equal(l->outcome, l->status == 0);
	assert_int_equal(l->count, count);
	assert_int_equal(l->duration, duration);
	assert_int_equal(l->request, request);
	assert_int_equal(l->response, response);
	assert_quantile(s, n, l, 500, l->p50);
	assert_quantile(s, n, l, 900, l->p90);
	assert_quantile(s, n, l, 990, l->p99);
	assert_quantile(s, n, l, 1000, l->max);
}

static uint64_t events_of(const struct traffic *t, unsigned i)
{
	unsigned kind = i / traffic_plain(t);

	if (i == traffic_templates(t))
		return 97;
	return kind == 0 ? 503 : 503 * multiples[kind - 1];
}

static void the_truth_is_what_the_templates_hold(void **state)
{
	struct traffic_template tt;
	uint64_t total = 0, told = 0;
	struct traffic *t;
	struct seen *seen;
	uint64_t times[128];
	char *text, *at;
	size_t n = 0, size;
	struct line l;
	FILE *f;

	(void)state;
	assert_int_equal(traffic_new(&t, &options), 0);
	assert_int_equal(traffic_multiples(t), 3);
	assert_int_equal(traffic_templates(t), 4 * traffic_plain(t));
	assert_true(traffic_templates(t) < 128);
	seen = calloc(traffic_plain(t) * 24 * 503 + 97, sizeof(*seen));
	for (unsigned i = 0; i <= traffic_templates(t); i++) {
		times[i] = i * i % 7; /* some never */
		traffic_template(t, i, &tt);
		assert_int_equal(tt.events, events_of(t, i));
		n += decode(&tt, times[i], seen + n);
		total += times[i] * tt.events;
	}
	f = open_memstream(&text, &size);
	assert_int_equal(traffic_truth(t, times, f), 0);
	fclose(f);
	for (at = strchr(text, '{'); at != NULL; at = strstr(at + 1, "\n{")) {
		if (*at == '\n')
			at++;
		assert_true(parse(at, &l));
		assert_line(seen, n, &l);
		told += l.count;
	}
	assert_true(total > 0);
	assert_int_equal(told, total);
	free(text);
	free(seen);
	traffic_free(t);
}

static void a_seed_always_gives_the_same_bytes(void **state)
{
	struct traffic_options other = options;
	struct traffic_template x, y, z;
	struct traffic *a, *b, *c;

	(void)state;
	other.seed = 43;
	assert_int_equal(traffic_new(&a, &options), 0);
	assert_int_equal(traffic_new(&b, &options), 0);
	assert_int_equal(traffic_new(&c, &other), 0);
	for (unsigned i = 0; i <= traffic_templates(a); i++) {
		traffic_template(a, i, &x);
		traffic_template(b, i, &y);
		traffic_template(c, i, &z);
		assert_int_equal(x.len, y.len);
		assert_memory_equal(x.body, y.body, x.len);
		assert_true(x.len != z.len || memcmp(x.body, z.body, x.len));
	}
	traffic_free(a);
	traffic_free(b);
	traffic_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_truth_is_what_the_templates_hold),
		cmocka_unit_test(a_seed_always_gives_the_same_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
