/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/web/web_routes.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "aggregator/web/api.h"
#include "aggregator/web/web_page.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/version.h"

#define PLAIN "text/plain; charset=utf-8"
#define WHY_MAX 256

void web_say(struct web_request *q, unsigned status, const char *text)
{
	buf_reset(&q->body);
	buf_puts(&q->body, text);
	buf_putc(&q->body, '\n');
	q->status = status;
	q->type = PLAIN;
}

static const char *telemetry_path(const struct web_core *core)
{
	return core->opt.telemetry_path;
}

static void run_metrics(struct web_request *q)
{
	int err = render_get(q->core->render, q->format, q->gzip, q->arrived_ns,
			     &q->rendering);

	if (err) {
		log_error("cannot render metrics error=\"%s\"", strerror(-err));
		web_say(q, 503, "cannot render the metrics");
		return;
	}
	q->status = 200;
	q->type = expose_content_type(q->format);
}

static void run_healthy(struct web_request *q)
{
	web_say(q, 200, "redtap aggregator is healthy.");
}

static bool ask_ready(const struct web_options *opt, char *why, size_t size)
{
	const struct snapshot *s;
	bool ready;

	if (opt->ready)
		return opt->ready(opt->arg, why, size);
	s = opt->take(opt->arg);
	if (!s)
		return false;
	ready = s->ready;
	snprintf(why, size, "%s", s->not_ready_why);
	opt->rele(s);
	return ready;
}

static void run_ready(struct web_request *q)
{
	char why[WHY_MAX] = "";

	if (ask_ready(&q->core->opt, why, sizeof(why))) {
		web_say(q, 200, "redtap aggregator is ready.");
		return;
	}
	web_say(q, 503, "redtap aggregator is not ready:");
	q->body.len--; /* drops the newline */
	buf_printf(&q->body, " %s\n", *why ? why : "no reason given");
}

void web_reloaded(struct web_core *core, bool successful, int64_t time_us)
{
	atomic_store(&core->config_successful, successful);
	if (successful)
		atomic_store(&core->config_success_us, (uint64_t)time_us);
}

static void run_reload(struct web_request *q)
{
	const struct web_options *opt = &q->core->opt;
	char why[2 * WHY_MAX] = "";
	int err;

	if (!opt->reload) {
		web_say(q, 501, "this program cannot reload");
		return;
	}
	err = opt->reload(opt->arg, why, sizeof(why));
	web_reloaded(q->core, !err, clock_real_us());
	if (err) {
		web_say(q, 500, "cannot reload, the old configuration stays:");
		q->body.len--;
		buf_printf(&q->body, " %s\n", why);
		return;
	}
	web_say(q, 200, "reloaded");
}

static void run_quit(struct web_request *q)
{
	if (q->core->opt.quit)
		q->core->opt.quit(q->core->opt.arg);
	web_say(q, 200, "stopping");
}

static void run_forget(struct web_request *q)
{
	const struct web_options *opt = &q->core->opt;
	const char *node = q->argument(q, "node");
	int err;

	if (!opt->forget) {
		web_say(q, 501, "this program cannot forget");
		return;
	}
	if (!node || !*node) {
		web_say(q, 400, "the argument node is missing");
		return;
	}
	err = opt->forget(opt->arg, node);
	if (err == -ENOENT)
		web_say(q, 404, "no such node");
	else if (err < 0)
		web_say(q, 500, strerror(-err));
	else
		web_say(q, 200, "forgotten");
}

static const char *query_argument(const void *arg, const char *key)
{
	const struct web_request *q = arg;

	return q->argument(q, key);
}

static void run_windows(struct web_request *q)
{
	const struct api_query query = { query_argument, q };

	q->status = api_windows_ask(&q->body, q->core->opt.store_path, &query);
	q->type = "application/json";
	web_page_finish(q);
}

static void run_trace(struct web_request *q)
{
	q->status = api_trace(&q->body, &q->file, q->core->opt.store_path,
			      q->argument(q, "from"), q->argument(q, "to"),
			      q->argument(q, "service"));
	q->type = q->status == 200 ? "application/octet-stream"
				   : "application/json";
}

