/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/replay/import.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "probe-agent/replay/import_text.h"
#include "proto/limits.h"

/*
 * The common format and what grew out of it:
 *
 *	host ident user [time] "request" status bytes
 *	… "referer" "agent"
 *	… "referer" "agent" tail
 *
 * What is before [time] does not matter: names have blanks and brackets, and
 * loggers put their own time or a virtual host there. The tail is what tells
 * the formats apart.
 */

char *import_quoted(char **at)
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

char *import_word(char **at)
{
	char *word = *at, *end = word + strcspn(word, " \t");

	*at = end + strspn(end, " \t");
	*end = '\0';
	return word;
}

bool import_request(char *text, struct import_event *x)
{
	char *target = strchr(text, ' '), *version = strrchr(text, ' ');

	if (!version || strncmp(version, " HTTP/", 6) != 0)
		return false;
	x->e.version = import_http_version(version + 1);
	if (x->e.version == 0)
		return false;
	x->method = text;
	x->method_len = (size_t)(target - text);
	x->target = target + strspn(target, " ");
	/* lighttpd logs what it could not read, and answered, as blanks. */
	if (x->method_len == 0 || x->target > version) {
		x->method_len = 0;
		x->e.route = "";
		return true;
	}
	x->target_len = (size_t)(version - x->target);
	return import_is_token(text, x->method_len);
}

int import_status(const char *text, uint32_t *out)
{
	size_t n = strspn(text, "0123456789");

	*out = 0;
	if (strcmp(text, "-") == 0)
		return 0;
	if (n == 0 || n > 3 || text[n] != '\0')
		return -EPROTO;
	*out = (uint32_t)atoi(text);
	return *out == 0 || *out >= 100 ? 0 : -EPROTO;
}

int import_bytes(const char *text, uint64_t *out)
{
	size_t n = strspn(text, "0123456789");

	*out = 0;
	if (strcmp(text, "-") == 0)
		return 0;
	if (n == 0 || n > 18 || text[n] != '\0')
		return -EPROTO;
	*out = strtoull(text, NULL, 10);
	return *out < LIMIT_BODY_BYTES ? 0 : -EPROTO;
}

/* The first [time] with a quoted text behind it. Returns the quote, or NULL. */
static char *find_time(char *line, int64_t *out_us)
{
	for (char *at = strchr(line, '['); at; at = strchr(at + 1, '[')) {
		const char *end = import_time_clf(at + 1, out_us);
		double n;

		if (!end)
			end = import_time_iso(at + 1, out_us);
		if (!end) {
			end = at + 1;
			if (!import_number(&end, &n) ||
			    import_time_number(n, out_us) != 0)
				continue;
		}
		if (*end++ != ']')
			continue;
		end += strspn(end, " \t");
		if (*end == '"')
			return line + (end - line);
	}
	return NULL;
}

/* --- tails --- */

static char *skip_quoted(char *at)
{
	if (*at != '"')
		return NULL;
	for (at++; *at != '\0' && *at != '"'; at++)
		if (*at == '\\' && at[1] != '\0')
			at++;
	return *at == '"' ? at + 1 : NULL;
}

/* What follows "referer" "agent", or the text itself if it has no such two. */
static char *skip_agent(char *text)
{
	char *at = skip_quoted(text);

	if (at && *at == ' ')
		at = skip_quoted(at + 1);
	if (!at || (*at != ' ' && *at != '\0'))
		return text;
	return at + strspn(at, " ");
}

/* Cuts the last word off a tail: in quotes, with a unit behind it, or plain. */
static char *last_word(char *tail)
{
	size_t len = strlen(tail);
	char *at;

	while (len > 0 && (tail[len - 1] == ' ' || tail[len - 1] == '\t'))
		tail[--len] = '\0';
	if (len > 1 && tail[len - 1] == '"') {
		tail[--len] = '\0';
		at = strrchr(tail, '"');
		return at ? at + 1 : tail + len;
	}
	at = tail + len;
	while (at > tail && at[-1] != ' ' && at[-1] != '\t')
		at--;
	/* "12.5 ms" is one word. */
	if ((!strcmp(at, "ms") || !strcmp(at, "s") || !strcmp(at, "us")) &&
	    at > tail + 1)
		for (at--; at > tail && at[-1] != ' '; at--)
			;
	return at;
}

/* "rt=0.012", as nginx's manual names $request_time; NULL: not in this tail. */
static char *named_time(char *tail, size_t *len)
{
	static const char *const names[] = { "request_time=", "rt=" };

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		char *at = strstr(tail, names[i]);

		if (!at || (at > tail && at[-1] != ' ' && at[-1] != ','))
			continue;
		at += strlen(names[i]);
		at += *at == '"';
		*len = strspn(at, "0123456789.-");
		return at;
	}
	return NULL;
}

