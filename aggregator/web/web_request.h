/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_WEB_WEB_REQUEST_H
#define AGGREGATOR_WEB_WEB_REQUEST_H

#include <microhttpd.h>
#include <stdatomic.h>

#include "aggregator/web/web_auth.h"
#include "aggregator/web/web_conns.h"
#include "aggregator/web/web_routes.h"

/*
 * Internals of the web server: its state, and the callbacks of libmicrohttpd,
 * which get it as arg and run on the event loops. For web.c and web_request.c
 * only.
 */

#define WEB_IDLE_S 150 /* wait for the next request; longer than a scrape's */

struct web {
	struct web_core core; /* the part that routes see */
	char **listen;
	struct MHD_Daemon **daemon;
	uint16_t *port;
	size_t n_daemons;
	char *trust; /* client CA, PEM */
	struct web_auth *auth;
	struct workers *lane[WEB_LANES];
	struct web_conns *conns;
	struct web_tails *tails;
	atomic_uint_fast64_t http[METRICS_CODES], refused_busy;
};

void web_on_connection(void *arg, struct MHD_Connection *c, void **context,
		       enum MHD_ConnectionNotificationCode code);
enum MHD_Result web_on_request(void *arg, struct MHD_Connection *c,
			       const char *url, const char *method,
			       const char *version, const char *upload,
			       size_t *upload_size, void **context);
void web_on_completed(void *arg, struct MHD_Connection *c, void **context,
		      enum MHD_RequestTerminationCode code);

#endif /* AGGREGATOR_WEB_WEB_REQUEST_H */
