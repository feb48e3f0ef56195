/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_VIEWS_VIEW_SET_H
#define AGGREGATOR_VIEWS_VIEW_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aggregator/views/views.h"

/*
 * The default views, and those that compat adds, with the changes of a
 * configuration. An entry with the name
 * of a default view is a copy of that view with the entry's settings changed;
 * an entry with another name is a new view.
 */

/* One entry of the configuration. NULL, 0: not set. Enums are value + 1. */
struct view_entry {
	char *name;
	char *help;
	int measure; /* enum view_source + 1 */
	int kind; /* enum view_kind + 1 */
	int *labels; /* enum view_key + 1 */
	unsigned n_labels;
	double *buckets; /* in seconds or bytes */
	unsigned n_buckets;
	bool node; /* append the label node */
	bool drop; /* remove this default view */
	uint64_t max_series;
	struct view_entry_values {
		int label; /* enum view_key + 1 */
		uint64_t max;
	} * max_values;
	unsigned n_max_values;
	struct {
		int *roles; /* 1: server, 2: client */
		unsigned n_roles;
		bool errors_only;
		int calls; /* enum view_calls + 1 */
		char **job, **service, **method, **route, **status; /* globs */
		unsigned n_job, n_service, n_method, n_route, n_status;
	} filter;
};

/*
 * Sets *out, released by view_set_free(). Copies the entries. -EINVAL: why[]
 * names the view and the problem. -ENOMEM.
 */
struct view_set;
int view_set_new(struct view_set **out, enum view_compat compat,
		 const struct view_entry *entry, size_t n, char *why,
		 size_t why_size);
void view_set_free(struct view_set *s); /* NULL is fine */
const struct views *view_set_views(const struct view_set *s);

/* Whether both have the same views in the same order. */
bool view_set_same(const struct view_set *a, const struct view_set *b);

#endif /* AGGREGATOR_VIEWS_VIEW_SET_H */
