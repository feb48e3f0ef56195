/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_CLI_CLIENT_H
#define AGGREGATOR_CLI_CLIENT_H

#include "common/buf.h"

/*
 * A GET of another aggregator's API. The only file that sees libcurl. One
 * thread; user and password may be in the URL.
 */
struct client;

/* ca_file: NULL for the system's. Sets *out. -ENOMEM. */
int client_new(struct client **out, const char *ca_file);
void client_free(struct client *c); /* NULL is fine */

/*
 * path and query are put behind base. Fills body (its max bounds it) and
 * returns the HTTP status; -EIO: no answer, and client_error() says why.
 */
int client_get(struct client *c, const char *base, const char *path,
	       struct buf *body);
const char *client_error(const struct client *c);

#endif /* AGGREGATOR_CLI_CLIENT_H */
