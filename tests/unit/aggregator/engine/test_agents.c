/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <nng/nng.h>
#include <nng/protocol/reqrep0/req.h>
#include <nng/supplemental/util/platform.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "aggregator/engine/engine.h"
#include "aggregator/snapshot/snapshot.h"
#include "common/clock.h"
#include "proto/limits.h"
#include "tests/unit/aggregator/temp_dir.h"

/* Which agents the engine knows, over real sockets and a real store. */

#define EPOCH UINT64_C(1700000000000000000)

struct fixture {
	char dir[TEMP_DIR_LEN], url[64], token_file[TEMP_DIR_LEN + 16];
	struct engine *engine;
	nng_socket socket;
	struct engine_options options;
	const char *token;
};

static void start(struct fixture *f)
{
	const char *const urls[] = { f->url };

	f->options.store_dir = f->dir;
	f->options.ingest_urls = urls;
	f->options.n_ingest_urls = 1;
	assert_int_equal(engine_new(&f->engine, &f->options), 0);
	assert_int_equal(engine_start(f->engine), 0);
	assert_int_equal(nng_req0_open(&f->socket), 0);
	nng_socket_set_ms(f->socket, NNG_OPT_RECVTIMEO, 20000);
	assert_int_equal(nng_dial(f->socket, f->url, NULL, 0), 0);
}

static void stop(struct fixture *f)
{
	nng_close(f->socket);
	engine_stop(f->engine);
	engine_free(f->engine);
	f->engine = NULL;
}

static int setup(void **state)
{
	static unsigned port = 21170;
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	temp_dir_make(f->dir, "agents");
	snprintf(f->url, sizeof(f->url), "tcp://127.0.0.1:%u", port++);
	snprintf(f->token_file, sizeof(f->token_file), "%s/token", f->dir);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->engine)
		stop(f);
	unlink(f->token_file);
	temp_dir_remove(f->dir);
	free(f);
	return 0;
}

static struct reply say(struct fixture *f, struct push *p)
{
	struct reply r = { 0 };
	void *data, *answer = NULL;
	size_t n;

	p->protocol = PROTOCOL_VERSION;
	p->sent_us = clock_real_us();
	if (f->token) {
		p->token = f->token;
		p->token_len = strlen(f->token);
	}
	assert_int_equal(push_encode(p, &data, &n), 0);
	assert_int_equal(nng_send(f->socket, data, n, 0), 0);
	free(data);
	assert_int_equal(nng_recv(f->socket, &answer, &n, NNG_FLAG_ALLOC), 0);
	assert_int_equal(reply_decode(answer, n, &r), 0);
	nng_free(answer, n);
	return r;
}

/* One request of a service "svc". */
static struct reply send(struct fixture *f, const char *agent,
			 uint64_t sequence, bool runs)
{
	static const struct batch_string strings[] = { { "", 0 },
						       { "svc", 3 },
						       { "GET", 3 } };
	static const uint32_t zero = 0, one = 1, two = 2, ok = 200, v = 11;
	static const uint64_t none = 0, ms = 1000;
	static const int64_t delta = 0;
	struct batch b = {
		.agent = agent,
		.epoch = EPOCH,
		.sequence = sequence,
		.base_us = clock_real_us() - 2000,
		.n_strings = 3,
		.strings = strings,
		.resources.n = 1,
		.resources.service = &one,
		.resources.namespace_ = &zero,
		.resources.instance = &zero,
		.resources.container = &zero,
		.resources.executable = &zero,
		.series = { .n = 1,
			    .resource = &zero,
			    .role = &one,
			    .method = &two,
			    .route = &zero,
			    .status = &ok,
			    .outcome = &zero,
			    .version = &v,
			    .scheme = &zero,
			    .address = &zero,
			    .port = &zero },
		.events = { .n = 1,
			    .series = &zero,
			    .start_delta_us = &delta,
			    .duration_us = &ms,
			    .tail_us = &none,
			    .request_bytes = &none,
			    .response_bytes = &none },
		.info.version = "1",
		.info.kernel = "",
		.info.capture = "",
	};
	struct push p = { .clock_us = runs ? clock_real_us() : 0,
			  .health = { .told = true,
				      .outbox_bytes = 7,
				      .oldest_ms = 8,
				      .acknowledged = true,
				      .acknowledged_ms = 1000 } };
	struct reply r;
	void *data;
	size_t len;

	assert_int_equal(batch_encode(&b, &data, &len), 0);
	p.batch = data;
	p.batch_len = len;
	r = say(f, &p);
	free(data);
	return r;
}

static struct reply send_until_taken(struct fixture *f, const char *agent,
				     uint64_t sequence, unsigned *busy)
{
	for (;;) {
		struct reply r = send(f, agent, sequence, true);

		if (r.status != REPLY_BUSY)
			return r;
		++*busy;
		nng_msleep(5);
	}
}

