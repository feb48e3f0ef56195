/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/http/h2_conn.h"

#include <assert.h>
#include <errno.h>

#include "probe-agent/http/conn_engine.h"
#include "probe-agent/http/h1_conn.h"
#include "probe-agent/http/h2.h"

struct h2_conn {
	struct conn c;
	struct conn_engine *engine;
	struct h2 *h; /* NULL before the first record */
};
static_assert(sizeof(struct h2_conn) <= HTTP_PROTO_CONN_BYTES,
	      "what an idle connection costs");

static_assert((int)CONN_TUNNEL_CONNECT == H2_TUNNEL_CONNECT &&
		      (int)CONN_TUNNEL_WEBSOCKET == H2_TUNNEL_WEBSOCKET &&
		      (int)CONN_TUNNEL_OTHER == H2_TUNNEL_OTHER,
	      "the same protocols");

#define HTTP_VERSION_2 20

/* c is the first member of a slot that is large enough. */
static struct h2_conn *h2_of(struct conn *c)
{
	return (struct h2_conn *)c;
}

static void learn_role(struct conn *c, const struct h2 *h)
{
	int dir = h2_request_dir(h);

	if (dir >= 0)
		c->role = dir == TAP_RX ? ROLE_SERVER : ROLE_CLIENT;
	c->certain = h2_is_proved(h);
}

/* --- what h2.h reports --- */

static void on_exchange(void *owner, const struct h2_exchange *from)
{
	struct h2_conn *hc = owner;
	struct exchange x = {
		.end = &hc->c.end,
		.outcome = from->outcome,
		.tls = hc->c.tls,
		.version = HTTP_VERSION_2,
		.status = from->status,
		.rpc = (uint8_t)from->rpc,
		.rpc_status = from->rpc_status,
		.stream = from->stream,
		.method = from->method,
		.target = from->target,
		.target_cut = from->target_cut,
		.host = from->host,
		.traceparent = from->traceparent,
		.start_ns = from->start_ns,
		.first_byte_ns = from->first_byte_ns,
		.end_ns = from->end_ns,
		.request_bytes = from->request_bytes,
		.response_bytes = from->response_bytes,
	};

	learn_role(&hc->c, hc->h);
	x.role = (enum role)hc->c.role;
	conn_report(hc->engine, &x);
}

static void on_tunnel(void *owner, const struct h2_tunnel *t)
{
	struct h2_conn *hc = owner;

	conn_count_tunnel(
		hc->engine,
		&(struct conn_tunnel){
			.protocol = (enum conn_tunnel_protocol)t->protocol,
			.start_ns = t->start_ns,
			.end_ns = t->end_ns,
			.request_bytes = t->request_bytes,
			.response_bytes = t->response_bytes,
		});
}

/* --- shared state --- */

static int open_env(struct conn_engine *e, void **shared)
{
	const struct h2_options opt = { .exchange = on_exchange,
					.tunnel = on_tunnel };
	struct h2_env *env;
	int err;

	(void)e;
	err = h2_env_new(&env, &opt);
	*shared = env;
	return err;
}

static void shut_env(struct conn_engine *e, void *shared)
{
	(void)e;
	h2_env_free(shared);
}

static void add_stats(const void *shared, struct conn_stats *out)
{
	struct h2_stats s;

	h2_env_stats(shared, &s);
	out->h2 = s;
	out->upgraded += s.tunnels;
	out->malformed += s.malformed;
	out->orphans += s.orphans;
	out->lost_gap += s.lost_gap;
	out->lost_buffer += s.lost_buffer;
}

/* --- the life of a connection --- */

static bool is_claimed(const struct conn *c, const struct tap_rec_data *r)
{
	(void)c;
	return r->rec.flags & TAP_F_H2;
}

static int start_h2(struct conn_engine *e, struct h2_conn *hc,
		    enum h2_start how, int request_dir)
{
	hc->engine = e;
	return h2_new(&hc->h, e->shared[hc->c.proto], how, request_dir, hc);
}

static int begin(struct conn_engine *e, struct conn *c,
		 const struct exchange *asked)
{
	struct h2_conn *hc = h2_of(c);
	int err;

	if (!asked)
		return 0; /* its first record says more */
	err = start_h2(e, hc, H2_START_UPGRADED, conn_request_dir(c));
	if (err)
		return err;
	c->certain = true;
	h2_upgrade(hc->h, &(struct h2_exchange){
				  .method = asked->method,
				  .target = asked->target,
				  .target_cut = asked->target_cut,
				  .host = asked->host,
				  .traceparent = asked->traceparent,
				  .start_ns = asked->start_ns,
				  .request_bytes = asked->request_bytes,
			  });
	return 0;
}

