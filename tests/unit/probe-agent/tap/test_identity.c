/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/buf.h"
#include "probe-agent/http/conn.h"
#include "tests/unit/probe-agent/tap_core.h"

/*
 * Random conversations through the programs of bpf/ and the engine: any
 * framing, any splitting, any of the forms that strangers send. What was asked
 * is what is counted, as it was answered; and where the ring overflows, what is
 * counted and what is lost together.
 *
 * REDTAP_IDENTITY=SEED,WORLDS runs others than those of a short test.
 */

#define CONNS 6
#define EXCHANGES_MAX 8
#define STEP_NS 1000000ull

struct segment {
	int dir; /* 0: what is asked, 1: what is answered */
	size_t len;
	bool passable; /* a body that may be sent out of sight */
};

struct side {
	int socket; /* < 0: none */
	enum role role;
	struct buf bytes[2]; /* all that will move, by direction */
	struct segment *segments; /* in order */
	size_t n, at; /* segments, and the one that moves */
	size_t done; /* bytes of it that have moved */
	size_t moved[2];
	size_t heads[EXCHANGES_MAX]; /* where request heads end */
	size_t n_heads;
	struct buf want; /* lines of exchanges */
	struct buf got;
	size_t cut; /* how calls are made: 0 whole segments, 1 bytes, … */
	bool late, aborts;
	size_t abort_at; /* segment */
};

struct world {
	struct conn_table *table;
	struct side side[CONNS];
	uint64_t asked; /* the truth */
	uint64_t socks[CONNS];
	bool lossy;
	unsigned number;
};

static uint64_t seed;

static uint32_t below(uint32_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 20) % n;
}

static bool one_in(uint32_t n)
{
	return below(n) == 0;
}

/* --- what is said --- */

static bool plain; /* bodies that don't look like messages */

#define PLAIN_BITS 10
static const char *const bits[] = {
	"u",
	"\r\n",
	"\n",
	"0\r\n\r\n",
	"5\r\n",
	"a;b",
	"data: 1\n\n",
	"ffff",
	" ",
	"x,1,2.5\r\n",
	"POST ",
	"\r\n\r\n",
	"HTTP/1.1 200 OK\r\n\r\n",
	"GET /no HTTP/1.1\r\n\r\n",
};

static void put_stuff(struct buf *b, size_t len)
{
	size_t from = b->len;

	while (b->len < from + len) {
		const char *s = bits[below(
			plain ? PLAIN_BITS : sizeof(bits) / sizeof(*bits))];
		size_t n = strlen(s), room = from + len - b->len;

		buf_append(b, s, n < room ? n : room);
	}
}

static void put_chunks(struct buf *b, bool cut)
{
	for (uint32_t n = below(6); n; n--) {
		uint32_t len = 1 + (one_in(3) ? below(3000) : below(20));

		buf_printf(b,
			   one_in(4)   ? "%X"
			   : one_in(6) ? "%06x"
				       : "%x",
			   len);
		buf_puts(b, one_in(6) ? ";x=\"y\"\r\n" : "\r\n");
		put_stuff(b, len);
		buf_puts(b, "\r\n");
	}
	if (cut)
		return;
	buf_puts(b, one_in(6) ? "000\r\n" : "0\r\n");
	for (uint32_t n = one_in(3) ? below(3) : 0; n; n--)
		buf_puts(b, "X-Sum: 1234\r\n");
	buf_puts(b, "\r\n");
}

static void put_fields(struct buf *b)
{
	for (uint32_t n = below(4); n; n--)
		buf_printf(b, "X-%u: %0*u\r\n", n, (int)below(40) + 1, n);
	if (one_in(4))
		buf_printf(b, "Cookie: %0*u\r\n", (int)below(1500) + 1, 7u);
}

static struct segment *add_segment(struct side *k, int dir, size_t from,
				   bool passable)
{
	struct segment *s;

	k->segments = reallocarray(k->segments, k->n + 1, sizeof(*s));
	assert_non_null(k->segments);
	s = &k->segments[k->n++];
	*s = (struct segment){ dir, k->bytes[dir].len - from, passable };
	if (s->len == 0)
		k->n--;
	return s;
}

