/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Encodes the waiting sides: version 2, event time, four counters, the number
 * of sides, then these, the oldest first. Numbers are varints. A name is 1 more
 * than its length and its bytes, or 0 for none.
 *
 *   role | failed << 1   start   duration   due   evidence   node
 *   name   peer   client (18 bytes)   server (18 bytes)   scope   stream
 *
 * Version 1 has no stream.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/graph/graph_state.h"
#include "common/varint.h"

#define VERSION 2u

static void put_name(struct buf *out, const struct graph_name *n)
{
	varint_put(out, n ? n->label.len + 1 : 0);
	if (n)
		buf_append(out, n->text, n->label.len);
}

static void put_side(const struct graph *g, struct buf *out,
		     const struct graph_side *s)
{
	const struct graph_key *key = &g->link[s->link].key;

	varint_put(out, s->role | (uint64_t)s->failed << 1);
	varint_put(out, (uint64_t)s->start_us);
	varint_put(out, (uint64_t)(s->end_us - s->start_us));
	varint_put(out, (uint64_t)s->due_us);
	varint_put(out, s->evidence);
	varint_put(out, s->node);
	put_name(out, s->name);
	put_name(out, s->peer);
	buf_append(out, key->client, GRAPH_END_BYTES);
	buf_append(out, key->server, GRAPH_END_BYTES);
	varint_put(out, key->scope);
	varint_put(out, key->stream);
}

int graph_save(const struct graph *g, struct buf *out)
{
	varint_put(out, VERSION);
	varint_put(out, (uint64_t)g->now_us);
	varint_put(out, g->stats.joined);
	varint_put(out, g->stats.expired);
	varint_put(out, g->stats.evicted);
	varint_put(out, g->stats.clamped_us);
	varint_put(out, g->stats.waiting);
	for (uint32_t i = g->oldest; i; i = g->side[i].newer)
		put_side(g, out, &g->side[i]);
	return out->err;
}

/* Sets *out to the name with a reference, or to NULL if none was stored. */
static int get_name(struct graph *g, struct varint_reader *r,
		    struct graph_name **out)
{
	uint64_t len = varint_get(r);
	struct series_label l;

	*out = NULL;
	if (r->bad || len == 0)
		return 0;
	len--;
	if (len > (size_t)(r->end - r->at))
		return -EUCLEAN;
	l = (struct series_label){ .data = (const char *)r->at, .len = len };
	l.hash = intern_hash(g->opt.intern, l.data, l.len);
	r->at += len;
	*out = graph_names_hold(g->names, &l);
	return *out ? 0 : -ENOMEM;
}

static int get_key(struct varint_reader *r, bool streams, struct graph_key *key)
{
	if ((size_t)(r->end - r->at) < sizeof(key->client) * 2)
		return -EUCLEAN;
	memset(key, 0, sizeof(*key));
	memcpy(key->client, r->at, GRAPH_END_BYTES);
	memcpy(key->server, r->at + GRAPH_END_BYTES, GRAPH_END_BYTES);
	r->at += sizeof(key->client) * 2;
	key->scope = varint_get(r);
	key->stream = streams ? (uint32_t)varint_get(r) : 0;
	return 0;
}

static int get_side(struct graph *g, struct varint_reader *r, bool streams)
{
	struct graph_side s = { 0 };
	struct graph_key key;
	uint64_t flags = varint_get(r), hash;
	int err;

	s.role = flags & 1;
	s.failed = flags >> 1 & 1;
	s.start_us = (int64_t)varint_get(r);
	s.end_us = s.start_us + (int64_t)varint_get(r);
	s.due_us = (int64_t)varint_get(r);
	s.evidence = (uint32_t)varint_get(r);
	s.node = (uint32_t)varint_get(r);
	err = get_name(g, r, &s.name);
	if (!err)
		err = get_name(g, r, &s.peer);
	if (!err)
		err = get_key(r, streams, &key);
	if (!err && (r->bad || !s.name))
		err = -EUCLEAN;
	if (err < 0)
		return err;
	hash = intern_hash(g->opt.intern, (const char *)&key, sizeof(key));
	s.link = graph_find_link(g, &key, hash);
	if (!s.link)
		err = graph_add_link(g, &key, hash, &s.link);
	return err < 0 ? err : graph_add_side(g, &s);
}

int graph_load(struct graph *g, const void *data, size_t len)
{
	struct varint_reader r = { .at = data, .end = NULL };
	uint64_t n, version;
	int err = 0;

	r.end = r.at + len;
	version = varint_get(&r);
	if (version != 1 && version != VERSION)
		return -EUCLEAN;
	g->now_us = (int64_t)varint_get(&r);
	g->stats.joined = varint_get(&r);
	g->stats.expired = varint_get(&r);
	g->stats.evicted = varint_get(&r);
	g->stats.clamped_us = varint_get(&r);
	n = varint_get(&r);
	for (uint64_t i = 0; i < n && !err; i++)
		err = get_side(g, &r, version > 1);
	return !err && (r.bad || r.at != r.end) ? -EUCLEAN : err;
}