static void run_request(struct web_request *q)
{
	q->status = api_request(&q->body, q->core->opt.store_path, q->rest);
	q->type = "application/json";
}

/* --- questions of the page --- */

static void run_ask(struct web_request *q)
{
	const struct api_query query = { query_argument, q };

	q->type = "application/json";
	q->status = q->route->ask(q->core->page, &query, &q->body);
	web_page_finish(q);
}

static void run_status(struct web_request *q)
{
	struct web_core *core = q->core;
	const struct api_config_state config = {
		.successful = atomic_load(&core->config_successful),
		.loaded_us = (int64_t)atomic_load(&core->config_success_us),
		.log_age_s = atomic_load(&core->log_age_s),
		.log_bytes = atomic_load(&core->log_bytes),
		.windows_age_s = atomic_load(&core->windows_age_s),
		.windows_bytes = atomic_load(&core->windows_bytes),
	};

	q->type = "application/json";
	q->status = api_status(core->page, &config, &q->body);
	web_page_finish(q);
}

static void run_tail(struct web_request *q)
{
	const struct api_query query = { query_argument, q };

	q->type = "application/json";
	q->status = api_tail(q->core->tail, &query, q->last, &q->tail.seen,
			     &q->body);
	if (!q->status && !q->tail.deadline_ns)
		q->tail.deadline_ns = clock_mono_ns() +
				      api_tail_wait_s(&query) * CLOCK_NS_PER_S;
	if (q->status)
		web_page_finish(q);
}

#define GET(path_, lane_, run_)                                                \
	{                                                                      \
		.path = path_, .methods = WEB_GET, .allow = "GET, HEAD",       \
		.lane = lane_, .run = run_                                     \
	}
#define ASK(path_, ask_)                                                       \
	{                                                                      \
		.path = path_, .methods = WEB_GET, .allow = "GET, HEAD",       \
		.lane = WEB_LANE_PAGE, .run = run_ask, .ask = ask_             \
	}
#define PREFIX(path_, lane_, run_)                                             \
	{                                                                      \
		.path = path_, .methods = WEB_GET, .allow = "GET, HEAD",       \
		.lane = lane_, .run = run_, .prefix = true                     \
	}
#define LIFECYCLE(path_, run_)                                                 \
	{                                                                      \
		.path = path_, .methods = WEB_POST | WEB_PUT,                  \
		.allow = "POST, PUT", .lane = WEB_LANE_API, .run = run_,       \
		.lifecycle = true                                              \
	}

static const struct web_route routes[] = {
	GET(NULL, WEB_LANE_RENDER, run_metrics),
	GET("/", WEB_INLINE, web_page_landing),
	PREFIX("/assets/", WEB_INLINE, web_page_asset),
	GET("/-/healthy", WEB_INLINE, run_healthy),
	GET("/-/ready", WEB_LANE_READY, run_ready),
	LIFECYCLE("/-/reload", run_reload),
	LIFECYCLE("/-/quit", run_quit),
	LIFECYCLE("/-/forget", run_forget),
	GET("/api/v1/windows", WEB_LANE_API, run_windows),
	GET("/api/v1/trace", WEB_LANE_API, run_trace),
	GET("/api/v1/status", WEB_LANE_PAGE, run_status),
	ASK("/api/v1/services", api_services),
	ASK("/api/v1/service", api_service),
	ASK("/api/v1/graph", api_graph),
	ASK("/api/v1/requests", api_requests),
	ASK("/api/v1/agents", api_agents),
	ASK("/api/v1/programs", api_programs),
	ASK("/api/v1/cardinality", api_cardinality),
	ASK("/api/v1/gaps", api_gaps),
	PREFIX("/api/v1/requests/", WEB_LANE_API, run_request),
	GET("/api/v1/tail", WEB_LANE_TAIL, run_tail),
};

static bool path_goes_on(const char *own, const char *path)
{
	size_t n = strlen(own);

	return !strncmp(own, path, n) && path[n];
}

const struct web_route *web_route_find(const struct web_core *core,
				       const char *path)
{
	for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
		const char *own =
			routes[i].path ? routes[i].path : telemetry_path(core);

		if (routes[i].prefix ? path_goes_on(own, path)
				     : !strcmp(own, path))
			return &routes[i];
	}
	return NULL;
}
