/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/probe-agent/http/h2_script.h"

/*
 * A conversation with everything in it. However its calls are cut, what comes
 * out is the same.
 */

#define END H2_FLAG_END_STREAM

static struct talk t;
static struct player p;

static void say_padded(void)
{
	uint8_t payload[600] = { 2, 0x80, 0, 0, 0, 15 };
	size_t n = 6 + talk_block(&t, CLIENT, GET("/padded"), payload + 6, 300);

	talk_frame(&t, CLIENT, H2_HEADERS,
		   H2_FLAG_END_HEADERS | H2_FLAG_PADDED | H2_FLAG_PRIORITY, 5,
		   payload, n + 2);
	payload[0] = 30;
	talk_frame(&t, CLIENT, H2_DATA, H2_FLAG_PADDED, 5, payload, 600);
	payload[0] = 7;
	talk_frame(&t, CLIENT, H2_DATA, END | H2_FLAG_PADDED, 5, payload, 8);
	talk_frame(&t, SERVER, H2_PUSH_PROMISE, 0, 5,
		   "\0\0\0\2\x82\x86\x84\x41\1a", 10);
	talk_frame(&t, SERVER, H2_CONTINUATION, H2_FLAG_END_HEADERS, 5,
		   "\x40\1x\1y", 5);
	talk_headers(&t, SERVER, 0, 2, ":status: 200\nx: y\n");
	payload[0] = 255;
	talk_frame(&t, SERVER, H2_DATA, END | H2_FLAG_PADDED, 2, payload, 300);
	talk_headers(&t, SERVER, END, 5, ":status: 304\n");
}

static void say_calls(void)
{
	static const char web[] = "\0\0\0\0\3abc"
				  "\x80\0\0\0\x11grpc-status: 13\r\n";

	talk_headers(&t, CLIENT, 0, 7, CALL("/p.S/Chat") "x-many: 1\n");
	for (int i = 0; i < 3; i++) {
		talk_data(&t, CLIENT, 0, 7, 40);
		if (i == 0)
			talk_headers(&t, SERVER, 0, 7,
				     ":status: 200\ncontent-type: "
				     "application/grpc\n");
		talk_data(&t, SERVER, 0, 7, 30);
	}
	talk_data(&t, CLIENT, END, 7, 0);
	talk_headers(&t, SERVER, END, 7, "grpc-status: 0\n");
	talk_headers(&t, CLIENT, END, 9,
		     ":method: POST\n:scheme: http\n:path: /p.S/W\n"
		     ":authority: a\ncontent-type: application/grpc-web\n");
	talk_headers(&t, SERVER, 0, 9,
		     ":status: 200\ncontent-type: application/grpc-web\n");
	talk_frame(&t, SERVER, H2_DATA, END, 9, web, sizeof(web) - 1);
}

static void say_everything(void)
{
	talk_preface(&t);
	talk_headers(&t, CLIENT, 0, 1, GET("/a"));
	talk_headers_in(&t, CLIENT, END, 3, GET("/continued") "x: 12345\n", 7);
	talk_data(&t, CLIENT, 0, 1, 70);
	talk_data(&t, CLIENT, END, 1, 700);
	talk_headers(&t, SERVER, 0, 1, ":status: 100\n");
	talk_headers(&t, SERVER, 0, 1, ":status: 200\nserver: x\n");
	talk_headers_in(&t, SERVER, 0, 3, ":status: 206\nserver: x\nz: y\n", 2);
	talk_data(&t, SERVER, 0, 3, 3000);
	talk_frame(&t, SERVER, H2_PING, 0, 0, "12345678", 8);
	talk_frame(&t, SERVER, 0x20, 0xff, 9, NULL, 40);
	talk_frame(&t, CLIENT, H2_WINDOW_UPDATE, 0, 3, "\0\0\1\0", 4);
	talk_data(&t, SERVER, END, 1, 0);
	talk_data(&t, SERVER, END, 3, 600);
	say_padded();
	say_calls();
	talk_headers(&t, CLIENT, END, 11, GET("/reset"));
	talk_headers(&t, CLIENT, 0, 13, GET("/cancelled"));
	talk_reset(&t, SERVER, 11, 7);
	talk_reset(&t, CLIENT, 13, 8);
	talk_headers(&t, CLIENT, 0, 15,
		     ":method: CONNECT\n:authority: b.test:443\n");
	talk_headers(&t, SERVER, 0, 15, ":status: 200\n");
	talk_data(&t, CLIENT, END, 15, 600);
	talk_data(&t, SERVER, END, 15, 20);
	talk_headers(&t, CLIENT, END, 17, GET("/taken"));
	talk_headers(&t, CLIENT, END, 19, GET("/not_taken"));
	talk_goaway(&t, SERVER, 17);
	talk_headers(&t, SERVER, END, 17, ":status: 503\n");
}