/* The agent as a scrape would show it. False: it would not. */
static bool shown(struct fixture *f, const char *agent,
		  struct snapshot_agent *out)
{
	const struct snapshot *s = snapshot_take(engine_snapshots(f->engine));
	bool found = false;

	assert_non_null(s);
	for (size_t i = 0; i < s->n_agents; i++)
		if (strcmp(s->agents[i].node, agent) == 0) {
			if (out)
				*out = s->agents[i]; /* but its texts */
			found = true;
		}
	snapshot_rele(s);
	return found;
}

static struct snapshot_engine counters(struct fixture *f)
{
	const struct snapshot *s = snapshot_take(engine_snapshots(f->engine));
	struct snapshot_engine e;

	assert_non_null(s);
	e = s->engine;
	snapshot_rele(s);
	return e;
}

static uint64_t requests(struct fixture *f)
{
	const struct snapshot *s = snapshot_take(engine_snapshots(f->engine));
	uint64_t n = 0;

	assert_non_null(s);
	for (size_t v = 0; v < s->n_views; v++)
		for (size_t i = 0; i < s->views[v].n; i++)
			if (strcmp(s->views[v].view->name,
				   "redtap_http_requests") == 0)
				n += s->views[v].series[i].count;
	snapshot_rele(s);
	return n;
}

/* --- more agents than there is room for --- */

#define NAMES 37u

static const char *name_of(unsigned i)
{
	static char name[16];

	snprintf(name, sizeof(name), "node-%u", i);
	return name;
}

static void no_agent_is_refused_however_many_there_are(void **state)
{
	struct fixture *f = *state;
	unsigned busy = 0;
	struct snapshot_engine e;

	f->options.max_agents = 20;
	f->options.agent_silent_ms = 20;
	start(f);
	for (unsigned i = 0; i < NAMES; i++)
		assert_int_equal(
			send_until_taken(f, name_of(i), 1, &busy).status,
			REPLY_ACCEPTED);
	e = counters(f);
	assert_int_equal(e.agents_max, 20);
	assert_true(e.agents <= 20);
	assert_true(e.agents_evicted >= NAMES - 20);
	assert_int_equal(e.refused, 0);
	assert_int_equal(requests(f), NAMES);
	/* Each comes back as it was: nothing is counted twice. */
	for (unsigned i = 0; i < NAMES; i += 10) {
		struct reply r = send_until_taken(f, name_of(i), 1, &busy);

		assert_int_equal(r.status, REPLY_ACCEPTED);
		assert_true(r.duplicate);
		assert_int_equal(
			send_until_taken(f, name_of(i), 2, &busy).status,
			REPLY_ACCEPTED);
	}
	assert_int_equal(requests(f), NAMES + (NAMES + 9) / 10);
	print_message("%u times busy\n", busy);
}

static void agents_that_are_heard_are_not_evicted(void **state)
{
	struct fixture *f = *state;
	struct reply r;

	f->options.max_agents = 3;
	start(f);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(send(f, name_of(i), 1, true).status,
				 REPLY_ACCEPTED);
	/* They were heard within the hour. */
	r = send(f, "one-more", 1, true);
	assert_int_equal(r.status, REPLY_BUSY);
	assert_string_equal(r.reason, "too many agents: see ingest.max_agents");
	assert_int_equal(requests(f), 3);
	while (counters(f).refusals[REFUSAL_AGENTS] == 0)
		nng_msleep(20);
	assert_int_equal(send(f, name_of(1), 2, true).status, REPLY_ACCEPTED);
}

static void a_store_of_more_agents_than_the_limit_starts(void **state)
{
	struct fixture *f = *state;
	unsigned busy = 0;
	struct reply r;

	start(f);
	for (unsigned i = 0; i < 50; i++)
		assert_int_equal(send(f, name_of(i), 1, true).status,
				 REPLY_ACCEPTED);
	stop(f);
	f->options.max_agents = 5;
	f->options.agent_silent_ms = 20;
	start(f);
	assert_int_equal(requests(f), 50);
	/* Those heard last are there; the others come when they are heard. */
	assert_true(shown(f, name_of(49), NULL));
	assert_false(shown(f, name_of(0), NULL));
	r = send_until_taken(f, name_of(0), 1, &busy);
	assert_true(r.duplicate);
	assert_int_equal(send_until_taken(f, name_of(0), 2, &busy).status,
			 REPLY_ACCEPTED);
	assert_int_equal(requests(f), 51);
}

/* --- what is shown of them --- */

static void an_agent_tells_of_its_outbox(void **state)
{
	struct fixture *f = *state;
	struct snapshot_agent a;
	int64_t now_us;

	start(f);
	now_us = clock_real_us();
	assert_int_equal(send(f, "web-1", 1, true).status, REPLY_ACCEPTED);
	assert_int_equal(send(f, "import", 1, false).status, REPLY_ACCEPTED);
	assert_true(shown(f, "web-1", &a));
	assert_true(a.runs && a.told);
	assert_int_equal(a.outbox_bytes, 7);
	assert_int_equal(a.oldest_us, 8000);
	assert_true(a.acknowledged_us >= now_us - 1100000 &&
		    a.acknowledged_us <= clock_real_us() - 1000000);
	assert_true(shown(f, "import", &a));
	assert_false(a.runs);
	/* After a restart it is still known who runs. */
	stop(f);
	start(f);
	assert_true(shown(f, "web-1", &a));
	assert_true(a.runs);
	assert_true(shown(f, "import", &a));
	assert_false(a.runs);
}

