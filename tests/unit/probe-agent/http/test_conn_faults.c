/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/probe-agent/tap_script.h"

/* What goes wrong: rubbish, lost records, refused writes, full tables. */

#define GET(path) "GET " path " HTTP/1.1\r\n\r\n"
#define OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#define SECOND_NS 1000000000ull
#define CALL_NS 1000ull

struct fixture {
	struct script s;
	struct script_conn k;
};

static void begin_with(struct fixture *f, const struct conn_options *opt)
{
	script_init(&f->s, opt);
	script_open(&f->s, &f->k, 0x1000);
}

static void begin(struct fixture *f)
{
	begin_with(f, NULL);
}

static void finish(struct fixture *f)
{
	assert_string_equal(script_take(&f->s), "");
	assert_int_equal(script_stats(&f->s).bad_records, 0);
	script_fini(&f->s);
}

#define EXPECT(f, text) assert_string_equal(script_take(&(f)->s), text)
#define STAT(f, name) (script_stats(&(f)->s).name)

/* --- times --- */

static void measures_from_the_first_byte_to_the_last(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	f.s.times = true;
	script_wait(&f.k, 9 * SECOND_NS); /* idle before the request */
	READ(&f.k, "GET /a HTTP");
	script_wait(&f.k, 500000);
	READ(&f.k, "/1.1\r\n\r\n");
	script_wait(&f.k, 2000000);
	WRITE(&f.k, "HTTP/1.1 200 OK\r\n");
	script_wait(&f.k, 300000);
	WRITE(&f.k, "Content-Length: 31457280\r\n\r\n");
	script_wait(&f.k, 4000000);
	script_write_quietly(&f.k, 31457280);
	script_wait(&f.k, 7 * SECOND_NS); /* idle after the response */
	EXPECT(&f, "");
	script_close(&f.k, 0);
	/*
	 * start: the first read returned, at 10 s + 1 call. First byte: the
	 * write began, 1 call and 2.5 ms later. End: the last write returned.
	 */
	EXPECT(&f, "server GET /a 200 complete 0 31457280 "
		   "10000001000+2501000+6804000\n");
	finish(&f);
}

