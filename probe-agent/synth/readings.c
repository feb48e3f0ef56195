/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/synth/readings.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "probe-agent/batch/samples_table.h"
#include "proto/limits.h"

#define TEMPLATES 16u
#define PER_SERIES 4u /* increments on average */
#define BOUNDS 8u /* 1, 2, 4 … */

static const char *const key_name[] = { "key" };
static const uint64_t bounds[BOUNDS] = { 1, 2, 4, 8, 16, 32, 64, 128 };

static const struct samples_family counter = {
	.name = "synth_hits_total",
	.help = "Made increments.",
	.program = "synth",
	.kind = SAMPLES_COUNTER,
	.multiplier = 1,
	.label = key_name,
	.n_labels = 1,
};
static const struct samples_family histogram = {
	.name = "synth_values",
	.help = "Made values.",
	.program = "synth",
	.kind = SAMPLES_HISTOGRAM,
	.multiplier = 1,
	.label = key_name,
	.n_labels = 1,
	.bound = bounds,
	.n_bounds = BOUNDS,
};
static const struct samples_family gauge = {
	.name = "synth_level",
	.help = "Made levels.",
	.program = "synth",
	.kind = SAMPLES_GAUGE,
	.multiplier = 1,
	.label = key_name,
	.n_labels = 1,
};

struct readings {
	struct readings_options opt;
	struct {
		void *data;
		size_t len;
	} * body;
	unsigned counters, histograms, gauges;
	uint64_t *increment; /* template * counters + key */
	uint64_t *count, *sum; /* template * histograms + key */
	uint64_t increments; /* of each template */
};

