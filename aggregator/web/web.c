/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/web/web.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "aggregator/web/web_listen.h"
#include "aggregator/web/web_request.h"
#include "aggregator/web/web_tls.h"
#include "aggregator/web/web_unescape.h"
#include "common/clock.h"
#include "common/fds.h"
#include "common/log.h"

#define CONNECTIONS_MAX 512u /* connections per listen address */
/* Of the descriptors, for all addresses; see also gate.c. */
#define CONNECTIONS_PERCENT 20u
#define CONNECTION_BYTES (32u << 10) /* MHD's memory for a request's head */

static void fill_self(void *arg, struct metrics_self *self)
{
	struct web *w = arg;

	for (unsigned i = 0; i < METRICS_CODES; i++)
		self->http[i] = atomic_load(&w->http[i]);
	self->refused_busy = atomic_load(&w->refused_busy);
	self->cut_readers += web_conns_cut(w->conns);
	self->config_successful = atomic_load(&w->core.config_successful);
	self->config_success_us = atomic_load(&w->core.config_success_us);
	self->connections = web_conns_count(w->conns);
}

/* Logs the messages of libmicrohttpd (MHD). */
static void on_log(void *arg, const char *fmt, va_list ap)
	__attribute__((format(printf, 2, 0)));

static void on_log(void *arg, const char *fmt, va_list ap)
{
	char line[256];

	(void)arg;
	vsnprintf(line, sizeof(line), fmt, ap);
	line[strcspn(line, "\n")] = '\0';
	log_debug("libmicrohttpd message=\"%s\"", line);
}

static size_t on_unescape(void *arg, struct MHD_Connection *c, char *text)
{
	(void)arg;
	(void)c;
	return web_unescape(text);
}

static int start_daemon(struct web *w, size_t i)
{
	const struct web_config *c = web_auth_config(w->auth);
	/* Not epoll, which libmicrohttpd 0.9.75 uses edge-triggered: it misses
	 * a FIN that arrives together with data and leaves the connection open.
	 */
	unsigned flags = MHD_USE_POLL_INTERNAL_THREAD |
			 MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
	struct MHD_OptionItem tls[4] = { { MHD_OPTION_END, 0, NULL } };
	unsigned n = 0;
	int fd, err;

	err = web_listen(w->listen[i], &fd, &w->port[i]);
	if (err)
		return err;
	if (c && c->tls) {
		flags |= MHD_USE_TLS;
		tls[n++] = (struct MHD_OptionItem){
			MHD_OPTION_HTTPS_CERT_CALLBACK2, 0, web_tls_retrieve()
		};
		tls[n++] = (struct MHD_OptionItem){
			MHD_OPTION_HTTPS_PRIORITIES, 0,
			(void *)(uintptr_t)web_tls_priorities(c)
		};
		if (w->trust)
			tls[n++] = (struct MHD_OptionItem){
				MHD_OPTION_HTTPS_MEM_TRUST, 0, w->trust
			};
		tls[n] = (struct MHD_OptionItem){ MHD_OPTION_END, 0, NULL };
	}
	w->daemon[i] = MHD_start_daemon(
		flags, 0, NULL, NULL, web_on_request, w,
		MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL,
		MHD_OPTION_UNESCAPE_CALLBACK, on_unescape, NULL,
		MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
		fds_share(CONNECTIONS_PERCENT / (unsigned)w->n_daemons,
			  CONNECTIONS_MAX),
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_BYTES,
		MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)WEB_IDLE_S,
		MHD_OPTION_NOTIFY_COMPLETED, web_on_completed, w,
		MHD_OPTION_NOTIFY_CONNECTION, web_on_connection, w,
		MHD_OPTION_ARRAY, tls, MHD_OPTION_END);
	if (!w->daemon[i]) {
		close(fd);
		log_error("cannot serve HTTP address=%s", w->listen[i]);
		return -EIO;
	}
	return 0;
}

static int copy_string(char **to, const char *from)
{
	*to = from ? strdup(from) : NULL;
	return from && !*to ? -ENOMEM : 0;
}

static int copy_options(struct web *w, const struct web_options *o)
{
	struct web_options *own = &w->core.opt;
	const char *path = o->telemetry_path ? o->telemetry_path : "/metrics";
	char *s[3] = { NULL, NULL, NULL };
	int err;

	if (path[0] != '/' || !path[1] || strpbrk(path, "\"<>& ?#")) {
		log_error("telemetry path is not a path path=\"%s\"", path);
		return -EINVAL;
	}
	*own = *o;
	err = copy_string(&s[0], path);
	err = err ? err : copy_string(&s[1], o->config_file);
	err = err ? err : copy_string(&s[2], o->store_path);
	own->telemetry_path = s[0];
	own->config_file = s[1];
	own->store_path = s[2];
	own->listen = NULL;
	own->n_listen = 0;
	w->listen = calloc(o->n_listen + 1, sizeof(*w->listen));
	w->daemon = calloc(o->n_listen + 1, sizeof(*w->daemon));
	w->port = calloc(o->n_listen + 1, sizeof(*w->port));
	if (!w->listen || !w->daemon || !w->port)
		return -ENOMEM;
	for (size_t i = 0; !err && i < o->n_listen; i++) {
		err = copy_string(&w->listen[i], o->listen[i]);
		w->n_daemons++;
	}
	return err;
}

