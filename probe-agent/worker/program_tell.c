/* SPDX-License-Identifier: Apache-2.0 */
/* Reports on a program: state, cost, maps. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "probe-agent/worker/program_state.h"

const char *program_name(const struct program *p)
{
	return p->spec.name;
}

const struct spec *program_spec(const struct program *p)
{
	return &p->spec;
}

const struct object *program_object(const struct program *p)
{
	return p->object;
}

enum samples_state program_state(const struct program *p)
{
	return p->state;
}

const char *program_reason(const struct program *p)
{
	return p->reason;
}

bool program_pinned(const struct program *p)
{
	return p->spec.pin && p->object;
}

bool program_adopted(const struct program *p)
{
	return p->object && object_adopted(p->object);
}

const struct cost *program_cost(const struct program *p)
{
	return &p->cost;
}

uint64_t program_read_ns(const struct program *p)
{
	return p->read_ns;
}

int64_t program_read_us(const struct program *p)
{
	return p->read_us;
}

int64_t program_took_us(const struct program *p)
{
	return p->took_us;
}

const struct program_times *program_times(const struct program *p)
{
	return &p->times;
}

struct table *program_table(struct program *p, size_t i)
{
	return i < p->n_tables ? p->table[i] : NULL;
}

/*
 * A full map may have lost keys, unless its program counts what it loses; of a
 * map with more keys than are read some are never read.
 */
static enum samples_guarantee guarantee_of(const struct program *p,
					   const struct object_map *m,
					   const struct table_stats *s)
{
	bool counted = object_map(p->object, "redtap_lost");

	if (m->type == OBJECT_MAP_RING)
		return counted ? SAMPLES_EXACT : SAMPLES_UNKNOWN;
	if (s->truncated > 0)
		return SAMPLES_UNKNOWN;
	if (m->type == OBJECT_MAP_HASH && !m->lru && !counted &&
	    s->entries >= m->max_entries && m->guarantee == SAMPLES_EXACT)
		return SAMPLES_UNKNOWN;
	return m->guarantee;
}

int program_tell(struct program *p, struct samples_table *to)
{
	struct samples_program told = {
		.name = p->spec.name,
		.reason = p->reason,
		.state = p->state,
		.runs = p->cost.runs - p->told.runs,
		.run_ns = p->cost.run_ns - p->told.run_ns,
		.trap_ns = p->cost.trap_ns - p->told.trap_ns,
		.read_us = (uint64_t)p->read_us,
	};
	int err;

	if (p->object)
		memcpy(told.digest, object_digest(p->object),
		       sizeof(told.digest));
	err = samples_table_program(to, &told);
	if (err)
		return err;
	p->told.runs = p->cost.runs;
	p->told.run_ns = p->cost.run_ns;
	p->told.trap_ns = p->cost.trap_ns;
	for (size_t i = 0; i < p->n_tables && !err; i++) {
		const struct object_map *m = table_map(p->table[i]);
		struct table_stats stats;
		struct samples_map map = { .name = m->name };

		table_stats(p->table[i], &stats);
		map.guarantee = guarantee_of(p, m, &stats);
		map.entries = stats.entries;
		map.max_entries = m->max_entries;
		err = samples_table_map(to, &map);
	}
	return err == -ENOSPC ? 0 : err;
}

void program_figures(struct program *p, struct program_figures *out)
{
	*out = (struct program_figures){ .lost = p->lost[0] + p->lost[1] };
	for (size_t i = 0; i < p->n_tables; i++) {
		struct table_stats stats;

		table_stats(p->table[i], &stats);
		out->entries += stats.entries;
		out->max_entries += table_map(p->table[i])->max_entries;
		out->series += stats.series;
		out->lost += stats.undecoded;
	}
	for (size_t i = 0; i < p->n_sources; i++)
		out->lost +=
			p->source[i].stats.lost + p->source[i].stats.over_rate;
}
