/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/probe-agent/replay/imported.h"

/* Kinds of lines and files. Whole logs of programs: test_import_golden.c. */

#define PREFIX "10.0.0.1 - - [21/Nov/2026:10:00:00 +0100] "
#define GET "\"GET /a HTTP/1.1\" 200 1"
#define AGENT " \"-\" \"-\""

static struct imported im;

static int tear_down(void **state)
{
	(void)state;
	imported_fini(&im);
	return 0;
}

static void becomes(const char *text, enum import_format want,
		    const char *requests)
{
	assert_int_equal(import_text_of(&im, text, IMPORT_AUTO, NULL), 0);
	assert_string_equal(import_format_name(im.stats.format),
			    import_format_name(want));
	assert_string_equal(imported_requests(&im), requests);
	assert_string_equal(im.said, "");
	assert_int_equal(im.stats.bad, 0);
}

static void refused(const char *text, int err, const char *problem)
{
	assert_int_equal(import_text_of(&im, text, IMPORT_AUTO, NULL), err);
	assert_non_null(im.stats.problem);
	if (!strstr(im.stats.problem, problem))
		fail_msg("%s: not because of %s", im.stats.problem, problem);
	assert_string_equal(imported_requests(&im), "");
}

/* --- what the tail of a line says --- */

static void a_log_without_durations_has_none(void **state)
{
	(void)state;
	becomes(PREFIX "\"GET /users/42?x=1 HTTP/1.1\" 200 12 \"-\" "
		       "\"curl \\\"7\\\"\"\n"
		       "::1 - bob s [21/Nov/2026:04:00:01 -0500] \"POST "
		       "/cart HTTP/2.0\" 503 - \"-\" \"-\"\r\n"
		       "\n" PREFIX "\"GET / HTTP/1.0\" 499 0\n",
		IMPORT_COMBINED,
		"dflt GET /users/{id} 200 o0 v11 http +0 ? 0/12\n"
		"dflt POST /cart 503 o0 v20 http +1000000 ? 0/0\n"
		"dflt GET / 0 o1 v10 http +0 ? 0/0\n");
	assert_int_equal(im.stats.untimed, 3);
	assert_int_equal(im.stats.lines, 4);
	assert_int_equal(im.stats.other, 1);
	assert_int_equal(im.stats.guessed_by, 3);
}

static void many_lines_decide_and_a_dash_is_no_duration(void **state)
{
	(void)state;
	becomes(PREFIX GET AGENT
		" -\n" PREFIX GET AGENT " 0.100\n" PREFIX GET AGENT
		" \"1.5\"\n" PREFIX GET AGENT "\n" PREFIX GET AGENT " 2\n",
		IMPORT_COMBINED_TIME,
		"dflt GET /a 200 o0 v11 http +0 ? 0/1\n"
		"dflt GET /a 200 o0 v11 http -100000 100000us 0/1\n"
		"dflt GET /a 200 o0 v11 http -1500000 1500000us 0/1\n"
		"dflt GET /a 200 o0 v11 http +0 ? 0/1\n"
		"dflt GET /a 200 o0 v11 http -2000000 2000000us 0/1\n");
	assert_int_equal(im.stats.untimed, 2);
}

static void a_whole_number_is_no_seconds_unless_it_is_said(void **state)
{
	static const char text[] = PREFIX GET AGENT " 1200\n";

	(void)state;
	refused(text, -EPROTO, "end in a number whose unit");
	refused(PREFIX GET " 1200\n" PREFIX GET " 7\n", -EPROTO, "apache-D");
	assert_int_equal(import_text_of(&im, text, IMPORT_APACHE_D, NULL), 0);
	assert_string_equal(imported_requests(&im),
			    "dflt GET /a 200 o0 v11 http +0 1200us 0/1\n");
	assert_int_equal(import_text_of(&im, text, IMPORT_COMBINED_TIME, NULL),
			 0);
	assert_string_equal(
		imported_requests(&im),
		"dflt GET /a 200 o0 v11 http -1200000000 1200000000us 0/1\n");
	assert_int_equal(import_text_of(&im, text, IMPORT_COMBINED, NULL), 0);
	assert_string_equal(imported_requests(&im),
			    "dflt GET /a 200 o0 v11 http +0 ? 0/1\n");
}

