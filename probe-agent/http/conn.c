/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/http/conn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "probe-agent/http/conn_engine.h"
#include "probe-agent/http/conn_slots.h"

#define DEFAULT_CONNECTIONS 65536u
#define DEFAULT_BUFFER_BYTES (16u << 20)
#define DEFAULT_PIPELINED 1024u
#define DEFAULT_IDLE_NS 1000000000ull
#define PENDING_ALLOWANCE_BYTES 512u /* per connection: a request under way */

#define SWEEP_CONNS 256u /* checked per tick */
/* After this silence the kernel is asked whether a connection still exists. */
#define STALE_NS 60000000000ull
/*
 * After this silence an ignored connection is dropped: its last records have
 * come.
 */
#define IGNORED_NS 10000000000ull

struct conn_table {
	struct conn_engine engine;
	struct conn_slots slots;
	uint32_t sweep; /* where the tick looks next */
	/* slots from sweep on that are checked even if not stale */
	uint32_t doubted;
	uint32_t *watched; /* index + 1 */
	uint32_t n_watched;
};

static struct conn *slot(const struct conn_table *t, uint32_t i)
{
	return conn_slots_at(&t->slots, i);
}

static const struct http_proto *proto_of(const struct conn_table *t,
					 const struct conn *c)
{
	return t->engine.protos[c->proto];
}

int conn_new(struct conn_table **out, const struct conn_options *opt)
{
	struct conn_table *t;
	uint32_t max = (uint32_t)opt->max_connections;
	int err, full;

	if (opt->max_connections > UINT32_MAX / 2 || opt->max_pipelined > 65535)
		return -EINVAL;
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->engine.opt = *opt;
	if (!max)
		max = DEFAULT_CONNECTIONS;
	if (!opt->max_pipelined)
		t->engine.opt.max_pipelined = DEFAULT_PIPELINED;
	if (!opt->idle_ns)
		t->engine.opt.idle_ns = DEFAULT_IDLE_NS;
	t->engine.max_bytes = opt->max_buffer_bytes;
	if (!opt->max_buffer_bytes)
		t->engine.max_bytes = DEFAULT_BUFFER_BYTES +
				      (size_t)max * PENDING_ALLOWANCE_BYTES;
	err = conn_engine_init(&t->engine);
	full = conn_slots_init(&t->slots, max);
	t->watched = calloc(max, sizeof(*t->watched));
	if (!err && (full || !t->watched))
		err = -ENOMEM;
	if (err) {
		conn_free(t);
		return err;
	}
	*out = t;
	return 0;
}

void conn_free(struct conn_table *t)
{
	uint64_t unreported = 0;

	if (!t)
		return;
	for (uint32_t i = 0; i < t->slots.n; i++)
		if (slot(t, i)->sock)
			conn_fini(&t->engine, slot(t, i), &unreported);
	conn_engine_fini(&t->engine);
	conn_slots_fini(&t->slots);
	free(t->watched);
	free(t);
}

static void watch(struct conn_table *t, struct conn *c, uint32_t index)
{
	t->watched[t->n_watched++] = index + 1;
	c->watch = t->n_watched;
}

static void unwatch(struct conn_table *t, struct conn *c)
{
	uint32_t last;

	if (!c->watch)
		return;
	last = t->watched[--t->n_watched];
	t->watched[c->watch - 1] = last;
	slot(t, last - 1)->watch = c->watch;
	c->watch = 0;
}

/* The caller must have freed what the connection owns. */
static void drop_conn(struct conn_table *t, uint32_t index)
{
	unwatch(t, slot(t, index));
	conn_slots_drop(&t->slots, index);
}

/*
 * The connection is over; how it ended was not seen. Returns the requests that
 * count as lost for that.
 */
static uint64_t vanish(struct conn_table *t, uint32_t index)
{
	struct conn *c = slot(t, index);
	uint64_t before = t->engine.stats.lost_gap;

	if (!c->ignored)
		proto_of(t, c)->vanish(&t->engine, c);
	conn_fini(&t->engine, c, &t->engine.stats.lost_gap);
	drop_conn(t, index);
	return t->engine.stats.lost_gap - before;
}

