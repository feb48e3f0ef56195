/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/engine/engine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/engine/engine_state.h"
#include "common/clock.h"
#include "common/log.h"

#define CONNECTIONS_MORE 1024u /* on top of two connections per agent */

bool engine_ready(struct engine *e, char *why, size_t why_bytes)
{
	bool ready;

	pthread_mutex_lock(&e->ready_mutex);
	ready = e->ready;
	if (why_bytes)
		snprintf(why, why_bytes, "%s", e->why);
	pthread_mutex_unlock(&e->ready_mutex);
	return ready;
}

static bool is_ready(void *engine, char *why, size_t why_bytes)
{
	return engine_ready(engine, why, why_bytes);
}

struct snapshot_source *engine_snapshots(struct engine *e)
{
	return &e->source;
}

const char *engine_store_path(const struct engine *e)
{
	return store_path(e->store);
}

static void set_defaults(struct engine_options *o)
{
#define DEFAULT(field, value)                                                  \
	do {                                                                   \
		if (!o->field)                                                 \
			o->field = (value);                                    \
	} while (0)
	DEFAULT(views, views_default());
	DEFAULT(queue_bytes, (size_t)64 << 20);
	DEFAULT(group_bytes, (size_t)4 << 20);
	DEFAULT(commit_interval_ms, 20);
	DEFAULT(checkpoint_interval_ms, 10000);
	DEFAULT(checkpoint_slice, 2000);
	DEFAULT(window_interval_ms, 1000);
	DEFAULT(log_retention_s, 86400);
	DEFAULT(log_retention_bytes, (uint64_t)1 << 30);
	DEFAULT(window_retention_s, 7 * 86400);
	DEFAULT(window_retention_bytes, (uint64_t)1 << 30);
	DEFAULT(batches_per_s, 10000);
	DEFAULT(gather_max_ms, 5000);
	DEFAULT(max_window_series, 100000);
	DEFAULT(agent_silent_ms, 3600000);
	DEFAULT(clock_future_s, 60);
	DEFAULT(clock_past_s, (uint32_t)o->window_retention_s);
#undef DEFAULT
}

void engine_set_limits(struct engine *e, const struct engine_options *opt)
{
	struct engine_options o = *opt;

	set_defaults(&o);
	atomic_store(&e->source.series_idle_s, o.series_idle_s);
	atomic_store(&e->source.agent_idle_s, o.agent_idle_s);
	atomic_store(&e->log_retention_s, o.log_retention_s);
	atomic_store(&e->log_retention_bytes, o.log_retention_bytes);
	atomic_store(&e->window_retention_s, o.window_retention_s);
	atomic_store(&e->window_retention_bytes, o.window_retention_bytes);
	atomic_store(&e->batches_per_s, o.batches_per_s);
	atomic_store(&e->gather_max_ms, o.gather_max_ms);
}

static int copy_text(char **out, const char *text)
{
	*out = text ? strdup(text) : NULL;
	return text && !*out ? -ENOMEM : 0;
}

static int copy_options(struct engine *e, const struct engine_options *opt)
{
	e->opt = *opt;
	set_defaults(&e->opt);
	engine_set_limits(e, opt);
	if (!opt->store_dir)
		return -EINVAL;
	if (copy_text(&e->store_dir, opt->store_dir) < 0 ||
	    copy_text(&e->cert_file, opt->cert_file) < 0 ||
	    copy_text(&e->key_file, opt->key_file) < 0 ||
	    copy_text(&e->ca_file, opt->ca_file) < 0 ||
	    copy_text(&e->shared_name, opt->shared_name) < 0)
		return -ENOMEM;
	e->urls = calloc(opt->n_ingest_urls + 1, sizeof(*e->urls));
	if (!e->urls)
		return -ENOMEM;
	for (size_t i = 0; i < opt->n_ingest_urls; i++)
		if (copy_text(&e->urls[i], opt->ingest_urls[i]) < 0)
			return -ENOMEM;
	e->opt.store_dir = e->store_dir;
	e->opt.ingest_urls = (const char *const *)e->urls;
	e->opt.cert_file = e->cert_file;
	e->opt.key_file = e->key_file;
	e->opt.ca_file = e->ca_file;
	return 0;
}

static void drop_state(struct engine *e)
{
	checkpoint_free(e->checkpoint);
	fold_free(e->fold);
	samples_free(e->samples);
	ledger_free(e->ledger);
	e->checkpoint = NULL;
	e->fold = NULL;
	e->samples = NULL;
	e->ledger = NULL;
}

