/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/probe-agent/http/h2_script.h"

/* Pieces that are lost, connections that are joined late, caps and floods. */

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

static void restart(const struct h2_options *opt, enum h2_start start)
{
	player_fini(&p);
	player_init(&p, opt);
	player_connect(&p, start);
}

/* Plays what was said since the last time. */
static size_t played;

static void play(void)
{
	if (played > t.n)
		played = 0;
	player_play(&p, &t, played, SIZE_MAX);
	played = t.n;
}

static void play_lost(void)
{
	p.kernel.lose = true;
	play();
	p.kernel.lose = false;
}

static int set_up_played(void **state)
{
	set_up(state);
	played = 0;
	play();
	return 0;
}

/* --- loss --- */

static void after_a_loss_what_ends_is_counted(void **state)
{
	(void)state;
	talk_headers(&t, CLIENT, END, 1, GET("/a"));
	talk_headers(&t, CLIENT, END, 3, GET("/b"));
	talk_headers(&t, CLIENT, END, 5, GET("/c"));
	talk_headers(&t, SERVER, 0, 3, ":status: 200\n");
	play();
	talk_data(&t, SERVER, 0, 3, 10);
	talk_headers(&t, SERVER, END, 1, ":status: 200\n");
	play_lost();
	talk_data(&t, SERVER, END, 3, 20);
	talk_headers(&t, SERVER, END, 5, ":status: 404\n");
	play();
	assert_string_equal(player_take(&p),
			    "3 GET /b 200 complete 0 20 host=a.test\n"
			    "5 GET /c 404 complete 0 0 host=a.test\n");
	/* How the first one ended was lost. */
	player_close(&p, OUTCOME_ABORTED);
	assert_string_equal(player_take(&p), "");
	assert_int_equal(player_stats(&p).lost_gap, 1);
	assert_int_equal(player_stats(&p).desynced[H2_DESYNC_GAP], 1);
}

static void after_a_loss_the_table_begins_anew(void **state)
{
	(void)state;
	talk_headers(&t, CLIENT, END, 1, GET("/a"));
	play();
	talk_headers(&t, CLIENT, END, 3, GET("/a") "x: y\n");
	play_lost();
	/* path and authority are in the table, method and scheme are not. */
	talk_headers(&t, CLIENT, END, 5, GET("/a"));
	talk_headers(&t, SERVER, END, 1, ":status: 200\n");
	talk_headers(&t, SERVER, END, 3, ":status: 200\n");
	talk_headers(&t, SERVER, END, 5, ":status: 200\n");
	/* The authority is inserted anew. */
	talk_headers(&t, CLIENT, END, 7,
		     ":method: GET\n:scheme: http\n:path: /d\n"
		     ":authority: new.test\n");
	talk_headers(&t, CLIENT, END, 9,
		     ":method: GET\n:scheme: http\n:path: /d\n"
		     ":authority: new.test\n");
	talk_headers(&t, SERVER, END, 7, ":status: 200\n");
	talk_headers(&t, SERVER, END, 9, ":status: 200\n");
	play();
	assert_string_equal(player_take(&p),
			    "1 GET /a 200 complete 0 0 host=a.test\n"
			    "5 GET /a 200 complete 0 0\n"
			    "7 GET /d 200 complete 0 0 host=new.test\n"
			    "9 GET /d 200 complete 0 0 host=new.test\n");
	assert_int_equal(player_stats(&p).unknown[H2_UNKNOWN_AUTHORITY], 1);
	assert_int_equal(player_stats(&p).unknown[H2_UNKNOWN_PATH], 0);
	/* The kernel has counted 3, whose head was lost. */
	assert_int_equal(player_stats(&p).lost_gap, 0);
	assert_int_equal(player_stats(&p).orphans, 0);
}

