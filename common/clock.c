/* SPDX-License-Identifier: Apache-2.0 */
#include "common/clock.h"

#include <pthread.h>
#include <time.h>

static uint64_t read_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * CLOCK_NS_PER_S + (uint64_t)ts.tv_nsec;
}

uint64_t clock_mono_ns(void)
{
	return read_ns(CLOCK_MONOTONIC);
}

uint64_t clock_boot_ns(void)
{
	return read_ns(CLOCK_BOOTTIME);
}

uint64_t clock_thread_ns(void)
{
	return read_ns(CLOCK_THREAD_CPUTIME_ID);
}

int64_t clock_real_ns(void)
{
	return (int64_t)read_ns(CLOCK_REALTIME);
}

int64_t clock_real_us(void)
{
	return clock_real_ns() / (int64_t)CLOCK_NS_PER_US;
}

static int64_t real_minus_boot_us;

static int64_t boot_us(void)
{
	return (int64_t)(clock_boot_ns() / CLOCK_NS_PER_US);
}

static void start_steady(void)
{
	real_minus_boot_us = clock_real_us() - boot_us();
}

int64_t clock_steady_us(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, start_steady);
	return boot_us() + real_minus_boot_us;
}
