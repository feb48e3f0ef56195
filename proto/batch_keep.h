/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROTO_BATCH_KEEP_H
#define PROTO_BATCH_KEEP_H

#include "proto/batch.h"

/*
 * A part of a batch as a batch of its own: only one service's requests, and
 * only the strings, resources and series that these need, so that nothing of
 * the others leaks. Stateless; any thread.
 */

/*
 * service: a name, or namespace/name. Sets *requests; if there are any, *data
 * is malloc'd and the caller's: in with the same agent, epoch and sequence, and
 * the given losses. -EMSGSIZE, -ENOMEM.
 */
int batch_keep_service(const struct batch *in, const char *service,
		       const struct batch_losses *losses, void **data,
		       size_t *len, uint64_t *requests);

/* Requests of the events and of the rollups that the service has. */
uint64_t batch_keep_count(const struct batch *in, const char *service);

#endif /* PROTO_BATCH_KEEP_H */
