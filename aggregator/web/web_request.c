/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/web/web_request.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "aggregator/expose/negotiate.h"
#include "aggregator/web/web_listen.h"
#include "aggregator/web/web_page.h"
#include "aggregator/web/web_tls.h"
#include "common/clock.h"

#define BLOCK_BYTES (64u << 10) /* copied from a rendering per call */
#define UPLOAD_MAX                                                             \
	(64u << 10) /* no request needs a body; ignore up to this              \
		     */

/* A connection past the deadline of its current phase is cut off. */
#define HEAD_S 30 /* from accept to the head of the first request */
#define ANSWER_S 60 /* from a request's head to the end of its response */

struct request {
	struct web_request q; /* first */
	struct web *web;
	struct MHD_Connection *c;
	struct web_conn *connection;
	enum web_method method;
	size_t uploaded;
	bool lacks_host;
	bool done; /* q holds the answer */
};

void web_on_connection(void *arg, struct MHD_Connection *c, void **context,
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

/* --- answering --- */

/* The rendering that a response reads; may outlive the request. */
struct reading {
	struct workers_job job; /* first */
	struct rendering *rendering;
	struct MHD_Connection *c;
	struct workers *lane;
	bool failed;
};

static void on_piece_worker(struct workers_job *j)
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

/* Moves the body of the answer into a response. NULL if out of memory. */
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
	if (q->status == 304)
		return MHD_create_response_from_buffer(0, NULL,
						       MHD_RESPMEM_PERSISTENT);
	data = buf_take(&q->body, &len);
	if (!data)
		return NULL;
	r = MHD_create_response_from_buffer(len, data, MHD_RESPMEM_MUST_FREE);
	if (!r)
		free(data);
	return r;
}

/* What answers to the page have beyond those to machines. */
static void add_page_headers(const struct web_request *q,
			     struct MHD_Response *response)
{
	if (*q->tag && (q->status == 200 || q->status == 304))
		MHD_add_response_header(response, "ETag", q->tag);
	if (q->cache && (q->status == 200 || q->status == 304)) {
		MHD_add_response_header(response, "Cache-Control", q->cache);
		MHD_add_response_header(response, "Vary",
					"Accept-Encoding, Authorization");
	}
	if (q->policy && q->status == 200) {
		MHD_add_response_header(response, "Content-Security-Policy",
					WEB_PAGE_CSP);
		MHD_add_response_header(response, "Referrer-Policy",
					"no-referrer");
		MHD_add_response_header(response, "Cross-Origin-Opener-Policy",
					"same-origin");
	}
	if (q->compressed && q->status == 200)
		MHD_add_response_header(response, "Content-Encoding", "gzip");
}

static enum MHD_Result answer(struct request *r)
{
	struct web_request *q = &r->q;
	bool rendered = q->rendering != NULL;
	struct MHD_Response *response = make_response(r);
	enum MHD_Result queued;

