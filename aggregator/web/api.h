/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_WEB_API_H
#define AGGREGATOR_WEB_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"

/*
 * The JSON API, which answers from the store. Each call opens its own read-only
 * connection, so the writer never waits. Any thread. Of the web side, only
 * api*.c see jansson.
 *
 * GET /api/v1/windows?from=&to=&by=&step=
 *	from, to  seconds since 1970, RFC 3339, or a duration like 1h before
 *now; default: the last 5 minutes by        comma-separated list of service,
 *route, method, status, role, rpc, rpc_status; default: service step seconds, a
 *multiple of 10, over which windows are added up; or all: one window; default:
 *10
 *
 *	{"from": 1700000000, "to": 1700000300, "step": 10, "by": ["service"],
 *	 "windows": [{"start": 1700000000, "groups": [
 *	   {"service": "shop", "count": 30, "errors": 3, "rate": 3.0,
 *	    "error_ratio": 0.1, "mean": 0.012, "p50": …, "p90": …, "p99": …}]}]}
 *
 * The answer has the windows that start in [from, to), with from rounded down
 * and to rounded up to whole windows. Times are in seconds, the rate is per
 * second. A quantile is interpolated linearly within its bucket. Buckets are an
 * eighth of a power of two wide, so it is off by at most 9 %. mean and
 *quantiles are of the requests whose duration is known; null: of none. A label
 *that a group does not have is absent. Requests beyond the store's budget of
 *label sets are one group with "overflow": true.
 */

#define API_RANGE_S 300 /* the range if `from` is not given */
#define API_RANGE_MAX_S (31 * 86400) /* the longest range */
#define API_GROUPS_MAX 50000 /* groups in one answer */
#define API_ROWS_MAX 2000000 /* rows read from the store for one answer */

/* The arguments of a question. get() returns the decoded value or NULL. */
struct api_query {
	const char *(*get)(const void *arg, const char *key);
	const void *arg;
};

enum api_by {
	API_BY_SERVICE,
	API_BY_ROUTE,
	API_BY_METHOD,
	API_BY_STATUS,
	API_BY_ROLE,
	API_BY_RPC,
	API_BY_RPC_STATUS,
	API_BYS,
};

struct api_windows {
	int64_t from_s, to_s;
	enum api_by by[API_BYS]; /* in the order given, without duplicates */
	size_t n_by;
	const char
		*only[API_BYS]; /* only these values; NULL: any; "": absent */
	bool cells; /* the histograms too */
	int64_t step_s; /* length of a window in the answer */
};

/*
 * Parses the arguments; each is NULL if not given. -EINVAL: *where is the name
 * of the wrong argument and why[] says what is wrong.
 */
int api_windows_parse(struct api_windows *out, const char *from, const char *to,
		      const char *by, int64_t now_s, const char **where,
		      char *why, size_t why_size);
/* Sets step_s from seconds, "5m" or "all"; NULL leaves it as it is. -EINVAL. */
int api_step_parse(struct api_windows *q, const char *text);
/* Static. */
const char *api_by_name(enum api_by by);

/*
 * Appends the answer, or {"error": …, "where": …}, as JSON to out and returns
 * the HTTP status. Blocks on SQLite. store_path NULL: there is no store.
 */
unsigned api_windows(struct buf *out, const char *store_path, const char *from,
		     const char *to, const char *by);
/* The same with a step: see above; NULL is the default. */
unsigned api_windows_step(struct buf *out, const char *store_path,
			  const char *from, const char *to, const char *by,
			  const char *step);

/*
 * The same with all arguments: by the names of api_by_name() only groups with
 * that value, and with cells=1 each group has "cells": [lower, upper, count, …]
 * in seconds.
 */
unsigned api_windows_ask(struct buf *out, const char *store_path,
			 const struct api_query *ask);

/*
 * Parses RFC 3339, seconds since 1970, or a duration before now ("1h"), into
 * seconds since 1970. -EINVAL.
 */
int api_time_parse(const char *text, int64_t now_s, int64_t *out);

/*
 * GET /api/v1/trace?from=&to=&service=
 *
 * The batches received in [from, to) as a trace file; default: the last five
 * minutes. Returns the HTTP status. If it is 200, *fd is an unnamed file that
 * the caller must close; else out has the error as above.
 */
unsigned api_trace(struct buf *out, int *fd, const char *store_path,
		   const char *from, const char *to, const char *service);

/*
 * GET /api/v1/requests/ID
 *
 * The stored event of an exemplar's request_id, which is "LOG_ID-EVENT". Times
 * are in seconds; fields that the event does not have are absent. 404 once
 * retention has deleted its batch from the log.
 *
 *	{"request_id": "12-34", "node": "web-1", "service": "cart",
 *	 "namespace": …, "instance": …, "container": …, "executable": …,
 *	 "role": "server", "method": "GET", "route": "/users/{id}", "scheme": …,
 *	 "address": …, "port": …, "status": 500, "error": "500", "start": …,
 *	 "duration": …, "time_to_first_byte": …, "request_bytes": …,
 *	 "response_bytes": …, "trace_id": …, "span_id": …, "received": …,
 *	 "epoch": …, "sequence": …}
 */
unsigned api_request(struct buf *out, const char *store_path, const char *id);
/* Parses a request_id. -EINVAL. */
int api_request_parse(const char *id, uint64_t *log_id, uint32_t *event);

/* Replaces out by the error as JSON and returns status. For api*.c only. */
unsigned api_error(struct buf *out, unsigned status, const char *what,
		   const char *where);

#endif /* AGGREGATOR_WEB_API_H */
