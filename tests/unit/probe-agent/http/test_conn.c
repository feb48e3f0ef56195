/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/probe-agent/tap_script.h"

#define OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#define SOCK 0x1000
#define SECOND_NS 1000000000ull

/* A scenario has no role: only a side that asks and a side that answers. */
struct scene {
	struct script s;
	struct script_conn k;
	enum role role;
};

static void ask(struct scene *c, const void *data, size_t len)
{
	if (c->role == ROLE_SERVER)
		script_read(&c->k, data, len);
	else
		script_send(&c->k, data, len);
}

static void answer(struct scene *c, const void *data, size_t len)
{
	if (c->role == ROLE_SERVER)
		script_write(&c->k, data, len);
	else
		script_read(&c->k, data, len);
}

static void answer_quietly(struct scene *c, uint64_t len)
{
	if (c->role == ROLE_SERVER)
		script_write_quietly(&c->k, len);
	else
		script_read_quietly(&c->k, len);
}

static void ask_quietly(struct scene *c, uint64_t len)
{
	if (c->role == ROLE_SERVER)
		script_read_quietly(&c->k, len);
	else
		script_write_quietly(&c->k, len);
}

static void answer_ends(struct scene *c)
{
	script_end(&c->k, c->role == ROLE_SERVER ? TAP_TX : TAP_RX);
}

#define ASK(c, text) ask(c, text, sizeof(text) - 1)
#define ANSWER(c, text) answer(c, text, sizeof(text) - 1)

struct expect {
	const char *lines; /* without the role; one exchange a line */
	unsigned malformed, http2, upgraded, lost_gap, orphans, ignored, gaps,
		lost_buffer;
};

/* Puts the role in front of each line. */
static char *with_role(const char *lines, enum role role)
{
	struct buf b = { 0 };
	const char *p = lines, *nl;
	size_t len;

	for (; *p; p = nl + 1) {
		nl = strchr(p, '\n');
		assert_non_null(nl);
		buf_puts(&b, role == ROLE_SERVER ? "server " : "client ");
		buf_append(&b, p, (size_t)(nl + 1 - p));
	}
	buf_str(&b);
	return buf_take(&b, &len);
}

static void check(struct scene *c, const struct expect *e)
{
	struct conn_stats got = script_stats(&c->s);
	char *want = with_role(e->lines, c->role);

	assert_string_equal(script_take(&c->s), want);
	free(want);
	assert_int_equal(got.malformed, e->malformed);
	assert_int_equal(got.http2, e->http2);
	assert_int_equal(got.upgraded, e->upgraded);
	assert_int_equal(got.lost_gap, e->lost_gap);
	assert_int_equal(got.orphans, e->orphans);
	assert_int_equal(got.gaps, e->gaps);
	assert_int_equal(got.lost_buffer, e->lost_buffer);
	assert_int_equal(got.bad_records, 0);
	assert_int_equal(got.lost_table, 0);
	assert_int_equal(c->s.ignored, e->ignored);
}

typedef void (*scenario_fn)(struct scene *c);

static void play_one(enum role role, size_t split, size_t piece,
		     bool heads_only, scenario_fn scenario,
		     const struct expect *e)
{
	struct scene c = { .role = role };

	script_init(&c.s, NULL);
	c.s.split = split;
	c.s.piece_max = piece;
	c.s.heads_only = heads_only;
	script_open(&c.s, &c.k, SOCK);
	scenario(&c);
	check(&c, e);
	script_fini(&c.s);
}

/*
 * Plays it in both roles, every call cut in two at every byte, byte by byte,
 * and in small records: the outcome may not change.
 */
static void play(scenario_fn scenario, const struct expect *e, bool heads_only)
{
	static const size_t pieces[] = { 1024, 256, 7, 1 };
	enum role role;

	for (role = ROLE_SERVER; role <= ROLE_CLIENT; role++) {
		for (size_t split = 0; split < 200; split++)
			play_one(role, split, 1024, heads_only, scenario, e);
		play_one(role, SIZE_MAX, 1024, heads_only, scenario, e);
		for (size_t i = 0; i < sizeof(pieces) / sizeof(*pieces); i++)
			play_one(role, 0, pieces[i], heads_only, scenario, e);
	}
}

static void play_both(scenario_fn scenario, const struct expect *e)
{
	play(scenario, e, false);
	play(scenario, e, true);
}

/* --- keep-alive and pipelining --- */