/* Finds room for sock, if need be that of an idle connection. -ENOMEM. */
static int add_conn(struct conn_table *t, uint64_t sock, uint32_t *index)
{
	uint32_t victim;

	if (conn_slots_full(&t->slots)) {
		victim = conn_slots_victim(&t->slots);
		conn_fini(&t->engine, slot(t, victim),
			  &t->engine.stats.lost_table);
		drop_conn(t, victim);
	}
	return conn_slots_add(&t->slots, sock, index);
}

/* The positions of a connection that is new, or was ignored. */
static void init_conn(struct conn_table *t, struct conn *c,
		      const struct tap_rec_progress *done)
{
	/* Ahead by 2^32, so that looking back never underflows. */
	c->moved[TAP_RX].seen = (1ull << 32) + done->rx_seq;
	c->moved[TAP_TX].seen = (1ull << 32) + done->tx_seq;
	c->moved[TAP_RX].seen_ns = done->rx_ns;
	c->moved[TAP_TX].seen_ns = done->tx_ns;
	conn_begin(&t->engine, c, t->engine.n_protos - 1, NULL);
}

/*
 * Finds the connection of rec, or creates it. -ENOMEM; -ESTALE: the connection
 * is over.
 */
static int lookup(struct conn_table *t, const struct tap_record *rec,
		  uint32_t *out)
{
	uint32_t i = conn_slots_find(&t->slots, rec->sock);
	uint64_t inherited = 0;
	struct conn *c;
	int err;

	if (i) {
		c = slot(t, i - 1);
		if (c->born_ns == rec->born_ns) {
			*out = i - 1;
			return 0;
		}
		if (rec->born_ns < c->born_ns)
			return -ESTALE;
		/*
		 * The socket's memory is in use again, and the old connection's
		 * end was not seen; or it is the same connection, which the
		 * kernel side has forgotten and met anew.
		 */
		inherited = vanish(t, i - 1);
	}
	if (rec->type == TAP_CLOSE)
		return -ESTALE;
	err = add_conn(t, rec->sock, out);
	if (err)
		return err;
	c = slot(t, *out);
	c->born_ns = rec->born_ns;
	c->end.tgid = rec->tgid;
	c->inherited =
		inherited < UINT16_MAX ? (uint16_t)inherited : UINT16_MAX;
	init_conn(t, c, &rec->done);
	return 0;
}

static void feed_open(struct conn_table *t, struct conn *c,
		      const struct tap_rec_open *o)
{
	const struct conn_options *opt = &t->engine.opt;

	c->opened = true;
	c->end = (struct endpoint){
		.tgid = o->rec.tgid,
		.start_ns = o->start_ns,
		.cgroup_id = o->cgroup_id,
		.family = o->family,
		.local_port = o->local_port,
		.remote_port = o->remote_port,
	};
	memcpy(c->end.local_addr, o->local_addr, sizeof(o->local_addr));
	memcpy(c->end.remote_addr, o->remote_addr, sizeof(o->remote_addr));
	memcpy(c->end.comm, o->comm, sizeof(o->comm));
	c->end.comm[sizeof(c->end.comm) - 1] = '\0';
	if (!opt->select)
		return;
	if (opt->select(opt->arg, &c->end)) {
		if (!c->unselected)
			return;
		/* Another process took over, and it is selected. */
		c->unselected = c->ignored = false;
		init_conn(t, c, &o->rec.done);
	} else if (!c->ignored) {
		c->unselected = true;
		conn_ignore(&t->engine, c);
	}
}

