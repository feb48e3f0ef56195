/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/fold/slowest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TRACE_BYTES 24u

/*
 * If there are more than SLOWEST_GROUPS, the highest ones share the last group,
 * and some of their buckets may then lack an exemplar.
 */
static void make_groups(struct slowest *s, const struct cells *cells,
			const struct views *views)
{
	uint64_t before = 0;
	unsigned group = 0;

	for (size_t c = 0; c < cells->n; c++) {
		bool first = false;

		for (size_t v = 0; v < views->n && c > 0; v++) {
			const struct view *view = &views->view[v];

			if (view->kind != VIEW_HISTOGRAM ||
			    view->source != VIEW_DURATION)
				continue;
			for (size_t i = 0; i < view->n_bounds; i++)
				first |= view->bounds[i] == before;
		}
		if (first && group + 1 < SLOWEST_GROUPS)
			group++;
		s->group[c] = (uint8_t)group;
		before = cells->upper[c];
	}
	s->n_groups = group + 1;
}

static uint8_t find_bucket(const struct view *v, uint64_t value)
{
	uint8_t b = 0;

	while (b < v->n_bounds && value > v->bounds[b])
		b++;
	return b;
}

/*
 * A group lies in one bucket of each view, except the last: see make_groups().
 */
static void make_buckets(struct slowest *s, const struct cells *cells)
{
	for (size_t v = 0; v < s->views->n; v++)
		for (size_t c = 0; c < cells->n; c++)
			s->bucket[v][s->group[c]] = find_bucket(
				&s->views->view[v], cells->upper[c]);
}

static inline uint8_t bucket_of(const struct slowest *s, size_t v,
				unsigned group, uint64_t value)
{
	if (__builtin_expect(group + 1 == SLOWEST_GROUPS, 0))
		return find_bucket(&s->views->view[v], value);
	return s->bucket[v][group];
}

int slowest_new(struct slowest **out, const struct cells *cells,
		const struct views *views)
{
	struct slowest *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->views = views;
	s->group = calloc(cells->n, sizeof(*s->group));
	s->bucket = calloc(views->n + 1, sizeof(*s->bucket));
	if (!s->group || !s->bucket) {
		slowest_free(s);
		return -ENOMEM;
	}
	make_groups(s, cells, views);
	make_buckets(s, cells);
	*out = s;
	return 0;
}

void slowest_free(struct slowest *s)
{
	if (!s)
		return;
	free(s->group);
	free(s->bucket);
	free(s);
}

static unsigned group_of(const struct slowest_pick *b)
{
	return (unsigned)(b->word >> 58);
}

static uint64_t value_of(const struct slowest_pick *b)
{
	return b->word << 6 >> 22;
}

/*
 * Whether an event becomes the exemplar of `bucket`. Advances *i to the place
 * of the bucket in e; callers ask in ascending order of buckets.
 */
static bool wins(const struct slowest_exemplars *e, uint32_t *i,
		 uint32_t bucket, uint64_t value, uint64_t generation)
{
	while (e && *i < e->n && e->at[*i].bucket < bucket)
		++*i;
	return !e || *i == e->n || e->at[*i].bucket != bucket ||
	       e->at[*i].generation != generation || value > e->at[*i].value;
}

bool slowest_wins(const struct slowest *s, const struct slowest_row *r,
		  size_t v, uint64_t generation,
		  const struct slowest_exemplars *e)
{
	uint32_t i = 0;

	for (size_t k = 0; k < r->n; k++) {
		uint64_t value = value_of(&r->best[k]);

		if (wins(e, &i, bucket_of(s, v, group_of(&r->best[k]), value),
			 value, generation))
			return true;
	}
	return false;
}

static void set_trace(const struct slowest_traces *t, uint32_t event,
		      struct exemplar *out)
{
	size_t low = 0, high = t->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (t->event[mid] < event)
			low = mid + 1;
		else
			high = mid;
	}
	if (low < t->n && t->event[low] == event)
		memcpy(out->trace, t->ids + low * TRACE_BYTES, TRACE_BYTES);
}

/* Inserts an exemplar at i, unless the one there has this bucket already. */
static int make_room(struct slowest_exemplars **ref, uint32_t i,
		     uint32_t bucket)
{
	struct slowest_exemplars *e = *ref;
	uint32_t n = e ? e->n : 0;

	if (i < n && e->at[i].bucket == bucket)
		return 0;
	e = realloc(e, sizeof(*e) + (n + 1) * sizeof(e->at[0]));
	if (!e)
		return -ENOMEM;
	if (!*ref)
		e->generation = 0;
	*ref = e;
	memmove(&e->at[i + 1], &e->at[i], (n - i) * sizeof(e->at[0]));
	e->n = n + 1;
	return 0;
}

int slowest_merge(const struct slowest *s, const struct slowest_row *r,
		  size_t v, uint64_t log_id, uint64_t generation,
		  struct slowest_exemplars **ref)
{
	uint32_t i = 0;

	for (size_t k = 0; k < r->n; k++) {
		const struct slowest_pick *b = &r->best[k];
		uint64_t value = value_of(b);
		uint32_t event = b->word & 0xffff;
		uint32_t bucket = bucket_of(s, v, group_of(b), value);

		if (!wins(*ref, &i, bucket, value, generation))
			continue;
		if (make_room(ref, i, bucket) < 0)
			return -ENOMEM;
		(*ref)->at[i] = (struct exemplar){
			.bucket = bucket,
			.value = value,
			.time_us = b->end_us,
			.log_id = log_id,
			.event = event,
			.generation = generation,
		};
		set_trace(r->traces, event, &(*ref)->at[i]);
	}
	return 0;
}
