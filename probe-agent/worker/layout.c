/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/worker/layout.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "probe-agent/programs/spec_reader.h"

#define EXP2_MAX 40 /* bucket of values that ring buffers bring: 2^40 */
#define LOG2L_MAX 63

struct job {
	struct spec *s;
	const struct object *o;
	const struct btf *btf;
	char *why;
	size_t why_size;
};

static int no_fit(struct job *j, const char *about, const char *what)
{
	snprintf(j->why, j->why_size, "%s: %s", about, what);
	return -EINVAL;
}

/* --- what a file left out --- */

/* The type that labels are members of: of a buffer, its value's. */
static unsigned label_type(const struct object_map *m)
{
	return m->type == OBJECT_MAP_RING || m->type == OBJECT_MAP_PERF
		       ? m->value_btf
		       : m->key_btf;
}

static int resolve_label(struct job *j, const struct spec_metric *m,
			 const struct object_map *map, struct spec_label *l)
{
	struct spec_label found;

	if (l->is_cpu || l->size > 0)
		return 0;
	if (!j->btf || !label_type(map) ||
	    layout_find(j->btf, label_type(map), l->name, &found)) {
		snprintf(j->why, j->why_size,
			 "%s: label %s: its size is not said, and the key of "
			 "map %s has no such member",
			 m->name, l->name, map->name);
		return -EINVAL;
	}
	l->offset = found.offset;
	l->size = found.size;
	if (l->n_decoders == 0) {
		l->decoders = found.decoders;
		l->n_decoders = found.n_decoders;
		found.decoders = NULL;
		found.n_decoders = 0;
	}
	spec_label_fini(&found);
	return 0;
}

struct member_search {
	const struct btf *btf;
	const char *name;
	struct layout_number *out;
	bool found;
};

static int find_member(void *arg, const char *name, unsigned type,
		       unsigned offset)
{
	struct member_search *s = arg;

	if (strcmp(name, s->name) != 0 ||
	    layout_number(s->btf, type, s->out) != 0)
		return 0;
	s->out->offset = offset;
	s->found = true;
	return 0;
}

static int resolve_value(struct job *j, struct spec_metric *m,
			 const struct object_map *map)
{
	struct layout_number number = { 0 };
	struct member_search search = { j->btf, m->member, &number, false };

	if (m->member) {
		if (j->btf && map->value_btf)
			layout_each_member(j->btf, map->value_btf, find_member,
					   &search);
		if (!search.found) {
			snprintf(j->why, j->why_size,
				 "%s: the value of map %s has no integer %s",
				 m->name, map->name, m->member);
			return -EINVAL;
		}
	} else if (m->value_size > 0 || m->events || !j->btf ||
		   !map->value_btf ||
		   layout_number(j->btf, map->value_btf, &number)) {
		return 0;
	}
	m->value_offset = number.offset;
	m->value_size = number.size;
	m->value_signed = number.is_signed;
	return 0;
}

static int resolve_metric(struct job *j, struct spec_metric *m)
{
	const struct object_map *map = object_map(j->o, m->table);
	char of_bcc[128];
	int err = 0;

	/* What bcc's code calls a table is a struct beside the map here. */
	snprintf(of_bcc, sizeof(of_bcc), "rt_%.100s", m->table);
	if (!map && (map = object_map(j->o, of_bcc))) {
		free(m->table);
		m->table = strdup(of_bcc);
		if (!m->table)
			return -ENOMEM;
	}
	if (!map) {
		snprintf(j->why, j->why_size, "%s: the object has no map %s",
			 m->name, m->table);
		return -EINVAL;
	}
	if (map->type == OBJECT_MAP_PERF || map->type == OBJECT_MAP_RING)
		m->events = true;
	/* ebpf_exporter's word for "not summed up": the last label is cpu. */
	if (map->per_cpu && m->n_labels > 0 &&
	    !strcmp(m->labels[m->n_labels - 1].name, "cpu"))
		m->labels[m->n_labels - 1].is_cpu = true;
	for (size_t i = 0; i < m->n_labels && !err; i++)
		err = resolve_label(j, m, map, &m->labels[i]);
	if (!err && m->kind == SPEC_HISTOGRAM && !m->events)
		err = resolve_label(j, m, map, &m->bucket);
	return err ? err : resolve_value(j, m, map);
}

/* --- maps that say by their name what they are --- */

