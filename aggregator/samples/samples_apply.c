/* SPDX-License-Identifier: Apache-2.0 */
/* A batch into the state. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/samples/samples_state.h"

/* --- strings --- */

static int prepare_strings(struct samples *s, size_t n)
{
	if (n > s->cap_strings) {
		free(s->hash);
		free(s->known);
		s->hash = malloc(n * sizeof(*s->hash));
		s->known = malloc(n * sizeof(*s->known));
		s->cap_strings = s->hash && s->known ? n : 0;
		if (!s->cap_strings)
			return -ENOMEM;
	}
	memset(s->hash, 0, n * sizeof(*s->hash));
	return 0;
}

/* Its hash is never 0 once known: 0 says that it was not looked up yet. */
static void look_up(struct samples_input *a, uint32_t id)
{
	const struct batch_string *text = &a->b->strings[id];
	struct samples *s = a->s;
	uint64_t hash;

	if (s->hash[id])
		return;
	hash = intern_hash(s->intern, text->data, text->len);
	s->known[id] = intern_find(s->intern, text->data, text->len, hash);
	s->hash[id] = hash | (hash == 0);
}

/* --- families --- */

/* The name that a label has in a scrape. */
static const struct interned *label_name(struct samples_input *a, uint32_t id,
					 bool with_node)
{
	const char *name = a->b->strings[id].data;

	if (with_node && !strcmp(name, "node"))
		name = "exported_node"; /* as Prometheus would call it */
	return samples_intern(a->s, name, strlen(name));
}

struct named {
	const struct interned *name;
	uint16_t label;
};

static int by_name(const void *pa, const void *pb)
{
	return strcmp(((const struct named *)pa)->name->text,
		      ((const struct named *)pb)->name->text);
}

/*
 * Labels are shown sorted by name, whatever order the node has them in; its own
 * name comes first, or last if series of several nodes are merged when shown.
 */
static int find_shape(struct samples_input *a, struct samples_input_family *af)
{
	const uint32_t *names = a->b->samples.label_name + af->first_label;
	const struct interned *name[LIMIT_SAMPLE_LABELS + 1];
	bool merged = af->f->merge != SAMPLES_MERGE_NONE;
	bool gauge = af->f->kind == SAMPLES_GAUGE;
	struct named sorted[LIMIT_SAMPLE_LABELS];
	size_t n = 0;

	for (size_t i = 0; i < af->n_labels; i++) {
		sorted[i].name = label_name(a, names[i], !merged);
		sorted[i].label = (uint16_t)i;
		if (!sorted[i].name)
			return -ENOMEM;
	}
	qsort(sorted, af->n_labels, sizeof(*sorted), by_name);
	/* A node's own exported_node would be there twice. */
	for (size_t i = 1; i < af->n_labels; i++)
		if (sorted[i].name == sorted[i - 1].name) {
			sorted[i].name = samples_intern(
				a->s, "exported_exported_node", 22);
			if (!sorted[i].name)
				return -ENOMEM;
		}
	af->node_place = -1;
	if (!merged)
		af->node_place = (int)n++;
	for (size_t i = 0; i < af->n_labels; i++) {
		af->place[sorted[i].label] = (uint16_t)n;
		name[n++] = sorted[i].name;
	}
	if (merged && gauge)
		af->node_place = (int)n++;
	if (af->node_place >= 0) {
		name[af->node_place] = samples_intern(a->s, "node", 4);
		if (!name[af->node_place])
			return -ENOMEM;
	}
	af->shape = samples_shape_find(af->f, name, n);
	return af->shape ? 0 : -ENOMEM;
}

static int find_families(struct samples_input *a)
{
	const struct batch_samples *in = &a->b->samples;
	size_t label = 0, bound = 0;

	for (size_t i = 0; i < in->n_families; i++) {
		struct samples_input_family *af = &a->family[i];
		struct samples_definition d = {
			.name = &a->b->strings[in->name[i]],
			.help = &a->b->strings[in->help[i]],
			.unit = &a->b->strings[in->unit[i]],
			.program = &a->b->strings[in->of_program[i]],
			.kind = in->kind[i],
			.merge = in->merge[i],
			.multiplier = in->multiplier[i],
			.bound = in->bound + bound,
			.n_bounds = in->n_bounds[i],
		};
		int err = samples_family_find(a->s, &d, a->node, a->log_id,
					      a->us, &af->f, &af->conflict);

		af->first_label = label;
		af->n_labels = in->n_labels[i];
		label += in->n_labels[i];
		bound += in->n_bounds[i];
		if (!err && af->f)
			err = find_shape(a, af);
		if (err < 0)
			return err;
	}
	return 0;
}

