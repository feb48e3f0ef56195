/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/buf.h"
#include "probe-agent/replay/import.h"
#include "proto/batch.h"

#define PREFIX "10.0.0.1 - - [21/Nov/2026:10:00:00 +0100] "
#define PREFIX_US INT64_C(1795251600000000)

static struct import_stats stats;
static struct buf requests; /* one line of text each */
static char *said; /* on standard error */

static int to_buf(void *arg, const void *data, size_t len)
{
	return buf_append(arg, data, len);
}

static const char *string(const struct batch *b, uint32_t id)
{
	return b->strings[id].data;
}

static void describe(const struct batch *b)
{
	const struct batch_series *s = &b->series;
	int64_t start_us = b->base_us;

	for (size_t i = 0; i < b->events.n; i++) {
		uint32_t k = b->events.series[i];

		start_us += b->events.start_delta_us[i];
		buf_printf(&requests, "%s %s %s%s %u o%u v%u %+lld %lluus %llu",
			   string(b, b->resources.service[s->resource[k]]),
			   string(b, s->method[k]), string(b, s->route[k]),
			   string(b, s->address[k]), s->status[k],
			   s->outcome[k], s->version[k],
			   (long long)(start_us - PREFIX_US),
			   (unsigned long long)b->events.duration_us[i],
			   (unsigned long long)b->events.response_bytes[i]);
		buf_puts(&requests, "\n");
	}
}

static void read_back(struct buf *file)
{
	FILE *f = fmemopen(file->data, file->len, "r");
	struct trace_reader *r;
	struct batch_arena *arena;
	const void *data;
	struct batch b;
	size_t len;

	assert_int_equal(batch_arena_new(&arena), 0);
	assert_int_equal(trace_reader_new(&r, f), 0);
	while (trace_read(r, &data, &len) == 1) {
		assert_int_equal(batch_decode(arena, data, len, &b, NULL), 0);
		describe(&b);
	}
	assert_null(trace_damage(r));
	trace_reader_free(r);
	batch_arena_free(arena);
	fclose(f);
}

/* Imports text; what came of it is in the variables above. */
static int import(const char *text, enum import_format format, const char *map)
{
	static const struct trace_origin origin = { .created_by = "test" };
	struct import_options opt = {
		.format = format, .agent = "a", .service = "dflt", .map = map
	};
	FILE *in = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
	FILE *real = stderr;
	struct trace_writer *w;
	struct buf file = { 0 };
	size_t len;
	int err;

	assert_int_equal(trace_writer_new(&w, &origin, to_buf, &file), 0);
	buf_fini(&requests);
	free(said);
	stderr = open_memstream(&said, &len);
	err = import_file(in, "f", &opt, w, &stats);
	fclose(stderr);
	stderr = real;
	assert_int_equal(trace_end(w), 0);
	read_back(&file);
	trace_writer_free(w);
	buf_fini(&file);
	fclose(in);
	return err;
}

static void assert_requests(const char *want)
{
	const char *got = buf_str(&requests);

	assert_string_equal(got ? got : "", want);
}

static void reads_what_nginx_and_apache_write(void **state)
{
	(void)state;
	assert_int_equal(
		import(PREFIX "\"GET /users/42?x=1 HTTP/1.1\" 200 12 \"-\" "
			      "\"curl \\\"7\\\"\"\n"
			      "::1 - bob s [21/Nov/2026:04:00:01 -0500] \"POST "
			      "/cart HTTP/2.0\" 503 - \"-\" \"-\"\r\n"
			      "\n" PREFIX "\"GET / HTTP/1.0\" 499 0\n",
		       IMPORT_AUTO, NULL),
		0);
	assert_int_equal(stats.format, IMPORT_COMBINED);
	assert_int_equal(stats.lines, 4);
	assert_int_equal(stats.events, 3);
	assert_int_equal(stats.bad, 0);
	assert_string_equal(said, "");
	assert_requests("dflt GET /users/{id} 200 o0 v11 +0 0us 12\n"
			"dflt POST /cart 503 o0 v20 +1000000 0us 0\n"
			"dflt GET / 0 o1 v10 +0 0us 0\n");
}

static void a_time_at_the_end_is_how_long_it_took(void **state)
{
	(void)state;
	assert_int_equal(import(PREFIX
				"\"GET /a HTTP/1.1\" 200 1 \"-\" \"-\" "
				"0.012\n" PREFIX
				"\"GET /b HTTP/1.1\" 200 1 \"-\" \"-\" "
				"\"1.5\"\n" PREFIX
				"\"GET /c HTTP/1.1\" 200 1 \"-\" \"-\"\n",
				IMPORT_AUTO, NULL),
			 0);
	assert_int_equal(stats.format, IMPORT_COMBINED_TIME);
	assert_requests("dflt GET /a 200 o0 v11 -12000 12000us 1\n"
			"dflt GET /b 200 o0 v11 -1500000 1500000us 1\n");
	assert_int_equal(stats.bad, 1);
	assert_string_equal(said, "f: line 3: no request time at the end\n");
}

