/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Samples of user programs as a scrape sees them. Values are copied under the
 * lock; labels never change and are read where they are, as the engine keeps
 * families while a snapshot is held.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/samples/samples_state.h"
#include "aggregator/snapshot/snapshot_state.h"
#include "common/clock.h"

/* Gauges of a node that is silent for this long are not shown. */
#define SILENT_US                                                              \
	((int64_t)75 * 1000000) /* 15 s until it is down, and 1 min            \
				 */

struct raw_family {
	const struct samples_family *f;
	uint32_t n, granted;
	const uint64_t *value; /* stride of each */
	const int64_t *active_us;
	const struct samples_gauge *gauge;
	uint64_t overflowed;
};

struct snapshot_raw_samples {
	struct raw_family *family;
	size_t n;
	char *room; /* for values, touched before the lock is taken */
	size_t room_bytes, used;
	const struct samples *state; /* names of nodes, options */
	const char **node; /* names */
	uint64_t *conflict, *no_family;
	bool *silent; /* its gauges are not shown */
	size_t n_nodes;
};

static size_t family_bytes(const struct samples_family *f, uint32_t n)
{
	return (size_t)n *
		       (f->stride * sizeof(uint64_t) + sizeof(int64_t) +
			(f->kind == SAMPLES_GAUGE ? sizeof(struct samples_gauge)
						  : 0)) +
	       3 * 16;
}

/* Some more than there is now: other batches may come before the lock is had.
 */
int snapshot_reserve_samples(struct snapshot_taken *t,
			     struct snapshot_source *src)
{
	struct snapshot_raw_samples *raw = snapshot_memory(t, 1, sizeof(*raw));
	const struct samples *s = src->samples;
	size_t bytes = 0;

	if (!raw)
		return -ENOMEM;
	pthread_mutex_lock(&src->mutex);
	for (size_t i = 0; i < s->n_families; i++)
		if (s->family[i])
			bytes += family_bytes(s->family[i],
					      s->family[i]->n + SAMPLES_CHUNK);
	pthread_mutex_unlock(&src->mutex);
	raw->room_bytes = bytes;
	raw->room = snapshot_memory(t, bytes, 1);
	if (!raw->room)
		return -ENOMEM;
	memset(raw->room, 1, bytes);
	t->samples = raw;
	return 0;
}

static void *take_room(struct snapshot_taken *t, size_t bytes)
{
	struct snapshot_raw_samples *raw = t->samples;
	void *out = raw->room + raw->used;

	bytes = (bytes + 15) / 16 * 16;
	if (bytes > raw->room_bytes - raw->used)
		return snapshot_memory(t, bytes, 1);
	raw->used += bytes;
	return out;
}

static int copy_family(struct snapshot_taken *t, const struct samples_family *f,
		       struct raw_family *out)
{
	bool gauges = f->kind == SAMPLES_GAUGE;
	uint64_t *value = take_room(t, f->n * f->stride * sizeof(*value));
	int64_t *active = take_room(t, f->n * sizeof(*active));
	struct samples_gauge *gauge =
		gauges ? take_room(t, f->n * sizeof(*gauge)) : NULL;

	if (!value || !active || (gauges && !gauge))
		return -ENOMEM;
	for (uint32_t at = 0; at < f->n; at += SAMPLES_CHUNK) {
		const struct samples_chunk *c = f->chunk[at / SAMPLES_CHUNK];
		size_t n = f->n - at;

		n = n < SAMPLES_CHUNK ? n : SAMPLES_CHUNK;
		memcpy(value + at * f->stride, c->value,
		       n * f->stride * sizeof(*value));
		memcpy(active + at, c->active_us, n * sizeof(*active));
		if (gauges)
			memcpy(gauge + at, c->gauge, n * sizeof(*gauge));
	}
	*out = (struct raw_family){
		.f = f,
		.n = f->n,
		.granted = f->n_granted,
		.value = value,
		.active_us = active,
		.gauge = gauge,
		.overflowed = f->overflowed,
	};
	return 0;
}

static char *copy_text(struct snapshot_taken *t, const char *s)
{
	size_t len = strlen(s) + 1;
	char *copy = snapshot_memory(t, len, 1);

	return copy ? memcpy(copy, s, len) : NULL;
}

