/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/replay/import_text.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "proto/limits.h"

#define US_PER_S INT64_C(1000000)

/* --- numbers --- */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Reads least to most digits. */
static bool read_digits(const char **at, int least, int most, int *out)
{
	int n = 0;

	*out = 0;
	for (; n < most && is_digit(**at); n++, (*at)++)
		*out = 10 * *out + (**at - '0');
	return n >= least;
}

bool import_number(const char **at, double *out)
{
	const char *p = *at;
	char *end;

	/* strtod() would also take blanks, signs, "inf" and "0x1p3". */
	if (!is_digit(p[*p == '.']) || (p[0] == '0' && (p[1] | 32) == 'x'))
		return false;
	*out = strtod(p, &end);
	*at = end;
	return isfinite(*out);
}

/* --- times --- */

/* A date and a time of day; month 1 to 12. */
struct civil {
	int year, month, day, hour, minute, second;
	int64_t fraction_us;
	bool has_zone;
	int64_t zone_s; /* east of Greenwich */
};

static bool leap(int year)
{
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static bool civil_valid(const struct civil *c)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30,
				    31, 31, 30, 31, 30, 31 };

	return c->year >= 1970 && c->year <= 9999 && c->month >= 1 &&
	       c->month <= 12 && c->day >= 1 &&
	       c->day <=
		       days[c->month - 1] + (c->month == 2 && leap(c->year)) &&
	       c->hour <= 23 && c->minute <= 59 && c->second <= 60;
}

/* local: without a zone it is this host's time, else UTC. */
static bool civil_us(const struct civil *c, bool local, int64_t *out_us)
{
	struct tm tm = { .tm_year = c->year - 1900,
			 .tm_mon = c->month - 1,
			 .tm_mday = c->day,
			 .tm_hour = c->hour,
			 .tm_min = c->minute,
			 .tm_sec = c->second,
			 .tm_isdst = -1 };
	int64_t s;

	if (!civil_valid(c))
		return false;
	s = local && !c->has_zone ? mktime(&tm) : timegm(&tm) - c->zone_s;
	*out_us = s * US_PER_S + c->fraction_us;
	return s >= 0 && (uint64_t)*out_us <= LIMIT_TIME_US;
}

static int month_of(const char *text)
{
	/* English in any locale. */
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

	for (int i = 0; i < 12; i++)
		if (strncasecmp(text, months + 3 * i, 3) == 0)
			return i + 1;
	return 0;
}

/* Reads ".25" or ",25" if it is there. */
static bool read_fraction(const char **at, struct civil *c)
{
	int64_t unit = US_PER_S / 10;

	if ((**at != '.' && **at != ',') || !is_digit((*at)[1]))
		return true;
	for ((*at)++; is_digit(**at); (*at)++, unit /= 10)
		c->fraction_us += unit * (**at - '0');
	return true;
}

static bool read_clock(const char **at, struct civil *c)
{
	if (!read_digits(at, 1, 2, &c->hour) || *(*at)++ != ':' ||
	    !read_digits(at, 2, 2, &c->minute))
		return false;
	if (**at != ':')
		return true;
	(*at)++;
	return read_digits(at, 2, 2, &c->second) && read_fraction(at, c);
}

/* Reads " +0100", "+01:00", "+01", "Z", " UTC", " GMT" if it is there. */
static void read_zone(const char **at, struct civil *c)
{
	const char *p = *at + strspn(*at, " ");
	int hours, minutes = 0;
	bool west = *p == '-';

	if (*p == 'Z' || *p == 'z') {
		p++;
	} else if (!strncmp(p, "UTC", 3) || !strncmp(p, "GMT", 3)) {
		p += 3;
	} else if (*p == '+' || *p == '-') {
		p++;
		if (!read_digits(&p, 2, 2, &hours))
			return;
		if (*p == ':' && is_digit(p[1]))
			p++;
		if (is_digit(*p) && !read_digits(&p, 2, 2, &minutes))
			return;
		if (hours > 14 || minutes > 59)
			return;
		c->zone_s = (hours * 60 + minutes) * (west ? -60 : 60);
	} else {
		return;
	}
	c->has_zone = true;
	*at = p;
}

const char *import_time_clf(const char *text, int64_t *out_us)
{
	struct civil c = { 0 };
	const char *at = text;

	if (!read_digits(&at, 1, 2, &c.day) || *at++ != '/')
		return NULL;
	c.month = month_of(at);
	if (c.month == 0 || at[3] != '/')
		return NULL;
	at += 4;
	if (!read_digits(&at, 4, 4, &c.year) || *at++ != ':' ||
	    !read_clock(&at, &c))
		return NULL;
	read_zone(&at, &c);
	return civil_us(&c, true, out_us) ? at : NULL;
}

