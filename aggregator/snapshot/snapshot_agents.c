/* SPDX-License-Identifier: Apache-2.0 */
/* What a snapshot says of each agent. */
#include <errno.h>
#include <string.h>

#include "aggregator/ledger/ledger.h"
#include "aggregator/snapshot/snapshot_state.h"
#include "common/clock.h"
#include "common/sums.h"
#include "proto/limits.h"

#define UP_US ((int64_t)3 * HEARTBEAT_MS * 1000)

/* Subtracts late losses from dropped: gap_requests shows them already. */
static void take_off(uint64_t *dropped, uint64_t *late)
{
	uint64_t n = *late < *dropped ? *late : *dropped;

	*dropped -= n;
	*late -= n;
}

static void sum_epochs(const struct ledger_agent *a, struct snapshot_agent *out)
{
	struct ledger_totals sum = a->retired;
	const struct ledger_state *last = NULL;

	for (const struct ledger_epoch *e = a->newest; e; e = e->older) {
		ledger_totals_add(&sum, &e->committed.totals);
		if (!last || e->committed.seen_us > last->seen_us)
			last = &e->committed;
	}
	if (last) {
		out->last_seen_us = last->seen_us;
		out->skew_us = last->skew_us;
		out->up = clock_real_us() - last->seen_us < UP_US;
		if (out->up) {
			memcpy(out->gauges, last->totals.gauges,
			       sizeof(out->gauges));
			memcpy(out->gaps, last->totals.gaps, sizeof(out->gaps));
		}
	}
	/* An expired batch's requests were captured, but no epoch says so. */
	out->captured = sums_add(sum.captured, sum.expired_requests);
	out->counted = sum.counted;
	out->rolled_up = sum.rolled_up;
	memcpy(out->dropped, sum.dropped, sizeof(out->dropped));
	memcpy(out->counters, sum.counters, sizeof(out->counters));
	take_off(&out->dropped[LOSS_OUTBOX], &sum.told_late);
	take_off(&out->dropped[LOSS_REFUSED], &sum.told_late);
	out->samples_read = sum.samples_read;
	out->samples_counted = sum.samples_counted;
	memcpy(out->samples_dropped, sum.samples_dropped,
	       sizeof(out->samples_dropped));
	take_off(&out->dropped[LOSS_STOPPED], &sum.told_late);
	out->dropped_sequence_gap = sum.gap_requests;
	out->dropped_expired = sum.expired_requests;
	out->batches = sum.batches;
	out->duplicates = sum.duplicates;
	out->refused = sum.refused;
	out->conflicts = sum.conflicts;
}

static void copy_health(const struct ledger_health *h,
			struct snapshot_agent *out)
{
	out->told = h->told;
	out->outbox_bytes = h->outbox_bytes;
	out->outbox_batches = h->outbox_batches;
	out->oldest_us = h->oldest_us;
	out->acknowledged_us = h->acknowledged_us;
	out->certificate_us = h->certificate_us;
}

/* What the agent says about itself is shared, not copied. */
static void copy_agent(struct snapshot_taken *t, const struct ledger_agent *a,
		       struct snapshot_agent *out)
{
	out->version = out->kernel = out->capture = "";
	if (a->info) {
		const struct batch_info *said = &a->info->said;

		t->info[t->n_info++] = ledger_info_hold(a->info);
		out->version = said->version;
		out->kernel = said->kernel;
		out->capture = said->capture;
		out->n_probes = said->n_probes;
		out->probes = said->probes;
		out->probe_attached = said->probe_attached;
	}
	out->runs = a->runs;
	copy_health(&a->health, out);
	sum_epochs(a, out);
}

/*
 * An agent without any committed batch is not shown yet, one that has been
 * silent for long not any more.
 */
static bool is_shown(const struct snapshot_source *src,
		     const struct ledger_agent *a, int64_t now_us)
{
	int64_t idle_us = (int64_t)atomic_load(&src->agent_idle_s) * 1000000;
	int64_t seen_us = ledger_agent_seen_us(a);

	if (seen_us == 0)
		return a->retired_epoch != 0;
	return idle_us == 0 || now_us - seen_us <= idle_us;
}

int snapshot_copy_agents(struct snapshot_taken *t, struct snapshot_source *src)
{
	const struct ledger *l = src->ledger;
	size_t n = ledger_agents(l), bytes = 0;
	int64_t now_us = clock_real_us();
	char *names;

	for (size_t i = 0; i < n; i++)
		bytes += strlen(ledger_at(l, i)->name) + 1;
	t->agents = snapshot_memory(t, n, sizeof(*t->agents));
	t->info = snapshot_memory(t, n, sizeof(struct ledger_info *));
	names = snapshot_memory(t, bytes, 1);
	if (!t->agents || !t->info || !names)
		return -ENOMEM;
	t->pub.agents = t->agents;
	for (size_t i = 0; i < n; i++) {
		const struct ledger_agent *a = ledger_at(l, i);
		struct snapshot_agent *out = &t->agents[t->pub.n_agents];

		if (!is_shown(src, a, now_us))
			continue;
		t->pub.n_agents++;
		out->node = names;
		names = stpcpy(names, a->name) + 1;
		copy_agent(t, a, out);
	}
	return 0;
}
