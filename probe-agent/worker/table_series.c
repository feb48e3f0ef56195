/* SPDX-License-Identifier: Apache-2.0 */
/* From keys to the series of metrics. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "probe-agent/worker/table_state.h"

/* --- label values --- */

static uint64_t hash_text(const char *p, size_t n)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (size_t i = 0; i < n; i++)
		h = (h ^ (uint8_t)p[i]) * 0x100000001b3u;
	return h ^ h >> 31;
}

static size_t text_len(const struct table_metric *m, uint32_t series)
{
	const char *p = m->texts.data + m->series[series].text;
	size_t n = 0;

	if (series == TABLE_OVERFLOW)
		return 0;
	for (size_t i = 0; i < m->spec->n_labels; i++)
		n += strlen(p + n) + 1;
	return n;
}

static uint64_t hash_of_series(const void *arg, uint32_t i)
{
	const struct table_metric *m = arg;

	return hash_text(m->texts.data + m->series[i].text, text_len(m, i));
}

static int add_series(struct table_metric *m, const char *text, size_t n,
		      uint64_t hash)
{
	int err = hash_index_reserve(&m->index, hash_of_series, m);

	if (!err && m->n_series == m->cap_series) {
		size_t cap = m->cap_series ? 2 * m->cap_series : 16;
		void *p = reallocarray(m->series, cap, sizeof(*m->series));

		if (!p)
			return -ENOMEM;
		m->series = p;
		m->cap_series = cap;
	}
	if (err)
		return err;
	m->series[m->n_series] =
		(struct table_series){ .text = (uint32_t)m->texts.len };
	if (buf_append(&m->texts, text, n))
		return -ENOMEM;
	/* Series 0 stands for those beyond the limit, and has no values. */
	if (m->n_series > 0)
		hash_index_put(&m->index, hash, (uint32_t)m->n_series);
	m->n_series++;
	return 0;
}

int64_t table_intern(struct table *t, struct table_metric *m, const char *text,
		     size_t n)
{
	uint64_t hash = hash_text(text, n);
	size_t at = hash;
	uint32_t i;
	int err;

	while (m->n_series > 0 && hash_index_next(&m->index, &at, &i))
		if (text_len(m, i) == n &&
		    !memcmp(m->texts.data + m->series[i].text, text, n))
			return i;
	if (m->n_series > t->opt.limits->series)
		return TABLE_OVERFLOW;
	err = add_series(m, text, n, hash);
	return err ? err : (int64_t)m->n_series - 1;
}

/* --- decoding --- */

static uint32_t note_complaint(struct table *t, const struct spec_metric *m,
			       const char *label, const uint8_t *key,
			       const char *why)
{
	int n = snprintf(t->complaint, sizeof(t->complaint),
			 "%s: label %s: %s: ", m->name, label, why);

	for (size_t i = 0; i < t->key_len && i < 24 && n > 0 &&
			   n + 3 < (int)sizeof(t->complaint);
	     i++)
		n += snprintf(t->complaint + n,
			      sizeof(t->complaint) - (size_t)n, "%02x", key[i]);
	return TABLE_BAD;
}

static uint64_t load_number(const uint8_t *p, unsigned size)
{
	uint64_t v = 0;

	memcpy(&v, p, size < 8 ? size : 8);
	return v;
}

/* Which bucket a histogram's key is. */
static bool decide_bucket(struct table_metric *m, const uint8_t *key,
			  struct table_cell *c)
{
	const struct spec_label *l = &m->spec->bucket;
	uint64_t v = load_number(key + l->offset, l->size);

	if (spec_is_sum(&m->spec->histogram, v)) {
		c->bucket = TABLE_BUCKET_SUM;
		return true;
	}
	c->bucket = spec_bucket(&m->spec->histogram, v);
	return c->bucket >= 0;
}

