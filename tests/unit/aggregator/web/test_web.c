/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The web side over real sockets: requests are written by hand, byte for byte,
 * and answers read back the same way. What needs TLS asks curl.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

#include "aggregator/web/web.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/log.h"
#include "tests/unit/aggregator/read_proto.h"
#include "tests/unit/aggregator/read_text.h"
#include "tests/unit/aggregator/sample_snapshot.h"

/* --- what stands behind the web: a snapshot whose counter can be moved --- */

struct behind {
	atomic_uint_fast64_t count; /* shown as one counter */
	atomic_uint taken, held; /* snapshots */
	atomic_uint reloads, quits;
	unsigned take_ms; /* how slow an engine is */
	int reload_err;
	size_t wide; /* histogram series, to make it large */
};

struct made {
	struct snapshot s;
	struct snapshot_view view[2];
	struct snapshot_series counter;
	struct snapshot_series *wide;
	struct behind *b;
};

static const struct view moving = {
	.name = "moving",
	.help = "Moves.",
	.unit = "",
	.kind = VIEW_COUNTER,
};

static const struct snapshot *take(void *arg)
{
	struct behind *b = arg;
	struct made *m = calloc(1, sizeof(*m));

	/* As the engine: the copy is made within the call. */
	m->counter.count = atomic_load(&b->count);
	usleep(b->take_ms * 1000);
	m->s = sample;
	m->view[0] = (struct snapshot_view){
		.view = &moving, .n = 1, .series = &m->counter, .demand = 1
	};
	m->wide = calloc(b->wide + 1, sizeof(*m->wide));
	for (size_t i = 0; i < b->wide; i++) {
		char text[32];

		snprintf(text, sizeof(text), "/route/%zu", i);
		m->wide[i] = sample_duration_series[0];
		m->wide[i].labels.value[2] = strdup(text);
	}
	m->view[1] = (struct snapshot_view){ .view = &sample_duration,
					     .n = b->wide,
					     .series = m->wide,
					     .demand = 1 };
	m->s.views = m->view;
	m->s.n_views = b->wide ? 2 : 1;
	m->b = b;
	atomic_fetch_add(&b->taken, 1);
	atomic_fetch_add(&b->held, 1);
	return &m->s;
}

static void rele(const struct snapshot *s)
{
	struct made *m = (struct made *)(uintptr_t)s;

	for (size_t i = 0; i < m->b->wide; i++)
		free((char *)(uintptr_t)m->wide[i].labels.value[2]);
	free(m->wide);
	atomic_fetch_sub(&m->b->held, 1);
	free(m);
}

static int reload(void *arg, char *why, size_t size)
{
	struct behind *b = arg;

	atomic_fetch_add(&b->reloads, 1);
	if (b->reload_err)
		snprintf(why, size, "line 3 is wrong");
	return b->reload_err;
}

static void quit(void *arg)
{
	atomic_fetch_add(&((struct behind *)arg)->quits, 1);
}

struct fixture {
	struct behind b;
	struct web *web;
	struct web_options o;
};

static void start(struct fixture *f)
{
	static const char *const listen[] = { "127.0.0.1:0" };

	f->o.listen = listen;
	f->o.n_listen = 1;
	f->o.take = take;
	f->o.rele = rele;
	f->o.reload = reload;
	f->o.quit = quit;
	f->o.arg = &f->b;
	assert_int_equal(web_start(&f->web, &f->o), 0);
	assert_true(web_port(f->web, 0) != 0);
}

static void stop(struct fixture *f)
{
	web_stop(f->web);
	assert_int_equal(atomic_load(&f->b.held), 0);
}

/* --- a client --- */

struct answer {
	int status;
	char head[4096];
	char *body;
	size_t len;
};

static int dial(const struct fixture *f)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_port = htons(web_port(f->web, 0)),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

static void send_all(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t n = send(fd, data, len, MSG_NOSIGNAL);

		assert_true(n > 0);
		data += n;
		len -= (size_t)n;
	}
}

static void send_text(int fd, const char *text)
{
	send_all(fd, text, strlen(text));
}

