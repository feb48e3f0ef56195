/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/probe-agent/talk.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/buf.h"

struct talk {
	struct talk_how how;
	const char *name;
	struct conn_table *table;
	struct buf lines;
	unsigned exchanges;
	uint64_t last_ns; /* that the last exchange took */
	bool hide_sizes;
	int socket; /* < 0: closed */
};

static const char *const outcomes[] = {
	[OUTCOME_COMPLETE] = "complete",   [OUTCOME_ABORTED] = "aborted",
	[OUTCOME_RESET] = "reset",	   [OUTCOME_TIMEOUT] = "timeout",
	[OUTCOME_MALFORMED] = "malformed",
};

static void on_exchange(void *arg, const struct exchange *x)
{
	struct talk *t = arg;
	struct buf *b = &t->lines;

	assert_int_equal(x->role, t->how.role);
	buf_append(b, x->method.data, x->method.len);
	buf_putc(b, ' ');
	buf_append(b, x->target.data, x->target.len);
	buf_printf(b, " %u %s %" PRIu64 " %" PRIu64, x->status,
		   outcomes[x->outcome], t->hide_sizes ? 0 : x->request_bytes,
		   x->response_bytes);
	if (x->version != 11)
		buf_printf(b, " v%u", x->version);
	buf_putc(b, '\n');
	t->exchanges++;
	t->last_ns = x->end_ns - x->start_ns;
}

static void on_record(void *arg, const void *record, size_t len)
{
	struct talk *t = arg;

	assert_int_equal(conn_feed(t->table, record, len), 0);
}

struct talk *talk_new(const struct talk_how *how, const char *name)
{
	struct talk *t = calloc(1, sizeof(*t));
	struct core_options core = { .record = on_record,
				     .arg = t,
				     .no_loop = how->no_loop };
	struct conn_options opt = { .exchange = on_exchange, .arg = t };

	assert_non_null(t);
	t->how = *how;
	t->name = name;
	opt.source = (struct conn_source){ .ignore = core_ignore,
					   .progress = core_progress };
	assert_int_equal(conn_new(&t->table, &opt), 0);
	core_begin(&core);
	t->socket = -1;
	talk_connect(t);
	return t;
}

void talk_connect(struct talk *t)
{
	assert_true(t->socket < 0);
	/* Close to where positions wrap. */
	t->socket = core_open(42, UINT32_MAX - 100, UINT32_MAX - 50);
}

/* One call, in as many buffers as the talk has. */
static void call(struct talk *t, int dir, const char *data, size_t len)
{
	struct core_iov iov[1024];
	size_t size = t->how.buffers ? t->how.buffers : len, n = 0;

	if (size < len / 1000 + 1)
		size = len / 1000 + 1;
	for (size_t at = 0; at < len; at += size) {
		iov[n].data = data + at;
		iov[n++].len = len - at < size ? len - at : size;
	}
	if (dir == TAP_RX) {
		core_read(t->socket, iov, n);
	} else {
		struct core_write w = { .iov = iov,
					.n = n,
					.taken = (long)len,
					.room = !t->how.late };

		core_write(t->socket, &w);
	}
	core_drain();
}

static void move(struct talk *t, int dir, const char *data, size_t len)
{
	size_t cut = t->how.cut;

	if (cut == TALK_EACH_BYTE) {
		for (size_t i = 0; i < len; i++)
			call(t, dir, data + i, 1);
	} else if (cut && cut < len) {
		call(t, dir, data, cut);
		call(t, dir, data + cut, len - cut);
	} else {
		call(t, dir, data, len);
	}
}

static int asks(const struct talk *t)
{
	return t->how.role == ROLE_SERVER ? TAP_RX : TAP_TX;
}

void talk_ask(struct talk *t, const void *data, size_t len)
{
	move(t, asks(t), data, len);
}

void talk_answer(struct talk *t, const void *data, size_t len)
{
	move(t, !asks(t), data, len);
}

void talk_pass_request(struct talk *t, size_t len)
{
	core_pass(t->socket, asks(t), len);
}

void talk_hide_sizes(struct talk *t)
{
	t->hide_sizes = true;
}

void talk_wait(struct talk *t, uint64_t ns)
{
	core_wait(ns);
	conn_tick(t->table, core_now_ns());
}

void talk_close(struct talk *t, int error)
{
	core_close(t->socket, error);
	t->socket = -1;
	core_drain();
}

void talk_expect(struct talk *t, const char *lines, const char *file, int line)
{
	size_t len;
	char *got;

	conn_tick(t->table, core_now_ns());
	buf_str(&t->lines);
	got = buf_take(&t->lines, &len);
	t->exchanges = 0;
	if (strcmp(got, lines))
		print_error("%s, a %s, cut %zd, buffers %zu%s%s:\n%s---\n",
			    t->name,
			    t->how.role == ROLE_SERVER ? "server" : "client",
			    (ssize_t)t->how.cut, t->how.buffers,
			    t->how.late ? ", late" : "",
			    t->how.no_loop ? ", without bpf_loop()" : "", got);
	_assert_string_equal(got, lines, file, line);
	free(got);
}

unsigned talk_exchanges(struct talk *t)
{
	unsigned n;
	size_t len;

	conn_tick(t->table, core_now_ns());
	n = t->exchanges;
	t->exchanges = 0;
	free(buf_take(&t->lines, &len));
	return n;
}

unsigned talk_seconds(struct talk *t)
{
	conn_tick(t->table, core_now_ns());
	return (unsigned)(t->last_ns / 1000000000);
}

struct conn_stats talk_stats(struct talk *t)
{
	struct conn_stats s;

	conn_stats(t->table, &s);
	return s;
}

void talk_end(struct talk *t, unsigned lost_unseen)
{
	struct conn_stats s;

	if (t->socket >= 0)
		talk_close(t, 0);
	EXPECT(t, "");
	s = talk_stats(t);
	if (s.lost_unseen != lost_unseen || s.lost_gap || s.lost_buffer ||
	    s.bad_records)
		print_error("%s: cut %zd, buffers %zu\n", t->name,
			    (ssize_t)t->how.cut, t->how.buffers);
	assert_int_equal(s.lost_unseen, lost_unseen);
	assert_int_equal(s.lost_gap, 0);
	assert_int_equal(s.lost_buffer, 0);
	assert_int_equal(s.lost_table, 0);
	assert_int_equal(s.bad_records, 0);
	assert_int_equal(core_counter(0), 0); /* TAP_C_LOST_REQUESTS */
	conn_free(t->table);
	buf_fini(&t->lines);
	core_end();
	free(t);
}
