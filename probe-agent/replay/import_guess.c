/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/replay/import_guess.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "probe-agent/replay/import_json.h"

struct candidate {
	struct import_lines lines;
	uint64_t requests, unclear; /* lines */
};

struct guess {
	struct candidate of[IMPORT_FORMATS];
	char *copy; /* of a line: readers write to theirs */
};

static int begin_candidates(struct guess *g, size_t len)
{
	int err = 0;

	g->copy = malloc(len + 1);
	if (!g->copy)
		return -ENOMEM;
	for (unsigned f = 0; f < IMPORT_FORMATS && !err; f++) {
		struct import_lines *l = &g->of[f].lines;

		l->format = (enum import_format)f;
		l->guess = true;
		if (import_format_recognised(l->format))
			err = import_json_new(&l->json, l->format, NULL);
	}
	return err;
}

static void end_candidates(struct guess *g)
{
	for (unsigned f = 0; f < IMPORT_FORMATS; f++)
		import_json_free(g->of[f].lines.json);
	free(g->copy);
}

static void try_line(struct guess *g, const char *line, size_t len)
{
	struct import_event x;
	const char *why;

	if (len > 0 && line[len - 1] == '\r')
		len--;
	for (unsigned f = 0; f < IMPORT_FORMATS; f++) {
		struct candidate *c = &g->of[f];

		if (!c->lines.json)
			continue;
		memcpy(g->copy, line, len);
		g->copy[len] = '\0';
		c->lines.unit_unknown = false;
		c->requests +=
			import_line(&c->lines, g->copy, len, &x, &why) == 1;
		c->unclear += c->lines.unit_unknown;
	}
}

static void try_lines(struct guess *g, const char *text, size_t len)
{
	const char *end = text + len, *newline;
	unsigned n = 0;

	/* A last line without an end may be cut; alone it is better than none.
	 */
	for (; text < end && n < IMPORT_GUESS_LINES; n++) {
		newline = memchr(text, '\n', (size_t)(end - text));
		if (!newline && n > 0)
			break;
		if (!newline)
			newline = end;
		try_line(g, text, (size_t)(newline - text));
		text = newline + 1;
	}
}

/*
 * Lines without a time at the end are of this format, too: those of files that
 * a cache answered have a dash, and older ones none.
 */
static bool is_timed(const struct candidate *c, uint64_t most)
{
	return 10 * c->requests >= most && 2 * c->requests >= c->unclear;
}

/* The first format that reads more than half of what the best one reads. */
static enum import_format winner(const struct guess *g)
{
	uint64_t most = 0;

	for (unsigned f = 0; f < IMPORT_FORMATS; f++)
		if (g->of[f].requests > most)
			most = g->of[f].requests;
	for (unsigned f = 0; f < IMPORT_FORMATS && most > 0; f++)
		if (2 * g->of[f].requests > most ||
		    (f == IMPORT_COMBINED_TIME && is_timed(&g->of[f], most)))
			return (enum import_format)f;
	return IMPORT_AUTO;
}

/* Why a file in a known format is not taken; NULL: it is. */
static const char *why_not(const struct guess *g, enum import_format f)
{
	const struct candidate *c = &g->of[f];

	if (f == IMPORT_COMBINED &&
	    10 * g->of[IMPORT_COMBINED_TIME].unclear >= c->requests)
		return "its lines end in a number whose unit is not known: say "
		       "whether it is seconds (--format=combined+time), "
		       "microseconds (apache-D) or no duration (combined)";
	if (f == IMPORT_W3C && c->unclear > 0)
		return "time-taken is a whole number, and no #Software says of "
		       "what: --format=w3c takes it as milliseconds";
	return NULL;
}

static const char *why_none(const char *text, size_t len)
{
	size_t at = 0;

	while (at < len && strchr(" \t\r\n", text[at]) && text[at] != '\0')
		at++;
	if (memchr(text, '\0', len))
		return "it is not text";
	if (at == len)
		return "it is blank";
	if (text[at] == '[' && at + 1 < len && strchr("{\r\n \t", text[at + 1]))
		return "a JSON array: write one object a line (jq -c '.[]')";
	if (text[at] == '{')
		return "JSON, but without the fields of a known format: see "
		       "--map and --format";
	return "none of its first lines is a request in a known format: see "
	       "--format";
}

int import_guess(const char *text, size_t len, struct import_guess *out)
{
	struct guess *g = calloc(1, sizeof(*g));
	const struct candidate *c;
	int err;

	*out = (struct import_guess){ .format = IMPORT_AUTO };
	if (!g)
		return -ENOMEM;
	if (import_har_begins(text, len)) {
		free(g);
		out->format = IMPORT_HAR;
		return 0;
	}
	err = begin_candidates(g, len);
	if (!err)
		try_lines(g, text, len);
	out->format = winner(g);
	c = &g->of[out->format];
	out->lines = c->requests;
	out->problem = out->format == IMPORT_AUTO ? why_none(text, len)
						  : why_not(g, out->format);
	if (!err && out->problem)
		err = -EPROTO;
	end_candidates(g);
	free(g);
	return err;
}
