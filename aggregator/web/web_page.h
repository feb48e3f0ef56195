/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_WEB_WEB_PAGE_H
#define AGGREGATOR_WEB_WEB_PAGE_H

#include "aggregator/web/web_routes.h"

/* The page at / and its assets, and what every answer of the API gets. */

/* Scripts and styles of our own only, no requests elsewhere, no frames. */
#define WEB_PAGE_CSP                                                           \
	"default-src 'none'; script-src 'self'; style-src 'self'; "            \
	"img-src 'self' data:; connect-src 'self'; worker-src 'self'; "        \
	"frame-ancestors 'none'; base-uri 'none'; form-action 'none'; "        \
	"require-trusted-types-for 'script'; trusted-types redtap"

void web_page_landing(struct web_request *q);
void web_page_asset(struct web_request *q);

/*
 * Gives a complete answer its entity tag, or makes it a 304 if the client has
 * it; compresses it if that is worth it. The tag depends on the user and on
 * the start of the program: none is good for another. Costs 10 ms per MiB.
 */
void web_page_finish(struct web_request *q);

#endif /* AGGREGATOR_WEB_WEB_PAGE_H */
