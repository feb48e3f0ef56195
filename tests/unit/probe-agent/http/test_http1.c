/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "probe-agent/http/http1.h"

/* Input that ends where the readable memory ends. */
static char *page_end;
static size_t page_room;

static int set_up_guard(void **state)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *p = mmap(NULL, 3 * page, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)state;
	if (p == MAP_FAILED || mprotect(p + 2 * page, page, PROT_NONE) != 0)
		return -1;
	page_end = p + 2 * page;
	page_room = 2 * page;
	return 0;
}

static const char *guarded(const char *data, size_t len)
{
	assert_true(len <= page_room);
	memcpy(page_end - len, data, len);
	return page_end - len;
}

static const char request[] =
	"PATCH http://u@h:1/a?b HTTP/1.1\r\n"
	"Accept: */*\r\n"
	"hOsT:\t h:2 \t\r\n"
	"Content-Length: 12\r\n"
	"Expect: 100-Continue\r\n"
	"Upgrade: h2c\r\n"
	"Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	"\r\n\r\n";
static const char response[] = "HTTP/1.0 404 Not Found\r\n"
			       "Transfer-Encoding: gzip,\tChunked \r\n"
			       "Content-Length: 3\r\n\r\n";

static void assert_slice(struct slice s, const char *want)
{
	assert_int_equal(s.len, strlen(want));
	assert_memory_equal(s.data, want, s.len);
}

static void reads_what_it_needs_of_a_request(void **state)
{
	size_t len = sizeof(request) - 1;
	struct http1_head h;

	(void)state;
	assert_int_equal(http1_parse_request(guarded(request, len), len, &h),
			 len);
	assert_slice(h.method, "PATCH");
	assert_slice(h.target, "http://u@h:1/a?b");
	assert_slice(h.host, "h:2");
	assert_slice(http1_authority(h.method, h.target), "h:1");
	assert_slice(h.traceparent,
		     "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
	assert_int_equal(h.version, 11);
	assert_int_equal(h.framing, HTTP1_FRAMING_LENGTH);
	assert_int_equal(h.content_length, 12);
	assert_true(h.expect_continue);
}

static void reads_what_it_needs_of_a_response(void **state)
{
	size_t len = sizeof(response) - 1;
	struct http1_head h;

	(void)state;
	assert_int_equal(http1_parse_response(guarded(response, len), len, &h),
			 len);
	assert_int_equal(h.status, 404);
	assert_int_equal(h.version, 10);
	assert_int_equal(h.framing, HTTP1_FRAMING_CHUNKED);
}

/* A traceparent whose byte 17 is a blank or a colon is one all the same. */
static void takes_fields_for_what_they_are(void **state)
{
	static const char *const heads[] = {
		"GET / HTTP/1.1\r\ntraceparent:12345:6\r\n\r\n",
		"GET / HTTP/1.1\r\ntraceparent:12345 6\r\n\r\n",
		"GET / HTTP/1.1\r\ntraceparent :1234:6\r\n\r\n",
		"GET / HTTP/1.1\r\ntraceparent\t :123456\r\n\r\n",
		"GET / HTTP/1.1\r\nTRACEPARENT: 1\r\n\r\n",
	};
	struct http1_head h;

	(void)state;
	for (size_t i = 0; i < sizeof(heads) / sizeof(*heads); i++) {
		size_t len = strlen(heads[i]);

		assert_int_equal(
			http1_parse_request(guarded(heads[i], len), len, &h),
			len);
		assert_true(h.traceparent.len > 0);
		assert_int_equal(h.traceparent.data[0], '1');
	}
	assert_int_equal(
		http1_parse_request("GET / HTTP/1.1\nHostess: x\n\n", 27, &h),
		27);
	assert_int_equal(h.host.len, 0);
}

static void asks_for_more_of_every_prefix(void **state)
{
	struct http1_head h;

	(void)state;
	for (size_t n = 0; n < sizeof(request) - 1; n++) {
		assert_int_equal(
			http1_parse_request(guarded(request, n), n, &h),
			-EAGAIN);
		assert_int_equal(http1_head_end(guarded(request, n), n, 0), 0);
	}
	for (size_t n = 0; n < sizeof(response) - 1; n++)
		assert_int_equal(
			http1_parse_response(guarded(response, n), n, &h),
			-EAGAIN);
}

static void stops_behind_the_empty_line(void **state)
{
	static const char *const heads[] = { "GET / HTTP/1.1\r\n\r\nGET /",
					     "GET / HTTP/1.1\n\nGET /",
					     "GET / HTTP/1.1\r\n\nGET /",
					     "GET / HTTP/1.1\n\r\nGET /" };
	struct http1_head h;

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		size_t len = strlen(heads[i]), want = len - 5;

		assert_int_equal(
			http1_parse_request(guarded(heads[i], len), len, &h),
			want);
		assert_int_equal(http1_head_end(heads[i], len, 0), want);
		assert_int_equal(http1_head_end(heads[i], len, want - 4), want);
	}
}

