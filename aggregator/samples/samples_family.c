/* SPDX-License-Identifier: Apache-2.0 */
/* Families by name; and who may change what a name means. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/samples/samples_state.h"

#define NO_NODE UINT32_MAX

static const struct interned *intern_string(struct samples *s,
					    const struct batch_string *text)
{
	return samples_intern(s, text->data, text->len);
}

struct samples_family *samples_family_new(struct samples *s,
					  const struct samples_definition *d)
{
	struct samples_family *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->name = intern_string(s, d->name);
	f->unit = intern_string(s, d->unit);
	f->program = intern_string(s, d->program);
	f->kind = d->kind;
	f->merge = d->merge;
	f->multiplier = d->multiplier;
	f->n_bounds = d->n_bounds;
	if (d->n_bounds > 0)
		memcpy(f->bound, d->bound, d->n_bounds * sizeof(*d->bound));
	f->stride = d->kind == SAMPLES_HISTOGRAM ? d->n_bounds + 2 : 1;
	f->last.node = f->other.node = NO_NODE;
	f->dirty = true;
	if (f->name && f->unit && f->program)
		return f;
	free(f);
	return NULL;
}

void samples_family_free(struct samples_family *f)
{
	if (!f)
		return;
	while (f->shapes) {
		struct samples_shape *next = f->shapes->next;

		free(f->shapes);
		f->shapes = next;
	}
	for (uint32_t i = 0; i < f->n; i++)
		free(samples_slot_at(f, i)->value);
	for (size_t i = 0; i < f->n_chunks; i++) {
		free(f->chunk[i]->gauge);
		free(f->chunk[i]);
	}
	free(f->chunk);
	free(f->table);
	free(f->set);
	free(f->order);
	free(f);
}

static bool same_text(const struct interned *a, const struct batch_string *b)
{
	return a->len == b->len && !memcmp(a->text, b->data, b->len);
}

/* Whose program it is and what the help says does not make another metric. */
bool samples_family_is(const struct samples_family *f,
		       const struct samples_definition *d)
{
	return f->kind == d->kind && f->merge == d->merge &&
	       f->multiplier == d->multiplier && f->n_bounds == d->n_bounds &&
	       same_text(f->unit, d->unit) &&
	       (f->n_bounds == 0 ||
		!memcmp(f->bound, d->bound, f->n_bounds * sizeof(*f->bound)));
}

static void note_sender(struct samples_family *f, uint32_t node, int64_t us)
{
	if (f->last.node != node) {
		f->other = f->last;
		f->last.node = node;
		f->last.us = us;
	} else if (us > f->last.us) {
		f->last.us = us;
	}
}

/* When a node other than this one sent the family last. */
static int64_t others_sent_us(const struct samples_family *f, uint32_t node)
{
	const struct samples_sender *at =
		f->last.node != node ? &f->last : &f->other;

	return at->node == NO_NODE ? INT64_MIN : at->us;
}

int samples_family_place(struct samples *s, struct samples_family *f,
			 uint32_t id)
{
	if (id == 0 || id > UINT32_MAX / 2)
		return -EUCLEAN;
	while (s->cap_families < id) {
		size_t cap = s->cap_families ? 2 * s->cap_families : 16;
		void *p = reallocarray(s->family, cap, sizeof(*s->family));

		if (!p)
			return -ENOMEM;
		s->family = p;
		s->cap_families = cap;
	}
	while (s->n_families < id)
		s->family[s->n_families++] = NULL;
	if (s->family[id - 1])
		return -EUCLEAN;
	f->id = id;
	s->family[id - 1] = f;
	s->n_live++;
	return 0;
}

static int retire_family(struct samples *s, struct samples_family *f)
{
	if (s->n_gone == s->cap_gone) {
		size_t cap = s->cap_gone ? 2 * s->cap_gone : 8;
		void *p = reallocarray(s->gone, cap, sizeof(*s->gone));

		if (!p)
			return -ENOMEM;
		s->gone = p;
		s->cap_gone = cap;
	}
	f->gone = f->dirty = true;
	s->gone[s->n_gone++] = f;
	s->family[f->id - 1] = NULL;
	s->n_live--;
	return 0;
}

static struct samples_family *find_name(struct samples *s,
					const struct batch_string *name)
{
	const struct interned *known =
		intern_find(s->intern, name->data, name->len,
			    intern_hash(s->intern, name->data, name->len));

	for (size_t i = 0; known && i < s->n_families; i++)
		if (s->family[i] && s->family[i]->name == known)
			return s->family[i];
	return NULL;
}

static int add_family(struct samples *s, const struct samples_definition *d,
		      uint64_t log_id, struct samples_family **out)
{
	struct samples_family *f;
	int err;

	if (s->n_live >= s->opt.max_families)
		return 0;
	f = samples_family_new(s, d);
	if (!f)
		return -ENOMEM;
	f->born_log = log_id;
	err = samples_family_place(s, f, (uint32_t)s->n_families + 1);
	if (err < 0)
		samples_family_free(f);
	else
		*out = f;
	return err;
}

static int note_family(struct samples *s, struct samples_family *f,
		       const struct samples_definition *d, uint32_t node,
		       uint64_t log_id, int64_t received_us)
{
	if (!f->help && d->help->len > 0) {
		f->help = intern_string(s, d->help);
		if (!f->help)
			return -ENOMEM;
	}
	if (log_id <= f->log_id)
		return 0;
	note_sender(f, node, received_us);
	f->log_id = log_id;
	f->dirty = true;
	return 0;
}

int samples_family_find(struct samples *s, const struct samples_definition *d,
			uint32_t node, uint64_t log_id, int64_t received_us,
			struct samples_family **out, bool *conflict)
{
	struct samples_family *f = find_name(s, d->name);
	int err = 0;

	*out = NULL;
	*conflict = false;
	if (f && !samples_family_is(f, d)) {
		int64_t others = others_sent_us(f, node);

		if (log_id <= f->log_id ||
		    (others != INT64_MIN &&
		     received_us - others < (int64_t)s->opt.handover_us)) {
			*conflict = true;
			return 0;
		}
		err = retire_family(s, f);
		f = NULL;
	}
	/* Before it was born the name was another's. */
	if (f && log_id < f->born_log) {
		*conflict = true;
		return 0;
	}
	if (!err && !f)
		err = add_family(s, d, log_id, &f);
	if (err < 0 || !f)
		return err;
	*out = f;
	return note_family(s, f, d, node, log_id, received_us);
}
