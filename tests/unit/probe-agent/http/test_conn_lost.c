/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "probe-agent/http/conn.h"

/*
 * Random conversations on many connections, over a ring that is too small. The
 * kernel counts the requests whose first record finds no room; each of the
 * others must be an exchange or a loss of the engine's, whatever else is lost:
 * rests of heads, answers, ends; and soon after the ring has room again.
 */

#define CONNS 12
#define SOCKETS 16
#define STEPS 600
#define WORLDS 499
#define HEAD_MAX 900
#define QUEUE_BYTES (8 << 20)
#define TICK_NS 200000000ull
#define SECOND_NS 1000000000ull
#define PIECE_SMALL 256u /* as bpf/scan.bpf.h */
#define PIECE_PAD 32u
#define HEADER 8u /* of a record in the ring */
#define ROOMY (1u << 30) /* a ring in which nothing is lost */

struct call {
	int dir;
	bool begins, is_request;
	const char *data;
	size_t len;
};

/* One side of a connection, as the program and the kernel see it. */
struct side {
	uint64_t sock, born_ns; /* 0: none */
	struct tap_rec_progress done;
	enum role role;
	bool opened, asked;
	bool head_open[2];
	uint32_t tail[2]; /* last bytes of an open head */
};

struct world {
	struct conn_table *table;
	struct side side[CONNS];
	size_t queued, room;
	size_t due; /* bytes of the queue that the next turn can't miss */
	uint64_t now_ns, born;
	uint64_t requests; /* the truth */
	uint64_t lost_requests, lost_records, doubted; /* the kernel's */
	_Alignas(8) char queue[QUEUE_BYTES]; /* struct queued, record, … */
};

struct queued {
	uint32_t len, room; /* bytes: of the record, and it takes in the ring */
};

static uint32_t seed;

static uint32_t below(uint32_t n)
{
	seed = seed * 1664525u + 1013904223u;
	return (seed >> 8) % n;
}

/* --- the kernel's side --- */

/* Room for a record whose data may grow to cap. NULL: none. */
static void *reserve(struct world *w, const struct side *k, int type,
		     size_t len, size_t cap)
{
	size_t size = HEADER + (cap + 7) / 8 * 8;
	struct queued *q = (void *)(w->queue + w->queued);
	struct tap_record *r = (void *)(q + 1);

	if (w->room < size)
		return NULL;
	w->room -= size;
	assert_true(w->queued + sizeof(*q) + len + 8 <= QUEUE_BYTES);
	*q = (struct queued){ (uint32_t)len, (uint32_t)size };
	w->queued += sizeof(*q) + (len + 7) / 8 * 8;
	memset(r, 0, len);
	r->type = (uint8_t)type;
	r->tgid = type == TAP_CLOSE ? 0 : 42;
	r->sock = k->sock;
	r->born_ns = k->born_ns;
	r->done = k->done;
	return r;
}

static bool send_open(struct world *w, struct side *k)
{
	struct tap_rec_open *o =
		reserve(w, k, TAP_OPEN, sizeof(*o), sizeof(*o));

	w->lost_records += !o;
	k->opened = o;
	return o;
}

/* False: no room, or the head has ended. */
static bool send_piece(struct world *w, struct side *k, const struct call *c,
		       size_t at, size_t n)
{
	size_t cap = n <= PIECE_SMALL ? PIECE_SMALL : TAP_PIECE_MAX;
	uint32_t *tail = &k->tail[c->dir];
	bool start = c->begins && at == 0;
	struct tap_rec_data *d = NULL;

	if (k->opened || send_open(w, k))
		d = reserve(w, k, TAP_DATA, sizeof(*d) + n,
			    sizeof(*d) + cap + PIECE_PAD);
	for (size_t i = 0; i < n; i++) {
		*tail = *tail << 8 | (uint8_t)c->data[at + i];
		if (*tail == 0x0d0a0d0a)
			k->head_open[c->dir] = false;
	}
	if (!d) {
		*(start && c->is_request ? &w->lost_requests
					 : &w->lost_records) += 1;
		k->head_open[c->dir] &= n < 16;
		return false;
	}
	d->rec.dir = (uint8_t)c->dir;
	d->rec.flags = (at == 0 ? TAP_F_CALL_START : 0) |
		       (start ? TAP_F_MESSAGE_START : 0);
	d->pos = (c->dir == TAP_RX ? k->done.rx_seq : k->done.tx_seq) +
		 (uint32_t)at;
	d->first_ns = d->last_ns = w->now_ns;
	if (c->is_request && c->dir == TAP_TX) {
		d->rec.flags |= TAP_F_ENTRY;
		d->last_ns = 0;
	}
	d->call_len = (uint32_t)(c->len - at);
	d->len = (uint32_t)n;
	memcpy(d->data, c->data + at, n);
	return k->head_open[c->dir];
}