static void refuses_what_is_no_head(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
	} bad[] = {
#define BAD(text) { text, sizeof(text) - 1 }
		BAD("GET\r\n"),
		BAD("GET /\r\n"),
		BAD("GET /\r"),
		BAD(" GET / HTTP/1.1\r\n\r\n"),
		BAD("GET  HTTP/1.1\r\n\r\n"),
		BAD("GET / HTTP/2.0\r\n\r\n"),
		BAD("GET / HTTP/1.x\r\n\r\n"),
		BAD("GET / http/1.1\r\n\r\n"),
		BAD("G\xc3\xa9T / HTTP/1.1\r\n\r\n"),
		BAD("GET /\x7f HTTP/1.1\r\n\r\n"),
		BAD("GET /\0 HTTP/1.1\r\n\r\n"),
		BAD("GET / HTTP/1.1\r\na: \0\r\n\r\n"),
		BAD("GET / HTTP/1.1\r\na\0"),
		BAD("{\"a\": 1}"),
#undef BAD
	};
	struct http1_head h;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		const char *p = guarded(bad[i].bytes, bad[i].len);
		ssize_t n = http1_parse_request(p, bad[i].len, &h);

		/* A control byte before the end of the line may be its end. */
		if (bad[i].bytes[bad[i].len - 1] == '\r')
			assert_int_equal(n, -EAGAIN);
		else
			assert_int_equal(n, -EPROTO);
	}
}

static void takes_only_valid_statuses(void **state)
{
	struct http1_head h;
	char text[] = "HTTP/1.1 000 x\r\n\r\n";

	(void)state;
	for (unsigned status = 0; status < 1000; status++) {
		ssize_t n;

		text[9] = (char)('0' + status / 100);
		text[10] = (char)('0' + status / 10 % 10);
		text[11] = (char)('0' + status % 10);
		n = http1_parse_response(text, sizeof(text) - 1, &h);
		if (status < 100) {
			assert_int_equal(n, -EPROTO);
			continue;
		}
		assert_int_equal(n, sizeof(text) - 1);
		assert_int_equal(h.status, status);
	}
	assert_int_equal(http1_parse_response("HTTP/1.1 200\r\n\r\n", 16, &h),
			 16);
}

static void tells_requests_from_responses_early(void **state)
{
	(void)state;
	assert_int_equal(http1_kind("", 0), HTTP1_KIND_EITHER);
	assert_int_equal(http1_kind("H", 1), HTTP1_KIND_EITHER);
	assert_int_equal(http1_kind("HTTP", 4), HTTP1_KIND_EITHER);
	assert_int_equal(http1_kind("HTTP/", 5), HTTP1_KIND_RESPONSE);
	assert_int_equal(http1_kind("HEAD", 4), HTTP1_KIND_REQUEST);
	assert_int_equal(http1_kind("HEAD /", 6), HTTP1_KIND_REQUEST);
	assert_int_equal(http1_kind("G", 1), HTTP1_KIND_REQUEST);
	assert_int_equal(http1_kind("GET\r", 4), HTTP1_KIND_NEITHER);
	assert_int_equal(http1_kind(" GET", 4), HTTP1_KIND_NEITHER);
	assert_int_equal(http1_kind("\x16\x03\x01", 3), HTTP1_KIND_NEITHER);
}

