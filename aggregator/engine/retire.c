/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/engine/retire.h"

static int put_agent(struct store *st, struct ledger_agent *a, size_t n)
{
	uint64_t epoch[RETIRE_EPOCHS];
	struct ledger_agent after;
	int err;

	ledger_retire_preview(a, n, &after, epoch);
	err = store_put_agent(st, &after);
	for (size_t i = 0; i < n && !err; i++)
		err = store_drop_ledger(st, a->name, epoch[i]);
	return err;
}

int retire_put(struct store *st, struct ledger *l, int64_t before_us,
	       struct retirement *out)
{
	int err = 0;

	*out = (struct retirement){ .n = 0 };
	for (size_t i = 0; i < ledger_agents(l) && !err; i++) {
		struct ledger_agent *a = ledger_at(l, i);
		size_t left = RETIRE_EPOCHS - out->epochs;
		size_t n = a->n_epochs > LEDGER_EPOCHS_KEPT
				   ? ledger_retirable(a, before_us)
				   : 0;

		if (n == 0)
			continue;
		if (out->n == RETIRE_AGENTS || n > left)
			out->more = true;
		if (out->n == RETIRE_AGENTS || left == 0)
			break;
		n = n < left ? n : left;
		err = put_agent(st, a, n);
		out->list[out->n].agent = a;
		out->list[out->n++].n = n;
		out->epochs += n;
	}
	return err;
}

size_t retire_done(struct retirement *r)
{
	for (size_t i = 0; i < r->n; i++)
		ledger_retire(r->list[i].agent, r->list[i].n);
	return r->epochs;
}
