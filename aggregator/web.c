/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/web.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "aggregator/negotiate.h"
#include "aggregator/web_auth.h"
#include "aggregator/web_conns.h"
#include "aggregator/web_listen.h"
#include "aggregator/web_routes.h"
#include "aggregator/web_tls.h"
#include "common/clock.h"
#include "common/log.h"

#define CONNECTIONS_MAX 512 /* for each listen address */
#define CONNECTION_BYTES (32u << 10) /* of MHD: the request's head */
#define BLOCK_BYTES (64u << 10) /* copied at once from a rendering */
#define UPLOAD_MAX (64u << 10) /* nobody needs a body here */

/* A connection is cut when it is past the deadline of what it is doing. */
#define HEAD_S 30 /* from accept to the first request */
#define ANSWER_S 60 /* from a request to the end of its answer */
#define IDLE_S 150 /* to the next request: scrapes come each minute */

struct web {
	struct web_core core; /* first: routes see only this */
	char **listen;
	struct MHD_Daemon **daemon;
	uint16_t *port;
	size_t n_daemons;
	char *trust; /* PEM of the client CA */
	struct web_auth *auth;
	struct workers *lane[WEB_LANES];
	struct web_conns *conns;
	atomic_uint_fast64_t http[METRICS_CODES], refused_busy;
};

struct request {
	struct web_request q; /* first */
	struct web *web;
	struct MHD_Connection *c;
	struct web_conn *connection;
	const char *authorization;
	enum web_method method;
	size_t uploaded;
	bool done; /* the answer is there */
};

static void on_connection(void *arg, struct MHD_Connection *c, void **context,
			  enum MHD_ConnectionNotificationCode code)
{
	struct web *w = arg;
	const union MHD_ConnectionInfo *info;

	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		info = MHD_get_connection_info(
			c, MHD_CONNECTION_INFO_CONNECTION_FD);
		*context =
			info ? web_conns_add(w->conns, info->connect_fd, HEAD_S)
			     : NULL;
	} else if (*context) {
		web_conns_remove(w->conns, *context);
		*context = NULL;
	}
}

/* ---- answering */

/* What a response reads; it may outlive the request. */
struct reading {
	struct job job; /* first */
	struct rendering *rendering;
	struct MHD_Connection *c;
	struct workers *lane;
	bool failed;
};

static void on_piece_worker(struct job *j)
{
	struct reading *p = (struct reading *)j;

	p->failed = rendering_more(p->rendering) < 0;
	MHD_resume_connection(p->c);
}

static ssize_t read_rendering(void *arg, uint64_t offset, char *to, size_t max)
{
	struct reading *p = arg;
	ssize_t n = p->failed ? -EIO
			      : rendering_read(p->rendering, offset, to, max);

	if (n == 0)
		return MHD_CONTENT_READER_END_OF_STREAM;
	if (n != -EAGAIN)
		return n < 0 ? MHD_CONTENT_READER_END_WITH_ERROR : n;
	MHD_suspend_connection(p->c);
	if (workers_submit(p->lane, &p->job) == 0)
		return 0;
	MHD_resume_connection(p->c);
	return MHD_CONTENT_READER_END_WITH_ERROR;
}

static void release_rendering(void *arg)
{
	struct reading *p = arg;

	rendering_rele(p->rendering);
	free(p);
}

/* Moves the rendering of r into a response. NULL if out of memory. */
static struct MHD_Response *respond_rendering(struct request *r)
{
	struct reading *p = calloc(1, sizeof(*p));
	struct MHD_Response *response;
	size_t len = rendering_len(r->q.rendering);

	if (!p)
		return NULL;
	p->job.run = on_piece_worker;
	p->rendering = r->q.rendering;
	p->c = r->c;
	p->lane = r->web->lane[WEB_LANE_RENDER];
	response = MHD_create_response_from_callback(
		len == RENDERING_IN_PIECES ? MHD_SIZE_UNKNOWN : len,
		BLOCK_BYTES, read_rendering, p, release_rendering);
	if (response)
		r->q.rendering = NULL;
	else
		free(p);
	return response;
}

/* Moves the body of it into a response. NULL if out of memory. */
static struct MHD_Response *make_response(struct request *from)
{
	struct web_request *q = &from->q;
	struct MHD_Response *r;
	struct stat st;
	void *data;
	size_t len;

	if (q->rendering)
		return respond_rendering(from);
	if (q->file >= 0) {
		if (fstat(q->file, &st))
			return NULL;
		r = MHD_create_response_from_fd64((uint64_t)st.st_size,
						  q->file);
		if (r)
			q->file = -1; /* closed with the response */
		return r;
	}
	data = buf_take(&q->body, &len);
	if (!data)
		return NULL;
	r = MHD_create_response_from_buffer(len, data, MHD_RESPMEM_MUST_FREE);
	if (!r)
		free(data);
	return r;
}