static void a_head_whose_rest_is_lost_is_counted(void **state)
{
	(void)state;
	talk_headers_in(&t, CLIENT, END, 1, GET("/abcdefghijklmno"), 5);
	player_play(&p, &t, played, played + 1);
	p.kernel.lose = true;
	player_play(&p, &t, played + 1, played + 2);
	p.kernel.lose = false;
	/* More CONTINUATION: not an error, for its start was lost. */
	player_play(&p, &t, played + 2, SIZE_MAX);
	played = t.n;
	talk_headers(&t, SERVER, END, 1, ":status: 200\n");
	talk_headers(&t, CLIENT, END, 3, GET("/b"));
	talk_headers(&t, SERVER, END, 3, ":status: 200\n");
	play();
	assert_false(p.refused);
	/* The name was in what was lost, or not: /b is said in full. */
	assert_string_equal(player_take(&p), "3 GET /b 200 complete 0 0\n");
	assert_int_equal(player_stats(&p).lost_gap, 1);
	assert_int_equal(player_stats(&p).desynced[H2_DESYNC_ORDER], 0);
}

static void the_rest_of_a_head_is_of_no_use(void **state)
{
	static const uint8_t rest[] = { 5, 0, 0, 0, 3, 0x82, 0x86, 0x84 };
	struct h2_piece piece = { .dir = CLIENT, .have = 4, .seq = 77 };
	struct h2_stats stats;

	(void)state;
	piece.pos = h2_kernel_pos(&p.kernel, CLIENT) + 100;
	piece.data = rest;
	piece.len = sizeof(rest);
	assert_int_equal(h2_data(p.h, &piece), 0);
	/* The next piece is understood again. */
	piece.pos += sizeof(rest);
	piece.have = 0;
	piece.seq++;
	piece.data = (const uint8_t *)"\0\0\3\1\5\0\0\0\5\x82\x86\x84";
	piece.len = 12;
	assert_int_equal(h2_data(p.h, &piece), 0);
	stats = player_stats(&p);
	assert_int_equal(stats.open_streams, 1);
	assert_int_equal(stats.desynced[H2_DESYNC_GAP], 1);
	assert_int_equal(stats.desynced[H2_DESYNC_FRAME], 0);
}

static void the_middle_of_a_frame_may_come_first_after_a_loss(void **state)
{
	struct talk_call *c, head;

	(void)state;
	talk_headers(&t, CLIENT, END, 1, GET("/a"));
	talk_headers(&t, CLIENT, 0, 3, GET("/b"));
	play();
	talk_headers(&t, CLIENT, END, 5, GET("/c") "x: 1234567890\n");
	/* Of the calls that bring it only the last ones come. */
	c = &t.calls[t.n - 1];
	head = *c;
	for (size_t at = 0; at < head.len; at += 4) {
		c->data = head.data + at;
		c->len = head.len - at < 4 ? head.len - at : 4;
		p.kernel.lose = at < 24;
		player_play(&p, &t, t.n - 1, t.n);
	}
	*c = head;
	played = t.n;
	talk_headers(&t, SERVER, END, 1, ":status: 200\n");
	talk_headers(&t, SERVER, END, 3, ":status: 200\n");
	play();
	assert_string_equal(player_take(&p),
			    "1 GET /a 200 complete 0 0 host=a.test\n"
			    "3 GET /b 200 complete 0 0 host=a.test\n");
}

/* What is reported of stream id must be what was said, or nothing. */
static void assert_true_line(const char *line)
{
	unsigned id, status;
	char method[16], want[64], outcome[16];
	const char *rest = strchr(line, ' ') + 1;

	assert_int_equal(sscanf(line, "%u", &id), 1);
	snprintf(want, sizeof(want), "%s /r%u?", id % 3 ? "GET" : "PUT", id);
	/* Method and path are both there, or one, or none. */
	if (*rest != ' ')
		assert_int_equal(sscanf(rest, "%15s", method), 1);
	if (rest[0] == 'G' || rest[0] == 'P') {
		assert_memory_equal(rest, want, 3);
		rest += 3;
	}
	if (rest[1] == '/') {
		assert_memory_equal(rest, want + 3, strlen(want) - 3);
		rest = strchr(rest + 1, ' ');
	}
	assert_int_equal(sscanf(rest, " %u %15s", &status, outcome), 2);
	if (status)
		assert_int_equal(status, 200 + id % 300);
}

