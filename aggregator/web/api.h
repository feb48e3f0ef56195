/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_WEB_API_H
#define AGGREGATOR_WEB_API_H

#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"

/*
 * The JSON side: questions to the store. Only api*.c see jansson. Each
 * answer opens a read-only connection of its own, so a writer never waits.
 *
 * GET /api/v1/windows?from=&to=&by=&step=
 *	from, to  seconds since 1970 or RFC 3339; default: the last 5 minutes
 *	by        comma list of service, route, method, status, role;
 *	          default: service
 *	step      seconds, a multiple of 10, or all: windows are added up;
 *	          default: 10
 *
 *	{"from": 1700000000, "to": 1700000300, "step": 10, "by": ["service"],
 *	 "windows": [{"start": 1700000000, "groups": [
 *	   {"service": "shop", "count": 30, "errors": 3, "rate": 3.0,
 *	    "error_ratio": 0.1, "mean": 0.012, "p50": …, "p90": …, "p99": …}]}]}
 *
 * Windows are those whose start is in [from, to), from rounded down and to
 * rounded up to whole windows. Times are in seconds, the rate is per second.
 * Quantiles interpolate linearly within the bucket that they fall in, an eighth
 * of a power of two wide: off by at most 9 %. A label
 * that the group does not have is absent. What exceeded the store's budget is
 * one group with "overflow": true.
 */

#define API_RANGE_S 300 /* if from is not given */
#define API_RANGE_MAX_S (31 * 86400)
#define API_GROUPS_MAX 50000 /* rows of an answer */
#define API_ROWS_MAX 2000000 /* read from the store for one answer */

enum api_by {
	API_BY_SERVICE,
	API_BY_ROUTE,
	API_BY_METHOD,
	API_BY_STATUS,
	API_BY_ROLE,
	API_BYS,
};

struct api_windows {
	int64_t from_s, to_s;
	enum api_by by[API_BYS]; /* as asked for, no duplicates */
	size_t n_by;
	int64_t step_s; /* a window of the answer: so many seconds */
};

/*
 * Parses the arguments, NULL if not given. -EINVAL: *where is the argument's
 * name and why[] says what is wrong with it.
 */
int api_windows_parse(struct api_windows *out, const char *from, const char *to,
		      const char *by, int64_t now_s, const char **where,
		      char *why, size_t why_size);
/* Seconds, all, or NULL for one window. -EINVAL. */
int api_step_parse(struct api_windows *q, const char *text);
const char *api_by_name(enum api_by by);

/*
 * The answer or {"error": …, "where": …} as JSON; returns the HTTP status.
 * Blocks on SQLite. store_path NULL: there is no store.
 */
unsigned api_windows(struct buf *out, const char *store_path, const char *from,
		     const char *to, const char *by);
/* step: NULL, as above; seconds, a multiple of 10; "all": one window. */
unsigned api_windows_step(struct buf *out, const char *store_path,
			  const char *from, const char *to, const char *by,
			  const char *step);

/* RFC 3339, or seconds since 1970; in seconds. -EINVAL. */
int api_time_parse(const char *text, int64_t *out);

/*
 * GET /api/v1/trace?from=&to=&service=: batches received in [from, to) as a
 * trace file; default: the last five minutes. Returns the HTTP status; with 200
 * *fd is an unnamed file and the caller's, else out has the error as above.
 */
unsigned api_trace(struct buf *out, int *fd, const char *store_path,
		   const char *from, const char *to, const char *service);

/*
 * GET /api/v1/requests/ID: the stored event of an exemplar's request_id, which
 * is "LOG_ID-EVENT". Times are in seconds; what the event does not have is
 * absent; 404 once the log has given its batch up:
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
/* -EINVAL: not one. */
int api_request_parse(const char *id, uint64_t *log_id, uint32_t *event);

/* For api*.c: out becomes the error as JSON; returns status. */
unsigned api_error(struct buf *out, unsigned status, const char *what,
		   const char *where);

#endif /* AGGREGATOR_WEB_API_H */
