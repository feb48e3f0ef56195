/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/batch/samples_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "probe-agent/batch/samples_rows.h"
#include "proto/limits.h"

int samples_table_new(struct samples_table **out)
{
	struct samples_table *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->program = calloc(LIMIT_SAMPLE_PROGRAMS, sizeof(*t->program));
	t->before = calloc(LIMIT_SAMPLE_PROGRAMS, sizeof(*t->before));
	t->map = calloc(LIMIT_SAMPLE_MAPS, sizeof(*t->map));
	if (!t->program || !t->before || !t->map ||
	    intern_init(&t->strings) != 0 ||
	    samples_rows_init(&t->families) != 0 ||
	    samples_rows_init(&t->series) != 0) {
		samples_table_free(t);
		return -ENOMEM;
	}
	*out = t;
	return 0;
}

static void free_buckets(struct samples_table *t)
{
	for (size_t i = 0; i < t->series.n; i++) {
		free(t->state[i].bucket);
		t->state[i].bucket = NULL;
	}
}

void samples_table_free(struct samples_table *t)
{
	if (!t)
		return;
	free_buckets(t);
	intern_fini(&t->strings);
	samples_rows_fini(&t->families);
	samples_rows_fini(&t->series);
	free(t->family);
	free(t->state);
	free(t->program);
	free(t->before);
	free(t->map);
	free(t);
}

void samples_table_reset(struct samples_table *t)
{
	free_buckets(t);
	intern_reset(&t->strings);
	samples_rows_reset(&t->families);
	samples_rows_reset(&t->series);
	t->n_waiting = t->n_gauges_told = 0;
	t->told = t->told_filled = false;
	t->n_programs = t->n_maps = t->n_before = 0;
	t->cursor = 0;
}

/* --- families and series --- */

/* Room for one more entry of size bytes, cleared. */
static int grow_states(void *list, size_t *cap, size_t n, size_t size)
{
	void **at = list;
	size_t more = 2 * n + 64;
	char *p;

	if (n < *cap)
		return 0;
	p = reallocarray(*at, more, size);
	if (!p)
		return -ENOMEM;
	*at = p;
	*cap = more;
	return 0;
}

static uint32_t put_string(struct samples_table *t, const char *s, int *err)
{
	int64_t id = intern_string(&t->strings, s);

	if (id < 0)
		*err = (int)id;
	return (uint32_t)id;
}

static size_t put_family(struct samples_table *t,
			 const struct samples_family *f, uint32_t *word,
			 int *err)
{
	size_t n = SAMPLES_W_REST;

	word[SAMPLES_W_KIND] = f->kind;
	word[SAMPLES_W_MERGE] = f->merge;
	word[SAMPLES_W_NAME] = put_string(t, f->name, err);
	word[SAMPLES_W_UNIT] = put_string(t, f->unit, err);
	word[SAMPLES_W_PROGRAM] = put_string(t, f->program, err);
	word[SAMPLES_W_LABELS] = (uint32_t)f->n_labels;
	word[SAMPLES_W_BOUNDS] = (uint32_t)f->n_bounds;
	memcpy(word + SAMPLES_W_MULTIPLIER, &f->multiplier, 8);
	for (size_t i = 0; i < f->n_labels; i++)
		word[n++] = put_string(t, f->label[i], err);
	for (size_t i = 0; i < f->n_bounds; i++, n += 2)
		memcpy(word + n, &f->bound[i], 8);
	return n;
}

int64_t samples_table_family(struct samples_table *t,
			     const struct samples_family *f)
{
	uint32_t word[SAMPLES_FAMILY_WORDS], help;
	bool fresh;
	int64_t id;
	size_t n;
	int err = 0;

	if (f->n_labels > LIMIT_SAMPLE_LABELS ||
	    f->n_bounds > LIMIT_SAMPLE_BOUNDS)
		return -EINVAL;
	help = put_string(t, f->help, &err);
	n = put_family(t, f, word, &err);
	if (!err)
		err = grow_states(&t->family, &t->cap_families, t->families.n,
				  sizeof(*t->family));
	if (err)
		return err;
	id = samples_rows_add(&t->families, word, n, &fresh);
	if (id < 0)
		return id;
	if (fresh)
		t->family[id] = (struct samples_family_state){ .help = help };
	else if (help)
		t->family[id].help = help;
	return id;
}

int64_t samples_table_series(struct samples_table *t, uint32_t family,
			     const char *const *value)
{
	uint32_t n = samples_row(&t->families, family)[SAMPLES_W_LABELS];
	uint32_t word[1 + LIMIT_SAMPLE_LABELS];
	bool fresh;
	int64_t id;
	int err = 0;

	word[0] = family;
	for (uint32_t i = 0; i < n; i++)
		word[1 + i] = put_string(t, value[i], &err);
	if (!err)
		err = grow_states(&t->state, &t->cap_states, t->series.n,
				  sizeof(*t->state));
	if (err)
		return err;
	id = samples_rows_add(&t->series, word, 1 + n, &fresh);
	if (id >= 0 && fresh)
		t->state[id] = (struct samples_series_state){ .add = 0 };
	return id;
}