/* --- series --- */

static int find_series(struct samples_input *a)
{
	const struct batch_samples *in = &a->b->samples;
	const struct batch_string *text[LIMIT_SAMPLE_LABELS + 1];
	const struct interned *value[LIMIT_SAMPLE_LABELS + 1];
	uint64_t hash[LIMIT_SAMPLE_LABELS + 1];
	const struct interned *node = a->s->node[a->node].name;
	struct batch_string node_text = { node->text, node->len };
	size_t at = 0;

	for (size_t i = 0; i < in->n_series; i++) {
		const struct samples_input_family *af =
			&a->family[in->family[i]];
		struct samples_labels l = { af->shape, text, value, hash };
		const uint32_t *id = in->label_value + at;

		at += af->n_labels;
		a->slot[i] = -1;
		if (!af->f)
			continue;
		for (size_t k = 0; k < af->n_labels; k++) {
			look_up(a, id[k]);
			text[af->place[k]] = &a->b->strings[id[k]];
			value[af->place[k]] = a->s->known[id[k]];
			hash[af->place[k]] = a->s->hash[id[k]];
		}
		if (af->node_place >= 0) {
			text[af->node_place] = &node_text;
			value[af->node_place] = node;
			hash[af->node_place] = node->hash | (node->hash == 0);
		}
		a->slot[i] = samples_resolve(a->s, af->f, &l);
		if (a->slot[i] < 0)
			return (int)a->slot[i];
		for (size_t k = 0; k < af->n_labels; k++)
			a->s->known[id[k]] = value[af->place[k]];
	}
	return 0;
}

/*
 * The values of a series, or NULL if it has this batch already. A slot may be
 * met several times in a batch: the overflow series.
 */
static uint64_t *touch(struct samples_input *a, struct samples_family *f,
		       uint32_t at)
{
	struct samples_slot *slot = samples_slot_at(f, at);

	if (slot->stamp != a->s->stamp) {
		slot->stamp = a->s->stamp;
		slot->skip = slot->log_id >= a->log_id;
		if (!slot->skip) {
			slot->log_id = a->log_id;
			slot->dirty = true;
			*samples_active_at(f, at) = a->us;
		}
	}
	return slot->skip ? NULL : samples_value_at(f, at);
}

static void leave_out(struct samples_input *a,
		      const struct samples_input_family *af, uint64_t n)
{
	if (af->conflict)
		a->conflict += n;
	else
		a->no_family += n;
}

static void count_counters(struct samples_input *a)
{
	const struct batch_samples *in = &a->b->samples;

	for (size_t i = 0; i < in->n_counters; i++) {
		uint32_t series = in->counter[i];
		const struct samples_input_family *af =
			&a->family[in->family[series]];
		uint64_t *value;

		if (!af->f) {
			leave_out(a, af, in->increment[i]);
			continue;
		}
		value = touch(a, af->f, (uint32_t)a->slot[series]);
		if (value)
			*value += in->increment[i];
		if (value && a->slot[series] == SAMPLES_OVERFLOW)
			af->f->overflowed += in->increment[i];
	}
}

static uint64_t sum_counts(const uint64_t *count, size_t n)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += count[i];
	return sum;
}

static void count_histograms(struct samples_input *a)
{
	const struct batch_samples *in = &a->b->samples;
	size_t at = 0;

	for (size_t i = 0; i < in->n_histograms; at += in->n_buckets[i++]) {
		uint32_t series = in->histogram[i];
		const struct samples_input_family *af =
			&a->family[in->family[series]];
		size_t n = in->n_buckets[i];
		uint64_t *value;

		if (!af->f) {
			leave_out(a, af, sum_counts(in->count + at, n));
			continue;
		}
		value = touch(a, af->f, (uint32_t)a->slot[series]);
		if (!value)
			continue;
		for (size_t k = 0; k < n; k++)
			value[in->bucket[at + k]] += in->count[at + k];
		value[af->f->n_bounds + 1] += in->sum[i];
		if (a->slot[series] == SAMPLES_OVERFLOW)
			af->f->overflowed += sum_counts(in->count + at, n);
	}
}

/* --- gauges --- */

static struct samples_set *find_set(struct samples_family *f, uint32_t node)
{
	size_t low = 0, high = f->n_sets;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (f->set[mid].node < node)
			low = mid + 1;
		else
			high = mid;
	}
	if (low < f->n_sets && f->set[low].node == node)
		return &f->set[low];
	if (f->n_sets == f->cap_sets) {
		size_t cap = f->cap_sets ? 2 * f->cap_sets : 8;
		void *p = reallocarray(f->set, cap, sizeof(*f->set));

		if (!p)
			return NULL;
		f->set = p;
		f->cap_sets = cap;
	}
	memmove(&f->set[low + 1], &f->set[low],
		(f->n_sets - low) * sizeof(*f->set));
	f->set[low] = (struct samples_set){ .node = node };
	f->n_sets++;
	return &f->set[low];
}

