/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "probe-agent/identity/route.h"
#include "proto/limits.h"

struct example {
	const char *target, *route;
};

static const struct example examples[] = {
	/* words stay as they are */
	{ "/", "/" },
	{ "/users", "/users" },
	{ "/users/", "/users/" },
	{ "/API/v1/Users", "/API/v1/Users" },
	{ "/oauth2/token", "/oauth2/token" },
	{ "/v1beta1/iso8601/utf-16/sha256", "/v1beta1/iso8601/utf-16/sha256" },
	{ "/getUserAccountInformation", "/getUserAccountInformation" },
	{ "/facade/decade/added", "/facade/decade/added" },
	{ "/api/v1.2.3/x", "/api/v1.2.3/x" },
	{ "/@scope/package", "/@scope/package" },
	{ "/a_b-c~d", "/a_b-c~d" },
	{ "/.well-known/acme", "/.well-known/acme" },
	/* numbers */
	{ "/users/42", "/users/{id}" },
	{ "/users/42/", "/users/{id}/" },
	{ "/users/-7/posts/0", "/users/{id}/posts/{id}" },
	{ "/at/1.5,-2", "/at/{id}" },
	{ "/hosts/10.0.0.1", "/hosts/{id}" },
	{ "/order-12345", "/{id}" },
	{ "/order_1234", "/{id}" },
	/* ids */
	{ "/u/9b2e5c1a-7d4f-4b6a-8c3d-1e2f3a4b5c6d", "/u/{uuid}" },
	{ "/u/9B2E5C1A-7D4F-4B6A-8C3D-1E2F3A4B5C6D/x", "/u/{uuid}/x" },
	{ "/o/507f1f77bcf86cd799439011", "/o/{id}" },
	{ "/c/3f2a9c1", "/c/{id}" },
	{ "/c/0xDEADBEEF", "/c/{id}" },
	{ "/n/V1StGXR8_Z5jdHi6B-myT", "/n/{id}" },
	{ "/ulid/01ARZ3NDEKTSV4RRFFQ69G5FAV", "/ulid/{id}" },
	{ "/b/QWxhZGRpbjpvcGVu=", "/b/{id}" },
	{ "/t/eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.SflKxwRJSMeKKF2QT4",
	  "/t/{id}" },
	/* dates */
	{ "/d/2024-05-06", "/d/{date}" },
	{ "/d/2024-05", "/d/{date}" },
	{ "/d/2024-05-06T07:08:09Z", "/d/{date}" },
	{ "/d/2024-05-06T07:08:09.123+02:00/x", "/d/{date}/x" },
	/* people */
	{ "/m/a.b@c.example", "/m/{email}" },
	{ "/m/a%40b.example", "/m/{email}" },
	/* files */
	{ "/static/app.3f2a9c.js", "/static/app.{id}.js" },
	{ "/static/index-BdK3f9aQ.css", "/static/index-{id}.css" },
	{ "/jquery-3.6.0.min.js", "/jquery-3.6.0.min.js" },
	{ "/img/42.png", "/img/{id}.png" },
	{ "/r/2024-05-06.csv", "/r/{date}.csv" },
	{ "/r/9b2e5c1a-7d4f-4b6a-8c3d-1e2f3a4b5c6d.pdf", "/r/{uuid}.pdf" },
	{ "/index.html", "/index.html" },
	{ "/song.mp3", "/song.mp3" },
	/* queries, fragments, parameters */
	{ "/a?b=/c/42", "/a" },
	{ "/a#b", "/a" },
	{ "/?", "/" },
	{ "/a;jsessionid=42/b;v=1", "/a/b" },
	/* forms */
	{ "*", "*" },
	{ "http://h:80/a/42?x", "/a/{id}" },
	{ "http://h", "/" },
	{ "http://h?x=/y", "/" },
	{ "a.example:443", "" },
	{ "", "" },
	/* normal form */
	{ "//a///b", "/a/b" },
	{ "/a/./b/../c", "/a/c" },
	{ "/../../etc/passwd", "/etc/passwd" },
	{ "/%2e%2E/a", "/a" },
	{ "/%61%62c", "/abc" },
	/* what no route should hold */
	{ "/caf%C3%A9", "/{text}" },
	{ "/caf\xc3\xa9/x", "/{text}/x" },
	{ "/\xff\xfe/x", "/{text}/x" },
	{ "/a%2Fb", "/{text}" },
	{ "/a%00b", "/{text}" },
	{ "/a b", "/{text}" },
	{ "/a\x01", "/{text}" },
	{ "/<script>", "/{text}" },
	{ "/100%", "/{text}" },
	{ "/%zz", "/{text}" },
	{ "/{id}", "/{text}" },
};

static struct route_table *table(const char *const *patterns, size_t n,
				 uint32_t cap)
{
	struct route_options opt = { patterns, n, cap };
	struct route_table *t;

	assert_int_equal(route_new(&t, &opt), 0);
	return t;
}

static const char *route(struct route_table *t, const char *service,
			 const char *target)
{
	return route_template(t, service, target, strlen(target));
}

static void replaces_what_looks_like_data(void **state)
{
	struct route_table *t = table(NULL, 0, 1000);

	(void)state;
	/* The second time from the cache. */
	for (size_t turn = 0; turn < 2; turn++)
		for (size_t i = 0; i < sizeof(examples) / sizeof(*examples);
		     i++)
			assert_string_equal(route(t, "s", examples[i].target),
					    examples[i].route);
	route_free(t);
}