static int load_state(struct engine *e)
{
	struct fold_options fo = {
		.views = e->opt.views,
		.max_window_series = e->opt.max_window_series,
		.future_us = (uint64_t)e->opt.clock_future_s * 1000000,
		.past_us = (uint64_t)e->opt.clock_past_s * 1000000,
		.edge_wait_us = e->opt.edge_wait_us,
		.edge_skew_us = e->opt.edge_skew_us,
		.max_waiting = e->opt.max_waiting,
	};
	struct samples_options so = {
		.max_families = e->opt.max_families,
		.max_series = e->opt.max_family_series,
		.max_nodes = e->opt.max_agents,
	};
	int err = fold_new(&e->fold, &fo);

	if (!err)
		err = samples_new(&e->samples, &so);
	if (!err)
		err = ledger_new(&e->ledger, e->opt.max_agents);
	if (!err)
		err = checkpoint_new(&e->checkpoint, e->fold, e->samples,
				     e->store);
	if (!err && e->opt.fold_all)
		checkpoint_fold_all(e->checkpoint);
	if (!err)
		err = checkpoint_load(e->checkpoint, e->ledger, &e->last_id);
	if (!err)
		err = engine_load_counters(e);
	return err;
}

static int open_state(struct engine *e)
{
	int err = store_open(&e->store, e->store_dir);

	if (err < 0)
		return err;
	err = load_state(e);
	if (err != -EUCLEAN)
		return err;
	drop_state(e);
	e->last_id = 0;
	err = store_set_aside(&e->store, "its content is inconsistent");
	return err < 0 ? err : load_state(e);
}

int engine_new(struct engine **out, const struct engine_options *opt)
{
	struct engine *e = calloc(1, sizeof(*e));
	int err;

	if (!e)
		return -ENOMEM;
	pthread_mutex_init(&e->ready_mutex, NULL);
	pthread_mutex_init(&e->token_mutex, NULL);
	pthread_mutex_init(&e->forget.mutex, NULL);
	pthread_cond_init(&e->forget.done, NULL);
	err = copy_options(e, opt);
	if (!err)
		err = batch_arena_new(&e->columns);
	if (!err)
		err = batch_arena_new(&e->small);
	if (!err)
		err = engine_mend_new(e);
	for (size_t i = 0; i < GROUP_LARGE && !err; i++) {
		err = batch_arena_new(&e->large[i]);
		if (!err)
			err = batch_arena_new(&e->joined[i]);
	}
	if (!err)
		err = open_state(e);
	if (!err)
		err = snapshot_source_init(&e->source, e->fold, e->ledger,
					   e->samples, is_ready, e);
	if (!err)
		err = engine_set_token(e, opt->token_file);
	if (err < 0) {
		engine_free(e);
		return err;
	}
	e->ready = true;
	*out = e;
	return 0;
}

int engine_start(struct engine *e)
{
	struct gate_options go = {
		.urls = e->opt.ingest_urls,
		.n_urls = e->opt.n_ingest_urls,
		.allow_plaintext = e->opt.allow_plaintext,
		.cert_file = e->cert_file,
		.key_file = e->key_file,
		.ca_file = e->ca_file,
		.shared_name = e->shared_name,
		.queue_bytes = e->opt.queue_bytes,
		.max_connections = e->opt.max_agents ? 2 * e->opt.max_agents +
							       CONNECTIONS_MORE
						     : 0,
	};
	int err = gate_open(&e->gate, &go);

	if (err < 0)
		return err;
	e->next_checkpoint_ns =
		clock_mono_ns() + ms_ns(e->opt.checkpoint_interval_ms);
	err = -pthread_create(&e->thread, NULL, engine_loop, e);
	if (err < 0) {
		gate_close(e->gate);
		e->gate = NULL;
		return err;
	}
	e->started = true;
	return 0;
}

int engine_renew_tls(struct engine *e, const char *cert_file,
		     const char *key_file, const char *ca_file)
{
	return gate_renew_tls(e->gate, cert_file, key_file, ca_file);
}

void engine_stop(struct engine *e)
{
	if (!e->started)
		return;
	atomic_store(&e->stop, true);
	gate_wake(e->gate);
	pthread_join(e->thread, NULL);
	e->started = false;
	gate_close(e->gate);
	e->gate = NULL;
}

void engine_free(struct engine *e)
{
	if (!e)
		return;
	engine_stop(e);
	engine_mend_free(e);
	snapshot_source_fini(&e->source);
	drop_state(e);
	store_close(e->store);
	batch_arena_free(e->columns);
	batch_arena_free(e->small);
	for (size_t i = 0; i < GROUP_LARGE; i++) {
		batch_arena_free(e->large[i]);
		batch_arena_free(e->joined[i]);
	}
	for (size_t i = 0; e->urls && e->urls[i]; i++)
		free(e->urls[i]);
	free(e->urls);
	free(e->store_dir);
	free(e->cert_file);
	free(e->key_file);
	free(e->ca_file);
	free(e->shared_name);
	free(e->info);
	buf_fini(&e->blob);
	pthread_mutex_destroy(&e->ready_mutex);
	pthread_mutex_destroy(&e->token_mutex);
	pthread_mutex_destroy(&e->forget.mutex);
	pthread_cond_destroy(&e->forget.done);
	free(e);
}
