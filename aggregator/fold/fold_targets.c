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

static bool target_known(const struct fold *f, const struct interned *job,
			 const struct interned *instance)
{
	size_t at = target_hash(job, instance);
	uint32_t i;

	while (hash_index_next(&f->target_index, &at, &i)) {
		const struct fold_target *t = &f->target[i];

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
	hash_index_put(&f->target_index, hash_at(f, (uint32_t)f->n_targets),
		       (uint32_t)f->n_targets);
	f->n_targets++;
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