static int copy_programs(struct snapshot_taken *t, const struct samples *s)
{
	struct snapshot_program_map *m;
	struct snapshot_program *p;
	size_t programs = 0, maps = 0;

	for (size_t i = 0; i < s->n_nodes; i++) {
		programs += s->node[i].n_programs;
		maps += s->node[i].n_maps;
	}
	t->pub.programs = p = snapshot_memory(t, programs, sizeof(*p));
	t->pub.program_maps = m = snapshot_memory(t, maps, sizeof(*m));
	if (!p || !m)
		return -ENOMEM;
	for (size_t i = 0; i < s->n_nodes; i++) {
		const struct samples_node *n = &s->node[i];

		for (size_t k = 0; k < n->n_programs; k++, p++) {
			const struct samples_program_row *from = &n->program[k];

			*p = (struct snapshot_program){
				.node = n->name->text,
				.name = from->name->text,
				.reason = copy_text(t, from->reason),
				.state = from->state,
				.runs = from->runs,
				.run_ns = from->run_ns,
				.trap_ns = from->trap_ns,
				.read_us = from->read_us,
			};
			memcpy(p->digest, from->digest, sizeof(p->digest));
			if (!p->reason)
				return -ENOMEM;
		}
		for (size_t k = 0; k < n->n_maps; k++, m++)
			*m = (struct snapshot_program_map){
				.node = n->name->text,
				.program = n->program[n->map[k].program]
						   .name->text,
				.name = n->map[k].name->text,
				.guarantee = n->map[k].guarantee,
				.entries = n->map[k].entries,
				.max_entries = n->map[k].max_entries,
			};
	}
	t->pub.n_programs = programs;
	t->pub.n_program_maps = maps;
	return 0;
}

static int copy_nodes(struct snapshot_taken *t, const struct samples *s)
{
	struct snapshot_raw_samples *raw = t->samples;

	raw->n_nodes = s->n_nodes;
	raw->node = snapshot_memory(t, s->n_nodes, sizeof(*raw->node));
	raw->conflict = snapshot_memory(t, s->n_nodes, sizeof(uint64_t));
	raw->no_family = snapshot_memory(t, s->n_nodes, sizeof(uint64_t));
	if (!raw->node || !raw->conflict || !raw->no_family)
		return -ENOMEM;
	for (size_t i = 0; i < s->n_nodes; i++) {
		raw->node[i] = s->node[i].name->text;
		raw->conflict[i] = s->node[i].conflict;
		raw->no_family[i] = s->node[i].no_family;
	}
	return 0;
}

int snapshot_copy_samples(struct snapshot_taken *t, struct snapshot_source *src)
{
	const struct samples *s = src->samples;
	struct snapshot_raw_samples *raw = t->samples;
	int err = 0;

	raw->state = s;
	raw->family = snapshot_memory(t, s->n_live, sizeof(*raw->family));
	if (!raw->family)
		return -ENOMEM;
	for (size_t i = 0; i < s->n_families && !err; i++)
		if (s->family[i])
			err = copy_family(t, s->family[i],
					  &raw->family[raw->n++]);
	if (!err)
		err = copy_nodes(t, s);
	return err ? err : copy_programs(t, s);
}

/* --- without the lock --- */

static int by_family(const void *pa, const void *pb)
{
	const struct raw_family *a = pa, *b = pb;

	return strcmp(a->f->name->text, b->f->name->text);
}

static int by_program(const void *pa, const void *pb)
{
	const struct snapshot_program *a = pa, *b = pb;
	int c = strcmp(a->node, b->node);

	return c ? c : strcmp(a->name, b->name);
}

static int by_map(const void *pa, const void *pb)
{
	const struct snapshot_program_map *a = pa, *b = pb;
	int c = strcmp(a->node, b->node);

	c = c ? c : strcmp(a->program, b->program);
	return c ? c : strcmp(a->name, b->name);
}

static int by_node(const void *pa, const void *pb)
{
	const struct snapshot_agent *const *a = pa, *const *b = pb;

	return strcmp((*a)->node, (*b)->node);
}

static int is_node(const void *name, const void *pb)
{
	const struct snapshot_agent *const *b = pb;

	return strcmp(name, (*b)->node);
}

/*
 * Whose gauges are not shown, and what the fold left out of each node's
 * samples, which the ledger took for counted.
 */