static uint32_t seed;

static uint32_t below(uint32_t n)
{
	seed = seed * 1664525u + 1013904223u;
	return (seed >> 8) % n;
}

/* One of the requests under way goes on, or ends. */
static void say_something_of(uint32_t id)
{
	char status[64];

	snprintf(status, sizeof(status), ":status: %u\nx-id: %u\n",
		 200 + id % 300, id % 7);
	switch (below(6)) {
	case 0:
		talk_headers_in(&t, SERVER, END, id, status, 1 + below(9));
		break;
	case 1:
		talk_reset(&t, below(2) ? SERVER : CLIENT, id, 8);
		break;
	case 2:
		talk_data(&t, CLIENT, 0, id, below(600));
		break;
	default:
		talk_headers(&t, SERVER, 0, id, status);
		talk_data(&t, SERVER, below(2) ? END : 0, id, below(2000));
	}
}

static size_t say_at_random(void)
{
	char fields[256];
	size_t n = 0;

	for (uint32_t id = 1; id < 121; id += 2, n++) {
		snprintf(fields, sizeof(fields),
			 ":method: %s\n:scheme: http\n:path: /r%u?%u\n"
			 ":authority: a%u\nx: %u\n",
			 id % 3 ? "GET" : "PUT", id, below(3), below(2),
			 below(9));
		if (below(3))
			talk_headers(&t, CLIENT, END, id, fields);
		else
			talk_headers_in(&t, CLIENT, END, id, fields,
					1 + below(30));
		for (uint32_t i = below(4); i; i--)
			say_something_of(1 + 2 * below((id + 1) / 2));
	}
	return n;
}

static void whatever_is_lost_each_request_is_counted_once(void **state)
{
	(void)state;
	for (seed = 1; seed < 300; seed++) {
		uint32_t s = seed;
		struct h2_stats stats;
		char *lines, *line, *save;
		size_t n;

		srand(seed);
		talk_fini(&t);
		talk_init(&t);
		talk_preface(&t);
		restart(NULL, H2_START_PREFACE);
		player_play(&p, &t, 0, SIZE_MAX);
		played = t.n;
		n = say_at_random();
		p.unit = below(3) ? 1 + below(40) : 0;
		p.kernel.lose_one_in = 2 + (int)below(60);
		play();
		player_close(&p, OUTCOME_ABORTED);
		stats = player_stats(&p);
		assert_int_equal(stats.exchanges + stats.lost_gap +
					 stats.lost_buffer +
					 p.kernel.lost_requests,
				 n);
		lines = (char *)(uintptr_t)player_take(&p);
		for (line = strtok_r(lines, "\n", &save); line;
		     line = strtok_r(NULL, "\n", &save))
			assert_true_line(line);
		seed = s;
	}
}

/* --- caps --- */

static void streams_over_the_cap_are_counted(void **state)
{
	const struct h2_options opt = { .max_streams = 3 };

	(void)state;
	restart(&opt, H2_START_PREFACE);
	for (uint32_t id = 1; id < 11; id += 2)
		talk_headers(&t, CLIENT, END, id, GET("/a"));
	for (uint32_t id = 1; id < 11; id += 2)
		talk_headers(&t, SERVER, END, id, ":status: 200\n");
	talk_headers(&t, CLIENT, END, 11, GET("/b"));
	talk_headers(&t, SERVER, END, 11, ":status: 200\n");
	player_play(&p, &t, 0, SIZE_MAX);
	assert_string_equal(player_take(&p),
			    "1 GET /a 200 complete 0 0 host=a.test\n"
			    "3 GET /a 200 complete 0 0 host=a.test\n"
			    "5 GET /a 200 complete 0 0 host=a.test\n"
			    "11 GET /b 200 complete 0 0 host=a.test\n");
	assert_int_equal(player_stats(&p).lost_buffer, 2);
}

