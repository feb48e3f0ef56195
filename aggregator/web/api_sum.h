/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_WEB_API_SUM_H
#define AGGREGATOR_WEB_API_SUM_H

#include <stddef.h>
#include <stdint.h>

#include "aggregator/store/pack.h"
#include "aggregator/web/api_json.h"
#include "proto/buckets.h"

/*
 * Rate, errors and durations of whatever is added up. Quantiles come from cells
 * that were added up, never from other quantiles. Pure.
 */

/* Native buckets over seconds, and the one of 0 first. */
#define API_CELLS (BUCKET_NATIVE_SECONDS_MAX - BUCKET_NATIVE_SECONDS_MIN + 2)

struct api_sum {
	uint64_t count, errors, sum_us;
	uint64_t *cell; /* API_CELLS of them, or NULL: not wanted */
};

/* Adds count, errors, the sum and, if s has cells, the histogram at place. */
void api_sum_add(struct api_sum *s, const struct pack_row *row, unsigned place);
/* Only the histogram. */
void api_sum_add_cells(uint64_t *cell, const struct pack_hist *h);

/* In seconds; NaN if there are no values. */
double api_sum_quantile(const uint64_t *cell, double q);
/* Of the requests whose duration is known, if s has cells. */
double api_sum_mean(const struct api_sum *s);
double api_sum_ratio(const struct api_sum *s); /* of errors */

/* Bounds of a cell in µs; both 0 for the values of 0. */
uint64_t api_sum_lower_us(size_t cell);
uint64_t api_sum_upper_us(size_t cell);

/* What rows are ordered by. */
enum api_order {
	API_ORDER_NAME,
	API_ORDER_COUNT,
	API_ORDER_ERRORS,
	API_ORDER_RATIO,
	API_ORDER_MEAN,
	API_ORDER_P50,
	API_ORDER_P90,
	API_ORDER_P99,
	API_ORDERS,
};
/* A leading - turns it round. -EINVAL: no such order. */
int api_order_parse(const char *text, enum api_order *out, int *sign);
/* Whether it needs cells. */
static inline int api_order_of_cells(enum api_order o)
{
	return o >= API_ORDER_P50;
}
/* What to sort by, greatest first; NaN is the least. Not for names. */
double api_order_value(enum api_order o, const struct api_sum *s);

/* Columns count, errors, rate, error_ratio, mean, p50, p90, p99 of n rows. */
void api_sum_put_columns(struct api_json *j, const struct api_sum *const *row,
			 size_t n, double seconds);

#endif /* AGGREGATOR_WEB_API_SUM_H */
