/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/engine/engine_state.h"
#include "common/clock.h"
#include "common/log.h"

/*
 * The log is the truth about which batches were counted. The ledger keeps only
 * the last number of each start, so whoever makes it believe a number that the
 * agent has not reached yet makes the agent's next batches look like
 * duplicates. Then the log decides.
 */

#define MEND_AGAIN_MS 1000u /* a look into the log reads all of its rows */
/* A batch may have been received this much before the time of its requests. */
#define CLOCKS_DIFFER_US (60 * INT64_C(1000000))

enum engine_mended engine_mend(struct engine *e, const struct engine_item *it)
{
	const struct batch *b = &it->batch;
	struct store_trail trail = {
		.agent = b->agent,
		.epoch = b->epoch,
		.first = b->first_sequence ? b->first_sequence : b->sequence,
		.last = b->sequence,
		.data = it->data,
		.len = it->len,
	};
	uint64_t now_ns = clock_mono_ns();

	if (now_ns < e->next_mend_ns || !it->row)
		return ENGINE_UNKNOWN;
	e->next_mend_ns = now_ns + ms_ns(MEND_AGAIN_MS);
	/* A number of this group is not in the log yet. */
	if (it->row->dirty &&
	    it->row->pending.sequence != it->row->committed.sequence)
		return ENGINE_UNKNOWN;
	if (store_trail(e->store, &trail) < 0)
		return ENGINE_UNKNOWN;
	if (trail.same)
		return ENGINE_COUNTED;
	/* What the log had before its oldest batch is unknown. */
	if (trail.any ||
	    (!trail.whole && b->base_us < trail.oldest_us + CLOCKS_DIFFER_US))
		return ENGINE_UNKNOWN;
	log_warn("ledger mended from the log: numbers of this agent were used "
		 "by another sender agent=%s sequence=%llu logged=%llu",
		 b->agent, (unsigned long long)it->row->pending.sequence,
		 (unsigned long long)trail.before);
	e->pending.mended++;
	ledger_mend(e->ledger, it->row, trail.before);
	return ENGINE_MENDED;
}
