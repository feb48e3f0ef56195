/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/probe-agent/talk.h"

/*
 * What the programs of bpf/ and the engine make of conversations together: the
 * programs run here, in a kernel of the test's (tap_core.h).
 */

#define OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#define GET(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"
#define HINT "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"

static void two_requests_on_a_connection(struct talk *t)
{
	ASK(t, GET("/a"));
	ANSWER(t, OK);
	ASK(t, GET("/b"));
	ANSWER(t, OK);
	EXPECT(t, "GET /a 200 complete 0 2\nGET /b 200 complete 0 2\n");
}

static void proxy_lines(struct talk *t)
{
	ASK(t, "PROXY TCP4 192.0.2.1 192.0.2.2 40000 80\r\n" GET("/a"));
	ANSWER(t, OK);
	ASK(t, GET("/b"));
	ANSWER(t, OK);
	EXPECT(t, "GET /a 200 complete 0 2\nGET /b 200 complete 0 2\n");
}

static void unknown_proxy_line_alone(struct talk *t)
{
	ASK(t, "PROXY UNKNOWN\r\n");
	ASK(t, GET("/a"));
	ANSWER(t, OK);
	EXPECT(t, "GET /a 200 complete 0 2\n");
}

#define PROXY2(command, family, length)                                        \
	"\r\n\r\n\0\r\nQUIT\n" command family "\0" length

static void binary_proxy_headers(struct talk *t)
{
	ASK(t, PROXY2("\x21", "\x11",
		      "\x0c") "\x7f\0\0\1\x7f\0\0\2\x9c\x40\0P" GET("/a"));
	ANSWER(t, OK);
	ASK(t, GET("/b"));
	ANSWER(t, OK);
	EXPECT(t, "GET /a 200 complete 0 2\nGET /b 200 complete 0 2\n");
}

static void local_proxy_header_alone(struct talk *t)
{
	ASK(t, PROXY2("\x20", "\0", "\0"));
	ASK(t, "patch /a HTTP/1.1\r\n\r\n");
	ANSWER(t, OK);
	EXPECT(t, "patch /a 200 complete 0 2\n");
}

static void interim_and_final_heads_in_one_call(struct talk *t)
{
	char text[1024];
	int n = snprintf(text, sizeof(text),
			 HINT HINT "HTTP/1.1 200 OK\r\nCSP: %0450d\r\n"
				   "Content-Length: 2\r\n\r\nok",
			 1);

	for (int i = 0; i < 3; i++) {
		ASK(t, GET("/a"));
		talk_answer(t, text, (size_t)n);
		EXPECT(t, "GET /a 200 complete 0 2\n");
	}
}

static void interim_heads_that_never_become_final(struct talk *t)
{
	ASK(t, GET("/a"));
	ANSWER(t, "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 102 Proc");
	talk_close(t, 0);
	EXPECT(t, "GET /a 0 aborted 0 0\n");
}

static void blank_lines_before_requests(struct talk *t)
{
	ASK(t, "\r\n" GET("/a"));
	ANSWER(t, OK);
	ASK(t, "\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n" GET("/b"));
	ANSWER(t, OK);
	ASK(t, "\r\n");
	ASK(t, "\r\n");
	ASK(t, GET("/c"));
	ANSWER(t, OK);
	EXPECT(t, "GET /a 200 complete 0 2\nGET /b 200 complete 0 2\n"
		  "GET /c 200 complete 0 2\n");
}

static void odd_request_lines(struct talk *t)
{
	static const char *const lines[] = {
		"patch /x",	      "GET  /x",
		"GET ftp://a.test/x", "GET ?q",
		"m-Search *",	      "UPDATEREDIRECTREF /x",
		"$odd! /x",	      "GET http://a.test/x",
		"GET foo bar",	      "1 /",
	};
	static const char *const shown[] = {
		"patch /x",	      "GET /x",
		"GET ftp://a.test/x", "GET ?q",
		"m-Search *",	      "UPDATEREDIRECTREF /x",
		"$odd! /x",	      "GET http://a.test/x",
		"GET foo bar",	      "1 /",
	};
	char text[128];

	for (size_t i = 0; i < 2 * sizeof(lines) / sizeof(*lines); i++) {
		int n = snprintf(text, sizeof(text), "%s HTTP/1.1\r\n\r\n",
				 lines[i / 2]);

		/* Each is the first of its connection, and the second. */
		if (i % 2 == 0) {
			talk_close(t, 0);
			talk_connect(t);
		}
		talk_ask(t, text, (size_t)n);
		ANSWER(t, OK);
		snprintf(text, sizeof(text), "%s 200 complete 0 2\n",
			 shown[i / 2]);
		EXPECT(t, text);
	}
}

