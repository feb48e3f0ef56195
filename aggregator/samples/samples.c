/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/samples/samples.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/samples/samples_state.h"

#define FAMILIES_DEFAULT 200u
#define SERIES_DEFAULT 10000u
#define NODES_DEFAULT 65536u
#define HANDOVER_US_DEFAULT (UINT64_C(3600) * 1000000)

int samples_new(struct samples **out, const struct samples_options *opt)
{
	struct samples *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->opt = *opt;
	if (!s->opt.max_families)
		s->opt.max_families = FAMILIES_DEFAULT;
	if (!s->opt.max_series)
		s->opt.max_series = SERIES_DEFAULT;
	if (!s->opt.max_nodes)
		s->opt.max_nodes = NODES_DEFAULT;
	if (!s->opt.handover_us)
		s->opt.handover_us = HANDOVER_US_DEFAULT;
	pthread_mutex_init(&s->order_mutex, NULL);
	if (intern_new(&s->intern) != 0) {
		samples_free(s);
		return -ENOMEM;
	}
	*out = s;
	return 0;
}

static void free_node(struct samples_node *n)
{
	for (size_t i = 0; i < n->n_programs; i++)
		free(n->program[i].reason);
	free(n->program);
	free(n->map);
}

void samples_free(struct samples *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->n_families; i++)
		samples_family_free(s->family[i]);
	for (size_t i = 0; i < s->n_gone; i++)
		samples_family_free(s->gone[i]);
	for (size_t i = 0; i < s->n_nodes; i++)
		free_node(&s->node[i]);
	free(s->family);
	free(s->gone);
	free(s->node);
	free(s->node_table);
	free(s->written);
	free(s->hash);
	free(s->known);
	buf_fini(&s->blob);
	intern_free(s->intern);
	pthread_mutex_destroy(&s->order_mutex);
	free(s);
}

const struct interned *samples_intern(struct samples *s, const char *text,
				      size_t len)
{
	return intern_add(s->intern, text, len,
			  intern_hash(s->intern, text, len));
}

uint64_t samples_count(const struct samples *s)
{
	uint64_t n = 0;

	for (size_t i = 0; i < s->n_families; i++)
		if (s->family[i])
			n += s->family[i]->n_granted;
	return n;
}

/* --- nodes --- */

static int grow_node_table(struct samples *s)
{
	size_t cap = s->node_cap ? 2 * s->node_cap : 64;
	uint32_t *table = calloc(cap, sizeof(*table));

	if (!table)
		return -ENOMEM;
	for (size_t i = 0; i < s->n_nodes; i++) {
		size_t at = s->node[i].name->hash & (cap - 1);

		while (table[at])
			at = (at + 1) & (cap - 1);
		table[at] = (uint32_t)i + 1;
	}
	free(s->node_table);
	s->node_table = table;
	s->node_cap = cap;
	return 0;
}

static int add_node(struct samples *s, const struct interned *name)
{
	if (s->n_nodes == s->opt.max_nodes)
		return -ENOSPC;
	if (s->n_nodes == s->cap_nodes) {
		size_t cap = s->cap_nodes ? 2 * s->cap_nodes : 16;
		void *p = reallocarray(s->node, cap, sizeof(*s->node));

		if (!p)
			return -ENOMEM;
		s->node = p;
		s->cap_nodes = cap;
	}
	s->node[s->n_nodes] = (struct samples_node){ .name = name };
	return 0;
}

int64_t samples_node_find(struct samples *s, const char *name)
{
	const struct interned *interned = samples_intern(s, name, strlen(name));
	size_t at;
	int err;

	if (!interned)
		return -ENOMEM;
	if (2 * (s->n_nodes + 1) > s->node_cap && grow_node_table(s) < 0)
		return -ENOMEM;
	at = interned->hash & (s->node_cap - 1);
	for (; s->node_table[at]; at = (at + 1) & (s->node_cap - 1))
		if (s->node[s->node_table[at] - 1].name == interned)
			return s->node_table[at] - 1;
	err = add_node(s, interned);
	if (err < 0)
		return err;
	s->node_table[at] = (uint32_t)++s->n_nodes;
	return (int64_t)s->n_nodes - 1;
}

void samples_sweep(struct samples *s)
{
	size_t kept = 0;

	for (size_t i = 0; i < s->n_gone; i++)
		if (s->gone[i]->dirty) /* its rows are still to be dropped */
			s->gone[kept++] = s->gone[i];
		else
			samples_family_free(s->gone[i]);
	s->n_gone = kept;
}
