/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/replay/import.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "probe-agent/identity/route.h"
#include "probe-agent/replay/import_guess.h"
#include "probe-agent/replay/import_json.h"
#include "probe-agent/replay/import_source.h"
#include "proto/limits.h"

struct import {
	const struct import_options *opt;
	const char *name;
	struct import_source *in;
	struct trace_writer *to;
	struct packer *packer;
	struct route_table *routes;
	struct import_lines lines;
	struct import_stats stats;
};

/* A format is recognised by trying it; the first that fits is taken. */
static const struct {
	const char *name;
	import_line_fn *line; /* NULL: not one of lines */
	bool recognised;
} formats[IMPORT_FORMATS] = {
	[IMPORT_AUTO] = { "auto", NULL, false },
	[IMPORT_HAR] = { "har", NULL, false }, /* by import_har_begins() */
	[IMPORT_CADDY] = { "caddy", import_json_line, true },
	[IMPORT_TRAEFIK] = { "traefik", import_traefik_line, true },
	[IMPORT_ENVOY] = { "envoy", import_envoy_line, true },
	[IMPORT_HAPROXY] = { "haproxy", import_haproxy_line, true },
	[IMPORT_ALB] = { "alb", import_alb_line, true },
	[IMPORT_W3C] = { "w3c", import_w3c_line, true },
	[IMPORT_INGRESS_NGINX] = { "ingress-nginx", import_combined_line,
				   true },
	[IMPORT_COMBINED_TIME] = { "combined+time", import_combined_line,
				   true },
	/* Its number looks like any other: never without being asked. */
	[IMPORT_APACHE_D] = { "apache-D", import_combined_line, false },
	[IMPORT_COMBINED] = { "combined", import_combined_line, true },
	[IMPORT_JSON] = { "json", import_json_line, true },
};

int import_format_parse(const char *name, enum import_format *out)
{
	for (unsigned i = 0; i < IMPORT_FORMATS; i++) {
		if (strcmp(formats[i].name, name) == 0) {
			*out = (enum import_format)i;
			return 0;
		}
	}
	return -EINVAL;
}

const char *import_format_name(enum import_format format)
{
	return format < IMPORT_FORMATS ? formats[format].name : "?";
}

import_line_fn *import_format_line(enum import_format format)
{
	return formats[format].line;
}

bool import_format_recognised(enum import_format format)
{
	return formats[format].recognised;
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

/*
 * nginx's own codes 499 (the client left) and 444 (nginx left) were never sent,
 * in whatever format they stand; nor was what is below 100. A client's status
 * was received.
 */
static void set_outcome(struct packer_event *e)
{
	if (e->role == ROLE_SERVER && (e->status == 499 || e->status == 444))
		e->status = 0;
	if (e->status == 0 && e->outcome == OUTCOME_COMPLETE)
		e->outcome = OUTCOME_ABORTED;
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
	set_outcome(e);
	if (e->untimed)
		e->duration_us = 0;
	if (x->at_end)
		e->start_us -= (int64_t)e->duration_us;
	full = packer_add(im->packer, e);
	if (full < 0)
		return full;
	im->stats.events++;
	im->stats.untimed += e->untimed;
	return full ? flush_batch(im) : 0;
}

/* --- lines --- */

static int take_line(struct import *im, char *line, size_t len)
{
	struct import_event x;
	const char *why;
	int got = import_line(&im->lines, line, len, &x, &why);

	if (got == 1)
		return import_add(im, &x);
	if (got == 0)
		im->stats.other++;
	else
		import_bad(im, "line", im->stats.lines, why);
	return 0;
}

static int take_lines(struct import *im)
{
	char *line;
	size_t len;
	int got, err = 0;

	while (!err && (got = import_source_line(im->in, &line, &len)) != 0) {
		if (got < 0 && got != -EMSGSIZE)
			return got;
		im->stats.lines++;
		if (got == 1)
			err = take_line(im, line, len);
		else
			import_bad(im, "line", im->stats.lines,
				   "longer than 1 MiB");
	}
	return err;
}

/* --- the whole file --- */

static int open_file(struct import *im, FILE *in)
{
	struct route_options ro = { 0 };
	int err = import_source_new(&im->in, in);

	if (!err)
		err = packer_new(&im->packer, im->opt->agent, 1);
	if (!err)
		err = route_new(&im->routes, &ro);
	return err;
}

static int choose_format(struct import *im)
{
	struct import_guess g;
	size_t len;
	const char *text = import_source_sample(im->in, &len);
	int err;

	im->stats.format = im->opt->format;
	if (import_source_packed(im->in)) {
		im->stats.problem = "it is compressed: unpack it first";
		return -EPROTO;
	}
	if (len == 0) {
		im->stats.problem = "it is empty";
		return -ENODATA;
	}
	/* Only JSON lines have names that can be mapped. */
	if (im->opt->map)
		im->stats.format = IMPORT_JSON;
	if (im->stats.format != IMPORT_AUTO)
		return 0;
	err = import_guess(text, len, &g);
	im->stats.format = g.format;
	im->stats.guessed_by = g.lines;
	im->stats.problem = g.problem;
	return err;
}

static int take_all(struct import *im)
{
	int err;

	if (im->stats.format == IMPORT_HAR) {
		err = import_har(im, im->in, &im->stats);
		if (err == -EPROTO)
			im->stats.problem = "it is no HAR, or damaged";
		return err;
	}
	im->lines.format = im->stats.format;
	im->lines.in_ms = im->opt->format == IMPORT_W3C;
	err = import_json_new(&im->lines.json, im->lines.format, im->opt->map);
	return err ? err : take_lines(im);
}

static int end_file(struct import *im)
{
	if (im->stats.bad > IMPORT_BAD_SHOWN)
		fprintf(stderr, "%s: %llu more like that\n", im->name,
			(unsigned long long)(im->stats.bad - IMPORT_BAD_SHOWN));
	if (im->stats.events > 0)
		return flush_batch(im);
	im->stats.problem = im->stats.bad > 0
				    ? "no line could be read: see above"
				    : "it has no requests";
	return -ENODATA;
}

int import_file(FILE *in, const char *name, const struct import_options *opt,
		struct trace_writer *to, struct import_stats *out)
{
	struct import im = { .opt = opt, .name = name, .to = to };
	int err = open_file(&im, in);

	if (!err)
		err = choose_format(&im);
	if (!err)
		err = take_all(&im);
	if (!err)
		err = end_file(&im);
	*out = im.stats;
	import_json_free(im.lines.json);
	import_source_free(im.in);
	route_free(im.routes);
	packer_free(im.packer);
	return err;
}
