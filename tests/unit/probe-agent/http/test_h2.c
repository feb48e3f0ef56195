/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/probe-agent/http/h2_script.h"

/* What each frame, and each way to end, means for the requests under way. */

#define END H2_FLAG_END_STREAM

static struct talk t;
static struct player p;

static int set_up(void **state)
{
	(void)state;
	talk_init(&t);
	player_init(&p, NULL);
	player_connect(&p, H2_START_PREFACE);
	talk_preface(&t);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	player_fini(&p);
	talk_fini(&t);
	return 0;
}

/* All that was said so far comes to these lines. */
static void assert_lines(const char *want)
{
	player_play(&p, &t, 0, SIZE_MAX);
	assert_false(p.refused);
	assert_string_equal(player_take(&p), want);
}

static void pairs_by_stream(void **state)
{
	(void)state;
	talk_headers(&t, CLIENT, END, 1, GET("/a"));
	talk_headers(&t, CLIENT, 0, 3, GET("/b"));
	talk_headers(&t, CLIENT, END, 5, GET("/c"));
	talk_data(&t, CLIENT, 0, 3, 100);
	talk_headers(&t, SERVER, END, 5, ":status: 404\n");
	talk_headers(&t, SERVER, 0, 1, ":status: 200\n");
	talk_data(&t, CLIENT, END, 3, 11);
	talk_data(&t, SERVER, 0, 1, 70000);
	talk_headers(&t, SERVER, 0, 3, ":status: 500\n");
	talk_data(&t, SERVER, END, 3, 7);
	talk_data(&t, SERVER, END, 1, 30000);
	assert_lines("5 GET /c 404 complete 0 0 host=a.test\n"
		     "3 GET /b 500 complete 111 7 host=a.test\n"
		     "1 GET /a 200 complete 0 100000 host=a.test\n");
	assert_int_equal(player_stats(&p).connections, 1);
	assert_int_equal(player_stats(&p).joined, 0);
	assert_int_equal(player_stats(&p).blocks, 6);
	assert_int_equal(player_stats(&p).exchanges, 3);
}

static void an_answer_may_come_before_its_request(void **state)
{
	(void)state;
	talk_headers(&t, SERVER, 0, 1, ":status: 200\n");
	talk_data(&t, SERVER, END, 1, 5);
	talk_headers(&t, SERVER, 0, 3, ":status: 201\n");
	talk_headers(&t, CLIENT, END, 1, GET("/a"));
	talk_headers(&t, CLIENT, END, 3, GET("/b"));
	talk_data(&t, SERVER, END, 3, 6);
	assert_lines("1 GET /a 200 complete 0 5 host=a.test\n"
		     "3 GET /b 201 complete 0 6 host=a.test\n");
	assert_int_equal(player_stats(&p).orphans, 0);
}

static void an_answer_without_a_request_is_an_orphan(void **state)
{
	(void)state;
	talk_headers(&t, SERVER, END, 3, ":status: 200\n");
	talk_headers(&t, SERVER, 0, 7, ":status: 200\n");
	talk_headers(&t, CLIENT, END, 5, GET("/a"));
	talk_headers(&t, SERVER, END, 5, ":status: 200\n");
	assert_lines("5 GET /a 200 complete 0 0 host=a.test\n");
	assert_int_equal(player_stats(&p).orphans, 1); /* 3; 7 may come */
	player_close(&p, OUTCOME_ABORTED);
	assert_int_equal(player_stats(&p).orphans, 2);
}

static void interim_answers_are_not_the_answer(void **state)
{
	(void)state;
	p.times = true;
	talk_headers(&t, CLIENT, 0, 1, GET("/a"));
	talk_headers(&t, SERVER, 0, 1, ":status: 100\n");
	talk_headers(&t, SERVER, 0, 1, ":status: 103\nlink: </x>\n");
	talk_data(&t, CLIENT, END, 1, 5);
	talk_wait(&t, 700000);
	talk_headers(&t, SERVER, END, 1, ":status: 204\n");
	/* The request's call is the 5th, the answer's the 9th. */
	assert_lines("1 GET /a 204 complete 5 0 host=a.test "
		     "5000+704000+704500\n");
}

