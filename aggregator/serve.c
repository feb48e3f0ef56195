/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "aggregator/config/config.h"
#include "aggregator/engine/engine.h"
#include "aggregator/ingest/gate_tls.h"
#include "aggregator/privileges.h"
#include "aggregator/snapshot/snapshot.h"
#include "aggregator/web/web.h"
#include "common/clock.h"
#include "common/file_stamp.h"
#include "common/log.h"
#include "common/notify.h"
#include "common/version.h"
#include "proto/limits.h"

int cmd_serve(int argc, char **argv);

static const char doc[] =
	"Receive batches from agents, count every request exactly once, and "
	"expose the metrics of the whole fleet on one endpoint.";

struct serve {
	struct cli_settings flags;
	struct aggregator_config *config; /* as at start */
	struct view_set *views;
	struct engine *engine;
	struct web *web;
	pthread_mutex_t reload_mutex; /* one reload at a time */
};

/* --- callbacks for the web threads --- */

static const struct snapshot *web_take(void *arg)
{
	struct serve *s = arg;

	return snapshot_open(engine_snapshots(s->engine));
}

static const struct snapshot *web_take_agents(void *arg)
{
	struct serve *s = arg;

	return snapshot_open_agents(engine_snapshots(s->engine));
}

static bool web_ready(void *arg, char *why, size_t why_size)
{
	struct serve *s = arg;

	return engine_ready(s->engine, why, why_size);
}

static struct engine_options limits(const struct aggregator_config *c)
{
	return (struct engine_options){
		.log_retention_s = c->retention.raw_age_s,
		.log_retention_bytes = c->retention.raw_bytes,
		.window_retention_s = c->retention.windows_age_s,
		.window_retention_bytes = c->retention.windows_bytes,
		.series_idle_s = c->series.idle_s,
		.agent_idle_s = c->agents.idle_s,
		.batches_per_s = c->ingest.batches_per_s,
		.gather_max_ms = c->ingest.gather_max_ms,
	};
}

static struct web_limits web_limits(const struct aggregator_config *c)
{
	return (struct web_limits){
		.log_age_s = c->retention.raw_age_s,
		.log_bytes = c->retention.raw_bytes,
		.windows_age_s = c->retention.windows_age_s,
		.windows_bytes = c->retention.windows_bytes,
	};
}

static void set_log_level(const struct aggregator_config *c)
{
	if (!cli_log_level_said())
		log_set_level(c->log.level ? (enum log_level)(c->log.level - 1)
					   : LOG_LEVEL_INFO);
}

/* Applies what can change at run time; logs the keys that need a restart. */
static void apply(struct serve *s, const struct aggregator_config *fresh)
{
	struct engine_options o = limits(fresh);
	struct web_limits w = web_limits(fresh);
	char what[256];

	set_log_level(fresh);
	engine_set_limits(s->engine, &o);
	if (s->web)
		web_set_limits(s->web, &w);
	aggregator_config_needs_restart(s->config, fresh, what, sizeof(what));
	if (*what)
		log_warn("configuration reloaded, restart needed keys=\"%s\"",
			 what);
	else
		log_info("configuration reloaded");
}

static int web_reload(void *arg, char *why, size_t why_size)
{
	struct serve *s = arg;
	struct aggregator_config *fresh = NULL;
	int err;

	pthread_mutex_lock(&s->reload_mutex);
	snprintf(why, why_size, "invalid configuration, see the log");
	err = aggregator_config_load(&fresh, &s->flags);
	if (!err && fresh->web.config_file)
		err = web_config_check(fresh->web.config_file, why, why_size);
	if (!err)
		err = engine_renew_tls(s->engine, fresh->ingest.cert_file,
				       fresh->ingest.key_file,
				       fresh->ingest.ca_file);
	if (!err)
		err = engine_set_token(s->engine, fresh->ingest.token_file);
	if (!err)
		apply(s, fresh);
	else
		log_error("reload failed, old configuration kept reason=\"%s\"",
			  why);
	aggregator_config_free(fresh);
	pthread_mutex_unlock(&s->reload_mutex);
	return err;
}

