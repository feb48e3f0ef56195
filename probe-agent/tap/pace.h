/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_TAP_PACE_H
#define PROBE_AGENT_TAP_PACE_H

#include <stdint.h>

/*
 * How long the kernel's ring is left alone. A turn costs what waking up costs,
 * and finds the caches cold: so there are as few as the ring allows. Pure.
 */

/*
 * While less than that comes: who has a new connection is looked up when its
 * first record is read, and may soon be gone.
 */
#define PACE_QUIET_NS UINT64_C(5000000)
#define PACE_QUIET_BYTES_PER_S (UINT64_C(8) << 20)
/*
 * The longest; shorter for a ring of which a burst of so much would not fit:
 * 4 MiB hold it for 20 ms.
 */
#define PACE_MOST_NS UINT64_C(20000000)
#define PACE_BURST_BYTES_PER_S (UINT64_C(4) * 50 << 20)

/*
 * From the beginning of one turn to that of the next, if so many bytes came in
 * the ns before: a quarter of the ring at that rate, at most.
 */
uint64_t pace_ns(uint64_t bytes, uint64_t ns, uint32_t ring_bytes);

#endif /* PROBE_AGENT_TAP_PACE_H */