static void keep_alive(struct scene *c)
{
	ASK(c, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
	ANSWER(c, OK);
	script_wait(&c->k, 60 * SECOND_NS);
	ASK(c,
	    "GET /b HTTP/1.1\r\nhost:  y \r\nTraceParent: 00-ab-cd-01\r\n\r\n");
	ANSWER(c, "HTTP/1.1 404 Not Found\r\ncontent-length:0\r\n\r\n");
	ASK(c, "GET /c HTTP/1.0\n\n");
	ANSWER(c, "HTTP/1.0 500\nContent-Length: 1\n\nx");
	script_close(&c->k, 0);
}

static void counts_each_request_of_a_connection(void **state)
{
	(void)state;
	play_both(keep_alive,
		  &(struct expect){ .lines = "GET /a 200 complete 0 2 host=x\n"
					     "GET /b 404 complete 0 0 host=y "
					     "trace=00-ab-cd-01\n"
					     "GET /c 500 complete 0 1 v10\n" });
}

static void pipelined(struct scene *c)
{
	ASK(c, "GET /1 HTTP/1.1\r\n\r\n"
	       "POST /2 HTTP/1.1\r\nContent-Length: 4\r\n\r\nGET "
	       "HEAD /3 HTTP/1.1\r\n\r\n"
	       "PUT /4 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
	       "3;x=y\r\nabc\r\n0\r\nTrailer: 1\r\n\r\n"
	       "GET /5 HTTP/1.1\r\n\r\n");
	ANSWER(c, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"
		  "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n"
		  "2\r\nab\r\n0\r\n\r\n"
		  "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"
		  "HTTP/1.1 204 No Content\r\n\r\n"
		  "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n");
	ASK(c, "GET /6 HTTP/1.1\r\n\r\n");
	ANSWER(c, OK);
	script_close(&c->k, 0);
}

static void pairs_pipelined_requests_in_order(void **state)
{
	(void)state;
	play(pipelined,
	     &(struct expect){ .lines = "GET /1 200 complete 0 3\n"
					"POST /2 201 complete 4 12\n"
					"HEAD /3 200 complete 0 0\n"
					"PUT /4 204 complete 29 0\n"
					"GET /5 304 complete 0 0\n"
					"GET /6 200 complete 0 2\n" },
	     false);
}

/* --- methods and targets --- */

static void methods(struct scene *c)
{
	static const char *const names[] = { "GET",	"POST",	  "PUT",
					     "HEAD",	"DELETE", "OPTIONS",
					     "TRACE",	"PATCH",  "PROPFIND",
					     "M-SEARCH" };
	char text[100];

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		snprintf(text, sizeof(text), "%s /x HTTP/1.1\r\n\r\n",
			 names[i]);
		ask(c, text, strlen(text));
		ANSWER(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	}
	ASK(c, "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n");
	ANSWER(c, OK);
	ASK(c, "GET http://u:p@a.b:81/p?q=http://z/ HTTP/1.1\r\n"
	       "Host: proxy\r\n\r\n");
	ANSWER(c, OK);
	script_close(&c->k, 0);
}

static void takes_every_method_and_form_of_target(void **state)
{
	(void)state;
	play_both(methods,
		  &(struct expect){
			  .lines = "GET /x 200 complete 0 0\n"
				   "POST /x 200 complete 0 0\n"
				   "PUT /x 200 complete 0 0\n"
				   "HEAD /x 200 complete 0 0\n"
				   "DELETE /x 200 complete 0 0\n"
				   "OPTIONS /x 200 complete 0 0\n"
				   "TRACE /x 200 complete 0 0\n"
				   "PATCH /x 200 complete 0 0\n"
				   "PROPFIND /x 200 complete 0 0\n"
				   "M-SEARCH /x 200 complete 0 0\n"
				   "OPTIONS * 200 complete 0 2 host=x\n"
				   "GET http://u:p@a.b:81/p?q=http://z/ 200 "
				   "complete 0 2 host=a.b:81\n" });
}

static void connect_tunnel(struct scene *c)
{
	ASK(c, "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n");
	ANSWER(c, "HTTP/1.1 407 No\r\nContent-Length: 2\r\n\r\nno");
	ASK(c, "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n");
	ANSWER(c, "HTTP/1.1 200 Connection established\r\n\r\n");
	ASK(c, "GET /inside HTTP/1.1\r\n\r\n");
	ANSWER(c, OK);
	script_close(&c->k, 0);
}

static void ends_at_a_tunnel(void **state)
{
	(void)state;
	play_both(connect_tunnel,
		  &(struct expect){
			  .lines = "CONNECT a:443 407 complete 0 2 host=a:443\n"
				   "CONNECT a:443 200 complete 0 0 "
				   "host=a:443\n",
			  .upgraded = 1,
			  .ignored = 1 });
}

/* --- statuses that change the framing --- */

static void upgrade(struct scene *c)
{
	ASK(c, "GET /chat HTTP/1.1\r\nUpgrade: websocket\r\n"
	       "Connection: Upgrade\r\n\r\n");
	ANSWER(c, "HTTP/1.1 101 Switching Protocols\r\n"
		  "Upgrade: websocket\r\n\r\n\x81\x05hello");
	ASK(c, "GET /inside HTTP/1.1\r\n\r\n");
	ANSWER(c, OK);
	script_close(&c->k, ECONNRESET);
}

static void ends_at_an_upgrade(void **state)
{
	(void)state;
	play_both(upgrade,
		  &(struct expect){ .lines = "GET /chat 101 complete 0 0\n",
				    .upgraded = 1,
				    .ignored = 1 });
}

static void interim(struct scene *c)
{
	ASK(c, "POST /a HTTP/1.1\r\nExpect: 100-continue\r\n"
	       "Content-Length: 5\r\n\r\n");
	ANSWER(c, "HTTP/1.1 100 Continue\r\n\r\n");
	ASK(c, "hello");
	ANSWER(c, "HTTP/1.1 102 Processing\r\n\r\n");
	ANSWER(c, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
	ANSWER(c, "HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok");
	ASK(c, "POST /b HTTP/1.1\r\nExpect: 100-continue\r\n"
	       "Content-Length: 20\r\n\r\n");
	ANSWER(c, "HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n");
	/* The body is left out. */
	ASK(c, "GET /c HTTP/1.1\r\n\r\n");
	ANSWER(c, OK);
	script_close(&c->k, 0);
}

static void passes_over_interim_responses(void **state)
{
	(void)state;
	play_both(interim,
		  &(struct expect){ .lines = "POST /a 201 complete 5 2\n"
					     "POST /b 417 complete 0 0\n"
					     "GET /c 200 complete 0 2\n" });
}

/* --- how responses end --- */

static void until_close(struct scene *c)
{
	ASK(c, "GET /a HTTP/1.0\r\n\r\n");
	ANSWER(c, "HTTP/1.0 200 OK\r\n\r\nsome");
	conn_tick(c->s.table, c->k.now_ns + 10 * SECOND_NS);
	answer_quietly(c, 96);
	answer_ends(c);
	script_close(&c->k, 0);
}

static void ends_an_unbounded_response_with_its_connection(void **state)
{
	(void)state;
	play_both(
		until_close,
		&(struct expect){ .lines = "GET /a 200 complete 0 100 v10\n" });
}

static void chunked_unseen(struct scene *c)
{
	ASK(c, "GET /a HTTP/1.1\r\n\r\n");
	ANSWER(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
	answer_quietly(c, 1000);
	ASK(c, "GET /b HTTP/1.1\r\n\r\n");
	ANSWER(c,
	       "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n");
	answer_quietly(c, 500);
	answer_ends(c);
	script_close(&c->k, 0);
}

static void ends_an_unseen_chunked_response_with_what_follows(void **state)
{
	(void)state;
	play_both(chunked_unseen,
		  &(struct expect){ .lines = "GET /a 200 complete 0 1000\n"
					     "GET /b 200 complete 0 500\n" });
}

static void no_answer(struct scene *c, uint32_t error)
{
	ASK(c, "GET /a HTTP/1.1\r\n\r\n");
	script_close(&c->k, error);
}

static void no_answer_close(struct scene *c)
{
	no_answer(c, 0);
}

static void no_answer_reset(struct scene *c)
{
	no_answer(c, ECONNRESET);
}

static void no_answer_timeout(struct scene *c)
{
	no_answer(c, ETIMEDOUT);
}

static void no_answer_eof(struct scene *c)
{
	ASK(c, "GET /a HTTP/1.1\r\n\r\n");
	answer_ends(c);
	script_close(&c->k, ECONNRESET);
}

static void invents_no_status_where_none_came(void **state)
{
	(void)state;
	play_both(no_answer_close,
		  &(struct expect){ .lines = "GET /a 0 aborted 0 0\n" });
	play_both(no_answer_reset,
		  &(struct expect){ .lines = "GET /a 0 reset 0 0\n" });
	play_both(no_answer_timeout,
		  &(struct expect){ .lines = "GET /a 0 timeout 0 0\n" });
	play_both(no_answer_eof,
		  &(struct expect){ .lines = "GET /a 0 aborted 0 0\n" });
}

static void broken_answer(struct scene *c)
{
	ASK(c, "GET /a HTTP/1.1\r\n\r\n");
	ANSWER(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
	script_close(&c->k, ECONNRESET);
}

static void broken_chunk(struct scene *c)
{
	ASK(c, "GET /a HTTP/1.1\r\n\r\n");
	ANSWER(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
		  "ff\r\nhalf");
	script_close(&c->k, 0);
}

static void broken_head(struct scene *c)
{
	ASK(c, "GET /a HTTP/1.1\r\n\r\n");
	ANSWER(c, "HTTP/1.1 503 Overlo");
	script_close(&c->k, 0);
}

static void keeps_the_status_of_a_broken_response(void **state)
{
	(void)state;
	play_both(broken_answer,
		  &(struct expect){ .lines = "GET /a 200 reset 0 4\n" });
	play(broken_chunk,
	     &(struct expect){ .lines = "GET /a 200 aborted 0 8\n" }, false);
	play_both(broken_head,
		  &(struct expect){ .lines = "GET /a 503 aborted 0 0\n" });
}

static void early_answer(struct scene *c)
{
	ASK(c, "POST /a HTTP/1.1\r\nContent-Length: 1000\r\n\r\n");
	ask_quietly(c, 300);
	ANSWER(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n");
	ask_quietly(c, 700);
	ASK(c, "GET /b HTTP/1.1\r\n\r\n");
	ANSWER(c, OK);
	script_close(&c->k, 0);
}

static void takes_a_response_before_its_request_has_ended(void **state)
{
	(void)state;
	play_both(early_answer,
		  &(struct expect){ .lines = "POST /a 413 complete 300 0\n"
					     "GET /b 200 complete 0 2\n" });
}

static void half_closed(struct scene *c)
{
	ASK(c, "GET /a HTTP/1.1\r\nConnection: close\r\n\r\n");
	script_end(&c->k, c->role == ROLE_SERVER ? TAP_RX : TAP_TX);
	ANSWER(c, OK);
	answer_ends(c);
	script_close(&c->k, 0);
}

static void lets_a_client_close_its_half(void **state)
{
	(void)state;
	play_both(half_closed,
		  &(struct expect){ .lines = "GET /a 200 complete 0 2\n" });
}

static void body_like_http(struct scene *c)
{
	ASK(c, "POST /a HTTP/1.1\r\nContent-Length: 23\r\n\r\n");
	ASK(c, "GET /fake HTTP/1.1\r\n\r\n.");
	ANSWER(c, "HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\n");
	ANSWER(c, "HTTP/1.1 500 Oh\r\n\r\n");
	ASK(c, "POST /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n");
	ask_quietly(c, 5);
	ASK(c, "GET /fake HTTP/1.1\r\n\r\n");
	ANSWER(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
	answer_quietly(c, 5);
	ANSWER(c, "HTTP/1.1 500 Oh\r\n\r\n");
	script_close(&c->k, 0);
}

static void is_not_fooled_by_bodies(void **state)
{
	(void)state;
	play(body_like_http,
	     &(struct expect){ .lines = "POST /a 200 complete 23 19\n"
					"POST /b 200 complete 27 24\n" },
	     false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counts_each_request_of_a_connection),
		cmocka_unit_test(pairs_pipelined_requests_in_order),
		cmocka_unit_test(takes_every_method_and_form_of_target),
		cmocka_unit_test(ends_at_a_tunnel),
		cmocka_unit_test(ends_at_an_upgrade),
		cmocka_unit_test(passes_over_interim_responses),
		cmocka_unit_test(
			ends_an_unbounded_response_with_its_connection),
		cmocka_unit_test(
			ends_an_unseen_chunked_response_with_what_follows),
		cmocka_unit_test(invents_no_status_where_none_came),
		cmocka_unit_test(keeps_the_status_of_a_broken_response),
		cmocka_unit_test(takes_a_response_before_its_request_has_ended),
		cmocka_unit_test(lets_a_client_close_its_half),
		cmocka_unit_test(is_not_fooled_by_bodies),
	};

	return cmocka_run_group_tests_name("conn", tests, NULL, NULL);
}