static void doubtful_streams_make_room(void **state)
{
	const struct h2_options opt = { .max_streams = 2 };

	(void)state;
	restart(&opt, H2_START_PREFACE);
	talk_headers(&t, CLIENT, END, 1, GET("/a"));
	talk_headers(&t, CLIENT, END, 3, GET("/b"));
	played = 0;
	play();
	talk_headers(&t, SERVER, END, 1, ":status: 200\n");
	talk_headers(&t, SERVER, END, 3, ":status: 200\n");
	play_lost();
	talk_frame(&t, SERVER, H2_RST_STREAM, 0, 99, NULL, 4);
	talk_headers(&t, CLIENT, END, 5, GET("/c"));
	talk_headers(&t, SERVER, END, 5, ":status: 200\n");
	play();
	assert_string_equal(player_take(&p),
			    "5 GET /c 200 complete 0 0 host=a.test\n");
	assert_int_equal(player_stats(&p).lost_gap, 2);
	assert_int_equal(player_stats(&p).lost_buffer, 0);
}

static void without_memory_requests_are_counted_as_lost(void **state)
{
	const struct h2_options opt = { .max_bytes = 1 };

	(void)state;
	restart(&opt, H2_START_PREFACE);
	talk_headers(&t, CLIENT, END, 1, GET("/a"));
	talk_headers(&t, CLIENT, END, 3, GET("/a"));
	player_play(&p, &t, 0, SIZE_MAX);
	assert_int_equal(player_stats(&p).lost_buffer, 2);
	assert_int_equal(player_stats(&p).desynced[H2_DESYNC_LIMIT], 2);
	assert_int_equal(player_stats(&p).bytes, 0);
}

static void without_windows_fields_are_unknown(void **state)
{
	const struct h2_options opt = { .max_window_bytes = 1 };

	(void)state;
	restart(&opt, H2_START_PREFACE);
	for (uint32_t id = 1; id < 5; id += 2) {
		talk_headers(&t, CLIENT, END, id, GET("/a"));
		talk_headers(&t, SERVER, END, id, ":status: 200\n");
	}
	player_play(&p, &t, 0, SIZE_MAX);
	assert_string_equal(player_take(&p),
			    "1 GET /a 200 complete 0 0 host=a.test\n"
			    "3 GET /a 200 complete 0 0\n");
	assert_int_equal(player_stats(&p).unknown[H2_UNKNOWN_AUTHORITY], 1);
	assert_true(player_stats(&p).windows_refused > 0);
}

static void a_header_block_without_end_is_cut(void **state)
{
	static uint8_t fields[16384];
	size_t n = 0, frames = 0;

	(void)state;
	/* 300 KiB of a field that is never indexed. */
	memset(fields, 0, sizeof(fields));
	while (n + 70 < sizeof(fields)) {
		memcpy(fields + n, "\0\1x\x3f", 4);
		memset(fields + n + 4, 'y', 63);
		n += 67;
	}
	talk_frame(&t, CLIENT, H2_HEADERS, END, 1, "\x82\x86\x84\x41\1a", 6);
	for (; frames * n < 300u << 10; frames++)
		talk_frame(&t, CLIENT, H2_CONTINUATION, 0, 1, fields, n);
	talk_frame(&t, CLIENT, H2_CONTINUATION, H2_FLAG_END_HEADERS, 1, "", 0);
	talk_headers(&t, SERVER, END, 1, ":status: 431\n");
	play();
	assert_string_equal(player_take(&p),
			    "1 GET / 431 complete 0 0 host=a\n");
	assert_int_equal(player_stats(&p).desynced[H2_DESYNC_LIMIT], 1);
	assert_true(player_stats(&p).bytes < 16384);
}

