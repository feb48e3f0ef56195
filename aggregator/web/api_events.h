/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_WEB_API_EVENTS_H
#define AGGREGATOR_WEB_API_EVENTS_H

#include "aggregator/web/api_ask.h"
#include "aggregator/web/api_json.h"
#include "proto/batch.h"

/* Stored events: which of a batch match, and a list of some of them. */

struct api_filter {
	/* NULL: any; "" of route, method: those without one. */
	const char *service, *instance, *node, *role, *method, *route;
	bool any_status, no_status, errors;
	uint32_t status;
	uint64_t min_us, max_us; /* min_us < duration <= max_us */
	bool has_min;
	int64_t from_s, to_s; /* of the window it counts in; from_s < 0: any */
	uint64_t future_us, past_us; /* as the engine clamps */
};

/* All but the times. Returns 0, or the status of an error in out. */
unsigned api_filter_parse(struct api_filter *f, const struct api *a,
			  const struct api_query *q, struct buf *out);

struct api_event {
	uint64_t log_id;
	uint32_t event;
	int64_t end_us;
	uint64_t duration_us, first_us, request_bytes, response_bytes;
	bool untimed; /* duration_us and first_us are unknown */
	uint32_t status;
	unsigned role;
	const char *error, *rpc, *rpc_status; /* static, or NULL */
	char *service, *instance, *node, *method,
		*route; /* own; NULL: absent */
	char trace_id[33]; /* "": none */
};

struct api_events {
	struct api_event *at;
	size_t n, cap, limit;
	uint64_t scanned, matched, rolled_up;
};

void api_events_fini(struct api_events *e);

/* Called for a match; returns 0 or a negative errno. b is the whole batch. */
typedef int api_match_fn(void *arg, const struct batch *b, uint32_t event,
			 int64_t end_us);
/*
 * Decodes a row of the log and calls fn for each event that matches, in the
 * order of the batch. Counts scanned, matched and rolled_up in e. A batch that
 * cannot be decoded has no events. -ENOMEM, or what fn returned.
 */
int api_events_scan(struct api *a, const struct store_log *row,
		    const struct api_filter *f, struct api_events *e,
		    api_match_fn *fn, void *arg);

/* Copies an event to *to, freeing what that had. -ENOMEM. */
int api_event_copy(struct api_event *to, uint64_t log_id, const struct batch *b,
		   uint32_t event, int64_t end_us);
void api_event_free(struct api_event *e);
/* Appends one if there is room. -ENOMEM. */
int api_events_add(struct api_events *e, uint64_t log_id, const struct batch *b,
		   uint32_t event, int64_t end_us);

/* "requests": {columns}. */
void api_events_put(const struct api_events *e, struct api_json *j);

#endif /* AGGREGATOR_WEB_API_EVENTS_H */