static void a_unit_or_a_name_says_it(void **state)
{
	(void)state;
	becomes(PREFIX GET AGENT
		" 12ms\n" PREFIX GET AGENT " 12.5 ms\n" PREFIX GET AGENT
		" rt=3 ut=0.2\n" PREFIX GET AGENT
		" \"-\" request_time=\"0.25\" x\n" PREFIX GET " 900us\n",
		IMPORT_COMBINED_TIME,
		"dflt GET /a 200 o0 v11 http -12000 12000us 0/1\n"
		"dflt GET /a 200 o0 v11 http -12500 12500us 0/1\n"
		"dflt GET /a 200 o0 v11 http -3000000 3000000us 0/1\n"
		"dflt GET /a 200 o0 v11 http -250000 250000us 0/1\n"
		"dflt GET /a 200 o0 v11 http -900 900us 0/1\n");
	/* A fraction in quotes may be a ratio. */
	refused(PREFIX GET AGENT " \"3.05\"\n" PREFIX GET AGENT " \"-\"\n",
		-EPROTO, "combined+time");
	/* Which of several numbers it is is not known. */
	becomes(PREFIX GET AGENT " 0.500 0.400\n" PREFIX GET AGENT
				 " \"1.2.3.4\"\n",
		IMPORT_COMBINED,
		"dflt GET /a 200 o0 v11 http +0 ? 0/1\n"
		"dflt GET /a 200 o0 v11 http +0 ? 0/1\n");
}

static void a_bad_duration_is_a_bad_line(void **state)
{
	(void)state;
	assert_int_equal(import_text_of(&im,
					PREFIX GET AGENT
					" 0.1\n" PREFIX GET AGENT
					" x\n" PREFIX GET AGENT
					" 99999999999\n",
					IMPORT_COMBINED_TIME, NULL),
			 0);
	assert_int_equal(im.stats.events, 1);
	assert_string_equal(im.said, "f: line 2: no request time at the end\n"
				     "f: line 3: no request time at the end\n");
}

/* --- the rest of a line --- */

static void times_are_found_and_read_in_many_forms(void **state)
{
	static const char *const prefix[] = {
		"h - [admin] [ [21/Nov/2026:10:00:00 +0100] ",
		"h - \"a [b\" c [21/Nov/2026:10:00:00.000 +0100] ",
		"Nov 21 10:00:00 host nginx[12]: h - - "
		"[21/Nov/2026:09:00:00 +0000] ",
		"shop.test:80 h - - [21/nov/2026:09:00:00 GMT] ",
		"h - - [2026-11-21T09:00:00+00:00] ",
		"h - - [2026-11-21 10:00:00,000 +01] ",
		"[1795251600.000] ",
		"h - - [1795251600000] ",
		"[21/Nov/2026:09:00:00] ",
		"2026-11-21T09:00:00.5Z stdout F h - - [21/Nov/2026:09:00:00 "
		"Z] ",
	};
	char line[256];

	(void)state;
	setenv("TZ", "UTC", 1);
	for (size_t i = 0; i < sizeof(prefix) / sizeof(*prefix); i++) {
		snprintf(line, sizeof(line), "%s" GET "\n", prefix[i]);
		becomes(line, IMPORT_COMBINED,
			"dflt GET /a 200 o0 v11 http +0 ? 0/1\n");
	}
	becomes("h - - [21/Nov/2026:10:00:00.250 +0100] " GET "\n",
		IMPORT_COMBINED, "dflt GET /a 200 o0 v11 http +250000 ? 0/1\n");
}