static void floods_leave_nothing_behind(void **state)
{
	struct h2_stats before, after;

	(void)state;
	talk_headers(&t, CLIENT, END, 1, GET("/a"));
	talk_headers(&t, SERVER, END, 1, ":status: 200\n");
	play();
	before = player_stats(&p);
	for (uint32_t id = 3; id < 2003; id += 2) {
		talk_headers(&t, CLIENT, END, id, GET("/rapid"));
		talk_reset(&t, CLIENT, id, 8);
		talk_frame(&t, CLIENT, H2_PING, 0, 0, "12345678", 8);
		talk_frame(&t, CLIENT, H2_SETTINGS, 0, 0, "", 0);
		talk_frame(&t, CLIENT, H2_PRIORITY, 0, id + 1000, "12345", 5);
		talk_data(&t, CLIENT, 0, id, 0);
	}
	play();
	after = player_stats(&p);
	assert_int_equal(after.exchanges - before.exchanges, 1000);
	assert_int_equal(after.open_streams, 0);
	assert_int_equal(after.bytes, before.bytes);
	/* One more path and no more than the table's size. */
	assert_true(after.window_bytes - before.window_bytes < 8192);
}

/* --- contradictions --- */

static void three_contradictions_are_enough(void **state)
{
	(void)state;
	talk_headers(&t, CLIENT, END, 1, GET("/a"));
	play();
	for (int i = 0; i < 3; i++) {
		assert_false(p.refused);
		talk_frame(&t, CLIENT, H2_RST_STREAM, 0, 1, "12345", 5);
		play();
	}
	assert_true(p.refused);
	assert_int_equal(player_stats(&p).desynced[H2_DESYNC_FRAME], 3);
	assert_int_equal(player_stats(&p).lost_gap, 1);
}

static void what_is_right_again_is_forgiven(void **state)
{
	char want[64];

	(void)state;
	for (uint32_t id = 1; id < 21; id += 2) {
		talk_frame(&t, CLIENT, H2_RST_STREAM, 0, id, "123", 3);
		talk_headers(&t, CLIENT, END, id, GET("/a"));
		talk_headers(&t, SERVER, END, id, ":status: 200\n");
		play();
		assert_false(p.refused);
		snprintf(want, sizeof(want), "%u GET /a 200 complete 0 0%s\n",
			 id, id == 1 ? " host=a.test" : "");
		assert_string_equal(player_take(&p), want);
	}
}

static void a_block_that_does_not_decode_is_believed_in_nothing(void **state)
{
	(void)state;
	talk_frame(&t, CLIENT, H2_HEADERS, END | H2_FLAG_END_HEADERS, 1,
		   "\x82\x86\x84\x80", 4); /* index 0 */
	talk_headers(&t, SERVER, END, 1, ":status: 400\n");
	play();
	assert_string_equal(player_take(&p), "1  400 complete 0 0\n");
	assert_int_equal(player_stats(&p).desynced[H2_DESYNC_HPACK], 1);
	assert_int_equal(player_stats(&p).unknown[H2_UNKNOWN_METHOD], 1);
	assert_int_equal(player_stats(&p).unknown[H2_UNKNOWN_PATH], 1);
}

static void frames_inside_a_block_break_it_off(void **state)
{
	(void)state;
	talk_headers_in(&t, CLIENT, END, 1, GET("/a"), 5);
	player_play(&p, &t, played, t.n - 1);
	played = t.n;
	talk_data(&t, CLIENT, 0, 1, 5);
	talk_headers(&t, CLIENT, END, 3, GET("/b"));
	talk_headers(&t, SERVER, END, 3, ":status: 200\n");
	play();
	assert_int_equal(player_stats(&p).desynced[H2_DESYNC_ORDER], 1);
	assert_int_equal(player_stats(&p).lost_gap, 1);
	assert_string_equal(player_take(&p), "3 GET /b 200 complete 0 0\n");
}

/* --- joining --- */

