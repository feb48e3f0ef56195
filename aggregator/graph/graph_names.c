/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/graph/graph_names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CHAINS 16384u /* a power of two */

struct graph_names {
	const struct intern *intern;
	struct graph_name *chain[CHAINS];
	struct graph_name *other; /* "_OTHER" */
	uint32_t serial, n;
	size_t bytes;
};

static struct graph_name *make_name(struct graph_names *t,
				    const struct series_label *l)
{
	struct graph_name *n = malloc(sizeof(*n) + l->len + 1);

	if (!n)
		return NULL;
	memcpy(n->text, l->data, l->len);
	n->text[l->len] = '\0';
	n->label = (struct series_label){ n->text, l->len, l->hash, NULL };
	n->serial = ++t->serial;
	n->refs = 0;
	n->next = NULL;
	return n;
}

int graph_names_new(struct graph_names **out, const struct intern *intern)
{
	struct graph_names *t = calloc(1, sizeof(*t));
	struct series_label other = { .data = "_OTHER", .len = 6 };

	if (!t)
		return -ENOMEM;
	t->intern = intern;
	other.hash = intern_hash(intern, other.data, other.len);
	t->other = make_name(t, &other);
	if (!t->other) {
		free(t);
		return -ENOMEM;
	}
	*out = t;
	return 0;
}

void graph_names_free(struct graph_names *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < CHAINS; i++)
		while (t->chain[i]) {
			struct graph_name *n = t->chain[i];

			t->chain[i] = n->next;
			free(n);
		}
	free(t->other);
	free(t);
}

static bool no_room(const struct graph_names *t, size_t len)
{
	return t->n >= GRAPH_NAMES_MAX || t->bytes + len > GRAPH_NAMES_BYTES;
}

static void sweep(struct graph_names *t)
{
	for (size_t i = 0; i < CHAINS; i++)
		for (struct graph_name **at = &t->chain[i]; *at;) {
			struct graph_name *n = *at;

			if (n->refs) {
				at = &n->next;
				continue;
			}
			*at = n->next;
			t->n--;
			t->bytes -= n->label.len;
			free(n);
		}
}

struct graph_name *graph_names_hold(struct graph_names *t,
				    const struct series_label *label)
{
	struct graph_name **chain = &t->chain[label->hash & (CHAINS - 1)];
	struct graph_name *n;

	for (n = *chain; n; n = n->next)
		if (n->label.hash == label->hash &&
		    n->label.len == label->len &&
		    !memcmp(n->text, label->data, label->len))
			return graph_name_again(n);
	/* Only names in use count, so that a restart gives the same names. */
	if (no_room(t, label->len))
		sweep(t);
	if (no_room(t, label->len))
		return graph_name_again(t->other);
	n = make_name(t, label);
	if (!n)
		return NULL;
	n->next = *chain;
	*chain = n;
	t->n++;
	t->bytes += n->label.len;
	return graph_name_again(n);
}
