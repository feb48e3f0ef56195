/* SPDX-License-Identifier: Apache-2.0 */
#include "common/conffile_walk.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

#define DEPTH_MAX 16u

/* An open mapping or sequence; path_len: length of the keys that lead to it. */
struct level {
	size_t path_len;
	bool mapping, wants_key;
};

struct walk {
	conffile_value_fn *fn;
	void *arg;
	const char *text;
	size_t len;
	/* Marks of libyaml count characters; this is where they are in bytes.
	 */
	size_t byte_at;
	size_t line, column;
	char path[256];
	struct level level[DEPTH_MAX];
	unsigned depth;
};

/* The offset in bytes of a mark; marks only go forward. */
static size_t byte_of(struct walk *w, const yaml_mark_t *mark)
{
	while (w->line < mark->line && w->byte_at < w->len) {
		const char *eol =
			memchr(w->text + w->byte_at, '\n', w->len - w->byte_at);

		w->byte_at = eol ? (size_t)(eol - w->text) + 1 : w->len;
		w->line++;
		w->column = 0;
	}
	while (w->column < mark->column && w->byte_at < w->len) {
		w->byte_at++;
		/* Bytes after the first of a character. */
		while (w->byte_at < w->len &&
		       ((unsigned char)w->text[w->byte_at] & 0xc0) == 0x80)
			w->byte_at++;
		w->column++;
	}
	return w->byte_at;
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

static int take_scalar(struct walk *w, const yaml_event_t *event)
{
	struct level *l = w->depth ? &w->level[w->depth - 1] : NULL;
	struct conffile_value v = {
		.path = w->path,
		.text = (const char *)event->data.scalar.value,
		.line = (unsigned)event->start_mark.line + 1,
		.column = (unsigned)event->start_mark.column + 1,
	};
	int err;

	if (l && l->mapping && l->wants_key) {
		snprintf(w->path + l->path_len, sizeof(w->path) - l->path_len,
			 "%s%s", l->path_len ? "." : "", v.text);
		l->wants_key = false;
		return 0;
	}
	v.from = byte_of(w, &event->start_mark);
	v.to = byte_of(w, &event->end_mark);
	err = w->fn(w->arg, &v);
	value_ends(w);
	return err;
}

/* Opens a level. -ENOENT: no configuration is this deep, or has such a key. */
static int open_level(struct walk *w, bool mapping)
{
	struct level *l = w->depth ? &w->level[w->depth - 1] : NULL;

	if (w->depth == DEPTH_MAX || (l && l->mapping && l->wants_key))
		return -ENOENT;
	w->level[w->depth++] = (struct level){ .path_len = strlen(w->path),
					       .mapping = mapping,
					       .wants_key = mapping };
	return 0;
}

/* Handles an event. -ENOENT: the walk ends here. */
static int take_event(struct walk *w, const yaml_event_t *event)
{
	switch (event->type) {
	case YAML_STREAM_END_EVENT:
	case YAML_NO_EVENT:
		return -ENOENT;
	case YAML_SCALAR_EVENT:
		return take_scalar(w, event);
	case YAML_ALIAS_EVENT:
		value_ends(w);
		return 0;
	case YAML_MAPPING_START_EVENT:
		return open_level(w, true);
	case YAML_SEQUENCE_START_EVENT:
		return open_level(w, false);
	case YAML_MAPPING_END_EVENT:
	case YAML_SEQUENCE_END_EVENT:
		w->depth--;
		value_ends(w);
		return 0;
	default:
		return 0;
	}
}

int conffile_walk(const char *text, size_t len, conffile_value_fn *fn,
		  void *arg)
{
	struct walk w = { .fn = fn, .arg = arg, .text = text, .len = len };
	yaml_parser_t parser;
	yaml_event_t event;
	int err = 0;

	if (!yaml_parser_initialize(&parser))
		return -ENOMEM;
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
	while (!err && yaml_parser_parse(&parser, &event)) {
		err = take_event(&w, &event);
		yaml_event_delete(&event);
	}
	yaml_parser_delete(&parser);
	return err == -ENOENT ? 0 : err;
}

struct search {
	const char *path;
	unsigned n, *line, *column;
	bool found;
};

static int compare_path(void *arg, const struct conffile_value *v)
{
	struct search *s = arg;

	if (strcmp(v->path, s->path) != 0)
		return 0;
	if (s->n > 0) {
		s->n--;
		return 0;
	}
	*s->line = v->line;
	*s->column = v->column;
	s->found = true;
	return -ENOENT;
}

bool conffile_find(const char *text, size_t len, const char *path, unsigned n,
		   unsigned *line, unsigned *column)
{
	struct search s = { path, n, line, column, false };

	conffile_walk(text, len, compare_path, &s);
	return s.found;
}