static void methods_and_versions_are_those_of_http(void **state)
{
	(void)state;
	becomes(PREFIX "\"M-SEARCH /x HTTP/1.1\" 200 1\n" PREFIX
		       "\"patch /x HTTP/3.0\" 400 1\n" PREFIX
		       "\"CONNECT h:443 HTTP/1.1\" 200 1\n" PREFIX
		       "\"GET http://h/y HTTP/1.1\" 200 1\n" PREFIX
		       "\"GET /a b HTTP/1.1\" 200 1\n" PREFIX
		       "\"  HTTP/1.1\" 501 1\n" PREFIX
		       "\"PRI * HTTP/2.0\" 400 1\n",
		IMPORT_COMBINED,
		"dflt _OTHER /x 200 o0 v11 http +0 ? 0/1\n"
		"dflt _OTHER /x 400 o0 v30 http +0 ? 0/1\n"
		"dflt CONNECT  200 o0 v11 http +0 ? 0/1\n"
		"dflt GET /y 200 o0 v11 http +0 ? 0/1\n"
		"dflt GET /{text} 200 o0 v11 http +0 ? 0/1\n"
		"dflt _OTHER  501 o0 v11 http +0 ? 0/1\n"
		"dflt _OTHER * 400 o0 v20 http +0 ? 0/1\n");
}

static void what_was_never_sent_is_aborted(void **state)
{
	(void)state;
	becomes(PREFIX "\"GET /a HTTP/1.1\" 499 0\n" PREFIX
		       "\"GET /a HTTP/1.1\" 444 0\n" PREFIX
		       "\"GET /a HTTP/1.1\" 000 0\n" PREFIX
		       "\"GET /a HTTP/1.1\" - -\n",
		IMPORT_COMBINED,
		"dflt GET /a 0 o1 v11 http +0 ? 0/0\n"
		"dflt GET /a 0 o1 v11 http +0 ? 0/0\n"
		"dflt GET /a 0 o1 v11 http +0 ? 0/0\n"
		"dflt GET /a 0 o1 v11 http +0 ? 0/0\n");
	becomes("{\"time\":1795251600,\"method\":\"GET\",\"target\":\"/x\","
		"\"status\":499}\n"
		"{\"time\":1795251600,\"method\":\"GET\",\"target\":\"/x\","
		"\"status\":\"444\"}\n"
		"{\"time\":1795251600,\"method\":\"GET\",\"route\":\"\","
		"\"role\":\"client\",\"status\":499}\n",
		IMPORT_JSON,
		"dflt GET /x 0 o1 v0 http +0 ? 0/0\n"
		"dflt GET /x 0 o1 v0 http +0 ? 0/0\n"
		"dflt GET  499 o0 v0 http +0 ? 0/0\n");
}