static void an_interim_answer_is_no_status(void **state)
{
	(void)state;
	talk_headers(&t, CLIENT, END, 1, GET("/a"));
	talk_headers(&t, SERVER, 0, 1, ":status: 103\n");
	talk_reset(&t, SERVER, 1, 2);
	assert_lines("1 GET /a 0 reset 0 0 host=a.test\n");
}

static void trailers_have_the_status_of_a_call(void **state)
{
	(void)state;
	talk_headers(&t, CLIENT, 0, 1, CALL("/p.S/M"));
	talk_data(&t, CLIENT, END, 1, 50);
	talk_headers(&t, SERVER, 0, 1,
		     ":status: 200\ncontent-type: application/grpc\n");
	talk_data(&t, SERVER, 0, 1, 60);
	talk_headers(&t, SERVER, END, 1, "grpc-status: 5\ngrpc-message: x\n");
	/* Only trailers. */
	talk_headers(&t, CLIENT, END, 3, CALL("/p.S/N"));
	talk_headers(&t, SERVER, END, 3,
		     ":status: 200\ncontent-type: application/grpc\n"
		     "grpc-status: 12\n");
	/* None; and one that is no number of a code. */
	talk_headers(&t, CLIENT, END, 5, CALL("/p.S/O"));
	talk_headers(&t, SERVER, 0, 5, ":status: 200\n");
	talk_headers(&t, SERVER, END, 5, "x: y\n");
	talk_headers(&t, CLIENT, END, 7, CALL("/p.S/P"));
	talk_headers(&t, SERVER, 0, 7, ":status: 200\n");
	talk_headers(&t, SERVER, END, 7, "grpc-status: 17\n");
	assert_lines("1 POST /p.S/M 200 complete 50 60 host=a.test grpc=5\n"
		     "3 POST /p.S/N 200 complete 0 0 host=a.test grpc=12\n"
		     "5 POST /p.S/O 200 complete 0 0 host=a.test grpc=?\n"
		     "7 POST /p.S/P 200 complete 0 0 host=a.test grpc=?\n");
}

static void trailers_of_requests_end_nothing(void **state)
{
	(void)state;
	talk_headers(&t, CLIENT, 0, 1, GET("/a"));
	talk_data(&t, CLIENT, 0, 1, 3);
	talk_headers(&t, CLIENT, END, 1, "x-checksum: 1\n");
	talk_headers(&t, SERVER, END, 1, ":status: 200\n");
	/* Of a stream that is closed: they count for the table only. */
	talk_headers(&t, CLIENT, END, 1, "x-late: 2\n");
	talk_headers(&t, CLIENT, END, 3, GET("/b") "x-late: 2\n");
	talk_headers(&t, SERVER, END, 3, ":status: 200\n");
	assert_lines("1 GET /a 200 complete 3 0 host=a.test\n"
		     "3 GET /b 200 complete 0 0 host=a.test\n");
}

static void an_early_answer_ends_the_request(void **state)
{
	(void)state;
	talk_headers(&t, CLIENT, 0, 1, GET("/a"));
	talk_data(&t, CLIENT, 0, 1, 10);
	talk_headers(&t, SERVER, END, 1, ":status: 413\n");
	talk_reset(&t, SERVER, 1, 0); /* NO_ERROR: stop sending */
	talk_data(&t, CLIENT, END, 1, 20);
	talk_reset(&t, CLIENT, 1, 8);
	assert_lines("1 GET /a 413 complete 10 0 host=a.test\n");
}

/* What moved until then counts, though no piece has told of it. */
static void an_answer_counts_what_was_uploaded(void **state)
{
	struct talk_call *last;

	(void)state;
	talk_headers(&t, CLIENT, 0, 1, GET("/a"));
	talk_data(&t, CLIENT, END, 1, 5000);
	last = &t.calls[t.n - 1];
	last->len = H2_HEAD_BYTES + 3000; /* the rest comes later */
	talk_headers(&t, SERVER, END, 1, ":status: 200\n");
	p.unit = 500;
	assert_lines("1 GET /a 200 complete 3000 0 host=a.test\n");
}

