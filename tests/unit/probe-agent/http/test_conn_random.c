/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/probe-agent/tap_script.h"

/*
 * Random conversations, cut into random calls. The generator knows what was
 * said and when each byte moved; the engine must find out exactly the same.
 */

#define MAX_EXCHANGES 40
#define MAX_BYTES (256 * 1024)

struct exchange_truth {
	char method[12], target[40];
	unsigned status;
	size_t request_start, request_end, request_body;
	size_t response_start, response_end, response_body;
};

struct stream_truth {
	char data[MAX_BYTES];
	size_t len;
	uint64_t first_ns[MAX_BYTES], last_ns[MAX_BYTES]; /* of its call */
};

struct truth {
	struct exchange_truth x[MAX_EXCHANGES];
	size_t n;
	struct stream_truth requests, responses;
};

static uint32_t seed;

static uint32_t below(uint32_t n)
{
	seed = seed * 1664525u + 1013904223u;
	return (seed >> 8) % n;
}

static void say(struct stream_truth *s, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
static void say(struct stream_truth *s, const char *fmt, ...)
{
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(s->data + s->len, MAX_BYTES - s->len, fmt, args);
	va_end(args);
	assert_true(n >= 0 && (size_t)n < MAX_BYTES - s->len);
	s->len += (size_t)n;
}

/* Bytes that look like HTTP, blank lines and anything else. */
static void say_anything(struct stream_truth *s, size_t n)
{
	static const char *const snares[] = { "GET / HTTP/1.1\r\n\r\n",
					      "HTTP/1.1 200 OK\r\n\r\n",
					      "\r\n\r\n", "0\r\n\r\n" };
	const char *snare;

	while (n > 0) {
		snare = snares[below(4)];
		if (below(4) == 0 && strlen(snare) <= n) {
			memcpy(s->data + s->len, snare, strlen(snare));
			s->len += strlen(snare);
			n -= strlen(snare);
		} else {
			s->data[s->len++] = (char)below(256);
			n--;
		}
	}
}

static void say_fields(struct stream_truth *s)
{
	uint32_t n = below(4);

	while (n-- > 0)
		say(s, "X-Field-%u: %0*d\r\n", below(10), (int)below(60) + 1,
		    7);
}

/* The rest of the head, and a body. Returns the body's bytes on the wire. */
static size_t say_body(struct stream_truth *s)
{
	size_t start, size, n;

	if (below(2)) {
		size = below(3) ? below(300) : below(5000);
		say(s, "Content-Length: %zu\r\n\r\n", size);
		say_anything(s, size);
		return size;
	}
	say(s, "Transfer-Encoding: chunked\r\n\r\n");
	start = s->len;
	for (n = below(4); n > 0; n--) {
		size = 1 + below(400);
		say(s, below(2) ? "%zx\r\n" : "%zX;ext=1\r\n", size);
		say_anything(s, size);
		say(s, "\r\n");
	}
	say(s, below(3) ? "0\r\n\r\n" : "0\r\nTrailer: x\r\n\r\n");
	return s->len - start;
}

static void invent_request(struct truth *t, struct exchange_truth *x)
{
	static const char *const methods[] = { "GET", "HEAD", "POST", "PUT",
					       "OPTIONS" };
	struct stream_truth *s = &t->requests;

	strcpy(x->method, methods[below(5)]);
	snprintf(x->target, sizeof(x->target), "/%u/%0*u", below(1000),
		 (int)below(30) + 1, below(1000));
	if (below(8) == 0)
		say(s, "\r\n"); /* a stray line end */
	x->request_start = s->len;
	say(s, "%s %s HTTP/1.1\r\n", x->method, x->target);
	say_fields(s);
	if (x->method[0] == 'P')
		x->request_body = say_body(s);
	else
		say(s, "\r\n");
	x->request_end = s->len;
}

static void invent_response(struct truth *t, struct exchange_truth *x)
{
	static const unsigned statuses[] = { 200, 201, 204, 304, 404, 500 };
	struct stream_truth *s = &t->responses;

	x->status = statuses[below(6)];
	while (below(6) == 0) {
		say(s, "HTTP/1.1 10%u Wait\r\n", 2 + below(2));
		say_fields(s);
		say(s, "\r\n");
	}
	x->response_start = s->len;
	say(s, "HTTP/1.1 %u Fine\r\n", x->status);
	say_fields(s);
	if (x->status == 204 || x->status == 304 || x->method[0] == 'H')
		say(s, "Content-Length: %u\r\n\r\n", below(1000));
	else
		x->response_body = say_body(s);
	x->response_end = s->len;
}

/* Bytes of responses that may be sent once so many request bytes were. */
static size_t answerable(const struct truth *t, size_t asked)
{
	size_t i;

	for (i = 0; i < t->n && t->x[i].request_end <= asked; i++)
		;
	return i ? t->x[i - 1].response_end : 0;
}

static void stamp(struct stream_truth *s, size_t from, size_t n,
		  uint64_t first_ns, uint64_t last_ns)
{
	for (; n > 0; n--, from++) {
		s->first_ns[from] = first_ns;
		s->last_ns[from] = last_ns;
	}
}

static size_t some(size_t most, uint32_t style)
{
	size_t n = style == 0	? 1 + below(3)
		   : style == 1 ? 1 + below(100)
				: 1 + below(4000);

	return n < most ? n : most;
}

static void converse(struct truth *t, struct script_conn *k, enum role role)
{
	size_t asked = 0, answered = 0, n, most;
	uint32_t style = below(3), eager = 1 + below(8);
	uint64_t before;

	while (answered < t->responses.len) {
		script_wait(k, below(1000));
		before = k->now_ns;
		most = answerable(t, asked) - answered;
		if (asked < t->requests.len && (most == 0 || !below(eager))) {
			n = some(t->requests.len - asked, style);
			if (role == ROLE_SERVER)
				script_read(k, t->requests.data + asked, n);
			else
				script_send(k, t->requests.data + asked, n);
			stamp(&t->requests, asked, n,
			      role == ROLE_SERVER ? k->now_ns : before, 0);
			asked += n;
		} else {
			n = some(most, style);
			if (role == ROLE_SERVER)
				script_write(k, t->responses.data + answered,
					     n);
			else
				script_read(k, t->responses.data + answered, n);
			stamp(&t->responses, answered, n,
			      role == ROLE_SERVER ? before : k->now_ns,
			      k->now_ns);
			answered += n;
		}
	}
}

static void write_truth(const struct truth *t, enum role role, struct buf *b)
{
	for (size_t i = 0; i < t->n; i++) {
		const struct exchange_truth *x = &t->x[i];
		uint64_t start = t->requests.first_ns[x->request_start];

		buf_printf(b,
			   "%s %s %s %u complete %zu %zu %" PRIu64 "+%" PRIu64
			   "+%" PRIu64 "\n",
			   role == ROLE_SERVER ? "server" : "client", x->method,
			   x->target, x->status, x->request_body,
			   x->response_body, start,
			   t->responses.first_ns[x->response_start] - start,
			   t->responses.last_ns[x->response_end - 1] - start);
	}
}

static void one_conversation(struct truth *t, uint32_t number)
{
	enum role role = number % 2 ? ROLE_SERVER : ROLE_CLIENT;
	struct conn_stats stats;
	struct script_conn k;
	struct buf want = { 0 };
	struct script s;

	seed = number;
	memset(t->x, 0, sizeof(t->x));
	t->requests.len = t->responses.len = 0;
	t->n = 1 + below(MAX_EXCHANGES);
	for (size_t i = 0; i < t->n; i++) {
		invent_request(t, &t->x[i]);
		invent_response(t, &t->x[i]);
	}
	script_init(&s, NULL);
	s.times = true;
	s.piece_max = below(2) ? 1024 : 1 + below(100);
	script_open(&s, &k, 0x1000);
	converse(t, &k, role);
	script_close(&k, 0);
	write_truth(t, role, &want);
	assert_string_equal(script_take(&s), buf_str(&want));
	stats = script_stats(&s);
	assert_int_equal(stats.exchanges, t->n);
	assert_int_equal(stats.malformed + stats.orphans + stats.gaps +
				 stats.lost_gap + stats.lost_buffer,
			 0);
	buf_fini(&want);
	script_fini(&s);
}

static void finds_out_what_was_said_and_when(void **state)
{
	struct truth *t = calloc(1, sizeof(*t));

	(void)state;
	assert_non_null(t);
	for (uint32_t i = 1; i <= 997; i++)
		one_conversation(t, i);
	free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_out_what_was_said_and_when),
	};

	return cmocka_run_group_tests_name("conn_random", tests, NULL, NULL);
}