static int kind_of(const char *map)
{
	static const struct {
		const char *prefix;
		enum spec_kind kind;
	} kinds[] = {
		{ "counter_", SPEC_COUNTER },
		{ "gauge_", SPEC_GAUGE },
		{ "hist_", SPEC_HISTOGRAM },
		{ "print_", SPEC_PRINT },
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (!strncmp(map, kinds[i].prefix, strlen(kinds[i].prefix)))
			return kinds[i].kind;
	return 0;
}

/* What `program build` noted of maps whose old section said it. */
static int kind_noted(const struct object *o, const char *map)
{
	static const char *const words[] = { NULL, "counter", "gauge", "hist",
					     "print" };
	const char *note = object_note(o);
	size_t n = strlen(map);

	while (note && *note) {
		if (!strncmp(note, map, n) && note[n] == '=')
			for (int k = SPEC_COUNTER; k <= SPEC_PRINT; k++)
				if (!strncmp(note + n + 1, words[k],
					     strlen(words[k])))
					return k;
		note = strchr(note, '\n');
		note = note ? note + 1 : NULL;
	}
	return 0;
}

static struct spec_metric *add_metric(struct job *j, enum spec_kind kind,
				      const struct object_map *map,
				      const char *member)
{
	struct spec *s = j->s;
	struct spec_metric *m =
		spec_grow(s->metrics, &s->n_metrics, sizeof(*m));
	int n;

	if (!m)
		return NULL;
	s->metrics = m;
	m += s->n_metrics - 1;
	m->kind = kind;
	m->auto_labels = true;
	m->events =
		map->type == OBJECT_MAP_RING || map->type == OBJECT_MAP_PERF;
	m->table = strdup(map->name);
	m->unit = strdup("");
	n = asprintf(&m->name, "%s%s%s%s", s->prefix, map->name,
		     member ? "_" : "", member ? member : "");
	if (n < 0)
		m->name = NULL;
	n = asprintf(&m->help, "Map %s of program %s.", map->name, s->name);
	if (n < 0)
		m->help = NULL;
	return m->name && m->help && m->table && m->unit ? m : NULL;
}

static int take_label(struct spec_metric *m, size_t at, struct spec_label *out)
{
	*out = m->labels[at];
	memmove(&m->labels[at], &m->labels[at + 1],
		(m->n_labels - at - 1) * sizeof(*m->labels));
	m->n_labels--;
	return 0;
}

static bool is_number(const struct spec_label *l)
{
	return l->n_decoders > 0 && l->size <= 8 &&
	       (l->decoders[0].kind == SPEC_UINT ||
		l->decoders[0].kind == SPEC_INT ||
		l->decoders[0].kind == SPEC_DURATION);
}

/* The member that a histogram is of: of that name, else the last number. */
static int take_number(struct job *j, struct spec_metric *m,
		       const char *const *names, struct spec_label *out)
{
	size_t at = m->n_labels;

	for (; *names; names++)
		for (size_t i = 0; i < m->n_labels; i++)
			if (is_number(&m->labels[i]) &&
			    !strcmp(m->labels[i].name, *names))
				return take_label(m, i, out);
	while (at > 0)
		if (is_number(&m->labels[--at]))
			return take_label(m, at, out);
	return no_fit(j, m->table, "no member is a number to make buckets of");
}

static const struct spec_hint *hint_of(const struct spec *s, const char *map)
{
	for (size_t i = 0; i < s->n_hints; i++)
		if (!strcmp(s->hints[i].map, map))
			return &s->hints[i];
	return NULL;
}

static int take_bounds(struct spec_metric *m, const struct spec_hint *hint)
{
	struct spec_histogram *h = &m->histogram;

	h->keys = calloc(hint->n_bounds, sizeof(*h->keys));
	if (!h->keys)
		return -ENOMEM;
	memcpy(h->keys, hint->bounds, hint->n_bounds * sizeof(*h->keys));
	h->n_keys = hint->n_bounds;
	h->type = SPEC_FIXED;
	return 0;
}

static int take_event_value(struct job *j, struct spec_metric *m)
{
	static const char *const values[] = { "value", NULL };
	struct spec_label number;
	int err = take_number(j, m, values, &number);

	if (err)
		return err;
	m->value_offset = number.offset;
	m->value_size = number.size;
	m->value_signed = number.decoders[0].kind == SPEC_INT;
	spec_label_fini(&number);
	return 0;
}

static int make_histogram(struct job *j, struct spec_metric *m,
			  const struct object_map *map)
{
	static const char *const values[] = { "value", "latency", "duration",
					      NULL };
	static const char *const slots[] = { "slot", "bucket", NULL };
	const struct spec_hint *hint = hint_of(j->s, map->name);
	const char *const said[] = { hint ? hint->value : NULL, NULL };
	struct spec_label number;
	int err = take_number(j, m,
			      said[0]	  ? said
			      : m->events ? values
					  : slots,
			      &number);

	if (err)
		return err;
	m->histogram = (struct spec_histogram){
		.type = m->events ? SPEC_EXP2 : SPEC_LOG2L,
		.max = m->events ? EXP2_MAX : LOG2L_MAX,
		.multiplier = 1,
	};
	if (map->type == OBJECT_MAP_ARRAY && map->max_entries > 1 &&
	    map->max_entries <= LOG2L_MAX)
		m->histogram.max = map->max_entries - 1;
	if (!m->events) {
		m->bucket = number;
		return 0;
	}
	m->value_offset = number.offset;
	m->value_size = number.size;
	spec_label_fini(&number);
	return hint && hint->n_bounds > 0 ? take_bounds(m, hint) : 0;
}

static int fill_metric(struct job *j, struct spec_metric *m,
		       const struct object_map *map)
{
	unsigned type = label_type(map);
	int err;

	if (!type || !j->btf)
		return no_fit(j, map->name,
			      "its key has no BTF: define the map with "
			      "__type(key, …) and __type(value, …)");
	err = layout_labels(j->btf, type, "key", &m->labels, &m->n_labels,
			    j->why, j->why_size);
	for (size_t i = 0; i < m->n_labels && !err; i++)
		if (!spec_label_name_valid(m->labels[i].name))
			err = no_fit(j, m->labels[i].name,
				     "is no label's name");
	if (!err && m->kind == SPEC_HISTOGRAM)
		err = make_histogram(j, m, map);
	if (!err && m->kind == SPEC_GAUGE && m->events)
		err = take_event_value(j, m);
	return err;
}

struct value_walk {
	struct job *j;
	enum spec_kind kind;
	const struct object_map *map;
};

/* A value that is a struct is one metric for each number in it. */
static int add_of_member(void *arg, const char *name, unsigned type,
			 unsigned offset)
{
	struct value_walk *w = arg;
	struct layout_number number = { 0 };
	struct spec_metric *m;

	if (layout_number(w->j->btf, type, &number))
		return no_fit(w->j, name, "is no integer, and so no value");
	m = add_metric(w->j, w->kind, w->map, name);
	if (!m)
		return -ENOMEM;
	m->value_offset = offset;
	m->value_size = number.size;
	m->value_signed = number.is_signed;
	return fill_metric(w->j, m, w->map);
}

static int add_for_map(struct job *j, enum spec_kind kind,
		       const struct object_map *map)
{
	struct value_walk walk = { j, kind, map };
	struct layout_number number = { 0 };
	struct spec_metric *m;
	bool events =
		map->type == OBJECT_MAP_RING || map->type == OBJECT_MAP_PERF;

	if (map->type == OBJECT_MAP_OTHER)
		return no_fit(j, map->name, "maps of this type cannot be read");
	if (!events && j->btf && map->value_btf && kind != SPEC_HISTOGRAM &&
	    layout_is_struct(j->btf, map->value_btf))
		return layout_each_member(j->btf, map->value_btf, add_of_member,
					  &walk);
	m = add_metric(j, kind, map, NULL);
	if (!m)
		return -ENOMEM;
	if (!events) {
		if (!map->value_btf || !j->btf ||
		    layout_number(j->btf, map->value_btf, &number))
			return no_fit(j, map->name, "its value is no integer");
		m->value_size = number.size;
		m->value_signed = number.is_signed;
	}
	return fill_metric(j, m, map);
}

static int add_by_names(struct job *j)
{
	const struct object_map *map;
	size_t n = object_maps(j->o, &map), found = 0;
	int err = 0;

	for (size_t i = 0; i < n && !err; i++) {
		int kind = kind_noted(j->o, map[i].name);

		if (!kind)
			kind = kind_of(map[i].name);
		if (!kind || map[i].internal)
			continue;
		found++;
		err = add_for_map(j, (enum spec_kind)kind, &map[i]);
	}
	if (!err && found == 0)
		return no_fit(j, j->s->name,
			      "no map is named counter_, gauge_, hist_ or "
			      "print_, and there is no file that says what its "
			      "maps are");
	return err;
}

int layout_resolve(struct spec *s, const struct object *o, char *why,
		   size_t why_size)
{
	struct job j = { s, o, object_btf(o), why, why_size };
	int err = 0;

	snprintf(why, why_size, "out of memory");
	if (s->dialect == SPEC_AUTO && s->n_metrics == 0)
		err = add_by_names(&j);
	for (size_t i = 0; i < s->n_metrics && !err; i++)
		if (!s->metrics[i].auto_labels)
			err = resolve_metric(&j, &s->metrics[i]);
	return err;
}
