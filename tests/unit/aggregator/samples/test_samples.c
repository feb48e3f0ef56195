/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/samples/samples_state.h"
#include "tests/unit/used_bytes.h"

/* --- batches of one family, made by hand --- */

#define ROWS 64

struct made {
	struct batch b;
	struct batch_string string[2 * ROWS + 16];
	char text[2 * ROWS + 16][32];
	uint32_t name[1], help[1], unit[1], of[1], kind[1], merge[1],
		n_labels[1], n_bounds[1], label_name[2];
	double multiplier[1];
	uint64_t bound[4];
	uint32_t family[ROWS], label_value[ROWS], which[ROWS], set[1],
		n_buckets[ROWS], bucket[ROWS];
	uint64_t amount[ROWS], sum[ROWS];
	int64_t value[ROWS];
};

static uint32_t put(struct made *m, const char *text)
{
	size_t i = m->b.n_strings++;

	snprintf(m->text[i], sizeof(m->text[i]), "%s", text);
	m->string[i] = (struct batch_string){ m->text[i],
					      (uint32_t)strlen(m->text[i]) };
	return (uint32_t)i;
}

static struct made *make(const char *node, uint64_t epoch, uint64_t sequence,
			 enum samples_kind kind)
{
	struct made *m = calloc(1, sizeof(*m));
	struct batch_samples *s = &m->b.samples;

	assert_non_null(m);
	m->b.agent = node;
	m->b.epoch = epoch;
	m->b.sequence = sequence;
	m->b.strings = m->string;
	put(m, "");
	m->name[0] = put(m, "x_total");
	m->help[0] = put(m, "Help.");
	m->label_name[0] = put(m, "key");
	m->kind[0] = kind;
	m->multiplier[0] = 1;
	m->n_labels[0] = 1;
	*s = (struct batch_samples){
		.n_families = 1,
		.n_label_names = 1,
		.name = m->name,
		.help = m->help,
		.unit = m->unit,
		.of_program = m->of,
		.kind = m->kind,
		.merge = m->merge,
		.n_labels = m->n_labels,
		.n_bounds = m->n_bounds,
		.multiplier = m->multiplier,
		.label_name = m->label_name,
		.bound = m->bound,
		.family = m->family,
		.label_value = m->label_value,
		.counter = m->which,
		.increment = m->amount,
		.gauge_family = m->set,
		.gauge = m->which,
		.value = m->value,
		.histogram = m->which,
		.n_buckets = m->n_buckets,
		.bucket = m->bucket,
		.count = m->amount,
		.sum = m->sum,
		.read = 1,
	};
	if (kind == SAMPLES_GAUGE)
		s->n_gauge_families = 1;
	return m;
}

/* key grows by n, or is n. */
static void row(struct made *m, const char *key, int64_t n)
{
	struct batch_samples *s = &m->b.samples;
	size_t i = s->n_series++;

	m->label_value[i] = put(m, key);
	s->n_label_values++;
	m->which[i] = (uint32_t)i;
	m->amount[i] = (uint64_t)n;
	m->value[i] = n;
	if (m->kind[0] == SAMPLES_GAUGE) {
		s->n_gauges++;
	} else if (m->kind[0] == SAMPLES_COUNTER) {
		s->n_counters++;
	} else {
		m->n_buckets[i] = 1;
		m->bucket[i] = (uint32_t)i % (m->n_bounds[0] + 1);
		m->sum[i] = (uint64_t)n * 10;
		s->n_histograms++;
		s->n_bucket_values++;
	}
}

static void apply(struct samples *s, struct made *m, uint64_t log_id,
		  int64_t us)
{
	assert_int_equal(samples_apply(s, &m->b, log_id, us), 0);
}

/* --- what there is, as text --- */

