/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "proto/batch_checks.h"
#include "proto/limits.h"
#include "proto/samples.h"
#include "proto/wire.h"

/*
 * Samples of a batch: checked as they are taken over, and put in for packing.
 * What a scrape shows is made of these names and bounds, so a batch with a
 * wrong one is refused here, whole.
 */

/* The table may have a text twice, and a scrape must not. */
static bool same_text(const struct batch *b, uint32_t i, uint32_t k)
{
	return i == k || (b->strings[i].len == b->strings[k].len &&
			  !strcmp(b->strings[i].data, b->strings[k].data));
}

static const char *check_programs(const Redtap__Samples *m,
				  const struct batch *b)
{
	size_t n = m->n_program;

	if (n > LIMIT_SAMPLE_PROGRAMS)
		return "samples: more than LIMIT_SAMPLE_PROGRAMS";
	if (m->n_state != n || m->n_reason != n || m->n_runs != n ||
	    m->n_run_ns != n || m->n_trap_ns != n || m->n_read_us != n)
		return "samples: columns of unequal length";
	if (m->digest.len != n * SAMPLES_DIGEST_BYTES)
		return "samples: digests are not 32 bytes each";
	if (n > 0 && !m->told)
		return "samples: programs that are not told";
	if (!below_u32(m->program, n, b->n_strings) ||
	    !below_u32(m->reason, n, b->n_strings))
		return "samples: index outside strings";
	if (!below_u32(m->state, n, SAMPLES_STATES))
		return "samples: unknown state";
	if (!below_u64(m->runs, n, LIMIT_INCREMENT) ||
	    !below_u64(m->run_ns, n, LIMIT_INCREMENT) ||
	    !below_u64(m->trap_ns, n, LIMIT_INCREMENT))
		return "samples: increment over LIMIT_INCREMENT";
	if (!below_u64(m->read_us, n, LIMIT_TIME_US))
		return "samples: time over LIMIT_TIME_US";
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < i; k++)
			if (same_text(b, m->program[k], m->program[i]))
				return "samples: a program twice";
	return NULL;
}

static const char *check_maps(const Redtap__Samples *m, const struct batch *b)
{
	size_t n = m->n_map_program;

	if (n > LIMIT_SAMPLE_MAPS)
		return "samples: more than LIMIT_SAMPLE_MAPS";
	if (m->n_map_name != n || m->n_entries != n || m->n_max_entries != n ||
	    m->n_guarantee != n)
		return "samples: columns of unequal length";
	if (!below_u32(m->map_program, n, m->n_program))
		return "samples: index outside programs";
	if (!below_u32(m->map_name, n, b->n_strings))
		return "samples: index outside strings";
	if (!below_u32(m->guarantee, n, SAMPLES_GUARANTEES))
		return "samples: unknown guarantee";
	for (size_t i = 0; i < n; i++)
		for (size_t k = i; k-- > 0;)
			if (m->map_program[k] == m->map_program[i] &&
			    same_text(b, m->map_name[k], m->map_name[i]))
				return "samples: a map twice";
	return NULL;
}

static const char *check_labels(const Redtap__Samples *m, const struct batch *b,
				size_t at, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint32_t name = m->label_name[at + i];

		if (!samples_label_name_valid(b->strings[name].data))
			return "samples: not a label's name";
		for (size_t k = 0; k < i; k++)
			if (same_text(b, m->label_name[at + k], name))
				return "samples: a label twice";
	}
	return NULL;
}

static const char *check_family(const Redtap__Samples *m, const struct batch *b,
				size_t i)
{
	if (!samples_metric_name_valid(b->strings[m->name[i]].data))
		return "samples: not a metric's name";
	if (m->kind[i] == 0 || m->kind[i] > SAMPLES_KINDS)
		return "samples: unknown kind";
	if (m->merge[i] >= SAMPLES_MERGES ||
	    (m->merge[i] > SAMPLES_MERGE_SUM && m->kind[i] != SAMPLES_GAUGE))
		return "samples: unknown merge";
	if (!isfinite(m->multiplier[i]) || m->multiplier[i] <= 0)
		return "samples: multiplier is not above 0";
	if (m->n_labels[i] > LIMIT_SAMPLE_LABELS)
		return "samples: more than LIMIT_SAMPLE_LABELS";
	if (m->n_bounds[i] > LIMIT_SAMPLE_BOUNDS)
		return "samples: more than LIMIT_SAMPLE_BOUNDS";
	if ((m->kind[i] == SAMPLES_HISTOGRAM) != (m->n_bounds[i] > 0))
		return "samples: bounds are of histograms";
	return NULL;
}