static void put_prefix(struct side *k, bool first)
{
	struct buf *b = &k->bytes[0];

	/* Some clients end a body of a given length so, which is not in it. */
	if (!first && one_in(10))
		buf_puts(b, "\r\n");

	if (first && one_in(6)) {
		buf_puts(b, one_in(2)
				    ? "PROXY TCP4 192.0.2.1 192.0.2.2 4 80\r\n"
				    : "PROXY UNKNOWN\r\n");
	} else if (first && one_in(6)) {
		buf_append(b, "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x13", 16);
		buf_append(b, "\x7f\0\0\1\x7f\0\0\2\x9c\x40\0P\x03\0\4abcd",
			   19);
	} else if (one_in(8)) {
		for (uint32_t n = 1 + below(20); n; n--)
			buf_puts(b, one_in(5) ? "\n" : "\r\n");
	}
}

struct exchange_plan {
	bool head, body, expect, early, piped, last;
	const char *method;
};

/* The head, then the body as a segment of its own. */
static void put_request(struct side *k, bool first, unsigned number,
			struct exchange_plan *plan)
{
	static const char *const methods[] = { "GET",	   "GET",  "POST",
					       "PUT",	   "HEAD", "patch",
					       "M-SEARCH", "get",  "DELETE" };
	struct buf *b = &k->bytes[0];
	size_t from = b->len;
	uint32_t kind = below(4), len = one_in(3) ? below(9000) : below(300);

	/*
	 * Behind a GET or HEAD in one call, the kernel side looks for another
	 * request only where its length allows for two (copy.bpf.h, scan_all).
	 * A call that begins like "get" and is lost counts as a request if its
	 * line is in it whole.
	 */
	do
		plan->method = methods[below(9)];
	while ((plan->piped && !plan->last &&
		(*plan->method == 'H' || !strcmp(plan->method, "GET"))) ||
	       (plain && *plan->method >= 'a'));
	plan->head = !strcmp(plan->method, "HEAD");
	/*
	 * Of these the kernel side takes for granted that they have none: only
	 * the agent knows where it ends, and only by a length.
	 */
	if (plan->head || !strcmp(plan->method, "GET"))
		kind = one_in(8) && !plan->piped && kind == 1;
	if (kind == 1 && !len)
		kind = 0;
	plan->body = kind == 1 || kind == 2;
	plan->expect = plan->body && one_in(6);
	plan->early = plan->body && !plan->expect && one_in(4);
	put_prefix(k, first);
	buf_printf(b, "%s%s/%u%s HTTP/1.1\r\n", plan->method,
		   !plain && one_in(8) ? "  " : " ", number,
		   one_in(8) ? "?q=a b" : "");
	put_fields(b);
	if (plan->expect)
		buf_puts(b, "Expect: 100-continue\r\n");
	if (kind == 1)
		buf_printf(b,
			   one_in(2) ? "Content-Length: %u\r\n"
				     : "content-length:%u\r\n",
			   len);
	else if (kind == 2)
		buf_puts(b, "Transfer-Encoding: chunked\r\n");
	put_fields(b);
	buf_puts(b, "\r\n");
	add_segment(k, 0, from, false);
	assert_true(k->n_heads < EXCHANGES_MAX);
	k->heads[k->n_heads++] = b->len;
	from = b->len;
	if (kind == 1)
		put_stuff(b, len);
	else if (kind == 2)
		put_chunks(b, false);
	if (plan->body)
		add_segment(k, 0, from, kind == 1);
}

/* Returns the status. last: nothing follows it. */
static unsigned put_response(struct side *k, const struct exchange_plan *plan,
			     bool last, bool *until_close)
{
	static const unsigned statuses[] = { 200, 200, 200, 204,
					     304, 404, 500, 799 };
	struct buf *b = &k->bytes[1];
	unsigned status = statuses[below(8)];
	uint32_t kind = below(3), len = one_in(3) ? below(20000) : below(300);
	bool none = plan->head || status == 204 || status == 304;
	size_t from = b->len;

	*until_close = false;
	for (uint32_t n = one_in(5) ? 1 + below(3) : 0; n; n--) {
		buf_printf(b, "HTTP/1.1 %u Wait\r\n", one_in(2) ? 103 : 102);
		put_fields(b);
		buf_puts(b, "\r\n");
		if (one_in(3)) {
			add_segment(k, 1, from, false);
			from = b->len;
		}
	}
	if (kind == 2 && !(last && !none))
		kind = 0;
	buf_printf(b, "HTTP/1.1 %u Status\r\n", status);
	put_fields(b);
	if (kind == 0)
		buf_printf(b, "Content-Length: %u\r\n", len);
	else if (kind == 1)
		buf_puts(b, "Transfer-Encoding: chunked\r\n");
	put_fields(b);
	buf_puts(b, "\r\n");
	if (none) {
		add_segment(k, 1, from, false);
		return status;
	}
	if (one_in(2)) {
		add_segment(k, 1, from, false);
		from = b->len;
	}
	if (kind == 1)
		put_chunks(b, false);
	else
		put_stuff(b, len);
	/* Only what is all body can go out of sight. */
	add_segment(k, 1, from, kind != 1 && from != 0 && b->len - from == len);
	*until_close = kind == 2;
	return status;
}

