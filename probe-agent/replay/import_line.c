/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/replay/import.h"

#include <errno.h>
#include <string.h>

#include "probe-agent/replay/import_text.h"

/*
 * What containers put around the lines of a log:
 *
 *	2026-11-28T09:00:01.123456789Z stdout F line     the CRI's files
 *	{"log":"line\n","stream":"stdout","time":"…"}    Docker's
 */

static bool skip_cri(char **line, size_t *len)
{
	int64_t us;
	const char *end = import_time_iso(*line, &us);
	char *at;

	if (!end || (strncmp(end, " stdout ", 8) != 0 &&
		     strncmp(end, " stderr ", 8) != 0))
		return false;
	at = *line + (end + 8 - *line);
	if ((at[0] != 'F' && at[0] != 'P') || at[1] != ' ')
		return false;
	*len -= (size_t)(at + 2 - *line);
	*line = at + 2;
	return true;
}

static int hex4(const char *p)
{
	static const char hex[] = "0123456789abcdef";
	int v = 0;

	for (int i = 0; i < 4; i++) {
		const char *at = p[i] ? strchr(hex, p[i] | 0x20) : NULL;

		if (!at)
			return -1;
		v = v << 4 | (int)(at - hex);
	}
	return v;
}

/* Docker writes "<", ">" and "&" as \u003c and so on; the rest is "?". */
static char unescape(char **at)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	char c = *(*at)++;
	const char *p = strchr(from, c);
	int code;

	if (c != 'u')
		return c != '\0' && p ? to[p - from] : '?';
	code = hex4(*at);
	if (code < 0)
		return '?';
	*at += 4;
	return code > 0 && code < 0x80 ? (char)code : '?';
}

/* Makes the line that is in a string at *line, in place. */
static bool take_docker(char **line, size_t *len)
{
	static const char begin[] = "{\"log\":\"",
			  stream[] = "\",\"stream\":\"";
	char *from = *line + strlen(begin), *to = from, *at = from;

	if (strncmp(*line, begin, strlen(begin)) != 0 || !strstr(from, stream))
		return false;
	while (*at != '\0' && *at != '"') {
		if (*at == '\\' && at[1] != '\0') {
			at++;
			*to++ = unescape(&at);
		} else {
			*to++ = *at++;
		}
	}
	while (to > from && (to[-1] == '\n' || to[-1] == '\r'))
		to--;
	*to = '\0';
	*line = from;
	*len = (size_t)(to - from);
	return true;
}

int import_line(struct import_lines *l, char *line, size_t len,
		struct import_event *x, const char **why)
{
	*x = (struct import_event){
		.e = { .role = ROLE_SERVER, .scheme = "http" },
	};
	*why = "not text";
	if (memchr(line, '\0', len))
		return -EPROTO;
	if (!skip_cri(&line, &len))
		take_docker(&line, &len);
	if (line[strspn(line, " \t\r")] == '\0' ||
	    (*line == '#' && l->format != IMPORT_W3C))
		return 0;
	*why = "not in this format";
	return import_format_line(l->format)(l, line, len, x, why);
}