	if (!response)
		return MHD_NO; /* closes the connection */
	if (q->status != 304)
		MHD_add_response_header(response, "Content-Type", q->type);
	MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
	add_page_headers(q, response);
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

/*
 * --- deciding; runs on the event loop, or on a worker while r is suspended ---
 */

/* The log has grown, or the time is over: the route runs again. */
static bool on_wake(struct web_tail *t, bool last, bool stopping)
{
	struct request *r =
		(struct request *)((char *)t - offsetof(struct request, q) -
				   offsetof(struct web_request, tail));

	r->q.last = last;
	if (!stopping && workers_submit(r->web->lane[WEB_LANE_TAIL], &r->q.job))
		return false;
	if (!stopping)
		return true;
	web_say(&r->q, 503, "stopping");
	r->done = true;
	MHD_resume_connection(r->c);
	return true;
}

/* Returns false if r waits for the log now: then it is not ours any more. */
static bool run_route(struct request *r)
{
	int err;

	r->q.route->run(&r->q);
	if (r->q.status) {
		r->done = true;
		return true;
	}
	r->q.tail.wake = on_wake;
	err = web_tails_park(r->web->tails, &r->q.tail);
	if (!err)
		return false;
	atomic_fetch_add(&r->web->refused_busy, err == -EBUSY);
	web_say(&r->q, 503,
		err == -EBUSY ? "too many tails are waiting" : "stopping");
	r->done = true;
	return true;
}

static void on_route_worker(struct workers_job *j)
{
	struct request *r = (struct request *)j;
	struct MHD_Connection *c = r->c;

	if (run_route(r))
		MHD_resume_connection(c);
}

/*
 * Runs the route, or submits it to the workers of its lane. suspended: called
 * on a worker. Returns false if a worker has it now, true if the answer is
 * there.
 */
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

/* Answers unknown paths and wrong methods. Returns true if it has answered. */
static bool refuse(struct request *r)
{
	struct web_request *q = &r->q;

	if (!q->route) {
		web_say(q, 404, "not found");
	} else if (!(q->route->methods & r->method)) {
		web_say(q, 405, "method not allowed");
		q->allow = q->route->allow;
	} else if (q->route->lifecycle && !q->core->opt.enable_lifecycle) {
		web_say(q, 403, "the lifecycle API is not enabled");
	} else {
		return false;
	}
	r->done = true;
	return true;
}

static void on_auth_worker(struct workers_job *j)
{
	struct request *r = (struct request *)j;

	if (web_auth_check(r->web->auth, r->q.authorization, true) !=
	    WEB_ALLOWED) {
		web_say(&r->q, 401, "unauthorized");
		r->done = true;
	} else if (!refuse(r) && !dispatch(r, true)) {
		return;
	}
	MHD_resume_connection(r->c);
}

static bool begin_request(struct request *r)
{
	enum web_verdict verdict;
	const union MHD_ConnectionInfo *tls;

	if (r->lacks_host) {
		web_say(&r->q, 400, "a request of HTTP/1.1 needs a Host");
		r->done = true;
		return true;
	}
	if (r->web->auth && web_auth_config(r->web->auth) &&
	    web_auth_config(r->web->auth)->tls) {
		tls = MHD_get_connection_info(
			r->c, MHD_CONNECTION_INFO_GNUTLS_SESSION);
		if (web_tls_check_peer(web_auth_config(r->web->auth),
				       tls ? tls->tls_session : NULL)) {
			web_say(&r->q, 403,
				"a valid client certificate is required");
			r->done = true;
			return true;
		}
	}
	verdict = web_auth_check(r->web->auth, r->q.authorization, false);
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

/* --- callbacks of MHD --- */

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
	q = &r->q;
	q->authorization = MHD_lookup_connection_value(c, MHD_HEADER_KIND,
						       "Authorization");
	q->if_none_match = MHD_lookup_connection_value(c, MHD_HEADER_KIND,
						       "If-None-Match");
	q->file = -1;
	q->core = &w->core;
	q->route = web_route_find(&w->core, url);
	if (q->route && q->route->prefix)
		snprintf(q->rest, sizeof(q->rest), "%s",
			 url + strlen(q->route->path));
	q->arrived_ns = clock_mono_ns();
	q->format = negotiate_format(
		MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Accept"));
	q->accepts_gzip = negotiate_gzip(MHD_lookup_connection_value(
		c, MHD_HEADER_KIND, "Accept-Encoding"));
	q->gzip = q->accepts_gzip &&
		  (w->core.opt.gzip_loopback || !from_loopback(c));
	q->argument = argument;
	return r;
}

enum MHD_Result web_on_request(void *arg, struct MHD_Connection *c,
			       const char *url, const char *method,
			       const char *version, const char *upload,
			       size_t *upload_size, void **context)
{
	struct request *r = *context;

	(void)upload;
	if (!r) {
		r = new_request(arg, c, url, method);
		*context = r;
		if (r)
			r->lacks_host = !strcmp(version, "HTTP/1.1") &&
					!MHD_lookup_connection_value(
						c, MHD_HEADER_KIND, "Host");
		return r ? MHD_YES : MHD_NO;
	}
	if (*upload_size) {
		r->uploaded += *upload_size;
		*upload_size = 0;
		return r->uploaded > UPLOAD_MAX ? MHD_NO : MHD_YES;
	}
	if (!r->done && !begin_request(r))
		return MHD_YES; /* suspended; called again when resumed */
	return r->done ? answer(r) : MHD_YES;
}

void web_on_completed(void *arg, struct MHD_Connection *c, void **context,
		      enum MHD_RequestTerminationCode code)
{
	struct request *r = *context;

	(void)arg;
	(void)c;
	(void)code;
	if (!r)
		return;
	if (r->connection)
		web_conns_deadline(r->web->conns, r->connection, WEB_IDLE_S);
	rendering_rele(r->q.rendering);
	if (r->q.file >= 0)
		close(r->q.file);
	buf_fini(&r->q.body);
	free(r);
	*context = NULL;
}
