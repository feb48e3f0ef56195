/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/replay/import.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "probe-agent/replay/import_text.h"

/*
 * W3C's extended log format: IIS, CloudFront, Tomcat and others. Directives
 * begin with '#'; #Fields names the columns of the lines that follow. Times are
 * UTC, and of the end. time-taken is in seconds by the standard, with a
 * fraction, and in whole milliseconds in IIS. A whole number in a file that
 * names neither IIS nor was called w3c may be either, so it is not used.
 */

enum column {
	COLUMN_OTHER,
	COLUMN_DATE,
	COLUMN_TIME,
	COLUMN_METHOD,
	COLUMN_TARGET,
	COLUMN_STATUS,
	COLUMN_TAKEN,
	COLUMN_RESPONSE,
	COLUMN_REQUEST,
	COLUMN_VERSION,
	COLUMN_SCHEME,
	COLUMN_PORT,
	COLUMNS,
};

static enum column column_of(const char *name)
{
	static const struct {
		const char *name;
		enum column column;
	} known[] = {
		{ "date", COLUMN_DATE },
		{ "time", COLUMN_TIME },
		{ "cs-method", COLUMN_METHOD },
		{ "cs-uri-stem", COLUMN_TARGET },
		{ "cs-uri", COLUMN_TARGET },
		{ "sc-status", COLUMN_STATUS },
		{ "time-taken", COLUMN_TAKEN },
		{ "sc-bytes", COLUMN_RESPONSE },
		{ "bytes", COLUMN_RESPONSE },
		{ "cs-bytes", COLUMN_REQUEST },
		{ "cs-version", COLUMN_VERSION },
		{ "cs-protocol-version", COLUMN_VERSION },
		{ "cs-protocol", COLUMN_SCHEME },
		{ "s-port", COLUMN_PORT },
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (strcasecmp(known[i].name, name) == 0)
			return known[i].column;
	return COLUMN_OTHER;
}

static void take_fields(struct import_lines *l, char *names)
{
	l->columns = 0;
	names += strspn(names, " \t");
	while (*names != '\0' && l->columns < IMPORT_COLUMNS_MAX)
		l->column[l->columns++] =
			(uint8_t)column_of(import_word(&names));
}

/* A line that begins with '#'. */
static void take_directive(struct import_lines *l, char *line)
{
	if (strncasecmp(line, "#Fields:", 8) == 0)
		take_fields(l, line + 8);
	else if (strncasecmp(line, "#Software:", 10) == 0)
		l->in_ms |= strstr(line, "Microsoft") != NULL;
	else if (strncasecmp(line, "#Date:", 6) == 0 &&
		 sscanf(line + 6, " %10[0-9-]", l->date) != 1)
		l->date[0] = '\0';
}

/* The next value: in quotes, in which "" is a quote, or up to a blank. */
static char *next_value(char **at)
{
	char *from, *to;

	if (**at != '"')
		return import_word(at);
	from = to = ++*at;
	for (; **at != '\0'; (*at)++) {
		if (**at == '"' && *++*at != '"')
			break;
		*to++ = **at;
	}
	*at += strspn(*at, " \t");
	*to = '\0';
	return from;
}

static int split_columns(struct import_lines *l, char *line,
			 char *value[COLUMNS])
{
	unsigned i = 0;

	for (; i < l->columns && *line != '\0'; i++) {
		char *v = next_value(&line);

		if (!value[l->column[i]])
			value[l->column[i]] = v;
	}
	return i == l->columns && *line == '\0' ? 0 : -EPROTO;
}

static int take_time(const struct import_lines *l, char *const value[COLUMNS],
		     struct import_event *x)
{
	const char *date = value[COLUMN_DATE] ? value[COLUMN_DATE] : l->date;
	char text[48];

	if (!value[COLUMN_TIME] ||
	    (size_t)snprintf(text, sizeof(text), "%sT%sZ", date,
			     value[COLUMN_TIME]) >= sizeof(text))
		return -EPROTO;
	x->at_end = true;
	return import_time(text, &x->e.start_us);
}

static int take_taken(struct import_lines *l, const char *text,
		      struct import_event *x)
{
	bool whole = text && !strpbrk(text, ".smuhn-");
	int got;

	x->e.untimed = true;
	if (!text)
		return 0;
	if (whole && !l->in_ms) {
		l->unit_unknown = true;
		return 0;
	}
	got = import_duration(text, strlen(text), whole ? 1e3 : 1e6,
			      &x->e.duration_us);
	x->e.untimed = got <= 0;
	return got < 0 ? -EPROTO : 0;
}

int import_w3c_line(struct import_lines *l, char *line, size_t len,
		    struct import_event *x, const char **why)
{
	char *value[COLUMNS] = { NULL };

	(void)len;
	if (*line == '#') {
		take_directive(l, line);
		return 0;
	}
	*why = "no #Fields before it";
	if (l->columns == 0)
		return -EPROTO;
	*why = "not the columns of #Fields";
	if (split_columns(l, line, value) < 0)
		return -EPROTO;
	*why = "no time";
	if (take_time(l, value, x) < 0)
		return -EPROTO;
	*why = "no method or target";
	x->method = value[COLUMN_METHOD];
	x->target = value[COLUMN_TARGET];
	if (!x->method || !x->target ||
	    !import_is_token(x->method, strlen(x->method)) ||
	    strcmp(x->method, "-") == 0)
		return -EPROTO;
	x->method_len = strlen(x->method);
	x->target_len = strlen(x->target);
	*why = "no valid status";
	if (!value[COLUMN_STATUS] ||
	    import_status(value[COLUMN_STATUS], &x->e.status) < 0)
		return -EPROTO;
	*why = "malformed time-taken";
	if (take_taken(l, value[COLUMN_TAKEN], x) < 0)
		return -EPROTO;
	*why = "no valid number of bytes";
	if ((value[COLUMN_RESPONSE] &&
	     import_bytes(value[COLUMN_RESPONSE], &x->e.response_bytes) < 0) ||
	    (value[COLUMN_REQUEST] &&
	     import_bytes(value[COLUMN_REQUEST], &x->e.request_bytes) < 0))
		return -EPROTO;
	if (value[COLUMN_VERSION])
		x->e.version = import_http_version(value[COLUMN_VERSION]);
	if ((value[COLUMN_SCHEME] &&
	     strncasecmp(value[COLUMN_SCHEME], "https", 5) == 0) ||
	    (value[COLUMN_PORT] && strcmp(value[COLUMN_PORT], "443") == 0))
		x->e.scheme = "https";
	return 1;
}