/* Takes the chunks' heads out. The last one has no bytes. */
static void unchunk(struct answer *a)
{
	char *from = a->body, *to = a->body, *line;
	size_t n;

	do {
		n = strtoull(from, &line, 16);
		assert_memory_equal(line, "\r\n", 2);
		memmove(to, line + 2, n);
		to += n;
		from = line + 2 + n + 2;
		assert_true(from <= a->body + a->len);
	} while (n);
	a->len = (size_t)(to - a->body);
	a->body[a->len] = 0;
}

/* Reads until the peer closes: requests say Connection: close. */
static void read_answer(int fd, struct answer *a)
{
	struct buf b = { 0 };
	char block[65536], *end;
	ssize_t n;

	memset(a, 0, sizeof(*a));
	while ((n = read(fd, block, sizeof(block))) > 0)
		buf_append(&b, block, (size_t)n);
	close(fd);
	assert_non_null(buf_str(&b));
	end = strstr(b.data, "\r\n\r\n");
	if (!end) {
		buf_fini(&b);
		return; /* closed without an answer: status 0 */
	}
	snprintf(a->head, sizeof(a->head), "%.*s", (int)(end + 2 - b.data),
		 b.data);
	assert_int_equal(sscanf(a->head, "HTTP/1.1 %d", &a->status), 1);
	a->len = b.len - (size_t)(end + 4 - b.data);
	a->body = calloc(1, a->len + 1);
	memcpy(a->body, end + 4, a->len);
	buf_fini(&b);
	if (strstr(a->head, "Transfer-Encoding: chunked"))
		unchunk(a);
}

static struct answer ask(const struct fixture *f, const char *method,
			 const char *path, const char *headers)
{
	char request[2048];
	struct answer a;
	int fd = dial(f);

	snprintf(request, sizeof(request),
		 "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s\r\n",
		 method, path, headers);
	send_all(fd, request, strlen(request));
	read_answer(fd, &a);
	return a;
}

static void expect(const struct fixture *f, const char *method,
		   const char *path, int status, const char *body)
{
	struct answer a = ask(f, method, path, "");

	if (a.status != status)
		fail_msg("%s %s: %d, not %d", method, path, a.status, status);
	if (body && !strstr(a.body, body))
		fail_msg("%s %s: no \"%s\" in: %s", method, path, body, a.body);
	free(a.body);
}

static bool has_header(const struct answer *a, const char *line)
{
	char want[256];

	snprintf(want, sizeof(want), "\r\n%s\r\n", line);
	return strstr(a->head, want) != NULL;
}

static uint64_t moving_of(const struct answer *a)
{
	const char *at = strstr(a->body, "\nmoving_total ");

	assert_non_null(at);
	return strtoull(at + 14, NULL, 10);
}

/* --- tests --- */

static void pages_answer_as_they_should(void **state)
{
	struct fixture f = { 0 };

	(void)state;
	start(&f);
	expect(&f, "GET", "/", 200, "<a href=\"./metrics\">");
	expect(&f, "GET", "/-/healthy", 200, "healthy");
	expect(&f, "GET", "/-/ready", 200, "ready");
	expect(&f, "GET", "/metrics", 200, "moving_total 0\n");
	expect(&f, "GET", "/nothing", 404, NULL);
	expect(&f, "GET", "/metrics/", 404, NULL);
	expect(&f, "GET", "/metr%69cs", 200, "moving_total");
	expect(&f, "GET", "/metrics%00x", 404, NULL);
	expect(&f, "GET", "/api/v1/windows?by=%00", 400, "\"where\":\"by\"");
	expect(&f, "GET", "/api/v1/windows", 501, "{\"error\":");
	expect(&f, "GET", "/api/v1/windows?by=x", 400, "\"where\":\"by\"");
	expect(&f, "POST", "/-/reload", 403, NULL);
	expect(&f, "PUT", "/-/quit", 403, NULL);
	assert_int_equal(atomic_load(&f.b.reloads), 0);
	stop(&f);
}

static void a_request_needs_a_host(void **state)
{
	struct fixture f = { 0 };
	static const char *const requests[] = {
		"GET /-/healthy HTTP/1.1\r\nConnection: close\r\n\r\n",
		"GET /-/healthy HTTP/1.0\r\n\r\n",
	};

	(void)state;
	start(&f);
	for (int i = 0; i < 2; i++) {
		struct answer a;
		int fd = dial(&f);

		send_all(fd, requests[i], strlen(requests[i]));
		read_answer(fd, &a);
		assert_int_equal(a.status, i == 0 ? 400 : 200);
		free(a.body);
	}
	stop(&f);
}