static void bad_lines_are_counted_and_shown_with_their_number(void **state)
{
	char text[8192] = PREFIX GET AGENT "\n";
	struct buf want = { 0 };

	(void)state;
	assert_int_equal(import_text_of(&im,
					PREFIX GET
					"\nnot a line\n" PREFIX
					"\"\\x16\\x03\\x01\" 400 157\n" PREFIX
					"\"GET /a HTTP/1.1\" 99 1\n" PREFIX
					"\"GET /a HTTP/1.1\" 200 x\n" PREFIX
					"\"GET /a HTTP/1.1 200 1\n"
					"h - - [30/Feb/2026:10:00:00 +0100] "
					"\"GET /a HTTP/1.1\" 200 1\n" PREFIX
					"\"\" 400 0\n" PREFIX
					"\"-\" 408 0\n" PREFIX
					"\"GET /old\" 200 9\n" PREFIX
					"\"GET /b HTTP/1.1\" 200 1\n",
					IMPORT_COMBINED, NULL),
			 0);
	assert_int_equal(im.stats.lines, 11);
	assert_int_equal(im.stats.events, 2);
	assert_int_equal(im.stats.bad, 9);
	assert_string_equal(im.said,
			    "f: line 2: no [time] before a \"request\"\n"
			    "f: line 3: malformed request line\n"
			    "f: line 4: no valid status\n"
			    "f: line 5: no valid number of bytes\n"
			    "f: line 6: no \"request\"\n"
			    "f: line 7: no [time] before a \"request\"\n"
			    "f: line 8: malformed request line\n"
			    "f: line 9: malformed request line\n"
			    "f: line 10: malformed request line\n");
	/* Not more than ten are shown. */
	for (int i = 0; i < 23; i++)
		strcat(text, "bad\n");
	assert_int_equal(import_text_of(&im, text, IMPORT_AUTO, NULL), 0);
	for (int i = 2; i < 12; i++)
		buf_printf(&want,
			   "f: line %d: no [time] before a \"request\"\n", i);
	buf_puts(&want, "f: 13 more like that\n");
	assert_string_equal(im.said, buf_str(&want));
	assert_int_equal(im.stats.bad, 23);
	buf_fini(&want);
}

/* --- the beginning of a file --- */

static void marks_and_comments_come_first(void **state)
{
	static const char line[] = PREFIX GET "\n";
	static const char want[] = "dflt GET /a 200 o0 v11 http +0 ? 0/1\n";
	char wide[4 * sizeof(line)] = "";
	size_t n = 2;

	(void)state;
	becomes("\xef\xbb\xbf" PREFIX GET "\n", IMPORT_COMBINED, want);
	becomes("# made by hand\n\n  \n#[x] \"y\"\n" PREFIX GET "\n",
		IMPORT_COMBINED, want);
	assert_int_equal(im.stats.other, 4);
	for (int big = 0; big < 2; big++) {
		n = 2;
		wide[0] = big ? '\xfe' : '\xff';
		wide[1] = big ? '\xff' : '\xfe';
		for (size_t i = 0; line[i] != '\0'; i++, n += 2) {
			wide[n + !big] = '\0';
			wide[n + big] = line[i];
		}
		assert_int_equal(
			import_bytes_of(&im, wide, n, IMPORT_AUTO, NULL), 0);
		assert_string_equal(imported_requests(&im), want);
	}
	/* Half a unit at the end is nothing. */
	assert_int_equal(import_bytes_of(&im, wide, n - 1, IMPORT_AUTO, NULL),
			 0);
	assert_string_equal(imported_requests(&im), want);
}

static void other_files_are_refused_with_the_reason(void **state)
{
	(void)state;
	refused("", -ENODATA, "empty");
	refused("\n \r\n\t", -EPROTO, "blank");
	refused("hello\nworld\n", -EPROTO, "--format");
	refused("<html>\"[", -EPROTO, "--format");
	refused("\x1f\x8b\x08rest", -EPROTO, "unpack");
	refused("\x28\xb5\x2f\xfdrest", -EPROTO, "unpack");
	refused("[\n{\"time\":1}]", -EPROTO, "jq");
	refused("{\"a\":1}\n", -EPROTO, "--map");
	assert_int_equal(import_bytes_of(&im, "a\0b\n", 4, IMPORT_AUTO, NULL),
			 -EPROTO);
	assert_string_equal(im.stats.problem, "it is not text");
	assert_int_equal(import_text_of(&im, "x\n", IMPORT_ENVOY, NULL),
			 -ENODATA);
	assert_string_equal(im.stats.problem,
			    "no line could be read: see above");
}