static void a_silent_agent_is_hidden_and_comes_back(void **state)
{
	struct fixture *f = *state;

	f->options.agent_idle_s = 1;
	start(f);
	assert_int_equal(send(f, "web-1", 1, true).status, REPLY_ACCEPTED);
	assert_true(shown(f, "web-1", NULL));
	while (shown(f, "web-1", NULL))
		nng_msleep(20);
	assert_int_equal(requests(f), 1);
	assert_int_equal(send(f, "web-1", 2, true).status, REPLY_ACCEPTED);
	assert_true(shown(f, "web-1", NULL));
}

static void an_operator_can_have_one_forgotten(void **state)
{
	struct fixture *f = *state;

	start(f);
	assert_int_equal(send(f, "web-1", 1, true).status, REPLY_ACCEPTED);
	assert_int_equal(send(f, "web-2", 1, true).status, REPLY_ACCEPTED);
	assert_int_equal(engine_forget(f->engine, "web-3"), -ENOENT);
	assert_int_equal(engine_forget(f->engine, "web-1"), 0);
	assert_false(shown(f, "web-1", NULL));
	assert_true(shown(f, "web-2", NULL));
	assert_int_equal(engine_forget(f->engine, "web-1"), -ENOENT);
	assert_int_equal(requests(f), 2);
	stop(f);
	start(f);
	assert_false(shown(f, "web-1", NULL));
	assert_int_equal(requests(f), 2);
	/* It is a new agent then. */
	assert_false(send(f, "web-1", 1, true).duplicate);
	assert_true(send(f, "web-2", 1, true).duplicate);
}

/* --- who may send --- */

static void without_the_token_nothing_is_taken(void **state)
{
	struct fixture *f = *state;
	char token[128] = "";
	struct push p = { .ask = "web-1", .ask_len = 5, .batch = "" };
	struct stat st;
	struct reply r;
	FILE *file;

	f->options.token_file = f->token_file;
	start(f); /* makes it */
	assert_int_equal(stat(f->token_file, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	file = fopen(f->token_file, "r");
	assert_non_null(file);
	assert_int_equal(fscanf(file, "%127s", token), 1);
	fclose(file);
	r = send(f, "web-1", 1, true);
	assert_int_equal(r.status, REPLY_CONFLICT);
	assert_string_equal(r.reason, "a token is missing: see token_file");
	f->token = "wrong";
	r = send(f, "web-1", 1, true);
	assert_int_equal(r.status, REPLY_CONFLICT);
	assert_string_equal(r.reason, "the token is wrong: see token_file");
	assert_int_equal(say(f, &p).status, REPLY_CONFLICT);
	assert_false(shown(f, "web-1", NULL));
	f->token = token;
	assert_int_equal(send(f, "web-1", 1, true).status, REPLY_ACCEPTED);
	/* A new one is asked for from then on; a wrong file changes nothing. */
	file = fopen(f->token_file, "w");
	assert_non_null(file);
	fputs("another\n", file);
	fclose(file);
	assert_int_equal(engine_set_token(f->engine, f->token_file), 0);
	assert_int_equal(send(f, "web-1", 2, true).status, REPLY_CONFLICT);
	assert_int_equal(engine_set_token(f->engine, "/"), -EISDIR);
	f->token = "another";
	assert_int_equal(send(f, "web-1", 2, true).status, REPLY_ACCEPTED);
	assert_int_equal(engine_set_token(f->engine, NULL), 0);
	f->token = NULL;
	assert_int_equal(send(f, "web-1", 3, true).status, REPLY_ACCEPTED);
}

static void who_asks_is_answered_and_leaves_no_trace(void **state)
{
	struct fixture *f = *state;
	struct push p = { .ask = "web-1", .ask_len = 5, .batch = "" };

	start(f);
	assert_int_equal(say(f, &p).status, REPLY_ACCEPTED);
	assert_false(shown(f, "web-1", NULL));
	assert_int_equal(counters(f).batches, 0);
	p.ask = "a\0b";
	p.ask_len = 3;
	assert_int_equal(say(f, &p).status, REPLY_REFUSED);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(no_agent_is_refused_however_many_there_are),
		TEST(agents_that_are_heard_are_not_evicted),
		TEST(a_store_of_more_agents_than_the_limit_starts),
		TEST(an_agent_tells_of_its_outbox),
		TEST(a_silent_agent_is_hidden_and_comes_back),
		TEST(an_operator_can_have_one_forgotten),
		TEST(without_the_token_nothing_is_taken),
		TEST(who_asks_is_answered_and_leaves_no_trace),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