static void expect_exchange(struct side *k, const struct exchange_plan *plan,
			    unsigned number, unsigned status)
{
	buf_printf(&k->want, "%s /%u %u complete\n", plan->method, number,
		   status);
}

/* A request that may be answered before its body, and its answer. */
static void plan_exchange(struct side *k, bool first, bool last,
			  unsigned number)
{
	struct exchange_plan plan = { 0 };
	struct segment body = { 0 };
	bool until_close;
	unsigned status;

	put_request(k, first, number, &plan);
	if (plan.body)
		body = k->segments[--k->n];
	if (plan.expect) {
		size_t from = k->bytes[1].len;

		buf_puts(&k->bytes[1], "HTTP/1.1 100 Continue\r\n\r\n");
		add_segment(k, 1, from, false);
	}
	if (plan.body && !plan.early) {
		k->segments = reallocarray(k->segments, k->n + 1, sizeof(body));
		k->segments[k->n++] = body;
	}
	if (plan.body && plan.early && body.len > 1 && one_in(2)) {
		struct segment part = body;

		part.len = 1 + below((uint32_t)body.len - 1);
		part.passable = false;
		body.len -= part.len;
		k->segments = reallocarray(k->segments, k->n + 1, sizeof(part));
		k->segments[k->n++] = part;
	}
	status = put_response(k, &plan, last, &until_close);
	if (plan.body && plan.early) {
		body.passable = false;
		k->segments = reallocarray(k->segments, k->n + 1, sizeof(body));
		k->segments[k->n++] = body;
	}
	expect_exchange(k, &plan, number, status);
}

/* Several requests, then their answers. */
static void plan_pipeline(struct side *k, bool first, unsigned number,
			  unsigned n)
{
	struct exchange_plan plan[EXCHANGES_MAX] = { 0 };
	bool until_close;

	for (unsigned i = 0; i < n; i++) {
		plan[i].piped = true;
		plan[i].last = i == n - 1;
		put_request(k, first && i == 0, number + i, &plan[i]);
	}
	for (unsigned i = 0; i < n; i++)
		expect_exchange(k, &plan[i], number + i,
				put_response(k, &plan[i], false, &until_close));
}

static void connect_side(struct world *w, struct side *k)
{
	unsigned n = 1 + below(EXCHANGES_MAX), number = 1, more;

	memset(k, 0, sizeof(*k));
	k->role = one_in(2) ? ROLE_SERVER : ROLE_CLIENT;
	k->cut = below(6);
	k->late = one_in(4);
	k->aborts = !w->lossy && one_in(8);
	while (number <= n) {
		more = n + 1 - number;
		if (more > 1 && one_in(5)) {
			more = 2 + below(more - 1);
			plan_pipeline(k, number == 1, number, more);
			number += more;
		} else {
			plan_exchange(k, number == 1, number == n, number);
			number++;
		}
	}
	k->socket = core_open(42, UINT32_MAX - below(4000),
			      UINT32_MAX - below(4000));
	w->socks[k - w->side] = core_sock(k->socket);
}

/* --- how it is moved --- */

static int tap_dir(const struct side *k, int dir)
{
	return (dir == 0) == (k->role == ROLE_SERVER) ? TAP_RX : TAP_TX;
}