/* Is the record complete and consistent? */
static bool is_sane(const struct tap_record *rec, size_t len)
{
	const struct tap_rec_data *data = (const void *)rec;
	const struct tap_rec_h2 *h2 = (const void *)rec;

	if (len < sizeof(*rec) || ((uintptr_t)rec & 7) || rec->dir > TAP_TX ||
	    rec->sock == 0)
		return false;
	switch (rec->type) {
	case TAP_OPEN:
		return len >= sizeof(struct tap_rec_open);
	case TAP_DATA:
		if (rec->flags & TAP_F_H2)
			return len >= sizeof(*h2) && h2->len <= h2->call_len &&
			       h2->call_len <= INT32_MAX &&
			       h2->len <= len - sizeof(*h2);
		return len >= sizeof(*data) && data->len <= data->call_len &&
		       data->call_len <= INT32_MAX &&
		       data->len <= len - sizeof(*data);
	case TAP_END:
		return len >= sizeof(struct tap_end);
	case TAP_CLOSE:
		return len >= sizeof(struct tap_rec_close);
	}
	return false;
}

static bool went_with_syn(const struct tap_record *rec)
{
	return rec->type == TAP_DATA && !(rec->flags & TAP_F_H2) &&
	       rec->flags & TAP_F_SYN;
}

static void advance_to(struct conn_moved *m, uint32_t seq, uint64_t ns)
{
	uint64_t seen = conn_extend(m->seen, seq);

	if (seen <= m->seen)
		return;
	m->seen = seen;
	m->seen_ns = ns;
}

/*
 * EPIPE is a reset that came after the peer's FIN. EHOSTUNREACH and ENETUNREACH
 * are what the kernel remembers of retries that went unanswered.
 */
static enum outcome outcome_of(uint32_t error)
{
	switch (error) {
	case ECONNRESET:
	case EPIPE:
		return OUTCOME_RESET;
	case ETIMEDOUT:
	case EHOSTUNREACH:
	case ENETUNREACH:
		return OUTCOME_TIMEOUT;
	default:
		return OUTCOME_ABORTED;
	}
}

static void feed_close(struct conn_table *t, uint32_t index,
		       const struct tap_rec_close *cl)
{
	struct conn *c = slot(t, index);

	if (!c->ignored)
		proto_of(t, c)->close(&t->engine, c, outcome_of(cl->error),
				      &cl->answers, cl->time_ns);
	conn_fini(&t->engine, c, &t->engine.stats.lost_gap);
	drop_conn(t, index);
}

/* The first bytes went with the SYN: now it is known where the others begin. */
static void find_begin(const struct conn_table *t, struct conn *c,
		       uint32_t rx_seq)
{
	const struct http_proto *p = proto_of(t, c);
	uint64_t n = (uint32_t)(rx_seq - (uint32_t)c->moved[TAP_RX].seen);

	c->opening = false;
	c->moved[TAP_RX].seen += n;
	if (!c->ignored && p->shift)
		p->shift(c, TAP_RX, n);
}

static void dispatch(struct conn_table *t, uint32_t index,
		     const struct tap_record *rec)
{
	struct conn *c = slot(t, index);
	struct conn_engine *e = &t->engine;
	const struct tap_end *end = (const void *)rec;
	bool poll;

	c->used = true;
	c->gone = false;
	if (rec->type == TAP_OPEN) {
		feed_open(t, c, (const void *)rec);
		return;
	}
	if (c->opening && !went_with_syn(rec))
		find_begin(t, c, rec->done.rx_seq);
	c->opening |= went_with_syn(rec);
	advance_to(&c->moved[TAP_RX], rec->done.rx_seq, rec->done.rx_ns);
	advance_to(&c->moved[TAP_TX], rec->done.tx_seq, rec->done.tx_ns);
	if (rec->type == TAP_CLOSE) {
		feed_close(t, index, (const void *)rec);
		return;
	}
	if (c->ignored)
		return;
	if (rec->type == TAP_END)
		poll = proto_of(t, c)->end(e, c, rec->dir, &end->answers,
					   end->time_ns);
	else if (c->certain || conn_claim(e, c, (const void *)rec))
		poll = proto_of(t, c)->data(e, c, (const void *)rec);
	else
		return;
	if (!c->watch && poll)
		watch(t, c, index);
}

int conn_feed(struct conn_table *t, const void *rec, size_t len)
{
	const struct tap_record *r = rec;
	uint32_t index;
	int err;

	if (!is_sane(r, len)) {
		t->engine.stats.bad_records++;
		return -EPROTO;
	}
	err = lookup(t, r, &index);
	if (err == -ESTALE)
		return 0;
	if (err) {
		t->engine.stats.lost_table++;
		return 0;
	}
	dispatch(t, index, r);
	return 0;
}