static void pass(struct world *w, struct side *k, int dir, size_t len)
{
	w->now_ns += 1 + below(2000);
	if (dir == TAP_RX) {
		k->done.rx_seq += (uint32_t)len;
		k->done.rx_ns = w->now_ns;
	} else {
		k->done.tx_seq += (uint32_t)len;
		k->done.tx_ns = w->now_ns;
	}
}

static void move(struct world *w, struct side *k, const struct call *c)
{
	size_t at = 0, n;

	if (c->begins) {
		k->head_open[c->dir] = true;
		k->tail[c->dir] = 0;
	}
	while (k->head_open[c->dir] && at < c->len) {
		n = c->len - at < TAP_PIECE_MAX ? c->len - at : TAP_PIECE_MAX;
		if (!send_piece(w, k, c, at, n))
			break;
		at += n;
	}
	pass(w, k, c->dir, c->len);
}

/* --- the programs --- */

/*
 * A head in one call, in a few, or in one for each byte but the last two: the
 * engine can't tell one byte that it did not see from a FIN.
 */
static void say(struct world *w, struct side *k, int dir, const char *text,
		size_t len)
{
	size_t step = below(3) ? len : below(4) ? 40 + below(400) : 1, at;
	struct call c = { .dir = dir,
			  .begins = true,
			  .is_request =
				  (dir == TAP_RX) == (k->role == ROLE_SERVER) };

	for (at = 0; at < len; at += c.len) {
		c.data = text + at;
		c.len = len - at < step + 2 ? len - at : step;
		move(w, k, &c);
		c.begins = false;
	}
}

static void say_head(struct world *w, struct side *k, int dir,
		     const char *first_line)
{
	char text[HEAD_MAX];
	uint32_t body = below(3) ? 0 : below(5000);
	int n = snprintf(text, sizeof(text),
			 "%s\r\ncontent-length: %u\r\nx: %0*d\r\n\r\n",
			 first_line, body,
			 below(4) ? (int)below(60) : (int)below(700), 1);

	say(w, k, dir, text, (size_t)n);
	while (body) {
		uint32_t part = below(2) ? body : 1 + below(body);

		pass(w, k, dir, part);
		body -= part;
	}
}

static void ask(struct world *w, struct side *k)
{
	w->requests++;
	k->asked = true;
	say_head(w, k, k->role == ROLE_SERVER ? TAP_RX : TAP_TX,
		 "GET /a HTTP/1.1");
}

static void answer(struct world *w, struct side *k)
{
	k->asked = false;
	say_head(w, k, k->role == ROLE_SERVER ? TAP_TX : TAP_RX,
		 "HTTP/1.1 200 OK");
}

static void end(struct world *w, struct side *k, int dir)
{
	struct tap_end *e;

	if (!k->opened)
		return;
	e = reserve(w, k, TAP_END, sizeof(*e), sizeof(*e));
	w->lost_records += !e;
	if (!e)
		return;
	e->rec.dir = (uint8_t)dir;
	e->time_ns = w->now_ns;
}

static void close_side(struct world *w, struct side *k)
{
	struct tap_rec_close *c;

	if (below(4))
		end(w, k, below(2) ? TAP_RX : TAP_TX);
	if (k->opened) {
		c = reserve(w, k, TAP_CLOSE, sizeof(*c), sizeof(*c));
		w->lost_records += !c;
		if (c)
			c->time_ns = w->now_ns;
	}
	memset(k, 0, sizeof(*k));
}

/* A socket's address that is free is soon used again. */
static void connect_side(struct world *w, struct side *k)
{
	uint64_t sock;

again:
	sock = 0x1000 + 64 * (uint64_t)below(SOCKETS);
	for (size_t i = 0; i < CONNS; i++)
		if (w->side[i].sock == sock)
			goto again;
	*k = (struct side){ .sock = sock,
			    .born_ns = ++w->born,
			    .role = below(2) ? ROLE_SERVER : ROLE_CLIENT,
			    .done = { .rx_seq = UINT32_MAX - below(5000),
				      .tx_seq = UINT32_MAX - below(5000) } };
}

