/* SPDX-License-Identifier: Apache-2.0 */
/* Labels of a metric, and how each is decoded. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "probe-agent/programs/spec_reader.h"
#include "proto/limits.h"

/* --- decoders --- */

static int read_decoder_name(struct spec_reader *r, int node, void *to)
{
	const char *name = spec_yaml_text(r->y, node), *near;
	const char *names[SPEC_DECODERS + 1] = { NULL };
	int kind = name ? spec_decoder_kind(name) : -ENOENT;

	for (unsigned i = 0; i < SPEC_DECODERS; i++)
		names[i] = spec_decoder_name(i);
	if (kind >= 0) {
		*(enum spec_decoder_kind *)to = (enum spec_decoder_kind)kind;
		return 0;
	}
	near = name ? spec_nearest(name, names) : NULL;
	return spec_fail(r, node, "unknown decoder '%s'%s%s", name ? name : "?",
			 near ? "; nearest: " : "", near ? near : "");
}

static int read_static_map(struct spec_reader *r, int node, void *to)
{
	struct spec_decoder *d = to;
	size_t n = spec_yaml_count(r->y, node);

	if (spec_yaml_kind(r->y, node) != SPEC_NODE_MAP || n > SPEC_LIST_MAX)
		return spec_fail(r, node,
				 "static_map: must map at most %u texts",
				 SPEC_LIST_MAX);
	for (size_t i = 0; i < n; i++) {
		struct spec_pair *p = spec_grow(d->map, &d->n_map, sizeof(*p));
		int key, err, value = spec_yaml_pair(r->y, node, i, &key);

		if (!p)
			return -ENOMEM;
		d->map = p;
		err = spec_read_text(r, key, &p[i].from);
		if (!err)
			err = spec_read_text(r, value, &p[i].to);
		if (err)
			return err;
	}
	return 0;
}

static int read_regexps(struct spec_reader *r, int node, void *to)
{
	struct spec_decoder *d = to;
	struct spec_texts texts = { d->regexps, d->n_regexps };
	int err = spec_read_texts(r, node, &texts);

	d->regexps = texts.list;
	d->n_regexps = texts.n;
	return err;
}

/* E's cache is per decoder; ours is one for each metric and needs no size. */
static int skip_cache_size(struct spec_reader *r, int node, void *to)
{
	unsigned ignored;

	(void)to;
	return spec_read_unsigned(r, node, &ignored);
}

static int read_decoder(struct spec_reader *r, int node, struct spec_decoder *d)
{
	static const struct spec_field fields[] = {
		{ "name", read_decoder_name,
		  offsetof(struct spec_decoder, kind) },
		{ "static_map", read_static_map, 0 },
		{ "regexps", read_regexps, 0 },
		{ "allow_unknown", spec_read_bool,
		  offsetof(struct spec_decoder, allow_unknown) },
		{ "skip_cache_size", skip_cache_size, 0 },
		{ NULL, NULL, 0 },
	};
	int err;

	d->kind = SPEC_DECODERS;
	err = spec_read_fields(r, node, "decoder", fields, d);
	if (!err && d->kind == SPEC_DECODERS)
		return spec_fail(r, node, "decoder: name is missing");
	if (!err && d->kind == SPEC_REGEXP && d->n_regexps == 0)
		return spec_fail(r, node, "regexp: regexps is missing");
	return err;
}

static int read_decoders(struct spec_reader *r, int node, void *to)
{
	struct spec_label *l = to;
	size_t n = spec_yaml_count(r->y, node);

	if (spec_yaml_kind(r->y, node) != SPEC_NODE_LIST || n > 16)
		return spec_fail(r, node,
				 "decoders: must be a list of at most 16");
	for (size_t i = 0; i < n; i++) {
		struct spec_decoder *d =
			spec_grow(l->decoders, &l->n_decoders, sizeof(*d));
		int err;

		if (!d)
			return -ENOMEM;
		l->decoders = d;
		err = read_decoder(r, spec_yaml_item(r->y, node, i), &d[i]);
		if (err)
			return err;
	}
	return 0;
}

/* --- labels --- */

bool spec_label_name_valid(const char *name)
{
	if (!isalpha((unsigned char)*name) && *name != '_')
		return false;
	for (const char *p = name; *p; p++)
		if (!isalnum((unsigned char)*p) && *p != '_')
			return false;
	return strncmp(name, "__", 2) != 0 && strlen(name) <= 128;
}

bool spec_metric_name_valid(const char *name)
{
	if (!isalpha((unsigned char)*name) && *name != '_' && *name != ':')
		return false;
	for (const char *p = name; *p; p++)
		if (!isalnum((unsigned char)*p) && *p != '_' && *p != ':')
			return false;
	return strlen(name) <= 256;
}

static int read_label(struct spec_reader *r, int node, struct spec_label *l)
{
	static const struct spec_field fields[] = {
		{ "name", spec_read_text, offsetof(struct spec_label, name) },
		{ "size", spec_read_unsigned,
		  offsetof(struct spec_label, size) },
		{ "padding", spec_read_unsigned,
		  offsetof(struct spec_label, padding) },
		{ "decoders", read_decoders, 0 },
		{ NULL, NULL, 0 },
	};
	int err = spec_read_fields(r, node, "label", fields, l);

	l->line = spec_yaml_line(r->y, node);
	if (err)
		return err;
	if (!l->name)
		return spec_fail(r, node, "label: name is missing");
	if (!spec_label_name_valid(l->name))
		return spec_fail(r, node, "label: '%s' is not a label's name",
				 l->name);
	if (l->n_decoders == 0)
		return spec_fail(r, node, "label '%s': decoders is missing",
				 l->name);
	if (l->size > 4096 || l->padding > 4096)
		return spec_fail(r, node, "label '%s': larger than 4096 bytes",
				 l->name);
	return 0;
}

int spec_read_labels(struct spec_reader *r, int node, void *to)
{
	struct spec_metric *m = to;
	size_t n = spec_yaml_count(r->y, node);

	if (spec_yaml_kind(r->y, node) != SPEC_NODE_LIST ||
	    n > LIMIT_SAMPLE_LABELS)
		return spec_fail(r, node,
				 "labels: must be a list of at most %u",
				 LIMIT_SAMPLE_LABELS);
	for (size_t i = 0; i < n; i++) {
		struct spec_label *l =
			spec_grow(m->labels, &m->n_labels, sizeof(*l));
		int err;

		if (!l)
			return -ENOMEM;
		m->labels = l;
		err = read_label(r, spec_yaml_item(r->y, node, i), &l[i]);
		for (size_t k = 0; k < i && !err; k++)
			if (!strcmp(l[k].name, l[i].name))
				return spec_fail(
					r, spec_yaml_item(r->y, node, i),
					"label '%s' occurs twice", l[i].name);
		if (err)
			return err;
	}
	return 0;
}
