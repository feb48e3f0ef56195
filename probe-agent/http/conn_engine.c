/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/http/conn_engine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "probe-agent/http/pending.h"

int conn_engine_init(struct conn_engine *e)
{
	int err = 0;

	e->protos = e->opt.protos ? e->opt.protos : http_protos;
	while (e->protos[e->n_protos])
		if (++e->n_protos > HTTP_PROTO_MAX)
			return -EINVAL;
	if (!e->n_protos)
		return -EINVAL;
	for (size_t i = 0; i < e->n_protos && !err; i++)
		if (e->protos[i]->open)
			err = e->protos[i]->open(e, &e->shared[i]);
	return err;
}

void conn_engine_fini(struct conn_engine *e)
{
	for (size_t i = 0; i < e->n_protos; i++)
		if (e->protos[i]->shut)
			e->protos[i]->shut(e, e->shared[i]);
	pending_free_spares(e);
}

void *conn_alloc(struct conn_engine *e, size_t size)
{
	void *p;

	if (size > e->max_bytes - e->used_bytes)
		return NULL;
	p = malloc(size);
	if (p)
		e->used_bytes += size;
	return p;
}

void conn_release(struct conn_engine *e, void *p, size_t size)
{
	e->used_bytes -= size;
	free(p);
}

void conn_count_tunnel(struct conn_engine *e, const struct conn_tunnel *t)
{
	struct conn_tunnel_stats *s = &e->stats.tunnels[t->protocol];

	s->n++;
	if (t->end_ns > t->start_ns)
		s->us += (t->end_ns - t->start_ns) / 1000;
	s->request_bytes += t->request_bytes;
	s->response_bytes += t->response_bytes;
}

void conn_report(struct conn_engine *e, const struct exchange *x)
{
	e->stats.exchanges++;
	if (e->opt.exchange)
		e->opt.exchange(e->opt.arg, x);
}

void conn_fini(struct conn_engine *e, struct conn *c, uint64_t *lost)
{
	*lost += e->protos[c->proto]->fini(e, c);
}

void conn_ignore(struct conn_engine *e, struct conn *c)
{
	conn_fini(e, c, &e->stats.lost_gap);
	c->ignored = true;
	if (e->opt.source.ignore)
		e->opt.source.ignore(e->opt.source.arg, c->sock, c->born_ns,
				     true);
}

void conn_back_off(struct conn_engine *e, struct conn *c)
{
	conn_fini(e, c, &e->stats.lost_gap);
	c->role = 0;
	if (conn_begin(e, c, c->proto, NULL) || !e->opt.source.ignore)
		return;
	e->opt.source.ignore(e->opt.source.arg, c->sock, c->born_ns, false);
}

int conn_begin(struct conn_engine *e, struct conn *c, size_t proto,
	       const struct exchange *asked)
{
	int err;

	memset(c + 1, 0, HTTP_PROTO_CONN_BYTES - sizeof(*c));
	c->proto = (uint8_t)proto;
	c->certain = false;
	err = e->protos[proto]->init(e, c, asked);
	if (err)
		conn_ignore(e, c);
	return err;
}

int conn_switch(struct conn_engine *e, struct conn *c,
		const struct http_proto *to, const struct exchange *asked)
{
	for (size_t i = 0; i < e->n_protos; i++) {
		if (e->protos[i] != to)
			continue;
		conn_fini(e, c, &e->stats.lost_gap);
		return conn_begin(e, c, i, asked);
	}
	return -ENOENT;
}

bool conn_claim(struct conn_engine *e, struct conn *c,
		const struct tap_rec_data *r)
{
	for (size_t i = 0; i < c->proto; i++) {
		const struct http_proto *p = e->protos[i];

		if (p->claims && p->claims(c, r))
			return !conn_switch(e, c, p, NULL);
	}
	return true;
}