static void measures_a_client_from_its_write(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	f.s.times = true;
	SEND(&f.k, GET("/a"));
	script_wait(&f.k, 5000000);
	READ(&f.k, "HTTP/1.1 100 Continue\r\n\r\n");
	script_wait(&f.k, 5000000);
	READ(&f.k, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
	script_wait(&f.k, 5000000);
	READ(&f.k, "ok");
	EXPECT(&f, "client GET /a 200 complete 0 2 "
		   "1000000000+10003000+15004000\n");
	finish(&f);
}

/* --- what ticks are for --- */

static void finishes_a_long_response_when_the_kernel_says_so(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	f.s.times = true;
	READ(&f.k, GET("/a"));
	WRITE(&f.k, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
	script_write_quietly(&f.k, 999);
	/* A stall is no end. */
	script_wait(&f.k, 5 * SECOND_NS);
	conn_tick(f.s.table, f.k.now_ns);
	conn_tick(f.s.table, f.k.now_ns + SECOND_NS);
	EXPECT(&f, "");
	script_write_quietly(&f.k, 1);
	script_wait(&f.k, 100);
	conn_tick(f.s.table, f.k.now_ns);
	EXPECT(&f, "server GET /a 200 complete 0 1000 "
		   "1000001000+0+5000003000\n");
	finish(&f);
}

static void leaves_the_time_to_records_that_are_on_their_way(void **state)
{
	struct fixture f;
	struct tap_rec_progress done;

	(void)state;
	begin(&f);
	f.s.times = true;
	READ(&f.k, GET("/a"));
	WRITE(&f.k, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
	script_write_quietly(&f.k, 1000);
	done = f.k.done;
	/* The next exchange is done too, but its records are in the ring. */
	script_read_quietly(&f.k, sizeof(GET("/b")) - 1);
	script_write_quietly(&f.k, sizeof(OK) - 1);
	conn_tick(f.s.table, f.k.now_ns);
	EXPECT(&f, "");
	f.k.done = done;
	f.k.now_ns -= 2 * CALL_NS;
	READ(&f.k, GET("/b"));
	EXPECT(&f, "server GET /a 200 complete 0 1000 1000001000+0+2000\n");
	WRITE(&f.k, OK);
	EXPECT(&f, "server GET /b 200 complete 0 2 1000004000+0+1000\n");
	finish(&f);
}

static void silence_is_no_end_of_chunks(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	f.s.times = true;
	READ(&f.k, GET("/a"));
	WRITE(&f.k, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
	script_write_quietly(&f.k, 500);
	conn_tick(f.s.table, f.k.now_ns + 60 * SECOND_NS);
	EXPECT(&f, "");
	/* Bytes that are no chunks: the next answer shows their end. */
	script_write_quietly(&f.k, 500);
	READ(&f.k, GET("/b"));
	EXPECT(&f, "");
	WRITE(&f.k, OK);
	EXPECT(&f, "server GET /a 200 complete 0 1000 1000001000+0+3000\n"
		   "server GET /b 200 complete 0 2 1000005000+0+1000\n");
	assert_int_equal(STAT(&f, orphans), 0);
	finish(&f);
}

static void knows_that_a_chunk_has_not_ended(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	READ(&f.k, GET("/a"));
	WRITE(&f.k, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
		    "1000\r\n");
	script_write_quietly(&f.k, 4000);
	conn_tick(f.s.table, f.k.now_ns + 60 * SECOND_NS);
	EXPECT(&f, "");
	script_write_quietly(&f.k, 96);
	WRITE(&f.k, "\r\n0\r\n\r\n");
	EXPECT(&f, "server GET /a 200 complete 0 4109\n");
	finish(&f);
}

/* The kernel side has followed the chunks up to ahead bytes from here. */
static void answers_are_at(struct script_conn *k, enum tap_place place,
			   uint32_t ahead)
{
	k->answers.place = (uint8_t)place;
	k->answers.due = k->done.tx_seq + ahead;
}

static void waits_for_the_end_of_chunks_that_the_kernel_follows(void **state)
{
	static const enum tap_place inside[] = { PLACE_SIZE_FIRST, PLACE_DATA,
						 PLACE_TRAILER };
	struct fixture f;

	(void)state;
	begin(&f);
	f.s.times = true;
	for (size_t i = 0; i < 3; i++) {
		uint64_t start = f.k.now_ns;
		char want[80];

		READ(&f.k, GET("/a"));
		WRITE(&f.k, "HTTP/1.1 200 OK\r\n"
			    "Transfer-Encoding: chunked\r\n\r\n");
		script_write_quietly(&f.k, 500);
		answers_are_at(&f.k, inside[i], inside[i] == PLACE_DATA);
		conn_tick(f.s.table, f.k.now_ns + 60 * SECOND_NS);
		EXPECT(&f, "");
		script_wait(&f.k, 2 * SECOND_NS);
		script_write_quietly(&f.k, 500);
		answers_are_at(&f.k, PLACE_MESSAGE, 0);
		conn_tick(f.s.table, f.k.now_ns + 1);
		snprintf(
			want, sizeof(want),
			"server GET /a 200 complete 0 1000 %llu+0+2000003000\n",
			(unsigned long long)start + 1000);
		EXPECT(&f, want);
	}
	finish(&f);
}

static void calls_what_stops_inside_of_chunks_aborted(void **state)
{
	static const struct {
		enum tap_place place;
		uint32_t ahead;
		const char *outcome;
	} cases[] = {
		{ PLACE_SIZE_FIRST, 0, "server GET /a 200 aborted 0 500\n" },
		{ PLACE_DATA, 0, "server GET /a 200 aborted 0 500\n" },
		{ PLACE_DATA, 9, "server GET /a 200 aborted 0 500\n" },
		{ PLACE_TRAILER_CR, 0, "server GET /a 200 aborted 0 500\n" },
		{ PLACE_MESSAGE, 0, "server GET /a 200 complete 0 500\n" },
		/* Bytes have moved out of its sight. */
		{ PLACE_DATA, (uint32_t)-9,
		  "server GET /a 200 complete 0 500\n" },
		{ PLACE_SIZE, (uint32_t)-1,
		  "server GET /a 200 complete 0 500\n" },
		{ PLACE_UNKNOWN, 0, "server GET /a 200 complete 0 500\n" },
	};
	struct fixture f;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		begin(&f);
		READ(&f.k, GET("/a"));
		WRITE(&f.k, "HTTP/1.1 200 OK\r\n"
			    "Transfer-Encoding: chunked\r\n\r\n");
		script_write_quietly(&f.k, 500);
		answers_are_at(&f.k, cases[i].place, cases[i].ahead);
		script_close(&f.k, 0);
		EXPECT(&f, cases[i].outcome);
		finish(&f);
	}
}

static void follows_bodies_over_4_gib(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	READ(&f.k, "PUT /a HTTP/1.1\r\nContent-Length: 10000000000\r\n\r\n");
	for (unsigned i = 0; i < 10; i++) {
		script_read_quietly(&f.k, 1000000000);
		conn_tick(f.s.table, f.k.now_ns);
	}
	WRITE(&f.k, "HTTP/1.1 200 OK\r\nContent-Length: 6000000000\r\n\r\n");
	for (unsigned i = 0; i < 6; i++) {
		EXPECT(&f, "");
		script_write_quietly(&f.k, 1000000000);
		conn_tick(f.s.table, f.k.now_ns);
	}
	EXPECT(&f, "server PUT /a 200 complete 10000000000 6000000000\n");
	READ(&f.k, GET("/b"));
	WRITE(&f.k, OK);
	EXPECT(&f, "server GET /b 200 complete 0 2\n");
	finish(&f);
}

/* --- rubbish --- */

static void rubbish_is_an_event_only_if_it_is_answered(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		unsigned malformed;
		const char *answered;
	} cases[] = {
#define CASE(text, n, line) { text, sizeof(text) - 1, n, line }
		CASE("GET \x01\x02\xff\xfe\r\n\r\n", 1,
		     "server GET  400 complete 0 0 v10\n"),
		CASE("GET /a\0\r\n\r\n", 1,
		     "server GET /a 400 complete 0 0 v10\n"),
		CASE("GET / HTTP/1.1\r\nA: \0\r\n\r\n", 1,
		     "server GET / 400 complete 0 0 v10\n"),
		CASE("GET / HTTP/3.0\r\n\r\n", 1,
		     "server GET / 400 complete 0 0 v10\n"),
		CASE("POST\r\n\r\n", 0, NULL),
		CASE("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n", 0, NULL),
		CASE("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 0, NULL),
		CASE("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
		     "AAAAAAAAAAAAAAAAAAAA\r\n",
		     0, NULL),
#undef CASE
	};
	struct fixture f;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		for (size_t split = 0; split < 2 * cases[i].len; split++) {
			bool answered = split >= cases[i].len;

			/* The kernel shows nothing of what does not look like
			 * HTTP, so that there an answer is to nothing known. */
			if (answered && !cases[i].answered)
				break;
			begin(&f);
			f.s.split = split % cases[i].len;
			script_read(&f.k, cases[i].bytes, cases[i].len);
			f.s.split = 0;
			if (answered)
				WRITE(&f.k, "HTTP/1.1 400 Bad Request\r\n"
					    "Content-Length: 0\r\n\r\n");
			script_close(&f.k, 0);
			EXPECT(&f, answered ? cases[i].answered : "");
			assert_int_equal(STAT(&f, malformed),
					 cases[i].malformed);
			assert_int_equal(STAT(&f, orphans), 0);
			assert_int_equal(STAT(&f, lost_unseen), 0);
			assert_int_equal(STAT(&f, connections), 0);
			finish(&f);
		}
	}
}

static void answers_that_are_not_http_are_malformed(void **state)
{
	static const char *const answers[] = {
		"HTTP/1.1 099 Odd\r\n\r\n",  "HTTP/1.1 20 Odd\r\n\r\n",
		"HTTP/1.1 2000 Odd\r\n\r\n", "HTTP/1.1 abc Odd\r\n\r\n",
		"HTTP/2.0 200 OK\r\n\r\n",   "HTTP/1.1\r\n\r\n",
		"<html>no head</html>",	     "HTTP/1.1 200OK\r\n\r\n",
		"\x16\x03\x01\x02",
	};
	struct fixture f;

	(void)state;
	for (size_t i = 0; i < sizeof(answers) / sizeof(*answers); i++) {
		for (size_t split = 0; split < strlen(answers[i]); split++) {
			begin(&f);
			READ(&f.k, GET("/a"));
			f.s.split = split;
			script_write(&f.k, answers[i], strlen(answers[i]));
			f.s.split = 0;
			EXPECT(&f, "server GET /a 0 malformed 0 0\n");
			assert_int_equal(STAT(&f, malformed), 1);
			READ(&f.k, GET("/b"));
			WRITE(&f.k, OK);
			EXPECT(&f, "server GET /b 200 complete 0 2\n");
			finish(&f);
		}
	}
}

static void goes_on_after_a_malformed_request(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	READ(&f.k, GET("/a"));
	WRITE(&f.k, OK);
	READ(&f.k, "GET /\x01 HTTP/1.1\r\n\r\n");
	WRITE(&f.k, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
	READ(&f.k, GET("/b"));
	WRITE(&f.k, OK);
	EXPECT(&f, "server GET /a 200 complete 0 2\n"
		   "server GET / 400 complete 0 0 v10\n"
		   "server GET /b 200 complete 0 2\n");
	assert_int_equal(STAT(&f, malformed), 1);
	assert_int_equal(STAT(&f, orphans), 0);
	assert_int_equal(f.s.ignored, 0);
	READ(&f.k, "GET \x01\r\n\r\n");
	READ(&f.k, "GET \x01\r\n\r\n");
	assert_int_equal(f.s.ignored, 0);
	READ(&f.k, "GET \x01\r\n\r\n");
	/* It has spoken HTTP, and may again. */
	assert_int_equal(f.s.ignored + f.s.backed_off, 0);
	assert_int_equal(STAT(&f, malformed), 4);
	finish(&f);
}

static void leaves_http2_alone(void **state)
{
	static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
	struct fixture f;

	(void)state;
	for (size_t split = 0; split < sizeof(preface) - 1; split++) {
		begin(&f);
		f.s.split = split;
		READ(&f.k, preface);
		f.s.split = 0;
		READ(&f.k, GET("/inside"));
		WRITE(&f.k, OK);
		script_close(&f.k, 0);
		assert_int_equal(STAT(&f, http2), 1);
		assert_int_equal(STAT(&f, malformed), 0);
		assert_int_equal(f.s.ignored, 1);
		finish(&f);
	}
}

static void reads_framing_as_the_standard_says(void **state)
{
	static const struct {
		const char *fields;
		const char *lines;
	} cases[] = {
		{ "Content-Length: 2\r\nContent-Length: 2\r\n",
		  "server GET /a 200 complete 0 2\n" },
		{ "Content-Length: 2, 2\r\n",
		  "server GET /a 200 complete 0 2\n" },
		/* Until close: nothing is known until then. */
		{ "Content-Length: 2\r\nContent-Length: 3\r\n", "" },
		{ "Content-Length: -1\r\n", "" },
		{ "Content-Length: 2x\r\n", "" },
		{ "Content-Length:\r\n 2\r\n", "" },
		{ "Content-Length: 99999999999999999999\r\n", "" },
		{ "Transfer-Encoding: chunked, gzip\r\n", "" },
		/* The coding overrides the length: "ok" is no chunk. */
		{ "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n", "" },
		{ "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", "" },
		{ "X-Content-Length: 9\r\nContent-Length : 2\r\n",
		  "server GET /a 200 complete 0 2\n" },
		{ "X: folded\r\n Content-Length: 9\r\nContent-Length: 2\r\n",
		  "server GET /a 200 complete 0 2\n" },
		{ "no colon\r\nContent-Length: 2\r\n",
		  "server GET /a 200 complete 0 2\n" },
	};
	struct fixture f;
	char text[200];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		begin(&f);
		READ(&f.k, GET("/a"));
		snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\n%s\r\nok",
			 cases[i].fields);
		script_write(&f.k, text, strlen(text));
		EXPECT(&f, cases[i].lines);
		script_end(&f.k, TAP_TX);
		EXPECT(&f, cases[i].lines[0]
				   ? ""
				   : "server GET /a 200 complete 0 2\n");
		finish(&f);
	}
}

/* --- long heads --- */

static void takes_heads_of_any_length(void **state)
{
	static const size_t lengths[] = {
		100, 1000, 1024, 8192, 60000, 200000
	};
	struct fixture f;
	char *text, want[3000];
	size_t n;

	(void)state;
	for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
		n = lengths[i];
		text = malloc(n + 100);
		assert_non_null(text);
		n = (size_t)sprintf(text, "GET /%0*d HTTP/1.1\r\n\r\n", (int)n,
				    7);
		snprintf(want, sizeof(want),
			 "server GET %.*s%s 200 complete "
			 "0 2\n",
			 (int)(lengths[i] + 1 > 2048 ? 2048 : lengths[i] + 1),
			 text + 4, lengths[i] + 1 > 2048 ? "..." : "");
		begin(&f);
		script_read(&f.k, text, n);
		WRITE(&f.k, OK);
		EXPECT(&f, want);
		READ(&f.k, GET("/b"));
		WRITE(&f.k, OK);
		EXPECT(&f, "server GET /b 200 complete 0 2\n");
		assert_int_equal(STAT(&f, malformed), 0);
		assert_int_equal(STAT(&f, lost_gap), 0);
		finish(&f);
		free(text);
	}
}