static void what_is_no_request_but_answered(struct talk *t)
{
	ASK(t, "GET /x\r\n\r\n");
	ANSWER(t, "HTTP/1.1 400 Bad\r\nContent-Length: 2\r\n\r\nno");
	EXPECT(t, "GET /x 400 complete 0 2 v10\n");
	talk_close(t, 0);
	talk_connect(t);
	ASK(t, "\x80\x81\x82\x83");
	ANSWER(t, "HTTP/1.1 400 Bad\r\nContent-Length: 2\r\n\r\nno");
	EXPECT(t, "  400 complete 0 2 v10\n");
}

#define BODY100                                                                \
	"uuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu"                   \
	"uuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu"
#define NO413 "HTTP/1.1 413 Too Big\r\nContent-Length: 2\r\n\r\nno"

static void heads_behind_the_rest_of_a_body(struct talk *t)
{
	talk_hide_sizes(t);
	for (int i = 0; i < 3; i++) {
		ASK(t,
		    "POST /up HTTP/1.1\r\nContent-Length: 200\r\n\r\n" BODY100);
		ANSWER(t, NO413);
		ASK(t, BODY100 GET("/next"));
		ANSWER(t, OK);
		EXPECT(t, "POST /up 413 complete 0 2\n"
			  "GET /next 200 complete 0 2\n");
	}
}

static void heads_behind_the_rest_of_chunks(struct talk *t)
{
	talk_hide_sizes(t);
	for (int i = 0; i < 3; i++) {
		ASK(t, "POST /up HTTP/1.1\r\nTransfer-Encoding: chunked\r\n"
		       "\r\nc8\r\n" BODY100);
		ANSWER(t, NO413);
		ASK(t, BODY100 "\r\n0\r\nX: y\r\n\r\n" GET("/next"));
		ANSWER(t, OK);
		EXPECT(t, "POST /up 413 complete 0 2\n"
			  "GET /next 200 complete 0 2\n");
	}
}

static void heads_behind_the_body_of_a_get(struct talk *t)
{
	talk_hide_sizes(t);
	for (int i = 0; i < 3; i++) {
		ASK(t, "GET /up HTTP/1.1\r\nContent-Length: 200\r\n\r\n");
		ANSWER(t, NO413);
		ASK(t, BODY100 BODY100 GET("/next"));
		ANSWER(t, OK);
		EXPECT(t, "GET /up 413 complete 0 2\n"
			  "GET /next 200 complete 0 2\n");
	}
}

static void bodies_and_requests_in_one_call(struct talk *t)
{
	ASK(t, "POST /a HTTP/1.1\r\nContent-Length: 100\r\n\r\n" BODY100
	       "PUT /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
	       "5\r\nGET /\r\n0\r\n\r\n" GET("/c") GET("/d"));
	ANSWER(t, OK);
	ANSWER(t, OK);
	ANSWER(t, OK);
	ANSWER(t, OK);
	EXPECT(t, "POST /a 200 complete 100 2\nPUT /b 200 complete 15 2\n"
		  "GET /c 200 complete 0 2\nGET /d 200 complete 0 2\n");
}

/* RFC 9110, 10.1.1 */
static void announced_bodies_that_are_left_out(struct talk *t)
{
	ASK(t, "POST /a HTTP/1.1\r\nContent-Length: 100\r\n"
	       "Expect: 100-continue\r\n\r\n");
	ANSWER(t, NO413);
	ASK(t, GET("/b"));
	ANSWER(t, OK);
	EXPECT(t, "POST /a 413 complete 0 2\nGET /b 200 complete 0 2\n");
}

static void announced_bodies_that_come(struct talk *t)
{
	ASK(t, "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n"
	       "Expect: 100-continue\r\n\r\n");
	ANSWER(t, "HTTP/1.1 100 Continue\r\n\r\n");
	ASK(t, "5\r\nGET /\r\n0\r\n\r\n");
	ANSWER(t, OK);
	ASK(t, GET("/b"));
	ANSWER(t, OK);
	EXPECT(t, "POST /a 200 complete 15 2\nGET /b 200 complete 0 2\n");
}

#define CHUNKED "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