static int join_agents(struct snapshot_taken *t)
{
	struct snapshot_raw_samples *raw = t->samples;
	size_t n = t->pub.n_agents;
	struct snapshot_agent **sorted, **found;
	int64_t now_us = clock_real_us();

	sorted = snapshot_memory(t, n, sizeof(struct snapshot_agent *));
	raw->silent = snapshot_memory(t, raw->n_nodes, sizeof(bool));
	if (!sorted || !raw->silent)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		sorted[i] =
			(struct snapshot_agent *)(uintptr_t)&t->pub.agents[i];
	qsort(sorted, n, sizeof(*sorted), by_node);
	for (size_t i = 0; i < raw->n_nodes; i++) {
		found = bsearch(raw->node[i], sorted, n, sizeof(*sorted),
				is_node);
		raw->silent[i] =
			!found || now_us - (*found)->last_seen_us > SILENT_US;
		if (!found)
			continue;
		(*found)->samples_conflict = raw->conflict[i];
		(*found)->samples_no_family = raw->no_family[i];
		(*found)->samples_counted -=
			raw->conflict[i] + raw->no_family[i];
	}
	return 0;
}

int snapshot_begin_samples(struct snapshot_taken *t)
{
	struct snapshot_raw_samples *raw = t->samples;

	t->families = snapshot_memory(t, raw->n, sizeof(*t->families));
	if (!t->families)
		return -ENOMEM;
	qsort(raw->family, raw->n, sizeof(*raw->family), by_family);
	for (size_t i = 0; i < raw->n; i++) {
		const struct samples_family *f = raw->family[i].f;

		t->families[i] = (struct snapshot_family){
			.name = f->name->text,
			.help = f->help ? f->help->text : "",
			.unit = f->unit->text,
			.program = f->program->text,
			.kind = f->kind,
			.multiplier = f->multiplier,
			.bound = f->bound,
			.n_bounds = f->n_bounds,
			.series = raw->family[i].granted,
			.limit = raw->state->opt.max_series,
			.overflowed = raw->family[i].overflowed,
		};
	}
	t->pub.families = t->families;
	t->pub.n_families = raw->n;
	qsort((void *)(uintptr_t)t->pub.programs, t->pub.n_programs,
	      sizeof(*t->pub.programs), by_program);
	qsort((void *)(uintptr_t)t->pub.program_maps, t->pub.n_program_maps,
	      sizeof(*t->pub.program_maps), by_map);
	return join_agents(t);
}

/* --- the order of series --- */

/* By label names and values; n of them, so that merged gauges leave one out. */
static int compare_labels(const struct samples_slot *a,
			  const struct samples_slot *b, size_t leave_out)
{
	size_t n = a->shape->n - leave_out, m = b->shape->n - leave_out;

	for (size_t i = 0; i < n && i < m; i++) {
		int c = a->shape->name[i] == b->shape->name[i]
				? 0
				: strcmp(a->shape->name[i]->text,
					 b->shape->name[i]->text);

		if (!c && a->value[i] != b->value[i])
			c = strcmp(a->value[i]->text, b->value[i]->text);
		if (c)
			return c;
	}
	return n < m ? -1 : n > m;
}

static int by_labels(const void *pa, const void *pb, void *arg)
{
	const struct samples_family *f = arg;

	return compare_labels(samples_slot_at(f, *(const uint32_t *)pa),
			      samples_slot_at(f, *(const uint32_t *)pb), 0);
}

/* Adds slots up to n to the family's order: labels never change. */
static int extend_order(struct samples_family *f, uint32_t n)
{
	uint32_t *all = malloc((n + 1) * sizeof(*all)), *fresh = NULL;
	uint32_t had = f->n_ordered, k = 0, i = 0,
		 from = f->order ? f->order[0] : 1;
	uint32_t n_fresh = 0, out = 1;

	fresh = malloc((n + 1) * sizeof(*fresh));
	if (!all || !fresh) {
		free(all);
		free(fresh);
		return -ENOMEM;
	}
	for (uint32_t at = from; at < n; at++)
		if (samples_slot_at(f, at)->shape)
			fresh[n_fresh++] = at;
	qsort_r(fresh, n_fresh, sizeof(*fresh), by_labels, f);
	while (i < had || k < n_fresh) {
		bool old = k == n_fresh ||
			   (i < had &&
			    by_labels(&f->order[1 + i], &fresh[k], f) <= 0);

		all[out++] = old ? f->order[1 + i++] : fresh[k++];
	}
	all[0] = n; /* slots up to here are in it */
	free(fresh);
	free(f->order);
	f->order = all;
	f->n_ordered = out - 1;
	return 0;
}

/* The slots below n, sorted; *count of them. NULL: out of memory. */
static uint32_t *order_slots(struct snapshot_taken *t, struct samples_family *f,
			     uint32_t n, size_t *count)
{
	struct samples *s = t->source->samples;
	uint32_t *out = snapshot_memory(t, n + 1, sizeof(*out));
	int err = 0;

	*count = 0;
	pthread_mutex_lock(&s->order_mutex);
	if (!f->order || f->order[0] < n)
		err = extend_order(f, n);
	for (uint32_t i = 0; !err && out && i < f->n_ordered; i++)
		if (f->order[1 + i] < n)
			out[(*count)++] = f->order[1 + i];
	pthread_mutex_unlock(&s->order_mutex);
	return err ? NULL : out;
}