static void a_reset_is_of_the_side_that_sends_it(void **state)
{
	(void)state;
	talk_headers(&t, CLIENT, END, 1, GET("/a"));
	talk_headers(&t, CLIENT, END, 3, GET("/b"));
	talk_headers(&t, CLIENT, END, 5, GET("/c"));
	talk_headers(&t, SERVER, 0, 3, ":status: 200\n");
	talk_data(&t, SERVER, 0, 3, 9);
	talk_reset(&t, CLIENT, 3, 8);
	talk_reset(&t, SERVER, 1, 7);
	talk_reset(&t, CLIENT, 5, 8);
	talk_reset(&t, CLIENT, 7, 8); /* never was */
	talk_data(&t, SERVER, END, 3, 9);
	assert_lines("3 GET /b 200 aborted 0 9 host=a.test\n"
		     "1 GET /a 0 reset 0 0 host=a.test\n"
		     "5 GET /c 0 aborted 0 0 host=a.test\n");
}

static void goaway_ends_what_was_not_taken(void **state)
{
	(void)state;
	talk_headers(&t, CLIENT, END, 1, GET("/a"));
	talk_headers(&t, CLIENT, END, 3, GET("/b"));
	talk_headers(&t, CLIENT, END, 5, GET("/c"));
	talk_goaway(&t, SERVER, INT32_MAX); /* soon */
	talk_goaway(&t, SERVER, 3);
	talk_goaway(&t, CLIENT, 0); /* of pushed streams, and there is none */
	talk_headers(&t, SERVER, END, 3, ":status: 200\n");
	talk_headers(&t, SERVER, END, 1, ":status: 200\n");
	assert_lines("5 GET /c 0 aborted 0 0 host=a.test\n"
		     "3 GET /b 200 complete 0 0 host=a.test\n"
		     "1 GET /a 200 complete 0 0 host=a.test\n");
}

static void a_promise_is_a_request(void **state)
{
	(void)state;
	talk_headers(&t, CLIENT, END, 1, GET("/a"));
	talk_promise(&t, 1, 2, GET("/a.css"));
	talk_promise(&t, 1, 4, GET("/b.css"));
	talk_promise(&t, 1, 6, GET("/c.css"));
	talk_headers(&t, SERVER, END, 1, ":status: 200\n");
	talk_headers(&t, SERVER, 0, 2, ":status: 200\n");
	talk_data(&t, SERVER, END, 2, 8);
	talk_reset(&t, CLIENT, 4, 8); /* I have it already */
	talk_goaway(&t, CLIENT, 5);
	assert_lines("1 GET /a 200 complete 0 0 host=a.test\n"
		     "2 GET /a.css 200 complete 0 8 host=a.test\n"
		     "4 GET /b.css 0 aborted 0 0 host=a.test\n"
		     "6 GET /c.css 0 aborted 0 0 host=a.test\n");
}

static void connect_becomes_a_tunnel(void **state)
{
	(void)state;
	p.times = true;
	talk_headers(&t, CLIENT, 0, 1,
		     ":method: CONNECT\n:authority: b.test:443\n");
	talk_headers(&t, SERVER, 0, 1, ":status: 200\n");
	talk_data(&t, CLIENT, 0, 1, 10);
	talk_data(&t, SERVER, END, 1, 20);
	talk_data(&t, CLIENT, END, 1, 30);
	assert_lines("1 CONNECT 200 complete 0 0 host=b.test:443 "
		     "5000+1000+1500\n"
		     "tunnel connect 40 20 6500+3000\n");
	assert_int_equal(player_stats(&p).tunnels, 1);
}

