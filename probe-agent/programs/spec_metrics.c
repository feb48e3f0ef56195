/* SPDX-License-Identifier: Apache-2.0 */
/* `metrics:` with its counters, gauges and histograms. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "probe-agent/programs/spec_reader.h"
#include "proto/limits.h"

static int read_bucket_type(struct spec_reader *r, int node, void *to)
{
	static const char *const names[] = { "exp2",  "exp2zero", "linear",
					     "fixed", "log2l",	  NULL };
	const char *text = spec_yaml_text(r->y, node);

	for (int i = 0; text && names[i]; i++)
		if (!strcmp(text, names[i])) {
			*(enum spec_buckets *)to = (enum spec_buckets)i;
			return 0;
		}
	return spec_fail(r, node,
			 "bucket_type: must be exp2, exp2zero, linear, fixed "
			 "or log2l");
}

static int read_bucket_keys(struct spec_reader *r, int node, void *to)
{
	struct spec_histogram *h = to;
	size_t n = spec_yaml_count(r->y, node);

	if (spec_yaml_kind(r->y, node) != SPEC_NODE_LIST ||
	    n > LIMIT_SAMPLE_BOUNDS)
		return spec_fail(r, node,
				 "bucket_keys: must be a list of at most %u",
				 LIMIT_SAMPLE_BOUNDS);
	for (size_t i = 0; i < n; i++) {
		int item = spec_yaml_item(r->y, node, i), err;
		uint64_t *keys = spec_grow(h->keys, &h->n_keys, sizeof(*keys));
		double v;

		if (!keys)
			return -ENOMEM;
		h->keys = keys;
		err = spec_read_double(r, item, &v);
		if (err)
			return err;
		if (v < 0 || v > 9007199254740992.0 || v != (uint64_t)v)
			return spec_fail(r, item,
					 "bucket_keys: keys of a map are "
					 "integers from 0 to 2^53");
		keys[i] = (uint64_t)v;
		if (i > 0 && keys[i] <= keys[i - 1])
			return spec_fail(r, item, "bucket_keys: must ascend");
	}
	return 0;
}

static int read_overflow(struct spec_reader *r, int node, void *to)
{
	const char *text = spec_yaml_text(r->y, node);

	if (!text || (strcmp(text, "inf") && strcmp(text, "clamp")))
		return spec_fail(r, node, "overflow: must be inf or clamp");
	*(bool *)to = !strcmp(text, "inf");
	return 0;
}

static int read_merge(struct spec_reader *r, int node, void *to)
{
	static const char *const names[] = { "none", "sum", "max", "min" };
	const char *text = spec_yaml_text(r->y, node);

	for (int i = 0; text && i < 4; i++)
		if (!strcmp(text, names[i])) {
			*(enum spec_merge *)to = (enum spec_merge)i;
			return 0;
		}
	return spec_fail(r, node, "merge: must be none, sum, max or min");
}

/* node: drop is the sum over nodes. */
static int read_node(struct spec_reader *r, int node, void *to)
{
	const char *text = spec_yaml_text(r->y, node);

	if (text && !strcmp(text, "drop"))
		*(enum spec_merge *)to = SPEC_MERGE_SUM;
	else if (!text || strcmp(text, "keep") != 0)
		return spec_fail(r, node, "node: must be keep or drop");
	return 0;
}

static int read_evict(struct spec_reader *r, int node, void *to)
{
	const char *text = spec_yaml_text(r->y, node);

	if (!text || (strcmp(text, "pid") && strcmp(text, "none")))
		return spec_fail(r, node, "evict: must be pid or none");
	*(bool *)to = !strcmp(text, "pid");
	return 0;
}

static int read_flush_interval(struct spec_reader *r, int node, void *to)
{
	(void)to;
	if (!spec_yaml_text(r->y, node))
		return spec_fail(r, node, "flush_interval: must be a time");
	spec_warn(r, node,
		  "flush_interval is ignored: series stay, idle ones "
		  "are hidden by the aggregator");
	return 0;
}

#define AT(member) offsetof(struct spec_metric, member)

#define EXPORTER_FIELDS                                                        \
	{ "name", spec_read_text, AT(name) },                                  \
		{ "help", spec_read_text, AT(help) },                          \
	{                                                                      \
		"labels", spec_read_labels, 0                                  \
	}