static int start_security(struct web *w)
{
	const struct web_config *c;
	char why[512] = "out of memory";
	int err = web_auth_new(&w->auth, w->core.opt.config_file, why,
			       sizeof(why));

	if (err) {
		log_error("web configuration is wrong error=\"%s\"", why);
		return err;
	}
	c = web_auth_config(w->auth);
	if (!c || !c->tls)
		return 0;
	web_tls_init(c);
	if (!c->client_ca_file)
		return 0;
	w->trust = web_tls_read(c->client_ca_file);
	if (w->trust)
		return 0;
	log_error("cannot read client CA file=%s", c->client_ca_file);
	return -EINVAL;
}

static int start_threads(struct web *w)
{
	static const struct {
		unsigned threads, queue;
		const char *name;
	} lane[WEB_LANES] = {
		[WEB_LANE_AUTH] = { 1, 64, "web-auth" },
		[WEB_LANE_RENDER] = { 2, 1024, "web-render" },
		[WEB_LANE_API] = { 1, 64, "web-api" },
		[WEB_LANE_PAGE] = { 1, 64, "web-page" },
		[WEB_LANE_TAIL] = { 1, 256, "web-tail" },
	};
	int err = web_conns_start(&w->conns);

	if (!err)
		err = web_tails_start(&w->tails, w->core.opt.store_path);
	for (unsigned i = 1; !err && i < WEB_LANES; i++)
		err = workers_start(&w->lane[i], lane[i].threads, lane[i].queue,
				    lane[i].name);
	return err;
}

/* The lanes' threads have one each, as neither may be used by two. */
static int start_api(struct web *w)
{
	const struct web_options *o = &w->core.opt;
	const struct api_options opt = {
		.store_path = o->store_path,
		.take = o->take_agents ? o->take_agents : o->take,
		.take_all = o->take,
		.rele = o->rele,
		.arg = o->arg,
		.telemetry_path = o->telemetry_path,
		.tail = !o->tail_off,
		.windows_age_s = o->limits.windows_age_s,
		.started_us = clock_real_us(),
	};
	int err = api_new(&w->core.page, &opt);

	if (!err)
		err = api_new(&w->core.tail, &opt);
	if (!err && getrandom(w->core.salt, sizeof(w->core.salt), 0) !=
			    (ssize_t)sizeof(w->core.salt))
		err = -EIO;
	web_set_limits(w, &o->limits);
	return err;
}

int web_start(struct web **out, const struct web_options *options)
{
	struct web *w = calloc(1, sizeof(*w));
	struct render_options render = { .take = options->take,
					 .rele = options->rele,
					 .take_arg = options->arg,
					 .self = fill_self };
	int err;

	if (!w)
		return -ENOMEM;
	render.self_arg = w;
	web_set_reload_status(w, true, clock_real_us());
	err = copy_options(w, options);
	err = err ? err : start_api(w);
	err = err ? err : start_threads(w);
	err = err ? err : start_security(w);
	err = err ? err : render_new(&w->core.render, &render);
	for (size_t i = 0; !err && i < w->n_daemons; i++)
		err = start_daemon(w, i);
	if (err) {
		web_stop(w);
		return err;
	}
	*out = w;
	return 0;
}

void web_stop(struct web *w)
{
	if (!w)
		return;
	/* MHD may be stopped only when no request is suspended. Stopping the
	 * workers resumes all; later requests find them closed and get 503. */
	web_tails_stop(w->tails);
	for (unsigned i = 1; i < WEB_LANES; i++)
		workers_stop(w->lane[i]);
	for (size_t i = 0; i < w->n_daemons; i++) {
		if (w->daemon && w->daemon[i])
			MHD_stop_daemon(w->daemon[i]);
		free(w->listen[i]);
	}
	for (unsigned i = 1; i < WEB_LANES; i++)
		workers_free(w->lane[i]);
	web_tails_free(w->tails);
	api_free(w->core.page);
	api_free(w->core.tail);
	web_conns_stop(w->conns);
	render_free(w->core.render);
	web_auth_free(w->auth);
	free(w->trust);
	free(w->listen);
	free(w->daemon);
	free(w->port);
	free((char *)(uintptr_t)w->core.opt.telemetry_path);
	free((char *)(uintptr_t)w->core.opt.config_file);
	free((char *)(uintptr_t)w->core.opt.store_path);
	free(w);
}

void web_set_reload_status(struct web *w, bool successful, int64_t time_us)
{
	web_reloaded(&w->core, successful, time_us);
}

void web_set_limits(struct web *w, const struct web_limits *limits)
{
	atomic_store(&w->core.log_age_s, limits->log_age_s);
	atomic_store(&w->core.log_bytes, limits->log_bytes);
	atomic_store(&w->core.windows_age_s, limits->windows_age_s);
	atomic_store(&w->core.windows_bytes, limits->windows_bytes);
}

uint16_t web_port(const struct web *w, size_t i)
{
	return i < w->n_daemons ? w->port[i] : 0;
}

int web_config_check(const char *path, char *why, size_t why_size)
{
	struct web_config *c;
	int err = web_config_load(&c, path, why, why_size);

	if (!err)
		web_config_free(c);
	return err;
}
