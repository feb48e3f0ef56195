/* SPDX-License-Identifier: Apache-2.0 */
/* What a node says of its programs. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/samples/samples_state.h"

static const struct samples_program_row *
find_program(const struct samples_node *n, const struct interned *name)
{
	for (size_t i = 0; i < n->n_programs; i++)
		if (n->program[i].name == name)
			return &n->program[i];
	return NULL;
}

static int fill_program(struct samples_input *a, const struct samples_node *n,
			size_t i, struct samples_program_row *out)
{
	const struct batch_samples *in = &a->b->samples;
	const struct batch_string *name = &a->b->strings[in->program[i]];
	const struct batch_string *reason = &a->b->strings[in->reason[i]];
	const struct samples_program_row *was;

	out->name = samples_intern(a->s, name->data, name->len);
	out->reason = strdup(reason->data);
	if (!out->name || !out->reason)
		return -ENOMEM;
	was = find_program(n, out->name);
	out->state = in->state[i];
	memcpy(out->digest, in->digest + i * SAMPLES_DIGEST_BYTES,
	       SAMPLES_DIGEST_BYTES);
	out->runs = in->runs[i] + (was ? was->runs : 0);
	out->run_ns = in->run_ns[i] + (was ? was->run_ns : 0);
	out->trap_ns = in->trap_ns[i] + (was ? was->trap_ns : 0);
	out->read_us = in->read_us[i];
	return 0;
}

/* An older set only adds what its programs ran meanwhile. */
static void add_runs(struct samples_input *a, struct samples_node *n)
{
	const struct batch_samples *in = &a->b->samples;

	for (size_t i = 0; i < in->n_programs; i++)
		for (size_t k = 0; k < n->n_programs; k++)
			if (!strcmp(n->program[k].name->text,
				    a->b->strings[in->program[i]].data)) {
				n->program[k].runs += in->runs[i];
				n->program[k].run_ns += in->run_ns[i];
				n->program[k].trap_ns += in->trap_ns[i];
			}
}

static void free_programs(struct samples_program_row *p, size_t n)
{
	for (size_t i = 0; p && i < n; i++)
		free(p[i].reason);
	free(p);
}

static int tell_programs(struct samples_input *a, struct samples_node *n)
{
	const struct batch_samples *in = &a->b->samples;
	struct samples_program_row *p = calloc(in->n_programs + 1, sizeof(*p));
	struct samples_map_row *m = calloc(in->n_maps + 1, sizeof(*m));
	int err = p && m ? 0 : -ENOMEM;

	for (size_t i = 0; i < in->n_programs && !err; i++)
		err = fill_program(a, n, i, &p[i]);
	for (size_t i = 0; i < in->n_maps && !err; i++) {
		const struct batch_string *name =
			&a->b->strings[in->map_name[i]];

		m[i] = (struct samples_map_row){
			.program = in->map_program[i],
			.guarantee = in->guarantee[i],
			.name = samples_intern(a->s, name->data, name->len),
			.entries = in->entries[i],
			.max_entries = in->max_entries[i],
		};
		err = m[i].name ? 0 : -ENOMEM;
	}
	if (err) {
		free_programs(p, in->n_programs);
		free(m);
		return err;
	}
	free_programs(n->program, n->n_programs);
	free(n->map);
	n->program = p;
	n->map = m;
	n->n_programs = in->n_programs;
	n->n_maps = in->n_maps;
	n->epoch = a->b->epoch;
	n->sequence = a->b->sequence;
	return 0;
}

int samples_note_node(struct samples_input *a)
{
	struct samples_node *n = &a->s->node[a->node];
	bool older = a->b->epoch < n->epoch ||
		     (a->b->epoch == n->epoch && a->b->sequence < n->sequence);
	int err = 0;

	if (a->node_skips)
		return 0;
	if (a->b->samples.told && older)
		add_runs(a, n);
	else if (a->b->samples.told)
		err = tell_programs(a, n);
	n->conflict += a->conflict;
	n->no_family += a->no_family;
	n->log_id = a->log_id;
	n->dirty = true;
	return err;
}
