/* SPDX-License-Identifier: Apache-2.0 */
/* What programs send through ring and perf buffers. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "probe-agent/worker/table_state.h"

/* --- events --- */

static uint64_t value_bucket(const struct table_metric *m, uint64_t v)
{
	size_t i = 0;

	while (i < m->family.n_bounds && v > m->bound[i])
		i++;
	return i;
}

static int count_event(struct table *t, size_t key, size_t metric,
		       const uint8_t *data, size_t len)
{
	struct table_metric *m = &t->metric[metric];
	struct table_cell *c = table_cell_at(t, key, metric);
	struct table_cell sum = *c;
	uint64_t v = 1;
	int err;

	if (m->value_size > 0) {
		if (len < m->value_offset + m->value_size)
			return 0;
		v = table_load_value(m, data);
	}
	if (t->watch)
		table_give_row(t, key, metric, (int64_t)v, t->watch,
			       t->watch_arg);
	if (m->spec->kind == SPEC_PRINT)
		return 0;
	if (m->spec->kind == SPEC_GAUGE) {
		c->last = v;
		m->gauges_changed = true;
		return 0;
	}
	if (m->spec->kind != SPEC_HISTOGRAM)
		return table_add(t, metric, c, v);
	c->bucket = (int32_t)value_bucket(m, v);
	err = table_add(t, metric, c, 1);
	sum.bucket = TABLE_BUCKET_SUM;
	return err ? err : table_add(t, metric, &sum, v);
}

int table_event(struct table *t, const void *data, size_t len,
		struct samples_table *to)
{
	bool fresh, keep = t->n_keys < t->opt.limits->entries;
	struct table_cell *c;
	int64_t i;
	int err = 0;

	t->to = to;
	if (len < t->key_len) {
		samples_table_count_read(to, 1);
		samples_table_count_dropped(to, SAMPLES_LOST_DECODE, 1);
		t->stats.undecoded++;
		snprintf(t->complaint, sizeof(t->complaint),
			 "an event of %zu bytes; its labels need %zu", len,
			 t->key_len);
		return 0;
	}
	i = table_find_key(t, data, &fresh);
	if (i < 0)
		return (int)i;
	if (fresh)
		err = table_decide(t, (size_t)i);
	for (size_t m = 0; m < t->n_metrics && !err; m++) {
		c = table_cell_at(t, (size_t)i, m);
		err = count_event(t, (size_t)i, m, data, len);
		if (c->series < TABLE_IGNORED &&
		    t->metric[m].spec->kind != SPEC_GAUGE)
			c->last++;
	}
	t->stats.entries = t->n_keys;
	/* Its key is kept no longer than there is room. */
	if (!keep && fresh) {
		for (size_t k = 0; k < t->n_keys; k++)
			t->key[k].gone = true;
		err = err ? err : table_compact(t);
	}
	return err;
}