static void wait_to_be_sent(struct samples_table *t, uint32_t series)
{
	struct samples_series_state *s = &t->state[series];

	t->n_waiting += !s->waits;
	s->waits = true;
}

/* What overflows the wire's limit is more than any machine counts. */
static uint64_t add_clamped(uint64_t a, uint64_t b)
{
	uint64_t sum = a + b;

	return sum < a || sum >= LIMIT_INCREMENT ? LIMIT_INCREMENT - 1 : sum;
}

void samples_table_add(struct samples_table *t, uint32_t series, uint64_t n)
{
	struct samples_series_state *s = &t->state[series];

	s->add = add_clamped(s->add, n);
	wait_to_be_sent(t, series);
}

void samples_table_add_sum(struct samples_table *t, uint32_t series, uint64_t n)
{
	samples_table_add(t, series, n);
}

static uint32_t family_of(const struct samples_table *t, uint32_t series)
{
	return samples_row(&t->series, series)[0];
}

int samples_table_add_bucket(struct samples_table *t, uint32_t series,
			     uint32_t bucket, uint64_t n)
{
	struct samples_series_state *s = &t->state[series];
	uint32_t bounds = samples_row(&t->families,
				      family_of(t, series))[SAMPLES_W_BOUNDS];

	if (!s->bucket) {
		s->bucket = calloc(bounds + 1, sizeof(*s->bucket));
		if (!s->bucket)
			return -ENOMEM;
	}
	s->bucket[bucket] = add_clamped(s->bucket[bucket], n);
	wait_to_be_sent(t, series);
	return 0;
}

void samples_table_begin_gauges(struct samples_table *t, uint32_t family)
{
	t->n_gauges_told += t->family[family].set == 0;
	t->family[family].set = ++t->sets;
}

void samples_table_set(struct samples_table *t, uint32_t series, int64_t v)
{
	t->state[series].set = t->family[family_of(t, series)].set;
	t->state[series].value = v;
}

/* --- programs --- */

void samples_table_begin_programs(struct samples_table *t)
{
	struct samples_program_row *swap = t->before;

	/* What they ran since they were sent last goes on to the new set. */
	t->before = t->program;
	t->program = swap;
	t->n_before = t->told ? t->n_programs : 0;
	t->n_programs = t->n_maps = 0;
	t->told = true;
}

int samples_table_program(struct samples_table *t,
			  const struct samples_program *p)
{
	struct samples_program_row *row;
	int err = 0;

	if (t->n_programs == LIMIT_SAMPLE_PROGRAMS)
		return -ENOSPC;
	row = &t->program[t->n_programs];
	*row = (struct samples_program_row){
		.name = put_string(t, p->name, &err),
		.reason = put_string(t, p->reason, &err),
		.state = p->state,
		.runs = p->runs,
		.run_ns = p->run_ns,
		.trap_ns = p->trap_ns,
		.read_us = p->read_us,
	};
	memcpy(row->digest, p->digest, sizeof(row->digest));
	if (err)
		return err;
	for (size_t i = 0; i < t->n_before; i++)
		if (t->before[i].name == row->name) {
			row->runs = add_clamped(row->runs, t->before[i].runs);
			row->run_ns =
				add_clamped(row->run_ns, t->before[i].run_ns);
			row->trap_ns =
				add_clamped(row->trap_ns, t->before[i].trap_ns);
		}
	t->n_programs++;
	return 0;
}

int samples_table_map(struct samples_table *t, const struct samples_map *m)
{
	int err = 0;

	if (t->n_maps == LIMIT_SAMPLE_MAPS || t->n_programs == 0)
		return -ENOSPC;
	t->map[t->n_maps] = (struct samples_map_row){
		.program = (uint32_t)t->n_programs - 1,
		.name = put_string(t, m->name, &err),
		.guarantee = m->guarantee,
		.entries = m->entries,
		.max_entries = m->max_entries,
	};
	t->n_maps += !err;
	return err;
}

/* --- totals --- */

void samples_table_count_read(struct samples_table *t, uint64_t n)
{
	t->read += n;
}

void samples_table_count_dropped(struct samples_table *t,
				 enum samples_stage stage, uint64_t n)
{
	t->dropped[stage] += n;
}

void samples_table_set_dropped(struct samples_table *t,
			       enum samples_stage stage, uint64_t total)
{
	t->dropped[stage] = total;
}

void samples_table_resume(struct samples_table *t, uint64_t read,
			  const uint64_t dropped[SAMPLES_STAGES])
{
	t->read = t->sent_read = read;
	memcpy(t->dropped, dropped, sizeof(t->dropped));
	memcpy(t->sent_dropped, dropped, sizeof(t->sent_dropped));
}

bool samples_table_pending(const struct samples_table *t)
{
	return t->n_waiting > 0 || t->n_gauges_told > 0 || t->told ||
	       t->read != t->sent_read ||
	       memcmp(t->dropped, t->sent_dropped, sizeof(t->dropped)) != 0;
}

size_t samples_table_count(const struct samples_table *t)
{
	return t->series.n;
}