static uint64_t next_random(uint64_t *x)
{
	uint64_t z = *x += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

/* Pairs of 4 + d and 4 - d, so that every template has as many increments. */
static uint64_t share(uint64_t *random, unsigned i, unsigned n, uint64_t *twin)
{
	if (i % 2) {
		uint64_t v = 2 * PER_SERIES - *twin;

		*twin = PER_SERIES;
		return v;
	}
	*twin = i + 1 < n ? 1 + next_random(random) % (2 * PER_SERIES - 1)
			  : PER_SERIES;
	return *twin;
}

static int64_t series_of(struct samples_table *t,
			 const struct samples_family *f, unsigned key)
{
	int64_t family = samples_table_family(t, f);
	char value[16];

	snprintf(value, sizeof(value), "k%u", key);
	return family < 0
		       ? family
		       : samples_table_series(t, (uint32_t)family,
					      (const char *const[]){ value });
}

static int add_counters(struct readings *r, struct samples_table *t,
			unsigned template, uint64_t *random)
{
	uint64_t twin = 0;

	for (unsigned i = 0; i < r->counters; i++) {
		int64_t s = series_of(t, &counter, i);
		uint64_t n = share(random, i, r->counters, &twin);

		if (s < 0)
			return (int)s;
		samples_table_add(t, (uint32_t)s, n);
		r->increment[template * r->counters + i] = n;
	}
	return 0;
}

static int add_histograms(struct readings *r, struct samples_table *t,
			  unsigned template, uint64_t *random)
{
	uint64_t twin = 0;
	int err = 0;

	for (unsigned i = 0; i < r->histograms; i++) {
		int64_t s = series_of(t, &histogram, i);
		uint64_t n = share(random, i, r->histograms, &twin);
		uint64_t sum = n * (i % 100);

		if (s < 0)
			return (int)s;
		for (uint64_t k = 0; k < n && !err; k++)
			err = samples_table_add_bucket(
				t, (uint32_t)s,
				(uint32_t)(next_random(random) % (BOUNDS + 1)),
				1);
		samples_table_add_sum(t, (uint32_t)s, sum);
		r->count[template * r->histograms + i] = n;
		r->sum[template * r->histograms + i] = sum;
	}
	return err;
}

static int add_gauges(struct readings *r, struct samples_table *t)
{
	int64_t family = samples_table_family(t, &gauge);

	if (family < 0)
		return (int)family;
	samples_table_begin_gauges(t, (uint32_t)family);
	for (unsigned i = 0; i < r->gauges; i++) {
		int64_t s = series_of(t, &gauge, i);

		if (s < 0)
			return (int)s;
		samples_table_set(t, (uint32_t)s, (int64_t)i - 5);
	}
	return 0;
}

static int encode(struct samples_table *t, void **data, size_t *len)
{
	struct batch b = { .agent = "" };
	void *columns = NULL, *tables = NULL;
	struct intern strings;
	bool whole = true;
	int err = intern_init(&strings);

	if (err)
		return err;
	err = samples_table_fill(t, &strings, &b.samples, &whole, &columns);
	if (!err && !whole)
		err = -EINVAL;
	if (!err)
		err = intern_tables(&strings, &b, &tables);
	if (!err)
		err = batch_encode(&b, data, len);
	free(columns);
	free(tables);
	intern_fini(&strings);
	return err;
}

static int make_template(struct readings *r, unsigned i)
{
	uint64_t random = r->opt.seed * 0x9e3779b97f4a7c15u + i;
	struct samples_table *t;
	int err = samples_table_new(&t);

	if (err)
		return err;
	err = add_counters(r, t, i, &random);
	if (!err)
		err = add_histograms(r, t, i, &random);
	if (!err)
		err = add_gauges(r, t);
	if (!err)
		err = encode(t, &r->body[i].data, &r->body[i].len);
	samples_table_free(t);
	return err;
}

int readings_new(struct readings **out, const struct readings_options *opt)
{
	struct readings *r;
	int err = 0;

	if (opt->series < 1 || opt->series > LIMIT_SAMPLE_SERIES)
		return -EINVAL;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->opt = *opt;
	if (!r->opt.templates)
		r->opt.templates = TEMPLATES;
	r->histograms = r->gauges = opt->series / 8;
	r->counters = opt->series - r->histograms - r->gauges;
	r->increments = (uint64_t)PER_SERIES * (r->counters + r->histograms);
	r->body = calloc(r->opt.templates, sizeof(*r->body));
	r->increment = calloc((size_t)r->opt.templates * r->counters, 8);
	r->count = calloc((size_t)r->opt.templates * r->histograms + 1, 8);
	r->sum = calloc((size_t)r->opt.templates * r->histograms + 1, 8);
	if (!r->body || !r->increment || !r->count || !r->sum)
		err = -ENOMEM;
	for (unsigned i = 0; i < r->opt.templates && !err; i++)
		err = make_template(r, i);
	if (err) {
		readings_free(r);
		return err;
	}
	*out = r;
	return 0;
}

void readings_free(struct readings *r)
{
	if (!r)
		return;
	for (unsigned i = 0; r->body && i < r->opt.templates; i++)
		free(r->body[i].data);
	free(r->body);
	free(r->increment);
	free(r->count);
	free(r->sum);
	free(r);
}

unsigned readings_templates(const struct readings *r)
{
	return r->opt.templates;
}

uint64_t readings_increments(const struct readings *r)
{
	return r->increments;
}

const void *readings_body(const struct readings *r, unsigned template,
			  size_t *len)
{
	*len = r->body[template].len;
	return r->body[template].data;
}

static uint64_t sum_times(const uint64_t *of, unsigned n, unsigned key,
			  const uint64_t *times, unsigned templates)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < templates; i++)
		sum += of[i * n + key] * times[i];
	return sum;
}

void readings_truth(const struct readings *r, const uint64_t *times, FILE *f)
{
	unsigned n = r->opt.templates;
	uint64_t batches = 0;

	for (unsigned i = 0; i < n; i++)
		batches += times[i];
	fprintf(f, "{\"increments\":%" PRIu64 ",\n\"counters\":{",
		batches * r->increments);
	for (unsigned i = 0; i < r->counters; i++)
		fprintf(f, "%s\"k%u\":%" PRIu64, i ? "," : "", i,
			sum_times(r->increment, r->counters, i, times, n));
	fprintf(f, "},\n\"histograms\":{");
	for (unsigned i = 0; i < r->histograms; i++)
		fprintf(f, "%s\"k%u\":[%" PRIu64 ",%" PRIu64 "]", i ? "," : "",
			i, sum_times(r->count, r->histograms, i, times, n),
			sum_times(r->sum, r->histograms, i, times, n));
	fprintf(f, "},\n\"gauges\":%u}", r->gauges);
}