static void call(struct side *k, int dir, const char *data, size_t len)
{
	struct core_iov iov[64];
	size_t n = 0, at = 0, part;

	while (at < len) {
		part = n == 63 || !one_in(4) ? len - at
					     : 1 + below((uint32_t)(len - at));
		iov[n].data = data + at;
		iov[n++].len = part;
		at += part;
	}
	if (tap_dir(k, dir) == TAP_RX) {
		core_read(k->socket, iov, n);
		return;
	}
	struct core_write write = { .iov = iov,
				    .n = n,
				    .taken = (long)len,
				    .room = !k->late || one_in(2) };

	if (!write.room && one_in(4)) {
		struct core_write refused = write;

		refused.taken =
			one_in(2) ? -EAGAIN : (long)below((uint32_t)len) + 1;
		core_write(k->socket, &refused);
		if (refused.taken == (long)len)
			return;
		if (refused.taken > 0) {
			iov[0].data = data + refused.taken;
			iov[0].len = len - (size_t)refused.taken;
			write.n = 1;
			write.taken = (long)iov[0].len;
		}
	}
	core_write(k->socket, &write);
}

static void count_heads(struct world *w, struct side *k, size_t before)
{
	for (size_t i = 0; i < k->n_heads; i++)
		w->asked += k->heads[i] > before && k->heads[i] <= k->moved[0];
}

/* Moves a part of the next segment, or several in one call. */
static void move_some(struct world *w, struct side *k)
{
	const struct segment *s = &k->segments[k->at];
	int dir = s->dir;
	size_t before = k->moved[0], room = s->len - k->done, n = room;

	/* What the program has before it in one direction. */
	for (size_t i = k->at + 1; i < k->n && k->segments[i].dir == dir; i++)
		room += k->segments[i].len;
	if (s->passable && k->done == 0 && one_in(2)) {
		core_pass(k->socket, tap_dir(k, dir), n);
	} else {
		if (k->cut == 1)
			n = 1;
		else if (k->cut == 2)
			n = 1 + below((uint32_t)room);
		else if (k->cut == 3)
			n = room;
		else if (k->cut == 4)
			n = 1 + below(room < 40 ? (uint32_t)room : 40);
		call(k, dir, k->bytes[dir].data + k->moved[dir], n);
	}
	k->moved[dir] += n;
	k->done += n;
	while (k->at < k->n && k->done >= k->segments[k->at].len)
		k->done -= k->segments[k->at++].len;
	count_heads(w, k, before);
}

static void drop_side(struct side *k)
{
	core_close(k->socket, 0);
	buf_fini(&k->bytes[0]);
	buf_fini(&k->bytes[1]);
	free(k->segments);
	k->socket = -1;
}

static void step(struct world *w, struct side *k)
{
	if (k->socket < 0) {
		buf_fini(&k->want);
		buf_fini(&k->got);
		connect_side(w, k);
	} else if (k->at == k->n) {
		drop_side(k);
	} else {
		move_some(w, k);
	}
}

/* --- what comes out --- */

static void on_exchange(void *arg, const struct exchange *x)
{
	static const char *const outcomes[] = { "complete", "aborted", "reset",
						"timeout", "malformed" };
	struct world *w = arg;
	struct side *k = &w->side[0];
	const char *query = x->target.len
				    ? memchr(x->target.data, '?', x->target.len)
				    : NULL;

	buf_append(&k->got, x->method.data, x->method.len);
	buf_putc(&k->got, ' ');
	buf_append(&k->got, x->target.data,
		   query ? (size_t)(query - x->target.data) : x->target.len);
	buf_printf(&k->got, " %u %s\n", x->status, outcomes[x->outcome]);
}

static void on_any_exchange(void *arg, const struct exchange *x)
{
	(void)arg;
	assert_true(x->outcome == OUTCOME_COMPLETE || !x->status ||
		    x->outcome == OUTCOME_ABORTED);
}

static void on_record(void *arg, const void *record, size_t len)
{
	struct world *w = arg;

	assert_int_equal(conn_feed(w->table, record, len), 0);
}

static void turn(struct world *w)
{
	core_drain();
	core_wait(STEP_NS);
	conn_tick(w->table, core_now_ns());
}

static void fail_with(const struct world *w, const struct conn_stats *s,
		      uint64_t found)
{
	print_error("world %u: asked %llu, found %llu: exchanges %llu, gap "
		    "%llu, unseen %llu, ring %llu, malformed %llu\n",
		    w->number, (unsigned long long)w->asked,
		    (unsigned long long)found, (unsigned long long)s->exchanges,
		    (unsigned long long)s->lost_gap,
		    (unsigned long long)s->lost_unseen,
		    (unsigned long long)core_counter(TAP_C_LOST_REQUESTS),
		    (unsigned long long)s->malformed);
}

