/* SPDX-License-Identifier: Apache-2.0 */
/* What waits in the table to the columns of a batch, as far as limits allow. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "probe-agent/batch/samples_rows.h"
#include "proto/limits.h"

/* Bytes of strings that a batch takes; leaves room for columns and events. */
#define CHARS_MAX (3u << 19)
/* Strings that one series, its family and a program can add at most. */
#define STRINGS_SPARE (4 + 2 * LIMIT_SAMPLE_LABELS)

/* The columns of struct batch_samples, writable. */
struct columns {
	uint32_t *program, *state, *reason;
	uint8_t *digest;
	uint64_t *runs, *run_ns, *trap_ns, *read_us;
	uint32_t *map_program, *map_name, *guarantee;
	uint64_t *entries, *max_entries;
	uint32_t *name, *help, *unit, *of_program, *kind, *merge, *n_labels,
		*n_bounds, *label_name;
	double *multiplier;
	uint64_t *bound;
	uint32_t *family, *label_value, *counter;
	uint64_t *increment;
	uint32_t *gauge_family, *gauge;
	int64_t *value;
	uint32_t *histogram, *n_buckets, *bucket;
	uint64_t *count, *sum;
};

struct fill {
	struct samples_table *t;
	struct intern *strings;
	struct batch_samples *out;
	struct columns c;
	uint32_t *string; /* the table's numbers to the batch's; UINT32_MAX */
	char *memory, *at;
	int err;
};

static void *take_column(struct fill *f, size_t n, size_t size)
{
	void *out = f->at;

	f->at += (n * size + 7) / 8 * 8;
	return out;
}

/* How much of everything the batch could have: all that waits. */
struct sizes {
	size_t series, values, families, labels, bounds, buckets;
};

static bool gauge_waits(const struct samples_table *t, size_t i)
{
	uint32_t set = t->family[samples_row(&t->series, i)[0]].set;

	return set != 0 && t->state[i].set == set;
}

static struct sizes measure(const struct samples_table *t)
{
	struct sizes n = { .families = t->families.n };

	for (size_t i = 0; i < t->families.n; i++) {
		n.labels += samples_row(&t->families, i)[SAMPLES_W_LABELS];
		n.bounds += samples_row(&t->families, i)[SAMPLES_W_BOUNDS];
	}
	for (size_t i = t->cursor; i < t->series.n; i++) {
		uint32_t family = samples_row(&t->series, i)[0];

		if (!t->state[i].waits && !gauge_waits(t, i))
			continue;
		n.series++;
		n.values += t->series.row[i].len - 1;
		if (t->state[i].bucket)
			n.buckets += samples_row(&t->families,
						 family)[SAMPLES_W_BOUNDS] +
				     1;
	}
	return n;
}

static int make_columns(struct fill *f)
{
	const struct samples_table *t = f->t;
	struct sizes n = measure(t);
	size_t p = t->n_programs, m = t->n_maps;
	struct columns *c = &f->c;

	f->memory =
		calloc(1, p * (3 * 4 + SAMPLES_DIGEST_BYTES + 4 * 8) +
				  m * (3 * 4 + 2 * 8) +
				  n.families * (9 * 4 + 8) + n.labels * 4 +
				  n.bounds * 8 + n.series * (6 * 4 + 3 * 8) +
				  n.values * 4 + n.buckets * (4 + 8) +
				  t->strings.n_strings * 4 + 40 * 8);
	if (!f->memory)
		return -ENOMEM;
	f->at = f->memory;
#define COLUMN(name, n) c->name = take_column(f, n, sizeof(*c->name))
	COLUMN(program, p), COLUMN(state, p), COLUMN(reason, p);
	COLUMN(digest, p * SAMPLES_DIGEST_BYTES);
	COLUMN(runs, p), COLUMN(run_ns, p), COLUMN(trap_ns, p);
	COLUMN(read_us, p);
	COLUMN(map_program, m), COLUMN(map_name, m), COLUMN(guarantee, m);
	COLUMN(entries, m), COLUMN(max_entries, m);
	COLUMN(name, n.families), COLUMN(help, n.families);
	COLUMN(unit, n.families), COLUMN(of_program, n.families);
	COLUMN(kind, n.families), COLUMN(merge, n.families);
	COLUMN(n_labels, n.families), COLUMN(n_bounds, n.families);
	COLUMN(multiplier, n.families), COLUMN(label_name, n.labels);
	COLUMN(bound, n.bounds), COLUMN(family, n.series);
	COLUMN(label_value, n.values), COLUMN(counter, n.series);
	COLUMN(increment, n.series), COLUMN(gauge_family, n.families);
	COLUMN(gauge, n.series), COLUMN(value, n.series);
	COLUMN(histogram, n.series), COLUMN(n_buckets, n.series);
	COLUMN(bucket, n.buckets), COLUMN(count, n.buckets);
	COLUMN(sum, n.series);
#undef COLUMN
	f->string = take_column(f, t->strings.n_strings, 4);
	memset(f->string, 0xff, t->strings.n_strings * 4);
	return 0;
}

