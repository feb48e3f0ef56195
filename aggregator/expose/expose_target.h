/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_EXPOSE_EXPOSE_TARGET_H
#define AGGREGATOR_EXPOSE_EXPOSE_TARGET_H

#include <stddef.h>

#include "aggregator/expose/expose_writer.h"
#include "aggregator/snapshot/snapshot.h"

/*
 * The labels of target_info. Pure; any thread.
 */

#define EXPOSE_TARGET_CHOSEN 16 /* of a container's own labels, at most */
#define EXPOSE_TARGET_BYTES 4096 /* for their names and values */

struct expose_target {
	struct expose_label label[3 + RESOURCE_N + EXPOSE_TARGET_CHOSEN];
	size_t n;
	char text[EXPOSE_TARGET_BYTES];
};

/*
 * Fills *out, which borrows from *t and points into itself. Labels without a
 * value are left out, and so are a container's labels beyond the limits above
 * and those whose name is taken: a name must be there only once.
 */
void expose_target(struct expose_target *out, const struct snapshot_target *t);

#endif /* AGGREGATOR_EXPOSE_EXPOSE_TARGET_H */
