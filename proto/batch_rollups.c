/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/batch_checks.h"
#include "proto/buckets.h"
#include "proto/limits.h"

/* Takes over rollups from protobuf-c, and validates them. */

/* One of the three histograms, as protobuf-c decoded it. */
struct hist_columns {
	size_t n_buckets, n_index, n_count;
	const uint32_t *buckets;
	const int32_t *index;
	const uint64_t *count;
};

/* The buckets of a row must add up to its count: scrapes depend on it. */
static const char *take_hist(const struct hist_columns *h, size_t n,
			     const uint64_t *count,
			     struct batch_rollup_hist *out)
{
	size_t at = 0;

	if (h->n_buckets != n || h->n_index != h->n_count)
		return "rollups: columns of unequal length";
	if (h->n_count > LIMIT_ROLLUP_BUCKETS)
		return "rollups: more than LIMIT_ROLLUP_BUCKETS";
	if (!below_u64(h->count, h->n_count, LIMIT_ROLLUP_COUNT))
		return "rollups: bucket over LIMIT_ROLLUP_COUNT";
	for (size_t i = 0; i < h->n_index; i++)
		if (h->index[i] < BUCKET_ZERO ||
		    h->index[i] > 2 * BUCKET_NATIVE_BYTES_MAX + 1)
			return "rollups: bucket index out of range";
	for (size_t i = 0; i < n; i++) {
		uint64_t sum = 0;

		if (h->buckets[i] > h->n_count - at)
			return "rollups: bucket outside its table";
		for (size_t k = 0; k < h->buckets[i]; k++)
			sum += h->count[at + k];
		if (sum != count[i])
			return "rollups: buckets do not add up to the count";
		at += h->buckets[i];
	}
	if (at != h->n_count)
		return "rollups: bucket outside its table";
	out->buckets = h->buckets;
	out->index = h->index;
	out->count = h->count;
	out->n_entries = h->n_count;
	return NULL;
}

static const char *take_rollup_hists(const Redtap__Rollups *m,
				     struct batch_rollups *r)
{
	struct hist_columns duration = {
		m->n_duration_buckets, m->n_duration_index, m->n_duration_count,
		m->duration_buckets,   m->duration_index,   m->duration_count,
	};
	struct hist_columns request = {
		m->n_request_buckets, m->n_request_index, m->n_request_count,
		m->request_buckets,   m->request_index,	  m->request_count,
	};
	struct hist_columns response = {
		m->n_response_buckets, m->n_response_index, m->n_response_count,
		m->response_buckets,   m->response_index,   m->response_count,
	};
	const char *reason;

	reason = take_hist(&duration, r->n, r->count, &r->duration);
	if (!reason)
		reason = take_hist(&request, r->n, r->count, &r->request);
	if (!reason)
		reason = take_hist(&response, r->n, r->count, &r->response);
	return reason;
}

static bool windows_fit(const int64_t *delta, size_t n, int64_t base_us)
{
	int64_t base_s = base_us / 1000000;

	if (n > 0 && base_us % 1000000 != 0)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (delta[i] <= -LIMIT_TIME_S || delta[i] >= LIMIT_TIME_S ||
		    base_s + delta[i] < 0 ||
		    base_s + delta[i] >= LIMIT_TIME_S ||
		    (base_s + delta[i]) % (int64_t)WINDOW_SECONDS != 0)
			return false;
	}
	return true;
}

/* True if all of v add up to less than the limit, which is at most 2^62. */
static bool all_below(const uint64_t *v, size_t n, uint64_t limit)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++) {
		if (v[i] >= limit)
			return false;
		sum += v[i];
		if (sum >= limit)
			return false;
	}
	return true;
}

/* True if no sum[i] is greater than count[i] values below limit add up to. */
static bool sums_fit(const uint64_t *sum, const uint64_t *count, size_t n,
		     uint64_t limit)
{
	for (size_t i = 0; i < n; i++)
		if ((sum[i] + limit - 2) / (limit - 1) > count[i])
			return false;
	return true;
}

static const char *check_rollup_sums(const Redtap__Rollups *m, size_t n)
{
	if (!all_below(m->count, n, LIMIT_ROLLUP_COUNT))
		return "rollups: count over LIMIT_ROLLUP_COUNT";
	if (!all_below(m->duration_sum_us, n, LIMIT_ROLLUP_SUM) ||
	    !all_below(m->request_bytes_sum, n, LIMIT_ROLLUP_SUM) ||
	    !all_below(m->response_bytes_sum, n, LIMIT_ROLLUP_SUM))
		return "rollups: sum over LIMIT_ROLLUP_SUM";
	if (!sums_fit(m->duration_sum_us, m->count, n, LIMIT_DURATION_US) ||
	    !sums_fit(m->request_bytes_sum, m->count, n, LIMIT_BODY_BYTES) ||
	    !sums_fit(m->response_bytes_sum, m->count, n, LIMIT_BODY_BYTES))
		return "rollups: sum over what its count can add up to";
	return NULL;
}

static const char *check_rollups(const Redtap__Rollups *m,
				 const struct batch *b)
{
	size_t n = m->n_series;

	if (n > LIMIT_ROLLUPS)
		return "rollups: more than LIMIT_ROLLUPS";
	if (m->n_window_delta_s != n || m->n_count != n ||
	    m->n_duration_sum_us != n || m->n_request_bytes_sum != n ||
	    m->n_response_bytes_sum != n)
		return "rollups: columns of unequal length";
	if (n > 0 && m->detail != BUCKET_DETAIL)
		return "rollups: unknown detail";
	if (!below_u32(m->series, n, b->series.n))
		return "rollups: index outside series";
	if (!windows_fit(m->window_delta_s, n, b->base_us))
		return "rollups: not the start of a window";
	return check_rollup_sums(m, n);
}

const char *batch_take_rollups(const Redtap__Rollups *m, struct batch *b)
{
	struct batch_rollups *r = &b->rollups;
	const char *reason;

	if (!m)
		return NULL;
	reason = check_rollups(m, b);
	if (reason)
		return reason;
	r->n = m->n_series;
	r->series = m->series;
	r->window_delta_s = m->window_delta_s;
	r->count = m->count;
	r->duration_sum_us = m->duration_sum_us;
	r->request_bytes_sum = m->request_bytes_sum;
	r->response_bytes_sum = m->response_bytes_sum;
	r->detail = m->detail;
	return take_rollup_hists(m, r);
}
