/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/worker/table.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "probe-agent/worker/table_state.h"

/* --- making one --- */

static int no_fit(char *why, size_t size, const struct spec_metric *m,
		  const char *what)
{
	snprintf(why, size, "%s: %s", m->name, what);
	return -EINVAL;
}

/* Do its labels and its value lie within what the map has? */
static const char *check_fit(const struct table_options *opt,
			     const struct spec_metric *m, bool by_cpu)
{
	unsigned key = opt->map->key_size, size = m->value_size;

	for (size_t i = 0; i < m->n_labels; i++) {
		const struct spec_label *l = &m->labels[i];

		if (!l->is_cpu && l->size == 0)
			return "a label's size is neither said nor in BTF";
		if (!m->events && !l->is_cpu && l->offset + l->size > key)
			return "its labels are longer than the map's keys";
		if (l->is_cpu && !by_cpu)
			return "only a per-CPU map has a cpu";
	}
	if (m->events)
		return m->kind == SPEC_HISTOGRAM && m->value_size == 0
			       ? "a histogram of events needs value: MEMBER"
			       : NULL;
	if (m->kind == SPEC_HISTOGRAM &&
	    (m->bucket.size == 0 || m->bucket.offset + m->bucket.size > key))
		return "its bucket is not within the map's keys";
	if (size == 0)
		size = opt->map->value_size;
	if (size != 1 && size != 2 && size != 4 && size != 8)
		return "the map's value is a struct: say value: MEMBER";
	if (m->value_offset + size > opt->map->value_size)
		return "its value is not within the map's values";
	return NULL;
}

static void make_family(struct table_metric *m, const char *program)
{
	static const char *const overflow[] = { "otel_metric_overflow" };
	const struct spec_metric *s = m->spec;

	m->family = (struct samples_family){
		.name = s->name,
		.help = s->help,
		.unit = s->unit,
		.program = program,
		.kind = (enum samples_kind)s->kind,
		.merge = (enum samples_merge)s->merge,
		.multiplier = 1,
		.label = m->label,
		.n_labels = s->n_labels,
	};
	for (size_t i = 0; i < s->n_labels; i++)
		m->label[i] = s->labels[i].name;
	if (s->kind == SPEC_HISTOGRAM) {
		int n = spec_bounds(&s->histogram, m->bound,
				    LIMIT_SAMPLE_BOUNDS);

		m->family.multiplier = s->histogram.multiplier;
		m->family.bound = m->bound;
		m->family.n_bounds = n > 0 ? (size_t)n : 0;
	}
	m->overflow = m->family;
	m->overflow.label = overflow;
	m->overflow.n_labels = 1;
}

static int add_metric(struct table *t, const struct spec_metric *s)
{
	struct table_metric *m = &t->metric[t->n_metrics++];
	int err = hash_index_init(&m->index, 64);

	m->spec = s;
	m->value_offset = s->value_offset;
	m->value_size = s->value_size
				? s->value_size
				: (s->events ? 0 : t->opt.map->value_size);
	m->value_signed = s->value_signed;
	m->gauges_changed = true;
	make_family(m, t->opt.program);
	if (!err && table_intern(t, m, "", 0) < 0)
		err = -ENOMEM;
	return err;
}

/* An event's key is the part of it that labels are made of. */
static size_t event_key_len(const struct table_options *opt)
{
	size_t n = 1;

	for (size_t i = 0; i < opt->n_metrics; i++)
		for (size_t k = 0; k < opt->metric[i]->n_labels; k++) {
			const struct spec_label *l = &opt->metric[i]->labels[k];

			if (l->offset + l->size > n)
				n = l->offset + l->size;
		}
	return n;
}

static bool wants_cpu(const struct table_options *opt)
{
	if (!opt->map->per_cpu)
		return false;
	for (size_t i = 0; i < opt->n_metrics; i++)
		for (size_t k = 0; k < opt->metric[i]->n_labels; k++)
			if (opt->metric[i]->labels[k].is_cpu)
				return true;
	return false;
}

