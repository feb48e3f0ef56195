/* SPDX-License-Identifier: Apache-2.0 */
/* By how much a map's values grew since the last read. */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "common/clock.h"
#include "probe-agent/worker/table_state.h"

/* Gauges are sent again after this time, although none has changed. */
#define GAUGES_NS (60 * CLOCK_NS_PER_S)
/* A process that ended may still be counted this long. */
#define EVICT_NS CLOCK_NS_PER_S

/* --- values --- */

uint64_t table_load_value(const struct table_metric *m, const uint8_t *p)
{
	uint64_t v = 0;

	memcpy(&v, p + m->value_offset, m->value_size);
	if (m->value_signed && m->value_size < 8) {
		uint64_t sign = UINT64_C(1) << (8 * m->value_size - 1);

		v = (v ^ sign) - sign;
	}
	return v;
}

/* By how much it grew. Less than before is a new start, or 2^32 passed. */
static uint64_t growth(struct table *t, const struct table_metric *m,
		       uint64_t last, uint64_t now)
{
	if (now >= last)
		return now - last;
	if (!t->opt.map->deletes && m->value_size < 8)
		return (now - last) &
		       ((UINT64_C(1) << (8 * m->value_size)) - 1);
	t->stats.resets++;
	return now;
}

/* One CPU's value, or the sum of all; value is what the kernel gave. */
static uint64_t value_of(const struct table *t, const struct table_metric *m,
			 const uint8_t *value)
{
	size_t stride = map_reader_stride(t->opt.map);
	uint64_t sum = 0;

	if (!t->opt.map->per_cpu || t->by_cpu)
		return table_load_value(m, value);
	for (unsigned i = 0; i < t->opt.cpus; i++)
		sum += table_load_value(m, value + i * stride);
	/* Each of them wraps by itself, and so does their sum. */
	if (!m->value_signed && m->value_size < 8)
		sum &= (UINT64_C(1) << (8 * m->value_size)) - 1;
	return sum;
}

/* Is a counter's 0 worth a series? In an array, most keys are never used. */
static bool shows_zero(const struct table *t, const struct table_cell *c,
		       const struct table_metric *m)
{
	return m->spec->kind == SPEC_COUNTER && c->series < TABLE_IGNORED &&
	       (t->opt.map->type == OBJECT_MAP_HASH ||
		t->opt.map->max_entries == 1);
}

static int take_value(struct table *t, size_t key, size_t metric,
		      const uint8_t *value, bool fresh)
{
	struct table_metric *m = &t->metric[metric];
	struct table_cell *c = table_cell_at(t, key, metric);
	uint64_t now = value_of(t, m, value), n;

	if (t->watch && (fresh || now != c->last))
		table_give_row(t, key, metric, (int64_t)now, t->watch,
			       t->watch_arg);
	if (m->spec->kind == SPEC_GAUGE || m->spec->kind == SPEC_PRINT) {
		m->gauges_changed |= fresh || now != c->last;
		c->last = now;
		return 0;
	}
	n = fresh ? now : growth(t, m, c->last, now);
	c->last = now;
	if (n == 0 && !(fresh && shows_zero(t, c, m)))
		return 0;
	t->key[key].changed |= n > 0;
	return table_add(t, metric, c, n);
}

static int take_key(struct table *t, const uint8_t *key, const uint8_t *value)
{
	bool fresh;
	int64_t i = table_find_key(t, key, &fresh);
	int err = 0;

	if (i < 0)
		return (int)i;
	if (fresh)
		err = table_decide(t, (size_t)i);
	if (t->key[i].gone) {
		/* It was forgotten, and is as if new. */
		t->key[i].gone = false;
		fresh = true;
	}
	t->key[i].round = t->round;
	t->seen++;
	for (size_t m = 0; m < t->n_metrics && !err; m++)
		err = take_value(t, (size_t)i, m, value, fresh);
	return err;
}

/* E's files without labels mean the first element of an array. */
static bool is_left_out(const struct table *t, const uint8_t *key)
{
	static const uint8_t first[8];

	return t->opt.map->type == OBJECT_MAP_ARRAY &&
	       t->metric[0].spec->n_labels == 0 &&
	       t->metric[0].spec->kind != SPEC_HISTOGRAM &&
	       memcmp(key, first, t->opt.map->key_size) != 0;
}

static int on_entry(void *arg, const uint8_t *key, const uint8_t *value)
{
	size_t stride, key_size;
	struct table *t = arg;
	uint8_t with_cpu[512];
	int err = 0;

	if (is_left_out(t, key))
		return 0;
	if (!t->by_cpu)
		return take_key(t, key, value);
	stride = map_reader_stride(t->opt.map);
	key_size = t->opt.map->key_size;
	if (key_size + 2 > sizeof(with_cpu))
		return -EINVAL;
	memcpy(with_cpu, key, key_size);
	for (unsigned cpu = 0; cpu < t->opt.cpus && !err; cpu++) {
		uint16_t number = (uint16_t)cpu;

		memcpy(with_cpu + key_size, &number, sizeof(number));
		err = take_key(t, with_cpu, value + cpu * stride);
	}
	return err;
}

/* --- what is not there any more --- */

