/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <nng/nng.h>
#include <nng/protocol/reqrep0/req.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "aggregator/engine/engine.h"
#include "aggregator/snapshot/snapshot.h"
#include "common/clock.h"
#include "proto/limits.h"
#include "tests/unit/aggregator/temp_dir.h"
#include "tests/unit/aggregator/traffic.h"

/*
 * The engine in a process of its own (this program with other arguments), so
 * that it can be killed at any moment and its disk can fill up.
 */

#define KILLS 23

/*
 * For the leak sanitizer: what nng_send() allocates is nng's to free, and nng
 * 1.5 forgets a message now and then when the peer is killed under it.
 */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:nng_send\n";
}

static struct engine *start_engine(const char *dir, const char *url)
{
	const char *const urls[] = { url };
	struct engine_options o = {
		.store_dir = dir,
		.ingest_urls = urls,
		.n_ingest_urls = 1,
		.checkpoint_interval_ms = 5,
		.checkpoint_slice = 7, /* so that rounds get cut off */
		.window_interval_ms = 10,
	};
	struct engine *e = NULL;

	if (engine_new(&e, &o) < 0 || engine_start(e) < 0) {
		engine_free(e);
		return NULL;
	}
	return e;
}

static int serve(const char *dir, const char *url)
{
	struct engine *e;

	signal(SIGXFSZ, SIG_IGN);
	e = start_engine(dir, url);
	if (!e)
		return 1;
	for (;;)
		pause();
}

static pid_t spawn(const char *dir, const char *url)
{
	pid_t pid = fork();

	if (pid == 0) {
		execl("/proc/self/exe", "test_crash", "serve", dir, url,
		      (char *)NULL);
		_exit(127);
	}
	assert_true(pid > 0);
	return pid;
}

