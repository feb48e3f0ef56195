/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/programs/spec_reader.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cli.h"

int spec_fail(struct spec_reader *r, int node, const char *fmt, ...)
{
	va_list ap;

	r->e->line = spec_yaml_line(r->y, node);
	r->e->column = spec_yaml_column(r->y, node);
	va_start(ap, fmt);
	vsnprintf(r->e->what, sizeof(r->e->what), fmt, ap);
	va_end(ap);
	return -EINVAL;
}

void spec_warn(struct spec_reader *r, int node, const char *fmt, ...)
{
	char what[256];
	va_list ap;

	if (!r->opt->warn)
		return;
	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	r->opt->warn(r->opt->arg, r->path, spec_yaml_line(r->y, node), what);
}

void *spec_grow(void *list, size_t *n, size_t size)
{
	char *p = reallocarray(list, *n + 1, size);

	if (p)
		memset(p + (*n)++ * size, 0, size);
	return p;
}

/* --- names --- */

/* Edit distance, as far as it is below the limit. */
static size_t distance(const char *a, const char *b)
{
	size_t row[64], n = strlen(b);

	if (n >= 64 || strlen(a) >= 64)
		return SIZE_MAX;
	for (size_t k = 0; k <= n; k++)
		row[k] = k;
	for (size_t i = 0; a[i]; i++) {
		size_t diagonal = row[0];

		row[0] = i + 1;
		for (size_t k = 0; k < n; k++) {
			size_t change = diagonal + (a[i] != b[k]);

			diagonal = row[k + 1];
			if (row[k] + 1 < change)
				change = row[k] + 1;
			if (row[k + 1] + 1 < change)
				change = row[k + 1] + 1;
			row[k + 1] = change;
		}
	}
	return row[n];
}

const char *spec_nearest(const char *name, const char *const *names)
{
	size_t best = strlen(name) / 2 + 1, d;
	const char *nearest = NULL;

	for (; *names; names++) {
		d = distance(name, *names);
		if (d < best) {
			best = d;
			nearest = *names;
		}
	}
	return nearest;
}

static int unknown_key(struct spec_reader *r, int key, const char *what,
		       const struct spec_field *fields)
{
	const char *names[64], *near, *name = spec_yaml_text(r->y, key);
	char hint[96] = "";
	size_t n = 0;

	for (; fields->key && n < 63; fields++)
		names[n++] = fields->key;
	names[n] = NULL;
	near = name ? spec_nearest(name, names) : NULL;
	if (near)
		snprintf(hint, sizeof(hint), "; nearest: %s", near);
	if (r->strict)
		return spec_fail(r, key, "%s: unknown key '%s'%s", what,
				 name ? name : "?", hint);
	spec_warn(r, key, "%s: unknown key '%s' is ignored%s", what,
		  name ? name : "?", hint);
	return 0;
}

int spec_read_fields(struct spec_reader *r, int node, const char *what,
		     const struct spec_field *fields, void *base)
{
	size_t n = spec_yaml_count(r->y, node);
	uint64_t seen = 0; /* of the fields, by number */
	int err = 0;

	if (spec_yaml_kind(r->y, node) != SPEC_NODE_MAP)
		return spec_fail(r, node, "%s: must be a map of keys", what);
	for (size_t i = 0; i < n && !err; i++) {
		const struct spec_field *f = fields;
		int key, value = spec_yaml_pair(r->y, node, i, &key);
		const char *name = spec_yaml_text(r->y, key);

		while (f->key && (!name || strcmp(f->key, name) != 0))
			f++;
		if (!f->key) {
			err = unknown_key(r, key, what, fields);
			continue;
		}
		assert(f - fields < 64);
		if (seen & UINT64_C(1) << (f - fields))
			return spec_fail(r, key, "%s occurs twice", name);
		seen |= UINT64_C(1) << (f - fields);
		err = f->read(r, value, (char *)base + f->offset);
	}
	return err;
}

/* --- values --- */

int spec_read_text(struct spec_reader *r, int node, void *to)
{
	const char *text = spec_yaml_text(r->y, node);
	char **out = to, *copy;

	if (!text)
		return spec_fail(r, node, "must be a text");
	copy = strdup(text);
	if (!copy)
		return -ENOMEM;
	free(*out);
	*out = copy;
	return 0;
}

int spec_read_unsigned(struct spec_reader *r, int node, void *to)
{
	const char *text = spec_yaml_text(r->y, node);
	uint64_t v;

	if (!text || cli_parse_u64(text, 0, UINT32_MAX, &v) != 0)
		return spec_fail(r, node, "must be a number from 0 to %u",
				 UINT32_MAX);
	*(unsigned *)to = (unsigned)v;
	return 0;
}

int spec_read_int64(struct spec_reader *r, int node, void *to)
{
	const char *text = spec_yaml_text(r->y, node);
	char *end;
	int64_t v;

	errno = 0;
	v = text && *text ? strtoll(text, &end, 0) : 0;
	if (!text || !*text || *end || errno)
		return spec_fail(r, node, "must be an integer");
	*(int64_t *)to = v;
	return 0;
}

int spec_read_double(struct spec_reader *r, int node, void *to)
{
	const char *text = spec_yaml_text(r->y, node);
	char *end;
	double v;

	v = text && *text ? strtod(text, &end) : 0;
	if (!text || !*text || *end || !isfinite(v))
		return spec_fail(r, node, "must be a number");
	*(double *)to = v;
	return 0;
}

int spec_read_bool(struct spec_reader *r, int node, void *to)
{
	const char *text = spec_yaml_text(r->y, node);

	if (text && (!strcmp(text, "true") || !strcmp(text, "yes") ||
		     !strcmp(text, "on")))
		*(bool *)to = true;
	else if (text && (!strcmp(text, "false") || !strcmp(text, "no") ||
			  !strcmp(text, "off")))
		*(bool *)to = false;
	else
		return spec_fail(r, node, "must be true or false");
	return 0;
}

int spec_read_texts(struct spec_reader *r, int node, void *to)
{
	struct spec_texts *out = to;
	size_t n = spec_yaml_count(r->y, node);

	if (spec_yaml_kind(r->y, node) != SPEC_NODE_LIST || n > SPEC_LIST_MAX)
		return spec_fail(r, node, "must be a list of at most %u texts",
				 SPEC_LIST_MAX);
	for (size_t i = 0; i < n; i++) {
		char **list = spec_grow(out->list, &out->n, sizeof(*list));
		int err;

		if (!list)
			return -ENOMEM;
		out->list = list;
		err = spec_read_text(r, spec_yaml_item(r->y, node, i),
				     &list[out->n - 1]);
		if (err)
			return err;
	}
	return 0;
}

int spec_read_duration_ms(struct spec_reader *r, int node, void *to)
{
	const char *text = spec_yaml_text(r->y, node);
	uint64_t ms;

	if (!text || cli_parse_duration_ms(text, &ms) != 0 || ms > UINT32_MAX)
		return spec_fail(r, node, "must be a time like 5s or 250ms");
	*(uint32_t *)to = (uint32_t)ms;
	return 0;
}
