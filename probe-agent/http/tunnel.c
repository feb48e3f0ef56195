/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/http/tunnel.h"

#include <assert.h>

struct tunnel {
	struct conn c;
	struct tunnel_begin begin;
};
static_assert(sizeof(struct tunnel) <= HTTP_PROTO_CONN_BYTES,
	      "what an idle connection costs");

/* c is the first member of a slot that is large enough. */
static struct tunnel *tunnel_of(struct conn *c)
{
	return (struct tunnel *)c;
}

void tunnel_begin(struct conn_engine *e, struct conn *c,
		  const struct tunnel_begin *begin)
{
	const struct conn_source *s = &e->opt.source;

	if (conn_switch(e, c, &tunnel_proto, NULL)) {
		conn_ignore(e, c);
		return;
	}
	tunnel_of(c)->begin = *begin;
	if (s->tunnel)
		s->tunnel(s->arg, c->sock, c->born_ns);
}

static int begin_plain(struct conn_engine *e, struct conn *c,
		       const struct exchange *asked)
{
	(void)e;
	(void)asked;
	c->certain = true;
	return 0;
}

/* Records that were made before the kernel side knew. */
static bool pass_data(struct conn_engine *e, struct conn *c,
		      const struct tap_rec_data *r)
{
	struct conn_moved *m = &c->moved[r->rec.dir];
	uint64_t end = conn_extend(m->seen, r->pos + r->call_len);

	(void)e;
	if (end > m->seen)
		m->seen = end;
	return false;
}

static bool pass_end(struct conn_engine *e, struct conn *c, int dir,
		     const struct tap_rec_place *answers, uint64_t time_ns)
{
	(void)e;
	(void)c;
	(void)dir;
	(void)answers;
	(void)time_ns;
	return false;
}

static bool pass_poll(struct conn_engine *e, struct conn *c,
		      const struct tap_rec_progress *now,
		      const struct tap_rec_place *answers, uint64_t now_ns)
{
	(void)e;
	(void)c;
	(void)now;
	(void)answers;
	(void)now_ns;
	return false;
}

static uint64_t bytes_of(const struct tunnel *t, int dir)
{
	uint64_t seen = t->c.moved[dir].seen, from = t->begin.from[dir];

	return seen > from ? seen - from : 0;
}

static void count(struct conn_engine *e, const struct tunnel *t,
		  uint64_t end_ns)
{
	int asks = conn_request_dir(&t->c);

	conn_count_tunnel(e, &(struct conn_tunnel){
				     .protocol = t->begin.protocol,
				     .start_ns = t->begin.start_ns,
				     .end_ns = end_ns,
				     .request_bytes = bytes_of(t, asks),
				     .response_bytes = bytes_of(t, !asks),
			     });
}

static void count_close(struct conn_engine *e, struct conn *c,
			enum outcome outcome,
			const struct tap_rec_place *answers, uint64_t time_ns)
{
	(void)outcome;
	(void)answers;
	count(e, tunnel_of(c), time_ns);
}

static void count_vanished(struct conn_engine *e, struct conn *c)
{
	const struct conn_moved *m = c->moved;
	uint64_t rx_ns = m[TAP_RX].seen_ns, tx_ns = m[TAP_TX].seen_ns;

	count(e, tunnel_of(c), rx_ns > tx_ns ? rx_ns : tx_ns);
}

static size_t forget(struct conn_engine *e, struct conn *c)
{
	(void)e;
	(void)c;
	return 0;
}

const struct http_proto tunnel_proto = {
	.name = "tunnel",
	.init = begin_plain,
	.data = pass_data,
	.end = pass_end,
	.poll = pass_poll,
	.close = count_close,
	.vanish = count_vanished,
	.fini = forget,
};