/* One connection at a time: what is counted is what was asked, in order. */
static void one_talk(struct world *w)
{
	struct side *k = &w->side[0];
	struct conn_options opt = { .exchange = on_exchange, .arg = w };
	struct core_options core = { .record = on_record, .arg = w };
	struct conn_stats s;

	opt.source = (struct conn_source){ .ignore = core_ignore,
					   .progress = core_progress };
	memset(w->side, 0, sizeof(w->side));
	w->asked = 0;
	w->lossy = false;
	assert_int_equal(conn_new(&w->table, &opt), 0);
	core_begin(&core);
	connect_side(w, k);
	while (k->at < k->n) {
		move_some(w, k);
		if (one_in(3))
			turn(w);
	}
	core_drain();
	drop_side(k);
	turn(w);
	conn_stats(w->table, &s);
	buf_str(&k->want);
	buf_str(&k->got);
	if (strcmp(k->got.data, k->want.data) || s.lost_gap || s.lost_unseen) {
		fail_with(w, &s, s.exchanges);
		print_error("a %s, cut %zu%s\n--- got\n%s--- want\n%s",
			    k->role == ROLE_SERVER ? "server" : "client",
			    k->cut, k->late ? ", late" : "", k->got.data,
			    k->want.data);
		fail();
	}
	buf_fini(&k->want);
	buf_fini(&k->got);
	conn_free(w->table);
	core_end();
}

/* Several connections at a time, and a ring that overflows. */
static void one_flood(struct world *w)
{
	struct conn_options opt = { .exchange = on_any_exchange, .arg = w };
	struct core_options core = { .record = on_record, .arg = w };
	struct conn_stats s;
	uint64_t found, lost, doubted = 0;
	uint32_t often = 1 + below(40), conns = 1 + below(CONNS);

	core.ring_bytes = 1024 + 8 * below(one_in(2) ? 400 : 4000);
	opt.source = (struct conn_source){ .ignore = core_ignore,
					   .progress = core_progress };
	memset(w->side, 0, sizeof(w->side));
	for (size_t i = 0; i < CONNS; i++)
		w->side[i].socket = -1;
	w->asked = 0;
	w->lossy = true;
	assert_int_equal(conn_new(&w->table, &opt), 0);
	core_begin(&core);
	for (unsigned i = 0; i < 1500; i++) {
		step(w, &w->side[below(conns)]);
		if (below(often))
			continue;
		turn(w);
		lost = core_counter(TAP_C_LOST_REQUESTS) +
		       core_counter(TAP_C_LOST_RECORDS);
		if (lost != doubted)
			conn_doubt(w->table);
		doubted = lost;
	}
	for (size_t i = 0; i < CONNS; i++) {
		while (w->side[i].socket >= 0)
			step(w, &w->side[i]);
		buf_fini(&w->side[i].want);
		buf_fini(&w->side[i].got);
	}
	conn_doubt(w->table);
	for (int i = 0; i < 10; i++)
		turn(w);
	conn_stats(w->table, &s);
	found = s.exchanges + s.lost_gap + s.lost_unseen + s.lost_table +
		s.lost_buffer + core_counter(TAP_C_LOST_REQUESTS);
	if (found != w->asked)
		fail_with(w, &s, found);
	assert_int_equal(found, w->asked);
	conn_free(w->table);
	core_end();
}

static unsigned first_world = 1, n_worlds = 3000;

static void each_world(void (*fn)(struct world *w), unsigned n)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	for (unsigned i = first_world; i < first_world + n; i++) {
		w->number = i;
		seed = i * 0x9e3779b97f4a7c15ull + 1;
		plain = fn == one_flood;
		fn(w);
	}
	free(w);
}

static void what_is_asked_is_counted_as_it_was_answered(void **state)
{
	(void)state;
	each_world(one_talk, n_worlds);
}

static void what_is_asked_is_counted_or_lost(void **state)
{
	(void)state;
	each_world(one_flood, n_worlds / 10);
}

int main(void)
{
	const char *which = getenv("REDTAP_IDENTITY");
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_asked_is_counted_as_it_was_answered),
		cmocka_unit_test(what_is_asked_is_counted_or_lost),
	};

	if (which && sscanf(which, "%u,%u", &first_world, &n_worlds) != 2)
		return 1;
	return cmocka_run_group_tests_name("identity", tests, NULL, NULL);
}
