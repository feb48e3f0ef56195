/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/feed.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "probe-agent/batch/samples_table.h"
#include "probe-agent/identity/identity.h"
#include "proto/batch.h"

struct feed {
	struct pipeline *pipeline;
	struct outbox *outbox;
	struct batch_arena *arena;
};

int feed_new(struct feed **out, struct pipeline *pipeline,
	     struct outbox *outbox)
{
	struct feed *f = calloc(1, sizeof(*f));
	int err = f ? batch_arena_new(&f->arena) : -ENOMEM;

	if (err) {
		free(f);
		return err;
	}
	f->pipeline = pipeline;
	f->outbox = outbox;
	*out = f;
	return 0;
}

void feed_free(struct feed *f)
{
	if (!f)
		return;
	batch_arena_free(f->arena);
	free(f);
}

/* Adds a batch's samples to those that wait. */
static int merge(struct feed *f, const struct keeper_part *part)
{
	struct samples_table *t = pipeline_samples(f->pipeline);
	const char *reason = "";
	struct batch b;
	int err = batch_decode(f->arena, part->data, part->len, &b, &reason);

	if (err == -ENOMEM)
		return err;
	if (err) {
		log_error("samples of the worker make no sense error=\"%s\"",
			  reason);
		return 0;
	}
	err = samples_table_merge(t, &b, SAMPLES_TOTALS_ADD);
	if (err != -EMSGSIZE)
		return err;
	/* There is no room beside what waits already. */
	pipeline_flush_samples(f->pipeline);
	err = samples_table_merge(t, &b, SAMPLES_TOTALS_ADD);
	if (err == -EMSGSIZE)
		log_error("samples of the worker are too many for a batch");
	return err == -EMSGSIZE ? 0 : err;
}

static int merge_all(struct feed *f, const struct keeper_commit *c)
{
	int err = 0;

	for (size_t i = 0; i < c->n_batches && !err; i++)
		err = merge(f, &c->batch[i]);
	return err;
}

/*
 * With bases, nothing else may be in the same transaction's batches that would
 * be lost with it: what waits goes first, and this one at once.
 */
static int commit_with_bases(struct feed *f, const struct keeper_commit *c)
{
	static const int what[] = {
		[KEEPER_PUT] = OUTBOX_BASE_PUT,
		[KEEPER_DELETE] = OUTBOX_BASE_DELETE,
		[KEEPER_FORGET] = OUTBOX_BASE_FORGET,
	};
	struct outbox_base *base = calloc(c->n_bases, sizeof(*base));
	int err, stored;

	if (!base)
		return -ENOMEM;
	for (size_t i = 0; i < c->n_bases; i++) {
		const struct keeper_base *from = &c->base[i];

		base[i].what = what[from->what];
		base[i].key = from->key;
		base[i].key_len = from->key_len;
		base[i].value = from->value;
		base[i].value_len = from->value_len;
	}
	if (c->n_batches > 0 &&
	    samples_table_pending(pipeline_samples(f->pipeline)))
		pipeline_flush_samples(f->pipeline);
	outbox_hold(f->outbox);
	err = merge_all(f, c);
	if (!err && c->n_batches > 0)
		pipeline_flush_samples(f->pipeline);
	stored = outbox_release(f->outbox, base, c->n_bases);
	if (stored)
		log_error("how far pinned maps were read is not stored "
			  "error=\"%s\"",
			  strerror(-stored));
	free(base);
	return err;
}

int feed_commit(struct feed *f, const struct keeper_commit *c)
{
	return c->n_bases > 0 ? commit_with_bases(f, c) : merge_all(f, c);
}

/* --- names of processes, in the worker's process --- */

/* Start of a process by CLOCK_BOOTTIME; 0: unknown. */
static uint64_t start_ns_of(uint32_t pid)
{
	char path[32], line[1024], *p;
	uint64_t ticks = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%u/stat", pid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	if (fgets(line, sizeof(line), f) && (p = strrchr(line, ')'))) {
		/* Field 22; the name before it may have blanks. */
		for (unsigned field = 2; field < 22 && p; field++)
			p = strchr(p + 1, ' ');
		if (p)
			ticks = strtoull(p + 1, NULL, 10);
	}
	fclose(f);
	return ticks * (UINT64_C(1000000000) / (uint64_t)sysconf(_SC_CLK_TCK));
}

bool feed_name_process(void *cfg, uint32_t pid, const char **service,
		       const char **container)
{
	static struct identity_table *table; /* of this process alone */
	const struct agent_config *c = cfg;
	const struct identity_options opt = {
		.node = c->node,
		.rules = c->services,
		.n_rules = c->services_count,
	};
	struct endpoint end = { .tgid = pid };
	const struct identity *id;

	if (!table && identity_new(&table, &opt))
		return false;
	end.start_ns = start_ns_of(pid);
	if (end.start_ns == 0)
		return false;
	id = identity_lookup(table, &end);
	if (id->gone)
		return false;
	*service = id->service;
	*container = id->container;
	return true;
}
