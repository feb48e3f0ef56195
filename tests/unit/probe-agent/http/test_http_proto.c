/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "probe-agent/config/config.h"
#include "probe-agent/http/conn_engine.h"
#include "probe-agent/http/h1_conn.h"
#include "probe-agent/http/pending.h"
#include "probe-agent/pipeline.h"
#include "tests/unit/probe-agent/tap_script.h"

/*
 * A protocol that redtap has not, put in by the door that is there for the next
 * one. A record "TOY 3 /x" asks for /x under the number 3; "3 200" answers it,
 * in any order; "HTTP" changes the connection back.
 */

#define OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#define ASKED_MAX 8

struct toy_request {
	struct pending p;
	unsigned number;
};

/* Too large for the connection's slot, so that it hangs from a pointer. */
struct toy_state {
	struct toy_request *asked[ASKED_MAX];
	char room[HTTP_PROTO_CONN_BYTES];
};

struct toy_conn {
	struct conn c;
	struct toy_state *state;
};

static int inits_to_fail;

static struct toy_state *state_of(struct conn *c)
{
	return ((struct toy_conn *)c)->state;
}

static int toy_open(struct conn_engine *e, void **shared)
{
	assert_non_null(e);
	*shared = calloc(1, sizeof(uint64_t));
	return *shared ? 0 : -ENOMEM;
}

static void toy_shut(struct conn_engine *e, void *shared)
{
	assert_non_null(e);
	free(shared);
}

/* Its own count goes where the engine's does. */
static void toy_stats(const void *shared, struct conn_stats *out)
{
	out->http2 += *(const uint64_t *)shared;
}

static bool toy_claims(const struct conn *c, const struct tap_rec_data *r)
{
	assert_false(c->certain);
	return r->len >= 4 && memcmp(r->data, "TOY ", 4) == 0;
}

static int toy_init(struct conn_engine *e, struct conn *c,
		    const struct exchange *asked)
{
	assert_null(state_of(c));
	assert_null(asked);
	if (inits_to_fail) {
		inits_to_fail--;
		return -ENOMEM;
	}
	++*(uint64_t *)e->shared[c->proto];
	((struct toy_conn *)c)->state = calloc(1, sizeof(struct toy_state));
	return 0;
}

static void toy_ask(struct conn_engine *e, struct conn *c,
		    const struct tap_rec_data *r, unsigned number,
		    const char *target)
{
	struct slice text[PENDING_TEXTS] = {
		[PENDING_METHOD] = { "GET", 3 },
		[PENDING_TARGET] = { target, strlen(target) },
	};
	struct pending *p = pending_new(e, sizeof(struct toy_request), text);

	assert_non_null(p);
	assert_true(number < ASKED_MAX && !state_of(c)->asked[number]);
	c->role = r->rec.dir == TAP_RX ? ROLE_SERVER : ROLE_CLIENT;
	c->certain = true;
	p->version = 11;
	p->start_ns = r->first_ns;
	state_of(c)->asked[number] = (struct toy_request *)p;
}

static void toy_answer(struct conn_engine *e, struct conn *c,
		       const struct tap_rec_data *r, unsigned number,
		       unsigned status)
{
	struct toy_request **at = &state_of(c)->asked[number];
	struct exchange x = { .end_ns = r->last_ns, .response_bytes = r->len };

	assert_non_null(*at);
	(*at)->p.status = (uint16_t)status;
	(*at)->p.first_byte_ns = r->first_ns;
	pending_report(e, c, &(*at)->p, &x);
	pending_free(e, &(*at)->p);
	*at = NULL;
}

static bool toy_data(struct conn_engine *e, struct conn *c,
		     const struct tap_rec_data *r)
{
	char text[64], target[64];
	unsigned number, status;

	assert_true(r->len < sizeof(text));
	memcpy(text, r->data, r->len);
	text[r->len] = '\0';
	if (sscanf(text, "TOY %u %63s", &number, target) == 2)
		toy_ask(e, c, r, number, target);
	else if (sscanf(text, "%u %u", &number, &status) == 2)
		toy_answer(e, c, r, number, status);
	else if (!strcmp(text, "HTTP"))
		assert_int_equal(conn_switch(e, c, &h1_proto, NULL), 0);
	return false;
}

