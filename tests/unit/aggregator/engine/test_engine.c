/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <nng/nng.h>
#include <nng/protocol/reqrep0/req.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "aggregator/engine/engine.h"
#include "aggregator/snapshot/snapshot.h"
#include "aggregator/store/store.h"
#include "common/clock.h"
#include "proto/limits.h"
#include "tests/unit/aggregator/temp_dir.h"
#include "tests/unit/aggregator/traffic.h"

/* The engine as a whole, over real sockets and a real store. */

struct fixture {
	char dir[TEMP_DIR_LEN];
	struct engine *engine;
	nng_socket socket;
	struct truth truth;
	struct traffic traffic;
	uint64_t captured;
	const struct views *views;
	char url[64];
};

static struct engine *start_engine(struct fixture *f)
{
	const char *const urls[] = { f->url };
	struct engine_options o = {
		.store_dir = f->dir,
		.ingest_urls = urls,
		.n_ingest_urls = 1,
		.views = f->views,
		.checkpoint_interval_ms = 50,
		.window_interval_ms = 20,
	};
	struct engine *e = NULL;

	assert_int_equal(engine_new(&e, &o), 0);
	assert_int_equal(engine_start(e), 0);
	return e;
}

static void dial(struct fixture *f)
{
	assert_int_equal(nng_req0_open(&f->socket), 0);
	nng_socket_set_ms(f->socket, NNG_OPT_RECVTIMEO, 20000);
	nng_socket_set_ms(f->socket, NNG_OPT_SENDTIMEO, 20000);
	nng_socket_set_ms(f->socket, NNG_OPT_REQ_RESENDTIME, 60000);
	assert_int_equal(nng_dial(f->socket, f->url, NULL, NNG_FLAG_NONBLOCK),
			 0);
}

