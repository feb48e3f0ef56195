/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/probe-agent/tap_script.h"

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CALL_NS 1000

static const char *const outcomes[] = {
	[OUTCOME_COMPLETE] = "complete",   [OUTCOME_ABORTED] = "aborted",
	[OUTCOME_RESET] = "reset",	   [OUTCOME_TIMEOUT] = "timeout",
	[OUTCOME_MALFORMED] = "malformed",
};

/* "server GET /x 200 complete 0 5 host=a\n", the numbers being body bytes. */
static void on_exchange(void *arg, const struct exchange *x)
{
	struct script *s = arg;
	struct buf *b = &s->lines;

	buf_puts(b, x->role == ROLE_SERVER ? "server " : "client ");
	buf_append(b, x->method.data, x->method.len);
	buf_putc(b, ' ');
	buf_append(b, x->target.data, x->target.len);
	if (x->target_cut)
		buf_puts(b, "...");
	buf_printf(b, " %u %s %" PRIu64 " %" PRIu64, x->status,
		   outcomes[x->outcome], x->request_bytes, x->response_bytes);
	if (x->host.len) {
		buf_puts(b, " host=");
		buf_append(b, x->host.data, x->host.len);
	}
	if (x->traceparent.len) {
		buf_puts(b, " trace=");
		buf_append(b, x->traceparent.data, x->traceparent.len);
	}
	if (x->version != 11)
		buf_printf(b, " v%u", x->version);
	if (x->end->tgid != 42)
		buf_printf(b, " tgid=%u", x->end->tgid);
	if (s->times)
		buf_printf(b, " %" PRIu64 "+%" PRIu64 "+%" PRIu64, x->start_ns,
			   x->first_byte_ns ? x->first_byte_ns - x->start_ns
					    : 0,
			   x->end_ns - x->start_ns);
	buf_putc(b, '\n');
	assert_int_equal(b->err, 0);
}

static void on_ignore(void *arg, uint64_t sock, uint64_t born_ns, bool for_good)
{
	struct script *s = arg;

	assert_true(sock != 0 && born_ns != 0);
	if (for_good)
		s->ignored++;
	else
		s->backed_off++;
}

static void on_tunnel(void *arg, uint64_t sock, uint64_t born_ns)
{
	on_ignore(arg, sock, born_ns, true);
}

static bool on_select(void *arg, const struct endpoint *end)
{
	struct script *s = arg;

	assert_true(end->tgid != 0);
	return !s->deaf;
}

static int on_progress(void *arg, uint64_t sock, uint64_t born_ns,
		       struct tap_rec_progress *out,
		       struct tap_rec_place *answers)
{
	struct script *s = arg;

	if (s->gone)
		return -ENOENT;
	for (size_t i = 0; i < 16; i++) {
		if (!s->conns[i] || s->conns[i]->sock != sock ||
		    s->conns[i]->born_ns != born_ns)
			continue;
		*out = s->conns[i]->done;
		*answers = s->conns[i]->answers;
		return 0;
	}
	return -ENOENT;
}

void script_init(struct script *s, const struct conn_options *opt)
{
	struct conn_options o = opt ? *opt : (struct conn_options){ 0 };

	memset(s, 0, sizeof(*s));
	s->copy_max = SIZE_MAX;
	s->piece_max = TAP_PIECE_MAX;
	o.exchange = on_exchange;
	o.select = on_select;
	o.arg = s;
	o.source = (struct conn_source){ .ignore = on_ignore,
					 .tunnel = on_tunnel,
					 .progress = on_progress,
					 .arg = s };
	assert_int_equal(conn_new(&s->table, &o), 0);
}

void script_fini(struct script *s)
{
	conn_free(s->table);
	buf_fini(&s->lines);
	free(s->taken);
}

const char *script_take(struct script *s)
{
	size_t len;

	free(s->taken);
	buf_str(&s->lines);
	s->taken = buf_take(&s->lines, &len);
	assert_non_null(s->taken);
	return s->taken;
}

struct conn_stats script_stats(const struct script *s)
{
	struct conn_stats stats;

	conn_stats(s->table, &stats);
	return stats;
}

