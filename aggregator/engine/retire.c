/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/engine/retire.h"

static int put_agent(struct store *st, struct ledger_agent *a,
		     const uint64_t *epoch, size_t n)
{
	struct ledger_agent after;
	int err;

	ledger_retire_preview(a, epoch, n, &after);
	err = store_put_agent(st, &after);
	for (size_t i = 0; i < n && !err; i++)
		err = store_drop_ledger(st, a->name, epoch[i]);
	return err;
}

int retire_put(struct store *st, struct ledger *l, int64_t before_us,
	       int64_t now_us, struct retirement *out)
{
	int err = 0;

	out->n = out->epochs = 0;
	out->more = false;
	for (size_t i = 0; i < ledger_agents(l) && !err; i++) {
		struct ledger_agent *a = ledger_at(l, i);
		uint64_t *epoch = out->epoch + out->epochs;
		size_t left = RETIRE_EPOCHS - out->epochs;
		size_t n =
			ledger_retirable(l, a, before_us, now_us, epoch, left);

		if (n == 0)
			continue;
		out->more |= n == left || out->n == RETIRE_AGENTS;
		if (out->n == RETIRE_AGENTS)
			break;
		err = put_agent(st, a, epoch, n);
		out->list[out->n].agent = a;
		out->list[out->n].first = out->epochs;
		out->list[out->n++].n = n;
		out->epochs += n;
		if (out->epochs == RETIRE_EPOCHS)
			break;
	}
	return err;
}

size_t retire_done(struct ledger *l, struct retirement *r)
{
	for (size_t i = 0; i < r->n; i++)
		ledger_retire(l, r->list[i].agent, r->epoch + r->list[i].first,
			      r->list[i].n);
	return r->epochs;
}
