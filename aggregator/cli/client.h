/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_CLI_CLIENT_H
#define AGGREGATOR_CLI_CLIENT_H

#include "common/buf.h"

/*
 * HTTP requests to the API of a running aggregator. User and password may
 * be in the URL. For one thread at a time. Only client.c sees libcurl.
 */
struct client;

/*
 * Sets *out, released by client_free(). ca_file: NULL for the system's CAs.
 * -ENOMEM.
 */
int client_new(struct client **out, const char *ca_file);
void client_free(struct client *c); /* NULL is fine */

/*
 * Gets the URL made of base and path, which may have a query. Fills body, up to
 * body->max, and returns the HTTP status. -EIO: no answer; client_error() says
 * why. -ENOMEM.
 */
int client_get(struct client *c, const char *base, const char *path,
	       struct buf *body);
/* The same with POST, without content. */
int client_post(struct client *c, const char *base, const char *path,
		struct buf *body);
/* Returns the reason of the last -EIO. Owned by c. */
const char *client_error(const struct client *c);

#endif /* AGGREGATOR_CLI_CLIENT_H */
