/* SPDX-License-Identifier: Apache-2.0 */
/* The state from what samples_save.c wrote. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/samples/samples_state.h"
#include "common/varint.h"

struct loader {
	struct varint_reader r;
	struct samples *s;
	bool failed; /* out of memory */
};

static struct loader begin_load(struct samples *s, const struct samples_blob *b)
{
	static const uint8_t none;
	struct loader l = { .s = s };

	l.r.at = b->data ? b->data : &none;
	l.r.end = l.r.at + (b->data ? b->len : 0);
	return l;
}

static int end_load(const struct loader *l)
{
	return l->failed			 ? -ENOMEM
	       : l->r.bad || l->r.at != l->r.end ? -EUCLEAN
						 : 0;
}

static struct batch_string get_bytes(struct loader *l)
{
	uint64_t len = varint_get(&l->r);
	struct batch_string out = { "", 0 };

	if (l->r.bad || len > (size_t)(l->r.end - l->r.at)) {
		l->r.bad = true;
		return out;
	}
	out.data = (const char *)l->r.at;
	out.len = (uint32_t)len;
	l->r.at += len;
	return out;
}

static const struct interned *get_text(struct loader *l)
{
	struct batch_string text = get_bytes(l);
	const struct interned *got =
		l->r.bad ? NULL : samples_intern(l->s, text.data, text.len);

	l->failed |= !got && !l->r.bad;
	return got;
}

/* A node by its name; UINT32_MAX: none. */
static uint32_t get_node(struct loader *l)
{
	struct batch_string text = get_bytes(l);
	char name[LIMIT_AGENT_BYTES + 1];
	int64_t node;

	if (l->r.bad || text.len == 0 || text.len > LIMIT_AGENT_BYTES)
		return UINT32_MAX;
	memcpy(name, text.data, text.len);
	name[text.len] = '\0';
	node = samples_node_find(l->s, name);
	l->failed |= node == -ENOMEM;
	return node < 0 ? UINT32_MAX : (uint32_t)node;
}

static int get_sets(struct loader *l, struct samples_family *f)
{
	uint64_t n = varint_get(&l->r);

	/* There may be more than are allowed now; each takes a few bytes. */
	if (l->r.bad || n > (uint64_t)(l->r.end - l->r.at))
		return -EUCLEAN;
	f->set = calloc(n + 1, sizeof(*f->set));
	if (!f->set)
		return -ENOMEM;
	f->cap_sets = n + 1;
	for (uint64_t i = 0; i < n; i++) {
		struct samples_set set = { .node = get_node(l) };
		size_t at = f->n_sets;

		set.epoch = varint_get(&l->r);
		set.sequence = varint_get(&l->r);
		if (set.node == UINT32_MAX)
			continue;
		/* Nodes have other numbers now: sorted by these. */
		for (; at > 0 && f->set[at - 1].node > set.node; at--)
			f->set[at] = f->set[at - 1];
		f->set[at] = set;
		f->n_sets++;
	}
	return 0;
}

static int get_family(struct loader *l, struct samples_family **out,
		      struct samples_definition *d, uint64_t bound[])
{
	struct batch_string name, unit, program, help;
	uint64_t bits, kind = varint_get(&l->r), merge = varint_get(&l->r);

	name = get_bytes(l);
	unit = get_bytes(l);
	program = get_bytes(l);
	help = get_bytes(l);
	bits = varint_get(&l->r);
	*d = (struct samples_definition){ .name = &name,
					  .unit = &unit,
					  .program = &program,
					  .kind = (enum samples_kind)kind,
					  .merge = (enum samples_merge)merge,
					  .bound = bound,
					  .n_bounds = varint_get(&l->r) };
	memcpy(&d->multiplier, &bits, 8);
	if (l->r.bad || kind == 0 || kind > SAMPLES_KINDS ||
	    merge >= SAMPLES_MERGES || d->n_bounds > LIMIT_SAMPLE_BOUNDS)
		return -EUCLEAN;
	for (size_t i = 0; i < d->n_bounds; i++)
		bound[i] = varint_get(&l->r);
	*out = samples_family_new(l->s, d);
	if (!*out)
		return -ENOMEM;
	if (help.len > 0)
		(*out)->help = samples_intern(l->s, help.data, help.len);
	return help.len > 0 && !(*out)->help ? -ENOMEM : 0;
}

int samples_load_family(struct samples *s, uint32_t family,
			const struct samples_blob *b)
{
	struct loader l = begin_load(s, b);
	uint64_t bound[LIMIT_SAMPLE_BOUNDS];
	struct samples_family *f = NULL;
	struct samples_definition d;
	int err = get_family(&l, &f, &d, bound);

	if (!err) {
		f->born_log = varint_get(&l.r);
		f->last.node = get_node(&l);
		f->last.us = varint_get_signed(&l.r);
		f->other.node = get_node(&l);
		f->other.us = varint_get_signed(&l.r);
		f->overflowed = varint_get(&l.r);
		f->log_id = b->log_id;
		f->dirty = false;
		err = get_sets(&l, f);
	}
	if (!err)
		err = end_load(&l);
	if (!err && family > 1u << 20)
		err = -EUCLEAN;
	if (!err)
		err = samples_family_place(s, f, family);
	if (err < 0)
		samples_family_free(f);
	return err;
}