static void mark_absent(struct samples_input *a, struct samples_family *f,
			struct samples_set *set)
{
	for (uint32_t at = set->first; at;
	     at = samples_gauge_at(f, at - 1)->next) {
		struct samples_gauge *g = samples_gauge_at(f, at - 1);
		struct samples_slot *slot = samples_slot_at(f, at - 1);

		slot->dirty |= g->present;
		if (g->present && slot->log_id < a->log_id)
			slot->log_id = a->log_id;
		g->present = false;
	}
}

/*
 * A set that is not older than the one that is there replaces it. Counting the
 * same one again changes nothing, so nothing is left out by log id.
 */
static int begin_set(struct samples_input *a, uint32_t family, bool *newer)
{
	struct samples_family *f = a->family[family].f;
	struct samples_set *set = f ? find_set(f, a->node) : NULL;
	uint64_t epoch = a->b->epoch, sequence = a->b->sequence;

	*newer = false;
	if (!f)
		return 0;
	if (!set)
		return -ENOMEM;
	if (epoch < set->epoch ||
	    (epoch == set->epoch && sequence < set->sequence))
		return 0;
	set->epoch = epoch;
	set->sequence = sequence;
	f->dirty = true;
	mark_absent(a, f, set);
	*newer = true;
	return 0;
}

static void set_gauge(struct samples_input *a, struct samples_family *f,
		      uint32_t at, int64_t v)
{
	struct samples_slot *slot = samples_slot_at(f, at);
	struct samples_gauge *g = samples_gauge_at(f, at);
	struct samples_set *set;

	if (at == SAMPLES_OVERFLOW) {
		f->overflowed++; /* there is no sum of gauges to show */
		return;
	}
	if (!g->node) {
		set = find_set(f, a->node); /* is there: begin_set() */
		g->node = a->node + 1;
		g->next = set->first;
		set->first = at + 1;
	}
	g->present = true;
	*samples_value_at(f, at) = (uint64_t)v;
	if (slot->log_id < a->log_id)
		slot->log_id = a->log_id;
	slot->dirty = true;
	*samples_active_at(f, at) = a->us;
}

static int set_gauges(struct samples_input *a)
{
	const struct batch_samples *in = &a->b->samples;
	bool newer[LIMIT_SAMPLE_FAMILIES];
	int err = 0;

	for (size_t i = 0; i < in->n_gauge_families && !err; i++)
		err = begin_set(a, in->gauge_family[i],
				&newer[in->gauge_family[i]]);
	for (size_t i = 0; i < in->n_gauges && !err; i++) {
		uint32_t series = in->gauge[i], family = in->family[series];

		if (newer[family] && a->family[family].f)
			set_gauge(a, a->family[family].f,
				  (uint32_t)a->slot[series], in->value[i]);
	}
	return err;
}

/* --- all of it --- */

static int begin_batch(struct samples_input *a)
{
	struct samples *s = a->s;
	int64_t node = samples_node_find(s, a->b->agent);
	int err;

	if (node < 0)
		return (int)node;
	a->node = (uint32_t)node;
	a->node_skips = s->node[node].log_id >= a->log_id;
	/* Slots remember the stamp: after 2^32 batches one may seem met. */
	if (++s->stamp == 0)
		s->stamp = 1;
	err = prepare_strings(s, a->b->n_strings);
	a->family = calloc(a->b->samples.n_families + 1, sizeof(*a->family));
	a->slot = calloc(a->b->samples.n_series + 1, sizeof(*a->slot));
	return err ? err : a->family && a->slot ? 0 : -ENOMEM;
}

int samples_apply(struct samples *s, const struct batch *b, uint64_t log_id,
		  int64_t received_us)
{
	struct samples_input a = {
		.s = s, .b = b, .log_id = log_id, .us = received_us
	};
	int err;

	if (!samples_any(&b->samples))
		return 0;
	err = begin_batch(&a);
	if (!err)
		err = find_families(&a);
	if (!err)
		err = find_series(&a);
	if (!err) {
		count_counters(&a);
		count_histograms(&a);
		err = set_gauges(&a);
	}
	if (!err)
		err = samples_note_node(&a);
	free(a.family);
	free(a.slot);
	return err == -ENOSPC ? 0 : err; /* too many nodes: as many ids */
}
