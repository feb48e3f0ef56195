/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_WEB_TRACE_EXPORT_H
#define AGGREGATOR_WEB_TRACE_EXPORT_H

#include <stdint.h>

#include "proto/trace.h"

/*
 * Writes batches of a store's log as a trace file. Holds one batch in memory at
 * a time. Any thread; each call opens its own read-only connection.
 */

struct trace_export {
	const char *store_path;
	int64_t from_us, to_us; /* when the batches were received */
	const char *service; /* write only its requests; NULL: all */
	/* Set by the calls below. */
	uint64_t batches, requests, unreadable;
};

/* -ENOENT, -EIO: cannot read the store. -ENOMEM. Else the sink's error. */
int trace_export_write(struct trace_export *e, trace_sink_fn *sink, void *arg);

/* Writes to an unnamed file next to the store; the caller must close *fd. */
int trace_export_temporary(struct trace_export *e, int *fd);

#endif /* AGGREGATOR_WEB_TRACE_EXPORT_H */