static void a_line_without_end_is_passed_over(void **state)
{
	size_t n = (3u << 20) + 17, len = strlen(PREFIX GET "\n");
	char *text = malloc(n + 2 * len);

	(void)state;
	assert_non_null(text);
	memcpy(text, PREFIX GET "\n", len);
	memset(text + len, 'x', n);
	text[len + n - 1] = '\n';
	memcpy(text + len + n, PREFIX GET "\n", len);
	assert_int_equal(
		import_bytes_of(&im, text, n + 2 * len, IMPORT_AUTO, NULL), 0);
	assert_int_equal(im.stats.lines, 3);
	assert_int_equal(im.stats.events, 2);
	assert_string_equal(im.said, "f: line 2: longer than 1 MiB\n");
	/* Also as the last line, with no end at all. */
	assert_int_equal(import_bytes_of(&im, text, n, IMPORT_AUTO, NULL), 0);
	assert_int_equal(im.stats.events, 1);
	assert_int_equal(im.stats.bad, 1);
	free(text);
}

/* --- JSON lines --- */

static void json_lines_are_read_by_their_map(void **state)
{
	(void)state;
	assert_int_equal(
		import_text_of(
			&im,
			"{\"time\":\"2026-11-21T10:00:00.25+01:00\",\"method\":"
			"\"GET\",\"target\":\"/a/1\",\"status\":200,"
			"\"duration_ms\":250,\"service\":\"x\"}\n"
			"{\"start\":1795251601.5,\"method\":\"BREW\",\"route\":"
			"\"/r\",\"status\":\"404\",\"duration\":\"0.1\"}\n"
			"{\"time\":1795251600,\"method\":\"GET\",\"target\":\"/"
			"\",\"status\":0}\n"
			"{\"time\":\"never\",\"method\":\"GET\",\"target\":\"/"
			"\",\"status\":200}\n"
			"{\"method\n",
			IMPORT_AUTO, NULL),
		0);
	assert_int_equal(im.stats.format, IMPORT_JSON);
	assert_string_equal(
		imported_requests(&im),
		"x GET /a/{id} 200 o0 v0 http +0 250000us 0/0\n"
		"dflt _OTHER /r 404 o0 v0 http +1500000 100000us 0/0\n"
		"dflt GET / 0 o1 v0 http +0 ? 0/0\n");
	assert_string_equal(im.said,
			    "f: line 4: no time, or in an unknown format\n"
			    "f: line 5: not a JSON object\n");
	assert_int_equal(
		import_text_of(&im,
			       "{\"t\":1795251600,\"m\":\"GET\",\"q\":{\"u\":"
			       "\"/x?y\"},\"c\":200}\n",
			       IMPORT_JSON,
			       "time=t,method=m,target=q.u,status=c"),
		0);
	assert_string_equal(imported_requests(&im),
			    "dflt GET /x 200 o0 v0 http +0 ? 0/0\n");
	assert_int_equal(import_text_of(&im, "{}", IMPORT_JSON, "nothing=x"),
			 -EINVAL);
	assert_int_equal(import_text_of(&im, "{}", IMPORT_JSON, "time"),
			 -EINVAL);
}

#define JSON_LINE(rest)                                                         \
	"{\"time\":1795251600,\"method\":\"GET\",\"target\":\"/x\",\"status\":" \
	"200" rest "}\n"

static void a_json_duration_may_be_missing_in_many_ways(void **state)
{
	(void)state;
	becomes(JSON_LINE("") JSON_LINE(",\"duration\":\"\"")
			JSON_LINE(",\"duration\":\"-\"")
				JSON_LINE(",\"duration\":null")
					JSON_LINE(",\"duration\":-1"),
		IMPORT_JSON,
		"dflt GET /x 200 o0 v0 http +0 ? 0/0\n"
		"dflt GET /x 200 o0 v0 http +0 ? 0/0\n"
		"dflt GET /x 200 o0 v0 http +0 ? 0/0\n"
		"dflt GET /x 200 o0 v0 http +0 ? 0/0\n"
		"dflt GET /x 200 o0 v0 http +0 ? 0/0\n");
	becomes(JSON_LINE(",\"duration\":\"1.5ms\"")
			JSON_LINE(",\"duration\":\"1m2.5s\"")
				JSON_LINE(",\"duration\":2e-3"),
		IMPORT_JSON,
		"dflt GET /x 200 o0 v0 http -1500 1500us 0/0\n"
		"dflt GET /x 200 o0 v0 http -62500000 62500000us 0/0\n"
		"dflt GET /x 200 o0 v0 http -2000 2000us 0/0\n");
	assert_int_equal(import_text_of(&im,
					JSON_LINE(",\"duration\":\"soon\"")
						JSON_LINE(",\"duration\":{}")
							JSON_LINE(""),
					IMPORT_JSON, NULL),
			 0);
	assert_string_equal(im.said, "f: line 1: malformed duration\n"
				     "f: line 2: malformed duration\n");
}