static void wrong_methods_are_told_the_right_ones(void **state)
{
	static const char *const method[] = { "POST", "PUT", "DELETE",
					      "OPTIONS", "PATCH" };
	struct fixture f = { 0 };
	struct answer a;

	(void)state;
	start(&f);
	for (size_t i = 0; i < 5; i++) {
		a = ask(&f, method[i], "/metrics", "Content-Length: 0\r\n");
		assert_int_equal(a.status, 405);
		assert_true(has_header(&a, "Allow: GET, HEAD"));
		free(a.body);
	}
	a = ask(&f, "GET", "/-/reload", "");
	assert_int_equal(a.status, 405);
	assert_true(has_header(&a, "Allow: POST, PUT"));
	free(a.body);
	stop(&f);
}

static void head_is_get_without_the_body(void **state)
{
	struct fixture f = { 0 };
	struct answer a;

	(void)state;
	start(&f);
	a = ask(&f, "HEAD", "/metrics", "");
	assert_int_equal(a.status, 200);
	assert_int_equal(a.len, 0);
	assert_non_null(strstr(a.head, "\r\nContent-Length: "));
	assert_null(strstr(a.head, "\r\nContent-Length: 0\r\n"));
	free(a.body);
	stop(&f);
}

static void each_format_is_served_as_negotiated(void **state)
{
	struct fixture f = { 0 };
	struct read_text t;
	struct buf text = { 0 };
	struct answer a;

	(void)state;
	start(&f);
	a = ask(&f, "GET", "/metrics", "");
	assert_true(has_header(
		&a, "Content-Type: text/plain; version=0.0.4; charset=utf-8"));
	assert_true(read_text(&t, a.body, a.len));
	free(t.sample);
	free(a.body);
	a = ask(&f, "GET", "/metrics",
		"Accept: application/openmetrics-text;version=1.0.0\r\n");
	assert_true(has_header(&a, "Content-Type: application/openmetrics-text;"
				   " version=1.0.0; charset=utf-8"));
	assert_true(read_text(&t, a.body, a.len) && t.eof);
	free(t.sample);
	free(a.body);
	a = ask(&f, "GET", "/metrics",
		"Accept: application/vnd.google.protobuf;proto=io.prometheus."
		"client.MetricFamily;encoding=delimited\r\n");
	assert_true(has_header(&a, "Content-Type: application/vnd.google."
				   "protobuf; proto=io.prometheus.client."
				   "MetricFamily; encoding=delimited"));
	assert_true(read_proto(&text, a.body, a.len));
	buf_fini(&text);
	free(a.body);
	stop(&f);
}

static void gzip_holds_the_same_and_not_on_loopback(void **state)
{
	struct fixture f = { .b.count = 7 };
	struct answer a;
	char *plain;
	z_stream z = { 0 };

	(void)state;
	start(&f);
	a = ask(&f, "GET", "/metrics", "Accept-Encoding: gzip\r\n");
	assert_null(strstr(a.head, "Content-Encoding"));
	free(a.body);
	stop(&f);
	f = (struct fixture){ .b.count = 7, .o.gzip_loopback = true };
	start(&f);
	a = ask(&f, "GET", "/metrics", "Accept-Encoding: gzip\r\n");
	assert_true(has_header(&a, "Content-Encoding: gzip"));
	plain = calloc(1, 1 << 20);
	z.next_in = (Bytef *)a.body;
	z.avail_in = (uInt)a.len;
	z.next_out = (Bytef *)plain;
	z.avail_out = (1 << 20) - 1;
	assert_int_equal(inflateInit2(&z, 15 + 16), Z_OK);
	assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
	inflateEnd(&z);
	assert_non_null(strstr(plain, "\nmoving_total 7\n"));
	free(a.body);
	a = ask(&f, "GET", "/metrics", "Accept-Encoding: gzip;q=0\r\n");
	assert_null(strstr(a.head, "Content-Encoding"));
	assert_int_equal(moving_of(&a), 7);
	free(plain);
	free(a.body);
	stop(&f);
}

static bool never_ready(void *arg, char *why, size_t size)
{
	(void)arg;
	snprintf(why, size, "the disk is full");
	return false;
}