static void websockets_are_tunnels(void **state)
{
	(void)state;
	talk_headers(&t, CLIENT, 0, 1,
		     ":method: CONNECT\n:protocol: websocket\n:scheme: http\n"
		     ":path: /chat\n:authority: a.test\n");
	talk_headers(&t, CLIENT, 0, 3,
		     ":method: CONNECT\n:protocol: connect-udp\n"
		     ":scheme: http\n:path: /\n:authority: a.test\n");
	talk_headers(&t, CLIENT, 0, 5,
		     ":method: CONNECT\n:authority: no.test\n");
	talk_headers(&t, SERVER, 0, 1, ":status: 200\n");
	talk_headers(&t, SERVER, 0, 3, ":status: 200\n");
	talk_headers(&t, SERVER, 0, 5, ":status: 403\n");
	talk_data(&t, SERVER, END, 5, 9);
	talk_data(&t, SERVER, 0, 1, 5);
	talk_reset(&t, CLIENT, 1, 8);
	assert_lines("1 CONNECT /chat 200 complete 0 0 host=a.test\n"
		     "3 CONNECT / 200 complete 0 0 host=a.test\n"
		     "5 CONNECT 403 complete 0 9 host=no.test\n"
		     "tunnel websocket 0 5\n");
	player_close(&p, OUTCOME_RESET);
	assert_string_equal(player_take(&p), "tunnel other 0 0\n");
}

static void padding_and_priority_are_no_content(void **state)
{
	uint8_t payload[600] = { 3, 0x80, 0, 0, 0, 15 };
	size_t n;

	(void)state;
	n = 6 + talk_block(&t, CLIENT, GET("/a"), payload + 6, 300);
	memset(payload + n, 0, 3);
	talk_frame(&t, CLIENT, H2_HEADERS,
		   H2_FLAG_END_HEADERS | H2_FLAG_PADDED | H2_FLAG_PRIORITY, 1,
		   payload, n + 3);
	memset(payload, 0, sizeof(payload));
	payload[0] = 99; /* 600 bytes: 1 and 99 are padding */
	talk_frame(&t, CLIENT, H2_DATA, H2_FLAG_PADDED, 1, payload, 600);
	payload[0] = 4; /* only padding */
	talk_frame(&t, CLIENT, H2_DATA, END | H2_FLAG_PADDED, 1, payload, 5);
	talk_headers(&t, SERVER, 0, 1, ":status: 200\n");
	payload[0] = 255;
	talk_frame(&t, SERVER, H2_DATA, END | H2_FLAG_PADDED, 1, payload, 300);
	assert_lines("1 GET /a 200 complete 500 44 host=a.test\n");
}

static void header_blocks_may_be_in_many_frames(void **state)
{
	char long_field[2000] = GET("/a") "x-long: ";
	size_t n = strlen(long_field);

	(void)state;
	memset(long_field + n, 'x', sizeof(long_field) - n - 2);
	long_field[sizeof(long_field) - 2] = '\n';
	talk_headers_in(&t, CLIENT, END, 1, long_field, 40);
	talk_headers_in(&t, SERVER, END, 1, ":status: 200\nserver: x\n", 1);
	/* END_STREAM is on the first frame, the end behind the last. */
	p.times = true;
	player_play(&p, &t, 0, t.n - 1);
	assert_string_equal(player_take(&p), "");
	player_play(&p, &t, t.n - 1, SIZE_MAX);
	assert_non_null(strstr(player_take(&p), "1 GET /a 200 complete 0 0"));
}

static void settings_of_the_table_are_not_followed(void **state)
{
	uint8_t block[64];
	size_t n;

	(void)state;
	/* The answering side allows none; the encoder's word is what counts. */
	talk_frame(&t, SERVER, H2_SETTINGS, 0, 0, "\0\1\0\0\0\0", 6);
	talk_headers(&t, CLIENT, END, 1, GET("/a"));
	talk_headers(&t, CLIENT, END, 3, GET("/a"));
	nghttp2_hd_deflate_change_table_size(t.encoder[CLIENT], 0);
	n = talk_block(&t, CLIENT, GET("/b"), block, sizeof(block));
	assert_int_equal(block[0] & 0xe0, 0x20);
	talk_frame(&t, CLIENT, H2_HEADERS, END | H2_FLAG_END_HEADERS, 5, block,
		   n);
	for (uint32_t id = 1; id < 7; id += 2)
		talk_headers(&t, SERVER, END, id, ":status: 200\n");
	assert_lines("1 GET /a 200 complete 0 0 host=a.test\n"
		     "3 GET /a 200 complete 0 0 host=a.test\n"
		     "5 GET /b 200 complete 0 0 host=a.test\n");
}