static void json_may_have_odd_bytes_and_a_prefix(void **state)
{
	(void)state;
	becomes("Nov 21 10:00:00 host app[1]: " JSON_LINE(
			",\"ua\":\"\\x22\xff\",\"deep\":[[{\"time\":1}]]"),
		IMPORT_JSON, "dflt GET /x 200 o0 v0 http +0 ? 0/0\n");
	assert_int_equal(
		import_text_of(&im, JSON_LINE(",\"status\":200") JSON_LINE(""),
			       IMPORT_JSON, NULL),
		0);
	assert_string_equal(im.said, "f: line 1: a field is there twice\n");
}

/* --- HAR --- */

#define ENTRY(url, status, rest)                                               \
	"{\"startedDateTime\":\"2026-11-21T10:00:00.000+01:00\",\"request\":"  \
	"{\"method\":\"GET\",\"url\":\"" url                                   \
	"\"},\"response\":{\"status\":" status "}" rest "}"

static void har_is_what_a_client_saw(void **state)
{
	(void)state;
	becomes("\xef\xbb\xbf{\"_comment\": 1, \"log\": {\"version\": \"1.2\", "
		"\"entries\": [" ENTRY("https://u:p@SHOP.Example/x?q=1", "200", ",\"time\":120.5") "," ENTRY(
			"wss://shop.example:8443/", "101",
			",\"time\":0") "," ENTRY("http://shop.example/", "0",
						 ",\"time\":-1") "," ENTRY("http://shop.example/",
									   "200",
									   ",\"time\":null") "," ENTRY("http://shop.example/",
												       "499",
												       ",\"time\":1") "]}}",
		IMPORT_HAR,
		"dflt GET shop.example 200 o0 v0 https +0 120500us 0/0\n"
		"dflt GET shop.example 101 o0 v0 https +0 0us 0/0\n"
		"dflt GET shop.example 0 o1 v0 http +0 ? 0/0\n"
		"dflt GET shop.example 200 o1 v0 http +0 ? 0/0\n"
		"dflt GET shop.example 499 o0 v0 http +0 1000us 0/0\n");
}

static void what_a_cache_answered_is_no_request(void **state)
{
	(void)state;
	becomes("{\"log\":{\"entries\":[" ENTRY("http://a/", "200", ",\"_fromCache\":\"memory\"") "," ENTRY("http://a/", "200", ",\"_fromDiskCache\":true") "," ENTRY(
			"http://a/", "200",
			",\"fromCache\":true") "," ENTRY("http://a/", "200",
							 ",\"_fetchType\":\"Disk Cache\"") "," ENTRY("data:image/png",
												     "200",
												     ",\"time\":1") "," ENTRY("chrome-extension://x/y",
															      "200",
															      ",\"time\":1") "," ENTRY("http://a/",
																		       "200",
																		       ",\"time\":1,\"_fromCache\":null,\"_fetchType\":"
																		       "\"Network Load\",\"fromCache\":false") "]}}",
		IMPORT_HAR, "dflt GET a 200 o0 v0 http +0 1000us 0/0\n");
	assert_int_equal(im.stats.other, 6);
}

