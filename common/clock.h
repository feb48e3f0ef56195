/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_CLOCK_H
#define COMMON_CLOCK_H

#include <stdint.h>

/* Reads clocks as integers. None of these can fail. Any thread. */

#define CLOCK_NS_PER_US UINT64_C(1000)
#define CLOCK_NS_PER_MS UINT64_C(1000000)
#define CLOCK_NS_PER_S UINT64_C(1000000000)

uint64_t clock_mono_ns(void); /* CLOCK_MONOTONIC, as bpf_ktime_get_ns() */
uint64_t clock_boot_ns(void); /* CLOCK_BOOTTIME, as process start times */
uint64_t clock_thread_ns(void); /* CPU time of the calling thread */
int64_t clock_real_ns(void); /* wall clock since 1970 */
int64_t clock_real_us(void);
/*
 * The wall clock at the first call in this process, plus what CLOCK_BOOTTIME
 * has advanced since. Never jumps, even if the wall clock is set.
 */
int64_t clock_steady_us(void);

#endif /* COMMON_CLOCK_H */
