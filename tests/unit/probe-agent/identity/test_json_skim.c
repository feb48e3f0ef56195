/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/identity/json_skim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct seen {
	char text[4096]; /* "a/b=value;" of all strings */
	size_t stop_after;
	size_t n;
};

static bool on_string(void *arg, const struct json_place *p, const char *value)
{
	struct seen *s = arg;
	size_t at = strlen(s->text);

	for (unsigned i = 0; i < p->depth; i++)
		at += (size_t)snprintf(s->text + at, sizeof(s->text) - at,
				       "%s%s", i ? "/" : "", p->key[i]);
	snprintf(s->text + at, sizeof(s->text) - at, "=%s;", value);
	return ++s->n != s->stop_after;
}

static int skim(const char *text, struct seen *s)
{
	s->text[0] = '\0';
	s->n = 0;
	return json_skim(text, strlen(text), on_string, s);
}

static void hands_on_strings_with_their_places(void **state)
{
	struct seen s = { .stop_after = 0 };

	(void)state;
	assert_int_equal(skim("{\"Name\":\"/web\",\"n\":-1.5e3,\"t\":true,"
			      "\"Config\":{\"Image\":\"nginx:1\", \"Labels\" : "
			      "{\"a.b/c\":\"d\"},\"Env\":[\"X=1\",\"Y=2\"],"
			      "\"z\":null,\"e\":{},\"f\":[ ]},\"last\":\"l\"}",
			      &s),
			 0);
	assert_string_equal(s.text, "Name=/web;Config/Image=nginx:1;"
				    "Config/Labels/a.b/c=d;Config/Env/=X=1;"
				    "Config/Env/=Y=2;last=l;");
	assert_int_equal(skim("\"alone\"", &s), 0);
	assert_string_equal(s.text, "=alone;");
}

static void unescapes(void **state)
{
	struct seen s = { .stop_after = 0 };

	(void)state;
	assert_int_equal(skim("{\"a\\\"\\u0062\":\"\\\\ \\/ \\n\\t \\u00e9 "
			      "\\u20ac \\ud83d\\ude00\"}",
			      &s),
			 0);
	assert_string_equal(s.text, "a\"b=\\ / \n\t \xc3\xa9 \xe2\x82\xac ??;");
}

static void stops_when_told(void **state)
{
	struct seen s = { .stop_after = 2 };

	(void)state;
	assert_int_equal(skim("[\"a\",[\"b\",\"c\"],\"d\"", &s), 0);
	assert_string_equal(s.text, "=a;/=b;");
}

static void refuses_what_is_no_json(void **state)
{
	static const char *const bad[] = {
		"",
		"{",
		"[",
		"{\"a\"}",
		"{\"a\":}",
		"{a:1}",
		"[1,]",
		"[1 2]",
		"\"open",
		"\"\\x\"",
		"\"\\u12\"",
		"\"\\u0000\"",
		"\"\\ug000\"",
		"{\"a\":\"b\"]",
		"]",
		",",
	};
	struct seen s = { .stop_after = 0 };
	char deep[200];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		if (skim(bad[i], &s) != -EPROTO)
			fail_msg("%s is taken", bad[i]);
	memset(deep, '[', sizeof(deep) - 1);
	deep[sizeof(deep) - 1] = '\0';
	assert_int_equal(skim(deep, &s), -EPROTO);
}

/* What is too deep or too long is passed over, and does not end the walk. */
static void passes_over_what_is_beyond_its_limits(void **state)
{
	static char text[JSON_SKIM_VALUE + 1000];
	struct seen s = { .stop_after = 0 };
	size_t at;

	(void)state;
	assert_int_equal(skim("{\"a\":{\"b\":{\"c\":{\"d\":\"4\",\"e\":{\"f\":"
			      "\"5\"}}}},\"z\":\"1\"}",
			      &s),
			 0);
	assert_string_equal(s.text, "a/b/c/d=4;z=1;");
	at = (size_t)sprintf(text, "{\"long\":\"");
	memset(text + at, 'x', JSON_SKIM_VALUE);
	strcpy(text + at + JSON_SKIM_VALUE, "\",\"z\":\"1\"}");
	assert_int_equal(skim(text, &s), 0);
	assert_string_equal(s.text, "z=1;");
	/* A key that is cut is not the key that it begins with. */
	at = (size_t)sprintf(text, "{\"");
	memset(text + at, 'k', 500);
	strcpy(text + at + 500, "\":\"v\"}");
	assert_int_equal(skim(text, &s), 0);
	assert_int_equal(strlen(s.text), JSON_SKIM_KEY - 1 + 3);
}

static void reads_no_byte_too_many(void **state)
{
	static const char text[] = "{\"a\\u0062\":[\"\\n\\u20ac\",1.5,{}],"
				   "\"c\":{\"d\":\"e\"},\"f\":null}";
	long page = sysconf(_SC_PAGESIZE);
	char *at = mmap(NULL, (size_t)page * 2, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct seen s = { .stop_after = 0 };

	(void)state;
	assert_ptr_not_equal(at, MAP_FAILED);
	assert_int_equal(mprotect(at + page, (size_t)page, PROT_NONE), 0);
	for (size_t n = 0; n < sizeof(text); n++) {
		s.text[0] = '\0';
		memcpy(at + page - n, text, n);
		assert_int_equal(json_skim(at + page - n, n, on_string, &s),
				 n == sizeof(text) - 1 ? 0 : -EPROTO);
	}
	munmap(at, (size_t)page * 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hands_on_strings_with_their_places),
		cmocka_unit_test(unescapes),
		cmocka_unit_test(stops_when_told),
		cmocka_unit_test(refuses_what_is_no_json),
		cmocka_unit_test(passes_over_what_is_beyond_its_limits),
		cmocka_unit_test(reads_no_byte_too_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