static int setup(void **state)
{
	static unsigned port = 21110;
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	temp_dir_make(f->dir, "engine");
	snprintf(f->url, sizeof(f->url), "tcp://127.0.0.1:%u", port++);
	f->traffic =
		(struct traffic){ .seed = 0x5eed, .services = 3, .routes = 4 };
	f->engine = start_engine(f);
	dial(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	nng_close(f->socket);
	if (f->engine)
		engine_stop(f->engine);
	engine_free(f->engine);
	temp_dir_remove(f->dir);
	free(f->truth.event);
	free(f);
	return 0;
}

/* Sends a message as it is and gives the answer. */
static struct reply exchange(struct fixture *f, const void *data, size_t len)
{
	struct reply r = { 0 };
	void *answer = NULL;
	size_t n = 0;

	assert_int_equal(nng_send(f->socket, (void *)(uintptr_t)data, len, 0),
			 0);
	assert_int_equal(nng_recv(f->socket, &answer, &n, NNG_FLAG_ALLOC), 0);
	assert_int_equal(reply_decode(answer, n, &r), 0);
	nng_free(answer, n);
	return r;
}

static struct reply push(struct fixture *f, const void *batch, size_t len)
{
	struct push p = { .protocol = PROTOCOL_VERSION,
			  .sent_us = clock_real_us(),
			  .batch = batch,
			  .batch_len = len };
	struct reply r;
	void *data;
	size_t n;

	assert_int_equal(push_encode(&p, &data, &n), 0);
	r = exchange(f, data, n);
	free(data);
	return r;
}

static void send_batch(struct fixture *f, const char *agent, uint64_t epoch,
		       uint64_t sequence, size_t n)
{
	struct reply r;
	void *data;
	size_t len;

	traffic_batch(&f->traffic, agent, epoch, sequence, clock_real_us(), n,
		      &f->truth, &f->captured, &data, &len);
	r = push(f, data, len);
	free(data);
	assert_int_equal(r.status, REPLY_ACCEPTED);
	assert_int_equal(r.epoch, epoch);
	assert_int_equal(r.sequence, sequence);
}

/* --- snapshot against truth --- */

static bool same(const char *have, const char *want)
{
	return have ? strcmp(have, want) == 0 : *want == 0;
}

static bool label_matches(enum view_key key, const char *have,
			  const struct truth_event *e)
{
	char text[64] = "";

	switch (key) {
	case LABEL_JOB:
		snprintf(text, sizeof(text), "%s%s%s", e->namespace_,
			 *e->namespace_ ? "/" : "", e->service);
		return same(have, text);
	case LABEL_INSTANCE:
		return same(have, e->instance);
	case LABEL_SERVICE:
		return same(have, e->service);
	case LABEL_ROLE:
		return same(have, e->role == 1 ? "server" : "client");
	case LABEL_METHOD:
		return same(have, e->method);
	case LABEL_ROUTE:
		return same(have, e->route);
	case LABEL_STATUS:
		if (e->status)
			snprintf(text, sizeof(text), "%u", e->status);
		return same(have, text);
	case LABEL_ERROR:
		truth_error(e, text);
		return same(have, text);
	case LABEL_SCHEME:
		return same(have, e->scheme);
	case LABEL_VERSION:
		return same(have, e->version == 10   ? "1.0"
				  : e->version == 11 ? "1.1"
						     : "2");
	case LABEL_RPC_SYSTEM:
		return same(have, e->rpc == 0	? ""
				  : e->rpc == 1 ? "grpc"
						: "connectrpc");
	case LABEL_RPC_METHOD:
		return same(have, e->rpc ? e->route + 1 : "");
	case LABEL_RPC_STATUS:
		return same(have, e->rpc_status ? truth_codes[e->rpc_status - 1]
						: "");
	case LABEL_ADDRESS:
		return same(have, e->address);
	case LABEL_PORT:
		if (e->port)
			snprintf(text, sizeof(text), "%u", e->port);
		return same(have, text);
	default:
		fail_msg("no truth for label %d", key);
		return false;
	}
}

static bool in_view(const struct view *v, const struct truth_event *e)
{
	char error[24];

	truth_error(e, error);
	return truth_in_view(v, e) && (!v->errors_only || *error);
}

static bool in_series(const struct view *v, const struct snapshot_labels *l,
		      const struct truth_event *e)
{
	for (size_t i = 0; i < v->n_labels; i++)
		if (!label_matches(v->labels[i], l->value[i], e))
			return false;
	return in_view(v, e);
}

static uint64_t measured(const struct view *v, const struct truth_event *e)
{
	switch (v->source) {
	case VIEW_DURATION:
		return e->duration_us;
	case VIEW_TTFB:
		return e->duration_us - e->duration_us / 3;
	case VIEW_REQUEST_BYTES:
		return e->request_bytes;
	case VIEW_RESPONSE_BYTES:
		return e->response_bytes;
	default:
		return 1;
	}
}

/* By the definition, in floating point: 2^((i-1)/8) < v <= 2^(i/8). */
static int native_index(const struct view *v, uint64_t value)
{
	long double x = value;
	int i;

	if (v->source == VIEW_DURATION || v->source == VIEW_TTFB)
		x /= 1000000;
	i = (int)ceill(log2l(x) * 8);
	while (exp2l(i / 8.0L) < x)
		i++;
	while (exp2l((i - 1) / 8.0L) >= x)
		i--;
	return i;
}

static void check_series(const struct view *v, const struct snapshot_series *s,
			 const struct truth *t)
{
	uint64_t bucket[VIEW_BOUNDS_MAX + 1] = { 0 }, zero = 0;
	uint64_t count = 0, sum = 0;
	uint64_t native[1024] = { 0 };
	size_t first = 1024, last = 0;

	for (size_t i = 0; i < t->n; i++) {
		uint64_t x = measured(v, &t->event[i]);
		size_t b = 0;

		if (!in_series(v, &s->labels, &t->event[i]))
			continue;
		count++;
		sum += x;
		while (b < v->n_bounds && x > v->bounds[b])
			b++;
		bucket[b]++;
		if (x == 0) {
			zero++;
			continue;
		}
		b = (size_t)(native_index(v, x) + 300);
		native[b]++;
		first = b < first ? b : first;
		last = b > last ? b : last;
	}
	assert_int_equal(s->count, count);
	if (v->kind != VIEW_HISTOGRAM)
		return;
	assert_int_equal(s->sum, sum);
	assert_memory_equal(s->bucket, bucket,
			    (v->n_bounds + 1) * sizeof(bucket[0]));
	assert_int_equal(s->native.zero, zero);
	if (first > last) {
		assert_int_equal(s->native.n, 0);
		return;
	}
	assert_int_equal(s->native.first, (int)first - 300);
	assert_int_equal(s->native.n, last - first + 1);
	assert_memory_equal(s->native.count, native + first,
			    s->native.n * sizeof(native[0]));
}

static void check_snapshot(struct fixture *f)
{
	const struct snapshot *s = snapshot_take(engine_snapshots(f->engine));

	assert_non_null(s);
	assert_int_equal(s->n_views, views_default()->n);
	for (size_t i = 0; i < s->n_views; i++) {
		const struct snapshot_view *sv = &s->views[i];
		uint64_t total = 0, want = 0;

		if (view_of_edges(sv->view->source))
			continue; /* see test_graph.c */
		for (size_t k = 0; k < f->truth.n; k++)
			want += in_view(sv->view, &f->truth.event[k]);
		for (size_t k = 0; k < sv->n; k++) {
			check_series(sv->view, &sv->series[k], &f->truth);
			total += sv->series[k].count;
		}
		assert_int_equal(total, want);
		assert_int_equal(sv->overflowed, 0);
	}
	snapshot_rele(s);
}

/* --- windows against truth --- */

/* A window as read: what was flushed apart is added up. */
struct seen_window {
	struct store_window w; /* labels are the reader's, cells below */
	struct store_cell cell[600];
};

struct window_check {
	const struct truth *truth;
	struct seen_window *seen;
	size_t n;
};

static int note_window(void *arg, const struct store_window *w)
{
	struct window_check *c = arg;
	struct seen_window *s = NULL;

	for (size_t i = 0; i < c->n && !s; i++)
		if (c->seen[i].w.start_s == w->start_s &&
		    c->seen[i].w.key == w->key)
			s = &c->seen[i];
	if (!s) {
		c->seen = realloc(c->seen, (c->n + 1) * sizeof(*c->seen));
		s = &c->seen[c->n++];
		s->w = *w;
		memcpy(s->cell, w->cells, w->n_cells * sizeof(s->cell[0]));
		return 0;
	}
	s->w.count += w->count;
	s->w.errors += w->errors;
	s->w.duration_sum_us += w->duration_sum_us;
	s->w.request_bytes_sum += w->request_bytes_sum;
	for (size_t i = 0; i < w->n_cells; i++) {
		size_t k = 0;

		while (k < s->w.n_cells &&
		       s->cell[k].upper_us != w->cells[i].upper_us)
			k++;
		if (k == s->w.n_cells) {
			s->cell[s->w.n_cells++] = w->cells[i];
			continue;
		}
		s->cell[k].count += w->cells[i].count;
	}
	return 0;
}

static bool in_window(const struct truth_event *e, const struct store_window *w)
{
	return e->end_us / 10000000 * 10 == w->start_s &&
	       label_matches(LABEL_JOB, w->job, e) &&
	       label_matches(LABEL_ROLE, w->role, e) &&
	       label_matches(LABEL_METHOD, w->method, e) &&
	       label_matches(LABEL_ROUTE, w->route, e) &&
	       label_matches(LABEL_STATUS, w->status, e) &&
	       label_matches(LABEL_ERROR, w->error, e) &&
	       label_matches(LABEL_RPC_SYSTEM, w->rpc, e) &&
	       label_matches(LABEL_RPC_STATUS, w->rpc_status, e);
}

static void check_window(const struct truth *truth, const struct seen_window *s)
{
	uint64_t count = 0, errors = 0, duration = 0, request = 0, in_cells = 0;

	for (size_t i = 0; i < truth->n; i++) {
		const struct truth_event *e = &truth->event[i];
		char error[24];

		if (!in_window(e, &s->w))
			continue;
		truth_error(e, error);
		count++;
		errors += *error != 0;
		duration += e->duration_us;
		request += e->request_bytes;
	}
	assert_int_equal(s->w.count, count);
	assert_int_equal(s->w.errors, errors);
	assert_int_equal(s->w.duration_sum_us, duration);
	assert_int_equal(s->w.request_bytes_sum, request);
	for (size_t i = 0; i < s->w.n_cells; i++) {
		uint64_t in_cell = 0;

		for (size_t k = 0; k < truth->n; k++) {
			const struct truth_event *e = &truth->event[k];
			uint64_t d = e->duration_us;

			if (in_window(e, &s->w))
				in_cell +=
					s->cell[i].upper_us == 0
						? d == 0
						: d > s->cell[i].lower_us &&
							  d <= s->cell[i].upper_us;
		}
		assert_int_equal(s->cell[i].count, in_cell);
		in_cells += in_cell;
	}
	assert_int_equal(in_cells, count);
}

static void check_windows(struct fixture *f)
{
	struct window_check c = { .truth = &f->truth };
	struct store_reader *r = NULL;
	uint64_t total = 0;

	assert_int_equal(store_reader_open(&r, engine_store_path(f->engine)),
			 0);
	assert_int_equal(store_reader_windows(r, 0, INT64_MAX, note_window, &c),
			 0);
	for (size_t i = 0; i < c.n; i++) {
		check_window(&f->truth, &c.seen[i]);
		total += c.seen[i].w.count;
	}
	assert_int_equal(total, f->truth.n);
	free(c.seen);
	store_reader_close(r);
}

static void restart(struct fixture *f)
{
	engine_stop(f->engine);
	engine_free(f->engine);
	f->engine = start_engine(f);
}

/* --- tests --- */

static void counts_every_event_in_every_view(void **state)
{
	struct fixture *f = *state;

	for (uint64_t i = 1; i <= 7; i++)
		send_batch(f, "node-a", 100, i, 211);
	send_batch(f, "node-b", 100, 1, 1);
	check_snapshot(f);
}

static void late_batches_merge_into_their_windows(void **state)
{
	struct fixture *f = *state;
	struct timespec pause = { 0, 60000000 }; /* longer than a flush */

	for (uint64_t i = 1; i <= 4; i++) {
		send_batch(f, "node-a", 100, i, 61);
		nanosleep(&pause, NULL);
	}
	engine_stop(f->engine);
	check_windows(f);
	check_snapshot(f);
}

static void keeps_everything_over_a_restart(void **state)
{
	struct fixture *f = *state;

	for (uint64_t i = 1; i <= 5; i++)
		send_batch(f, "node-a", 100, i, 101);
	restart(f);
	check_snapshot(f);
	check_windows(f);
	for (uint64_t i = 6; i <= 9; i++)
		send_batch(f, "node-a", 100, i, 53);
	check_snapshot(f);
	restart(f);
	check_snapshot(f);
	check_windows(f);
}

static void acknowledges_a_duplicate_and_does_not_count_it(void **state)
{
	struct fixture *f = *state;
	const struct snapshot *s;
	struct reply r;
	void *data;
	size_t len;

	traffic_batch(&f->traffic, "node-a", 7, 1, clock_real_us(), 37,
		      &f->truth, &f->captured, &data, &len);
	for (int i = 0; i < 3; i++) {
		if (i == 2)
			restart(f);
		r = push(f, data, len);
		assert_int_equal(r.status, REPLY_ACCEPTED);
		assert_int_equal(r.sequence, 1);
		assert_int_equal(r.duplicate, i > 0);
	}
	free(data);
	check_snapshot(f);
	s = snapshot_take(engine_snapshots(f->engine));
	assert_int_equal(s->n_agents, 1);
	assert_int_equal(s->agents[0].batches, 1);
	assert_int_equal(s->agents[0].duplicates, 2);
	assert_int_equal(s->agents[0].counted, 37);
	assert_int_equal(s->agents[0].captured, 37);
	assert_true(s->agents[0].up);
	assert_string_equal(s->agents[0].capture, "syscall");
	snapshot_rele(s);
}

static void refuses_rubbish_and_lives_on(void **state)
{
	struct fixture *f = *state;
	const struct snapshot *s;
	struct reply r = exchange(f, "\xff\xff\xff rubbish", 11);

	assert_int_equal(r.status, REPLY_REFUSED);
	assert_true(strlen(r.reason) > 0);
	r = push(f, "\x0a\x01", 2);
	assert_int_equal(r.status, REPLY_REFUSED);
	send_batch(f, "node-a", 1, 1, 13);
	check_snapshot(f);
	s = snapshot_take(engine_snapshots(f->engine));
	assert_int_equal(s->engine.refused, 2);
	snapshot_rele(s);
}

static void answers_a_foreign_protocol_with_version(void **state)
{
	struct fixture *f = *state;
	struct push p = { .protocol = PROTOCOL_VERSION + 1,
			  .batch = "x",
			  .batch_len = 1 };
	struct reply r;
	void *data;
	size_t len;

	assert_int_equal(push_encode(&p, &data, &len), 0);
	r = exchange(f, data, len);
	free(data);
	assert_int_equal(r.status, REPLY_VERSION);
}

/* A snapshot does not change while the engine goes on. */
static void a_snapshot_stays_as_it_was(void **state)
{
	struct fixture *f = *state;
	const struct snapshot *before, *after;
	uint64_t count, *bucket;
	const struct snapshot_series *s;

	send_batch(f, "node-a", 1, 1, 300);
	before = snapshot_take(engine_snapshots(f->engine));
	s = &before->views[0].series[0];
	count = s->count;
	bucket = malloc((before->views[0].view->n_bounds + 1) * 8);
	memcpy(bucket, s->bucket, (before->views[0].view->n_bounds + 1) * 8);
	for (uint64_t i = 2; i < 10; i++)
		send_batch(f, "node-a", 1, i, 300);
	assert_int_equal(s->count, count);
	assert_memory_equal(s->bucket, bucket,
			    (before->views[0].view->n_bounds + 1) * 8);
	after = snapshot_take(engine_snapshots(f->engine));
	assert_true(after->engine.events == 2700);
	snapshot_rele(before);
	snapshot_rele(after);
	free(bucket);
	check_snapshot(f);
}

/* Bucket sums, native sums and the counts shown per agent agree. */
static void check_consistent(const struct snapshot *s)
{
	uint64_t requests = 0, counted = 0;

	for (size_t v = 0; v < s->n_views; v++) {
		const struct view *view = s->views[v].view;

		for (size_t i = 0; i < s->views[v].n; i++) {
			const struct snapshot_series *x =
				&s->views[v].series[i];
			uint64_t classic = 0, native = x->native.zero;

			if (view->source == VIEW_REQUESTS && !view->errors_only)
				requests += x->count;
			if (view->kind != VIEW_HISTOGRAM)
				continue;
			for (size_t b = 0; b <= view->n_bounds; b++)
				classic += x->bucket[b];
			for (size_t b = 0; b < x->native.n; b++)
				native += x->native.count[b];
			assert_int_equal(classic, x->count);
			assert_int_equal(native, x->count);
		}
	}
	for (size_t i = 0; i < s->n_agents; i++)
		counted += s->agents[i].counted;
	assert_int_equal(counted, requests);
	assert_int_equal(s->engine.events, requests);
}

struct scraper {
	struct engine *engine;
	atomic_bool stop;
	unsigned n;
};

static void *scrape_on(void *arg)
{
	struct scraper *sc = arg;

	while (!atomic_load(&sc->stop)) {
		const struct snapshot *s =
			snapshot_take(engine_snapshots(sc->engine));

		assert_non_null(s);
		check_consistent(s);
		snapshot_rele(s);
		sc->n++;
	}
	return NULL;
}

static void every_snapshot_is_consistent_while_batches_come(void **state)
{
	struct fixture *f = *state;
	struct scraper sc[3];
	pthread_t thread[3];

	f->traffic.services = 20;
	f->traffic.routes = 30;
	for (int i = 0; i < 3; i++) {
		sc[i] = (struct scraper){ .engine = f->engine };
		assert_int_equal(
			pthread_create(&thread[i], NULL, scrape_on, &sc[i]), 0);
	}
	for (uint64_t i = 1; i <= 101; i++)
		send_batch(f, i % 2 ? "node-a" : "node-b", 1, i, 43);
	for (int i = 0; i < 3; i++) {
		atomic_store(&sc[i].stop, true);
		pthread_join(thread[i], NULL);
		assert_true(sc[i].n > 0);
	}
	check_snapshot(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(counts_every_event_in_every_view),
		TEST(late_batches_merge_into_their_windows),
		TEST(keeps_everything_over_a_restart),
		TEST(acknowledges_a_duplicate_and_does_not_count_it),
		TEST(refuses_rubbish_and_lives_on),
		TEST(answers_a_foreign_protocol_with_version),
		TEST(a_snapshot_stays_as_it_was),
		TEST(every_snapshot_is_consistent_while_batches_come),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
