/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/web/web_routes.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "aggregator/web/api.h"
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

static void run_landing(struct web_request *q)
{
	buf_printf(
		&q->body,
		"<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n"
		"<meta charset=\"utf-8\">\n<title>redtap</title>\n"
		"<style>body{font:16px/1.5 system-ui,sans-serif;max-width:40em;"
		"margin:3em auto;padding:0 1em}code{background:#eee;"
		"padding:0 .2em}</style>\n</head>\n<body>\n"
		"<h1>redtap aggregator</h1>\n"
		"<p>Rates, errors and durations of the HTTP requests that the "
		"agents see, each counted exactly once.</p>\n<ul>\n"
		"<li><a href=\"%s\">Metrics</a> for Prometheus</li>\n"
		"<li><a href=\"/api/v1/windows\">Windows</a> of the last five "
		"minutes as JSON: <code>?from=&amp;to=&amp;by=service,route"
		"</code></li>\n"
		"<li><a href=\"/-/healthy\">Health</a>, "
		"<a href=\"/-/ready\">readiness</a></li>\n</ul>\n"
		"<p>Version %s, revision %s</p>\n</body>\n</html>\n",
		telemetry_path(q->core), version_string(), version_revision());
	q->status = 200;
	q->type = "text/html; charset=utf-8";
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

static void run_windows(struct web_request *q)
{
	q->status =
		api_windows_step(&q->body, q->core->opt.store_path,
				 q->argument(q, "from"), q->argument(q, "to"),
				 q->argument(q, "by"), q->argument(q, "step"));
	q->type = "application/json";
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

static const struct web_route routes[] = {
	{ NULL, WEB_GET, "GET, HEAD", WEB_LANE_RENDER, run_metrics, false,
	  false },
	{ "/", WEB_GET, "GET, HEAD", WEB_INLINE, run_landing, false, false },
	{ "/-/healthy", WEB_GET, "GET, HEAD", WEB_INLINE, run_healthy, false,
	  false },
	{ "/-/ready", WEB_GET, "GET, HEAD", WEB_LANE_READY, run_ready, false,
	  false },
	{ "/-/reload", WEB_POST | WEB_PUT, "POST, PUT", WEB_LANE_API,
	  run_reload, true, false },
	{ "/-/quit", WEB_POST | WEB_PUT, "POST, PUT", WEB_LANE_API, run_quit,
	  true, false },
	{ "/api/v1/windows", WEB_GET, "GET, HEAD", WEB_LANE_API, run_windows,
	  false, false },
	{ "/api/v1/trace", WEB_GET, "GET, HEAD", WEB_LANE_API, run_trace, false,
	  false },
	{ "/api/v1/requests/", WEB_GET, "GET, HEAD", WEB_LANE_API, run_request,
	  false, true },
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
