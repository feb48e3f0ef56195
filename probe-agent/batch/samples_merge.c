/* SPDX-License-Identifier: Apache-2.0 */
/* A batch's samples into the table: increments add up, sets replace. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "probe-agent/batch/samples_rows.h"
#include "proto/limits.h"

/* Beyond this a table holds more than batches can take away in time. */
#define SERIES_MAX (8 * LIMIT_SAMPLE_SERIES)

struct merge {
	struct samples_table *t;
	const struct batch *b;
	uint32_t *family, *series; /* the batch's numbers to the table's */
};

static const char *string_at(const struct merge *m, uint32_t id)
{
	return m->b->strings[id].data;
}

static int merge_families(struct merge *m)
{
	const struct batch_samples *s = &m->b->samples;
	const char *label[LIMIT_SAMPLE_LABELS];
	size_t at = 0, bound = 0;

	for (size_t i = 0; i < s->n_families; i++) {
		struct samples_family f = {
			.name = string_at(m, s->name[i]),
			.help = string_at(m, s->help[i]),
			.unit = string_at(m, s->unit[i]),
			.program = string_at(m, s->of_program[i]),
			.kind = s->kind[i],
			.merge = s->merge[i],
			.multiplier = s->multiplier[i],
			.label = label,
			.n_labels = s->n_labels[i],
			.bound = s->bound + bound,
			.n_bounds = s->n_bounds[i],
		};
		int64_t id;

		for (size_t k = 0; k < f.n_labels; k++)
			label[k] = string_at(m, s->label_name[at + k]);
		at += f.n_labels;
		bound += f.n_bounds;
		id = samples_table_family(m->t, &f);
		if (id < 0)
			return (int)id;
		m->family[i] = (uint32_t)id;
	}
	return 0;
}

static int merge_series(struct merge *m)
{
	const struct batch_samples *s = &m->b->samples;
	const char *value[LIMIT_SAMPLE_LABELS];
	size_t at = 0;

	for (size_t i = 0; i < s->n_series; i++) {
		size_t n = s->n_labels[s->family[i]];
		int64_t id;

		for (size_t k = 0; k < n; k++)
			value[k] = string_at(m, s->label_value[at + k]);
		at += n;
		id = samples_table_series(m->t, m->family[s->family[i]], value);
		if (id < 0)
			return (int)id;
		m->series[i] = (uint32_t)id;
	}
	return 0;
}

static int merge_values(struct merge *m)
{
	const struct batch_samples *s = &m->b->samples;
	size_t at = 0;
	int err = 0;

	for (size_t i = 0; i < s->n_counters; i++)
		samples_table_add(m->t, m->series[s->counter[i]],
				  s->increment[i]);
	for (size_t i = 0; i < s->n_gauge_families; i++)
		samples_table_begin_gauges(m->t, m->family[s->gauge_family[i]]);
	for (size_t i = 0; i < s->n_gauges; i++)
		samples_table_set(m->t, m->series[s->gauge[i]], s->value[i]);
	for (size_t i = 0; i < s->n_histograms; i++) {
		uint32_t series = m->series[s->histogram[i]];

		samples_table_add_sum(m->t, series, s->sum[i]);
		for (size_t k = 0; k < s->n_buckets[i] && !err; k++)
			err = samples_table_add_bucket(m->t, series,
						       s->bucket[at + k],
						       s->count[at + k]);
		at += s->n_buckets[i];
	}
	return err;
}

static int merge_programs(struct merge *m)
{
	const struct batch_samples *s = &m->b->samples;
	size_t map = 0;
	int err = 0;

	if (!s->told)
		return 0;
	samples_table_begin_programs(m->t);
	for (size_t i = 0; i < s->n_programs && !err; i++) {
		struct samples_program p = {
			.name = string_at(m, s->program[i]),
			.reason = string_at(m, s->reason[i]),
			.state = s->state[i],
			.runs = s->runs[i],
			.run_ns = s->run_ns[i],
			.trap_ns = s->trap_ns[i],
			.read_us = s->read_us[i],
		};

		memcpy(p.digest, s->digest + i * SAMPLES_DIGEST_BYTES,
		       sizeof(p.digest));
		err = samples_table_program(m->t, &p);
		for (map = 0; map < s->n_maps && !err; map++) {
			struct samples_map row = {
				.name = string_at(m, s->map_name[map]),
				.guarantee = s->guarantee[map],
				.entries = s->entries[map],
				.max_entries = s->max_entries[map],
			};

			if (s->map_program[map] == i)
				err = samples_table_map(m->t, &row);
		}
	}
	return err;
}

static void merge_totals(struct samples_table *t, const struct batch_samples *s,
			 enum samples_totals totals)
{
	if (totals == SAMPLES_TOTALS_ADD) {
		t->read += s->read;
		for (unsigned i = 0; i < SAMPLES_STAGES; i++)
			t->dropped[i] += s->dropped[i];
	} else if (samples_any(s)) {
		t->read = s->read;
		memcpy(t->dropped, s->dropped, sizeof(t->dropped));
	}
}

int samples_table_merge(struct samples_table *t, const struct batch *b,
			enum samples_totals totals)
{
	const struct batch_samples *s = &b->samples;
	struct merge m = { .t = t, .b = b };
	int err;

	if (t->series.n + s->n_series > SERIES_MAX)
		return -EMSGSIZE;
	m.family = calloc(s->n_families + 1, sizeof(*m.family));
	m.series = calloc(s->n_series + 1, sizeof(*m.series));
	err = m.family && m.series ? 0 : -ENOMEM;
	if (!err)
		err = merge_families(&m);
	if (!err)
		err = merge_series(&m);
	if (!err)
		err = merge_values(&m);
	if (!err)
		err = merge_programs(&m);
	if (!err)
		merge_totals(t, s, totals);
	free(m.family);
	free(m.series);
	return err;
}