static uint32_t put_string(struct fill *f, uint32_t id)
{
	const struct intern *from = &f->t->strings;
	int64_t got;

	if (f->string[id] != UINT32_MAX)
		return f->string[id];
	got = intern_string_len(f->strings, from->chars + from->offset[id],
				from->len[id]);
	if (got < 0) {
		f->err = (int)got;
		return 0;
	}
	return f->string[id] = (uint32_t)got;
}

/* The family's number in the batch; puts it in if it is not there yet. */
static uint32_t put_family(struct fill *f, uint32_t id)
{
	const uint32_t *w = samples_row(&f->t->families, id);
	struct samples_family_state *state = &f->t->family[id];
	struct batch_samples *o = f->out;
	struct columns *c = &f->c;
	size_t i = o->n_families;

	if (state->number != UINT32_MAX)
		return state->number;
	state->number = (uint32_t)o->n_families++;
	c->name[i] = put_string(f, w[SAMPLES_W_NAME]);
	c->help[i] = put_string(f, state->help);
	c->unit[i] = put_string(f, w[SAMPLES_W_UNIT]);
	c->of_program[i] = put_string(f, w[SAMPLES_W_PROGRAM]);
	c->kind[i] = w[SAMPLES_W_KIND];
	c->merge[i] = w[SAMPLES_W_MERGE];
	c->n_labels[i] = w[SAMPLES_W_LABELS];
	c->n_bounds[i] = w[SAMPLES_W_BOUNDS];
	memcpy(&c->multiplier[i], w + SAMPLES_W_MULTIPLIER, 8);
	w += SAMPLES_W_REST;
	for (size_t k = 0; k < c->n_labels[i]; k++)
		c->label_name[o->n_label_names++] = put_string(f, *w++);
	for (size_t k = 0; k < c->n_bounds[i]; k++, w += 2)
		memcpy(&c->bound[o->n_bound_values++], w, 8);
	return state->number;
}

static void put_histogram(struct fill *f, uint32_t series,
			  const struct samples_series_state *s, uint32_t bounds)
{
	struct batch_samples *o = f->out;
	size_t i = o->n_histograms++;

	f->c.histogram[i] = series;
	f->c.sum[i] = s->add;
	for (uint32_t k = 0; s->bucket && k <= bounds; k++) {
		if (s->bucket[k] == 0)
			continue;
		f->c.bucket[o->n_bucket_values] = k;
		f->c.count[o->n_bucket_values++] = s->bucket[k];
		f->c.n_buckets[i]++;
	}
}

static void put_series(struct fill *f, size_t id)
{
	const uint32_t *w = samples_row(&f->t->series, id);
	const uint32_t *family = samples_row(&f->t->families, w[0]);
	struct samples_series_state *s = &f->t->state[id];
	struct batch_samples *o = f->out;
	uint32_t i = (uint32_t)o->n_series++;

	f->c.family[i] = put_family(f, w[0]);
	for (uint32_t k = 0; k < family[SAMPLES_W_LABELS]; k++)
		f->c.label_value[o->n_label_values++] = put_string(f, w[1 + k]);
	s->filled = true;
	if (family[SAMPLES_W_KIND] == SAMPLES_GAUGE) {
		f->c.gauge[o->n_gauges] = i;
		f->c.value[o->n_gauges++] = s->value;
	} else if (family[SAMPLES_W_KIND] == SAMPLES_HISTOGRAM) {
		put_histogram(f, i, s, family[SAMPLES_W_BOUNDS]);
	} else {
		f->c.counter[o->n_counters] = i;
		f->c.increment[o->n_counters++] = s->add;
	}
}

static void put_programs(struct fill *f)
{
	struct samples_table *t = f->t;
	struct columns *c = &f->c;

	f->out->told = t->told_filled = t->told;
	f->out->n_programs = t->told ? t->n_programs : 0;
	f->out->n_maps = t->told ? t->n_maps : 0;
	for (size_t i = 0; i < f->out->n_programs; i++) {
		const struct samples_program_row *p = &t->program[i];

		c->program[i] = put_string(f, p->name);
		c->state[i] = p->state;
		c->reason[i] = put_string(f, p->reason);
		memcpy(c->digest + i * SAMPLES_DIGEST_BYTES, p->digest,
		       SAMPLES_DIGEST_BYTES);
		c->runs[i] = p->runs;
		c->run_ns[i] = p->run_ns;
		c->trap_ns[i] = p->trap_ns;
		c->read_us[i] = p->read_us;
	}
	for (size_t i = 0; i < f->out->n_maps; i++) {
		const struct samples_map_row *m = &t->map[i];

		c->map_program[i] = m->program;
		c->map_name[i] = put_string(f, m->name);
		c->guarantee[i] = m->guarantee;
		c->entries[i] = m->entries;
		c->max_entries[i] = m->max_entries;
	}
}