static bool bounds_ascend(const uint64_t *bound, size_t n)
{
	for (size_t i = 1; i < n; i++)
		if (bound[i] <= bound[i - 1])
			return false;
	return true;
}

static const char *check_family_columns(const Redtap__Samples *m,
					const struct batch *b)
{
	size_t n = m->n_name;

	if (n > LIMIT_SAMPLE_FAMILIES)
		return "samples: more than LIMIT_SAMPLE_FAMILIES";
	if (m->n_help != n || m->n_unit != n || m->n_of_program != n ||
	    m->n_kind != n || m->n_merge != n || m->n_multiplier != n ||
	    m->n_n_labels != n || m->n_n_bounds != n)
		return "samples: columns of unequal length";
	if (!below_u32(m->name, n, b->n_strings) ||
	    !below_u32(m->help, n, b->n_strings) ||
	    !below_u32(m->unit, n, b->n_strings) ||
	    !below_u32(m->of_program, n, b->n_strings) ||
	    !below_u32(m->label_name, m->n_label_name, b->n_strings))
		return "samples: index outside strings";
	return NULL;
}

static const char *check_families(const Redtap__Samples *m,
				  const struct batch *b)
{
	const char *reason = check_family_columns(m, b);
	size_t label = 0, bound = 0;

	for (size_t i = 0; i < m->n_name && !reason; i++) {
		reason = check_family(m, b, i);
		if (reason)
			break;
		if (m->n_labels[i] > m->n_label_name - label ||
		    m->n_bounds[i] > m->n_bound - bound)
			return "samples: label or bound outside its table";
		reason = check_labels(m, b, label, m->n_labels[i]);
		if (!reason && !bounds_ascend(m->bound + bound, m->n_bounds[i]))
			reason = "samples: bounds do not ascend";
		label += m->n_labels[i];
		bound += m->n_bounds[i];
	}
	if (!reason && (label != m->n_label_name || bound != m->n_bound))
		reason = "samples: label or bound outside its table";
	return reason;
}

static const char *check_series(const Redtap__Samples *m, const struct batch *b)
{
	size_t n = m->n_family, values = 0;

	if (n > LIMIT_SAMPLE_SERIES)
		return "samples: more than LIMIT_SAMPLE_SERIES";
	if (!below_u32(m->family, n, m->n_name))
		return "samples: index outside families";
	for (size_t i = 0; i < n; i++)
		values += m->n_labels[m->family[i]];
	if (values != m->n_label_value)
		return "samples: label values do not fit the families";
	if (!below_u32(m->label_value, m->n_label_value, b->n_strings))
		return "samples: index outside strings";
	return NULL;
}

static bool all_of_kind(const Redtap__Samples *m, const uint32_t *series,
			size_t n, enum samples_kind kind)
{
	for (size_t i = 0; i < n; i++)
		if (m->kind[m->family[series[i]]] != kind)
			return false;
	return true;
}

static const char *check_gauges(const Redtap__Samples *m)
{
	bool told[LIMIT_SAMPLE_FAMILIES] = { false };

	if (m->n_gauge_family > LIMIT_SAMPLE_FAMILIES)
		return "samples: more than LIMIT_SAMPLE_FAMILIES";
	if (!below_u32(m->gauge_family, m->n_gauge_family, m->n_name))
		return "samples: index outside families";
	if (m->n_gauge > LIMIT_SAMPLE_SERIES)
		return "samples: more than LIMIT_SAMPLE_SERIES";
	if (m->n_gauge != m->n_value)
		return "samples: columns of unequal length";
	if (!below_u32(m->gauge, m->n_gauge, m->n_family))
		return "samples: index outside series";
	for (size_t i = 0; i < m->n_gauge_family; i++) {
		if (m->kind[m->gauge_family[i]] != SAMPLES_GAUGE)
			return "samples: of another kind than its family";
		if (told[m->gauge_family[i]])
			return "samples: a set of gauges twice";
		told[m->gauge_family[i]] = true;
	}
	for (size_t i = 0; i < m->n_gauge; i++)
		if (!told[m->family[m->gauge[i]]])
			return "samples: a gauge without its set";
	return NULL;
}

