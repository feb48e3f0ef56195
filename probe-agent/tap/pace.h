/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_TAP_PACE_H
#define PROBE_AGENT_TAP_PACE_H

#include <stdint.h>

/*
 * How long to wait before the kernel's ring is drained again. A drain costs a
 * wake-up and finds the caches cold, so there are as few as the ring allows.
 * Pure.
 */

/*
 * The wait while fewer bytes come than PACE_QUIET_BYTES_PER_S. A process is
 * identified when its first record is read; a short-lived one would be gone
 * later.
 */
#define PACE_QUIET_NS UINT64_C(5000000)
#define PACE_QUIET_BYTES_PER_S (UINT64_C(8) << 20)
/* The longest wait. */
#define PACE_MOST_NS UINT64_C(20000000)
/*
 * The wait is shorter if the ring would not hold a burst at this rate: 4 MiB
 * hold it for 20 ms.
 */
#define PACE_BURST_BYTES_PER_S (UINT64_C(4) * 50 << 20)

/*
 * Time from the start of one drain to that of the next, if that many bytes came
 * in the last ns nanoseconds: at that rate, at most a quarter of the ring is
 * filled.
 */
uint64_t pace_ns(uint64_t bytes, uint64_t ns, uint32_t ring_bytes);

#endif /* PROBE_AGENT_TAP_PACE_H */