static void a_joined_connection_counts_once_it_is_proved(void **state)
{
	(void)state;
	/* Before we come: two requests, and one that stays open. */
	for (uint32_t id = 1; id < 7; id += 2)
		talk_headers(&t, CLIENT, id < 5 ? END : 0, id, CALL("/p.S/M"));
	for (uint32_t id = 1; id < 5; id += 2) {
		talk_headers(&t, SERVER, 0, id,
			     ":status: 200\ncontent-type: application/grpc\n");
		talk_headers(&t, SERVER, END, id, "grpc-status: 0\n");
	}
	played = t.n;
	restart(NULL, H2_START_JOINED);
	/* The one that is open goes on, and ends. */
	talk_data(&t, CLIENT, END, 5, 10);
	talk_headers(&t, SERVER, 0, 5,
		     ":status: 200\ncontent-type: application/grpc\n");
	talk_headers(&t, SERVER, END, 5, "grpc-status: 0\n");
	for (uint32_t id = 7; id < 13; id += 2) {
		talk_headers(&t, CLIENT, 0, id, CALL("/p.S/M"));
		talk_data(&t, CLIENT, END, id, 20);
		talk_headers(&t, SERVER, 0, id,
			     ":status: 200\ncontent-type: application/grpc\n");
		talk_data(&t, SERVER, 0, id, 30);
		talk_headers(&t, SERVER, END, id, "grpc-status: 0\n");
	}
	play();
	/* The path comes in full, authority and types in the table. */
	assert_string_equal(player_take(&p),
			    "7 POST /p.S/M 200 complete 20 30\n"
			    "9 POST /p.S/M 200 complete 20 30\n"
			    "11 POST /p.S/M 200 complete 20 30\n");
	assert_int_equal(player_stats(&p).joined, 1);
	assert_int_equal(player_stats(&p).unknown[H2_UNKNOWN_AUTHORITY], 3);
	assert_int_equal(player_stats(&p).unknown[H2_UNKNOWN_CONTENT_TYPE], 3);
	assert_int_equal(player_stats(&p).unknown[H2_UNKNOWN_PATH], 0);
	assert_int_equal(h2_request_dir(p.h), CLIENT);
	/* What is inserted from now on is known. */
	talk_headers(&t, CLIENT, END, 13,
		     ":method: POST\n:scheme: http\n:path: /p.S/N\n"
		     ":authority: a.test\ncontent-type: application/grpc+x\n");
	talk_headers(&t, CLIENT, END, 15,
		     ":method: POST\n:scheme: http\n:path: /p.S/N\n"
		     ":authority: a.test\ncontent-type: application/grpc+x\n");
	for (uint32_t id = 13; id < 17; id += 2)
		talk_headers(&t, SERVER, END, id,
			     ":status: 200\ngrpc-status: 1\n");
	play();
	/* The name of grpc-status is not: it was inserted before. */
	assert_string_equal(player_take(&p),
			    "13 POST /p.S/N 200 complete 0 0 grpc=?\n"
			    "15 POST /p.S/N 200 complete 0 0 grpc=?\n");
	assert_int_equal(player_stats(&p).unknown[H2_UNKNOWN_GRPC_STATUS], 2);
	assert_int_equal(player_stats(&p).unknown[H2_UNKNOWN_CONTENT_TYPE], 3);
}

static void one_pair_with_a_date_is_proof(void **state)
{
	(void)state;
	talk_headers(&t, CLIENT, END, 1, GET("/a"));
	talk_headers(&t, SERVER, END, 1,
		     ":status: 200\ndate: Sun, 06 Nov 1994 08:49:37 GMT\n");
	played = t.n;
	restart(NULL, H2_START_JOINED);
	talk_headers(&t, CLIENT, END, 3, GET("/b"));
	talk_headers(&t, SERVER, END, 3,
		     ":status: 200\ndate: Sun, 06 Nov 1994 08:49:38 GMT\n");
	play();
	assert_string_equal(player_take(&p), "3 GET /b 200 complete 0 0\n");
}

static void without_proof_requests_are_lost_at_the_close(void **state)
{
	(void)state;
	talk_headers(&t, CLIENT, END, 1, GET("/a"));
	played = t.n;
	restart(NULL, H2_START_JOINED);
	talk_headers(&t, CLIENT, END, 3, GET("/b"));
	talk_headers(&t, CLIENT, END, 5, GET("/c"));
	talk_headers(&t, SERVER, END, 3, ":status: 200\n");
	play();
	player_close(&p, OUTCOME_ABORTED);
	assert_string_equal(player_take(&p), "");
	assert_int_equal(player_stats(&p).lost_gap, 2);
	assert_int_equal(player_stats(&p).connections, 0);
	assert_int_equal(player_stats(&p).open_streams, 0);
}