static void other_frames_say_nothing(void **state)
{
	(void)state;
	talk_headers(&t, CLIENT, END, 1, GET("/a"));
	talk_frame(&t, CLIENT, H2_PING, 0, 0, "12345678", 8);
	talk_frame(&t, SERVER, H2_PING, H2_FLAG_ACK, 0, "12345678", 8);
	talk_frame(&t, CLIENT, H2_WINDOW_UPDATE, 0, 0, "\0\0\1\0", 4);
	talk_frame(&t, CLIENT, H2_WINDOW_UPDATE, 0, 1, "\0\0\1\0", 4);
	talk_frame(&t, CLIENT, H2_PRIORITY, 0, 1, "\0\0\0\0\1", 5);
	talk_frame(&t, SERVER, 0x0a, 0xff, 0, "altsvc", 6);
	talk_frame(&t, SERVER, 0xfe, 0, 77, NULL, 5000);
	talk_headers(&t, SERVER, END, 1, ":status: 200\n");
	assert_lines("1 GET /a 200 complete 0 0 host=a.test\n");
	assert_int_equal(player_stats(&p).desynced[H2_DESYNC_FRAME], 0);
}

static void the_end_of_answers_aborts_all(void **state)
{
	(void)state;
	talk_headers(&t, CLIENT, END, 1, GET("/a"));
	talk_headers(&t, CLIENT, END, 3, GET("/b"));
	talk_headers(&t, SERVER, 0, 3, ":status: 200\n");
	player_play(&p, &t, 0, SIZE_MAX);
	h2_end(p.h, CLIENT, p.now_ns); /* more requests will not come */
	assert_string_equal(player_take(&p), "");
	h2_end(p.h, SERVER, p.now_ns);
	assert_string_equal(player_take(&p),
			    "1 GET /a 0 aborted 0 0 host=a.test\n"
			    "3 GET /b 200 aborted 0 0 host=a.test\n");
}

static void the_close_tells_how_all_end(void **state)
{
	static const struct {
		enum outcome outcome;
		const char *line;
	} cases[] = {
		{ OUTCOME_ABORTED, "1 GET /a 200 aborted 0 30 host=a.test\n" },
		{ OUTCOME_RESET, "1 GET /a 200 reset 0 30 host=a.test\n" },
		{ OUTCOME_TIMEOUT, "1 GET /a 200 timeout 0 30 host=a.test\n" },
	};
	struct talk_call *last;

	(void)state;
	talk_headers(&t, CLIENT, END, 1, GET("/a"));
	talk_headers(&t, SERVER, 0, 1, ":status: 200\n");
	talk_data(&t, SERVER, END, 1, 1000);
	/* Of the last frame only a part came. */
	last = &t.calls[t.n - 1];
	last->len = H2_HEAD_BYTES + 30;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		player_connect(&p, H2_START_PREFACE);
		player_play(&p, &t, 0, SIZE_MAX);
		player_close(&p, cases[i].outcome);
		assert_string_equal(player_take(&p), cases[i].line);
	}
}

static void a_close_that_was_not_seen_loses_all(void **state)
{
	(void)state;
	talk_headers(&t, CLIENT, END, 1, GET("/a"));
	talk_headers(&t, CLIENT, END, 3, GET("/b"));
	talk_headers(&t, SERVER, 0, 3, ":status: 200\n");
	assert_lines("");
	assert_int_equal(player_stats(&p).open_streams, 2);
	h2_vanish(p.h);
	assert_string_equal(player_take(&p), "");
	assert_int_equal(player_stats(&p).lost_gap, 2);
	assert_int_equal(player_stats(&p).open_streams, 0);
}