static int by_line(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static size_t dump_slot(const struct samples_family *f, uint32_t at, char *out,
			size_t size)
{
	const struct samples_slot *slot = samples_slot_at(f, at);
	const uint64_t *v = samples_value_at(f, at);
	size_t n = (size_t)snprintf(out, size, "%s{", f->name->text);

	for (size_t i = 0; slot->shape && i < slot->shape->n; i++)
		n += (size_t)snprintf(out + n, size - n, "%s%s=%s",
				      i ? "," : "", slot->shape->name[i]->text,
				      slot->value[i]->text);
	n += (size_t)snprintf(out + n, size - n, "}");
	for (size_t i = 0; i < f->stride; i++)
		n += (size_t)snprintf(out + n, size - n, " %lld",
				      (long long)v[i]);
	return n;
}

static char dumped[1 << 16];

static const char *dump(const struct samples *s)
{
	static char *line[4096];
	size_t n = 0, used = 0;

	for (size_t i = 0; i < s->n_families; i++) {
		const struct samples_family *f = s->family[i];

		for (uint32_t at = 0; f && at < f->n; at++) {
			char text[512];

			if (at > 0 && !samples_slot_at(f, at)->shape)
				continue;
			if (f->kind == SAMPLES_GAUGE &&
			    !samples_gauge_at(f, at)->present)
				continue;
			dump_slot(f, at, text, sizeof(text));
			line[n++] = strdup(text);
		}
	}
	qsort(line, n, sizeof(*line), by_line);
	*dumped = '\0';
	for (size_t i = 0; i < n; i++) {
		used += (size_t)snprintf(dumped + used, sizeof(dumped) - used,
					 "%s\n", line[i]);
		free(line[i]);
	}
	for (size_t i = 0; i < s->n_nodes; i++)
		if (s->node[i].conflict)
			used += (size_t)snprintf(
				dumped + used, sizeof(dumped) - used,
				"conflict %s %llu\n", s->node[i].name->text,
				(unsigned long long)s->node[i].conflict);
	return dumped;
}

static struct samples *new_samples(size_t max_series)
{
	struct samples_options opt = { .max_series = max_series };
	struct samples *s;

	assert_int_equal(samples_new(&s, &opt), 0);
	return s;
}

/* --- counters --- */

static void increments_add_up_by_node_and_label(void **state)
{
	struct samples *s = new_samples(0);
	struct made *a = make("a", 1, 1, SAMPLES_COUNTER);
	struct made *b = make("b", 1, 1, SAMPLES_COUNTER);

	(void)state;
	row(a, "k", 3);
	row(a, "l", 4);
	row(b, "k", 5);
	apply(s, a, 1, 1);
	apply(s, b, 2, 1);
	apply(s, a, 3, 1);
	assert_string_equal(dump(s), "x_total{node=a,key=k} 6\n"
				     "x_total{node=a,key=l} 8\n"
				     "x_total{node=b,key=k} 5\n"
				     "x_total{} 0\n");
	samples_free(s);
	free(a);
	free(b);
}

static void a_batch_that_is_in_is_not_counted_again(void **state)
{
	struct samples *s = new_samples(0);
	struct made *a = make("a", 1, 1, SAMPLES_COUNTER);

	(void)state;
	row(a, "k", 3);
	apply(s, a, 7, 1);
	apply(s, a, 7, 1);
	apply(s, a, 6, 1);
	assert_string_equal(dump(s), "x_total{node=a,key=k} 3\n"
				     "x_total{} 0\n");
	samples_free(s);
	free(a);
}

static void merged_counters_have_no_node(void **state)
{
	struct samples *s = new_samples(0);
	struct made *a = make("a", 1, 1, SAMPLES_COUNTER);
	struct made *b = make("b", 1, 1, SAMPLES_COUNTER);

	(void)state;
	a->merge[0] = b->merge[0] = SAMPLES_MERGE_SUM;
	row(a, "k", 3);
	row(b, "k", 5);
	apply(s, a, 1, 1);
	apply(s, b, 2, 1);
	assert_string_equal(dump(s), "x_total{key=k} 8\nx_total{} 0\n");
	samples_free(s);
	free(a);
	free(b);
}

static void a_label_called_node_gives_way_to_ours(void **state)
{
	struct samples *s = new_samples(0);
	struct made *a = make("a", 1, 1, SAMPLES_COUNTER);

	(void)state;
	a->label_name[0] = put(a, "node");
	row(a, "k", 3);
	apply(s, a, 1, 1);
	assert_string_equal(dump(s), "x_total{node=a,exported_node=k} 3\n"
				     "x_total{} 0\n");
	samples_free(s);
	free(a);
}

static void buckets_and_sums_add_up(void **state)
{
	struct samples *s = new_samples(0);
	struct made *a = make("a", 1, 1, SAMPLES_HISTOGRAM);

	(void)state;
	a->n_bounds[0] = 2;
	a->b.samples.n_bound_values = 2;
	a->bound[0] = 1;
	a->bound[1] = 2;
	row(a, "k", 3);
	row(a, "k", 4);
	row(a, "k", 5);
	apply(s, a, 1, 1);
	assert_string_equal(dump(s), "x_total{node=a,key=k} 3 4 5 120\n"
				     "x_total{} 0 0 0 0\n");
	samples_free(s);
	free(a);
}

/* --- budgets --- */

/* A million label values into a budget of 1,000. */
static void totals_stay_exact_beyond_the_budget(void **state)
{
	struct samples *s = new_samples(1000);
	uint64_t sent = 0, counted = 0;
	size_t after_first = 0;

	(void)state;
	for (unsigned batch = 0; batch * ROWS < 1000000; batch++) {
		struct made *m = make("a", 1, batch + 1, SAMPLES_COUNTER);

		for (unsigned i = 0; i < ROWS; i++) {
			char key[16];

			snprintf(key, sizeof(key), "%u", batch * ROWS + i);
			row(m, key, i % 7 + 1);
			sent += i % 7 + 1;
		}
		apply(s, m, batch + 1, 1);
		free(m);
		if (batch == 100)
			after_first = used_bytes();
	}
	assert_in_range(used_bytes(), 0, after_first + 4096);
	for (uint32_t i = 0; i < s->family[0]->n; i++)
		counted += *samples_value_at(s->family[0], i);
	assert_int_equal(counted, sent);
	assert_int_equal(samples_count(s), 1000);
	assert_int_equal(s->family[0]->overflowed,
			 *samples_value_at(s->family[0], SAMPLES_OVERFLOW));
	samples_free(s);
}

/* --- gauges --- */

/* Every order in which three sets can come: the last by sequence stays. */
static void the_latest_set_of_gauges_stays_in_any_order(void **state)
{
	static const int order[6][3] = {
		{ 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 },
		{ 1, 2, 0 }, { 2, 0, 1 }, { 2, 1, 0 }
	};

	(void)state;
	for (int o = 0; o < 6; o++) {
		struct samples *s = new_samples(0);
		struct made *m[3] = { make("a", 1, 9, SAMPLES_GAUGE),
				      make("a", 2, 1, SAMPLES_GAUGE),
				      make("a", 2, 2, SAMPLES_GAUGE) };

		row(m[0], "k", 1);
		row(m[0], "l", 2);
		row(m[1], "k", 3);
		row(m[1], "m", 4);
		row(m[2], "m", -5);
		for (int i = 0; i < 3; i++)
			apply(s, m[order[o][i]], (uint64_t)i + 1, 1);
		assert_string_equal(dump(s), "x_total{node=a,key=m} -5\n");
		samples_free(s);
		for (int i = 0; i < 3; i++)
			free(m[i]);
	}
}

static void sets_of_other_nodes_are_left_alone(void **state)
{
	struct samples *s = new_samples(0);
	struct made *a = make("a", 1, 1, SAMPLES_GAUGE);
	struct made *b = make("b", 1, 1, SAMPLES_GAUGE);
	struct made *none = make("a", 1, 2, SAMPLES_GAUGE);

	(void)state;
	row(a, "k", 1);
	row(b, "k", 2);
	apply(s, a, 1, 1);
	apply(s, b, 2, 1);
	apply(s, none, 3, 1);
	assert_string_equal(dump(s), "x_total{node=b,key=k} 2\n");
	samples_free(s);
	free(a);
	free(b);
	free(none);
}

/* --- one name, two meanings --- */

#define HOUR_US (INT64_C(3600) * 1000000)

static void the_first_definition_of_a_name_is_shown(void **state)
{
	struct samples *s = new_samples(0);
	struct made *a = make("a", 1, 1, SAMPLES_COUNTER);
	struct made *b = make("b", 1, 1, SAMPLES_GAUGE);
	struct made *c = make("c", 1, 1, SAMPLES_COUNTER);

	(void)state;
	c->unit[0] = put(c, "bytes");
	row(a, "k", 3);
	row(b, "k", 5);
	row(c, "k", 7);
	apply(s, a, 1, HOUR_US);
	apply(s, b, 2, HOUR_US + 1);
	apply(s, c, 3, HOUR_US + 2);
	apply(s, c, 3, HOUR_US + 2);
	assert_string_equal(dump(s), "x_total{node=a,key=k} 3\n"
				     "x_total{} 0\n"
				     "conflict c 7\n");
	/* An hour after anybody else sent it, another may have the name. */
	apply(s, c, 4, 2 * HOUR_US + 3);
	assert_string_equal(dump(s), "x_total{node=c,key=k} 7\n"
				     "x_total{} 0\n"
				     "conflict c 7\n");
	/* Now the first one is in the way. */
	apply(s, a, 5, 2 * HOUR_US + 4);
	assert_string_equal(dump(s), "x_total{node=c,key=k} 7\n"
				     "x_total{} 0\n"
				     "conflict a 3\n"
				     "conflict c 7\n");
	samples_free(s);
	free(a);
	free(b);
	free(c);
}

static void a_node_alone_may_change_its_own_metric_at_once(void **state)
{
	struct samples *s = new_samples(0);
	struct made *a = make("a", 1, 1, SAMPLES_COUNTER);
	struct made *b = make("a", 1, 2, SAMPLES_COUNTER);

	(void)state;
	b->unit[0] = put(b, "bytes");
	row(a, "k", 3);
	row(b, "k", 5);
	apply(s, a, 1, 1);
	apply(s, b, 2, 2);
	assert_string_equal(dump(s), "x_total{node=a,key=k} 5\n"
				     "x_total{} 0\n");
	samples_sweep(s);
	samples_free(s);
	free(a);
	free(b);
}

/* --- the checkpoint --- */

struct stored {
	enum samples_row_kind kind;
	uint32_t family, slot;
	char node[32];
	uint64_t log_id;
	size_t len;
	char data[512];
};

struct store {
	struct stored row[256];
	size_t n;
};

static void keep(struct store *st, const struct samples_row *r)
{
	struct stored *to = NULL;

	for (size_t i = 0; i < st->n && !to; i++)
		if (st->row[i].kind == r->kind &&
		    st->row[i].family == r->family &&
		    st->row[i].slot == r->slot &&
		    (r->kind != SAMPLES_ROW_NODE ||
		     !strcmp(st->row[i].node, r->node)))
			to = &st->row[i];
	if (!to)
		to = &st->row[st->n++];
	to->kind = r->kind;
	to->family = r->family;
	to->slot = r->slot;
	if (r->node)
		snprintf(to->node, sizeof(to->node), "%s", r->node);
	to->log_id = r->blob.log_id;
	assert_true(r->blob.len <= sizeof(to->data));
	memcpy(to->data, r->blob.data, r->blob.len);
	to->len = r->blob.len;
}

/* Up to n rows of the round. True: the round is over. */
static bool save(struct samples *s, struct store *st, uint64_t now, unsigned n)
{
	struct samples_row r = { .kind = SAMPLES_ROW_NODE };

	while (n-- > 0 && r.kind != SAMPLES_ROW_NONE) {
		assert_int_equal(samples_save_next(s, now, &r), 0);
		if (r.kind != SAMPLES_ROW_NONE)
			keep(st, &r);
	}
	samples_save_committed(s);
	return r.kind == SAMPLES_ROW_NONE;
}

static struct samples *load(const struct store *st)
{
	struct samples *s = new_samples(3);

	for (int kind = SAMPLES_ROW_FAMILY; kind <= SAMPLES_ROW_NODE; kind++)
		for (size_t i = 0; i < st->n; i++) {
			const struct stored *r = &st->row[i];
			struct samples_blob b = { r->log_id, r->data, r->len };

			if ((int)r->kind != kind)
				continue;
			assert_int_equal(
				kind == SAMPLES_ROW_FAMILY
					? samples_load_family(s, r->family, &b)
				: kind == SAMPLES_ROW_SERIES
					? samples_load_series(s, r->family,
							      r->slot, &b)
					: samples_load_node(s, r->node, &b),
				0);
		}
	return s;
}

static struct made *random_batch(unsigned *seed, uint64_t sequence)
{
	static const char *const nodes[] = { "a", "b" };
	static const char *const keys[] = { "k", "l", "m", "n" };
	unsigned pick = (unsigned)rand_r(seed);
	struct made *m = make(nodes[pick % 2], 1 + pick / 2 % 2, sequence,
			      pick / 4 % 3 ? SAMPLES_COUNTER : SAMPLES_GAUGE);

	if (m->kind[0] == SAMPLES_GAUGE)
		snprintf(m->text[1], sizeof(m->text[1]), "depth"),
			m->string[1].len = 5;
	for (unsigned i = 0; i < 1 + pick / 16 % 3; i++)
		row(m, keys[((unsigned)rand_r(seed) + i) % 4],
		    rand_r(seed) % 100);
	return m;
}

/*
 * Batches come while the state is written in slices; then only what is stored
 * and the log from where the last whole round began are left.
 */
static void a_checkpoint_and_the_rest_of_the_log_are_the_state(void **state)
{
	enum { BATCHES = 60 };

	(void)state;
	for (unsigned seed = 1; seed <= 200; seed++) {
		struct samples *s = new_samples(3), *again;
		static struct made *log[BATCHES + 1];
		struct store st = { .n = 0 };
		uint64_t mark = 0, round = 0;
		unsigned random = seed;
		char *want;

		samples_save_begin(s);
		for (uint64_t id = 1; id <= BATCHES; id++) {
			log[id] = random_batch(&random, id);
			apply(s, log[id], id, (int64_t)id);
			if (rand_r(&random) % 2 &&
			    save(s, &st, id, 1 + (unsigned)id % 3)) {
				mark = round;
				round = id;
				samples_save_begin(s);
			}
		}
		want = strdup(dump(s));
		again = load(&st);
		for (uint64_t id = mark + 1; id <= BATCHES; id++)
			apply(again, log[id], id, (int64_t)id);
		assert_string_equal(dump(again), want);
		free(want);
		for (uint64_t id = 1; id <= BATCHES; id++)
			free(log[id]);
		samples_free(s);
		samples_free(again);
	}
}

static void rows_that_are_cut_off_are_refused(void **state)
{
	struct samples *s = new_samples(3), *t;
	struct made *a = make("a", 1, 1, SAMPLES_COUNTER);
	struct store st = { .n = 0 };

	(void)state;
	row(a, "k", 300);
	apply(s, a, 1, 1);
	samples_save_begin(s);
	assert_true(save(s, &st, 1, 100));
	for (size_t i = 0; i < st.n; i++)
		for (size_t len = 0; len < st.row[i].len; len++) {
			const struct stored *r = &st.row[i];
			struct samples_blob b = { 1, r->data, len };
			struct samples_blob whole = { 1, st.row[0].data,
						      st.row[0].len };
			int err;

			t = new_samples(3);
			if (r->kind == SAMPLES_ROW_FAMILY) {
				err = samples_load_family(t, 1, &b);
			} else if (r->kind == SAMPLES_ROW_NODE) {
				err = samples_load_node(t, "a", &b);
			} else {
				assert_int_equal(
					samples_load_family(t, 1, &whole), 0);
				err = samples_load_series(t, 1, r->slot, &b);
			}
			assert_true(err < 0);
			samples_free(t);
		}
	samples_free(s);
	free(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(increments_add_up_by_node_and_label),
		cmocka_unit_test(a_batch_that_is_in_is_not_counted_again),
		cmocka_unit_test(merged_counters_have_no_node),
		cmocka_unit_test(a_label_called_node_gives_way_to_ours),
		cmocka_unit_test(buckets_and_sums_add_up),
		cmocka_unit_test(totals_stay_exact_beyond_the_budget),
		cmocka_unit_test(the_latest_set_of_gauges_stays_in_any_order),
		cmocka_unit_test(sets_of_other_nodes_are_left_alone),
		cmocka_unit_test(the_first_definition_of_a_name_is_shown),
		cmocka_unit_test(
			a_node_alone_may_change_its_own_metric_at_once),
		cmocka_unit_test(
			a_checkpoint_and_the_rest_of_the_log_are_the_state),
		cmocka_unit_test(rows_that_are_cut_off_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
