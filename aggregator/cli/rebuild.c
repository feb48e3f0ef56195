/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/config/config.h"
#include "aggregator/engine/engine.h"
#include "aggregator/snapshot/snapshot.h"
#include "common/log.h"

int cmd_rebuild(int argc, char **argv);

enum {
	KEY_ALL = CLI_KEY_COMMAND,
};

static const struct argp_option options[] = {
	{ "all", KEY_ALL, NULL, 0,
	  "Rebuild every view, even unchanged ones; requests that the log no "
	  "longer has are lost from them",
	  6 },
	{ 0 },
};

struct arguments {
	struct cli_settings flags; /* input of the child parser */
	bool all;
};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct arguments *a = state->input;

	(void)arg;
	if (key == ARGP_KEY_INIT) {
		state->child_inputs[0] = &a->flags;
		return 0;
	}
	if (key != KEY_ALL)
		return ARGP_ERR_UNKNOWN;
	a->all = true;
	return 0;
}

/*
 * engine_new() folds the views from the log; engine_save() stores the result.
 */
static int rebuild(const struct aggregator_config *c, const struct views *views,
		   bool all)
{
	struct engine_options o = {
		.store_dir = c->store.dir,
		.views = views,
		.max_agents = c->ingest.max_agents,
		.edge_wait_us = (uint64_t)c->graph.wait_s * 1000000,
		.edge_skew_us = (uint64_t)c->graph.skew_ms * 1000,
		.max_waiting = c->graph.max_waiting,
		.max_families = c->samples.max_families,
		.max_family_series = c->samples.max_series,
		.window_retention_s = c->retention.windows_age_s,
		.fold_all = all,
	};
	struct engine *e = NULL;
	const struct snapshot *s;
	int err = engine_new(&e, &o);

	if (!err)
		err = engine_save(e);
	s = !err ? snapshot_take(engine_snapshots(e)) : NULL;
	for (size_t i = 0; s && i < s->n_views; i++)
		log_info("rebuilt view view=%s series=%zu",
			 s->views[i].view->name,
			 s->views[i].n + (size_t)s->views[i].idle);
	if (s)
		log_info("rebuilt from the log batches=%" PRIu64
			 " bytes=%" PRIu64,
			 s->engine.log_batches, s->engine.log_bytes);
	snapshot_rele(s);
	engine_free(e);
	return err;
}

int cmd_rebuild(int argc, char **argv)
{
	const struct argp_child children[] = {
		{ &aggregator_config_argp, 0, NULL, 0 },
		{ 0 },
	};
	const struct argp argp = {
		.options = options,
		.parser = parse_option,
		.doc = "Rebuild views whose configuration has changed from the "
		       "stored batches, as the aggregator does when it starts. "
		       "The aggregator must not be running.",
		.children = children,
	};
	struct arguments a = { .all = false };
	struct aggregator_config *config = NULL;
	struct view_set *views = NULL;
	char why[256] = "";
	int err;

	argp_parse(&argp, argc, argv, ARGP_NO_ARGS, NULL, &a);
	err = aggregator_config_load(&config, &a.flags);
	if (!err && a.flags.cli.config_check) {
		aggregator_config_free(config);
		return EXIT_SUCCESS;
	}
	if (!err)
		err = view_set_new(&views, (enum view_compat)config->compat,
				   config->views, config->n_views, why,
				   sizeof(why));
	if (!err)
		err = rebuild(config, view_set_views(views), a.all);
	if (err < 0)
		log_error("cannot rebuild error=\"%s\"", strerror(-err));
	view_set_free(views);
	aggregator_config_free(config);
	return err < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
