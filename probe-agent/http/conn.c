/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/http/conn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "probe-agent/http/stream.h"

/*
 * Connections live in slabs, which are kept until conn_free(), and are found by
 * a hash of the socket. A full table evicts by a clock hand: cheap for every
 * record, and close enough to "oldest idle".
 */

#define DEFAULT_CONNECTIONS 65536u
#define DEFAULT_BUFFER_BYTES (16u << 20)
#define DEFAULT_PIPELINED 1024u
#define DEFAULT_IDLE_NS 1000000000ull
#define SLAB_CONNS 256u
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
	struct stream_env env;
	struct conn **slabs;
	uint32_t n_slots; /* slots ever used; free ones are chained */
	uint32_t max;
	uint32_t n_live;
	uint32_t free; /* index + 1 of a free slot, by hash_next */
	uint32_t *buckets; /* index + 1 */
	unsigned shift; /* of the hash */
	uint32_t hand; /* where eviction looks next */
	uint32_t sweep; /* where the tick looks next */
	/* slots from sweep on that are checked even if not stale */
	uint32_t doubted;
	uint32_t *watched; /* index + 1 */
	uint32_t n_watched;
};

static struct conn *slot(const struct conn_table *t, uint32_t i)
{
	return &t->slabs[i / SLAB_CONNS][i % SLAB_CONNS];
}

static uint32_t *bucket_of(const struct conn_table *t, uint64_t sock)
{
	return &t->buckets[(sock >> 6) * 0x9e3779b97f4a7c15ull >> t->shift];
}

int conn_new(struct conn_table **out, const struct conn_options *opt)
{
	struct conn_table *t;
	unsigned bits = 4;

	if (opt->max_connections > UINT32_MAX / 2 || opt->max_pipelined > 65535)
		return -EINVAL;
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->env.opt = *opt;
	t->max = (uint32_t)opt->max_connections;
	if (!t->max)
		t->max = DEFAULT_CONNECTIONS;
	if (!t->env.opt.max_pipelined)
		t->env.opt.max_pipelined = DEFAULT_PIPELINED;
	if (!t->env.opt.idle_ns)
		t->env.opt.idle_ns = DEFAULT_IDLE_NS;
	t->env.max_bytes = opt->max_buffer_bytes ? opt->max_buffer_bytes
						 : DEFAULT_BUFFER_BYTES;
	if (!opt->max_buffer_bytes)
		t->env.max_bytes += (size_t)t->max * PENDING_ALLOWANCE_BYTES;
	while ((1u << bits) < t->max)
		bits++;
	t->shift = 64 - bits;
	t->buckets = calloc((size_t)1 << bits, sizeof(*t->buckets));
	t->slabs = calloc(t->max / SLAB_CONNS + 1, sizeof(struct conn *));
	t->watched = calloc(t->max, sizeof(*t->watched));
	if (!t->buckets || !t->slabs || !t->watched) {
		conn_free(t);
		return -ENOMEM;
	}
	*out = t;
	return 0;
}

void conn_free(struct conn_table *t)
{
	if (!t)
		return;
	for (uint32_t i = 0; i < t->n_slots; i++)
		stream_fini(&t->env, slot(t, i));
	for (uint32_t i = 0; t->slabs && i * SLAB_CONNS < t->n_slots; i++)
		free(t->slabs[i]);
	stream_env_fini(&t->env);
	free(t->slabs);
	free(t->buckets);
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

/* Index + 1; 0: not there. */
static uint32_t find_conn(const struct conn_table *t, uint64_t sock)
{
	uint32_t i = *bucket_of(t, sock);

	while (i && slot(t, i - 1)->sock != sock)
		i = slot(t, i - 1)->hash_next;
	return i;
}

/* The caller must have freed what the connection owns. */
static void drop_conn(struct conn_table *t, uint32_t index)
{
	struct conn *c = slot(t, index);
	uint32_t *link = bucket_of(t, c->sock);

	unwatch(t, c);
	while (*link != index + 1)
		link = &slot(t, *link - 1)->hash_next;
	*link = c->hash_next;
	memset(c, 0, sizeof(*c));
	c->hash_next = t->free;
	t->free = index + 1;
	t->n_live--;
}

/*
 * Makes room: evicts the first connection from the hand on that was idle for a
 * round.
 */
static void evict(struct conn_table *t)
{
	for (;;) {
		uint32_t i = t->hand;
		struct conn *c = slot(t, i);

		t->hand = (i + 1) % t->n_slots;
		if (c->used) {
			c->used = false;
			continue;
		}
		t->env.stats.lost_table += c->n_pending;
		stream_fini(&t->env, c);
		drop_conn(t, i);
		return;
	}
}

static int take_slot(struct conn_table *t, uint32_t *out)
{
	struct conn **slab;

	if (!t->free && t->n_slots == t->max)
		evict(t);
	if (t->free) {
		*out = t->free - 1;
		t->free = slot(t, *out)->hash_next;
		slot(t, *out)->hash_next = 0;
		return 0;
	}
	slab = &t->slabs[t->n_slots / SLAB_CONNS];
	if (!*slab)
		*slab = calloc(SLAB_CONNS, sizeof(**slab));
	if (!*slab)
		return -ENOMEM;
	*out = t->n_slots++;
	return 0;
}

/*
 * Finds the connection of rec, or creates it. -ENOMEM; -ESTALE: the connection
 * is over.
 */
static int lookup(struct conn_table *t, const struct tap_record *rec,
		  uint32_t *out)
{
	uint32_t i = find_conn(t, rec->sock);
	uint32_t *bucket;
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
		 * The socket's memory is in use again; the old connection's end
		 * was not seen.
		 */
		stream_vanish(&t->env, c);
		drop_conn(t, i - 1);
	}
	if (rec->type == TAP_CLOSE)
		return -ESTALE;
	err = take_slot(t, out);
	if (err)
		return err;
	c = slot(t, *out);
	c->sock = rec->sock;
	c->born_ns = rec->born_ns;
	c->end.tgid = rec->tgid;
	stream_init(c, &rec->done);
	bucket = bucket_of(t, rec->sock);
	c->hash_next = *bucket;
	*bucket = *out + 1;
	t->n_live++;
	return 0;
}