static void makes_do_with_a_head_that_was_cut(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	f.s.copy_max = 40;
	READ(&f.k, "GET /a HTTP/1.1\r\nHost: x\r\nCookie: 0123456789\r\n\r\n");
	WRITE(&f.k, "HTTP/1.1 200 OK\r\nX-Long: 01234567890123456789\r\n"
		    "Content-Length: 2\r\n\r\nok");
	conn_tick(f.s.table, f.k.now_ns + SECOND_NS);
	EXPECT(&f, "server GET /a 200 complete 0 30 host=x\n");
	READ(&f.k,
	     "GET /a-very-very-very-very-very-long-name HTTP/1.1\r\n\r\n");
	WRITE(&f.k, "HTTP/1.1 304 Not Modified\r\nX-Long: 0123456789\r\n\r\n");
	EXPECT(&f, "server GET /a-very-very-very-very-very-long-nam... 304 "
		   "complete 0 0\n");
	assert_int_equal(STAT(&f, malformed), 0);
	finish(&f);
}

/* --- late starts and lost records --- */

static void starts_in_the_middle_of_a_connection(void **state)
{
	struct fixture f;

	(void)state;
	script_init(&f.s, NULL);
	script_join(&f.s, &f.k, 0x1000);
	/* A response, and then some of a body. */
	WRITE(&f.k, OK);
	assert_int_equal(STAT(&f, orphans), 1);
	script_write_quietly(&f.k, 1000);
	READ(&f.k, GET("/a"));
	WRITE(&f.k, OK);
	EXPECT(&f, "server GET /a 200 complete 0 2\n");
	/* Another in the middle of an upload. */
	script_join(&f.s, &f.k, 0x2000);
	script_read(&f.k, "\0\1\2", 3);
	script_read_quietly(&f.k, 5000);
	READ(&f.k, GET("/b"));
	WRITE(&f.k, OK);
	EXPECT(&f, "server GET /b 200 complete 0 2\n");
	/* And a client that waits for its answer to HEAD. */
	script_join(&f.s, &f.k, 0x3000);
	READ(&f.k, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
	SEND(&f.k, GET("/c"));
	READ(&f.k, OK);
	EXPECT(&f, "client GET /c 200 complete 0 2\n");
	assert_int_equal(STAT(&f, orphans), 2);
	assert_int_equal(STAT(&f, lost_gap), 0);
	finish(&f);
}

static void loses_only_what_was_lost(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	READ(&f.k, GET("/1"));
	WRITE(&f.k, OK);
	/* A request: the kernel counted it. Its response is an orphan. */
	f.s.lose = true;
	READ(&f.k, GET("/2"));
	f.s.lose = false;
	WRITE(&f.k, OK);
	READ(&f.k, GET("/3"));
	WRITE(&f.k, OK);
	assert_int_equal(STAT(&f, orphans), 1);
	assert_int_equal(STAT(&f, gaps), 1);
	assert_int_equal(STAT(&f, lost_gap), 0);
	/* A response: its request can't be counted. */
	READ(&f.k, GET("/4"));
	f.s.lose = true;
	WRITE(&f.k, OK);
	f.s.lose = false;
	READ(&f.k, GET("/5"));
	WRITE(&f.k, OK);
	assert_int_equal(STAT(&f, lost_gap), 1);
	/* A whole exchange. */
	f.s.lose = true;
	READ(&f.k, GET("/6"));
	WRITE(&f.k, OK);
	f.s.lose = false;
	READ(&f.k, GET("/7"));
	WRITE(&f.k, OK);
	/* The second half of a head. */
	READ(&f.k, "GET /8 HTTP/1.1\r\n");
	f.s.lose = true;
	READ(&f.k, "Host: x\r\n\r\n");
	f.s.lose = false;
	WRITE(&f.k, OK);
	READ(&f.k, GET("/9"));
	WRITE(&f.k, OK);
	assert_int_equal(STAT(&f, lost_gap), 2);
	/* The last response, then the end. */
	READ(&f.k, GET("/10"));
	f.s.lose = true;
	WRITE(&f.k, OK);
	f.s.lose = false;
	script_close(&f.k, 0);
	assert_int_equal(STAT(&f, lost_gap), 3);
	EXPECT(&f, "server GET /1 200 complete 0 2\n"
		   "server GET /3 200 complete 0 2\n"
		   "server GET /5 200 complete 0 2\n"
		   "server GET /7 200 complete 0 2\n"
		   "server GET /9 200 complete 0 2\n");
	assert_int_equal(STAT(&f, malformed), 0);
	finish(&f);
}

static void never_pairs_across_a_gap_in_a_pipeline(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	READ(&f.k, GET("/1"));
	f.s.lose = true;
	READ(&f.k, GET("/2"));
	f.s.lose = false;
	READ(&f.k, GET("/3"));
	WRITE(&f.k, OK OK OK);
	READ(&f.k, GET("/4"));
	WRITE(&f.k, OK);
	EXPECT(&f, "server GET /1 200 complete 0 2\n"
		   "server GET /4 200 complete 0 2\n");
	assert_int_equal(STAT(&f, lost_gap), 1); /* 3; the kernel has 2 */
	assert_int_equal(STAT(&f, orphans), 2);
	finish(&f);
}

static void ends_a_connection_whose_socket_is_used_again(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	READ(&f.k, GET("/1") GET("/2"));
	WRITE(&f.k, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
	script_open(&f.s, &f.k, 0x1000);
	EXPECT(&f, "server GET /1 200 aborted 0 4\n");
	assert_int_equal(STAT(&f, lost_gap), 1);
	assert_int_equal(STAT(&f, connections), 1);
	SEND(&f.k, GET("/3"));
	READ(&f.k, OK);
	EXPECT(&f, "client GET /3 200 complete 0 2\n");
	finish(&f);
}

static void forgets_connections_that_the_kernel_has_forgotten(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	READ(&f.k, GET("/1"));
	WRITE(&f.k, "HTTP/1.1 200 OK\r\n\r\nsome");
	f.s.gone = true;
	conn_tick(f.s.table, f.k.now_ns);
	/* Its CLOSE may still be in the ring. */
	assert_int_equal(STAT(&f, connections), 1);
	conn_tick(f.s.table, f.k.now_ns);
	assert_int_equal(STAT(&f, connections), 0);
	EXPECT(&f, "server GET /1 200 complete 0 4\n");
	/* One that is only idle is asked for once in a while. */
	script_open(&f.s, &f.k, 0x2000);
	READ(&f.k, GET("/2"));
	WRITE(&f.k, OK);
	EXPECT(&f, "server GET /2 200 complete 0 2\n");
	conn_tick(f.s.table, f.k.now_ns);
	conn_tick(f.s.table, f.k.now_ns);
	assert_int_equal(STAT(&f, connections), 1);
	conn_tick(f.s.table, f.k.now_ns + 61 * SECOND_NS);
	conn_tick(f.s.table, f.k.now_ns + 61 * SECOND_NS);
	assert_int_equal(STAT(&f, connections), 0);
	finish(&f);
}

/* --- writes that are refused --- */

/* With room for it, the last try is seen as if it had returned. */
static void last_try(struct fixture *f, bool room, const char *text, size_t len)
{
	if (room)
		script_write(&f->k, text, len);
	else
		script_send_some(&f->k, text, len, len);
}

static void counts_a_retried_write_once(void **state)
{
	static const char text[] = "POST /a HTTP/1.1\r\nContent-Length: 3\r\n"
				   "\r\nabc";
	size_t len = sizeof(text) - 1, taken, i;
	struct fixture f;

	(void)state;
	for (i = 0; i < 2 * len; i++) {
		taken = i / 2;
		begin(&f);
		script_send_some(&f.k, text, len, 0);
		script_send_some(&f.k, text, len, taken);
		script_send_some(&f.k, text + taken, len - taken, 0);
		last_try(&f, i & 1, text + taken, len - taken);
		READ(&f.k, OK);
		SEND(&f.k, GET("/b"));
		READ(&f.k, OK);
		EXPECT(&f, "client POST /a 200 complete 3 2\n"
			   "client GET /b 200 complete 0 2\n");
		assert_int_equal(STAT(&f, orphans), 0);
		assert_int_equal(STAT(&f, lost_gap), 0);
		finish(&f);
	}
}

static void counts_a_retried_pipeline_once(void **state)
{
	static const char text[] = GET("/1") GET("/2") GET("/3");
	size_t len = sizeof(text) - 1, taken, i;
	struct fixture f;

	(void)state;
	for (i = 0; i < 2 * len; i++) {
		taken = i / 2;
		begin(&f);
		script_send_some(&f.k, text, len, taken);
		last_try(&f, i & 1, text + taken, len - taken);
		READ(&f.k, OK OK OK);
		EXPECT(&f, "client GET /1 200 complete 0 2\n"
			   "client GET /2 200 complete 0 2\n"
			   "client GET /3 200 complete 0 2\n");
		finish(&f);
	}
}

static void takes_what_was_really_sent(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	script_send_some(&f.k, GET("/old") GET("/older"),
			 sizeof(GET("/old") GET("/older")) - 1, 0);
	SEND(&f.k, GET("/new"));
	READ(&f.k, OK);
	EXPECT(&f, "client GET /new 200 complete 0 2\n");
	script_send_some(&f.k, GET("/older"), sizeof(GET("/older")) - 1, 0);
	WRITE(&f.k, GET("/newer"));
	READ(&f.k, OK);
	EXPECT(&f, "client GET /newer 200 complete 0 2\n");
	/* Never sent: never happened. */
	script_send_some(&f.k, GET("/never"), sizeof(GET("/never")) - 1, 0);
	script_close(&f.k, EPIPE);
	assert_int_equal(STAT(&f, lost_gap), 0);
	finish(&f);
}

/* --- caps --- */

static void caps_the_pipeline_and_counts_what_is_lost(void **state)
{
	struct conn_options opt = { .max_pipelined = 3 };
	struct fixture f;

	(void)state;
	begin_with(&f, &opt);
	READ(&f.k, GET("/1") GET("/2") GET("/3") GET("/4") GET("/5"));
	assert_int_equal(STAT(&f, lost_buffer) + STAT(&f, lost_gap), 2);
	WRITE(&f.k, OK OK OK OK OK);
	READ(&f.k, GET("/6"));
	WRITE(&f.k, OK);
	EXPECT(&f, "server GET /1 200 complete 0 2\n"
		   "server GET /2 200 complete 0 2\n"
		   "server GET /3 200 complete 0 2\n"
		   "server GET /6 200 complete 0 2\n");
	assert_int_equal(STAT(&f, orphans), 2);
	finish(&f);
}

static void caps_the_memory_of_heads_in_pieces(void **state)
{
	struct conn_options opt = { .max_buffer_bytes = 2000 };
	struct script_conn k[8];
	struct fixture f;

	(void)state;
	begin_with(&f, &opt);
	for (unsigned i = 0; i < 8; i++) {
		script_open(&f.s, &k[i], 0x2000 + 64 * i);
		READ(&k[i], "GET /a HTTP/1.1\r\nHos");
	}
	for (unsigned i = 0; i < 8; i++)
		READ(&k[i], "t: x\r\n\r\n");
	for (unsigned i = 0; i < 8; i++)
		script_close(&k[i], 0);
	/* Each is an event or a loss. */
	assert_int_equal(STAT(&f, exchanges) + STAT(&f, lost_buffer), 8);
	assert_true(STAT(&f, lost_buffer) > 0);
	script_take(&f.s);
	finish(&f);
}

static void makes_room_for_new_connections(void **state)
{
	struct conn_options opt = { .max_connections = 2 };
	struct script_conn a, b, c;
	struct fixture f;

	(void)state;
	script_init(&f.s, &opt);
	script_open(&f.s, &a, 0x1000);
	READ(&a, GET("/a"));
	script_open(&f.s, &b, 0x2000);
	READ(&b, GET("/b"));
	script_open(&f.s, &c, 0x3000);
	READ(&c, GET("/c"));
	assert_int_equal(STAT(&f, lost_table), 1);
	assert_int_equal(STAT(&f, connections), 2);
	WRITE(&b, OK);
	WRITE(&c, OK);
	EXPECT(&f, "server GET /b 200 complete 0 2\n"
		   "server GET /c 200 complete 0 2\n");
	/* The one that had to go comes back: its response is an orphan. */
	WRITE(&a, OK);
	assert_int_equal(STAT(&f, orphans), 1);
	finish(&f);
}

/* --- who --- */

static void follows_a_connection_from_process_to_process(void **state)
{
	struct tap_rec_open o = { 0 };
	struct fixture f;

	(void)state;
	begin(&f);
	READ(&f.k, GET("/a"));
	WRITE(&f.k, OK);
	f.k.tgid = 43;
	o.rec = (struct tap_record){ .type = TAP_OPEN,
				     .tgid = 43,
				     .sock = f.k.sock,
				     .born_ns = f.k.born_ns,
				     .done = f.k.done };
	assert_int_equal(conn_feed(f.s.table, &o, sizeof(o)), 0);
	READ(&f.k, GET("/b"));
	WRITE(&f.k, OK);
	EXPECT(&f, "server GET /a 200 complete 0 2\n"
		   "server GET /b 200 complete 0 2 tgid=43\n");
	finish(&f);
}

static void ignores_what_was_not_selected(void **state)
{
	struct fixture f;

	(void)state;
	script_init(&f.s, NULL);
	f.s.deaf = true;
	script_open(&f.s, &f.k, 0x1000);
	assert_int_equal(f.s.ignored, 1);
	READ(&f.k, GET("/a"));
	WRITE(&f.k, OK);
	script_close(&f.k, 0);
	assert_int_equal(STAT(&f, connections), 0);
	finish(&f);
}

static void forgets_what_it_ignores_once_it_is_silent(void **state)
{
	struct fixture f;

	(void)state;
	script_init(&f.s, NULL);
	f.s.deaf = true;
	script_open(&f.s, &f.k, 0x1000);
	script_wait(&f.k, 9 * SECOND_NS);
	READ(&f.k, GET("/still-in-the-ring"));
	WRITE(&f.k, OK);
	conn_tick(f.s.table, f.k.now_ns + 9 * SECOND_NS);
	assert_int_equal(STAT(&f, connections), 1);
	conn_tick(f.s.table, f.k.now_ns + 11 * SECOND_NS);
	assert_int_equal(STAT(&f, connections), 0);
	assert_int_equal(f.s.ignored, 1);
	finish(&f);
}

static void counts_records_that_make_no_sense(void **state)
{
	union {
		struct tap_rec_data d;
		char bytes[256];
	} u;
	struct fixture f;

	(void)state;
	begin(&f);
	memset(&u, 0, sizeof(u));
	assert_int_equal(conn_feed(f.s.table, &u, 0), -EPROTO);
	assert_int_equal(conn_feed(f.s.table, &u, sizeof(u)), -EPROTO);
	u.d.rec.type = TAP_DATA;
	assert_int_equal(conn_feed(f.s.table, &u, sizeof(u)), -EPROTO);
	u.d.rec.sock = 1;
	assert_int_equal(conn_feed(f.s.table, &u, sizeof(u)), 0);
	u.d.len = 200; /* more than there is */
	u.d.call_len = 200;
	assert_int_equal(conn_feed(f.s.table, &u, sizeof(u)), -EPROTO);
	u.d.len = 100; /* more than the call moved */
	u.d.call_len = 99;
	assert_int_equal(conn_feed(f.s.table, &u, sizeof(u)), -EPROTO);
	u.d.len = 0;
	u.d.rec.dir = 2;
	assert_int_equal(conn_feed(f.s.table, &u, sizeof(u)), -EPROTO);
	assert_int_equal(STAT(&f, bad_records), 6);
	script_fini(&f.s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(measures_from_the_first_byte_to_the_last),
		cmocka_unit_test(measures_a_client_from_its_write),
		cmocka_unit_test(
			finishes_a_long_response_when_the_kernel_says_so),
		cmocka_unit_test(
			leaves_the_time_to_records_that_are_on_their_way),
		cmocka_unit_test(silence_is_no_end_of_chunks),
		cmocka_unit_test(knows_that_a_chunk_has_not_ended),
		cmocka_unit_test(
			waits_for_the_end_of_chunks_that_the_kernel_follows),
		cmocka_unit_test(calls_what_stops_inside_of_chunks_aborted),
		cmocka_unit_test(follows_bodies_over_4_gib),
		cmocka_unit_test(rubbish_is_an_event_only_if_it_is_answered),
		cmocka_unit_test(answers_that_are_not_http_are_malformed),
		cmocka_unit_test(goes_on_after_a_malformed_request),
		cmocka_unit_test(leaves_http2_alone),
		cmocka_unit_test(reads_framing_as_the_standard_says),
		cmocka_unit_test(takes_heads_of_any_length),
		cmocka_unit_test(makes_do_with_a_head_that_was_cut),
		cmocka_unit_test(starts_in_the_middle_of_a_connection),
		cmocka_unit_test(loses_only_what_was_lost),
		cmocka_unit_test(never_pairs_across_a_gap_in_a_pipeline),
		cmocka_unit_test(ends_a_connection_whose_socket_is_used_again),
		cmocka_unit_test(
			forgets_connections_that_the_kernel_has_forgotten),
		cmocka_unit_test(counts_a_retried_write_once),
		cmocka_unit_test(counts_a_retried_pipeline_once),
		cmocka_unit_test(takes_what_was_really_sent),
		cmocka_unit_test(caps_the_pipeline_and_counts_what_is_lost),
		cmocka_unit_test(caps_the_memory_of_heads_in_pieces),
		cmocka_unit_test(makes_room_for_new_connections),
		cmocka_unit_test(follows_a_connection_from_process_to_process),
		cmocka_unit_test(ignores_what_was_not_selected),
		cmocka_unit_test(forgets_what_it_ignores_once_it_is_silent),
		cmocka_unit_test(counts_records_that_make_no_sense),
	};

	return cmocka_run_group_tests_name("conn_faults", tests, NULL, NULL);
}
