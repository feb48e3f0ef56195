/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/replay/import.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/buf.h"
#include "common/log.h"
#include "probe-agent/identity/route.h"
#include "proto/limits.h"

#define ROUTES_CAP 1000u
#define PEEK_BYTES 4096u
#define HAR_MAX_BYTES (256u << 20)

struct import {
	const struct import_options *opt;
	const char *name;
	struct trace_writer *to;
	struct packer *packer;
	struct route_table *routes;
	struct import_json *json;
	struct import_stats stats;
};

static const struct {
	const char *name;
	enum import_format format;
} formats[] = {
	{ "auto", IMPORT_AUTO },
	{ "combined", IMPORT_COMBINED },
	{ "combined+time", IMPORT_COMBINED_TIME },
	{ "json", IMPORT_JSON },
	{ "har", IMPORT_HAR },
};
#define N_FORMATS (sizeof(formats) / sizeof(*formats))

int import_format_parse(const char *name, enum import_format *out)
{
	for (size_t i = 0; i < N_FORMATS; i++) {
		if (strcmp(formats[i].name, name) == 0) {
			*out = formats[i].format;
			return 0;
		}
	}
	return -EINVAL;
}

const char *import_format_name(enum import_format format)
{
	for (size_t i = 0; i < N_FORMATS; i++)
		if (formats[i].format == format)
			return formats[i].name;
	return "?";
}

void import_bad(struct import *im, const char *what, uint64_t number,
		const char *why)
{
	if (im->stats.bad++ < IMPORT_BAD_SHOWN)
		fprintf(stderr, "%s: %s %llu: %s\n", im->name, what,
			(unsigned long long)number, why);
}

/* --- batches --- */

static int flush_batch(struct import *im)
{
	/* Losses are unknown: as many were captured as there are here. */
	struct batch_losses losses = { .captured = im->stats.events };
	uint64_t sequence;
	void *data;
	size_t len;
	int err;

	if (packer_pending(im->packer) == 0)
		return 0;
	err = packer_take(im->packer, &losses, &data, &len, &sequence);
	if (err)
		return err;
	err = trace_write(im->to, data, len);
	free(data);
	return err;
}

static const char *known_method(const char *m, size_t len)
{
	static const char *const known[] = { "GET",    "POST",	  "PUT",
					     "DELETE", "HEAD",	  "OPTIONS",
					     "PATCH",  "CONNECT", "TRACE" };

	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (strlen(known[i]) == len && memcmp(known[i], m, len) == 0)
			return known[i];
	return "_OTHER";
}

int import_add(struct import *im, struct import_event *x)
{
	static const char empty[] = "";
	struct packer_event *e = &x->e;
	const char **text[] = { &e->route, &e->scheme, &e->address };
	int full;

	if (!e->service || *e->service == '\0')
		e->service = im->opt->service;
	e->method = known_method(x->method, x->method_len);
	/* Only servers have routes; see pipeline.c. */
	if (!e->route && e->role == ROLE_SERVER)
		e->route = route_template(im->routes, e->service, x->target,
					  x->target_len);
	for (unsigned c = 0; c < RESOURCE_N; c++)
		if (!e->column[c])
			e->column[c] = empty;
	for (size_t i = 0; i < sizeof(text) / sizeof(*text); i++)
		if (!*text[i])
			*text[i] = empty;
	full = packer_add(im->packer, e);
	if (full < 0)
		return full;
	im->stats.events++;
	return full ? flush_batch(im) : 0;
}

/* --- time --- */

int import_time(const char *text, int64_t *out_us)
{
	struct tm tm = { 0 };
	const char *at = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	int64_t us = 0, unit = 100000;
	int hours, minutes, n = 0;
	char sign, *end;
	double seconds;

	if (!at) {
		at = strptime(text, "%Y-%m-%d %H:%M:%S", &tm);
	}
	if (!at) {
		seconds = strtod(text, &end);
		if (end == text || *end != '\0' || !(seconds >= 0) ||
		    seconds > (double)LIMIT_TIME_US / 1e6)
			return -EINVAL;
		*out_us = (int64_t)(seconds * 1e6 + 0.5);
		return 0;
	}
	if (*at == '.' || *at == ',')
		for (at++; isdigit((unsigned char)*at); at++, unit /= 10)
			us += unit * (*at - '0');
	*out_us = (int64_t)timegm(&tm) * 1000000 + us;
	if (strcmp(at, "Z") == 0 || *at == '\0')
		return *out_us >= 0 ? 0 : -EINVAL;
	if (sscanf(at, "%c%2d:%2d%n", &sign, &hours, &minutes, &n) != 3 &&
	    sscanf(at, "%c%2d%2d%n", &sign, &hours, &minutes, &n) != 3)
		return -EINVAL;
	if ((sign != '+' && sign != '-') || at[n] != '\0')
		return -EINVAL;
	us = (int64_t)(hours * 60 + minutes) * 60 * 1000000;
	*out_us -= sign == '+' ? us : -us;
	return *out_us >= 0 ? 0 : -EINVAL;
}