int table_new(struct table **out, const struct table_options *opt, char *why,
	      size_t why_size)
{
	struct table *t;
	bool by_cpu = wants_cpu(opt);
	int err = 0;

	for (size_t i = 0; i < opt->n_metrics; i++) {
		const struct spec_metric *m = opt->metric[i];
		bool event_map = opt->map->type == OBJECT_MAP_RING ||
				 opt->map->type == OBJECT_MAP_PERF;
		const char *what = check_fit(opt, m, by_cpu);

		if (opt->map->type == OBJECT_MAP_OTHER)
			what = "maps of this type cannot be read";
		else if (event_map != m->events)
			what = m->events ? "events are those of a ring or perf "
					   "buffer"
					 : "a buffer's map needs events: true";
		if (what)
			return no_fit(why, why_size, m, what);
	}
	if (opt->n_metrics == 0 || opt->n_metrics > TABLE_METRICS_MAX) {
		snprintf(why, why_size, "map %s: more than %u metrics",
			 opt->map->name, TABLE_METRICS_MAX);
		return -EINVAL;
	}
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->opt = *opt;
	t->by_cpu = by_cpu;
	t->frame = 1;
	t->key_len = opt->metric[0]->events ? event_key_len(opt)
					    : opt->map->key_size;
	t->key_len += t->by_cpu ? 2 : 0;
	t->metric = calloc(opt->n_metrics, sizeof(*t->metric));
	err = t->metric ? hash_index_init(&t->index, 64) : -ENOMEM;
	for (size_t i = 0; i < opt->n_metrics && !err; i++)
		err = add_metric(t, opt->metric[i]);
	if (err) {
		table_free(t);
		return err;
	}
	*out = t;
	return 0;
}

void table_free(struct table *t)
{
	if (!t)
		return;
	for (size_t i = 0; t->metric && i < t->n_metrics; i++) {
		hash_index_fini(&t->metric[i].index);
		buf_fini(&t->metric[i].texts);
		free(t->metric[i].series);
	}
	free(t->metric);
	free(t->keys);
	free(t->key);
	free(t->cell);
	hash_index_fini(&t->index);
	buf_fini(&t->text);
	free(t);
}

void table_next_frame(struct table *t)
{
	t->frame++;
}

/* --- bases, figures --- */

int table_each_base(struct table *t, table_base_fn fn, void *arg)
{
	uint64_t value[TABLE_METRICS_MAX];
	int err = 0;

	for (size_t i = 0; i < t->n_keys && !err; i++) {
		if (!t->key[i].changed)
			continue;
		t->key[i].changed = false;
		for (size_t m = 0; m < t->n_metrics; m++)
			value[m] = table_cell_at(t, i, m)->last;
		err = fn(arg, table_key_at(t, i), t->key_len, value,
			 t->n_metrics);
	}
	return err;
}

int table_set_base(struct table *t, const uint8_t *key, size_t key_len,
		   const uint64_t *value, size_t n)
{
	bool fresh;
	int64_t i;

	if (key_len != t->key_len || n != t->n_metrics)
		return -EINVAL;
	i = table_find_key(t, key, &fresh);
	if (i < 0)
		return (int)i;
	for (size_t m = 0; m < n; m++)
		table_cell_at(t, (size_t)i, m)->last = value[m];
	return fresh ? table_decide(t, (size_t)i) : 0;
}

void table_stats(const struct table *t, struct table_stats *out)
{
	*out = t->stats;
	out->series = 0;
	/* The first stands for those beyond the limit. */
	for (size_t i = 0; i < t->n_metrics; i++)
		out->series += t->metric[i].n_series - 1;
}

const struct object_map *table_map(const struct table *t)
{
	return t->opt.map;
}

const char *table_complaint(const struct table *t)
{
	return t->complaint;
}

void table_give_row(struct table *t, size_t key, size_t metric, int64_t value,
		    table_row_fn fn, void *arg)
{
	const struct table_cell *c = table_cell_at(t, key, metric);
	const struct table_metric *m = &t->metric[metric];
	const char *label[LIMIT_SAMPLE_LABELS], *p;
	struct table_row row = {
		.key = table_key_at(t, key),
		.key_len = t->key_len,
		.map = t->opt.map->name,
		.metric = m->spec->name,
		.name = m->label,
		.n_labels = m->spec->n_labels,
		.value = value,
		.event = m->spec->events,
		.bucket = m->spec->kind == SPEC_HISTOGRAM ? c->bucket
							  : TABLE_BUCKET_NONE,
	};

	if (c->series < TABLE_IGNORED && c->series != TABLE_OVERFLOW) {
		p = m->texts.data + m->series[c->series].text;
		for (size_t i = 0; i < row.n_labels; i++) {
			label[i] = p;
			p += strlen(p) + 1;
		}
		row.label = label;
	}
	fn(arg, &row);
}

void table_each(struct table *t, table_row_fn fn, void *arg)
{
	for (size_t i = 0; i < t->n_keys; i++)
		for (size_t k = 0; k < t->n_metrics && !t->key[i].gone; k++)
			table_give_row(t, i, k,
				       (int64_t)table_cell_at(t, i, k)->last,
				       fn, arg);
}

void table_watch(struct table *t, table_row_fn fn, void *arg)
{
	t->watch = fn;
	t->watch_arg = arg;
}