static enum MHD_Result answer(struct request *r)
{
	struct web_request *q = &r->q;
	bool rendered = q->rendering != NULL;
	struct MHD_Response *response = make_response(r);
	enum MHD_Result queued;

	if (!response)
		return MHD_NO; /* closes the connection */
	MHD_add_response_header(response, "Content-Type", q->type);
	MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
	if (q->allow)
		MHD_add_response_header(response, "Allow", q->allow);
	if (q->status == 401)
		MHD_add_response_header(response, "WWW-Authenticate",
					"Basic realm=\"redtap\"");
	if (q->status == 503)
		MHD_add_response_header(response, "Retry-After", "1");
	if (rendered) {
		MHD_add_response_header(response, "Vary",
					"Accept, Accept-Encoding");
		if (q->gzip)
			MHD_add_response_header(response, "Content-Encoding",
						"gzip");
	}
	queued = MHD_queue_response(r->c, q->status, response);
	MHD_destroy_response(response);
	if (q->status >= 100 && q->status < 100 + METRICS_CODES)
		atomic_fetch_add(&r->web->http[q->status - 100], 1);
	return queued;
}

/* ---- deciding: on the event loop, or on a worker with r suspended */

static void run_route(struct request *r)
{
	r->q.route->run(&r->q);
	r->done = true;
}

static void on_route_worker(struct job *j)
{
	struct request *r = (struct request *)j;

	run_route(r);
	MHD_resume_connection(r->c);
}

/* False: it went to a worker (or, if it was on one, to another). */
static bool dispatch(struct request *r, bool suspended)
{
	enum web_lane lane = r->q.route->lane;

	if (lane == WEB_LANE_READY)
		lane = r->q.core->opt.ready ? WEB_INLINE : WEB_LANE_RENDER;
	if (lane == WEB_INLINE) {
		run_route(r);
		return true;
	}
	r->q.job.run = on_route_worker;
	if (!suspended)
		MHD_suspend_connection(r->c);
	if (!workers_submit(r->web->lane[lane], &r->q.job))
		return false;
	atomic_fetch_add(&r->web->refused_busy, 1);
	web_say(&r->q, 503, "too many requests are waiting");
	r->done = true;
	if (!suspended)
		MHD_resume_connection(r->c);
	return suspended;
}

/* What needs no work: unknown paths, wrong methods. True: answered. */
static bool refuse(struct request *r)
{
	struct web_request *q = &r->q;

	if (!q->route) {
		web_say(q, 404, "no such page");
	} else if (!(q->route->methods & r->method)) {
		web_say(q, 405, "method not allowed here");
		q->allow = q->route->allow;
	} else if (q->route->lifecycle && !q->core->opt.enable_lifecycle) {
		web_say(q, 403, "the lifecycle API is not enabled");
	} else {
		return false;
	}
	r->done = true;
	return true;
}

static void on_auth_worker(struct job *j)
{
	struct request *r = (struct request *)j;

	if (web_auth_check(r->web->auth, r->authorization, true) !=
	    WEB_ALLOWED) {
		web_say(&r->q, 401, "unauthorized");
		r->done = true;
	} else if (!refuse(r) && !dispatch(r, true)) {
		return;
	}
	MHD_resume_connection(r->c);
}

static bool begin(struct request *r)
{
	enum web_verdict verdict;
	const union MHD_ConnectionInfo *tls;

	if (r->web->auth && web_auth_config(r->web->auth) &&
	    web_auth_config(r->web->auth)->tls) {
		tls = MHD_get_connection_info(
			r->c, MHD_CONNECTION_INFO_GNUTLS_SESSION);
		if (web_tls_check_peer(web_auth_config(r->web->auth),
				       tls ? tls->tls_session : NULL)) {
			web_say(&r->q, 403, "a client certificate is needed");
			r->done = true;
			return true;
		}
	}
	verdict = web_auth_check(r->web->auth, r->authorization, false);
	if (verdict == WEB_DENIED) {
		web_say(&r->q, 401, "unauthorized");
		r->done = true;
		return true;
	}
	if (verdict == WEB_ALLOWED)
		return refuse(r) || dispatch(r, false);
	r->q.job.run = on_auth_worker;
	MHD_suspend_connection(r->c);
	if (!workers_submit(r->web->lane[WEB_LANE_AUTH], &r->q.job))
		return false;
	atomic_fetch_add(&r->web->refused_busy, 1);
	web_say(&r->q, 503, "too many logins are waiting");
	r->done = true;
	MHD_resume_connection(r->c);
	return false;
}

/* ---- what MHD calls */

static const char *argument(const struct web_request *q, const char *key)
{
	const struct request *r = (const struct request *)q;

	return MHD_lookup_connection_value(r->c, MHD_GET_ARGUMENT_KIND, key);
}

static bool from_loopback(struct MHD_Connection *c)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(c, MHD_CONNECTION_INFO_CLIENT_ADDRESS);

	return info && info->client_addr && web_is_loopback(info->client_addr);
}