static void feed_open(struct conn_table *t, struct conn *c,
		      const struct tap_rec_open *o)
{
	const struct conn_options *opt = &t->env.opt;

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
		stream_init(c, &o->rec.done);
	} else if (!c->ignored) {
		c->unselected = true;
		stream_ignore(&t->env, c);
	}
}

/* Is the record complete and consistent? */
static bool is_sane(const struct tap_record *rec, size_t len)
{
	const struct tap_rec_data *data = (const void *)rec;

	if (len < sizeof(*rec) || ((uintptr_t)rec & 7) || rec->dir > TAP_TX ||
	    rec->sock == 0)
		return false;
	switch (rec->type) {
	case TAP_OPEN:
		return len >= sizeof(struct tap_rec_open);
	case TAP_DATA:
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

static void dispatch(struct conn_table *t, uint32_t index,
		     const struct tap_record *rec)
{
	struct conn *c = slot(t, index);
	const struct tap_rec_close *cl = (const void *)rec;
	const struct tap_end *e = (const void *)rec;

	c->used = true;
	c->gone = false;
	c->passed = 0;
	if (rec->type == TAP_CLOSE) {
		stream_progress(&t->env, c, &rec->done);
		stream_close(&t->env, c, cl->error, cl->last_bytes,
			     cl->time_ns);
		drop_conn(t, index);
		return;
	}
	if (rec->type == TAP_OPEN) {
		feed_open(t, c, (const void *)rec);
		return;
	}
	stream_progress(&t->env, c, &rec->done);
	if (c->ignored)
		return;
	if (rec->type == TAP_DATA)
		stream_data(&t->env, c, (const void *)rec);
	else
		stream_end(&t->env, c, rec->dir, e->last_bytes, e->time_ns);
	if (!c->watch && stream_wants_poll(c))
		watch(t, c, index);
}

int conn_feed(struct conn_table *t, const void *rec, size_t len)
{
	const struct tap_record *r = rec;
	uint32_t index;
	int err;

	if (!is_sane(r, len)) {
		t->env.stats.bad_records++;
		return -EPROTO;
	}
	err = lookup(t, r, &index);
	if (err == -ESTALE)
		return 0;
	if (err) {
		t->env.stats.lost_table++;
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

static int ask(struct conn_table *t, struct conn *c,
	       struct tap_rec_progress *out, uint64_t *last_bytes)
{
	const struct conn_options *opt = &t->env.opt;

	*last_bytes = 0;
	if (opt->progress)
		return opt->progress(opt->arg, c->sock, c->born_ns, out,
				     last_bytes);
	*out = (struct tap_rec_progress){
		.rx_seq = (uint32_t)c->dir[TAP_RX].seen,
		.tx_seq = (uint32_t)c->dir[TAP_TX].seen,
		.rx_ns = c->dir[TAP_RX].seen_ns,
		.tx_ns = c->dir[TAP_TX].seen_ns,
	};
	return 0;
}

/* True if the connection is still there. */
static bool poll_one(struct conn_table *t, uint32_t index, uint64_t now_ns)
{
	struct conn *c = slot(t, index);
	struct tap_rec_progress now;
	uint64_t last_bytes;
	int err = ask(t, c, &now, &last_bytes);

	if (err == -ENOENT) {
		if (!is_gone(c))
			return true;
		stream_vanish(&t->env, c);
		drop_conn(t, index);
		return false;
	}
	c->gone = false;
	if (!err)
		stream_poll(&t->env, c, &now, last_bytes, now_ns);
	return true;
}

static void sweep_one(struct conn_table *t, uint32_t index, uint64_t now_ns)
{
	struct conn *c = slot(t, index);
	uint64_t last_ns = c->dir[TAP_RX].seen_ns;

	if (!c->sock)
		return;
	if (c->dir[TAP_TX].seen_ns > last_ns)
		last_ns = c->dir[TAP_TX].seen_ns;
	if (c->born_ns > last_ns)
		last_ns = c->born_ns;
	if (c->ignored) {
		/*
		 * Without ignore() records keep coming; the entry stays so that
		 * they are recognised.
		 */
		if (t->env.opt.ignore && now_ns > last_ns + IGNORED_NS)
			drop_conn(t, index);
	} else if (!c->watch && (t->doubted || now_ns > last_ns + STALE_NS)) {
		if (poll_one(t, index, now_ns) && stream_wants_poll(c))
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

		if (poll_one(t, index, now_ns) &&
		    !stream_wants_poll(slot(t, index)))
			unwatch(t, slot(t, index));
	}
	for (i = 0; i < SWEEP_CONNS && i < t->n_slots; i++) {
		t->sweep = (t->sweep + 1) % t->n_slots;
		sweep_one(t, t->sweep, now_ns);
		if (t->doubted)
			t->doubted--;
	}
}

void conn_doubt(struct conn_table *t)
{
	t->doubted = t->max; /* not n_slots: new ones may be in the ring */
}

void conn_stats(const struct conn_table *t, struct conn_stats *out)
{
	*out = t->env.stats;
	out->connections = t->n_live;
}