#define EXPORTER_COUNTER                                                       \
	{ "perf_event_array", spec_read_bool, AT(events) },                    \
	{                                                                      \
		"flush_interval", read_flush_interval, 0                       \
	}
#define EXPORTER_HISTOGRAM                                                     \
	{ "bucket_type", read_bucket_type, AT(histogram.type) },               \
		{ "bucket_multiplier", spec_read_double,                       \
		  AT(histogram.multiplier) },                                  \
		{ "bucket_min", spec_read_int64, AT(histogram.min) },          \
		{ "bucket_max", spec_read_int64, AT(histogram.max) },          \
	{                                                                      \
		"bucket_keys", read_bucket_keys, AT(histogram)                 \
	}
#define OUR_FIELDS                                                             \
	{ "table", spec_read_text, AT(table) },                                \
		{ "unit", spec_read_text, AT(unit) },                          \
		{ "value", spec_read_text, AT(member) },                       \
		{ "events", spec_read_bool, AT(events) },                      \
		{ "merge", read_merge, AT(merge) },                            \
		{ "node", read_node, AT(merge) },                              \
	{                                                                      \
		"evict", read_evict, AT(evict_pid)                             \
	}
#define END                                                                    \
	{                                                                      \
		NULL, NULL, 0                                                  \
	}

static const struct spec_field exporter_counter[] = { EXPORTER_FIELDS,
						      EXPORTER_COUNTER, END };
static const struct spec_field exporter_histogram[] = { EXPORTER_FIELDS,
							EXPORTER_HISTOGRAM,
							END };
static const struct spec_field v1_counter[] = {
	EXPORTER_FIELDS,
	{ "table", spec_read_text, AT(table) },
	{ "perf_map", spec_read_text, AT(table) },
	{ "perf_map_flush_duration", read_flush_interval, 0 },
	END
};
static const struct spec_field v1_histogram[] = { EXPORTER_FIELDS,
						  { "table", spec_read_text,
						    AT(table) },
						  EXPORTER_HISTOGRAM,
						  END };
static const struct spec_field our_counter[] = { EXPORTER_FIELDS,
						 EXPORTER_COUNTER, OUR_FIELDS,
						 END };
static const struct spec_field our_histogram[] = {
	EXPORTER_FIELDS,
	EXPORTER_HISTOGRAM,
	OUR_FIELDS,
	{ "overflow", read_overflow, AT(histogram.overflow_inf) },
	END
};

static const struct spec_field *fields_of(const struct spec *s,
					  enum spec_kind kind)
{
	bool histogram = kind == SPEC_HISTOGRAM;

	switch (s->dialect) {
	case SPEC_EXPORTER:
		return histogram ? exporter_histogram : exporter_counter;
	case SPEC_EXPORTER_V1:
		return histogram ? v1_histogram : v1_counter;
	default:
		return histogram ? our_histogram : our_counter;
	}
}

/*
 * The bucket is the label of that name; else the last one, or the last but one
 * if the CPU follows.
 */
static int take_bucket(struct spec_reader *r, int node, struct spec_metric *m)
{
	size_t at = m->n_labels;

	for (size_t i = 0; i < m->n_labels && at == m->n_labels; i++)
		if (!strcmp(m->labels[i].name, "bucket"))
			at = i;
	if (at == m->n_labels && at > 1 &&
	    !strcmp(m->labels[at - 1].name, "cpu"))
		at--;
	if (at == m->n_labels)
		at--;
	if (m->n_labels == 0 || at >= m->n_labels)
		return spec_fail(r, node, "histogram: no label is the bucket");
	m->bucket = m->labels[at];
	memmove(&m->labels[at], &m->labels[at + 1],
		(m->n_labels - at - 1) * sizeof(*m->labels));
	m->n_labels--;
	for (size_t i = 0; i < m->n_labels; i++)
		if (!strcmp(m->labels[i].name, "le"))
			return spec_fail(r, node,
					 "histogram: le cannot be a label");
	return 0;
}

static int check_histogram(struct spec_reader *r, int node,
			   struct spec_metric *m)
{
	struct spec_histogram *h = &m->histogram;

