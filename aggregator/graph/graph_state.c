/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/graph/graph_state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS_MIN 1024u

int graph_new(struct graph **out, const struct graph_options *opt)
{
	struct graph *g = calloc(1, sizeof(*g));

	if (!g)
		return -ENOMEM;
	g->opt = *opt;
	if (!g->opt.wait_us)
		g->opt.wait_us = GRAPH_WAIT_US;
	if (!g->opt.skew_us)
		g->opt.skew_us = GRAPH_SKEW_US;
	if (!g->opt.max_waiting)
		g->opt.max_waiting = GRAPH_WAITING;
	g->n_sides = g->n_links = 1;
	g->n_buckets = BUCKETS_MIN;
	g->bucket = calloc(g->n_buckets, sizeof(*g->bucket));
	if (!g->bucket || graph_names_new(&g->names, opt->intern) < 0) {
		graph_free(g);
		return -ENOMEM;
	}
	*out = g;
	return 0;
}

void graph_free(struct graph *g)
{
	if (!g)
		return;
	graph_names_free(g->names);
	free(g->side);
	free(g->link);
	free(g->bucket);
	free(g->row);
	free(g->of);
	free(g->stream);
	free(g);
}

void graph_stats(const struct graph *g, struct graph_stats *out)
{
	*out = g->stats;
}

/* Returns a new entry at the end of a pool. 0: out of memory. */
static uint32_t take_entry(void **pool, uint32_t *n, uint32_t *cap, size_t size)
{
	if (*n >= *cap) {
		uint32_t more = *cap ? 2 * *cap : 256;
		void *p = realloc(*pool, more * size);

		if (!p)
			return 0;
		*pool = p;
		*cap = more;
	}
	return (*n)++;
}

/* --- connections --- */

uint32_t graph_find_link(const struct graph *g, const struct graph_key *key,
			 uint64_t hash)
{
	uint32_t i = g->bucket[hash & (g->n_buckets - 1)];

	while (i && (g->link[i].hash != hash ||
		     memcmp(&g->link[i].key, key, sizeof(*key)) != 0))
		i = g->link[i].chain;
	return i;
}

static int more_buckets(struct graph *g)
{
	uint32_t n = 2 * g->n_buckets;
	uint32_t *bucket = calloc(n, sizeof(*bucket));

	if (!bucket)
		return -ENOMEM;
	for (uint32_t b = 0; b < g->n_buckets; b++)
		for (uint32_t i = g->bucket[b], next; i; i = next) {
			uint32_t *to = &bucket[g->link[i].hash & (n - 1)];

			next = g->link[i].chain;
			g->link[i].chain = *to;
			*to = i;
		}
	free(g->bucket);
	g->bucket = bucket;
	g->n_buckets = n;
	return 0;
}

int graph_add_link(struct graph *g, const struct graph_key *key, uint64_t hash,
		   uint32_t *out)
{
	uint32_t i = g->free_link, *bucket;
	void *pool = g->link;

	if (g->live_links >= g->n_buckets && more_buckets(g) < 0)
		return -ENOMEM;
	if (i) {
		g->free_link = g->link[i].chain;
	} else {
		i = take_entry(&pool, &g->n_links, &g->link_cap,
			       sizeof(*g->link));
		g->link = pool;
		if (!i)
			return -ENOMEM;
	}
	bucket = &g->bucket[hash & (g->n_buckets - 1)];
	g->link[i] = (struct graph_link){ .key = *key,
					  .hash = hash,
					  .chain = *bucket };
	*bucket = i;
	g->live_links++;
	*out = i;
	return 0;
}

void graph_tidy_link(struct graph *g, uint32_t i)
{
	struct graph_link *l = &g->link[i];
	uint32_t *at;

	if (l->first[GRAPH_CLIENT] || l->first[GRAPH_SERVER] ||
	    l->stamp == g->stamp)
		return;
	at = &g->bucket[l->hash & (g->n_buckets - 1)];
	while (*at != i)
		at = &g->link[*at].chain;
	*at = l->chain;
	l->chain = g->free_link;
	g->free_link = i;
	g->live_links--;
}

/* --- sides --- */

int graph_add_side(struct graph *g, const struct graph_side *s)
{
	uint32_t i = g->free_side;
	struct graph_link *l = &g->link[s->link];
	struct graph_side *to;
	void *pool = g->side;

	if (i) {
		g->free_side = g->side[i].newer;
	} else {
		i = take_entry(&pool, &g->n_sides, &g->side_cap,
			       sizeof(*g->side));
		g->side = pool;
		if (!i)
			return -ENOMEM;
	}
	to = &g->side[i];
	*to = *s;
	to->next = to->newer = 0;
	to->before = l->last[s->role];
	*(to->before ? &g->side[to->before].next : &l->first[s->role]) = i;
	l->last[s->role] = i;
	to->older = g->newest;
	*(to->older ? &g->side[to->older].newer : &g->oldest) = i;
	g->newest = i;
	g->stats.waiting++;
	return 0;
}

void graph_drop_side(struct graph *g, uint32_t i)
{
	struct graph_side *s = &g->side[i];
	struct graph_link *l = &g->link[s->link];

	*(s->before ? &g->side[s->before].next : &l->first[s->role]) = s->next;
	*(s->next ? &g->side[s->next].before : &l->last[s->role]) = s->before;
	*(s->older ? &g->side[s->older].newer : &g->oldest) = s->newer;
	*(s->newer ? &g->side[s->newer].older : &g->newest) = s->older;
	s->newer = g->free_side;
	g->free_side = i;
	g->stats.waiting--;
}