static void emit(struct script *s, const void *rec, size_t len)
{
	if (s->tee)
		s->tee(s->tee_arg, rec, len);
	if (!s->lose)
		assert_int_equal(conn_feed(s->table, rec, len), 0);
}

static struct tap_record header(const struct script_conn *k, int type, int dir,
				int flags)
{
	return (struct tap_record){
		.type = (uint8_t)type,
		.dir = (uint8_t)dir,
		.flags = (uint8_t)flags,
		.front = TAP_FRONT_SYSCALL,
		.tgid = type == TAP_CLOSE ? 0 : k->tgid,
		.sock = k->sock,
		.born_ns = k->born_ns,
		.done = k->done,
	};
}

void script_join(struct script *s, struct script_conn *k, uint64_t sock)
{
	static uint64_t born = 1000000;

	memset(k, 0, sizeof(*k));
	k->s = s;
	k->sock = sock;
	k->born_ns = ++born;
	k->tgid = 42;
	k->now_ns = 1000000000;
	/* Close to where 32 bits wrap. */
	k->done.rx_seq = UINT32_MAX - 100;
	k->done.tx_seq = UINT32_MAX - 50;
	for (size_t i = 0; i < 16; i++) {
		if (s->conns[i] && s->conns[i]->sock != sock)
			continue;
		s->conns[i] = k;
		break;
	}
}

void script_open(struct script *s, struct script_conn *k, uint64_t sock)
{
	struct tap_rec_open o;

	script_join(s, k, sock);
	memset(&o, 0, sizeof(o));
	o.rec = header(k, TAP_OPEN, 0, 0);
	o.start_ns = 7;
	o.family = 2;
	o.local_port = 80;
	o.remote_port = 40000;
	memcpy(o.comm, "server", 7);
	emit(s, &o, sizeof(o));
}

/* The kernel's guess, on the eager side: the engine must not be fooled. */
static bool may_start(const uint8_t *data, size_t len)
{
	return len > 0 && ((data[0] >= 'A' && data[0] <= 'Z') ||
			   (data[0] >= 'a' && data[0] <= 'z'));
}

/* As the kernel looks at the first bytes of a call. */
static bool looks_like_message(const uint8_t *p, size_t n)
{
	if (n == 0 || p[0] < 'A' || p[0] > 'Z')
		return false;
	for (size_t i = 0; i < n && p[i] != ' '; i++)
		if ((p[i] < 'A' || p[i] > 'Z') && p[i] != '-' &&
		    !(i >= 4 && memcmp(p, "HTTP", 4) == 0))
			return false;
	return true;
}

/*
 * What the kernel copies of a call on a connection that does not pipeline: a
 * message's head, and what lies in the same piece behind it.
 */
static size_t head_part(struct script_conn *k, int dir, const uint8_t *data,
			size_t len)
{
	struct script *s = k->s;
	uint32_t *tail = &k->tail[dir]; /* the last four bytes */

	if (!k->head_open[dir]) {
		if (!looks_like_message(data, len))
			return 0;
		k->head_open[dir] = true;
		*tail = 0;
	}
	for (size_t i = 0; i < len; i++) {
		*tail = *tail << 8 | data[i];
		if (*tail != 0x0d0a0d0a && (*tail & 0xffff) != 0x0a0a)
			continue;
		k->head_open[dir] = false;
		i = (i / s->piece_max + 1) * s->piece_max;
		return i < len ? i : len;
	}
	return len;
}

