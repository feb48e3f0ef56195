/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_FEED_H
#define PROBE_AGENT_FEED_H

#include <stdbool.h>
#include <stdint.h>

#include "probe-agent/config/config.h"
#include "probe-agent/outbox/outbox.h"
#include "probe-agent/pipeline.h"
#include "probe-agent/worker/keeper.h"

/*
 * What user programs counted, on its way from the worker into batches; and the
 * names of processes, for the worker. Loop thread only.
 */
struct feed;

/* Sets *out, released by feed_free(). Both are borrowed. -ENOMEM. */
int feed_new(struct feed **out, struct pipeline *pipeline,
	     struct outbox *outbox);
void feed_free(struct feed *f); /* NULL is fine */

/*
 * Takes one read of the worker: what it counted, and how far pinned maps were
 * counted with that, go into the outbox together. -ENOMEM. What makes no sense
 * is logged and left out.
 */
int feed_commit(struct feed *f, const struct keeper_commit *c);

/*
 * For decode_options.process, in the worker: the names of a process by the
 * rules of the configuration, which is the argument.
 */
bool feed_name_process(void *cfg, uint32_t pid, const char **service,
		       const char **container);

#endif /* PROBE_AGENT_FEED_H */