/* --- samples --- */

static bool is_shown(const struct snapshot_taken *t,
		     const struct raw_family *raw, uint32_t slot)
{
	uint64_t idle_s = atomic_load(&t->source->series_idle_s);

	if (raw->gauge)
		return raw->gauge[slot].present &&
		       !t->samples->silent[raw->gauge[slot].node - 1];
	return idle_s == 0 || clock_real_us() - raw->active_us[slot] <
				      (int64_t)idle_s * 1000000;
}

/* Takes labels from *at on. */
static void fill_labels(const struct samples_slot *from, size_t n,
			struct snapshot_label **at, struct snapshot_sample *out)
{
	out->label = *at;
	for (size_t i = 0; i < n; i++)
		if (from->value[i]->len > 0) /* an empty label is none */
			(*at)[out->n_labels++] = (struct snapshot_label){
				from->shape->name[i]->text, from->value[i]->text
			};
	*at += out->n_labels;
}

static void fill_sample(const struct raw_family *raw, uint32_t slot,
			struct snapshot_label **label,
			struct snapshot_sample *out)
{
	const struct samples_family *f = raw->f;
	const struct samples_slot *from = samples_slot_at(f, slot);
	const uint64_t *value = raw->value + (size_t)slot * f->stride;
	bool merged = raw->gauge && f->merge != SAMPLES_MERGE_NONE;

	*out = (struct snapshot_sample){ .overflow = !from->shape };
	if (from->shape)
		fill_labels(from, from->shape->n - merged, label, out);
	out->gauge = (int64_t)value[0];
	out->count = value[0];
	if (f->kind != SAMPLES_HISTOGRAM)
		return;
	out->count = 0;
	for (size_t i = 0; i <= f->n_bounds; i++)
		out->count += value[i];
	out->bucket = value;
	out->sum = value[f->n_bounds + 1];
}

static void merge_gauge(enum samples_merge merge, struct snapshot_sample *into,
			int64_t v)
{
	if (merge == SAMPLES_MERGE_SUM)
		into->gauge = (int64_t)((uint64_t)into->gauge + (uint64_t)v);
	else if (merge == SAMPLES_MERGE_MAX && v > into->gauge)
		into->gauge = v;
	else if (merge == SAMPLES_MERGE_MIN && v < into->gauge)
		into->gauge = v;
}

/* Is it of the same series, but for its node, as the one before? */
static bool continues(const struct raw_family *raw, uint32_t slot,
		      uint32_t before)
{
	return raw->gauge && raw->f->merge != SAMPLES_MERGE_NONE &&
	       compare_labels(samples_slot_at(raw->f, before),
			      samples_slot_at(raw->f, slot), 1) == 0;
}

static bool has_counts(const struct raw_family *raw)
{
	for (size_t i = 0; raw->n > 0 && i < raw->f->stride; i++)
		if (raw->value[i])
			return !raw->gauge;
	return false;
}

int snapshot_build_family(struct snapshot_taken *t, size_t family)
{
	const struct raw_family *raw = &t->samples->family[family];
	struct samples_family *f = (struct samples_family *)(uintptr_t)raw->f;
	struct snapshot_family *out = &t->families[family];
	struct snapshot_sample *sample;
	struct snapshot_label *label;
	uint32_t *order, before = 0;
	size_t count = 0, n = 0, labels = 0;

	order = order_slots(t, f, raw->n, &count);
	sample = snapshot_memory(t, count + 1, sizeof(*sample));
	for (size_t i = 0; order && i < count; i++)
		labels += samples_slot_at(f, order[i])->shape->n;
	label = snapshot_memory(t, labels, sizeof(*label));
	if (!order || !sample || !label)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		if (!is_shown(t, raw, order[i]))
			continue;
		if (before && continues(raw, order[i], before))
			merge_gauge(f->merge, &sample[n - 1],
				    (int64_t)raw->value[order[i]]);
		else
			fill_sample(raw, order[i], &label, &sample[n++]);
		before = order[i];
	}
	if (has_counts(raw))
		fill_sample(raw, SAMPLES_OVERFLOW, &label, &sample[n++]);
	out->sample = sample;
	out->n = n;
	return 0;
}
