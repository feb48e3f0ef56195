/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state to rows of the store; samples_load.c reads them. Texts are a length
 * and bytes, numbers are varints; see common/varint.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/samples/samples_state.h"
#include "common/varint.h"

static void put_text(struct buf *b, const struct interned *text)
{
	varint_put(b, text ? text->len : 0);
	if (text)
		buf_append(b, text->text, text->len);
}

static void put_double(struct buf *b, double v)
{
	uint64_t bits;

	memcpy(&bits, &v, 8);
	varint_put(b, bits);
}

static void put_sender(const struct samples *s, struct buf *b,
		       const struct samples_sender *from)
{
	bool none = from->node == UINT32_MAX;

	put_text(b, none ? NULL : s->node[from->node].name);
	varint_put_signed(b, none ? 0 : from->us);
}

static void put_family(const struct samples *s, const struct samples_family *f,
		       struct buf *b)
{
	varint_put(b, f->kind);
	varint_put(b, f->merge);
	put_text(b, f->name);
	put_text(b, f->unit);
	put_text(b, f->program);
	put_text(b, f->help);
	put_double(b, f->multiplier);
	varint_put(b, f->n_bounds);
	for (size_t i = 0; i < f->n_bounds; i++)
		varint_put(b, f->bound[i]);
	varint_put(b, f->born_log);
	put_sender(s, b, &f->last);
	put_sender(s, b, &f->other);
	varint_put(b, f->overflowed);
	varint_put(b, f->n_sets);
	for (size_t i = 0; i < f->n_sets; i++) {
		put_text(b, s->node[f->set[i].node].name);
		varint_put(b, f->set[i].epoch);
		varint_put(b, f->set[i].sequence);
	}
}

static void put_series(const struct samples *s, const struct samples_family *f,
		       uint32_t at, struct buf *b)
{
	const struct samples_slot *slot = samples_slot_at(f, at);
	const uint64_t *value = samples_value_at(f, at);
	size_t n = slot->shape ? slot->shape->n : 0;

	varint_put(b, slot->shape != NULL);
	varint_put(b, n);
	for (size_t i = 0; i < n; i++) {
		put_text(b, slot->shape->name[i]);
		put_text(b, slot->value[i]);
	}
	varint_put_signed(b, *samples_active_at(f, at));
	if (f->kind == SAMPLES_GAUGE) {
		const struct samples_gauge *g = samples_gauge_at(f, at);

		put_text(b, g->node ? s->node[g->node - 1].name : NULL);
		varint_put(b, g->present);
	}
	for (size_t i = 0; i < f->stride; i++)
		varint_put(b, value[i]);
}

static void put_node(const struct samples_node *n, struct buf *b)
{
	varint_put(b, n->epoch);
	varint_put(b, n->sequence);
	varint_put(b, n->conflict);
	varint_put(b, n->no_family);
	varint_put(b, n->n_programs);
	for (size_t i = 0; i < n->n_programs; i++) {
		const struct samples_program_row *p = &n->program[i];
		size_t len = strlen(p->reason);

		put_text(b, p->name);
		varint_put(b, len);
		buf_append(b, p->reason, len);
		varint_put(b, p->state);
		buf_append(b, p->digest, sizeof(p->digest));
		varint_put(b, p->runs);
		varint_put(b, p->run_ns);
		varint_put(b, p->trap_ns);
		varint_put(b, p->read_us);
	}
	varint_put(b, n->n_maps);
	for (size_t i = 0; i < n->n_maps; i++) {
		const struct samples_map_row *m = &n->map[i];

		varint_put(b, m->program);
		varint_put(b, m->guarantee);
		put_text(b, m->name);
		varint_put(b, m->entries);
		varint_put(b, m->max_entries);
	}
}

static int hand_out(struct samples *s, bool *dirty, uint64_t log_id,
		    struct samples_row *out)
{
	if (s->n_written == s->cap_written) {
		size_t cap = s->cap_written ? 2 * s->cap_written : 256;
		void *p = reallocarray(s->written, cap, sizeof(*s->written));

		if (!p)
			return -ENOMEM;
		s->written = p;
		s->cap_written = cap;
	}
	if (s->blob.err)
		return s->blob.err;
	s->written[s->n_written++].dirty = dirty;
	out->blob = (struct samples_blob){ log_id, s->blob.data, s->blob.len };
	return 0;
}

void samples_save_begin(struct samples *s)
{
	s->at = s->next = (struct samples_cursor){ .family = 0 };
}

/* A changed slot of the family that the cursor is in, or n. */
static uint32_t changed_slot(const struct samples_family *f, uint32_t from)
{
	while (from < f->n && !samples_slot_at(f, from)->dirty)
		from++;
	return from;
}

static int next_of_family(struct samples *s, struct samples_family *f,
			  uint64_t now, struct samples_row *out)
{
	struct samples_cursor *c = &s->next;

	out->family = f->id;
	if (!c->family_done) {
		c->family_done = true;
		if (f->dirty) {
			out->kind = SAMPLES_ROW_FAMILY;
			put_family(s, f, &s->blob);
			return hand_out(s, &f->dirty, now, out);
		}
	}
	c->slot = changed_slot(f, c->slot);
	if (c->slot == f->n)
		return 0;
	out->kind = SAMPLES_ROW_SERIES;
	out->slot = c->slot;
	put_series(s, f, c->slot, &s->blob);
	return hand_out(s, &samples_slot_at(f, c->slot++)->dirty, now, out);
}

int samples_save_next(struct samples *s, uint64_t now, struct samples_row *out)
{
	struct samples_cursor *c = &s->next;
	int err = 0;

	*out = (struct samples_row){ .kind = SAMPLES_ROW_NONE };
	buf_reset(&s->blob);
	for (; c->gone < s->n_gone; c->gone++)
		if (s->gone[c->gone]->dirty) {
			out->kind = SAMPLES_ROW_FAMILY;
			out->gone = true;
			out->family = s->gone[c->gone]->id;
			return hand_out(s, &s->gone[c->gone++]->dirty, now,
					out);
		}
	for (; c->family < s->n_families; c->family++) {
		if (s->family[c->family])
			err = next_of_family(s, s->family[c->family], now, out);
		if (err < 0 || out->kind != SAMPLES_ROW_NONE)
			return err;
		c->family_done = false;
		c->slot = 0;
	}
	while (c->node < s->n_nodes && !s->node[c->node].dirty)
		c->node++;
	if (c->node == s->n_nodes)
		return 0;
	out->kind = SAMPLES_ROW_NODE;
	out->family = 0;
	out->node = s->node[c->node].name->text;
	put_node(&s->node[c->node], &s->blob);
	return hand_out(s, &s->node[c->node++].dirty, now, out);
}

void samples_save_committed(struct samples *s)
{
	for (size_t i = 0; i < s->n_written; i++)
		*s->written[i].dirty = false;
	s->n_written = 0;
	s->at = s->next;
}

void samples_save_aborted(struct samples *s)
{
	s->n_written = 0;
	s->next = s->at;
}