static void readiness_is_red_while_commits_fail(void **state)
{
	struct fixture f = { .o.ready = never_ready };

	(void)state;
	start(&f);
	expect(&f, "GET", "/-/ready", 503, "the disk is full");
	expect(&f, "GET", "/-/healthy", 200, NULL);
	stop(&f);
}

static void lifecycle_works_when_enabled(void **state)
{
	struct fixture f = { .o.enable_lifecycle = true };

	(void)state;
	start(&f);
	expect(&f, "POST", "/-/reload", 200, NULL);
	expect(&f, "PUT", "/-/reload", 200, NULL);
	assert_int_equal(atomic_load(&f.b.reloads), 2);
	f.b.reload_err = -EINVAL;
	expect(&f, "POST", "/-/reload", 500, "line 3 is wrong");
	expect(&f, "GET", "/metrics", 200,
	       "redtap_config_last_reload_successful 0\n");
	f.b.reload_err = 0;
	expect(&f, "POST", "/-/reload", 200, NULL);
	expect(&f, "GET", "/metrics", 200,
	       "redtap_config_last_reload_successful 1\n");
	web_set_reload_status(f.web, false, 5); /* by a signal */
	expect(&f, "GET", "/metrics", 200,
	       "redtap_config_last_reload_successful 0\n");
	web_set_reload_status(f.web, true, 1700000000000000);
	expect(&f, "GET", "/metrics", 200,
	       "redtap_config_last_reload_success_timestamp_seconds "
	       "1700000000\n");
	expect(&f, "POST", "/-/quit", 200, NULL);
	assert_int_equal(atomic_load(&f.b.quits), 1);
	stop(&f);
}

static void the_telemetry_path_can_be_moved(void **state)
{
	struct fixture f = { .o.telemetry_path = "/fleet" };
	struct web *none;

	(void)state;
	start(&f);
	expect(&f, "GET", "/fleet", 200, "moving_total");
	expect(&f, "GET", "/metrics", 404, NULL);
	expect(&f, "GET", "/", 200, "<a href=\"./fleet\">");
	f.o.telemetry_path = "fleet";
	assert_int_equal(web_start(&none, &f.o), -EINVAL);
	stop(&f);
}

static void bad_addresses_are_refused(void **state)
{
	static const char *const bad[] = {
		"", "9470", "localhost", "::1:9470", "127.0.0.1:x", "127.0.0.1:"
	};
	struct fixture f = { 0 };
	struct web *none;

	(void)state;
	start(&f);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		f.o.listen = &bad[i];
		if (web_start(&none, &f.o) != -EINVAL)
			fail_msg("\"%s\" was taken", bad[i]);
	}
	stop(&f);
}

static void a_taken_port_is_an_error_and_v6_and_wildcards_work(void **state)
{
	struct fixture f = { 0 };
	char taken[32];
	const char *one[] = { taken };
	const char *many[] = { "127.0.0.1:0", "[::1]:0", ":0" };
	struct web *w;

	(void)state;
	start(&f);
	snprintf(taken, sizeof(taken), "127.0.0.1:%u", web_port(f.web, 0));
	f.o.listen = one;
	assert_int_equal(web_start(&w, &f.o), -EADDRINUSE);
	stop(&f);
	f.o.listen = many;
	f.o.n_listen = 3;
	assert_int_equal(web_start(&w, &f.o), 0);
	for (size_t i = 0; i < 3; i++)
		assert_true(web_port(w, i) != 0);
	assert_int_equal(web_port(w, 3), 0);
	web_stop(w);
}

/* What was committed before a scrape began is in it: no stale sharing. */
static void a_scrape_shows_all_that_was_there_when_it_began(void **state)
{
	struct fixture f = { 0 };

	(void)state;
	start(&f);
	for (uint64_t i = 1; i <= 97; i++) {
		struct answer a;

		atomic_store(&f.b.count, i);
		a = ask(&f, "GET", "/metrics", "");
		assert_int_equal(moving_of(&a), i);
		free(a.body);
	}
	assert_int_equal(atomic_load(&f.b.taken), 97);
	stop(&f);
}

struct scraper {
	struct fixture *f;
	pthread_t thread;
	pthread_barrier_t *barrier;
	int status;
	bool whole;
};

