/* SPDX-License-Identifier: Apache-2.0 */
#include "common/conffile_ranges.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#define DEPTH_MAX 16u

/* An open mapping or sequence; path_len: length of the keys that lead to it. */
struct level {
	size_t path_len;
	bool mapping, wants_key;
};

struct walk {
	const struct conffile_range *ranges;
	size_t n;
	struct conffile_error *e;
	char path[256];
	struct level level[DEPTH_MAX];
	unsigned depth;
};

/* Writes what is allowed, for a message. */
static void range_text(const struct conffile_range *r, char *out, size_t size)
{
	snprintf(out, size, "a %s from %" PRIu64 " to %" PRIu64,
		 r->power_of_two ? "power of two" : "whole number", r->min,
		 r->max);
}

static bool allows(const struct conffile_range *r, uint64_t v)
{
	return v >= r->min && v <= r->max &&
	       (!r->power_of_two || (v & (v - 1)) == 0);
}

static bool in_range(const struct conffile_range *r, const void *config)
{
	const uint8_t *at = (const uint8_t *)config + r->offset;
	uint16_t half;
	uint32_t word;
	uint64_t v = 0;

	if (r->size == sizeof(v)) {
		memcpy(&v, at, sizeof(v));
	} else if (r->size == sizeof(word)) {
		memcpy(&word, at, sizeof(word));
		v = word;
	} else if (r->size == sizeof(half)) {
		memcpy(&half, at, sizeof(half));
		v = half;
	} else {
		return true;
	}
	return allows(r, v);
}

const struct conffile_range *
conffile_out_of_range(const struct conffile_range *ranges, size_t n,
		      const void *config, int flag)
{
	for (size_t i = 0; i < n; i++)
		if ((!flag || ranges[i].flag == flag) &&
		    !in_range(&ranges[i], config))
			return &ranges[i];
	return NULL;
}

int conffile_check_flag(const struct conffile_range *ranges, size_t n,
			const void *config, int flag, struct conffile_error *e)
{
	const struct conffile_range *r =
		conffile_out_of_range(ranges, n, config, flag);
	char allowed[96];

	if (!r)
		return 0;
	range_text(r, allowed, sizeof(allowed));
	snprintf(e->what, sizeof(e->what), "is not %s (%s)", allowed, r->key);
	return -EINVAL;
}

/* Reads a number as the YAML library does, but without a sign. */
static bool parse_number(const char *text, uint64_t *out)
{
	char *end;

	if (!isdigit((unsigned char)*text))
		return false;
	errno = 0;
	*out = strtoull(text, &end, 0);
	return *end == '\0' && errno == 0;
}

static int check_value(struct walk *w, const yaml_event_t *event)
{
	const char *text = (const char *)event->data.scalar.value;
	char allowed[96];
	uint64_t v;

	for (size_t i = 0; i < w->n; i++) {
		const struct conffile_range *r = &w->ranges[i];

		if (strcmp(r->key, w->path) != 0)
			continue;
		if (parse_number(text, &v) && allows(r, v))
			return 0;
		range_text(r, allowed, sizeof(allowed));
		w->e->line = (unsigned)event->start_mark.line + 1;
		w->e->column = (unsigned)event->start_mark.column + 1;
		snprintf(w->e->what, sizeof(w->e->what),
			 "%s: '%.64s' is not %s", r->key, text, allowed);
		return -EINVAL;
	}
	return 0;
}

static void value_ends(struct walk *w)
{
	struct level *l;

	if (w->depth == 0)
		return;
	l = &w->level[w->depth - 1];
	if (!l->mapping)
		return;
	l->wants_key = true;
	w->path[l->path_len] = '\0';
}

static int scalar(struct walk *w, const yaml_event_t *event)
{
	struct level *l = w->depth ? &w->level[w->depth - 1] : NULL;
	int err;

	if (l && l->mapping && l->wants_key) {
		snprintf(w->path + l->path_len, sizeof(w->path) - l->path_len,
			 "%s%s", l->path_len ? "." : "",
			 (const char *)event->data.scalar.value);
		l->wants_key = false;
		return 0;
	}
	err = check_value(w, event);
	value_ends(w);
	return err;
}

/* Opens a level. False: no configuration is this deep, or has such a key. */
static bool begins(struct walk *w, bool mapping)
{
	struct level *l = w->depth ? &w->level[w->depth - 1] : NULL;

	if (w->depth == DEPTH_MAX || (l && l->mapping && l->wants_key))
		return false;
	w->level[w->depth++] = (struct level){ .path_len = strlen(w->path),
					       .mapping = mapping,
					       .wants_key = mapping };
	return true;
}

static void ends(struct walk *w)
{
	w->depth--;
	value_ends(w);
}

/* Handles an event. Returns 1: continue; 0: the end. -EINVAL. */
static int step(struct walk *w, const yaml_event_t *event)
{
	int err;

	switch (event->type) {
	case YAML_STREAM_END_EVENT:
	case YAML_NO_EVENT:
		return 0;
	case YAML_SCALAR_EVENT:
		err = scalar(w, event);
		return err ? err : 1;
	case YAML_ALIAS_EVENT:
		value_ends(w);
		return 1;
	case YAML_MAPPING_START_EVENT:
		return begins(w, true);
	case YAML_SEQUENCE_START_EVENT:
		return begins(w, false);
	case YAML_MAPPING_END_EVENT:
	case YAML_SEQUENCE_END_EVENT:
		ends(w);
		return 1;
	default:
		return 1;
	}
}

int conffile_check_ranges(const struct conffile_range *ranges, size_t n,
			  const char *text, size_t len,
			  struct conffile_error *e)
{
	struct walk w = { .ranges = ranges, .n = n, .e = e };
	yaml_parser_t parser;
	yaml_event_t event;
	int more = 1;

	if (!yaml_parser_initialize(&parser))
		return -ENOMEM;
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
	while (more > 0 && yaml_parser_parse(&parser, &event)) {
		more = step(&w, &event);
		yaml_event_delete(&event);
	}
	yaml_parser_delete(&parser);
	return more < 0 ? more : 0;
}
