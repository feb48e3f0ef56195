/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_FOLD_VIEW_SET_H
#define AGGREGATOR_FOLD_VIEW_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aggregator/fold/views.h"

/*
 * The default views as a configuration changes them. An entry with the name of
 * a default one begins as that and changes what it says; one with another name
 * is a new view.
 */

/* One entry, as written; NULL, 0: not said. Enums are their value + 1. */
struct view_entry {
	char *name;
	char *help;
	int measure; /* enum view_source + 1 */
	int kind; /* enum view_kind + 1 */
	int *labels; /* enum view_key + 1 */
	unsigned n_labels;
	double *buckets; /* in seconds or bytes */
	unsigned n_buckets;
	bool node; /* has the label node, last */
	bool drop; /* not this one */
	uint64_t max_series;
	struct view_entry_values {
		int label; /* enum view_key + 1 */
		uint64_t max;
	} * max_values;
	unsigned n_max_values;
	struct {
		int *roles; /* 1 server, 2 client */
		unsigned n_roles;
		bool errors_only;
		char **job, **service, **method, **route, **status; /* globs */
		unsigned n_job, n_service, n_method, n_route, n_status;
	} filter;
};

/*
 * Sets *out, released by view_set_free(); entries are copied. -EINVAL: why[]
 * says what is wrong with which; -ENOMEM.
 */
struct view_set;
int view_set_new(struct view_set **out, const struct view_entry *entry,
		 size_t n, char *why, size_t why_size);
void view_set_free(struct view_set *s); /* NULL is fine */
const struct views *view_set_views(const struct view_set *s);

/* Whether both make the same of every log. */
bool view_set_same(const struct view_set *a, const struct view_set *b);

#endif /* AGGREGATOR_FOLD_VIEW_SET_H */
