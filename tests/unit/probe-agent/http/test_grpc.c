/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "probe-agent/http/grpc.h"

static struct slice s(const char *text)
{
	return (struct slice){ text, strlen(text) };
}

static void knows_a_call_by_its_type(void **state)
{
	static const struct {
		const char *type;
		enum grpc_kind kind;
		enum rpc_system system;
	} types[] = {
		{ "application/grpc", GRPC_PLAIN, RPC_GRPC },
		{ "application/grpc+proto", GRPC_PLAIN, RPC_GRPC },
		{ "Application/GRPC;charset=x", GRPC_PLAIN, RPC_GRPC },
		{ "application/grpc-web", GRPC_WEB, RPC_GRPC },
		{ "application/grpc-web+thrift", GRPC_WEB, RPC_GRPC },
		{ "application/grpc-web-text", GRPC_WEB_TEXT, RPC_GRPC },
		{ "application/grpc-web-text+proto", GRPC_WEB_TEXT, RPC_GRPC },
		{ "application/connect+json", GRPC_CONNECT_STREAM,
		  RPC_CONNECT },
		{ "application/connect", GRPC_NONE, RPC_NONE },
		{ "application/grpcx", GRPC_NONE, RPC_NONE },
		{ "application/grp", GRPC_NONE, RPC_NONE },
		{ "text/html", GRPC_NONE, RPC_NONE },
		{ "", GRPC_NONE, RPC_NONE },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
		assert_int_equal(grpc_kind_of(s(types[i].type)), types[i].kind);
		assert_int_equal(grpc_system_of(types[i].kind),
				 types[i].system);
	}
	assert_int_equal(grpc_system_of(GRPC_CONNECT_UNARY), RPC_CONNECT);
}

static void knows_a_connect_call_by_get(void **state)
{
	(void)state;
	assert_true(grpc_is_connect_get(s("/p.S/M?connect=v1")));
	assert_true(grpc_is_connect_get(s("/p.S/M?a=b&connect=v1&c=d")));
	assert_false(grpc_is_connect_get(s("/p.S/M?connect=v12")));
	assert_false(grpc_is_connect_get(s("/p.S/M?xconnect=v1")));
	assert_false(grpc_is_connect_get(s("/p.S/M?connect=v")));
	assert_false(grpc_is_connect_get(s("/connect=v1")));
	assert_false(grpc_is_connect_get(s("?")));
	assert_false(grpc_is_connect_get(s("")));
}