/* One call that moved (or, at entry, may move) `moved` bytes. */
static void call(struct script_conn *k, int dir, int flags, const uint8_t *data,
		 size_t len, uint64_t first_ns, uint64_t last_ns)
{
	struct script *s = k->s;
	uint32_t pos = dir == TAP_RX ? k->done.rx_seq : k->done.tx_seq;
	size_t copy = len < s->copy_max ? len : s->copy_max;
	size_t at = 0, n;
	struct tap_rec_data *d;
	bool cut = copy < len;

	if (s->heads_only) {
		copy = head_part(k, dir, data, len);
		if (copy == 0)
			return;
		cut = false;
	}
	do {
		n = copy - at < s->piece_max ? copy - at : s->piece_max;
		d = calloc(1, sizeof(*d) + n);
		assert_non_null(d);
		d->rec = header(k, TAP_DATA, dir, flags);
		if (at == 0)
			d->rec.flags |= TAP_F_CALL_START;
		if (may_start(data + at, n))
			d->rec.flags |= TAP_F_MESSAGE_START;
		if (at + n == copy && cut)
			d->rec.flags |= TAP_F_TRUNCATED;
		d->first_ns = first_ns;
		d->last_ns = last_ns;
		d->pos = pos + (uint32_t)at;
		d->call_len = (uint32_t)(len - at);
		d->len = (uint32_t)n;
		memcpy(d->data, data + at, n);
		emit(s, d, sizeof(*d) + n);
		free(d);
		at += n;
	} while (at < copy);
}

static void move(struct script_conn *k, int dir, const uint8_t *data,
		 size_t len)
{
	uint64_t first_ns = k->now_ns;

	k->now_ns += CALL_NS;
	if (dir == TAP_RX) {
		call(k, dir, 0, data, len, k->now_ns, k->now_ns);
		k->done.rx_seq += (uint32_t)len;
		k->done.rx_ns = k->now_ns;
	} else {
		call(k, dir, 0, data, len, first_ns, k->now_ns);
		k->done.tx_seq += (uint32_t)len;
		k->done.tx_ns = k->now_ns;
	}
}

/* In one call, or two, or one for each byte. */
static void move_split(struct script_conn *k, int dir, const uint8_t *data,
		       size_t len)
{
	size_t split = k->s->split;

	if (split == SIZE_MAX) {
		for (size_t i = 0; i < len; i++)
			move(k, dir, data + i, 1);
	} else if (split > 0 && split < len) {
		move(k, dir, data, split);
		move(k, dir, data + split, len - split);
	} else {
		move(k, dir, data, len);
	}
}

void script_read(struct script_conn *k, const void *data, size_t len)
{
	move_split(k, TAP_RX, data, len);
}

void script_write(struct script_conn *k, const void *data, size_t len)
{
	move_split(k, TAP_TX, data, len);
}

void script_send_some(struct script_conn *k, const void *data, size_t len,
		      size_t taken)
{
	call(k, TAP_TX, TAP_F_ENTRY, data, len, k->now_ns, 0);
	k->now_ns += CALL_NS;
	k->done.tx_seq += (uint32_t)taken;
	if (taken)
		k->done.tx_ns = k->now_ns;
}

void script_send(struct script_conn *k, const void *data, size_t len)
{
	const uint8_t *p = data;
	size_t split = k->s->split;

	if (split == SIZE_MAX) {
		for (size_t i = 0; i < len; i++)
			script_send_some(k, p + i, 1, 1);
	} else if (split > 0 && split < len) {
		script_send_some(k, p, split, split);
		script_send_some(k, p + split, len - split, len - split);
	} else {
		script_send_some(k, p, len, len);
	}
}

void script_read_quietly(struct script_conn *k, uint64_t len)
{
	k->now_ns += CALL_NS;
	k->done.rx_seq += (uint32_t)len;
	k->done.rx_ns = k->now_ns;
}

void script_write_quietly(struct script_conn *k, uint64_t len)
{
	k->now_ns += CALL_NS;
	k->done.tx_seq += (uint32_t)len;
	k->done.tx_ns = k->now_ns;
}

void script_wait(struct script_conn *k, uint64_t ns)
{
	k->now_ns += ns;
}

void script_end(struct script_conn *k, int dir)
{
	struct tap_end e;

	k->now_ns += CALL_NS;
	e.rec = header(k, TAP_END, dir, 0);
	e.time_ns = k->now_ns;
	e.answers = k->answers;
	emit(k->s, &e, sizeof(e));
}

void script_close(struct script_conn *k, uint32_t error)
{
	struct tap_rec_close c;

	k->now_ns += CALL_NS;
	c.rec = header(k, TAP_CLOSE, 0, 0);
	c.time_ns = k->now_ns;
	c.error = error;
	c.pad = 0;
	c.answers = k->answers;
	emit(k->s, &c, sizeof(c));
}