static bool toy_end(struct conn_engine *e, struct conn *c, int dir,
		    const struct tap_rec_place *answers, uint64_t time_ns)
{
	(void)e;
	(void)c;
	(void)dir;
	(void)answers;
	(void)time_ns;
	return false;
}

static bool toy_poll(struct conn_engine *e, struct conn *c,
		     const struct tap_rec_progress *now,
		     const struct tap_rec_place *answers, uint64_t now_ns)
{
	(void)e;
	(void)c;
	(void)now;
	(void)answers;
	(void)now_ns;
	return false;
}

static void toy_close(struct conn_engine *e, struct conn *c,
		      enum outcome outcome, const struct tap_rec_place *answers,
		      uint64_t time_ns)
{
	struct exchange x = { .outcome = outcome, .end_ns = time_ns };
	struct toy_request **at = state_of(c)->asked;

	(void)answers;
	for (unsigned i = 0; i < ASKED_MAX; i++) {
		if (!at[i])
			continue;
		pending_report(e, c, &at[i]->p, &x);
		pending_free(e, &at[i]->p);
		at[i] = NULL;
	}
}

static void toy_vanish(struct conn_engine *e, struct conn *c)
{
	(void)e;
	(void)c;
}

static size_t toy_fini(struct conn_engine *e, struct conn *c)
{
	struct toy_state *s = state_of(c);
	size_t n = 0;

	for (unsigned i = 0; s && i < ASKED_MAX; i++) {
		if (!s->asked[i])
			continue;
		pending_free(e, &s->asked[i]->p);
		n++;
	}
	free(s);
	((struct toy_conn *)c)->state = NULL;
	return n;
}

static const struct http_proto toy_proto = {
	.name = "toy",
	.open = toy_open,
	.shut = toy_shut,
	.stats = toy_stats,
	.claims = toy_claims,
	.init = toy_init,
	.data = toy_data,
	.end = toy_end,
	.poll = toy_poll,
	.close = toy_close,
	.vanish = toy_vanish,
	.fini = toy_fini,
};

static const struct http_proto *const protos[] = { &toy_proto, &h1_proto,
						   NULL };

static void begin(struct script *s)
{
	struct conn_options opt = { .protos = protos };

	script_init(s, &opt);
}

static void answers_come_in_any_order(void **state)
{
	struct script s;
	struct script_conn k;

	(void)state;
	begin(&s);
	script_open(&s, &k, 0x1000);
	READ(&k, "TOY 1 /first");
	READ(&k, "TOY 2 /second");
	WRITE(&k, "2 204");
	WRITE(&k, "1 200");
	assert_string_equal(script_take(&s),
			    "server GET /second 204 complete 0 5\n"
			    "server GET /first 200 complete 0 5\n");
	assert_int_equal(script_stats(&s).http2, 1);
	script_fini(&s);
}

static void http_goes_on_beside_it_and_behind_it(void **state)
{
	struct script s;
	struct script_conn k, other;

	(void)state;
	begin(&s);
	script_open(&s, &k, 0x1000);
	script_open(&s, &other, 0x2000);
	READ(&other, "GET /plain HTTP/1.1\r\n\r\n");
	READ(&k, "TOY 1 /toy");
	WRITE(&other, OK);
	WRITE(&k, "1 200");
	READ(&k, "HTTP");
	READ(&k, "GET /behind HTTP/1.1\r\n\r\n");
	WRITE(&k, OK);
	assert_string_equal(script_take(&s),
			    "server GET /plain 200 complete 0 2\n"
			    "server GET /toy 200 complete 0 5\n"
			    "server GET /behind 200 complete 0 2\n");
	script_fini(&s);
}

static void what_is_under_way_is_reported_or_lost(void **state)
{
	struct script s;
	struct script_conn k, gone;

	(void)state;
	begin(&s);
	script_open(&s, &k, 0x1000);
	READ(&k, "TOY 1 /x");
	script_close(&k, ECONNRESET);
	script_open(&s, &gone, 0x2000);
	READ(&gone, "TOY 1 /y");
	READ(&gone, "TOY 2 /z");
	/* The socket is another connection's now. */
	script_open(&s, &k, 0x2000);
	assert_string_equal(script_take(&s), "server GET /x 0 reset 0 0\n");
	assert_int_equal(script_stats(&s).lost_gap, 2);
	READ(&k, "TOY 3 /w");
	READ(&k, "HTTP");
	assert_int_equal(script_stats(&s).lost_gap, 3);
	script_fini(&s);
}

