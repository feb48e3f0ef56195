/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "aggregator/config/config.h"

struct list {
	char *text;
	size_t size, len;
};

static void add_if(struct list *l, bool differs, const char *key)
{
	int n;

	if (!differs || l->len >= l->size)
		return;
	n = snprintf(l->text + l->len, l->size - l->len, "%s%s",
		     l->len ? ", " : "", key);
	l->len += n > 0 ? (size_t)n : 0;
}

static bool differ(const char *a, const char *b)
{
	return strcmp(a ? a : "", b ? b : "") != 0;
}

static bool lists_differ(char *const *a, unsigned n, char *const *b, unsigned m)
{
	if (n != m)
		return true;
	for (unsigned i = 0; i < n; i++)
		if (differ(a[i], b[i]))
			return true;
	return false;
}

/*
 * Both sets are valid, as they were loaded; only a lack of memory can keep them
 * from being built, and then they count as different.
 */
static bool views_differ(const struct aggregator_config *a,
			 const struct aggregator_config *b)
{
	struct view_set *x = NULL, *y = NULL;
	char why[256];
	bool same = false;

	if (view_set_new(&x, (enum view_compat)a->compat, a->views, a->n_views,
			 why, sizeof(why)) == 0 &&
	    view_set_new(&y, (enum view_compat)b->compat, b->views, b->n_views,
			 why, sizeof(why)) == 0)
		same = view_set_same(x, y);
	view_set_free(x);
	view_set_free(y);
	return !same;
}

void aggregator_config_needs_restart(const struct aggregator_config *now,
				     const struct aggregator_config *next,
				     char *what, size_t what_size)
{
	struct list l = { .text = what, .size = what_size };

	if (what_size)
		*what = 0;
	add_if(&l, differ(now->store.dir, next->store.dir), "store.dir");
	add_if(&l, now->store.commit_ms != next->store.commit_ms,
	       "store.commit_ms");
	add_if(&l, now->store.checkpoint_s != next->store.checkpoint_s,
	       "store.checkpoint_s");
	add_if(&l,
	       lists_differ(now->web.listen, now->web.listen_count,
			    next->web.listen, next->web.listen_count),
	       "web.listen");
	add_if(&l, differ(now->web.telemetry_path, next->web.telemetry_path),
	       "web.telemetry_path");
	add_if(&l, differ(now->web.config_file, next->web.config_file),
	       "web.config_file");
	add_if(&l,
	       (now->web.page == CONFIG_OFF) != (next->web.page == CONFIG_OFF),
	       "web.page");
	add_if(&l,
	       (now->web.tail == CONFIG_OFF) != (next->web.tail == CONFIG_OFF),
	       "web.tail");
	add_if(&l, now->web.lifecycle != next->web.lifecycle, "web.lifecycle");
	add_if(&l,
	       lists_differ(now->ingest.listen, now->ingest.listen_count,
			    next->ingest.listen, next->ingest.listen_count) ||
		       now->ingest.allow_plaintext !=
			       next->ingest.allow_plaintext ||
		       differ(now->ingest.shared_name,
			      next->ingest.shared_name) ||
		       now->ingest.queue_bytes != next->ingest.queue_bytes ||
		       now->ingest.max_agents != next->ingest.max_agents,
	       "ingest");
	add_if(&l, memcmp(&now->graph, &next->graph, sizeof(now->graph)) != 0,
	       "graph");
	add_if(&l, views_differ(now, next), "views");
}
