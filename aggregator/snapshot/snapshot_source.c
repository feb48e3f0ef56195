/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/snapshot/snapshot_source.h"

#include <errno.h>
#include <stdlib.h>

#include "aggregator/fold/fold.h"

int snapshot_source_init(struct snapshot_source *s, struct fold *f,
			 struct ledger *l, struct samples *samples,
			 bool (*ready)(void *arg, char *why, size_t why_bytes),
			 void *arg)
{
	s->order = calloc(fold_views(f) + 1, sizeof(*s->order));
	if (!s->order)
		return -ENOMEM;
	s->fold = f;
	s->ledger = l;
	s->samples = samples;
	s->ready = ready;
	s->arg = arg;
	pthread_mutex_init(&s->mutex, NULL);
	pthread_mutex_init(&s->order_mutex, NULL);
	pthread_cond_init(&s->served, NULL);
	return 0;
}

void snapshot_source_fini(struct snapshot_source *s)
{
	if (!s->order)
		return;
	for (size_t v = 0; v < fold_views(s->fold); v++)
		free(s->order[v].slot);
	free(s->order);
	s->order = NULL;
	pthread_cond_destroy(&s->served);
	pthread_mutex_destroy(&s->order_mutex);
	pthread_mutex_destroy(&s->mutex);
}

void snapshot_source_lock(struct snapshot_source *s)
{
	pthread_mutex_lock(&s->mutex);
}

void snapshot_source_unlock(struct snapshot_source *s)
{
	pthread_mutex_unlock(&s->mutex);
}

/* A mutex alone is not fair. */
void snapshot_source_lock_last(struct snapshot_source *s)
{
	pthread_mutex_lock(&s->mutex);
	while (atomic_load(&s->waiting))
		pthread_cond_wait(&s->served, &s->mutex);
}

uint64_t snapshot_source_oldest(const struct snapshot_source *s)
{
	return s->oldest ? s->oldest->generation : UINT64_MAX;
}