static void web_quit(void *arg)
{
	(void)arg;
	kill(getpid(), SIGTERM);
}

/* --- start and end --- */

/* As mkdir -p; closed to others, since the log has request paths and peers. */
static int make_dir(const char *path)
{
	char *copy = strdup(path);
	int err = 0;

	if (!copy)
		return -ENOMEM;
	for (char *at = copy + 1; !err; at++) {
		char kept = *at;

		if (kept != '/' && kept != 0)
			continue;
		*at = 0;
		if (mkdir(copy, 0750) < 0 && errno != EEXIST)
			err = -errno;
		*at = kept;
		if (kept == 0)
			break;
	}
	if (err < 0)
		log_error("cannot create the folder path=%s error=\"%s\"", path,
			  strerror(-err));
	free(copy);
	return err;
}

/* Each agent needs a file descriptor for its connection. */
static void raise_fd_limit(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) < 0 || r.rlim_cur == r.rlim_max)
		return;
	r.rlim_cur = r.rlim_max;
	setrlimit(RLIMIT_NOFILE, &r);
}

static int start_engine(struct serve *s)
{
	const struct aggregator_config *c = s->config;
	struct engine_options o = limits(c);
	char why[256] = "";
	int err = make_dir(c->store.dir);

	o.store_dir = c->store.dir;
	o.ingest_urls = (const char *const *)c->ingest.listen;
	o.n_ingest_urls = c->ingest.listen_count;
	o.allow_plaintext = c->ingest.allow_plaintext;
	o.cert_file = c->ingest.cert_file;
	o.key_file = c->ingest.key_file;
	o.ca_file = c->ingest.ca_file;
	o.token_file = c->ingest.token_file;
	o.shared_name = c->ingest.shared_name;
	o.queue_bytes = c->ingest.queue_bytes;
	o.max_agents = c->ingest.max_agents;
	o.edge_wait_us = (uint64_t)c->graph.wait_s * 1000000;
	o.edge_skew_us = (uint64_t)c->graph.skew_ms * 1000;
	o.max_waiting = c->graph.max_waiting;
	o.max_families = c->samples.max_families;
	o.max_family_series = c->samples.max_series;
	o.commit_interval_ms = c->store.commit_ms;
	o.checkpoint_interval_ms = c->store.checkpoint_s * 1000;
	if (!err)
		err = view_set_new(&s->views, (enum view_compat)c->compat,
				   c->views, c->n_views, why, sizeof(why));
	if (err < 0)
		return err;
	o.views = view_set_views(s->views);

	err = engine_new(&s->engine, &o);
	return err < 0 ? err : engine_start(s->engine);
}

static int web_forget(void *arg, const char *agent)
{
	struct serve *s = arg;

	return engine_forget(s->engine, agent);
}

static int start_web(struct serve *s)
{
	const struct aggregator_config *c = s->config;
	struct web_options o = {
		.listen = (const char *const *)c->web.listen,
		.n_listen = c->web.listen_count,
		.telemetry_path = c->web.telemetry_path,
		.config_file = c->web.config_file,
		.enable_lifecycle = c->web.lifecycle,
		.store_path = engine_store_path(s->engine),
		.take = web_take,
		.take_agents = web_take_agents,
		.page_off = c->web.page == CONFIG_OFF,
		.tail_off = c->web.tail == CONFIG_OFF,
		.limits = web_limits(c),
		.rele = snapshot_rele,
		.reload = web_reload,
		.quit = web_quit,
		.forget = web_forget,
		.ready = web_ready,
		.arg = s,
	};

	return web_start(&s->web, &o);
}