/* --- lines --- */

static bool ends_in_number(const char *line, size_t len)
{
	size_t at = len;

	while (at > 0 &&
	       (isdigit((unsigned char)line[at - 1]) || line[at - 1] == '.'))
		at--;
	return at < len && at > 1 && line[at - 1] == ' ' && line[at - 2] == '"';
}

/* Recognises a file by its first line that is not empty. -EPROTO, -EIO. */
static int recognise(FILE *in, enum import_format *out)
{
	char text[PEEK_BYTES + 1], *line = text;
	size_t n = fread(text, 1, PEEK_BYTES, in);

	if (ferror(in))
		return -EIO;
	rewind(in);
	text[n] = '\0';
	line += strspn(line, " \t\r\n\xef\xbb\xbf");
	if (*line == '{') {
		char *log = line + 1 + strspn(line + 1, " \t\r\n");

		*out = strncmp(log, "\"log\"", 5) == 0 &&
				       log[5 + strspn(log + 5, " \t\r\n:")] ==
					       '{'
			       ? IMPORT_HAR
			       : IMPORT_JSON;
		return 0;
	}
	n = strcspn(line, "\r\n");
	if (!strchr(line, '[') || !strchr(line, '"') || memchr(line, '\0', n))
		return -EPROTO;
	*out = ends_in_number(line, n) ? IMPORT_COMBINED_TIME : IMPORT_COMBINED;
	return 0;
}

static int take_line(struct import *im, char *line, size_t len)
{
	const char *why = "not in this format";
	int err;

	im->stats.lines++;
	while (len > 0 && (line[len - 1] == '\n' || line[len - 1] == '\r'))
		line[--len] = '\0';
	if (len == 0)
		return 0;
	if (len > IMPORT_LINE_MAX || memchr(line, '\0', len)) {
		why = "too long, or not text";
		err = -EPROTO;
	} else if (im->stats.format == IMPORT_JSON) {
		err = import_json_line(im, im->json, line, len, &why);
	} else {
		err = import_log_line(im, im->stats.format, line, len, &why);
	}
	if (err == -EPROTO) {
		import_bad(im, "line", im->stats.lines, why);
		return 0;
	}
	return err < 0 ? err : 0;
}

static int take_lines(struct import *im, FILE *in)
{
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;
	int err = 0;

	while (!err && (n = getline(&line, &cap, in)) >= 0)
		err = take_line(im, line, (size_t)n);
	if (!err && ferror(in))
		err = -EIO;
	free(line);
	return err;
}

static int take_har(struct import *im, FILE *in)
{
	struct buf text = { .max = HAR_MAX_BYTES };
	char part[PEEK_BYTES];
	size_t n;
	int err;

	while ((n = fread(part, 1, sizeof(part), in)) > 0)
		buf_append(&text, part, n);
	err = ferror(in) ? -EIO : text.err;
	if (!err)
		err = import_json_har(im, text.data, text.len);
	buf_fini(&text);
	return err;
}

int import_file(FILE *in, const char *name, const struct import_options *opt,
		struct trace_writer *to, struct import_stats *out)
{
	struct import im = { .opt = opt, .name = name, .to = to };
	struct route_options ro = { .cap = ROUTES_CAP };
	int err = 0;

	im.stats.format = opt->format;
	if (opt->format == IMPORT_AUTO)
		err = recognise(in, &im.stats.format);
	if (!err)
		err = packer_new(&im.packer, opt->agent, 1);
	if (!err)
		err = route_new(&im.routes, &ro);
	if (!err)
		err = import_json_new(&im.json, opt->map);
	if (!err)
		err = im.stats.format == IMPORT_HAR ? take_har(&im, in)
						    : take_lines(&im, in);
	if (!err)
		err = flush_batch(&im);
	if (im.stats.bad > IMPORT_BAD_SHOWN)
		fprintf(stderr, "%s: %llu more like that\n", name,
			(unsigned long long)(im.stats.bad - IMPORT_BAD_SHOWN));
	*out = im.stats;
	import_json_free(im.json);
	route_free(im.routes);
	packer_free(im.packer);
	return err;
}