static void bad_entries_are_shown_and_bad_documents_refused(void **state)
{
	(void)state;
	assert_int_equal(
		import_text_of(
			&im,
			"{\"log\":{\"entries\":[[" ENTRY(
				"http://a/", "200",
				"") "],7,{\"startedDateTime\":\"x\",\"time\":1}"
				    "," ENTRY("nothing", "200", ",\"time\":1") "," ENTRY(
					    "http:///x", "200",
					    ",\"time\":1") "," ENTRY("http://a/",
								     "200",
								     ",\"time\":\"x\"") "," ENTRY("http://a/",
												  "200",
												  ",\"time\":1") "]}}",
			IMPORT_HAR, NULL),
		0);
	assert_string_equal(imported_requests(&im),
			    "dflt GET a 200 o0 v0 http +0 1000us 0/0\n");
	assert_string_equal(im.said,
			    "f: entry 1: not an object\n"
			    "f: entry 2: not an object\n"
			    "f: entry 3: no method, url or startedDateTime\n"
			    "f: entry 4: url without http or host\n"
			    "f: entry 5: url without http or host\n"
			    "f: entry 6: no valid time\n");
	assert_int_equal(im.stats.lines, 7);
	refused("{\"log\":{\"entries\":[]}}", -ENODATA, "no requests");
	refused("{\"log\":{\"entries\":[1,", -EPROTO, "damaged");
	assert_int_equal(import_text_of(&im, "{}", IMPORT_HAR, NULL), -EPROTO);
}

/* --- formats with units of their own --- */

static void w3c_times_have_a_unit_or_are_not_used(void **state)
{
#define W3C "#Fields: date time cs-method cs-uri-stem sc-status time-taken\n"
	static const char ms[] = "2026-11-21 09:00:00 GET /a 200 15\n";

	(void)state;
	becomes("#Software: Microsoft Internet Information Services 10.0\n" W3C
		"2026-11-21 09:00:00 GET /a 200 15\n",
		IMPORT_W3C, "dflt GET /a 200 o0 v0 http -15000 15000us 0/0\n");
	becomes(W3C "2026-11-21 09:00:00 GET /a 200 0.015\n"
		    "2026-11-21 09:00:00 \"GET\" \"/a\"\t200 -\n",
		IMPORT_W3C,
		"dflt GET /a 200 o0 v0 http -15000 15000us 0/0\n"
		"dflt GET /a 200 o0 v0 http +0 ? 0/0\n");
	becomes("#Date: 2026-11-21 08:00:00\n"
		"#Fields: time cs-method cs-uri sc-status\n"
		"09:00:00 GET http://h/a?b 200\n"
		"#Fields: cs-uri time sc-status cs-method\n"
		"/c 09:00:01 404 PUT\n",
		IMPORT_W3C,
		"dflt GET /a 200 o0 v0 http +0 ? 0/0\n"
		"dflt PUT /c 404 o0 v0 http +1000000 ? 0/0\n");
	refused(W3C "2026-11-21 09:00:00 GET /a 200 15\n", -EPROTO,
		"--format=w3c");
	assert_int_equal(import_text_of(&im, W3C, IMPORT_W3C, NULL), -ENODATA);
	assert_int_equal(import_text_of(&im, ms, IMPORT_W3C, NULL), -ENODATA);
	assert_string_equal(im.said, "f: line 1: no #Fields before it\n");
	assert_int_equal(import_text_of(&im,
					W3C
					"2026-11-21 09:00:00 GET /a 200 15\n"
					"2026-11-21 09:00:00 GET /a 200\n"
					"2026-11-21 09:00:00 GET /a 200 1 2\n",
					IMPORT_W3C, NULL),
			 0);
	assert_string_equal(imported_requests(&im),
			    "dflt GET /a 200 o0 v0 http -15000 15000us 0/0\n");
	assert_int_equal(im.stats.bad, 2);
}

