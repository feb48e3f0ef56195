/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/fold/fold_state.h"

#define TARGETS_MAX 100000u

static size_t target_hash(const struct interned *job,
			  const struct interned *instance)
{
	uint64_t h = job->hash * 0x9e3779b97f4a7c15 + instance->hash;

	return (size_t)(h ^ h >> 29);
}

static void target_place(struct fold *f, size_t i)
{
	const struct fold_target *t = &f->target[i];
	size_t mask = f->target_table_cap - 1;
	size_t at =
		target_hash(t->value[TARGET_JOB], t->value[TARGET_INSTANCE]) &
		mask;

	while (f->target_table[at])
		at = (at + 1) & mask;
	f->target_table[at] = (uint32_t)i + 1;
}

static int target_room(struct fold *f)
{
	if (f->n_targets == f->target_cap) {
		size_t cap = f->target_cap ? 2 * f->target_cap : 64;
		void *p = realloc(f->target, cap * sizeof(*f->target));

		if (!p)
			return -ENOMEM;
		f->target = p;
		f->target_cap = cap;
	}
	if (f->n_targets * 2 >= f->target_table_cap) {
		size_t cap = 2 * f->target_table_cap;
		uint32_t *table = calloc(cap, sizeof(*table));

		if (!table)
			return -ENOMEM;
		free(f->target_table);
		f->target_table = table;
		f->target_table_cap = cap;
		for (size_t i = 0; i < f->n_targets; i++)
			target_place(f, i);
	}
	return 0;
}

static bool target_known(const struct fold *f, const struct interned *job,
			 const struct interned *instance)
{
	size_t mask = f->target_table_cap - 1;

	for (size_t at = target_hash(job, instance) & mask; f->target_table[at];
	     at = (at + 1) & mask) {
		const struct fold_target *t =
			&f->target[f->target_table[at] - 1];

		if (t->value[TARGET_JOB] == job &&
		    t->value[TARGET_INSTANCE] == instance)
			return true;
	}
	return false;
}

static const struct interned *intern_text(struct fold *f, const char *text)
{
	size_t len = strlen(text);

	return intern_add(f->intern, text, len,
			  intern_hash(f->intern, text, len));
}

int fold_add_target(struct fold *f, const char *const value[TARGET_FIELDS])
{
	struct fold_target t = { .dirty = true };
	int err;

	if (f->n_targets >= TARGETS_MAX || !value[TARGET_JOB] ||
	    !value[TARGET_INSTANCE])
		return 0;
	for (size_t i = 0; i < TARGET_FIELDS; i++) {
		if (!value[i] || !*value[i])
			continue;
		t.value[i] = intern_text(f, value[i]);
		if (!t.value[i])
			return -ENOMEM;
	}
	if (target_known(f, t.value[TARGET_JOB], t.value[TARGET_INSTANCE]))
		return 0;
	err = target_room(f);
	if (err < 0)
		return err;
	f->target[f->n_targets] = t;
	target_place(f, f->n_targets++);
	return 0;
}

int fold_note_targets(struct fold *f, const struct batch *b)
{
	const struct batch_resources *rs = &b->resources;
	int err = 0;

	for (size_t i = 0; i < rs->n && !err; i++) {
		const struct series_label *job = labels_job(f->labels, i);
		const struct series_label *instance =
			labels_instance(f->labels, i);
		const char *value[TARGET_FIELDS];

		/* Not interned: it has no series. */
		if (!job->interned || !instance->interned ||
		    target_known(f, job->interned, instance->interned))
			continue;
		value[TARGET_JOB] = job->data;
		value[TARGET_INSTANCE] = instance->data;
		value[TARGET_SERVICE] = b->strings[rs->service[i]].data;
		value[TARGET_NAMESPACE] = b->strings[rs->namespace_[i]].data;
		value[TARGET_CONTAINER] = b->strings[rs->container[i]].data;
		value[TARGET_NODE] = b->agent;
		value[TARGET_EXECUTABLE] = b->strings[rs->executable[i]].data;
		err = fold_add_target(f, value);
	}
	return err;
}

size_t fold_targets(const struct fold *f)
{
	return f->n_targets;
}

struct fold_target *fold_target(struct fold *f, size_t i)
{
	return &f->target[i];
}
