/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/replay/import.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "proto/limits.h"

/*
 * common:        host ident user [time] "request" status bytes
 * combined:      the same, then "referer" "agent"
 * combined+time: the same, with nginx's $request_time in seconds at the end
 *
 * [time] is when the response ended, in whole seconds.
 */

static char *skip_word(char *at)
{
	at += strcspn(at, " ");
	return at + strspn(at, " ");
}

/*
 * Returns the text in quotes at *at, and moves *at behind it. A backslash
 * escapes the next character. NULL: no such text.
 */
static char *quoted(char **at)
{
	char *start = *at, *p;

	if (*start != '"')
		return NULL;
	for (p = ++start; *p != '\0' && *p != '"'; p++)
		if (*p == '\\' && p[1] != '\0')
			p++;
	if (*p == '\0')
		return NULL;
	*p = '\0';
	*at = p + 1;
	return start;
}

static bool read_time(char **at, int64_t *out_us)
{
	struct tm tm = { 0 };
	char *end, *p;
	long zone;

	if (**at != '[')
		return false;
	/* Months are English in any locale. */
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	char month[4] = "";
	int n = 0;

	if (sscanf(*at, "[%2d/%3[A-Za-z]/%4d:%2d:%2d:%2d %n", &tm.tm_mday,
		   month, &tm.tm_year, &tm.tm_hour, &tm.tm_min, &tm.tm_sec,
		   &n) != 6 ||
	    n == 0)
		return false;
	end = strstr(months, month);
	if (strlen(month) != 3 || !end || (end - months) % 3 != 0 ||
	    tm.tm_year < 1970 || tm.tm_mday < 1 || tm.tm_mday > 31 ||
	    tm.tm_hour > 23 || tm.tm_min > 59 || tm.tm_sec > 60)
		return false;
	tm.tm_mon = (int)(end - months) / 3;
	tm.tm_year -= 1900;
	p = *at + n;
	if (*p != '+' && *p != '-')
		return false;
	zone = strtol(p, &end, 10);
	if (end != p + 5 || *end != ']')
		return false;
	zone = zone / 100 * 3600 + zone % 100 * 60;
	*out_us = ((int64_t)timegm(&tm) - zone) * 1000000;
	*at = end + 1 + strspn(end + 1, " ");
	return *out_us >= 0;
}

/* Reads "METHOD target HTTP/1.1". */
static bool read_request(char *text, struct import_event *x)
{
	char *target = strchr(text, ' '), *version;

	if (!target || target == text)
		return false;
	x->method = text;
	x->method_len = (size_t)(target++ - text);
	version = strrchr(target, ' ');
	if (!version || strncmp(version, " HTTP/", 6) != 0)
		return false;
	for (size_t i = 0; i < x->method_len; i++)
		if (!isupper((unsigned char)text[i]))
			return false;
	x->target = target;
	x->target_len = (size_t)(version - target);
	version += 6;
	x->e.version = strncmp(version, "1.0", 3) == 0	 ? 10
		       : strncmp(version, "1.1", 3) == 0 ? 11
		       : *version == '2'		 ? 20
		       : *version == '3'		 ? 30
							 : 0;
	return x->e.version != 0;
}

static bool read_number(char **at, uint64_t max, uint64_t *out)
{
	char *end;

	if (**at == '-' && (at[0][1] == ' ' || at[0][1] == '\0')) {
		*out = 0;
		*at += 1;
	} else {
		if (!isdigit((unsigned char)**at))
			return false;
		*out = strtoull(*at, &end, 10);
		if (*out > max || (*end != ' ' && *end != '\0'))
			return false;
		*at = end;
	}
	*at += strspn(*at, " ");
	return true;
}

/* Reads the seconds at the end of a line, as "0.012". False: none, as "-". */
static bool read_seconds(const char *line, size_t len, uint64_t *out_us)
{
	const char *at = line + len;
	char *end;
	double s;

	while (at > line && at[-1] != ' ')
		at--;
	if (*at == '"')
		at++;
	if (!isdigit((unsigned char)*at))
		return false;
	s = strtod(at, &end);
	if ((*end != '\0' && *end != '"') || s > 1e6)
		return false;
	*out_us = (uint64_t)(s * 1e6 + 0.5);
	return true;
}

int import_log_line(struct import *im, enum import_format format, char *line,
		    size_t len, const char **why)
{
	struct import_event x = {
		.e = { .role = ROLE_SERVER, .scheme = "http" },
	};
	uint64_t status, bytes, duration_us = 0;
	int64_t end_us;
	char *at = line, *request;
	int err;

	*why = "no request time at the end";
	if (format == IMPORT_COMBINED_TIME &&
	    !read_seconds(line, len, &duration_us))
		return -EPROTO;
	*why = "no [time] in the fourth field";
	at = strchr(skip_word(at), '['); /* the user's name may have blanks */
	if (!at || !read_time(&at, &end_us))
		return -EPROTO;
	*why = "no \"request\"";
	request = quoted(&at);
	if (!request)
		return -EPROTO;
	*why = "malformed request line";
	if (!read_request(request, &x))
		return -EPROTO;
	at += strspn(at, " ");
	*why = "no valid status";
	if (!read_number(&at, LIMIT_STATUS, &status) || status < 100)
		return -EPROTO;
	*why = "no valid number of bytes";
	if (!read_number(&at, LIMIT_BODY_BYTES - 1, &bytes))
		return -EPROTO;
	if (status == 499) {
		/* nginx's own code: the client left and received no status. */
		x.e.outcome = OUTCOME_ABORTED;
		status = 0;
	}
	x.e.status = (uint32_t)status;
	x.e.duration_us = duration_us;
	x.e.response_bytes = bytes;
	x.e.start_us = end_us - (int64_t)duration_us;
	err = import_add(im, &x);
	return err < 0 ? err : 1;
}