const char *import_time_iso(const char *text, int64_t *out_us)
{
	struct civil c = { 0 };
	const char *at = text;
	char between;

	if (!read_digits(&at, 4, 4, &c.year))
		return NULL;
	between = *at++;
	if ((between != '-' && between != '/') ||
	    !read_digits(&at, 2, 2, &c.month) || *at++ != between ||
	    !read_digits(&at, 2, 2, &c.day))
		return NULL;
	if (*at != 'T' && *at != 't' && *at != ' ')
		return NULL;
	at++;
	if (!read_clock(&at, &c))
		return NULL;
	read_zone(&at, &c);
	return civil_us(&c, false, out_us) ? at : NULL;
}

/* Reads "Sat, 28 Nov 2026 09:00:01 GMT"; the day of the week may be left out.
 */
static const char *read_mail_time(const char *at, int64_t *out_us)
{
	struct civil c = { 0 };

	if (isalpha((unsigned char)*at)) {
		at += strcspn(at, " ,");
		at += strspn(at, " ,");
	}
	if (!read_digits(&at, 1, 2, &c.day) || *at++ != ' ')
		return NULL;
	c.month = month_of(at);
	if (c.month == 0 || at[3] != ' ')
		return NULL;
	at += 4;
	if (!read_digits(&at, 4, 4, &c.year) || *at++ != ' ' ||
	    !read_clock(&at, &c))
		return NULL;
	read_zone(&at, &c);
	return civil_us(&c, false, out_us) ? at : NULL;
}

int import_time_number(double since_1970, int64_t *out_us)
{
	double us = since_1970 * 1e6;

	/* Seconds beyond LIMIT_TIME_US are ms of this century, and so on. */
	for (int i = 0; i < 3 && us > (double)LIMIT_TIME_US; i++)
		us /= 1e3;
	if (!(us >= 0) || us > (double)LIMIT_TIME_US)
		return -EINVAL;
	*out_us = (int64_t)(us + 0.5);
	return 0;
}

int import_time(const char *text, int64_t *out_us)
{
	const char *at = text + (*text == '[');
	const char *end = import_time_iso(at, out_us);
	double n;

	if (!end)
		end = import_time_clf(at, out_us);
	if (!end)
		end = read_mail_time(at, out_us);
	if (end)
		return *end == '\0' || (*text == '[' && !strcmp(end, "]"))
			       ? 0
			       : -EINVAL;
	if (!import_number(&at, &n) || *at != '\0')
		return -EINVAL;
	return import_time_number(n, out_us);
}

/* --- durations --- */

/* Reads a unit and returns its µs. 0: none. */
static double read_unit(const char **at)
{
	static const struct {
		const char *name;
		double us;
	} unit[] = {
		{ "ns", 1e-3 },	    { "us", 1 },     { "\xc2\xb5s", 1 },
		{ "\xce\xbcs", 1 }, { "ms", 1e3 },   { "s", 1e6 },
		{ "m", 60e6 },	    { "h", 3600e6 },
	};

	for (size_t i = 0; i < sizeof(unit) / sizeof(*unit); i++) {
		size_t len = strlen(unit[i].name);

		if (strncmp(*at, unit[i].name, len) == 0) {
			*at += len;
			return unit[i].us;
		}
	}
	return 0;
}

int import_duration(const char *text, size_t len, double unit_us,
		    uint64_t *out_us)
{
	char copy[48];
	const char *at = copy;
	double sum = 0, n, unit;
	bool bare = false;

	*out_us = 0;
	if (len == 0 || (len == 1 && *text == '-'))
		return 0;
	if (len >= sizeof(copy))
		return -EPROTO;
	memcpy(copy, text, len);
	copy[len] = '\0';
	if (*at == '-') {
		at++;
		return import_number(&at, &n) ? 0 : -EPROTO;
	}
	do {
		if (bare || !import_number(&at, &n))
			return -EPROTO;
		at += strspn(at, " ");
		unit = read_unit(&at);
		bare = unit == 0;
		sum += n * (bare ? unit_us : unit);
	} while (*at != '\0');
	if (!(sum < (double)LIMIT_DURATION_US - 1))
		return -EPROTO;
	*out_us = (uint64_t)(sum + 0.5);
	return 1;
}

/* --- names --- */

uint32_t import_http_version(const char *text)
{
	if (strncasecmp(text, "http/", 5) == 0)
		text += 5;
	else if (*text == 'h' || *text == 'H')
		text++;
	return strncmp(text, "1.0", 3) == 0   ? 10
	       : strncmp(text, "1.1", 3) == 0 ? 11
	       : *text == '2'		      ? 20
	       : *text == '3'		      ? 30
					      : 0;
}

bool import_is_token(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)text[i]) &&
		    (text[i] == '\0' || !strchr("!#$%&'*+-.^_`|~", text[i])))
			return false;
	return len > 0;
}