static void makes_do_with_part_of_a_head(void **state)
{
	struct http1_head h;

	(void)state;
	/* From the first byte of the target on there is something to say. */
	for (size_t n = 0; n < sizeof(request) - 1; n++) {
		int err = http1_parse_request_cut(guarded(request, n), n, &h);

		assert_int_equal(err, n > 6 ? 0 : -EPROTO);
		if (err)
			continue;
		assert_int_equal(h.target_cut, n <= 6 + 16);
		assert_int_equal(h.target.len, n < 6 + 16 ? n - 6 : 16);
	}
	for (size_t n = 0; n < sizeof(response) - 1; n++)
		assert_int_equal(
			http1_parse_response_cut(guarded(response, n), n, &h),
			n > 12 ? 0 : -EPROTO);
}

static void finds_the_end_of_chunks_in_any_pieces(void **state)
{
	static const char body[] = "5;a=\"b\"\r\nhello\r\n"
				   "00A \r\n0123456789\r\n"
				   "3\nabc\n"
				   "0\r\nA: b\r\n\rx\r\n\r\nGET";
	size_t whole = sizeof(body) - 1 - 3, a, b;

	(void)state;
	for (a = 0; a <= whole; a++) {
		for (b = a; b <= whole; b++) {
			struct http1_chunked ch = { 0 };
			bool done;

			assert_int_equal(http1_chunked_feed(&ch,
							    guarded(body, a), a,
							    &done),
					 a);
			assert_int_equal(done, a == whole);
			http1_chunked_feed(&ch, guarded(body + a, b - a), b - a,
					   &done);
			assert_int_equal(done, b == whole);
			assert_int_equal(
				http1_chunked_feed(&ch, body + b,
						   sizeof(body) - 1 - b, &done),
				whole - b);
			assert_true(done);
		}
	}
}

static void passes_over_chunk_data_only(void **state)
{
	struct http1_chunked ch = { 0 };
	bool done;

	(void)state;
	assert_int_equal(http1_chunked_skip(&ch, 0), 0);
	assert_int_equal(http1_chunked_skip(&ch, 1), -EPROTO);
	assert_int_equal(http1_chunked_feed(&ch, "10\r\nab", 6, &done), 6);
	assert_int_equal(http1_chunked_skip(&ch, 13), 0);
	assert_int_equal(http1_chunked_skip(&ch, 2), -EPROTO);
	assert_int_equal(http1_chunked_skip(&ch, 1), 0);
	assert_int_equal(http1_chunked_feed(&ch, "\r\n0\r\n\r\n", 7, &done), 7);
	assert_true(done);
}

static void refuses_what_is_no_chunk(void **state)
{
	static const char *const bad[] = {
		"x",	  "\r\n",     "-1\r\n",
		"5hello", "2\r\nabc", "fffffffffffffffff\r\n"
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct http1_chunked ch = { 0 };
		bool done;

		assert_int_equal(
			http1_chunked_feed(&ch, bad[i], strlen(bad[i]), &done),
			-EPROTO);
	}
}

static void finds_the_authority_of_a_target(void **state)
{
	static const char *const cases[][3] = {
		{ "GET", "/a", "" },
		{ "OPTIONS", "*", "" },
		{ "CONNECT", "a:443", "a:443" },
		{ "GET", "http://a", "a" },
		{ "GET", "http://a/b@c", "a" },
		{ "GET", "http://u:p@a:1?b", "a:1" },
		{ "GET", "http://[::1]:80/", "[::1]:80" },
		{ "GET", "a/http://b", "" },
		{ "GET", "?http://b", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct slice m = { cases[i][0], strlen(cases[i][0]) };
		struct slice t = { cases[i][1], strlen(cases[i][1]) };

		assert_slice(http1_authority(m, t), cases[i][2]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_what_it_needs_of_a_request),
		cmocka_unit_test(reads_what_it_needs_of_a_response),
		cmocka_unit_test(takes_fields_for_what_they_are),
		cmocka_unit_test(asks_for_more_of_every_prefix),
		cmocka_unit_test(stops_behind_the_empty_line),
		cmocka_unit_test(refuses_what_is_no_head),
		cmocka_unit_test(takes_only_valid_statuses),
		cmocka_unit_test(tells_requests_from_responses_early),
		cmocka_unit_test(makes_do_with_part_of_a_head),
		cmocka_unit_test(finds_the_end_of_chunks_in_any_pieces),
		cmocka_unit_test(passes_over_chunk_data_only),
		cmocka_unit_test(refuses_what_is_no_chunk),
		cmocka_unit_test(finds_the_authority_of_a_target),
	};

	return cmocka_run_group_tests_name("http1", tests, set_up_guard, NULL);
}