static void *scrape(void *arg)
{
	struct scraper *s = arg;
	struct answer a;

	pthread_barrier_wait(s->barrier);
	a = ask(s->f, "GET", "/metrics", "");
	s->status = a.status;
	s->whole = a.len > 100 && a.body[a.len - 1] == '\n' &&
		   strstr(a.body, "process_threads ") != NULL;
	free(a.body);
	return NULL;
}

static void a_hundred_scrapers_share_renderings(void **state)
{
	struct fixture f = { .b.take_ms = 100, .b.wide = 2000 };
	struct scraper s[100];
	pthread_barrier_t barrier;
	unsigned taken;

	(void)state;
	start(&f);
	pthread_barrier_init(&barrier, NULL, 100);
	for (int i = 0; i < 100; i++) {
		s[i] = (struct scraper){ .f = &f, .barrier = &barrier };
		pthread_create(&s[i].thread, NULL, scrape, &s[i]);
	}
	for (int i = 0; i < 100; i++) {
		pthread_join(s[i].thread, NULL);
		assert_int_equal(s[i].status, 200);
		assert_true(s[i].whole);
	}
	taken = atomic_load(&f.b.taken);
	/* All that arrive while one is made share the next. */
	assert_true(taken >= 1 && taken <= 20);
	pthread_barrier_destroy(&barrier);
	stop(&f);
}