static const char *check_histograms(const Redtap__Samples *m)
{
	size_t n = m->n_histogram, at = 0;

	if (n > LIMIT_SAMPLE_SERIES)
		return "samples: more than LIMIT_SAMPLE_SERIES";
	if (m->n_bucket > LIMIT_SAMPLE_BUCKETS)
		return "samples: more than LIMIT_SAMPLE_BUCKETS";
	if (m->n_n_buckets != n || m->n_sum != n || m->n_count != m->n_bucket)
		return "samples: columns of unequal length";
	if (!below_u32(m->histogram, n, m->n_family))
		return "samples: index outside series";
	if (!all_of_kind(m, m->histogram, n, SAMPLES_HISTOGRAM))
		return "samples: of another kind than its family";
	if (!below_u64(m->count, m->n_count, LIMIT_INCREMENT) ||
	    !below_u64(m->sum, n, LIMIT_INCREMENT))
		return "samples: increment over LIMIT_INCREMENT";
	for (size_t i = 0; i < n; at += m->n_buckets[i++]) {
		uint32_t bounds = m->n_bounds[m->family[m->histogram[i]]];

		if (m->n_buckets[i] > m->n_bucket - at)
			return "samples: bucket outside its table";
		for (size_t k = 0; k < m->n_buckets[i]; k++)
			if (m->bucket[at + k] > bounds)
				return "samples: bucket outside the bounds";
	}
	return at == m->n_bucket ? NULL : "samples: bucket outside its table";
}

static const char *check_counters(const Redtap__Samples *m)
{
	size_t n = m->n_counter;

	if (n > LIMIT_SAMPLE_SERIES)
		return "samples: more than LIMIT_SAMPLE_SERIES";
	if (m->n_increment != n)
		return "samples: columns of unequal length";
	if (!below_u32(m->counter, n, m->n_family))
		return "samples: index outside series";
	if (!all_of_kind(m, m->counter, n, SAMPLES_COUNTER))
		return "samples: of another kind than its family";
	if (!below_u64(m->increment, n, LIMIT_INCREMENT))
		return "samples: increment over LIMIT_INCREMENT";
	return NULL;
}

static const char *check_samples(const Redtap__Samples *m,
				 const struct batch *b)
{
	const char *reason = check_programs(m, b);

	if (!reason)
		reason = check_maps(m, b);
	if (!reason)
		reason = check_families(m, b);
	if (!reason)
		reason = check_series(m, b);
	if (!reason)
		reason = check_counters(m);
	if (!reason)
		reason = check_gauges(m);
	return reason ? reason : check_histograms(m);
}

/* What is not a column; the columns are taken over by name below. */
static void take_numbers(const Redtap__Samples *m, struct batch_samples *s)
{
	s->told = m->told;
	s->digest = m->digest.data;
	s->n_programs = m->n_program;
	s->n_maps = m->n_map_program;
	s->n_families = m->n_name;
	s->n_label_names = m->n_label_name;
	s->n_bound_values = m->n_bound;
	s->n_series = m->n_family;
	s->n_label_values = m->n_label_value;
	s->n_counters = m->n_counter;
	s->n_gauge_families = m->n_gauge_family;
	s->n_gauges = m->n_gauge;
	s->n_histograms = m->n_histogram;
	s->n_bucket_values = m->n_bucket;
	s->read = m->read;
	/* A peer of another age knows fewer stages or more. */
	for (size_t i = 0; i < SAMPLES_STAGES && i < m->n_dropped; i++)
		s->dropped[i] = m->dropped[i];
}