static int decide_one(struct table *t, struct table_metric *m,
		      const uint8_t *key, struct table_cell *c)
{
	size_t cpu_at = t->key_len - 2;
	struct buf *b = &t->text;
	int64_t id;

	if (m->spec->kind == SPEC_HISTOGRAM && !m->spec->events &&
	    !decide_bucket(m, key, c)) {
		c->series = TABLE_IGNORED;
		return 0;
	}
	buf_reset(b);
	for (size_t i = 0; i < m->spec->n_labels; i++) {
		const struct spec_label *l = &m->spec->labels[i];
		const char *why = "";
		int err = decode_label(t->opt.decode, l,
				       key + (l->is_cpu ? cpu_at : l->offset),
				       l->is_cpu ? 2 : l->size, b, &why);

		if (err == -ENOMEM)
			return err;
		if (err) {
			c->series = err == DECODE_SKIP
					    ? TABLE_SKIP
					    : note_complaint(t, m->spec,
							     l->name, key, why);
			return 0;
		}
		buf_putc(b, '\0');
	}
	if (b->err)
		return -ENOMEM;
	id = table_intern(t, m, b->data, b->len);
	if (id < 0)
		return (int)id;
	c->series = (uint32_t)id;
	return 0;
}

int table_decide(struct table *t, size_t key)
{
	int err = 0;

	for (size_t m = 0; m < t->n_metrics && !err; m++)
		err = decide_one(t, &t->metric[m], table_key_at(t, key),
				 table_cell_at(t, key, m));
	return err;
}

/* --- numbers in the frame --- */

static void begin_frame(const struct table *t, struct table_metric *m)
{
	if (m->frame == t->frame)
		return;
	m->frame = t->frame;
	m->has_family = m->has_overflow = false;
}

int64_t table_family_number(struct table *t, size_t metric)
{
	struct table_metric *m = &t->metric[metric];
	int64_t id;

	begin_frame(t, m);
	if (m->has_family)
		return m->number;
	id = samples_table_family(t->to, &m->family);
	if (id >= 0) {
		m->number = (uint32_t)id;
		m->has_family = true;
	}
	return id;
}

static int64_t overflow_number(struct table *t, struct table_metric *m)
{
	static const char *const value[] = { "true" };
	int64_t id;

	begin_frame(t, m);
	if (m->has_overflow)
		return m->overflow_number;
	id = samples_table_family(t->to, &m->overflow);
	if (id >= 0)
		id = samples_table_series(t->to, (uint32_t)id, value);
	if (id >= 0) {
		m->overflow_number = (uint32_t)id;
		m->has_overflow = true;
	}
	return id;
}

int64_t table_series_number(struct table *t, size_t metric, uint32_t series)
{
	struct table_metric *m = &t->metric[metric];
	struct table_series *s = &m->series[series];
	const char *value[LIMIT_SAMPLE_LABELS], *p;
	int64_t id;

	if (series == TABLE_OVERFLOW)
		return overflow_number(t, m);
	if (s->frame == t->frame)
		return s->number;
	id = table_family_number(t, metric);
	if (id < 0)
		return id;
	p = m->texts.data + s->text;
	for (size_t i = 0; i < m->spec->n_labels; i++) {
		value[i] = p;
		p += strlen(p) + 1;
	}
	id = samples_table_series(t->to, (uint32_t)id, value);
	if (id >= 0) {
		s->number = (uint32_t)id;
		s->frame = t->frame;
	}
	return id;
}

/* --- adding --- */

int table_add(struct table *t, size_t metric, const struct table_cell *c,
	      uint64_t n)
{
	const struct spec_metric *spec = t->metric[metric].spec;
	bool counts =
		c->bucket != TABLE_BUCKET_SUM || spec->kind != SPEC_HISTOGRAM;
	int64_t id;

	if (c->series == TABLE_IGNORED)
		return 0;
	if (counts)
		samples_table_count_read(t->to, n);
	if (c->series == TABLE_SKIP || c->series == TABLE_BAD) {
		bool bad = c->series == TABLE_BAD;

		if (!counts)
			return 0;
		*(bad ? &t->stats.undecoded : &t->stats.skipped) += n;
		samples_table_count_dropped(
			t->to, bad ? SAMPLES_LOST_DECODE : SAMPLES_LOST_SKIP,
			n);
		return 0;
	}
	id = table_series_number(t, metric, c->series);
	if (id < 0)
		return (int)id;
	if (c->series == TABLE_OVERFLOW)
		t->stats.overflowed += n;
	if (spec->kind == SPEC_HISTOGRAM && counts)
		return samples_table_add_bucket(t->to, (uint32_t)id,
						(uint32_t)c->bucket, n);
	if (spec->kind == SPEC_HISTOGRAM)
		samples_table_add_sum(t->to, (uint32_t)id, n);
	else
		samples_table_add(t->to, (uint32_t)id, n);
	return 0;
}
