/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "aggregator/config/config.h"
#include "common/conffile_changes.h"

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
	struct conffile_changes l;

	conffile_changes_init(&l, what, what_size);
	conffile_changes_add(
		&l, conffile_changes_text(now->store.dir, next->store.dir),
		"store.dir");
	conffile_changes_add(&l, now->store.commit_ms != next->store.commit_ms,
			     "store.commit_ms");
	conffile_changes_add(
		&l, now->store.checkpoint_s != next->store.checkpoint_s,
		"store.checkpoint_s");
	conffile_changes_add(
		&l,
		conffile_changes_list(now->web.listen, now->web.listen_count,
				      next->web.listen, next->web.listen_count),
		"web.listen");
	conffile_changes_add(&l,
			     conffile_changes_text(now->web.telemetry_path,
						   next->web.telemetry_path),
			     "web.telemetry_path");
	conffile_changes_add(&l,
			     conffile_changes_text(now->web.config_file,
						   next->web.config_file),
			     "web.config_file");
	conffile_changes_add(&l,
			     (now->web.page == CONFIG_OFF) !=
				     (next->web.page == CONFIG_OFF),
			     "web.page");
	conffile_changes_add(&l,
			     (now->web.tail == CONFIG_OFF) !=
				     (next->web.tail == CONFIG_OFF),
			     "web.tail");
	conffile_changes_add(&l, now->web.lifecycle != next->web.lifecycle,
			     "web.lifecycle");
	conffile_changes_add(
		&l,
		conffile_changes_list(
			now->ingest.listen, now->ingest.listen_count,
			next->ingest.listen, next->ingest.listen_count) ||
			now->ingest.allow_plaintext !=
				next->ingest.allow_plaintext ||
			conffile_changes_text(now->ingest.shared_name,
					      next->ingest.shared_name) ||
			now->ingest.queue_bytes != next->ingest.queue_bytes ||
			now->ingest.max_agents != next->ingest.max_agents,
		"ingest");
	conffile_changes_add(
		&l, memcmp(&now->graph, &next->graph, sizeof(now->graph)) != 0,
		"graph");
	conffile_changes_add(&l,
			     memcmp(&now->samples, &next->samples,
				    sizeof(now->samples)) != 0,
			     "samples");
	conffile_changes_add(&l, views_differ(now, next), "views");
}
