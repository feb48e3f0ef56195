/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/engine/gather.h"

#include "common/clock.h"
#include "proto/limits.h"

/* Of the engine's time: above, agents gather longer; below, less long again. */
#define BUSY_HIGH_PERCENT 75u
#define BUSY_LOW_PERCENT 50u
/* Larger ones on average are paid by their requests. */
#define SMALL_BYTES 4096u
#define AGENTS_PER_MS 50u /* agents that make a pause 1 ms longer */

void gather_note(struct gather *g, uint64_t busy_ns, size_t messages,
		 size_t bytes)
{
	g->busy_ns += busy_ns;
	g->messages += messages;
	g->bytes += bytes;
}

/*
 * A quarter longer or a tenth shorter per interval: an agent hears of it with
 * its next batch only, so the load follows late.
 */
static uint32_t by_load(const struct gather *g, uint64_t passed_ns)
{
	uint64_t busy_percent = g->busy_ns * 100 / passed_ns;
	uint32_t ms = g->by_load_ms;

	if (busy_percent > BUSY_HIGH_PERCENT &&
	    g->bytes < g->messages * SMALL_BYTES)
		return ms ? ms + ms / 4 : BATCH_FLUSH_MS + BATCH_FLUSH_MS / 4;
	if (busy_percent < BUSY_LOW_PERCENT)
		ms -= ms / 10;
	return ms > BATCH_FLUSH_MS ? ms : 0;
}

static uint32_t least(uint64_t a, uint32_t b)
{
	return a < b ? (uint32_t)a : b;
}

uint32_t gather_decide(struct gather *g, const struct gather_limits *limits,
		       size_t agents, uint64_t now_ns)
{
	uint64_t passed = now_ns - g->since_ns, by_number;

	if (passed < GATHER_INTERVAL_MS * CLOCK_NS_PER_MS)
		return g->ms;
	if (g->since_ns > 0)
		g->by_load_ms = least(by_load(g, passed), limits->max_ms);
	by_number = (uint64_t)agents * 1000 / limits->batches_per_s;
	g->ms = least(by_number, limits->max_ms);
	if (g->by_load_ms > g->ms)
		g->ms = g->by_load_ms;
	if (g->ms <= BATCH_FLUSH_MS)
		g->ms = 0;
	g->since_ns = now_ns;
	g->busy_ns = g->messages = g->bytes = 0;
	return g->ms;
}

uint64_t gather_pause_ns(uint64_t commit_ns, size_t agents, uint64_t most_ns)
{
	uint64_t pause_ns = 3 * commit_ns;
	uint64_t crowd_ns = agents * CLOCK_NS_PER_MS / AGENTS_PER_MS;

	if (pause_ns < crowd_ns)
		pause_ns = crowd_ns;
	return pause_ns < most_ns ? pause_ns : most_ns;
}
