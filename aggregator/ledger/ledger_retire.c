/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/ledger/ledger.h"

#include <assert.h>
#include <stdlib.h>

size_t ledger_retirable(const struct ledger_agent *a, int64_t before_us)
{
	size_t i = 0, n = 0; /* n: retirable without a gap, to the lowest */

	for (const struct ledger_epoch *e = a->newest; e; e = e->older, i++) {
		if (i >= LEDGER_EPOCHS_MAX ||
		    (i >= LEDGER_EPOCHS_KEPT &&
		     e->committed.seen_us < before_us))
			n++;
		else
			n = 0;
	}
	return n;
}

/* Returns the link to the highest of the n lowest epochs. */
static struct ledger_epoch **tail(struct ledger_agent *a, size_t n)
{
	struct ledger_epoch **at = &a->newest;

	assert(n < a->n_epochs);
	for (size_t i = a->n_epochs - n; i > 0; i--)
		at = &(*at)->older;
	return at;
}

void ledger_retire_preview(const struct ledger_agent *a, size_t n,
			   struct ledger_agent *out, uint64_t *epochs)
{
	const struct ledger_epoch *e = a->newest;

	*out = *a;
	for (size_t i = a->n_epochs - n; i > 0; i--)
		e = e->older;
	for (; e; e = e->older) {
		ledger_totals_add(&out->retired, &e->committed.totals);
		if (e->epoch > out->retired_epoch)
			out->retired_epoch = e->epoch;
		*epochs++ = e->epoch;
	}
}

void ledger_retire(struct ledger_agent *a, size_t n)
{
	struct ledger_epoch **at = tail(a, n);

	while (*at) {
		struct ledger_epoch *e = *at;

		assert(!e->dirty);
		ledger_totals_add(&a->retired, &e->committed.totals);
		if (e->epoch > a->retired_epoch)
			a->retired_epoch = e->epoch;
		*at = e->older;
		a->n_epochs--;
		free(e);
	}
}