static void chunks_of_lines(struct talk *t)
{
	static const char *const rows[] = { "7\r\n1,name\n\r\n",
					    "8\r\n1,name\r\n\r\n",
					    "3\r\n0\r\n\r\n",
					    "5\r\n0\r\n\r\n\r\n" };

	for (int cut = 0; cut < 2; cut++) {
		ASK(t, GET("/a"));
		ANSWER(t, CHUNKED);
		for (size_t i = 0; i < 4; i++) {
			talk_answer(t, rows[i], strlen(rows[i]));
			talk_wait(t, 2000000000);
			EXPECT(t, "");
		}
		if (!cut)
			ANSWER(t, "0\r\n\r\n");
		talk_close(t, 0);
		if (cut)
			EXPECT(t, "GET /a 200 aborted 0 43\n");
		else
			EXPECT(t, "GET /a 200 complete 0 48\n");
		talk_connect(t);
	}
}

static void chunks_end_when_their_last_byte_moves(struct talk *t)
{
	ASK(t, GET("/a"));
	ANSWER(t, CHUNKED "8\r\n1,name\r\n\r\n");
	talk_wait(t, 5000000000);
	ANSWER(t, "0\r\nX: y\r\n\r\n");
	talk_wait(t, 5000000000);
	assert_int_equal(talk_seconds(t), 5);
	EXPECT(t, "GET /a 200 complete 0 24\n");
}

static void stray_chunk_behind_an_answer_without_body(struct talk *t)
{
	ASK(t, GET("/a"));
	ANSWER(t, "HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n");
	ASK(t, GET("/b"));
	ANSWER(t, "0\r\n\r\n" OK);
	EXPECT(t, "GET /a 204 complete 0 0\nGET /b 200 complete 0 2\n");
}

static void statuses_that_nobody_registered(struct talk *t)
{
	ASK(t, GET("/a"));
	ANSWER(t, "HTTP/1.1 999 Denied\r\nContent-Length: 2\r\n\r\nno");
	EXPECT(t, "GET /a 999 complete 0 2\n");
}

static void answers_to_what_was_not_seen(struct talk *t)
{
	talk_pass_request(t, 100);
	ANSWER(t, OK);
	ASK(t, GET("/b"));
	ANSWER(t, OK);
	EXPECT(t, "GET /b 200 complete 0 2\n");
	assert_int_equal(talk_stats(t).lost_unseen, 1);
}

struct story {
	const char *name;
	void (*tell)(struct talk *t);
	unsigned lost_unseen;
};

#define STORY(f)                                                               \
	{                                                                      \
#f, f, 0                                                       \
	}
static const struct story stories[] = {
	STORY(two_requests_on_a_connection),
	STORY(proxy_lines),
	STORY(unknown_proxy_line_alone),
	STORY(binary_proxy_headers),
	STORY(local_proxy_header_alone),
	STORY(interim_and_final_heads_in_one_call),
	STORY(interim_heads_that_never_become_final),
	STORY(blank_lines_before_requests),
	STORY(odd_request_lines),
	STORY(what_is_no_request_but_answered),
	STORY(heads_behind_the_rest_of_a_body),
	STORY(heads_behind_the_rest_of_chunks),
	STORY(heads_behind_the_body_of_a_get),
	STORY(bodies_and_requests_in_one_call),
	STORY(announced_bodies_that_are_left_out),
	STORY(announced_bodies_that_come),
	STORY(chunks_of_lines),
	STORY(chunks_end_when_their_last_byte_moves),
	STORY(stray_chunk_behind_an_answer_without_body),
	STORY(statuses_that_nobody_registered),
	{ "answers_to_what_was_not_seen", answers_to_what_was_not_seen, 1 },
};

/* As they are said, cut at each place, byte by byte, in many buffers. */
static void hold(const struct story *s, const struct talk_how *how)
{
	struct talk *t = talk_new(how, s->name);

	s->tell(t);
	talk_end(t, s->lost_unseen);
}

static void each_story(enum role role, bool no_loop)
{
	for (size_t i = 0; i < sizeof(stories) / sizeof(*stories); i++) {
		struct talk_how how = { .role = role, .no_loop = no_loop };

		hold(&stories[i], &how);
		how.late = true;
		hold(&stories[i], &how);
		how.late = false;
		for (how.cut = 1; how.cut < 700; how.cut++)
			hold(&stories[i], &how);
		how.cut = TALK_EACH_BYTE;
		hold(&stories[i], &how);
		how.cut = 0;
		if (no_loop)
			continue;
		for (how.buffers = 1; how.buffers < 40; how.buffers++)
			hold(&stories[i], &how);
	}
}

static void servers_tell_their_stories(void **state)
{
	(void)state;
	each_story(ROLE_SERVER, false);
}

static void clients_tell_theirs(void **state)
{
	(void)state;
	each_story(ROLE_CLIENT, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(servers_tell_their_stories),
		cmocka_unit_test(clients_tell_theirs),
	};

	return cmocka_run_group_tests_name("core", tests, NULL, NULL);
}
