/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_WEB_WEB_ROUTES_H
#define AGGREGATOR_WEB_WEB_ROUTES_H

#include <stdatomic.h>

#include "aggregator/expose/render.h"
#include "aggregator/web/api_ask.h"
#include "aggregator/web/web.h"
#include "aggregator/web/web_tails.h"
#include "aggregator/web/workers.h"

/*
 * The routes: what each path answers. They do no HTTP parsing; web_request.c
 * makes a struct web_request and sends the answer in it. Private to web*.c.
 */

enum web_method {
	WEB_GET = 1, /* and HEAD */
	WEB_POST = 2,
	WEB_PUT = 4,
	WEB_OTHER = 8,
};

enum web_lane {
	WEB_INLINE, /* runs on the event loop; must never block */
	WEB_LANE_AUTH, /* workers for password hashes */
	WEB_LANE_RENDER,
	WEB_LANE_API,
	WEB_LANE_PAGE, /* questions of the page: one thread */
	WEB_LANE_TAIL, /* one thread, so that tails never delay the page */
	WEB_LANES,
	WEB_LANE_READY, /* inline with a ready callback, else a render worker */
};

/* State that the routes share. */
struct web_core {
	struct web_options opt; /* owns its strings */
	struct render *render;
	atomic_uint_fast64_t config_successful, config_success_us;
	atomic_uint_fast64_t log_age_s, log_bytes, windows_age_s, windows_bytes;
	struct api *page, *tail; /* of the lanes' threads */
	uint64_t salt[2]; /* of entity tags: random per start */
};

struct web_request {
	struct workers_job job; /* first */
	struct web_core *core;
	const struct web_route *route; /* NULL: 404 */
	char rest[64]; /* the path after a prefix route */
	uint64_t arrived_ns;
	enum expose_format format; /* as negotiated */
	bool gzip; /* accepted, and worth it for this peer */
	bool accepts_gzip;
	const char *authorization, *if_none_match; /* headers, or NULL */
	/* Returns the value of a query argument, or NULL. */
	const char *(*argument)(const struct web_request *q, const char *key);

	/* The answer. */
	unsigned status;
	const char *type; /* Content-Type; static */
	const char *allow; /* with 405; static */
	struct rendering *rendering; /* the body if not NULL */
	int file; /* else the body if not -1 */
	struct buf body; /* else the body */
	bool compressed; /* the body is gzipped */
	bool policy; /* sends the policy of the page */
	const char *cache; /* Cache-Control, or NULL; static */
	char tag[40]; /* ETag; "": none */

	/* status 0: nothing yet; it waits for the log, then runs again. */
	struct web_tail tail;
	bool last; /* it must answer now */
};

struct web_route {
	const char *path; /* NULL: the telemetry path */
	unsigned methods; /* enum web_method */
	const char *allow; /* the same as a header */
	enum web_lane lane;
	void (*run)(struct web_request *q); /* fills in the answer */
	bool lifecycle; /* only if enabled */
	bool prefix; /* matches any longer path that begins with path */
	/* A question of the page. With one of these run is NULL. */
	unsigned (*ask)(struct api *a, const struct api_query *q,
			struct buf *out);
};

/* Returns the route of a path; NULL: none. Static. */
const struct web_route *web_route_find(const struct web_core *core,
				       const char *path);

/* Sets the values of redtap_config_last_reload_*. */
void web_reloaded(struct web_core *core, bool successful, int64_t time_us);

/* Answers with a line of text. */
void web_say(struct web_request *q, unsigned status, const char *text);

#endif /* AGGREGATOR_WEB_WEB_ROUTES_H */