static const char everything[] =
	"1 GET /a 200 complete 770 0 host=a.test\n"
	"3 GET /continued 206 complete 0 3600 host=a.test\n"
	"2 GET / 200 complete 0 44 host=a\n"
	"5 GET /padded 304 complete 569 0 host=a.test\n"
	"7 POST /p.S/Chat 200 complete 120 90 host=a.test grpc=0\n"
	"9 POST /p.S/W 200 complete 0 30 host=a grpc=13\n"
	"11 GET /reset 0 reset 0 0 host=a.test\n"
	"13 GET /cancelled 0 aborted 0 0 host=a.test\n"
	"15 CONNECT 200 complete 0 0 host=b.test:443\n"
	"tunnel connect 600 20\n"
	"19 GET /not_taken 0 aborted 0 0 host=a.test\n"
	"17 GET /taken 503 complete 0 0 host=a.test\n";

static int set_up(void **state)
{
	(void)state;
	talk_init(&t);
	say_everything();
	player_init(&p, NULL);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	player_fini(&p);
	talk_fini(&t);
	return 0;
}

static void play(void)
{
	player_connect(&p, H2_START_PREFACE);
	player_play(&p, &t, 0, SIZE_MAX);
	assert_false(p.refused);
	assert_string_equal(player_take(&p), everything);
	assert_int_equal(h2_open_streams(p.h), 0);
}

static void assert_nothing_odd(void)
{
	struct h2_stats s = player_stats(&p);

	for (int i = 0; i < H2_DESYNCS; i++)
		assert_int_equal(s.desynced[i], 0);
	for (int i = 0; i < H2_UNKNOWNS; i++)
		assert_int_equal(s.unknown[i], 0);
	assert_int_equal(s.malformed, 0);
	assert_int_equal(s.orphans, 0);
	assert_int_equal(s.lost_gap, 0);
	assert_int_equal(s.lost_buffer, 0);
}

static void a_cut_anywhere_changes_nothing(void **state)
{
	(void)state;
	play();
	for (size_t i = 0; i < t.n; i++) {
		p.cut_call = i;
		for (size_t at = 1; at < t.calls[i].len; at++) {
			p.cut_at = at;
			play();
		}
	}
	assert_nothing_odd();
}

static void calls_of_any_length_change_nothing(void **state)
{
	(void)state;
	for (p.unit = 1; p.unit < 700; p.unit++)
		play();
	assert_nothing_odd();
}

static void records_of_any_length_change_nothing(void **state)
{
	(void)state;
	for (p.kernel.piece_max = 1; p.kernel.piece_max < 300;
	     p.kernel.piece_max++)
		play();
	assert_nothing_odd();
}

/* All calls of one direction that follow each other become one. */
static void calls_that_hold_many_frames_change_nothing(void **state)
{
	struct talk joined;

	(void)state;
	talk_init(&joined);
	for (size_t i = 0; i < t.n; i++) {
		talk_call(&joined, t.calls[i].dir, t.calls[i].data,
			  t.calls[i].len);
		if (i && t.calls[i].dir == t.calls[i - 1].dir)
			talk_join(&joined);
	}
	assert_true(joined.n < t.n / 2);
	for (p.kernel.piece_max = 1; p.kernel.piece_max < 300;
	     p.kernel.piece_max += 7) {
		player_connect(&p, H2_START_PREFACE);
		player_play(&p, &joined, 0, SIZE_MAX);
		assert_string_equal(player_take(&p), everything);
	}
	assert_nothing_odd();
	talk_fini(&joined);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_cut_anywhere_changes_nothing),
		T(calls_of_any_length_change_nothing),
		T(records_of_any_length_change_nothing),
		T(calls_that_hold_many_frames_change_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
