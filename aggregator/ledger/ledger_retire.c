/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <stdlib.h>

#include "aggregator/ledger/ledger_state.h"

/* What decides about one epoch. */
struct candidate {
	uint64_t epoch;
	int64_t heard_us;
};

static int by_silence(const void *pa, const void *pb)
{
	const struct candidate *a = pa, *b = pb;

	if (a->heard_us != b->heard_us)
		return a->heard_us < b->heard_us ? -1 : 1;
	return (a->epoch > b->epoch) - (a->epoch < b->epoch);
}

size_t ledger_retirable(const struct ledger *l, const struct ledger_agent *a,
			int64_t before_us, int64_t now_us, uint64_t *epochs,
			size_t max)
{
	size_t kept = ledger_is_crowded(l) ? 2 : LEDGER_EPOCHS_KEPT;
	size_t most = ledger_is_crowded(l) ? 2 : LEDGER_EPOCHS_MAX;
	struct candidate *c;
	size_t n = 0, out = 0;

	if (a->n_epochs <= kept)
		return 0;
	c = malloc(a->n_epochs * sizeof(*c));
	if (!c)
		return 0; /* another turn will do */
	for (const struct ledger_epoch *e = a->newest; e; e = e->older)
		c[n++] = (struct candidate){ e->epoch, e->heard_us };
	qsort(c, n, sizeof(*c), by_silence);
	/* The newest decides about conflicts, so it stays. */
	for (size_t i = 0; i + kept < n && out < max; i++)
		if (c[i].epoch != a->newest->epoch &&
		    (c[i].heard_us < before_us ||
		     (i + most < n &&
		      c[i].heard_us < now_us - LEDGER_ALIVE_US)))
			epochs[out++] = c[i].epoch;
	free(c);
	return out;
}

/* Adds the epoch to what the agent keeps of retired ones. */
static void retire_into(struct ledger_agent *to, const struct ledger_epoch *e)
{
	ledger_totals_add(&to->retired, &e->committed.totals);
	if (e->epoch > to->retired_epoch)
		to->retired_epoch = e->epoch;
	if (e->heard_us > to->retired_seen_us)
		to->retired_seen_us = e->heard_us;
}

void ledger_retire_preview(const struct ledger_agent *a, const uint64_t *epochs,
			   size_t n, struct ledger_agent *out)
{
	*out = *a;
	for (size_t i = 0; i < n; i++) {
		const struct ledger_epoch *e = ledger_epoch_find(a, epochs[i]);

		assert(e);
		retire_into(out, e);
	}
}

void ledger_retire(struct ledger *l, struct ledger_agent *a,
		   const uint64_t *epochs, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct ledger_epoch **at = &a->newest, *e;

		while ((*at)->epoch != epochs[i])
			at = &(*at)->older;
		e = *at;
		assert(!e->dirty);
		retire_into(a, e);
		*at = e->older;
		a->n_epochs--;
		l->n_epochs--;
		free(e);
	}
}
