/* SPDX-License-Identifier: Apache-2.0 */
/* The lists of metrics.def about user programs. */
#include <string.h>

#include "aggregator/expose/expose_writer.h"

static void put_value(struct expose_writer *w, const struct expose_label *l,
		      size_t n, uint64_t value, unsigned scale)
{
	w->ops->sample(
		w, l, n,
		(struct expose_number){ .mantissa = value, .scale = scale });
}

static void put_digest(const struct snapshot_program *p, char out[65])
{
	static const char digit[] = "0123456789abcdef";

	for (size_t i = 0; i < sizeof(p->digest); i++) {
		*out++ = digit[p->digest[i] >> 4];
		*out++ = digit[p->digest[i] & 15];
	}
	*out = '\0';
}

static void put_program(struct expose_writer *w, enum metric_list id,
			const struct snapshot_program *p)
{
	char digest[65];
	struct expose_label l[4] = { { "node", p->node },
				     { "program", p->name } };

	switch (id) {
	case METRIC_PROGRAM_INFO:
		put_digest(p, digest);
		l[2] = (struct expose_label){ "digest", digest };
		put_value(w, l, 3, 1, 0);
		break;
	case METRIC_PROGRAM_STATE:
		l[2] = (struct expose_label){ "state",
					      samples_state_name(p->state) };
		l[3] = (struct expose_label){ "reason", p->reason };
		put_value(w, l, 3 + (*p->reason != '\0'), 1, 0);
		break;
	case METRIC_PROGRAM_RUNS:
		put_value(w, l, 2, p->runs, 0);
		break;
	case METRIC_PROGRAM_CPU:
		l[2] = (struct expose_label){ "part", "program" };
		put_value(w, l, 3, p->run_ns, 9);
		l[2].value = "trap";
		put_value(w, l, 3, p->trap_ns, 9);
		break;
	default:
		if (p->read_us)
			put_value(w, l, 2, p->read_us, 6);
	}
}

static void put_map(struct expose_writer *w, enum metric_list id,
		    const struct snapshot_program_map *m)
{
	const struct expose_label l[] = {
		{ "node", m->node },
		{ "program", m->program },
		{ "map", m->name },
		{ "guarantee", samples_guarantee_name(m->guarantee) },
	};

	if (id == METRIC_PROGRAM_MAP_INFO)
		put_value(w, l, 4, 1, 0);
	else
		put_value(w, l, 3,
			  id == METRIC_PROGRAM_MAP_ENTRIES ? m->entries
							   : m->max_entries,
			  0);
}

/* A node that never had samples has no line about them. */
static bool has_samples(const struct snapshot_agent *g)
{
	uint64_t any = g->samples_read | g->samples_counted;

	for (unsigned i = 0; i < SAMPLES_STAGES; i++)
		any |= g->samples_dropped[i];
	return any | g->samples_conflict | g->samples_no_family;
}

static void put_node(struct expose_writer *w, enum metric_list id,
		     const struct snapshot_agent *g)
{
	struct expose_label l[] = { { "node", g->node }, { "stage", "" } };

	if (id != METRIC_PROGRAM_DROPPED) {
		put_value(w, l, 1,
			  id == METRIC_PROGRAM_READ ? g->samples_read
						    : g->samples_counted,
			  0);
		return;
	}
	for (unsigned i = 0; i < SAMPLES_STAGES; i++) {
		l[1].value = samples_stage_name(i);
		put_value(w, l, 2, g->samples_dropped[i], 0);
	}
	l[1].value = "conflict";
	put_value(w, l, 2, g->samples_conflict, 0);
	l[1].value = "families";
	put_value(w, l, 2, g->samples_no_family, 0);
}

static void put_family(struct expose_writer *w, enum metric_list id,
		       const struct snapshot_family *f)
{
	struct expose_label l = { "metric", f->name };

	put_value(w, &l, 1,
		  id == METRIC_PROGRAM_FAMILY_SERIES ? f->series
						     : f->overflowed,
		  0);
}

void expose_program_list(struct expose_writer *w, enum metric_list id,
			 const struct snapshot *s)
{
	switch (id) {
	case METRIC_PROGRAM_MAP_INFO:
	case METRIC_PROGRAM_MAP_ENTRIES:
	case METRIC_PROGRAM_MAP_MAX_ENTRIES:
		for (size_t i = 0; i < s->n_program_maps; i++)
			put_map(w, id, &s->program_maps[i]);
		break;
	case METRIC_PROGRAM_READ:
	case METRIC_PROGRAM_COUNTED:
	case METRIC_PROGRAM_DROPPED:
		for (size_t i = 0; i < s->n_agents; i++)
			if (has_samples(&s->agents[i]))
				put_node(w, id, &s->agents[i]);
		break;
	case METRIC_PROGRAM_FAMILY_SERIES:
	case METRIC_PROGRAM_FAMILY_OVERFLOWED:
		for (size_t i = 0; i < s->n_families; i++)
			put_family(w, id, &s->families[i]);
		break;
	default:
		for (size_t i = 0; i < s->n_programs; i++)
			put_program(w, id, &s->programs[i]);
	}
}