static void a_template_is_its_own_route(void **state)
{
	/* But for its braces, which a raw path may not bring along. */
	struct route_table *t = table(NULL, 0, 1000);

	(void)state;
	for (size_t i = 0; i < sizeof(examples) / sizeof(*examples); i++)
		if (!strchr(examples[i].route, '{') && *examples[i].route)
			assert_string_equal(route(t, "s", examples[i].route),
					    examples[i].route);
	route_free(t);
}

static void takes_the_first_pattern_that_matches(void **state)
{
	static const char *const patterns[] = {
		"/users/me", "/users/{name}", "/users/{name}/posts/*",
		"/files/*",  "/*/raw",	      "/",
	};
	static const struct example want[] = {
		{ "/users/me", "/users/me" },
		{ "/users/bob", "/users/{name}" },
		{ "/users/bob/", "/users/{name}" },
		{ "/users/42?x", "/users/{name}" },
		{ "/users/bob/posts", "/users/bob/posts" },
		{ "/users/bob/posts/1", "/users/{name}/posts/*" },
		{ "/users/bob/posts/1/2/3", "/users/{name}/posts/*" },
		{ "/files", "/files" },
		{ "/files/a", "/files/*" },
		{ "/files/raw", "/files/*" },
		{ "/x/raw", "/*/raw" },
		{ "/x/y/raw", "/x/y/raw" },
		{ "/Users/bob", "/Users/bob" },
		{ "/%75sers/bob", "/users/{name}" },
		{ "/users/caf%C3%A9", "/users/{name}" },
		{ "/", "/" },
	};
	struct route_table *t = table(patterns, 6, 0);

	(void)state;
	for (size_t i = 0; i < sizeof(want) / sizeof(*want); i++)
		assert_string_equal(route(t, "s", want[i].target),
				    want[i].route);
	route_free(t);
}

static void refuses_patterns_that_could_not_be_routes(void **state)
{
	static const char *const bad[] = { "users", "", "/a b", "/caf\xc3\xa9",
					   "/a\n" };
	struct route_table *t;
	char longer[LIMIT_STRING_BYTES + 2];
	const char *one = longer;
	struct route_options opt = { &one, 1, 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		one = bad[i];
		assert_int_equal(route_new(&t, &opt), -EINVAL);
	}
	memset(longer, 'a', sizeof(longer));
	longer[0] = '/';
	longer[LIMIT_STRING_BYTES + 1] = '\0';
	one = longer;
	assert_int_equal(route_new(&t, &opt), -EINVAL);
	longer[LIMIT_STRING_BYTES] = '\0';
	assert_int_equal(route_new(&t, &opt), 0);
	route_free(t);
}

static void caps_the_routes_of_each_service(void **state)
{
	struct route_table *t = table(NULL, 0, 7);
	struct route_stats stats;
	char target[32];

	(void)state;
	for (unsigned turn = 0; turn < 3; turn++) {
		for (unsigned i = 0; i < 11; i++) {
			snprintf(target, sizeof(target), "/word%c", 'a' + i);
			assert_string_equal(route(t, "s", target),
					    i < 7 ? target : "/{overflow}");
		}
	}
	/* Another service has a cap of its own. */
	assert_string_equal(route(t, "other", "/wordz"), "/wordz");
	route_stats(t, &stats);
	assert_int_equal(stats.overflowed, 3 * 4);
	assert_int_equal(stats.routes, 8);
	route_free(t);
}

static void keeps_within_the_limits_of_the_wire(void **state)
{
	struct route_table *t = table(NULL, 0, 100000);
	size_t n;
	char target[9000];

	(void)state;
	srand(7);
	for (size_t turn = 0; turn < 20000; turn++) {
		n = (size_t)rand() % (turn % 16 ? 200 : sizeof(target));
		for (size_t i = 0; i < n; i++)
			target[i] = rand() % 7 == 0 ? '/'
				    : turn % 2	    ? (char)rand()
						    : (char)('a' + rand() % 26);
		target[0] = '/';
		const char *r = route_template(t, "s", target, n);

		assert_true(strlen(r) <= LIMIT_STRING_BYTES);
		assert_true(n == 0 || r[0] == '/');
		for (size_t i = 0; r[i]; i++)
			assert_true(r[i] > ' ' && r[i] < 0x7f);
	}
	/* 8 KiB in one segment, in many, and cut. */
	memset(target, 'a', sizeof(target));
	target[0] = '/';
	assert_string_equal(route_template(t, "s", target, 300), "/{id}");
	assert_string_equal(route_template(t, "s", target, 8192), "/{more}");
	target[5] = '?';
	assert_string_equal(route_template(t, "s", target, 8192), "/aaaa");
	target[5] = 'a';
	for (size_t i = 0; i < sizeof(target); i += 2)
		target[i] = '/';
	assert_string_equal(
		route_template(t, "s", target, 8192),
		"/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/"
		"a/{more}");
	route_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(replaces_what_looks_like_data),
		cmocka_unit_test(a_template_is_its_own_route),
		cmocka_unit_test(takes_the_first_pattern_that_matches),
		cmocka_unit_test(refuses_patterns_that_could_not_be_routes),
		cmocka_unit_test(caps_the_routes_of_each_service),
		cmocka_unit_test(keeps_within_the_limits_of_the_wire),
	};

	return cmocka_run_group_tests_name("route", tests, NULL, NULL);
}