/*
 * The kernel does not know c any more. Its last records may still be in the
 * ring, so it is gone only the second time.
 */
static bool is_gone(struct conn *c)
{
	bool twice = c->gone;

	c->gone = true;
	return twice;
}

static int ask(const struct conn_table *t, const struct conn *c,
	       struct tap_rec_progress *out, struct tap_rec_place *answers)
{
	const struct conn_source *source = &t->engine.opt.source;

	*answers = (struct tap_rec_place){ 0 };
	if (source->progress)
		return source->progress(source->arg, c->sock, c->born_ns, out,
					answers);
	*out = (struct tap_rec_progress){
		.rx_seq = (uint32_t)c->moved[TAP_RX].seen,
		.tx_seq = (uint32_t)c->moved[TAP_TX].seen,
		.rx_ns = c->moved[TAP_RX].seen_ns,
		.tx_ns = c->moved[TAP_TX].seen_ns,
	};
	return 0;
}

enum poll_result {
	POLL_GONE, /* the connection is no more */
	POLL_IDLE,
	POLL_AGAIN, /* on the next tick, too */
};

static enum poll_result poll_one(struct conn_table *t, uint32_t index,
				 uint64_t now_ns)
{
	struct conn *c = slot(t, index);
	struct tap_rec_progress now;
	struct tap_rec_place answers;

	if (ask(t, c, &now, &answers) == -ENOENT) {
		if (!is_gone(c))
			return POLL_AGAIN;
		vanish(t, index);
		return POLL_GONE;
	}
	c->gone = false;
	if (c->ignored)
		return POLL_IDLE;
	if (c->opening)
		return POLL_AGAIN;
	return proto_of(t, c)->poll(&t->engine, c, &now, &answers, now_ns)
		       ? POLL_AGAIN
		       : POLL_IDLE;
}

static void sweep_one(struct conn_table *t, uint32_t index, uint64_t now_ns)
{
	struct conn *c = slot(t, index);
	uint64_t last_ns = c->moved[TAP_RX].seen_ns;

	if (!c->sock)
		return;
	if (c->moved[TAP_TX].seen_ns > last_ns)
		last_ns = c->moved[TAP_TX].seen_ns;
	if (c->born_ns > last_ns)
		last_ns = c->born_ns;
	if (c->ignored) {
		/*
		 * Without ignore() records keep coming; the entry stays so that
		 * they are recognised.
		 */
		if (t->engine.opt.source.ignore &&
		    now_ns > last_ns + IGNORED_NS)
			drop_conn(t, index);
	} else if (!c->watch && (t->doubted || now_ns > last_ns + STALE_NS)) {
		if (poll_one(t, index, now_ns) == POLL_AGAIN)
			watch(t, c, index);
	}
}

void conn_tick(struct conn_table *t, uint64_t now_ns)
{
	uint32_t i = t->n_watched;

	/*
	 * From the end: unwatch() fills a gap with the last one, which was
	 * polled already.
	 */
	while (i > 0) {
		uint32_t index = t->watched[--i] - 1;

		if (poll_one(t, index, now_ns) == POLL_IDLE)
			unwatch(t, slot(t, index));
	}
	for (i = 0; i < SWEEP_CONNS && i < t->slots.n; i++) {
		t->sweep = (t->sweep + 1) % t->slots.n;
		sweep_one(t, t->sweep, now_ns);
		if (t->doubted)
			t->doubted--;
	}
}

void conn_doubt(struct conn_table *t)
{
	t->doubted =
		t->slots.max; /* not slots.n: new ones may be in the ring */
}

void conn_stats(const struct conn_table *t, struct conn_stats *out)
{
	const struct conn_engine *e = &t->engine;

	*out = e->stats;
	out->connections = t->slots.n_live;
	for (size_t i = 0; i < e->n_protos; i++)
		if (e->protos[i]->stats)
			e->protos[i]->stats(e->shared[i], out);
}
