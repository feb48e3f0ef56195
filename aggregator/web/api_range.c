/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/web/api_range.h"

#include <errno.h>

#include "aggregator/web/api.h"
#include "common/cli.h"
#include "common/clock.h"
#include "proto/limits.h"

#define RANGE_S 900

static const uint32_t nice_steps[] = { 10,    20,    30,    60,	   120,	  300,
				       600,   1200,  1800,  3600,  7200,  10800,
				       14400, 21600, 43200, 86400, 172800 };
#define N_STEPS (sizeof(nice_steps) / sizeof(nice_steps[0]))

static int64_t round_down(int64_t v, int64_t to)
{
	return v - v % to;
}

static int64_t round_up(int64_t v, int64_t to)
{
	return v % to ? v + to - v % to : v;
}

/* The coarsest tier that step_s is a multiple of. */
static unsigned tier_of(uint32_t step_s)
{
	unsigned t = STORE_TIERS - 1;

	while (t > 0 && step_s % store_tiers[t])
		t--;
	return t;
}

/* Rounds outwards to whole windows, the beginning to a whole point. */
static void align_range(struct api_range *r)
{
	int64_t span;

	r->from_s = round_down(r->from_s, r->step_s);
	r->to_s = round_up(r->to_s, store_tiers[r->tier]);
	span = r->to_s - r->from_s;
	r->points = (size_t)((span + r->step_s - 1) / r->step_s);
	r->seconds = (double)span;
	if (r->to_s * INT64_C(1000000) > r->now_us &&
	    r->from_s * INT64_C(1000000) < r->now_us)
		r->seconds = (double)(r->now_us - r->from_s * 1000000) / 1e6;
	if (r->seconds < 1)
		r->seconds = 1;
}

static uint32_t step_for(int64_t span_s)
{
	for (size_t i = 0; i < N_STEPS; i++)
		if (span_s / nice_steps[i] <= API_POINTS)
			return nice_steps[i];
	return nice_steps[N_STEPS - 1];
}

/* Seconds, or a duration like 5m; 10 s to 31 days. -EINVAL. */
static int get_seconds(const struct api_query *q, const char *key,
		       uint64_t otherwise, uint64_t *out)
{
	const char *text = api_get(q, key);
	uint64_t ms;

	*out = otherwise;
	if (!text || !*text)
		return 0;
	if (cli_parse_duration_ms(text, &ms) || ms % 1000 ||
	    ms < WINDOW_SECONDS * 1000 || ms > API_RANGE_MAX_S * UINT64_C(1000))
		return -EINVAL;
	*out = ms / 1000;
	return 0;
}

static unsigned parse_times(struct api_range *r, const struct api_query *q,
			    struct buf *out)
{
	static const char wanted[] =
		"neither seconds since 1970, an RFC 3339 time, nor a duration "
		"like 1h before now";
	const int64_t now_s = r->now_us / 1000000;
	const char *from = api_get(q, "from"), *to = api_get(q, "to");
	uint64_t range = RANGE_S;

	r->to_s = round_up(r->now_us / 1000000 + 1, WINDOW_SECONDS);
	if (to && *to && api_time_parse(to, now_s, &r->to_s))
		return api_bad(out, "to", wanted);
	if (get_seconds(q, "range", RANGE_S, &range))
		return api_bad(out, "range", "not 10 seconds to 31 days");
	r->from_s = r->to_s > (int64_t)range ? r->to_s - (int64_t)range : 0;
	if (from && *from && api_time_parse(from, now_s, &r->from_s))
		return api_bad(out, "from", wanted);
	if (r->from_s >= r->to_s)
		return api_bad(out, "from", "not before to");
	if (r->to_s - r->from_s > API_RANGE_MAX_S)
		return api_bad(out, "from", "more than 31 days before to");
	return 0;
}

unsigned api_range_parse(struct api_range *r, const struct api_query *q,
			 struct buf *out)
{
	uint64_t step = 0;
	unsigned status;

	*r = (struct api_range){ .now_us = clock_real_us() };
	status = parse_times(r, q, out);
	if (status)
		return status;
	if (get_seconds(q, "step", 0, &step) || step % WINDOW_SECONDS)
		return api_bad(out, "step", "not a multiple of 10 seconds");
	if (step && (uint64_t)(r->to_s - r->from_s) / step >= API_POINTS_MAX)
		return api_bad(out, "step", "gives more than 1000 points");
	r->step_s = step ? (uint32_t)step : step_for(r->to_s - r->from_s);
	r->tier = tier_of(r->step_s);
	align_range(r);
	return 0;
}

int api_range_settle(struct api_range *r, struct store_reader *reader,
		     enum window_kind kind)
{
	int64_t first[STORE_TIERS];
	int err = 0;

	for (unsigned t = 0; t < STORE_TIERS && !err; t++)
		err = store_reader_first(reader, kind, t, &first[t]);
	for (unsigned t = r->tier + 1; t < STORE_TIERS && !err; t++) {
		int64_t coarse = first[t] + store_tiers[t];

		/* Worth it only if the coarser windows go back further. */
		if (first[r->tier] <= r->from_s || first[t] == INT64_MAX ||
		    first[r->tier] == INT64_MAX || coarse > first[r->tier])
			continue;
		r->tier = t;
		r->step_s = (uint32_t)round_up(r->step_s, store_tiers[t]);
		align_range(r);
	}
	return err;
}

/* How far a tier takes from at on, and not beyond to_s. */
static int64_t end_of(unsigned tier, int64_t at, int64_t to_s)
{
	int64_t end = round_down(to_s, store_tiers[tier]);

	/* A coarser tier takes over where it can. */
	if (tier + 1 < STORE_TIERS) {
		int64_t next = round_up(at, store_tiers[tier + 1]);

		if (next > at && next + store_tiers[tier + 1] <= to_s)
			return next;
	}
	return end;
}

int api_range_rows(struct store_reader *reader, const struct store_rows *q)
{
	struct store_rows part = *q;
	int64_t to_s = round_up(q->to_s, WINDOW_SECONDS);
	int err = 0;

	part.from_s = round_down(q->from_s, WINDOW_SECONDS);
	while (part.from_s < to_s && !err) {
		part.tier = STORE_TIERS - 1;
		while (part.tier > 0 &&
		       (part.from_s % store_tiers[part.tier] ||
			part.from_s + store_tiers[part.tier] > to_s))
			part.tier--;
		part.to_s = end_of(part.tier, part.from_s, to_s);
		err = store_reader_rows(reader, &part);
		part.from_s = part.to_s;
	}
	return err;
}

void api_range_put(const struct api_range *r, struct api_json *j)
{
	api_json_put_i64(j, "from", r->from_s);
	api_json_put_i64(j, "to", r->to_s);
	api_json_put_u64(j, "step", r->step_s);
	api_json_put_us(j, "now", r->now_us);
}

void api_range_put_starts(const struct api_range *r, struct api_json *j)
{
	api_json_key(j, "start");
	api_json_open(j, '[');
	for (size_t i = 0; i < r->points; i++)
		api_json_i64(j, r->from_s + (int64_t)(i * r->step_s));
	api_json_close(j, ']');
}
