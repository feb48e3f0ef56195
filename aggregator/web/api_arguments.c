/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/web/api.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/cli.h"
#include "proto/limits.h"

#define SECONDS_MAX 253402300799 /* the end of year 9999 */

static const char *const by_name[API_BYS] = {
	[API_BY_SERVICE] = "service",
	[API_BY_ROUTE] = "route",
	[API_BY_METHOD] = "method",
	[API_BY_STATUS] = "status",
	[API_BY_ROLE] = "role",
	[API_BY_RPC] = "rpc",
	[API_BY_RPC_STATUS] = "rpc_status",
};

const char *api_by_name(enum api_by by)
{
	return by_name[by];
}

/* Parses n digits and moves *at past them. Returns the number, -1 if fewer. */
static int digits(const char **at, unsigned n)
{
	int v = 0;

	for (unsigned i = 0; i < n; i++, (*at)++) {
		if (!isdigit((unsigned char)**at))
			return -1;
		v = 10 * v + (**at - '0');
	}
	return v;
}

static bool skip(const char **at, char c)
{
	if (**at != c)
		return false;
	(*at)++;
	return true;
}

/* Parses Z, +hh:mm or -hh:mm. In a URL, + may have been decoded to a space. */
static bool parse_offset(const char **at, int *seconds)
{
	int sign, h, m;

	if (skip(at, 'Z') || skip(at, 'z')) {
		*seconds = 0;
		return true;
	}
	if (**at == '+' || **at == ' ')
		sign = 1;
	else if (**at == '-')
		sign = -1;
	else
		return false;
	(*at)++;
	h = digits(at, 2);
	if (h < 0 || h > 23 || !skip(at, ':'))
		return false;
	m = digits(at, 2);
	if (m < 0 || m > 59)
		return false;
	*seconds = sign * (3600 * h + 60 * m);
	return true;
}

static bool parse_rfc3339(const char *at, int64_t *out)
{
	struct tm tm = { 0 };
	int offset, month_days[] = { 31, 28, 31, 30, 31, 30,
				     31, 31, 30, 31, 30, 31 };

	tm.tm_year = digits(&at, 4);
	if (tm.tm_year < 1970 || !skip(&at, '-'))
		return false;
	tm.tm_mon = digits(&at, 2) - 1;
	if (tm.tm_mon < 0 || tm.tm_mon > 11 || !skip(&at, '-'))
		return false;
	tm.tm_mday = digits(&at, 2);
	if (tm.tm_year % 4 == 0 &&
	    (tm.tm_year % 100 != 0 || tm.tm_year % 400 == 0))
		month_days[1] = 29;
	if (tm.tm_mday < 1 || tm.tm_mday > month_days[tm.tm_mon])
		return false;
	if (!skip(&at, 'T') && !skip(&at, 't') && !skip(&at, ' '))
		return false;
	tm.tm_hour = digits(&at, 2);
	if (tm.tm_hour < 0 || tm.tm_hour > 23 || !skip(&at, ':'))
		return false;
	tm.tm_min = digits(&at, 2);
	if (tm.tm_min < 0 || tm.tm_min > 59 || !skip(&at, ':'))
		return false;
	tm.tm_sec = digits(&at, 2);
	if (tm.tm_sec < 0 || tm.tm_sec > 60)
		return false;
	if (skip(&at, '.')) {
		if (!isdigit((unsigned char)*at))
			return false;
		while (isdigit((unsigned char)*at))
			at++;
	}
	if (!parse_offset(&at, &offset) || *at)
		return false;
	tm.tm_year -= 1900;
	*out = timegm(&tm) - offset;
	return true;
}

/* A duration like 1h is so long before now; a plain number is a time. */
static bool parse_time(const char *text, int64_t now_s, int64_t *out)
{
	const char *at = text;
	uint64_t ago_ms;
	int64_t v = 0;

	while (isdigit((unsigned char)*at) && v <= SECONDS_MAX)
		v = 10 * v + (*at++ - '0');
	if (at > text && *at == '.')
		for (at++; isdigit((unsigned char)*at); at++)
			; /* ignores fractions, as windows are 10 s long */
	if (at > text && !*at && v <= SECONDS_MAX) {
		*out = v;
		return true;
	}
	if (!cli_parse_duration_ms(text, &ago_ms) &&
	    ago_ms / 1000 <= (uint64_t)now_s) {
		*out = now_s - (int64_t)(ago_ms / 1000);
		return true;
	}
	return parse_rfc3339(text, out) && *out >= 0;
}

static int parse_by(struct api_windows *out, const char *by, char *why,
		    size_t why_size)
{
	out->n_by = 0;
	while (*by) {
		size_t n = strcspn(by, ",");
		unsigned k, i;

		for (k = 0; k < API_BYS; k++)
			if (strlen(by_name[k]) == n &&
			    !memcmp(by, by_name[k], n))
				break;
		if (k == API_BYS) {
			snprintf(why, why_size,
				 "must be of service, route, method, status, "
				 "role, rpc, rpc_status");
			return -EINVAL;
		}
		for (i = 0; i < out->n_by && out->by[i] != k; i++)
			;
		if (i == out->n_by)
			out->by[out->n_by++] = (enum api_by)k;
		by += n;
		if (*by && !*++by) {
			snprintf(why, why_size, "must not end in a comma");
			return -EINVAL;
		}
	}
	return 0;
}

int api_windows_parse(struct api_windows *out, const char *from, const char *to,
		      const char *by, int64_t now_s, const char **where,
		      char *why, size_t why_size)
{
	static const char time_wanted[] =
		"must be seconds since 1970, an RFC 3339 time, or a duration "
		"like 1h before now";
	int64_t step = WINDOW_SECONDS;

	*out = (struct api_windows){ .to_s = now_s + step, .step_s = step };
	*where = "to";
	if (to && !parse_time(to, now_s, &out->to_s)) {
		snprintf(why, why_size, "%s", time_wanted);
		return -EINVAL;
	}
	*where = "from";
	out->from_s = out->to_s > API_RANGE_S ? out->to_s - API_RANGE_S : 0;
	if (from && !parse_time(from, now_s, &out->from_s)) {
		snprintf(why, why_size, "%s", time_wanted);
		return -EINVAL;
	}
	out->from_s -= out->from_s % step;
	out->to_s += (step - out->to_s % step) % step;
	if (out->from_s >= out->to_s) {
		snprintf(why, why_size, "must be before to");
		return -EINVAL;
	}
	if (out->to_s - out->from_s > API_RANGE_MAX_S) {
		snprintf(why, why_size, "must be at most %d days before to",
			 API_RANGE_MAX_S / 86400);
		return -EINVAL;
	}
	*where = "by";
	return parse_by(out, by ? by : "service", why, why_size);
}

int api_step_parse(struct api_windows *q, const char *text)
{
	uint64_t ms = 0;

	if (!text)
		return 0;
	if (!strcmp(text, "all")) {
		q->step_s = q->to_s - q->from_s;
		return 0;
	}
	if (cli_parse_duration_ms(text, &ms) || ms == 0 ||
	    ms > API_RANGE_MAX_S * UINT64_C(1000) ||
	    ms % (WINDOW_SECONDS * 1000) != 0)
		return -EINVAL;
	q->step_s = (int64_t)(ms / 1000);
	return 0;
}

int api_time_parse(const char *text, int64_t now_s, int64_t *out)
{
	return parse_time(text, now_s, out) ? 0 : -EINVAL;
}