static void a_head_that_breaks_off_is_malformed(void **state)
{
	(void)state;
	talk_headers_in(&t, CLIENT, END, 1, GET("/a"), 5);
	player_play(&p, &t, 0, t.n - 1);
	player_close(&p, OUTCOME_ABORTED);
	assert_string_equal(player_take(&p), "");
	assert_int_equal(player_stats(&p).malformed, 1);
}

static void an_upgraded_request_is_stream_1(void **state)
{
	const struct h2_exchange first = {
		.method = { "GET", 3 },
		.target = { "/up", 3 },
		.host = { "a.test", 6 },
		.start_ns = 500,
		.request_bytes = 12,
	};

	(void)state;
	player_connect(&p, H2_START_UPGRADED);
	h2_upgrade(p.h, &first);
	talk_headers(&t, SERVER, 0, 1, ":status: 200\n");
	talk_data(&t, SERVER, END, 1, 5);
	talk_headers(&t, CLIENT, END, 3, GET("/b"));
	talk_headers(&t, SERVER, END, 3, ":status: 200\n");
	assert_lines("1 GET /up 200 complete 12 5 host=a.test\n"
		     "3 GET /b 200 complete 0 0 host=a.test\n");
	assert_int_equal(player_stats(&p).connections, 1);
}

static void what_begins_otherwise_is_refused(void **state)
{
	static const char *const others[] = {
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\r",
		"PRI / HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: ab\r\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++) {
		struct talk other;

		talk_init(&other);
		talk_call(&other, CLIENT, others[i], H2_PREFACE_BYTES);
		player_connect(&p, H2_START_PREFACE);
		player_play(&p, &other, 0, SIZE_MAX);
		assert_true(p.refused);
		assert_int_equal(player_stats(&p).connections, 0);
		talk_fini(&other);
	}
}

static void the_answer_ends_with_its_last_byte(void **state)
{
	(void)state;
	p.times = true;
	talk_headers(&t, CLIENT, END, 1, GET("/a"));
	talk_headers(&t, SERVER, 0, 1, ":status: 200\n");
	talk_wait(&t, 1000000);
	talk_data(&t, SERVER, END, 1, 100000);
	p.unit = 20000; /* five more calls, and 9 bytes */
	assert_lines("1 GET /a 200 complete 0 100000 host=a.test "
		     "5000+1000+1007500\n");
	/* The same in one call. */
	player_connect(&p, H2_START_PREFACE);
	p.unit = 0;
	p.now_ns = 1000;
	assert_lines("1 GET /a 200 complete 0 100000 host=a.test "
		     "5000+1000+1002500\n");
}

