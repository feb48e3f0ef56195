/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "probe-agent/http/conn.h"

/*
 * Input: steps of 4 bytes and what they name. The first byte says what
 * happens, the second on which of two connections and how, the others how
 * much. Whatever the records say, the engine may only ever answer with
 * exchanges that make sense, and must stay within its caps.
 */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct side {
	struct tap_rec_progress done;
	uint64_t born_ns;
};

static struct side sides[2];
static uint64_t now_ns;
static struct tap_rec_place answers_at;

static void on_exchange(void *arg, const struct exchange *x)
{
	size_t *n = arg;

	(*n)++;
	assert(x->role == ROLE_SERVER || x->role == ROLE_CLIENT);
	assert(x->status == 0 || (x->status >= 100 && x->status <= 999));
	assert(x->outcome <= OUTCOME_MALFORMED);
	assert(x->outcome != OUTCOME_COMPLETE || x->status);
	assert(x->end_ns >= x->start_ns);
	assert(x->version == 10 || x->version == 11);
	assert(!memchr(x->target.data, '\0', x->target.len));
}

static int on_progress(void *arg, uint64_t sock, uint64_t born_ns,
		       struct tap_rec_progress *out,
		       struct tap_rec_place *answers)
{
	(void)arg;
	(void)born_ns;
	if (sock % 3 == 0)
		return -ENOENT;
	*out = sides[sock & 1].done;
	*answers = answers_at;
	return 0;
}

static void ignore(void *arg, uint64_t sock, uint64_t born_ns, bool for_good)
{
	(void)for_good;
	(void)arg;
	(void)sock;
	(void)born_ns;
}

static struct tap_record header(uint8_t type, uint8_t how)
{
	const struct side *s = &sides[how & 1];

	return (struct tap_record){
		.type = type,
		.dir = how >> 1 & 1,
		.flags = how >> 2 & 0x3f,
		.tgid = 1,
		.sock = 2 + (how & 1),
		.born_ns = s->born_ns,
		.done = s->done,
	};
}

static void feed_data(struct conn_table *t, uint8_t how, uint8_t jump,
		      const uint8_t *bytes, size_t len, uint8_t extra)
{
	struct tap_rec_progress *done = &sides[how & 1].done;
	uint32_t *seq = how & 2 ? &done->tx_seq : &done->rx_seq;
	struct tap_rec_data *d = malloc(sizeof(*d) + len);

	if (!d)
		return;
	d->rec = header(TAP_DATA, how);
	d->first_ns = now_ns;
	d->last_ns = d->rec.flags & TAP_F_ENTRY ? 0 : now_ns + 10;
	d->pos = *seq;
	d->lost = jump >> 4 == 7 ? extra & 3 : 0;
	d->turn = jump >> 2 & 7;
	if (jump >= 0xe0) /* lost, or told twice */
		d->pos += (uint32_t)(int8_t)(jump << 3);
	d->len = (uint32_t)len;
	d->call_len = (uint32_t)len + (extra >= 0xf0 ? extra : 0);
	memcpy(d->data, bytes, len);
	conn_feed(t, d, sizeof(*d) + len);
	if (!(d->rec.flags & TAP_F_ENTRY) || jump & 1)
		*seq += d->call_len;
	free(d);
}

static void step(struct conn_table *t, const uint8_t *p)
{
	struct side *s = &sides[p[1] & 1];
	struct tap_rec_open o = { .rec = header(TAP_OPEN, p[1]) };
	struct tap_end e = { header(TAP_END, p[1]), now_ns, answers_at };
	struct tap_rec_close c = { .rec = header(TAP_CLOSE, p[1]),
				   .time_ns = now_ns,
				   .answers = answers_at,
				   .error = p[2] };

	switch (p[0] & 7) {
	case 1:
		conn_feed(t, &o, sizeof(o));
		break;
	case 2:
		conn_feed(t, &e, sizeof(e));
		break;
	case 3:
		conn_feed(t, &c, sizeof(c));
		s->born_ns++;
		break;
	case 4:
		conn_tick(t, now_ns);
		break;
	case 5:
		now_ns += (uint64_t)p[2] << 24;
		answers_at.place = p[3] % (PLACE_PROXY2 + 1);
		answers_at.due = s->done.tx_seq + (p[3] >> 5);
		break;
	case 6:
		s->done.rx_seq += (uint32_t)p[2] << (p[3] & 15);
		s->done.rx_ns = now_ns;
		break;
	case 7:
		s->done.tx_seq += (uint32_t)p[2] << (p[3] & 15);
		s->done.tx_ns = now_ns;
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t exchanges = 0, len;
	struct conn_options opt = {
		.max_connections = 2,
		.max_buffer_bytes = 20000,
		.max_pipelined = 8,
		.exchange = on_exchange,
		.arg = &exchanges,
		.source = { ignore, on_progress, NULL },
	};
	struct conn_stats stats;
	struct conn_table *t;

	memset(sides, 0, sizeof(sides));
	sides[0].born_ns = sides[1].born_ns = 1;
	now_ns = 1000;
	if (conn_new(&t, &opt) != 0)
		abort();
	while (size >= 4) {
		const uint8_t *p = data;

		data += 4;
		size -= 4;
		now_ns += 100;
		if (p[0] & 7) {
			step(t, p);
			continue;
		}
		len = p[3] < size ? p[3] : size;
		feed_data(t, p[1], p[2], data, len, p[0]);
		data += len;
		size -= len;
	}
	conn_stats(t, &stats);
	assert(stats.exchanges == exchanges);
	assert(stats.bad_records == 0);
	assert(stats.connections <= 2);
	conn_free(t);
	return 0;
}
