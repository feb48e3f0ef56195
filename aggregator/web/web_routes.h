/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_WEB_WEB_ROUTES_H
#define AGGREGATOR_WEB_WEB_ROUTES_H

#include <stdatomic.h>

#include "aggregator/expose/render.h"
#include "aggregator/web/web.h"
#include "aggregator/web/workers.h"

/*
 * What each path answers, without a word of HTTP parsing: web.c brings requests
 * and takes answers. Private to the web*.c files.
 */

enum web_method {
	WEB_GET = 1, /* and HEAD */
	WEB_POST = 2,
	WEB_PUT = 4,
	WEB_OTHER = 8,
};

enum web_lane {
	WEB_INLINE, /* never blocks: on the event loop */
	WEB_LANE_AUTH, /* password hashes */
	WEB_LANE_RENDER,
	WEB_LANE_API,
	WEB_LANES,
	WEB_LANE_READY, /* inline if there is a callback that never blocks */
};

/* What the routes share. */
struct web_core {
	struct web_options opt; /* strings are ours */
	struct render *render;
	atomic_uint_fast64_t config_successful, config_success_us;
};

struct web_request {
	struct workers_job job; /* first */
	struct web_core *core;
	const struct web_route *route; /* NULL: 404 */
	char rest[64]; /* of the path, behind a route that is a prefix */
	uint64_t arrived_ns;
	enum expose_format format; /* as negotiated */
	bool gzip; /* taken, and worth it for this peer */
	/* The value of a query argument, or NULL. */
	const char *(*argument)(const struct web_request *q, const char *key);

	/* The answer. */
	unsigned status;
	const char *type; /* Content-Type; static */
	const char *allow; /* with 405; static */
	struct rendering *rendering; /* the body, or: */
	int file; /* the body, or: -1 */
	struct buf body;
};

struct web_route {
	const char *path; /* NULL: the telemetry path */
	unsigned methods; /* enum web_method */
	const char *allow; /* the same as a header */
	enum web_lane lane;
	void (*run)(struct web_request *q); /* fills in the answer */
	bool lifecycle; /* only if enabled */
	bool prefix; /* any path that begins like this and goes on */
};

/* NULL: no such path. Static. */
const struct web_route *web_route_find(const struct web_core *core,
				       const char *path);

/* What redtap_config_last_reload_* show. */
void web_reloaded(struct web_core *core, bool successful, int64_t time_us);

/* A short text as the answer. */
void web_say(struct web_request *q, unsigned status, const char *text);

#endif /* AGGREGATOR_WEB_WEB_ROUTES_H */