static void forget_keys(struct table *t)
{
	for (size_t i = 0; i < t->n_keys; i++) {
		if (t->key[i].gone || t->key[i].round == t->round)
			continue;
		t->key[i].gone = true;
		for (size_t m = 0; m < t->n_metrics; m++) {
			table_cell_at(t, i, m)->last = 0;
			t->metric[m].gauges_changed = true;
		}
		t->key[i].changed = true;
	}
}

static int tell_gauges(struct table *t, size_t metric)
{
	struct table_metric *m = &t->metric[metric];
	int64_t id;

	for (size_t i = 0; i < m->n_series; i++)
		m->series[i].sum = 0;
	id = table_family_number(t, metric);
	if (id < 0)
		return (int)id;
	samples_table_begin_gauges(t->to, (uint32_t)id);
	for (size_t i = 0; i < t->n_keys; i++) {
		const struct table_cell *c = table_cell_at(t, i, metric);

		/* There is no sum of those beyond the limit to show. */
		if (t->key[i].gone || c->series >= TABLE_IGNORED ||
		    c->series == TABLE_OVERFLOW)
			continue;
		m->series[c->series].sum += (int64_t)c->last;
		id = table_series_number(t, metric, c->series);
		if (id < 0)
			return (int)id;
		samples_table_set(t->to, (uint32_t)id,
				  m->series[c->series].sum);
	}
	return 0;
}

int table_tell_gauges(struct table *t, struct samples_table *to)
{
	uint64_t now_ns = clock_mono_ns();
	int err = 0;

	t->to = to;
	for (size_t i = 0; i < t->n_metrics && !err; i++) {
		struct table_metric *m = &t->metric[i];

		if (m->spec->kind != SPEC_GAUGE ||
		    (!m->gauges_changed &&
		     now_ns - m->gauges_told_ns < GAUGES_NS))
			continue;
		err = tell_gauges(t, i);
		m->gauges_changed = false;
		m->gauges_told_ns = now_ns;
	}
	return err;
}

int table_read(struct table *t, struct map_reader *r, struct samples_table *to)
{
	struct map_reader_result result;
	int err;

	t->to = to;
	t->round++;
	t->seen = 0;
	err = map_reader_read(r, t->opt.map, t->opt.limits->entries, on_entry,
			      t, &result);
	if (err)
		return err;
	t->stats.entries = result.entries;
	t->stats.truncated += result.truncated;
	/* What was not read may be there still. */
	if (!result.truncated)
		forget_keys(t);
	return table_tell_gauges(t, to);
}

/* --- keys of processes that ended --- */

/* Where the process's number is in a key. NULL: no label says. */
static const struct spec_label *pid_label(const struct table *t)
{
	for (size_t m = 0; m < t->n_metrics; m++) {
		const struct spec_metric *s = t->metric[m].spec;

		for (size_t i = 0; s->evict_pid && i < s->n_labels; i++) {
			const struct spec_label *l = &s->labels[i];
			bool names = l->n_decoders > 0 &&
				     (l->decoders[0].kind == SPEC_COMM ||
				      l->decoders[0].kind == SPEC_EXE ||
				      l->decoders[0].kind == SPEC_SERVICE ||
				      l->decoders[0].kind == SPEC_CONTAINER);

			if ((names || !strcmp(l->name, "pid")) &&
			    (l->size == 4 || l->size == 8))
				return l;
		}
	}
	return NULL;
}

static bool is_over(const struct table *t, size_t key,
		    const struct spec_label *l)
{
	uint32_t pid;

	memcpy(&pid, table_key_at(t, key) + l->offset, sizeof(pid));
	return pid > 0 && pid <= INT32_MAX && kill((pid_t)pid, 0) &&
	       errno == ESRCH;
}

/* Its last value and its end are one step: nothing comes in between. */
static int evict_key(struct table *t, struct map_reader *r, size_t key)
{
	const uint8_t *value;
	int err = map_reader_take(r, t->opt.map, table_key_at(t, key), &value);

	for (size_t m = 0; m < t->n_metrics && !err; m++)
		err = take_value(t, key, m, value, false);
	if (err && err != -ENOENT)
		return err;
	t->key[key].gone = t->key[key].changed = true;
	t->stats.gone++;
	for (size_t m = 0; m < t->n_metrics; m++) {
		table_cell_at(t, key, m)->last = 0;
		t->metric[m].gauges_changed = true;
	}
	return 0;
}

int table_evict(struct table *t, struct map_reader *r, struct samples_table *to)
{
	const struct spec_label *l = pid_label(t);
	uint64_t now_ns = clock_mono_ns();
	int err = 0;

	if (!l || t->by_cpu || t->opt.map->type != OBJECT_MAP_HASH)
		return 0;
	t->to = to;
	for (size_t i = 0; i < t->n_keys && !err; i++) {
		struct table_key *k = &t->key[i];

		if (k->gone || !is_over(t, i, l))
			k->over_ns = 0;
		else if (k->over_ns == 0)
			k->over_ns = now_ns;
		else if (now_ns - k->over_ns >= EVICT_NS)
			err = evict_key(t, r, i);
	}
	return err;
}