static void bad_lines_are_counted_and_shown_with_their_number(void **state)
{
	char text[8192] = PREFIX "\"GET /a HTTP/1.1\" 200 1 \"-\" \"-\"\n";
	struct buf want = { 0 };

	(void)state;
	assert_int_equal(import(PREFIX
				"\"GET /a HTTP/1.1\" 200 1\nnot a line\n" PREFIX
				"\"\\x16\\x03\\x01\" 400 157\n" PREFIX
				"\"GET /a HTTP/1.1\" 99 1\n" PREFIX
				"\"GET /a HTTP/1.1\" 200 x\n" PREFIX
				"\"GET /a HTTP/1.1 200 1\n"
				"h - - [30/Fob/2026:10:00:00 +0100] \"GET /a "
				"HTTP/1.1\" 200 1\n" PREFIX
				"\"GET /b HTTP/1.1\" 200 1\n",
				IMPORT_COMBINED, NULL),
			 0);
	assert_int_equal(stats.lines, 8);
	assert_int_equal(stats.events, 2);
	assert_int_equal(stats.bad, 6);
	assert_string_equal(said, "f: line 2: no [time] in the fourth field\n"
				  "f: line 3: malformed request line\n"
				  "f: line 4: no valid status\n"
				  "f: line 5: no valid number of bytes\n"
				  "f: line 6: no \"request\"\n"
				  "f: line 7: no [time] in the fourth field\n");
	/* Not more than ten are shown. */
	for (int i = 0; i < 23; i++)
		strcat(text, "bad\n");
	assert_int_equal(import(text, IMPORT_AUTO, NULL), 0);
	for (int i = 2; i < 12; i++)
		buf_printf(&want, "f: line %d: no [time] in the fourth field\n",
			   i);
	buf_puts(&want, "f: 13 more like that\n");
	assert_string_equal(said, buf_str(&want));
	assert_int_equal(stats.bad, 23);
	buf_fini(&want);
}

static void json_lines_are_read_by_their_map(void **state)
{
	(void)state;
	assert_int_equal(
		import("{\"time\":\"2026-11-21T10:00:00.25+01:00\",\"method\":"
		       "\"GET\",\"target\":\"/a/1\",\"status\":200,"
		       "\"duration_ms\":250,\"service\":\"x\"}\n"
		       "{\"start\":1795251601.5,\"method\":\"BREW\",\"route\":"
		       "\"/r\",\"status\":\"404\",\"duration\":\"0.1\"}\n"
		       "{\"time\":1795251600,\"method\":\"GET\",\"target\":\"/"
		       "\",\"status\":0}\n"
		       "{\"time\":\"never\",\"method\":\"GET\",\"target\":\"/\","
		       "\"status\":200}\n"
		       "{\"method\n",
		       IMPORT_AUTO, NULL),
		0);
	assert_int_equal(stats.format, IMPORT_JSON);
	assert_requests("x GET /a/{id} 200 o0 v0 +0 250000us 0\n"
			"dflt _OTHER /r 404 o0 v0 +1500000 100000us 0\n"
			"dflt GET / 0 o1 v0 +0 0us 0\n");
	assert_string_equal(said,
			    "f: line 4: no time, or in an unknown format\n"
			    "f: line 5: not a JSON object\n");
	assert_int_equal(import("{\"t\":1795251600,\"m\":\"GET\",\"q\":{\"u\":"
				"\"/x?y\"},\"c\":200}\n",
				IMPORT_JSON,
				"time=t,method=m,target=q.u,status=c"),
			 0);
	assert_requests("dflt GET /x 200 o0 v0 +0 0us 0\n");
	assert_int_equal(import("{}", IMPORT_JSON, "nothing=x"), -EINVAL);
	assert_int_equal(import("{}", IMPORT_JSON, "time"), -EINVAL);
}

static void har_is_what_a_client_saw(void **state)
{
	(void)state;
	assert_int_equal(
		import("{\"log\": {\"entries\": [{\"startedDateTime\":"
		       "\"2026-11-21T10:00:00.000+01:00\",\"time\":120.5,"
		       "\"request\":{\"method\":\"GET\",\"url\":"
		       "\"https://u:p@shop.example/x?q=1\"},\"response\":"
		       "{\"status\":200,\"httpVersion\":\"h2\",\"bodySize\":7}}"
		       ",{\"startedDateTime\":\"x\",\"time\":1}]}}",
		       IMPORT_AUTO, NULL),
		0);
	assert_int_equal(stats.format, IMPORT_HAR);
	assert_requests("dflt GET shop.example 200 o0 v20 +0 120500us 7\n");
	assert_string_equal(said,
			    "f: entry 2: no method, url or startedDateTime\n");
	assert_int_equal(import("{\"log\": {", IMPORT_AUTO, NULL), -EPROTO);
}

static void other_files_are_refused(void **state)
{
	(void)state;
	assert_int_equal(import("hello\nworld\n", IMPORT_AUTO, NULL), -EPROTO);
	assert_int_equal(import("<html>\"[", IMPORT_AUTO, NULL), 0);
	assert_int_equal(stats.bad, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_what_nginx_and_apache_write),
		cmocka_unit_test(a_time_at_the_end_is_how_long_it_took),
		cmocka_unit_test(
			bad_lines_are_counted_and_shown_with_their_number),
		cmocka_unit_test(json_lines_are_read_by_their_map),
		cmocka_unit_test(har_is_what_a_client_saw),
		cmocka_unit_test(other_files_are_refused),
	};
	int failed = cmocka_run_group_tests_name("import", tests, NULL, NULL);

	buf_fini(&requests);
	free(said);
	return failed;
}