static bool all_digits(const char *text)
{
	size_t n = strspn(text, "0123456789");

	return n > 0 && text[n] == '\0';
}

static bool is_number(const char *text)
{
	double n;

	return import_number(&text, &n) && *text == '\0';
}

/* A time at the end: unit_us is that of a number that has none itself. */
static int read_tail(struct import_lines *l, char *tail, double unit_us,
		     struct import_event *x)
{
	size_t len;
	char *word = named_time(tail, &len), *from;
	bool in_quotes = *tail == '"';
	int got;

	x->e.untimed = true;
	if (!word) {
		from = tail + in_quotes;
		word = last_word(tail);
		len = strlen(word);
		/* One number of several may be any of their times. */
		if (l->guess && word != from)
			return -EPROTO;
		if (l->guess &&
		    (all_digits(word) || (in_quotes && is_number(word)))) {
			l->unit_unknown = true;
			return -EPROTO;
		}
	}
	if (*tail == '\0')
		return l->guess ? -EPROTO : 0;
	got = import_duration(word, len, unit_us, &x->e.duration_us);
	if (got < 0 || (got == 0 && l->guess))
		return -EPROTO;
	x->e.untimed = got == 0;
	return 0;
}

/* $request_length $request_time [upstream] … */
static int read_ingress(char *tail, struct import_event *x)
{
	char *length = import_word(&tail), *took = import_word(&tail);
	uint64_t bytes;
	int got = import_duration(took, strlen(took), 1e6, &x->e.duration_us);

	x->e.untimed = got <= 0;
	return import_bytes(length, &bytes) < 0 || got < 0 || *tail != '['
		       ? -EPROTO
		       : 0;
}

/* number "router" "server" 12ms */
static int read_traefik(char *tail, struct import_event *x)
{
	char *count = import_word(&tail);
	size_t len;

	if (!all_digits(count) && strcmp(count, "-") != 0)
		return -EPROTO;
	if (!import_quoted(&tail) || *tail++ != ' ' || !import_quoted(&tail) ||
	    *tail++ != ' ')
		return -EPROTO;
	len = strlen(tail);
	if (len < 3 || strcmp(tail + len - 2, "ms") != 0)
		return -EPROTO;
	x->e.untimed = false;
	return import_duration(tail, len, 1e3, &x->e.duration_us) > 0 ? 0
								      : -EPROTO;
}

static int take_tail(struct import_lines *l, char *tail, struct import_event *x,
		     const char **why)
{
	/* Apache and Traefik log when a request came, the others when it ended.
	 */
	switch (l->format) {
	case IMPORT_COMBINED_TIME:
		x->at_end = true;
		*why = "no request time at the end";
		return read_tail(l, tail, 1e6, x);
	case IMPORT_APACHE_D:
		*why = "no microseconds at the end";
		return read_tail(l, tail, 1, x);
	case IMPORT_INGRESS_NGINX:
		x->at_end = true;
		*why = "not the fields of ingress-nginx";
		return read_ingress(tail, x);
	case IMPORT_TRAEFIK:
		*why = "not the fields of traefik";
		return read_traefik(tail, x);
	default:
		x->at_end = true;
		x->e.untimed = true;
		return 0;
	}
}

int import_combined_line(struct import_lines *l, char *line, size_t len,
			 struct import_event *x, const char **why)
{
	char *at, *request, *status, *bytes;

	(void)len;
	*why = "no [time] before a \"request\"";
	at = find_time(line, &x->e.start_us);
	if (!at)
		return -EPROTO;
	*why = "no \"request\"";
	request = import_quoted(&at);
	if (!request)
		return -EPROTO;
	*why = "malformed request line";
	if (!import_request(request, x))
		return -EPROTO;
	at += strspn(at, " ");
	*why = "no valid status";
	status = import_word(&at);
	if (import_status(status, &x->e.status) < 0)
		return -EPROTO;
	*why = "no valid number of bytes";
	bytes = import_word(&at);
	if (import_bytes(bytes, &x->e.response_bytes) < 0)
		return -EPROTO;
	return take_tail(l, skip_agent(at), x, why) < 0 ? -EPROTO : 1;
}

int import_traefik_line(struct import_lines *l, char *line, size_t len,
			struct import_event *x, const char **why)
{
	if (line[strspn(line, " ")] == '{')
		return import_json_line(l, line, len, x, why);
	return import_combined_line(l, line, len, x, why);
}