static void without_memory_the_connection_is_left_alone(void **state)
{
	struct script s;
	struct script_conn k;

	(void)state;
	begin(&s);
	inits_to_fail = 1;
	script_open(&s, &k, 0x1000);
	READ(&k, "TOY 1 /x");
	READ(&k, "TOY 2 /x");
	assert_string_equal(script_take(&s), "");
	assert_int_equal(s.ignored, 1);
	assert_int_equal(inits_to_fail, 0);
	script_fini(&s);
}

static void is_not_known_where_it_is_not_in_the_table(void **state)
{
	struct script s;
	struct script_conn k;

	(void)state;
	script_init(&s, NULL);
	script_open(&s, &k, 0x1000);
	READ(&k, "TOY 1 /x");
	WRITE(&k, "1 200");
	assert_string_equal(script_take(&s), "");
	assert_int_equal(script_stats(&s).http2, 0);
	script_fini(&s);
}

/* --- through the whole agent --- */

struct end {
	struct pipeline *pipeline;
	char lines[256]; /* "/path 200\n" for each event of the batches */
};

static void feed(void *arg, const void *rec, size_t len)
{
	assert_int_equal(pipeline_feed(((struct end *)arg)->pipeline, rec, len),
			 0);
}

static void on_batch(void *arg, const void *data, size_t len)
{
	struct end *end = arg;
	struct batch_arena *arena;
	struct batch b;
	const char *why = "";
	size_t n = 0;

	assert_int_equal(batch_arena_new(&arena), 0);
	assert_int_equal(batch_decode(arena, data, len, &b, &why), 0);
	for (size_t i = 0; i < b.events.n; i++) {
		uint32_t s = b.events.series[i];

		n += (size_t)snprintf(
			end->lines + n, sizeof(end->lines) - n, "%s %u\n",
			b.strings[b.series.route[s]].data, b.series.status[s]);
	}
	batch_arena_free(arena);
}

static void exchanges_come_out_at_the_end_of_the_pipeline(void **state)
{
	static const struct pipeline_tap tap;
	struct cli_settings flags = { 0 };
	struct outbox_options oo = { 0 };
	struct pipeline_options po = { .protos = protos, .batch = on_batch };
	struct agent_config *cfg;
	struct outbox *outbox;
	struct end end = { 0 };
	struct script s;
	struct script_conn k, other;

	(void)state;
	assert_int_equal(agent_config_load(&cfg, &flags), 0);
	assert_int_equal(outbox_open(&outbox, &oo), 0);
	po.cfg = cfg;
	po.outbox = outbox;
	po.arg = &end;
	assert_int_equal(pipeline_new(&end.pipeline, &po), 0);
	begin(&s);
	s.tee = feed;
	s.tee_arg = &end;
	script_open(&s, &k, 0x1000);
	script_open(&s, &other, 0x2000);
	READ(&k, "TOY 1 /toy/first");
	READ(&k, "TOY 2 /toy/second");
	READ(&other, "GET /plain HTTP/1.1\r\n\r\n");
	WRITE(&k, "2 503");
	WRITE(&other, OK);
	WRITE(&k, "1 200");
	assert_int_equal(pipeline_flush(end.pipeline, &tap), 0);
	assert_string_equal(end.lines, "/toy/second 503\n"
				       "/plain 200\n"
				       "/toy/first 200\n");
	script_fini(&s);
	pipeline_free(end.pipeline);
	outbox_close(outbox);
	agent_config_free(cfg);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_come_in_any_order),
		cmocka_unit_test(http_goes_on_beside_it_and_behind_it),
		cmocka_unit_test(what_is_under_way_is_reported_or_lost),
		cmocka_unit_test(without_memory_the_connection_is_left_alone),
		cmocka_unit_test(is_not_known_where_it_is_not_in_the_table),
		cmocka_unit_test(exchanges_come_out_at_the_end_of_the_pipeline),
	};

	return cmocka_run_group_tests_name("http_proto", tests, NULL, NULL);
}
