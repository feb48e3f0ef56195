/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/web/api_sum.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "common/varint.h"

void api_sum_add_cells(uint64_t *cell, const struct pack_hist *h)
{
	struct varint_reader r = { .at = h->data, .end = h->data + h->len };
	int64_t native = BUCKET_ZERO;

	while (r.at < r.end) {
		uint64_t count;
		int64_t at;

		/* As in durations_decode(). */
		native = (int64_t)((uint64_t)native +
				   (uint64_t)varint_get_signed(&r));
		count = varint_get(&r);
		if (r.bad || native < BUCKET_ZERO ||
		    native > BUCKET_NATIVE_SECONDS_MAX)
			return;
		at = native == BUCKET_ZERO
			     ? 0
			     : native - BUCKET_NATIVE_SECONDS_MIN + 1;
		if (at < 0)
			return;
		cell[at] += count;
	}
}

void api_sum_add(struct api_sum *s, const struct pack_row *row, unsigned place)
{
	s->count += row->count;
	s->errors += row->errors;
	s->sum_us += row->sum[place];
	if (s->cell)
		api_sum_add_cells(s->cell, &row->hist[place]);
}

uint64_t api_sum_upper_us(size_t cell)
{
	return cell == 0 ? 0
			 : bucket_native_seconds_upper(
				   (int)cell - 1 + BUCKET_NATIVE_SECONDS_MIN);
}

uint64_t api_sum_lower_us(size_t cell)
{
	return cell <= 1 ? 0 : api_sum_upper_us(cell - 1);
}

double api_sum_quantile(const uint64_t *cell, double q)
{
	uint64_t total = 0;
	double rank, below = 0;

	for (size_t i = 0; i < API_CELLS; i++)
		total += cell[i];
	rank = q * (double)total;
	for (size_t i = 0; i < API_CELLS && total; i++) {
		double lower, upper;

		if (!cell[i] || below + (double)cell[i] < rank) {
			below += (double)cell[i];
			continue;
		}
		lower = (double)api_sum_lower_us(i);
		upper = (double)api_sum_upper_us(i);
		return (lower +
			(upper - lower) * (rank - below) / (double)cell[i]) /
		       1e6;
	}
	return NAN;
}

double api_sum_mean(const struct api_sum *s)
{
	uint64_t timed = 0;

	for (size_t i = 0; i < API_CELLS && s->cell; i++)
		timed += s->cell[i];
	if (!s->cell)
		timed = s->count;
	return timed ? (double)s->sum_us / 1e6 / (double)timed : NAN;
}

double api_sum_ratio(const struct api_sum *s)
{
	return s->count ? (double)s->errors / (double)s->count : 0;
}

/* --- order --- */

static const char *const order_name[API_ORDERS] = {
	[API_ORDER_NAME] = "name",     [API_ORDER_COUNT] = "count",
	[API_ORDER_ERRORS] = "errors", [API_ORDER_RATIO] = "error_ratio",
	[API_ORDER_MEAN] = "mean",     [API_ORDER_P50] = "p50",
	[API_ORDER_P90] = "p90",       [API_ORDER_P99] = "p99",
};

int api_order_parse(const char *text, enum api_order *out, int *sign)
{
	*out = API_ORDER_ERRORS;
	*sign = 1;
	if (!text || !*text)
		return 0;
	if (*text == '-') {
		*sign = -1;
		text++;
	}
	if (!strcmp(text, "service") || !strcmp(text, "route"))
		text = "name";
	for (unsigned i = 0; i < API_ORDERS; i++)
		if (!strcmp(text, order_name[i])) {
			*out = (enum api_order)i;
			return 0;
		}
	return -EINVAL;
}

double api_order_value(enum api_order o, const struct api_sum *s)
{
	switch (o) {
	case API_ORDER_ERRORS:
		return (double)s->errors;
	case API_ORDER_RATIO:
		return api_sum_ratio(s);
	case API_ORDER_MEAN:
		return api_sum_mean(s);
	case API_ORDER_P50:
		return api_sum_quantile(s->cell, 0.5);
	case API_ORDER_P90:
		return api_sum_quantile(s->cell, 0.9);
	case API_ORDER_P99:
		return api_sum_quantile(s->cell, 0.99);
	default:
		return (double)s->count;
	}
}

/* --- columns --- */

static void put_quantiles(struct api_json *j, const char *key, double q,
			  const struct api_sum *const *row, size_t n)
{
	api_json_key(j, key);
	api_json_open(j, '[');
	for (size_t i = 0; i < n; i++)
		api_json_real(j, api_sum_quantile(row[i]->cell, q));
	api_json_close(j, ']');
}

void api_sum_put_columns(struct api_json *j, const struct api_sum *const *row,
			 size_t n, double seconds)
{
	static const struct {
		const char *name;
		double q;
	} quantile[] = { { "p50", 0.5 }, { "p90", 0.9 }, { "p99", 0.99 } };

	api_json_key(j, "count");
	api_json_open(j, '[');
	for (size_t i = 0; i < n; i++)
		api_json_u64(j, row[i]->count);
	api_json_close(j, ']');
	api_json_key(j, "errors");
	api_json_open(j, '[');
	for (size_t i = 0; i < n; i++)
		api_json_u64(j, row[i]->errors);
	api_json_close(j, ']');
	api_json_key(j, "rate");
	api_json_open(j, '[');
	for (size_t i = 0; i < n; i++)
		api_json_real(j, (double)row[i]->count / seconds);
	api_json_close(j, ']');
	api_json_key(j, "error_ratio");
	api_json_open(j, '[');
	for (size_t i = 0; i < n; i++)
		api_json_real(j, api_sum_ratio(row[i]));
	api_json_close(j, ']');
	api_json_key(j, "mean");
	api_json_open(j, '[');
	for (size_t i = 0; i < n; i++)
		api_json_real(j, api_sum_mean(row[i]));
	api_json_close(j, ']');
	for (size_t k = 0; k < 3; k++)
		put_quantiles(j, quantile[k].name, quantile[k].q, row, n);
}
