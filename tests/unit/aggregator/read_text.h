/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_READ_TEXT_H
#define TESTS_READ_TEXT_H

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/*
 * A strict reader of text 0.0.4 and OpenMetrics that shares nothing with what
 * it checks: line by line from the specifications. It fails on what Prometheus
 * would let pass, too: a family in two places, a sample without TYPE, the same
 * labels twice.
 */

#define READ_LABELS 20
#define READ_SAMPLES 20000
#define READ_FAMILIES 300

struct read_label {
	char name[64], value[512];
};

struct read_sample {
	char family[128], name[128];
	struct read_label label[READ_LABELS];
	size_t n;
	char value[64];
	char exemplar[300]; /* from "# {" on; OpenMetrics */
};

struct read_family {
	char name[128], type[16], help[512], unit[32];
	bool closed;
};

struct read_text {
	struct read_sample *sample;
	size_t n;
	struct read_family family[READ_FAMILIES];
	size_t n_families;
	bool eof;
	char problem[512]; /* "" if all is well */
};

static bool read_fail(struct read_text *t, const char *what, const char *line)
{
	snprintf(t->problem, sizeof(t->problem), "%s: %.300s", what, line);
	return false;
}

static struct read_family *read_find(struct read_text *t, const char *name)
{
	for (size_t i = 0; i < t->n_families; i++)
		if (!strcmp(t->family[i].name, name))
			return &t->family[i];
	return NULL;
}

/* The family a sample belongs to: its name without a suffix that fits. */
static struct read_family *read_family_of(struct read_text *t,
					  const char *sample)
{
	static const char *const suffix[] = { "",	 "_total", "_info",
					      "_bucket", "_sum",   "_count" };

	for (size_t i = 0; i < 6; i++) {
		size_t n = strlen(sample), m = strlen(suffix[i]);
		char name[128];
		struct read_family *f;

		if (n <= m || strcmp(sample + n - m, suffix[i]))
			continue;
		snprintf(name, sizeof(name), "%.*s", (int)(n - m), sample);
		f = read_find(t, name);
		if (f && (i < 3 || !strcmp(f->type, "histogram")))
			return f;
	}
	return NULL;
}

static bool read_comment(struct read_text *t, const char *line)
{
	char what[8], name[128];
	const char *rest;
	int used = 0;
	struct read_family *f;

	if (!strcmp(line, "# EOF")) {
		t->eof = true;
		return true;
	}
	if (sscanf(line, "# %7s %127s%n", what, name, &used) != 2)
		return read_fail(t, "strange comment", line);
	rest = line + used;
	rest += *rest == ' ';
	f = read_find(t, name);
	if (!f) {
		if (t->n_families && !t->family[t->n_families - 1].closed)
			t->family[t->n_families - 1].closed = true;
		f = &t->family[t->n_families++];
		strcpy(f->name, name);
	} else if (f->closed || f != &t->family[t->n_families - 1]) {
		return read_fail(t, "family is in two places", line);
	}
	if (!strcmp(what, "TYPE") && !*f->type)
		snprintf(f->type, sizeof(f->type), "%s", rest);
	else if (!strcmp(what, "HELP") && !*f->help)
		snprintf(f->help, sizeof(f->help), "%s", rest);
	else if (!strcmp(what, "UNIT") && !*f->unit)
		snprintf(f->unit, sizeof(f->unit), "%s", rest);
	else
		return read_fail(t, "said twice, or unknown", line);
	return true;
}

static const char *read_labels(struct read_sample *s, const char *at)
{
	for (;;) {
		struct read_label *l = &s->label[s->n++];
		size_t n = 0;

		while (isalnum((unsigned char)*at) || *at == '_')
			l->name[n++] = *at++;
		if (!n || isdigit((unsigned char)l->name[0]) || *at++ != '=' ||
		    *at++ != '"')
			return NULL;
		for (n = 0; *at != '"'; at++) {
			char c = *at;

			if (!c || c == '\n')
				return NULL;
			if (c == '\\') {
				c = *++at;
				if (c == 'n')
					c = '\n';
				else if (c != '\\' && c != '"')
					return NULL;
			}
			l->value[n++] = c;
		}
		at++;
		if (*at == '}')
			return at + 1;
		if (*at++ != ',')
			return NULL;
	}
}

static bool read_same(const struct read_sample *a, const struct read_sample *b)
{
	if (strcmp(a->name, b->name) || a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (strcmp(a->label[i].name, b->label[i].name) ||
		    strcmp(a->label[i].value, b->label[i].value))
			return false;
	return true;
}

static bool read_line(struct read_text *t, const char *line)
{
	struct read_sample *s = &t->sample[t->n];
	struct read_family *f;
	const char *at = line, *end;
	size_t n = 0;

	memset(s, 0, sizeof(*s));
	while (isalnum((unsigned char)*at) || *at == '_' || *at == ':')
		s->name[n++] = *at++;
	f = read_family_of(t, s->name);
	if (!f || !*f->type)
		return read_fail(t, "sample without TYPE", line);
	if (f != &t->family[t->n_families - 1])
		return read_fail(t, "family is in two places", line);
	strcpy(s->family, f->name);
	if (*at == '{')
		at = read_labels(s, at + 1);
	if (!at || *at++ != ' ')
		return read_fail(t, "bad labels", line);
	end = strstr(at, " # {");
	if (end)
		snprintf(s->exemplar, sizeof(s->exemplar), "%s", end + 3);
	else
		end = at + strlen(at);
	snprintf(s->value, sizeof(s->value), "%.*s", (int)(end - at), at);
	if (strchr(s->value, ' '))
		return read_fail(t, "timestamp", line);
	strtod(s->value, (char **)(size_t)&end);
	if (!*s->value || *end)
		return read_fail(t, "bad value", line);
	for (size_t i = 0; i < t->n; i++)
		if (read_same(&t->sample[i], s))
			return read_fail(t, "same labels twice", line);
	t->n++;
	return true;
}

/* t->sample is malloc'd. False: t->problem says why. */
static bool read_text(struct read_text *t, const char *data, size_t len)
{
	char *copy = strndup(data, len), *line = copy, *end;

	memset(t, 0, sizeof(*t));
	t->sample = malloc(READ_SAMPLES * sizeof(*t->sample));
	if (!len || data[len - 1] != '\n')
		read_fail(t, "no newline at the end", "");
	for (; !*t->problem && *line; line = end + 1) {
		end = strchr(line, '\n');
		*end = '\0';
		if (t->eof)
			read_fail(t, "something after EOF", line);
		else if (*line == '#')
			read_comment(t, line);
		else
			read_line(t, line);
	}
	free(copy);
	return !*t->problem;
}

static const char *read_label(const struct read_sample *s, const char *name)
{
	for (size_t i = 0; i < s->n; i++)
		if (!strcmp(s->label[i].name, name))
			return s->label[i].value;
	return NULL;
}

/* The one sample of this name whose first label has this value (or any). */
static const char *read_value(const struct read_text *t, const char *name,
			      const char *label, const char *value)
{
	for (size_t i = 0; i < t->n; i++) {
		const char *v = label ? read_label(&t->sample[i], label) : NULL;

		if (!strcmp(t->sample[i].name, name) &&
		    (!label || (v && !strcmp(v, value))))
			return t->sample[i].value;
	}
	return NULL;
}

#endif /* TESTS_READ_TEXT_H */