static void a_slow_reader_holds_nobody_up(void **state)
{
	struct fixture f = { .b.wide = 5000 };
	struct answer a;
	uint64_t start_ns;
	char c;
	int fd, small = 4096;

	(void)state;
	start(&f);
	fd = dial(&f);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	send_text(fd, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
	/* A byte at a time, while others scrape. */
	for (int i = 0; i < 11; i++) {
		assert_int_equal(read(fd, &c, 1), 1);
		start_ns = clock_mono_ns();
		atomic_store(&f.b.count, (uint64_t)i);
		a = ask(&f, "GET", "/metrics", "");
		assert_int_equal(a.status, 200);
		assert_int_equal(moving_of(&a), (uint64_t)i);
		free(a.body);
		expect(&f, "GET", "/-/healthy", 200, NULL);
		assert_true(clock_mono_ns() - start_ns < 10 * CLOCK_NS_PER_S);
	}
	close(fd);
	stop(&f);
}

static void old_renderings_are_cut_before_memory_grows(void **state)
{
	struct fixture f = { .b.wide = 12000 };
	struct answer a;
	int fd[12];
	unsigned whole = 0;
	size_t full;
	const char *at;

	(void)state;
	start(&f);
	a = ask(&f, "GET", "/metrics", "");
	full = a.len;
	assert_true(full * 12 > 2 * (64u << 20) && full < 16u << 20);
	free(a.body);
	/* Each reads a rendering of its own, and none of them reads on. */
	for (int i = 0; i < 12; i++) {
		char c;

		fd[i] = dial(&f);
		send_text(fd[i], "GET /metrics HTTP/1.1\r\nHost: x\r\n"
				 "Connection: close\r\n\r\n");
		assert_int_equal(read(fd[i], &c, 1), 1);
		assert_int_equal(c, 'H');
	}
	a = ask(&f, "GET", "/metrics", "");
	at = strstr(a.body, "\nredtap_aggregator_scrape_held_bytes ");
	assert_non_null(at);
	assert_true(strtoull(at + 37, NULL, 10) <=
		    (full * 4 > (64u << 20) ? full * 4 : 64u << 20));
	free(a.body);
	for (int i = 0; i < 12; i++) {
		struct buf b = { 0 };
		char block[65536];
		ssize_t n;

		while ((n = read(fd[i], block, sizeof(block))) > 0)
			buf_append(&b, block, (size_t)n);
		whole += b.len >= full;
		buf_fini(&b);
		close(fd[i]);
	}
	/* The newest three or so are intact, the oldest is not. */
	assert_true(whole >= 1 && whole < 12);
	stop(&f);
}

/*
 * Not strstr() or memmem(): sanitizers look at all of the text at each call of
 * theirs.
 */
static size_t times(const char *at, size_t len, const char *what)
{
	const char *end = at + len;
	size_t n = 0, what_len = strlen(what);

	for (; (at = memchr(at, what[0], (size_t)(end - at))); at++)
		n += (size_t)(end - at) >= what_len &&
		     memcmp(at, what, what_len) == 0;
	return n;
}

/* 40 MB: over what is kept, so it is made while it is read. */
static void what_is_too_large_to_keep_comes_in_pieces(void **state)
{
	struct fixture f = { .b.wide = 20000, .o.gzip_loopback = true };
	struct answer plain, a;
	struct buf out = { 0 };
	z_stream z = { 0 };

	(void)state;
	start(&f);
	plain = ask(&f, "GET", "/metrics", "");
	assert_int_equal(plain.status, 200);
	assert_true(plain.len > 16u << 20);
	assert_int_equal(
		times(plain.body, plain.len, "request_duration_seconds_count{"),
		20000);
	assert_int_equal(
		times(plain.body, plain.len, "\n# TYPE sample_server_"), 1);
	assert_string_equal(plain.body + plain.len - 1, "\n");
	a = ask(&f, "GET", "/metrics",
		"Accept: application/openmetrics-text;version=1.0.0\r\n");
	assert_int_equal(
		times(a.body, a.len, "request_duration_seconds_count{"), 20000);
	assert_string_equal(a.body + a.len - 7, "\n# EOF\n");
	free(a.body);
	/* gzip of the same, as a stream of pieces too. */
	a = ask(&f, "GET", "/metrics", "Accept-Encoding: gzip\r\n");
	assert_true(has_header(&a, "Content-Encoding: gzip"));
	assert_int_equal(inflateInit2(&z, 15 + 16), Z_OK);
	z.next_in = (Bytef *)a.body;
	z.avail_in = (uInt)a.len;
	z.next_out = buf_reserve(&out, plain.len + 65536);
	z.avail_out = (uInt)(plain.len + 65536);
	assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
	assert_int_equal(z.avail_in, 0);
	out.len = z.total_out;
	inflateEnd(&z);
	assert_int_equal(times(out.data, out.len, "duration_seconds_count{"),
			 20000);
	free(a.body);
	a = ask(&f, "HEAD", "/metrics", "");
	assert_int_equal(a.status, 200);
	assert_int_equal(a.len, 0);
	free(a.body);
	free(plain.body);
	buf_fini(&out);
	stop(&f);
}

static void few_are_read_in_pieces_at_once(void **state)
{
	struct fixture f = { .b.wide = 20000 };
	struct answer a;
	int fd[4];
	char c;

	(void)state;
	start(&f);
	for (int i = 0; i < 4; i++) {
		fd[i] = dial(&f);
		send_text(fd[i], "GET /metrics HTTP/1.1\r\nHost: x\r\n"
				 "Connection: close\r\n\r\n");
		assert_int_equal(read(fd[i], &c, 1), 1);
	}
	expect(&f, "GET", "/metrics", 503, NULL);
	/* Who hangs up leaves its place, in the middle or not. */
	for (int i = 0; i < 4; i++)
		close(fd[i]);
	for (int i = 0; i < 1000 && atomic_load(&f.b.held) > 0; i++)
		usleep(10000);
	assert_int_equal(atomic_load(&f.b.held), 0);
	a = ask(&f, "GET", "/metrics", "");
	assert_int_equal(a.status, 200);
	assert_int_equal(
		times(a.body, a.len, "request_duration_seconds_count{"), 20000);
	free(a.body);
	stop(&f);
}

static void a_request_may_come_byte_by_byte(void **state)
{
	static const char request[] = "GET /-/healthy HTTP/1.1\r\nHost: x\r\n"
				      "Connection: close\r\n\r\n";
	struct fixture f = { 0 };
	struct answer a;
	int fd;

	(void)state;
	start(&f);
	fd = dial(&f);
	for (size_t i = 0; i < sizeof(request) - 1; i++) {
		send_all(fd, request + i, 1);
		if (i % 8 == 0)
			usleep(1000);
	}
	read_answer(fd, &a);
	assert_int_equal(a.status, 200);
	free(a.body);
	stop(&f);
}

static void garbage_and_floods_do_no_harm(void **state)
{
	struct fixture f = { 0 };
	struct answer a;
	char *huge = malloc(200000);
	int fd;

	(void)state;
	start(&f);
	fd = dial(&f);
	send_all(fd, "\0\xff\x16\x03\x01 garbage\r\n\r\n", 18);
	shutdown(fd, SHUT_WR);
	read_answer(fd, &a);
	assert_true(a.status == 0 || a.status >= 400);
	free(a.body);
	/* A head that does not fit. */
	memset(huge, 'a', 200000);
	memcpy(huge, "GET /", 5);
	fd = dial(&f);
	for (size_t at = 0; at < 200000;) {
		ssize_t n = send(fd, huge + at, 200000 - at, MSG_NOSIGNAL);

		if (n <= 0)
			break; /* it has given up on us: good */
		at += (size_t)n;
	}
	shutdown(fd, SHUT_WR);
	read_answer(fd, &a);
	assert_true(a.status == 0 || a.status >= 400);
	free(a.body);
	free(huge);
	expect(&f, "GET", "/-/healthy", 200, NULL);
	stop(&f);
}

/* Stopping with requests in every state neither hangs nor crashes. */
static void it_stops_while_scrapers_wait(void **state)
{
	struct fixture f = { .b.take_ms = 50 };
	int fd[31];

	(void)state;
	start(&f);
	for (int i = 0; i < 31; i++) {
		fd[i] = dial(&f);
		send_text(fd[i], "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
	}
	usleep(20000);
	stop(&f);
	for (int i = 0; i < 31; i++)
		close(fd[i]);
}

static void its_own_answers_are_counted(void **state)
{
	struct fixture f = { 0 };
	struct answer a;
	struct read_text t;

	(void)state;
	start(&f);
	for (int i = 0; i < 13; i++)
		expect(&f, "GET", "/nope", 404, NULL);
	for (int i = 0; i < 17; i++)
		expect(&f, "GET", "/-/healthy", 200, NULL);
	a = ask(&f, "GET", "/metrics", "");
	assert_true(read_text(&t, a.body, a.len));
	assert_string_equal(read_value(&t,
				       "redtap_aggregator_http_requests_total",
				       "code", "404"),
			    "13");
	assert_string_equal(read_value(&t,
				       "redtap_aggregator_http_requests_total",
				       "code", "200"),
			    "17");
	assert_string_equal(read_value(&t, "redtap_aggregator_scrapes_total",
				       "format", "text"),
			    "0");
	assert_true(strtod(read_value(&t, "process_open_fds", NULL, NULL),
			   NULL) >= 4);
	assert_true(strtod(read_value(&t, "process_resident_memory_bytes", NULL,
				      NULL),
			   NULL) > 1 << 20);
	free(t.sample);
	free(a.body);
	stop(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pages_answer_as_they_should),
		cmocka_unit_test(a_request_needs_a_host),
		cmocka_unit_test(wrong_methods_are_told_the_right_ones),
		cmocka_unit_test(head_is_get_without_the_body),
		cmocka_unit_test(each_format_is_served_as_negotiated),
		cmocka_unit_test(gzip_holds_the_same_and_not_on_loopback),
		cmocka_unit_test(readiness_is_red_while_commits_fail),
		cmocka_unit_test(lifecycle_works_when_enabled),
		cmocka_unit_test(the_telemetry_path_can_be_moved),
		cmocka_unit_test(bad_addresses_are_refused),
		cmocka_unit_test(
			a_taken_port_is_an_error_and_v6_and_wildcards_work),
		cmocka_unit_test(
			a_scrape_shows_all_that_was_there_when_it_began),
		cmocka_unit_test(a_hundred_scrapers_share_renderings),
		cmocka_unit_test(a_slow_reader_holds_nobody_up),
		cmocka_unit_test(old_renderings_are_cut_before_memory_grows),
		cmocka_unit_test(what_is_too_large_to_keep_comes_in_pieces),
		cmocka_unit_test(few_are_read_in_pieces_at_once),
		cmocka_unit_test(a_request_may_come_byte_by_byte),
		cmocka_unit_test(garbage_and_floods_do_no_harm),
		cmocka_unit_test(it_stops_while_scrapers_wait),
		cmocka_unit_test(its_own_answers_are_counted),
	};

	log_init(LOG_LEVEL_ERROR, LOG_FORMAT_LOGFMT);
	return cmocka_run_group_tests_name("web", tests, NULL, NULL);
}