	if (h->multiplier == 0)
		h->multiplier = 1;
	if (h->multiplier < 0)
		return spec_fail(r, node, "bucket_multiplier: below 0");
	if (h->min < 0)
		return spec_fail(r, node,
				 "bucket_min: keys of a map are not "
				 "below 0");
	if (spec_bounds(h, NULL, LIMIT_SAMPLE_BOUNDS) < 0)
		return spec_fail(r, node,
				 "histogram: must have 1 to %u buckets, by "
				 "bucket_min and bucket_max, or bucket_keys",
				 LIMIT_SAMPLE_BOUNDS);
	if ((h->type == SPEC_EXP2 && h->max > 63) ||
	    (h->type == SPEC_EXP2ZERO && h->max > 64) ||
	    (h->type == SPEC_LOG2L && h->max > 63))
		return spec_fail(r, node, "bucket_max: beyond 2^63");
	return m->events ? 0 : take_bucket(r, node, m);
}

/* Where each label is in the key, if all of them say their size. */
static void place_labels(struct spec_metric *m)
{
	unsigned at = 0;

	for (size_t i = 0; i < m->n_labels; i++) {
		m->labels[i].offset = at;
		at += m->labels[i].size + m->labels[i].padding;
	}
}

static int finish_metric(struct spec_reader *r, int node, const struct spec *s,
			 struct spec_metric *m)
{
	char *name = NULL;

	if (!m->name)
		return spec_fail(r, node, "metric: name is missing");
	if (!m->table && !(m->table = strdup(m->name)))
		return -ENOMEM;
	if (asprintf(&name, "%s%s", s->prefix, m->name) < 0)
		return -ENOMEM;
	free(m->name);
	m->name = name;
	if (!spec_metric_name_valid(name))
		return spec_fail(r, node, "'%s' is not a metric's name", name);
	if (!m->help && !(m->help = strdup("")))
		return -ENOMEM;
	if (!m->unit && !(m->unit = strdup("")))
		return -ENOMEM;
	if (m->kind != SPEC_GAUGE && m->merge > SPEC_MERGE_SUM)
		return spec_fail(r, node, "merge: max and min are of gauges");
	place_labels(m);
	return m->kind == SPEC_HISTOGRAM ? check_histogram(r, node, m) : 0;
}

static int read_metric_list(struct spec_reader *r, int node, struct spec *s,
			    enum spec_kind kind)
{
	size_t n = spec_yaml_count(r->y, node);

	if (spec_yaml_kind(r->y, node) == SPEC_NODE_TEXT &&
	    !*spec_yaml_text(r->y, node))
		return 0; /* a key without a value */
	if (spec_yaml_kind(r->y, node) != SPEC_NODE_LIST ||
	    n > LIMIT_SAMPLE_FAMILIES)
		return spec_fail(r, node,
				 "metrics: must be a list of at most %u",
				 LIMIT_SAMPLE_FAMILIES);
	for (size_t i = 0; i < n; i++) {
		int item = spec_yaml_item(r->y, node, i), err;
		struct spec_metric *m =
			spec_grow(s->metrics, &s->n_metrics, sizeof(*m));

		if (!m)
			return -ENOMEM;
		s->metrics = m;
		m = &m[s->n_metrics - 1];
		m->kind = kind;
		m->line = spec_yaml_line(r->y, item);
		err = spec_read_fields(r, item, "metric", fields_of(s, kind),
				       m);
		if (!err)
			err = finish_metric(r, item, s, m);
		if (err)
			return err;
	}
	return 0;
}

static int read_counters(struct spec_reader *r, int node, void *to)
{
	return read_metric_list(r, node, to, SPEC_COUNTER);
}

static int read_gauges(struct spec_reader *r, int node, void *to)
{
	return read_metric_list(r, node, to, SPEC_GAUGE);
}

static int read_histograms(struct spec_reader *r, int node, void *to)
{
	return read_metric_list(r, node, to, SPEC_HISTOGRAM);
}

int spec_read_metrics(struct spec_reader *r, int node, struct spec *s)
{
	static const struct spec_field exporter[] = {
		{ "counters", read_counters, 0 },
		{ "histograms", read_histograms, 0 },
		END
	};
	static const struct spec_field ours[] = {
		{ "counters", read_counters, 0 },
		{ "gauges", read_gauges, 0 },
		{ "histograms", read_histograms, 0 },
		END
	};

	return spec_read_fields(r, node, "metrics",
				s->dialect == SPEC_OURS ? ours : exporter, s);
}