static bool is_full(const struct fill *f)
{
	const struct batch_samples *o = f->out;

	return o->n_series >= LIMIT_SAMPLE_SERIES ||
	       o->n_families + 1 >= LIMIT_SAMPLE_FAMILIES ||
	       o->n_bucket_values + LIMIT_SAMPLE_BOUNDS + 1 >
		       LIMIT_SAMPLE_BUCKETS ||
	       f->strings->n_strings + STRINGS_SPARE > LIMIT_STRINGS ||
	       f->strings->n_chars > CHARS_MAX;
}

/*
 * One batch holds a whole set of gauges, so they come first; a set that does
 * not fit alone is cut, as no batch could ever hold it.
 */
static void put_gauges(struct fill *f, bool *whole)
{
	struct samples_table *t = f->t;

	for (size_t i = 0; i < t->families.n; i++)
		if (t->family[i].set != 0 && !is_full(f))
			f->c.gauge_family[f->out->n_gauge_families++] =
				put_family(f, (uint32_t)i);
		else if (t->family[i].set != 0)
			*whole = false;
	for (size_t i = 0; i < t->series.n; i++) {
		uint32_t family = samples_row(&t->series, i)[0];

		if (gauge_waits(t, i) &&
		    t->family[family].number != UINT32_MAX && !is_full(f))
			put_series(f, i);
	}
}

static void set_columns(struct fill *f)
{
	struct batch_samples *o = f->out;
	const struct columns *c = &f->c;

#define SET(name) o->name = c->name
	SET(program), SET(state), SET(reason), SET(digest), SET(runs);
	SET(run_ns), SET(trap_ns), SET(read_us), SET(map_program);
	SET(map_name), SET(guarantee), SET(entries), SET(max_entries);
	SET(name), SET(help), SET(unit), SET(of_program), SET(kind), SET(merge);
	SET(n_labels), SET(n_bounds), SET(multiplier), SET(label_name);
	SET(bound), SET(family), SET(label_value), SET(counter);
	SET(increment), SET(gauge_family), SET(gauge), SET(value);
	SET(histogram), SET(n_buckets), SET(bucket), SET(count), SET(sum);
#undef SET
}

int samples_table_fill(struct samples_table *t, struct intern *strings,
		       struct batch_samples *out, bool *whole, void **memory)
{
	struct fill f = { .t = t, .strings = strings, .out = out };
	int err;

	memset(out, 0, sizeof(*out));
	*whole = true;
	*memory = NULL;
	t->cursor = 0;
	for (size_t i = 0; i < t->families.n; i++)
		t->family[i].number = UINT32_MAX;
	for (size_t i = 0; i < t->series.n; i++)
		t->state[i].filled = false;
	err = make_columns(&f);
	if (err)
		return err;
	put_programs(&f);
	put_gauges(&f, whole);
	for (; t->cursor < t->series.n && !is_full(&f); t->cursor++)
		if (t->state[t->cursor].waits)
			put_series(&f, t->cursor);
	*whole &= t->cursor == t->series.n;
	out->read = t->read;
	memcpy(out->dropped, t->dropped, sizeof(out->dropped));
	set_columns(&f);
	if (f.err) {
		free(f.memory);
		return f.err;
	}
	*memory = f.memory;
	return 0;
}

void samples_table_sent(struct samples_table *t)
{
	bool all = t->cursor == t->series.n;

	for (size_t i = 0; i < t->series.n; i++) {
		struct samples_series_state *s = &t->state[i];

		if (!s->filled)
			continue;
		t->n_waiting -= s->waits;
		s->waits = false;
		s->add = 0;
		free(s->bucket);
		s->bucket = NULL;
	}
	for (size_t i = 0; i < t->families.n; i++)
		if (t->family[i].set != 0 &&
		    t->family[i].number != UINT32_MAX) {
			t->family[i].set = 0;
			t->n_gauges_told--;
		}
	t->told = t->told && !t->told_filled;
	t->sent_read = t->read;
	memcpy(t->sent_dropped, t->dropped, sizeof(t->sent_dropped));
	t->cursor = 0;
	if (all && t->n_waiting == 0 && t->n_gauges_told == 0 && !t->told)
		samples_table_reset(t);
}
