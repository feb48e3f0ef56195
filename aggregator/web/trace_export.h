/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_WEB_TRACE_EXPORT_H
#define AGGREGATOR_WEB_TRACE_EXPORT_H

#include <stdint.h>

#include "proto/trace.h"

/*
 * Batches of a store's log as a trace file, with memory for one of them. Any
 * thread; each call has its own read-only connection.
 */

struct trace_export {
	const char *store_path;
	int64_t from_us, to_us; /* when the batches were received */
	const char *service; /* only its requests; NULL: all */
	/* Filled. */
	uint64_t batches, requests, unreadable;
};

/* -ENOENT, -EIO: the store; -ENOMEM; or the sink's error. */
int trace_export_write(struct trace_export *e, trace_sink_fn *sink, void *arg);

/* Into an unnamed file next to the store; *fd is the caller's. */
int trace_export_temporary(struct trace_export *e, int *fd);

#endif /* AGGREGATOR_WEB_TRACE_EXPORT_H */