static void reload_by_signal(struct serve *s)
{
	char why[256] = "";
	int err = web_reload(s, why, sizeof(why));

	web_set_reload_status(s->web, !err, clock_real_us());
}

static uint64_t tls_stamp(const struct serve *s)
{
	const struct aggregator_config *c = s->config;
	const char *const files[] = { c->ingest.ca_file, c->ingest.cert_file,
				      c->ingest.key_file };

	return file_stamp(files, sizeof(files) / sizeof(*files));
}

/* Reads certificates that were renewed in place; until that works, again. */
static void renew_tls(struct serve *s, uint64_t *stamp)
{
	uint64_t now = tls_stamp(s);

	if (!now || now == *stamp)
		return;
	pthread_mutex_lock(&s->reload_mutex);
	if (!engine_renew_tls(s->engine, s->config->ingest.cert_file,
			      s->config->ingest.key_file,
			      s->config->ingest.ca_file)) {
		log_info("certificates read again");
		*stamp = now;
	}
	pthread_mutex_unlock(&s->reload_mutex);
}

static void wait_for_end(struct serve *s, const sigset_t *set)
{
	const struct timespec pause = { .tv_sec = FILE_STAMP_S };
	uint64_t stamp = tls_stamp(s);
	int sig;

	for (;;) {
		sig = sigtimedwait(set, NULL, &pause);
		if (sig == SIGHUP)
			reload_by_signal(s);
		else if (sig == SIGTERM || sig == SIGINT)
			break;
		renew_tls(s, &stamp);
	}
	log_info("stopping signal=%s", strsignal(sig));
}

static int serve(struct serve *s, const sigset_t *set)
{
	int err = start_engine(s);

	if (!err)
		err = start_web(s);
	if (err < 0) {
		log_error("cannot start error=\"%s\"", strerror(-err));
	} else {
		log_info("started version=%s", version_string());
		notify_send("READY=1");
		wait_for_end(s, set);
		notify_send("STOPPING=1");
	}
	if (s->engine)
		engine_stop(s->engine);
	web_stop(s->web);
	engine_free(s->engine);
	view_set_free(s->views);
	return err;
}

/*
 * Messages of about 70 KiB are allocated and freed all the time. By default
 * glibc returns that memory to the system each time, and getting it back costs
 * one page fault per 4 KiB.
 */
static void keep_memory(void)
{
	mallopt(M_TRIM_THRESHOLD, 8 << 20);
	mallopt(M_MMAP_THRESHOLD, LIMIT_MESSAGE_BYTES);
}

/* Reads the files that a start would, for a check. Logs what is wrong. */
static int check_files(const struct aggregator_config *c)
{
	const struct gate_tls_files files = { c->ingest.cert_file,
					      c->ingest.key_file,
					      c->ingest.ca_file };
	char why[512] = "";
	int err = c->ingest.cert_file ? gate_tls_use(&files) : 0;

	if (!err && c->web.config_file)
		err = web_config_check(c->web.config_file, why, sizeof(why));
	if (*why)
		log_error("web.config_file: %s", why);
	return err;
}

int cmd_serve(int argc, char **argv)
{
	struct serve s = { .reload_mutex = PTHREAD_MUTEX_INITIALIZER };
	sigset_t set;
	int err;

	/* The store has the requests of others in it. */
	umask(umask(0077) | 0027);
	err = aggregator_config_main(&s.config, &s.flags, doc, argc, argv);
	if (err) {
		if (err > 0)
			err = check_files(s.config);
		aggregator_config_free(s.config);
		return err < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
	}
	signal(SIGPIPE, SIG_IGN);
	/* Beyond RLIMIT_FSIZE, write() must fail as on a full disk. */
	signal(SIGXFSZ, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &set, NULL); /* threads inherit it */
	raise_fd_limit();
	keep_memory();
	set_log_level(s.config);
	err = privileges_drop_all();
	if (!err)
		err = serve(&s, &set);
	aggregator_config_free(s.config);
	return err < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