static size_t finish(struct conn_engine *e, struct conn *c)
{
	struct h2_conn *hc = h2_of(c);
	size_t n;

	(void)e;
	if (!hc->h)
		return 0;
	n = h2_is_proved(hc->h) ? h2_open_streams(hc->h) : 0;
	h2_free(hc->h);
	hc->h = NULL;
	return n;
}

/* --- records --- */

static void begin_by(struct conn_engine *e, struct h2_conn *hc,
		     const struct tap_rec_data *r)
{
	bool opened = r->rec.flags & TAP_F_H2_OPENED;
	bool requests = r->rec.flags & TAP_F_H2_REQUESTS;

	/* Without memory it is ignored: see conn_switch(). */
	if (start_h2(e, hc, opened ? H2_START_PREFACE : H2_START_JOINED,
		     requests ? r->rec.dir : !r->rec.dir))
		conn_ignore(e, &hc->c);
}

/*
 * The kernel side took the connection for HTTP/2, and then did not: what comes
 * now is for HTTP/1.
 */
static bool take_back(struct conn_engine *e, struct conn *c,
		      const struct tap_rec_data *r)
{
	c->role = 0;
	if (conn_switch(e, c, &h1_proto, NULL))
		return false;
	return h1_proto.data(e, c, r);
}

static void advance_to(struct conn_moved *m, uint32_t seq, uint64_t ns)
{
	uint64_t seen = conn_extend(m->seen, seq);

	if (seen <= m->seen)
		return;
	m->seen = seen;
	m->seen_ns = ns;
}

static bool take_data(struct conn_engine *e, struct conn *c,
		      const struct tap_rec_data *r)
{
	const struct tap_rec_h2 *x = (const struct tap_rec_h2 *)r;
	struct h2_conn *hc = h2_of(c);
	const struct tap_rec_progress *done = &r->rec.done;
	int dir = r->rec.dir;
	const struct h2_piece p = {
		.dir = dir,
		.pos = x->pos,
		.left = x->place & 0xffffff,
		.have = (uint8_t)(x->place >> 24),
		.seq = x->seq,
		.data = x->data,
		.len = x->len,
		.rest = x->call_len - x->len,
		.other_pos = dir == TAP_RX ? done->tx_seq : done->rx_seq,
		.first_ns = x->first_ns,
		.last_ns = x->last_ns,
	};

	if (!(r->rec.flags & TAP_F_H2))
		return c->certain ? false : take_back(e, c, r);
	c->tls |= !!(r->rec.flags & TAP_F_TLS);
	if (!hc->h)
		begin_by(e, hc, r);
	if (!hc->h)
		return false;
	advance_to(&c->moved[dir], x->pos + x->call_len, x->last_ns);
	if (h2_data(hc->h, &p))
		conn_ignore(e, c);
	else
		learn_role(c, hc->h);
	return false;
}

/* How far both directions are, and their last records. */
static void settle(struct h2_conn *hc, const struct tap_rec_place *last)
{
	for (int dir = TAP_RX; dir <= TAP_TX; dir++) {
		const struct conn_moved *m = &hc->c.moved[dir];

		h2_moved(hc->h, dir, (uint32_t)m->seen, last->h2_seq[dir],
			 m->seen_ns);
	}
}

static bool take_end(struct conn_engine *e, struct conn *c, int dir,
		     const struct tap_rec_place *last, uint64_t time_ns)
{
	struct h2_conn *hc = h2_of(c);

	(void)e;
	if (!hc->h)
		return false;
	settle(hc, last);
	h2_end(hc->h, dir, time_ns);
	return false;
}

/* Frames that end something make a record, so that nothing is polled for. */
static bool take_poll(struct conn_engine *e, struct conn *c,
		      const struct tap_rec_progress *now,
		      const struct tap_rec_place *last, uint64_t now_ns)
{
	(void)e;
	(void)c;
	(void)now;
	(void)last;
	(void)now_ns;
	return false;
}

static void take_close(struct conn_engine *e, struct conn *c,
		       enum outcome outcome, const struct tap_rec_place *last,
		       uint64_t time_ns)
{
	struct h2_conn *hc = h2_of(c);

	(void)e;
	if (!hc->h)
		return;
	settle(hc, last);
	h2_close(hc->h, outcome, time_ns);
}

static void take_vanish(struct conn_engine *e, struct conn *c)
{
	(void)e;
	if (h2_of(c)->h)
		h2_vanish(h2_of(c)->h);
}

const struct http_proto h2_proto = {
	.name = "http/2",
	.open = open_env,
	.shut = shut_env,
	.stats = add_stats,
	.claims = is_claimed,
	.init = begin,
	.data = take_data,
	.end = take_end,
	.poll = take_poll,
	.close = take_close,
	.vanish = take_vanish,
	.fini = finish,
};
