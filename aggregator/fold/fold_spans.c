/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/fold/fold_state.h"

/* Spans and exemplars: shared with snapshots, copied on write. */

uint64_t fold_share(struct fold *f)
{
	f->newest_shared = f->generation++;
	f->any_shared = true;
	return f->newest_shared;
}

void fold_unshare(struct fold *f, uint64_t oldest)
{
	if (oldest > f->newest_shared)
		f->any_shared = false;
	while (f->retired_head < f->n_retired &&
	       f->retired[f->retired_head].generation < oldest)
		free(f->retired[f->retired_head++].memory);
	if (f->retired_head == f->n_retired)
		f->retired_head = f->n_retired = 0;
}

static int retire(struct fold *f, void *memory)
{
	if (f->n_retired == f->retired_cap) {
		size_t cap = f->retired_cap ? 2 * f->retired_cap : 256;
		void *p = realloc(f->retired, cap * sizeof(*f->retired));

		if (!p)
			return -ENOMEM;
		f->retired = p;
		f->retired_cap = cap;
	}
	f->retired[f->n_retired++] =
		(struct fold_retired){ .memory = memory,
				       .generation = f->newest_shared };
	return 0;
}

/* Replaces *ref by a copy; the old memory is freed after the snapshots. */
static int own(struct fold *f, void **ref, size_t bytes)
{
	void *copy = malloc(bytes);

	if (!copy)
		return -ENOMEM;
	if (retire(f, *ref) < 0) {
		free(copy);
		return -ENOMEM;
	}
	memcpy(copy, *ref, bytes);
	*ref = copy;
	return 0;
}

static bool shared(const struct fold *f, uint64_t generation)
{
	return f->any_shared && generation <= f->newest_shared;
}

int fold_own_span(struct fold *f, struct span **ref)
{
	struct span *s = *ref;
	void *p = s;
	int err = 0;

	if (!s || s->generation == f->generation)
		return 0;
	if (shared(f, s->generation))
		err = own(f, &p, sizeof(*s) + s->n * sizeof(s->count[0]));
	*ref = s = p;
	if (!err)
		s->generation = f->generation;
	return err;
}

int fold_own_exemplars(struct fold *f, struct slowest_exemplars **ref)
{
	struct slowest_exemplars *e = *ref;
	void *p = e;
	int err = 0;

	if (!e || e->generation == f->generation)
		return 0;
	if (shared(f, e->generation))
		err = own(f, &p, sizeof(*e) + e->n * sizeof(e->at[0]));
	*ref = e = p;
	if (!err)
		e->generation = f->generation;
	return err;
}

/* --- counting --- */

static __attribute__((noinline)) int widen(struct fold *f, enum fold_measure m,
					   struct span **ref, unsigned low,
					   unsigned high)
{
	struct span *wide = span_widen(*ref, low, high, fold_cells_of(f, m)->n,
				       f->generation);

	if (!wide)
		return -ENOMEM;
	free(*ref); /* not shared: see fold_own_span() */
	*ref = wide;
	return 0;
}

/* Widens the span at once for all n events. */
static __attribute__((noinline)) int
widen_for(struct fold *f, enum fold_measure m, struct span **ref,
	  const struct fold_counted *e, size_t n)
{
	unsigned low = e->cell[m], high = low;

	for (size_t i = 1; i < n; i++) {
		if (e[i].cell[m] < low)
			low = e[i].cell[m];
		if (e[i].cell[m] > high)
			high = e[i].cell[m];
	}
	return widen(f, m, ref, low, high);
}

int fold_add(struct fold *f, enum fold_measure m, struct span **ref,
	     unsigned cell, uint64_t count)
{
	const struct span *s = *ref;
	int err = 0;

	if (!s || cell - s->first >= s->n)
		err = widen(f, m, ref, cell, cell);
	if (!err)
		(*ref)->count[cell - (*ref)->first] += count;
	return err;
}

int fold_add_window_cell(struct fold *f, struct span **ref, unsigned cell)
{
	struct span *s = *ref;

	if (!s || cell - s->first >= s->n)
		return fold_add(f, MEASURE_DURATION, ref, cell, 1);
	s->count[cell - s->first]++;
	return 0;
}

int fold_add_cell(struct fold *f, struct span **ref, unsigned cell)
{
	int err = fold_own_span(f, ref);

	return err < 0 ? err : fold_add_window_cell(f, ref, cell);
}

int fold_add_events(struct fold *f, enum fold_measure m, struct span **ref,
		    const struct fold_counted *e, size_t n)
{
	struct span *s = *ref;
	unsigned first = s ? s->first : 0, cells = s ? s->n : 0;

#pragma GCC unroll 4
	for (size_t i = 0; i < n; i++) {
		unsigned at = e[i].cell[m] - first;

		if (__builtin_expect(at >= cells, 0)) {
			int err = widen_for(f, m, ref, e + i, n - i);

			if (err < 0)
				return err;
			s = *ref;
			first = s->first;
			cells = s->n;
			at = e[i].cell[m] - first;
		}
		s->count[at]++;
	}
	return 0;
}

int fold_add_durations(struct fold *f, struct span **a, struct span **b,
		       const struct fold_counted *e, size_t n)
{
	struct span *x = *a, *y = *b;
	unsigned x_first = x ? x->first : 0, x_cells = x ? x->n : 0;
	unsigned y_first = y ? y->first : 0, y_cells = y ? y->n : 0;

	for (size_t i = 0; i < n; i++) {
		unsigned cell = e[i].cell[MEASURE_DURATION];

		if (__builtin_expect(cell - x_first >= x_cells ||
					     cell - y_first >= y_cells,
				     0)) {
			int err = 0;

			if (cell - x_first >= x_cells)
				err = widen_for(f, MEASURE_DURATION, a, e + i,
						n - i);
			if (!err && cell - y_first >= y_cells)
				err = widen_for(f, MEASURE_DURATION, b, e + i,
						n - i);
			if (err < 0)
				return err;
			x = *a;
			y = *b;
			x_first = x->first;
			x_cells = x->n;
			y_first = y->first;
			y_cells = y->n;
		}
		x->count[cell - x_first]++;
		y->count[cell - y_first]++;
	}
	return 0;
}