static void kill_hard(pid_t pid)
{
	int status;

	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	/* Otherwise it ended by itself, and not well. */
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

struct fixture {
	char dir[TEMP_DIR_LEN], url[64];
	struct truth truth;
	struct traffic traffic;
	uint64_t captured, sequence;
	nng_socket socket;
	void *batch; /* not acknowledged yet */
	size_t len;
};

static void dial(struct fixture *f)
{
	assert_int_equal(nng_req0_open(&f->socket), 0);
	nng_socket_set_ms(f->socket, NNG_OPT_RECVTIMEO, 200);
	nng_socket_set_ms(f->socket, NNG_OPT_SENDTIMEO, 200);
	nng_socket_set_ms(f->socket, NNG_OPT_RECONNMINT, 5);
	nng_socket_set_ms(f->socket, NNG_OPT_RECONNMAXT, 5);
	nng_socket_set_ms(f->socket, NNG_OPT_REQ_RESENDTIME, 60000);
	assert_int_equal(nng_dial(f->socket, f->url, NULL, NNG_FLAG_NONBLOCK),
			 0);
}

static int setup(void **state)
{
	static unsigned port = 21130;
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	temp_dir_make(f->dir, "crash");
	snprintf(f->url, sizeof(f->url), "tcp://127.0.0.1:%u", port++);
	f->traffic =
		(struct traffic){ .seed = 0xdead, .services = 2, .routes = 3 };
	dial(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	nng_close(f->socket);
	temp_dir_remove(f->dir);
	free(f->batch);
	free(f->truth.event);
	free(f);
	return 0;
}

/* Tries once to get the batch acknowledged; makes the next if it was. */
static enum reply_status try_push(struct fixture *f, size_t n)
{
	struct push p = { .protocol = PROTOCOL_VERSION,
			  .sent_us = clock_real_us() };
	struct reply r = { 0 };
	void *data, *answer;
	size_t len, answer_len;
	int rv;

	if (!f->batch)
		traffic_batch(&f->traffic, "node-a", 1, ++f->sequence,
			      clock_real_us(), n, &f->truth, &f->captured,
			      &f->batch, &f->len);
	p.batch = f->batch;
	p.batch_len = f->len;
	assert_int_equal(push_encode(&p, &data, &len), 0);
	rv = nng_send(f->socket, data, len, 0);
	free(data);
	if (rv == 0)
		rv = nng_recv(f->socket, &answer, &answer_len, NNG_FLAG_ALLOC);
	if (rv != 0)
		return REPLY_UNKNOWN;
	assert_int_equal(reply_decode(answer, answer_len, &r), 0);
	nng_free(answer, answer_len);
	if (r.status == REPLY_ACCEPTED) {
		free(f->batch);
		f->batch = NULL;
	}
	return r.status;
}

static void push_until_accepted(struct fixture *f, size_t n)
{
	for (int i = 0; i < 300; i++)
		if (try_push(f, n) == REPLY_ACCEPTED)
			return;
	fail_msg("never accepted");
}

/* What the store holds, by a new engine, must be what was sent. */
static void check(struct fixture *f, const struct snapshot_engine *extra)
{
	struct engine *e = start_engine(f->dir, "tcp://127.0.0.1:0");
	const struct snapshot *s;
	uint64_t requests = 0, durations = 0, counted = 0, sum = 0;

	(void)extra;
	assert_non_null(e);
	s = snapshot_take(engine_snapshots(e));
	for (size_t v = 0; v < s->n_views; v++)
		for (size_t i = 0; i < s->views[v].n; i++) {
			const struct view *view = s->views[v].view;
			const struct snapshot_series *x =
				&s->views[v].series[i];

			if (view->source == VIEW_REQUESTS && !view->errors_only)
				requests += x->count;
			if (view->source != VIEW_DURATION)
				continue;
			durations += x->sum;
			for (size_t b = 0; b <= view->n_bounds; b++)
				counted += x->bucket[b];
		}
	for (size_t i = 0; i < f->truth.n; i++)
		sum += f->truth.event[i].duration_us;
	assert_int_equal(requests, f->truth.n);
	assert_int_equal(counted, f->truth.n);
	assert_int_equal(durations, sum);
	assert_int_equal(s->n_agents, 1);
	assert_int_equal(s->agents[0].counted, f->truth.n);
	assert_int_equal(s->agents[0].captured, f->truth.n);
	assert_int_equal(s->agents[0].dropped_sequence_gap, 0);
	assert_int_equal(s->engine.events, f->truth.n);
	snapshot_rele(s);
	engine_stop(e);
	engine_free(e);
}

static void loses_and_doubles_nothing_when_killed(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < KILLS; i++) {
		pid_t pid = spawn(f->dir, f->url);
		uint64_t until = clock_mono_ns() +
				 traffic_random(&f->traffic) % 60 * 1000000;

		push_until_accepted(f, 17);
		while (clock_mono_ns() < until)
			try_push(f, 1 + traffic_random(&f->traffic) % 50);
		/* Sometimes with a request on its way. */
		if (i % 2) {
			struct push p = { .protocol = PROTOCOL_VERSION };
			void *data;
			size_t len;

			if (f->batch) {
				p.batch = f->batch;
				p.batch_len = f->len;
				assert_int_equal(push_encode(&p, &data, &len),
						 0);
				nng_send(f->socket, data, len, 0);
				free(data);
			}
		}
		kill_hard(pid);
	}
	if (f->batch) {
		pid_t pid = spawn(f->dir, f->url);

		push_until_accepted(f, 1);
		kill_hard(pid);
	}
	check(f, NULL);
}

static void a_full_disk_loses_nothing(void **state)
{
	struct fixture *f = *state;
	pid_t pid = spawn(f->dir, f->url);
	struct rlimit full = { .rlim_max = RLIM_INFINITY };
	struct rlimit enough = { RLIM_INFINITY, RLIM_INFINITY };
	unsigned busy = 0;

	for (int i = 0; i < 5; i++)
		push_until_accepted(f, 97);
	full.rlim_cur = 1024; /* shorter than the files are already */
	assert_int_equal(prlimit(pid, RLIMIT_FSIZE, &full, NULL), 0);
	for (int i = 0; i < 20; i++) {
		enum reply_status s = try_push(f, 101);

		assert_int_not_equal(s, REPLY_REFUSED);
		busy += s == REPLY_BUSY;
	}
	assert_true(busy > 0);
	assert_int_equal(prlimit(pid, RLIMIT_FSIZE, &enough, NULL), 0);
	for (int i = 0; i < 5; i++)
		push_until_accepted(f, 97);
	kill_hard(pid);
	check(f, NULL);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(loses_and_doubles_nothing_when_killed),
		TEST(a_full_disk_loses_nothing),
	};

	if (argc == 4 && strcmp(argv[1], "serve") == 0)
		return serve(argv[2], argv[3]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