static enum web_method parse_method(const char *method)
{
	if (!strcmp(method, "GET") || !strcmp(method, "HEAD"))
		return WEB_GET;
	if (!strcmp(method, "POST"))
		return WEB_POST;
	return !strcmp(method, "PUT") ? WEB_PUT : WEB_OTHER;
}

static struct request *new_request(struct web *w, struct MHD_Connection *c,
				   const char *url, const char *method)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct request *r = calloc(1, sizeof(*r));
	struct web_request *q;

	if (!r)
		return NULL;
	r->web = w;
	r->c = c;
	r->connection = info ? info->socket_context : NULL;
	if (r->connection)
		web_conns_deadline(w->conns, r->connection, ANSWER_S);
	r->method = parse_method(method);
	r->authorization = MHD_lookup_connection_value(c, MHD_HEADER_KIND,
						       "Authorization");
	q = &r->q;
	q->file = -1;
	q->core = &w->core;
	q->route = web_route_find(&w->core, url);
	if (q->route && q->route->prefix)
		snprintf(q->rest, sizeof(q->rest), "%s",
			 url + strlen(q->route->path));
	q->arrived_ns = clock_mono_ns();
	q->format = negotiate_format(
		MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Accept"));
	q->gzip = negotiate_gzip(MHD_lookup_connection_value(
			  c, MHD_HEADER_KIND, "Accept-Encoding")) &&
		  (w->core.opt.gzip_loopback || !from_loopback(c));
	q->argument = argument;
	return r;
}

static enum MHD_Result handle(void *arg, struct MHD_Connection *c,
			      const char *url, const char *method,
			      const char *version, const char *upload,
			      size_t *upload_size, void **context)
{
	struct request *r = *context;

	(void)version;
	(void)upload;
	if (!r) {
		r = new_request(arg, c, url, method);
		*context = r;
		return r ? MHD_YES : MHD_NO;
	}
	if (*upload_size) {
		r->uploaded += *upload_size;
		*upload_size = 0;
		return r->uploaded > UPLOAD_MAX ? MHD_NO : MHD_YES;
	}
	if (!r->done && !begin(r))
		return MHD_YES; /* suspended; called again when resumed */
	return r->done ? answer(r) : MHD_YES;
}

static void on_completed(void *arg, struct MHD_Connection *c, void **context,
			 enum MHD_RequestTerminationCode code)
{
	struct request *r = *context;

	(void)arg;
	(void)c;
	(void)code;
	if (!r)
		return;
	if (r->connection)
		web_conns_deadline(r->web->conns, r->connection, IDLE_S);
	rendering_rele(r->q.rendering);
	if (r->q.file >= 0)
		close(r->q.file);
	buf_fini(&r->q.body);
	free(r);
	*context = NULL;
}

/* ---- start and stop */

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

/* Where MHD's own words go. */
static void on_log(void *arg, const char *fmt, va_list ap)
	__attribute__((format(printf, 2, 0)));

static void on_log(void *arg, const char *fmt, va_list ap)
{
	char line[256];

	(void)arg;
	vsnprintf(line, sizeof(line), fmt, ap);
	line[strcspn(line, "\n")] = '\0';
	log_debug("http: %s", line);
}

static int start_daemon(struct web *w, size_t i)
{
	const struct web_config *c = web_auth_config(w->auth);
	/* Not epoll: libmicrohttpd 0.9.75 uses it edge-triggered and misses a
	 * FIN that comes with the data, so such a connection stays open. */
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
		flags, 0, NULL, NULL, handle, w, MHD_OPTION_EXTERNAL_LOGGER,
		on_log, NULL, MHD_OPTION_LISTEN_SOCKET, fd,
		MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_BYTES,
		MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_S,
		MHD_OPTION_NOTIFY_COMPLETED, on_completed, w,
		MHD_OPTION_NOTIFY_CONNECTION, on_connection, w,
		MHD_OPTION_ARRAY, tls, MHD_OPTION_END);
	if (!w->daemon[i]) {
		close(fd);
		log_error("cannot serve HTTP on %s", w->listen[i]);
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
		log_error("telemetry path \"%s\" is no path", path);
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
		log_error("web configuration: %s", why);
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
	log_error("cannot read %s", c->client_ca_file);
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
	};
	int err = web_conns_start(&w->conns);

	for (unsigned i = 1; !err && i < WEB_LANES; i++)
		err = workers_start(&w->lane[i], lane[i].threads, lane[i].queue,
				    lane[i].name);
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
	/* Suspended requests are resumed by their workers; later ones find
	 * the lanes closed and get 503. Only then may MHD be stopped. */
	for (unsigned i = 1; i < WEB_LANES; i++)
		workers_stop(w->lane[i]);
	for (size_t i = 0; i < w->n_daemons; i++) {
		if (w->daemon && w->daemon[i])
			MHD_stop_daemon(w->daemon[i]);
		free(w->listen[i]);
	}
	for (unsigned i = 1; i < WEB_LANES; i++)
		workers_free(w->lane[i]);
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