static void what_only_resembles_frames_is_dropped_in_silence(void **state)
{
	(void)state;
	restart(NULL, H2_START_JOINED);
	played = t.n;
	for (int i = 0; i < 3; i++) {
		assert_false(p.refused);
		talk_frame(&t, CLIENT, H2_HEADERS, H2_FLAG_END_HEADERS, 7,
			   "\x80", 1);
		play();
	}
	assert_true(p.refused);
	for (int i = 0; i < H2_DESYNCS; i++)
		assert_int_equal(player_stats(&p).desynced[i], 0);
	assert_int_equal(player_stats(&p).lost_gap, 0);
}

static void a_joined_answer_that_may_be_interim_is_corrected(void **state)
{
	(void)state;
	/* 103 goes into the table of the answering side. */
	talk_headers(&t, CLIENT, END, 1, GET("/a"));
	talk_headers(&t, SERVER, 0, 1, ":status: 103\n");
	talk_headers(&t, SERVER, END, 1, ":status: 200\n");
	played = t.n;
	restart(NULL, H2_START_JOINED);
	for (uint32_t id = 3; id < 9; id += 2) {
		talk_headers(&t, CLIENT, END, id, GET("/b"));
		talk_headers(&t, SERVER, 0, id, ":status: 103\n");
		talk_headers(&t, SERVER, END, id, ":status: 200\n");
	}
	play();
	assert_string_equal(player_take(&p), "3 GET /b 200 complete 0 0\n"
					     "5 GET /b 200 complete 0 0\n"
					     "7 GET /b 200 complete 0 0\n");
	assert_int_equal(player_stats(&p).unknown[H2_UNKNOWN_STATUS], 0);
}

static void an_unknown_status_is_0(void **state)
{
	(void)state;
	talk_headers(&t, CLIENT, END, 1, GET("/a"));
	talk_headers(&t, SERVER, END, 1, ":status: 418\n");
	played = t.n;
	restart(NULL, H2_START_JOINED);
	for (uint32_t id = 3; id < 9; id += 2) {
		talk_headers(&t, CLIENT, END, id, GET("/b"));
		talk_headers(&t, SERVER, END, id,
			     id == 5 ? ":status: 418\n" : ":status: 200\n");
	}
	play();
	assert_string_equal(player_take(&p), "3 GET /b 200 complete 0 0\n"
					     "5 GET /b 0 complete 0 0\n"
					     "7 GET /b 200 complete 0 0\n");
	assert_int_equal(player_stats(&p).unknown[H2_UNKNOWN_STATUS], 1);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up_played, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(after_a_loss_what_ends_is_counted),
		T(after_a_loss_the_table_begins_anew),
		T(a_head_whose_rest_is_lost_is_counted),
		T(the_rest_of_a_head_is_of_no_use),
		T(the_middle_of_a_frame_may_come_first_after_a_loss),
		T(whatever_is_lost_each_request_is_counted_once),
		T(streams_over_the_cap_are_counted),
		T(doubtful_streams_make_room),
		T(without_memory_requests_are_counted_as_lost),
		T(without_windows_fields_are_unknown),
		T(a_header_block_without_end_is_cut),
		T(floods_leave_nothing_behind),
		T(three_contradictions_are_enough),
		T(what_is_right_again_is_forgiven),
		T(a_block_that_does_not_decode_is_believed_in_nothing),
		T(frames_inside_a_block_break_it_off),
		T(a_joined_connection_counts_once_it_is_proved),
		T(one_pair_with_a_date_is_proof),
		T(without_proof_requests_are_lost_at_the_close),
		T(what_only_resembles_frames_is_dropped_in_silence),
		T(a_joined_answer_that_may_be_interim_is_corrected),
		T(an_unknown_status_is_0),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
