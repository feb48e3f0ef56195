/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/tap/pace.h"

#include "common/clock.h"

/* Time until so_many bytes have come, if came bytes come in ns. */
static uint64_t until(uint64_t so_many, uint64_t came, uint64_t ns)
{
	return (uint64_t)((__uint128_t)ns * so_many / came);
}

uint64_t pace_ns(uint64_t bytes, uint64_t ns, uint32_t ring_bytes)
{
	uint64_t most =
		until(ring_bytes, PACE_BURST_BYTES_PER_S, CLOCK_NS_PER_S);
	uint64_t quarter;

	if (most > PACE_MOST_NS)
		most = PACE_MOST_NS;
	if (most < PACE_QUIET_NS ||
	    bytes <= until(PACE_QUIET_BYTES_PER_S, CLOCK_NS_PER_S, ns))
		most = PACE_QUIET_NS;
	if (bytes == 0)
		return most;
	quarter = until(ring_bytes / 4, bytes, ns);
	return quarter < most ? quarter : most;
}
