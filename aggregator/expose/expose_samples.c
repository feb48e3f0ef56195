/* SPDX-License-Identifier: Apache-2.0 */
/* Families of user programs. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/expose/expose_writer.h"

#define AT_ONCE 64u /* series, between two looks at the size */
#define LABELS_MAX (LIMIT_SAMPLE_LABELS + 2)
#define NATIVE_INFINITE 1025 /* index of +Inf in schema 0 */

static bool ends_with(const char *name, const char *suffix)
{
	size_t n = strlen(name), k = strlen(suffix);

	return n > k && !strcmp(name + n - k, suffix);
}

/*
 * Powers of two, perhaps after 0, are the bounds of a native histogram of
 * schema 0. Scaled ones are not: there classic buckets stay classic.
 */
static bool is_native(const struct snapshot_family *f)
{
	size_t first = f->bound[0] == 0;

	if (f->multiplier != 1 || f->n_bounds == first)
		return false;
	for (size_t i = first; i < f->n_bounds; i++)
		if ((f->bound[i] & (f->bound[i] - 1)) != 0 ||
		    (i > first && f->bound[i] != 2 * f->bound[i - 1]))
			return false;
	return true;
}

static enum metric_type type_of(const struct snapshot_family *f, bool total)
{
	switch (f->kind) {
	case SAMPLES_GAUGE:
		return METRIC_GAUGE;
	case SAMPLES_HISTOGRAM:
		return METRIC_HISTOGRAM;
	default:
		return total ? METRIC_COUNTER : METRIC_UNKNOWN;
	}
}

static void describe(struct expose *x, const struct snapshot_family *f)
{
	int decimals = expose_decimals(f->multiplier);
	bool total = f->kind == SAMPLES_COUNTER && ends_with(f->name, "_total");

	x->family = (struct expose_family){
		.base = f->name,
		.base_len = strlen(f->name) - (total ? 6 : 0),
		.suffix = total ? "_total" : "",
		.help = *f->help ? f->help : "A user program's metric.",
		.unit = f->unit,
		.type = type_of(f, total),
		.bounds = f->bound,
		.n_bounds = f->n_bounds,
		.multiplier = decimals < 0 ? f->multiplier : 0,
		.scale = decimals < 0 ? 0 : (unsigned)decimals,
	};
	if (f->kind == SAMPLES_HISTOGRAM)
		x->family.classic = !is_native(f);
}

static size_t put_labels(const struct snapshot_sample *s,
			 struct expose_label *out)
{
	if (s->overflow) {
		out[0] =
			(struct expose_label){ "otel_metric_overflow", "true" };
		return 1;
	}
	for (size_t i = 0; i < s->n_labels; i++)
		out[i] = (struct expose_label){ s->label[i].name,
						s->label[i].value };
	return s->n_labels;
}

static struct expose_number gauge_value(const struct expose_family *f,
					int64_t v)
{
	struct expose_number n =
		expose_in_unit(f, v < 0 ? -(uint64_t)v : (uint64_t)v);

	n.negative = v < 0 && !n.is_real;
	if (v < 0)
		n.real = -n.real;
	return n;
}

static unsigned exponent(uint64_t power)
{
	return 63 - (unsigned)__builtin_clzll(power);
}

/* Into count, which has room for all up to NATIVE_INFINITE. */
static void fill_native(const struct snapshot_family *f,
			const struct snapshot_sample *s, uint64_t *count,
			struct snapshot_native *out)
{
	size_t first = f->bound[0] == 0, n = f->n_bounds - first;
	uint64_t beyond = s->bucket[f->n_bounds];
	int32_t index = (int32_t)exponent(f->bound[first]);

	*out = (struct snapshot_native){
		.first = index,
		.n = (uint32_t)n,
		.count = count,
		.zero = first ? s->bucket[0] : 0,
	};
	memcpy(count, s->bucket + first, n * sizeof(*count));
	if (beyond == 0)
		return;
	out->n = (uint32_t)(NATIVE_INFINITE - index + 1);
	memset(count + n, 0, (out->n - n) * sizeof(*count));
	count[out->n - 1] = beyond;
}

static void put_histogram(struct expose *x, const struct snapshot_family *f,
			  const struct snapshot_sample *s,
			  const struct expose_label *label, size_t n)
{
	uint64_t count[NATIVE_INFINITE + 1];
	struct snapshot_series series = { .count = s->count,
					  .sum = s->sum,
					  .bucket = s->bucket };

	if (!x->family.classic)
		fill_native(f, s, count, &series.native);
	x->w.ops->histogram(&x->w, label, n, &series);
}

static void put_sample(struct expose *x, const struct snapshot_family *f,
		       const struct snapshot_sample *s)
{
	struct expose_label label[LABELS_MAX];
	size_t n = put_labels(s, label);

	if (f->kind == SAMPLES_HISTOGRAM)
		put_histogram(x, f, s, label, n);
	else if (f->kind == SAMPLES_GAUGE)
		x->w.ops->sample(&x->w, label, n,
				 gauge_value(&x->family, s->gauge));
	else
		x->w.ops->sample(&x->w, label, n,
				 expose_in_unit(&x->family, s->count));
}

static int open_family(struct expose *x, const struct snapshot_family *f)
{
	int err = x->s->load_family ? x->s->load_family(x->s, x->family_at) : 0;

	if (err < 0)
		return err;
	describe(x, f);
	expose_begin_family(x);
	x->open = true;
	x->series = 0;
	return 0;
}

int expose_put_samples(struct expose *x)
{
	const struct snapshot_family *f = &x->s->families[x->family_at];
	int err = x->open ? 0 : open_family(x, f);
	size_t stop;

	if (err < 0)
		return err;
	stop = x->whole || f->n - x->series < AT_ONCE ? f->n
						      : x->series + AT_ONCE;
	while (x->series < stop)
		put_sample(x, f, &f->sample[x->series++]);
	if (x->series < f->n)
		return 0;
	expose_end_family(x);
	if (x->s->unload_family)
		x->s->unload_family(x->s, x->family_at);
	x->open = false;
	x->family_at++;
	return 0;
}