static void step(struct world *w)
{
	struct side *k = &w->side[below(CONNS)];

	if (!k->sock)
		connect_side(w, k);
	else if (below(6) == 0)
		close_side(w, k);
	else if (k->asked)
		answer(w, k);
	else
		ask(w, k);
}

/* --- the agent --- */

static int progress(void *arg, uint64_t sock, uint64_t born_ns,
		    struct tap_rec_progress *out, struct tap_rec_place *answers)
{
	struct world *w = arg;

	*answers = (struct tap_rec_place){ 0 };
	for (size_t i = 0; i < CONNS; i++) {
		if (w->side[i].sock != sock || w->side[i].born_ns != born_ns)
			continue;
		*out = w->side[i].done;
		return 0;
	}
	return -ENOENT;
}

/* What came while the ring was drained can be left for the next turn. */
static void drain(struct world *w, bool all)
{
	size_t end = all ? w->queued : w->due + below(w->queued - w->due + 1);
	size_t at = 0;

	while (at < end) {
		const struct queued *q = (void *)(w->queue + at);

		assert_int_equal(conn_feed(w->table, q + 1, q->len), 0);
		w->room += q->room;
		at += sizeof(*q) + (q->len + 7) / 8 * 8;
	}
	memmove(w->queue, w->queue + at, w->queued - at);
	w->queued -= at;
	w->due = w->queued;
}

static void turn(struct world *w, uint64_t ns, bool all)
{
	uint64_t lost = w->lost_requests + w->lost_records;

	drain(w, all);
	w->now_ns += ns;
	conn_tick(w->table, w->now_ns);
	if (lost != w->doubted || below(4) == 0)
		conn_doubt(w->table);
	w->doubted = lost;
}

static void expect_all_counted(struct world *w, unsigned number)
{
	struct conn_stats s;
	uint64_t found;

	conn_stats(w->table, &s);
	found = s.exchanges + s.lost_gap + s.lost_table + s.lost_buffer +
		w->lost_requests;
	if (found != w->requests)
		print_error("world %u: %llu requests, %llu found: "
			    "%llu exchanges, %llu in gaps, %llu at the ring\n",
			    number, (unsigned long long)w->requests,
			    (unsigned long long)found,
			    (unsigned long long)s.exchanges,
			    (unsigned long long)s.lost_gap,
			    (unsigned long long)w->lost_requests);
	assert_int_equal(found, w->requests);
	if (w->room == ROOMY)
		assert_int_equal(s.exchanges, w->requests);
	assert_int_equal(s.malformed, 0);
	assert_int_equal(s.bad_records, 0);
}

static void one_world(struct world *w, unsigned number, size_t ring,
		      bool leave_open)
{
	struct conn_options opt = { .source = { .progress = progress,
						.arg = w } };
	unsigned i, often = 1 + below(60);

	memset(w, 0, offsetof(struct world, queue));
	w->now_ns = w->born = 1000000000;
	w->room = ring;
	assert_int_equal(conn_new(&w->table, &opt), 0);
	for (i = 0; i < STEPS; i++) {
		step(w);
		if (below(often))
			continue;
		/* Now and then the agent stands still. */
		turn(w, below(20) ? below(2) * TICK_NS : 2 * SECOND_NS,
		     below(2));
	}
	/* What has no answer ends; of the rest, the last step is long ago. */
	for (i = 0; i < CONNS; i++)
		if (w->side[i].sock && (w->side[i].asked || !leave_open))
			close_side(w, &w->side[i]);
	for (i = 0; i < 10; i++)
		turn(w, TICK_NS, true);
	expect_all_counted(w, number);
	conn_free(w->table);
}

static void worlds(bool roomy, bool leave_open)
{
	struct world *w = malloc(sizeof(*w));

	assert_non_null(w);
	for (unsigned i = 1; i <= WORLDS; i++) {
		seed = i;
		one_world(w, i, roomy ? ROOMY : 2048 + 8 * below(2048),
			  leave_open);
	}
	free(w);
}

static void counts_each_request_once_whatever_is_lost(void **state)
{
	(void)state;
	worlds(false, false);
}

static void does_so_on_connections_that_stay(void **state)
{
	(void)state;
	worlds(false, true);
}

static void loses_nothing_that_is_on_its_way(void **state)
{
	(void)state;
	worlds(true, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counts_each_request_once_whatever_is_lost),
		cmocka_unit_test(does_so_on_connections_that_stay),
		cmocka_unit_test(loses_nothing_that_is_on_its_way),
	};

	return cmocka_run_group_tests_name("conn_lost", tests, NULL, NULL);
}
