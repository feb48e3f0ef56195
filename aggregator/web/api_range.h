/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_WEB_API_RANGE_H
#define AGGREGATOR_WEB_API_RANGE_H

#include "aggregator/web/api_ask.h"
#include "aggregator/web/api_json.h"

/*
 * The time range of a question, and the windows that answer it: arguments from,
 * to, range and step. Pure but for the clock and api_range_settle().
 */
struct api_range {
	int64_t from_s, to_s; /* multiples of the tier's seconds */
	uint32_t step_s; /* of a point; a multiple of the tier's seconds */
	unsigned tier; /* of the store */
	size_t points; /* of step_s from from_s on; the last may be shorter */
	int64_t now_us;
	double seconds; /* that have passed of it */
};

#define API_POINTS_MAX 1000u
#define API_POINTS 90u /* at most, if no step is asked for */

/* Returns 0, or the status of an error in out. */
unsigned api_range_parse(struct api_range *r, const struct api_query *q,
			 struct buf *out);

/*
 * Takes coarser windows if the finer ones of that time are gone. Only between
 * store_reader_begin() and end(). -EIO.
 */
int api_range_settle(struct api_range *r, struct store_reader *reader,
		     enum window_kind kind);

/* Which point a window is in. */
static inline size_t api_range_point(const struct api_range *r, int64_t start_s)
{
	return (size_t)(start_s - r->from_s) / r->step_s;
}

/*
 * The rows of [q->from_s, q->to_s), in as few packs as cover it exactly: hours
 * where whole ones are in it, then minutes, then 10 s; q->tier is not used.
 * Errors as of the reader.
 */
int api_range_rows(struct store_reader *reader, const struct store_rows *q);

/* from, to, step and now of an answer. */
void api_range_put(const struct api_range *r, struct api_json *j);
/* "start": the points' beginnings. */
void api_range_put_starts(const struct api_range *r, struct api_json *j);

#endif /* AGGREGATOR_WEB_API_RANGE_H */