static void haproxy_says_how_a_session_ended(void **state)
{
#define HA "h:1 [21/Nov/2026:09:00:00.250] web~ shop/one "
	(void)state;
	setenv("TZ", "UTC", 1);
	becomes(HA "1/0/2/3/6 200 9 - - ---- 1/1/0/0/0 0/0 \"GET /a "
		   "HTTP/1.1\"\n" HA
		   "1/0/2/3/+6 200 +9 - - CD-- 1/1/0/0/0 0/0 {x} {} \"GET /a "
		   "HTTP/1.1\" 0/0\n" HA
		   "1/0/2/-1/6 -1 0 - - CH-- 1/1/0/0/0 0/0 \"GET /a "
		   "HTTP/1.1\"\n" HA
		   "1/0/2/3/6 200 9 - - sD-- 1/1/0/0/0 0/0 \"GET /a "
		   "HTTP/1.1\"\n" HA
		   "1/0/2/3/6 200 9 - - ---- 1/1/0/0/0 0/0 \"GET /cut/of\n" HA
		   "-1/-1/-1/-1/0 400 0 - - PR-- 1/1/0/0/0 0/0 "
		   "\"<BADREQ>\"\n" HA
		   "-1/-1/-1/-1/0 400 0 - - CR-- 1/1/0/0/0 0/0 "
		   "\"<BADREQ>\"\n"
		   "h:1 [21/Nov/2026:09:00:00.250] in db/one 1/2/3 99 -- "
		   "1/1/1/1/0 0/0\n"
		   "Proxy shop started.\n",
		IMPORT_HAPROXY,
		"dflt GET /a 200 o0 v11 https +250000 6000us 0/9\n"
		"dflt GET /a 200 o1 v11 https +250000 6000us 0/9\n"
		"dflt GET /a 0 o1 v11 https +250000 6000us 0/0\n"
		"dflt GET /a 200 o3 v11 https +250000 6000us 0/9\n"
		"dflt GET /cut/of 200 o0 v0 https +250000 6000us 0/9\n"
		"dflt _OTHER  400 o0 v0 https +250000 0us 0/0\n");
	assert_int_equal(im.stats.other, 3);
}

static void every_format_has_its_name(void **state)
{
	enum import_format format;

	(void)state;
	for (unsigned i = 0; i < IMPORT_FORMATS; i++) {
		const char *name = import_format_name((enum import_format)i);

		assert_int_equal(import_format_parse(name, &format), 0);
		assert_int_equal(format, i);
	}
	assert_int_equal(import_format_parse("nginx", &format), -EINVAL);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_teardown(f, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_log_without_durations_has_none),
		TEST(many_lines_decide_and_a_dash_is_no_duration),
		TEST(a_whole_number_is_no_seconds_unless_it_is_said),
		TEST(a_unit_or_a_name_says_it),
		TEST(a_bad_duration_is_a_bad_line),
		TEST(times_are_found_and_read_in_many_forms),
		TEST(methods_and_versions_are_those_of_http),
		TEST(what_was_never_sent_is_aborted),
		TEST(bad_lines_are_counted_and_shown_with_their_number),
		TEST(marks_and_comments_come_first),
		TEST(other_files_are_refused_with_the_reason),
		TEST(a_line_without_end_is_passed_over),
		TEST(json_lines_are_read_by_their_map),
		TEST(a_json_duration_may_be_missing_in_many_ways),
		TEST(json_may_have_odd_bytes_and_a_prefix),
		TEST(har_is_what_a_client_saw),
		TEST(what_a_cache_answered_is_no_request),
		TEST(bad_entries_are_shown_and_bad_documents_refused),
		TEST(w3c_times_have_a_unit_or_are_not_used),
		TEST(haproxy_says_how_a_session_ended),
		TEST(every_format_has_its_name),
	};

	return cmocka_run_group_tests_name("import", tests, NULL, NULL);
}
