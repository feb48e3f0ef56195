/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/fold/fold_state.h"
#include "common/grow.h"

#define TARGETS_MAX 100000u

static uint64_t target_hash(const struct interned *job,
			    const struct interned *instance)
{
	uint64_t h = job->hash * 0x9e3779b97f4a7c15 + instance->hash;

	return h ^ h >> 29;
}

static uint64_t hash_at(const void *fold, uint32_t i)
{
	const struct fold *f = fold;
	const struct fold_target *t = &f->target[i];

	return target_hash(t->value[TARGET_JOB], t->value[TARGET_INSTANCE]);
}

static int target_room(struct fold *f)
{
	int err = grow(&f->target, &f->target_cap, f->n_targets);

	return err ? err : hash_index_reserve(&f->target_index, hash_at, f);
}

/* NULL: not known. */
static struct fold_target *find_target(const struct fold *f,
				       const struct interned *job,
				       const struct interned *instance)
{
	size_t at = target_hash(job, instance);
	uint32_t i;

	while (hash_index_next(&f->target_index, &at, &i)) {
		struct fold_target *t = &f->target[i];

		if (t->value[TARGET_JOB] == job &&
		    t->value[TARGET_INSTANCE] == instance)
			return t;
	}
	return NULL;
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
	if (find_target(f, t.value[TARGET_JOB], t.value[TARGET_INSTANCE]))
		return 0;
	err = target_room(f);
	if (err < 0)
		return err;
	f->target[f->n_targets] = t;
	hash_index_put(&f->target_index, hash_at(f, (uint32_t)f->n_targets),
		       (uint32_t)f->n_targets);
	f->n_targets++;
	return 0;
}

/*
 * Takes what is known only now: an agent that was upgraded reads more of a
 * container than it did before. What is known stays, so that two sources that
 * disagree do not write it in turns.
 */
static int fill_target(struct fold *f, struct fold_target *t,
		       const struct batch *b, size_t row)
{
	const uint32_t string[TARGET_FIELDS] = {
#define ROW(name, text) [TARGET_##name] = b->resources.name[row],
		RESOURCE_ATTRIBUTES(ROW)
#undef ROW
	};

	for (size_t k = 0; k < TARGET_FIELDS; k++) {
		if (t->value[k] || !string[k])
			continue;
		t->value[k] = intern_text(f, b->strings[string[k]].data);
		if (!t->value[k])
			return -ENOMEM;
		t->dirty = true;
	}
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
		struct fold_target *known;

		/* Not interned: it has no series. */
		if (!job->interned || !instance->interned)
			continue;
		known = find_target(f, job->interned, instance->interned);
		if (known) {
			err = fill_target(f, known, b, i);
			continue;
		}
		value[TARGET_JOB] = job->data;
		value[TARGET_INSTANCE] = instance->data;
		value[TARGET_NODE] = b->agent;
#define SET(name, text) value[TARGET_##name] = b->strings[rs->name[i]].data;
		RESOURCE_ATTRIBUTES(SET)
#undef SET
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
