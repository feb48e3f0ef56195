/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_CLOCK_H
#define COMMON_CLOCK_H

#include <stdint.h>

/* The clocks as integers. None of these fails. Any thread. */

#define CLOCK_NS_PER_US UINT64_C(1000)
#define CLOCK_NS_PER_MS UINT64_C(1000000)
#define CLOCK_NS_PER_S UINT64_C(1000000000)

uint64_t clock_mono_ns(void); /* CLOCK_MONOTONIC, as bpf_ktime_get_ns() */
uint64_t clock_boot_ns(void); /* CLOCK_BOOTTIME, as process start times */
int64_t clock_real_ns(void); /* wall clock since 1970 */
int64_t clock_real_us(void);
/*
 * The wall clock as it was at the process's first call of this, and from there
 * on by CLOCK_BOOTTIME: it never jumps, whoever sets the wall clock.
 */
int64_t clock_steady_us(void);

#endif /* COMMON_CLOCK_H */