static void connect_and_grpc_web_have_their_status_in_the_body(void **state)
{
	static const char web[] = "\0\0\0\0\3abc"
				  "\x80\0\0\0\x10grpc-status: 13\n";
	static const char stream[] = "\0\0\0\0\2{}"
				     "\2\0\0\0\x1d"
				     "{\"error\":{\"code\":\"aborted\"} }";
	static const char unary[] = "{\"code\":\"not_found\"}";

	(void)state;
	talk_headers(
		&t, CLIENT, END, 1,
		":method: POST\n:scheme: http\n:path: /p.S/W\n"
		":authority: a\ncontent-type: application/grpc-web+proto\n");
	talk_headers(&t, SERVER, 0, 1,
		     ":status: 200\ncontent-type: application/grpc-web\n");
	talk_frame(&t, SERVER, H2_DATA, END, 1, web, sizeof(web) - 1);
	talk_headers(&t, CLIENT, END, 3,
		     ":method: POST\n:scheme: http\n:path: /p.S/C\n"
		     ":authority: a\ncontent-type: application/connect+json\n");
	talk_headers(&t, SERVER, 0, 3, ":status: 200\n");
	talk_frame(&t, SERVER, H2_DATA, END, 3, stream, sizeof(stream) - 1);
	talk_headers(&t, CLIENT, END, 5,
		     ":method: POST\n:scheme: http\n:path: /p.S/U\n"
		     ":authority: a\ncontent-type: application/json\n"
		     "connect-protocol-version: 1\n");
	talk_headers(&t, SERVER, 0, 5, ":status: 404\n");
	talk_frame(&t, SERVER, H2_DATA, END, 5, unary, sizeof(unary) - 1);
	talk_headers(&t, CLIENT, END, 7, GET("/p.S/G?connect=v1&message=x"));
	talk_headers(&t, SERVER, END, 7, ":status: 200\n");
	/* Only trailers: then it is in the head. */
	talk_headers(
		&t, CLIENT, END, 9,
		":method: POST\n:scheme: http\n:path: /p.S/W\n"
		":authority: a\ncontent-type: application/grpc-web+proto\n");
	talk_headers(&t, SERVER, END, 9,
		     ":status: 200\ncontent-type: application/grpc-web\n"
		     "grpc-status: 7\n");
	assert_lines("1 POST /p.S/W 200 complete 0 29 host=a grpc=13\n"
		     "3 POST /p.S/C 200 complete 0 41 host=a connect=10\n"
		     "5 POST /p.S/U 404 complete 0 20 host=a connect=5\n"
		     "7 GET /p.S/G?connect=v1&message=x 200 complete 0 0 "
		     "host=a.test connect=0\n"
		     "9 POST /p.S/W 200 complete 0 0 host=a grpc=7\n");
}

static void host_stands_in_for_an_authority(void **state)
{
	(void)state;
	talk_headers(&t, CLIENT, END, 1,
		     ":method: GET\n:scheme: http\n:path: /a\nhost: h.test\n");
	talk_headers(&t, CLIENT, END, 3, GET("/b") "host: h.test\n");
	talk_headers(&t, SERVER, END, 1, ":status: 200\n");
	talk_headers(&t, SERVER, END, 3, ":status: 200\n");
	assert_lines("1 GET /a 200 complete 0 0 host=h.test\n"
		     "3 GET /b 200 complete 0 0 host=a.test\n");
}

static void traceparent_is_kept(void **state)
{
	(void)state;
	talk_headers(&t, CLIENT, END, 1,
		     GET("/a") "traceparent: 00-0af7651916cd43dd8448eb211c80319"
			       "c-b7ad6b7169203331-01\n");
	talk_headers(&t, SERVER, END, 1, ":status: 200\n");
	assert_lines("1 GET /a 200 complete 0 0 host=a.test trace=00-0af76519"
		     "16cd43dd8448eb211c80319c-b7ad6b7169203331-01\n");
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(pairs_by_stream),
		T(an_answer_may_come_before_its_request),
		T(an_answer_without_a_request_is_an_orphan),
		T(interim_answers_are_not_the_answer),
		T(an_interim_answer_is_no_status),
		T(trailers_have_the_status_of_a_call),
		T(trailers_of_requests_end_nothing),
		T(an_early_answer_ends_the_request),
		T(an_answer_counts_what_was_uploaded),
		T(a_reset_is_of_the_side_that_sends_it),
		T(goaway_ends_what_was_not_taken),
		T(a_promise_is_a_request),
		T(connect_becomes_a_tunnel),
		T(websockets_are_tunnels),
		T(padding_and_priority_are_no_content),
		T(header_blocks_may_be_in_many_frames),
		T(settings_of_the_table_are_not_followed),
		T(other_frames_say_nothing),
		T(the_end_of_answers_aborts_all),
		T(the_close_tells_how_all_end),
		T(a_close_that_was_not_seen_loses_all),
		T(a_head_that_breaks_off_is_malformed),
		T(an_upgraded_request_is_stream_1),
		T(what_begins_otherwise_is_refused),
		T(the_answer_ends_with_its_last_byte),
		T(connect_and_grpc_web_have_their_status_in_the_body),
		T(host_stands_in_for_an_authority),
		T(traceparent_is_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