/* Every column, with the number of its values on the caller's side. */
#define SAMPLES_COLUMNS(X)                                                     \
	X(program, n_programs)                                                 \
	X(state, n_programs)                                                   \
	X(reason, n_programs)                                                  \
	X(runs, n_programs)                                                    \
	X(run_ns, n_programs)                                                  \
	X(trap_ns, n_programs)                                                 \
	X(read_us, n_programs)                                                 \
	X(map_program, n_maps)                                                 \
	X(map_name, n_maps)                                                    \
	X(entries, n_maps)                                                     \
	X(max_entries, n_maps)                                                 \
	X(guarantee, n_maps)                                                   \
	X(name, n_families)                                                    \
	X(help, n_families)                                                    \
	X(unit, n_families)                                                    \
	X(of_program, n_families)                                              \
	X(kind, n_families)                                                    \
	X(merge, n_families)                                                   \
	X(multiplier, n_families)                                              \
	X(n_labels, n_families)                                                \
	X(label_name, n_label_names)                                           \
	X(n_bounds, n_families)                                                \
	X(bound, n_bound_values)                                               \
	X(family, n_series)                                                    \
	X(label_value, n_label_values)                                         \
	X(counter, n_counters)                                                 \
	X(increment, n_counters)                                               \
	X(gauge_family, n_gauge_families)                                      \
	X(gauge, n_gauges)                                                     \
	X(value, n_gauges)                                                     \
	X(histogram, n_histograms)                                             \
	X(n_buckets, n_histograms)                                             \
	X(bucket, n_bucket_values)                                             \
	X(count, n_bucket_values)                                              \
	X(sum, n_histograms)

/*
 * Numbers of series ascend by little: the wire has the difference to the one
 * before, modulo 2^32.
 */
static void sum_up(uint32_t *column, size_t n)
{
	for (size_t i = 1; i < n; i++)
		column[i] += column[i - 1];
}

static uint32_t *differences(uint32_t *to, const uint32_t *column, size_t n)
{
	for (size_t i = 0; i < n; i++)
		to[i] = column[i] - (i ? column[i - 1] : 0);
	return to;
}

const char *batch_take_samples(Redtap__Samples *m, struct batch *b)
{
	struct batch_samples *s = &b->samples;
	const char *reason;

	if (!m)
		return NULL;
	sum_up(m->counter, m->n_counter);
	sum_up(m->gauge, m->n_gauge);
	sum_up(m->histogram, m->n_histogram);
	reason = check_samples(m, b);
	if (reason)
		return reason;
	take_numbers(m, s);
#define TAKE(column, n) s->column = m->column;
	SAMPLES_COLUMNS(TAKE)
#undef TAKE
	return NULL;
}

int batch_put_samples(Redtap__Samples *m, const struct batch_samples *s,
		      void **memory)
{
	size_t n = s->n_counters + s->n_gauges + s->n_histograms;
	uint32_t *to = malloc((n + 1) * sizeof(*to));

	*memory = to;
	if (!to)
		return -ENOMEM;
	m->told = s->told;
	m->digest.len = s->n_programs * SAMPLES_DIGEST_BYTES;
	m->digest.data = (uint8_t *)(uintptr_t)s->digest;
	/* protobuf-c wants writable columns, and only reads them. */
#define PUT(column, n)                                                         \
	m->n_##column = s->n;                                                  \
	m->column = (void *)(uintptr_t)s->column;
	SAMPLES_COLUMNS(PUT)
#undef PUT
	m->counter = differences(to, s->counter, s->n_counters);
	to += s->n_counters;
	m->gauge = differences(to, s->gauge, s->n_gauges);
	to += s->n_gauges;
	m->histogram = differences(to, s->histogram, s->n_histograms);
	m->read = s->read;
	m->n_dropped = SAMPLES_STAGES;
	m->dropped = (uint64_t *)(uintptr_t)s->dropped;
	return 0;
}

#define BATCH_SAMPLES_FIELD 13u

uint32_t batch_protocol(const void *data, size_t len)
{
	struct wire_reader r = { data, (const uint8_t *)data + len };
	struct wire_field f = { 0 };

	while (r.p < r.end && wire_next(&r, &f))
		if (f.id == BATCH_SAMPLES_FIELD)
			return 2;
	return 1;
}