/* Sets are known by then: a family's row comes before its series. */
static void link_gauge(struct samples_family *f, uint32_t node, uint32_t at)
{
	struct samples_gauge *g = samples_gauge_at(f, at);

	for (size_t i = 0; i < f->n_sets; i++)
		if (f->set[i].node == node) {
			g->node = node + 1;
			g->next = f->set[i].first;
			f->set[i].first = at + 1;
		}
}

static int get_labels(struct loader *l, struct samples_family *f, uint32_t at)
{
	const struct interned *name[LIMIT_SAMPLE_LABELS + 1];
	const struct interned *value[LIMIT_SAMPLE_LABELS + 1];
	const struct samples_shape *shape = NULL;
	uint64_t shaped = varint_get(&l->r), n = varint_get(&l->r);

	if (l->r.bad || n > LIMIT_SAMPLE_LABELS + 1 || shaped > 1)
		return -EUCLEAN;
	for (uint64_t i = 0; i < n; i++) {
		name[i] = get_text(l);
		value[i] = get_text(l);
		if (!name[i] || !value[i])
			return l->failed ? -ENOMEM : -EUCLEAN;
	}
	if (shaped) {
		shape = samples_shape_find(f, name, n);
		if (!shape)
			return -ENOMEM;
	}
	return samples_restore(l->s, f, at, shape, value);
}

int samples_load_series(struct samples *s, uint32_t family, uint32_t slot,
			const struct samples_blob *b)
{
	struct loader l = begin_load(s, b);
	struct samples_family *f = family > 0 && family <= s->n_families
					   ? s->family[family - 1]
					   : NULL;
	int err = f ? get_labels(&l, f, slot) : -EUCLEAN;

	if (err < 0)
		return err;
	*samples_active_at(f, slot) = varint_get_signed(&l.r);
	if (f->kind == SAMPLES_GAUGE) {
		uint32_t node = get_node(&l);

		samples_gauge_at(f, slot)->present = varint_get(&l.r) != 0;
		if (node != UINT32_MAX)
			link_gauge(f, node, slot);
	}
	for (size_t i = 0; i < f->stride; i++)
		samples_value_at(f, slot)[i] = varint_get(&l.r);
	samples_slot_at(f, slot)->log_id = b->log_id;
	samples_slot_at(f, slot)->dirty = false;
	return end_load(&l);
}

static int get_programs(struct loader *l, struct samples_node *n)
{
	uint64_t programs = varint_get(&l->r), maps;

	if (l->r.bad || programs > LIMIT_SAMPLE_PROGRAMS)
		return -EUCLEAN;
	n->program = calloc(programs + 1, sizeof(*n->program));
	if (!n->program)
		return -ENOMEM;
	for (; n->n_programs < programs; n->n_programs++) {
		struct samples_program_row *p = &n->program[n->n_programs];
		struct batch_string reason;

		p->name = get_text(l);
		reason = get_bytes(l);
		p->state = (uint32_t)varint_get(&l->r);
		if (!p->name || p->state >= SAMPLES_STATES ||
		    (size_t)(l->r.end - l->r.at) < sizeof(p->digest))
			return l->failed ? -ENOMEM : -EUCLEAN;
		memcpy(p->digest, l->r.at, sizeof(p->digest));
		l->r.at += sizeof(p->digest);
		p->runs = varint_get(&l->r);
		p->run_ns = varint_get(&l->r);
		p->trap_ns = varint_get(&l->r);
		p->read_us = varint_get(&l->r);
		p->reason = strndup(reason.data, reason.len);
		if (!p->reason)
			return -ENOMEM;
	}
	maps = varint_get(&l->r);
	if (l->r.bad || maps > LIMIT_SAMPLE_MAPS)
		return -EUCLEAN;
	n->map = calloc(maps + 1, sizeof(*n->map));
	if (!n->map)
		return -ENOMEM;
	for (; n->n_maps < maps; n->n_maps++) {
		struct samples_map_row *m = &n->map[n->n_maps];

		m->program = (uint32_t)varint_get(&l->r);
		m->guarantee = (uint32_t)varint_get(&l->r);
		m->name = get_text(l);
		m->entries = varint_get(&l->r);
		m->max_entries = varint_get(&l->r);
		if (!m->name || m->program >= programs ||
		    m->guarantee >= SAMPLES_GUARANTEES)
			return l->failed ? -ENOMEM : -EUCLEAN;
	}
	return 0;
}

int samples_load_node(struct samples *s, const char *node,
		      const struct samples_blob *b)
{
	struct loader l = begin_load(s, b);
	int64_t at = samples_node_find(s, node);
	struct samples_node *n;
	int err;

	if (at < 0)
		return at == -ENOSPC ? 0 : (int)at;
	n = &s->node[at];
	if (n->program)
		return -EUCLEAN;
	n->epoch = varint_get(&l.r);
	n->sequence = varint_get(&l.r);
	n->conflict = varint_get(&l.r);
	n->no_family = varint_get(&l.r);
	n->log_id = b->log_id;
	err = get_programs(&l, n);
	return err ? err : end_load(&l);
}