static void a_target_names_a_method(void **state)
{
	static const char *const targets[][2] = {
		{ "/pkg.Service/Method", "pkg.Service/Method" },
		{ "/S/M", "S/M" },
		{ "/api/pkg.Service/Method", "api/pkg.Service/Method" },
		{ "/p.S/M?connect=v1&x=/y", "p.S/M" },
		{ "/M", "" },
		{ "//M", "" },
		{ "/S/", "" },
		{ "/", "" },
		{ "", "" },
		{ "p.S/M", "" },
		{ "*", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(targets) / sizeof(*targets); i++) {
		struct slice m = grpc_method(s(targets[i][0]));

		assert_int_equal(m.len, strlen(targets[i][1]));
		if (m.len)
			assert_memory_equal(m.data, targets[i][1], m.len);
	}
}

static void codes_are_0_to_16(void **state)
{
	static const char *const none[] = { "17", "-1", "",    "x",
					    "1x", "99", "00 ", "016" };
	static const char *const names[] = {
		"canceled",
		"unknown",
		"invalid_argument",
		"deadline_exceeded",
		"not_found",
		"already_exists",
		"permission_denied",
		"resource_exhausted",
		"failed_precondition",
		"aborted",
		"out_of_range",
		"unimplemented",
		"internal",
		"unavailable",
		"data_loss",
		"unauthenticated",
	};
	char number[3] = "";

	(void)state;
	for (int i = 0; i < (int)RPC_CODES; i++) {
		number[0] = (char)('0' + (i < 10 ? i : 1));
		number[1] = (char)(i < 10 ? 0 : '0' + i - 10);
		assert_int_equal(grpc_code_of_number(s(number)), i);
		if (i)
			assert_int_equal(grpc_code_of_name(s(names[i - 1])), i);
	}
	for (size_t i = 0; i < sizeof(none) / sizeof(*none); i++) {
		assert_int_equal(grpc_code_of_number(s(none[i])), -EINVAL);
		assert_int_equal(grpc_code_of_name(s(none[i])), -EINVAL);
	}
}

/* A body, in pieces; and what it says. */
static int status_of(enum grpc_kind kind, uint16_t http, const void *body,
		     size_t len, size_t piece)
{
	struct grpc_body b;

	grpc_body_begin(&b, kind, http);
	grpc_body_frame(&b, (uint32_t)len);
	for (size_t at = 0; at < len; at += piece) {
		size_t n = len - at < piece ? len - at : piece;
		uint8_t *copy = malloc(n);

		assert_non_null(copy);
		memcpy(copy, (const char *)body + at, n);
		grpc_body_feed(&b, copy, n);
		free(copy);
	}
	return grpc_body_status(&b);
}

static void reads_the_status_out_of_a_body(void **state)
{
	static const struct {
		enum grpc_kind kind;
		uint16_t http;
		const char *body;
		size_t len;
		int status;
	} cases[] = {
#define CASE(kind, http, text, status)                                         \
	{ kind, http, text, sizeof(text) - 1, status }
		CASE(GRPC_WEB, 200,
		     "\0\0\0\0\3abc\0\0\0\0\0\x80\0\0\0\x10"
		     "grpc-status: 16\n",
		     16),
		CASE(GRPC_WEB, 200,
		     "\x80\0\0\0\x20"
		     "grpc-message: x\r\nGrpc-Status:5\r\n",
		     5),
		CASE(GRPC_WEB, 200, "\x80\0\0\0\xdgrpc-status:0", 0),
		/* A message is no trailer, and one that is compressed none
		 * that can be read. */
		CASE(GRPC_WEB, 200, "\0\0\0\0\xdgrpc-status:0", -ENOENT),
		CASE(GRPC_WEB, 200, "\x81\0\0\0\xdgrpc-status:0", -ENOENT),
		CASE(GRPC_WEB, 200, "\x80\0\0\0\xexgrpc-status:0", -ENOENT),
		CASE(GRPC_WEB, 200, "\x80\0\0\0\xfgrpc-status: ok", -ENOENT),
		CASE(GRPC_WEB, 200, "\x80\0\0\0\xfgrpc-status: 17", -ENOENT),
		CASE(GRPC_WEB, 200, "\x80\0\0\0\0", -ENOENT),
		CASE(GRPC_WEB, 200, "", -ENOENT),
		/* The same three messages, as text in two parts. */
		CASE(GRPC_WEB_TEXT, 200,
		     "AAAAAANhYmM=gAAAAA9ncnBjLXN0YXR1czox"
		     "Ng0K",
		     16),
		CASE(GRPC_PLAIN, 200, "\x80\0\0\0\xdgrpc-status:0", -ENOENT),
		CASE(GRPC_CONNECT_STREAM, 200, "\0\0\0\0\2{}\2\0\0\0\2{}", 0),
		CASE(GRPC_CONNECT_STREAM, 200,
		     "\2\0\0\0\x23"
		     "{\"error\": {\"code\" : \"unavailable\"}}",
		     14),
		CASE(GRPC_CONNECT_STREAM, 200,
		     "\2\0\0\0\x1a"
		     "{\"metadata\":{\"code\":[\"a\"]}}",
		     -ENOENT),
		CASE(GRPC_CONNECT_STREAM, 200, "\3\0\0\0\2??", -ENOENT),
		CASE(GRPC_CONNECT_STREAM, 200, "\0\0\0\0\2{}", -ENOENT),
		CASE(GRPC_CONNECT_UNARY, 200, "\0\1\2{\"code\":\"aborted\"}",
		     0),
		CASE(GRPC_CONNECT_UNARY, 404,
		     "{\"message\":\"a \\\"code\\\":\\\"aborted\\\"\","
		     "\"code\":\"not_found\"}",
		     5),
		CASE(GRPC_CONNECT_UNARY, 404, "<html>not found</html>",
		     -ENOENT),
		CASE(GRPC_CONNECT_UNARY, 500, "{\"code\":\"own_code\"}",
		     -ENOENT),
		CASE(GRPC_CONNECT_UNARY, 500, "", -ENOENT),
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		for (size_t piece = 1; piece <= 60; piece++)
			assert_int_equal(status_of(cases[i].kind, cases[i].http,
						   cases[i].body, cases[i].len,
						   piece),
					 cases[i].status);
}

static void messages_that_are_not_seen_do_not_matter(void **state)
{
	struct grpc_body b;

	(void)state;
	/* Inside of a message. */
	grpc_body_begin(&b, GRPC_WEB, 200);
	grpc_body_feed(&b, (const uint8_t *)"\0\0\1\0\0ab", 7);
	grpc_body_skip(&b, 65536 - 2);
	grpc_body_feed(&b, (const uint8_t *)"\x80\0\0\0\xdgrpc-status:3", 18);
	assert_int_equal(grpc_body_status(&b), 3);
	/* Over the head of the next one: the place is lost … */
	grpc_body_begin(&b, GRPC_WEB, 200);
	grpc_body_feed(&b, (const uint8_t *)"\0\0\1\0\0ab", 7);
	grpc_body_skip(&b, 65536);
	grpc_body_feed(&b, (const uint8_t *)"\x80\0\0\0\xdgrpc-status:3", 18);
	assert_int_equal(grpc_body_status(&b), -ENOENT);
	/* … until a frame has just the last message in it. */
	grpc_body_frame(&b, 19);
	grpc_body_feed(&b, (const uint8_t *)"\x80\0\0\0\xdgrpc-status:3", 18);
	assert_int_equal(grpc_body_status(&b), -ENOENT);
	grpc_body_frame(&b, 18);
	grpc_body_feed(&b, (const uint8_t *)"\x80\0\0\0\xdgrpc-status:3", 18);
	assert_int_equal(grpc_body_status(&b), 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(knows_a_call_by_its_type),
		cmocka_unit_test(knows_a_connect_call_by_get),
		cmocka_unit_test(a_target_names_a_method),
		cmocka_unit_test(codes_are_0_to_16),
		cmocka_unit_test(reads_the_status_out_of_a_body),
		cmocka_unit_test(messages_that_are_not_seen_do_not_matter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
