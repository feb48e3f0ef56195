/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROTO_BATCH_KEEP_H
#define PROTO_BATCH_KEEP_H

#include "proto/batch.h"

/*
 * Extracts one service from a batch: a new batch has only its requests, and
 * only the strings, resources and series that they need, so that nothing about
 * other services leaks. Stateless; any thread.
 */

/*
 * service is a name, or namespace/name. Sets *requests to the number of its
 * requests. Unless that is 0, *data is the new batch, malloc'd and the
 * caller's: with the agent, epoch, sequence and info of in, and the given
 * losses. -EMSGSIZE, -ENOMEM.
 */
int batch_keep_service(const struct batch *in, const char *service,
		       const struct batch_losses *losses, void **data,
		       size_t *len, uint64_t *requests);

/* Number of requests of a service, in events and rollups. */
uint64_t batch_keep_count(const struct batch *in, const char *service);

#endif /* PROTO_BATCH_KEEP_H */
