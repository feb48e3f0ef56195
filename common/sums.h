/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_SUMS_H
#define COMMON_SUMS_H

#include <stdint.h>

/*
 * Sums that stop at their maximum instead of going back. The maximum is the
 * greatest integer of SQLite, so a stored sum is never read back as negative.
 */
#define SUMS_MAX ((uint64_t)INT64_MAX)

/* Returns a + b, but at most SUMS_MAX. Neither may be greater than that. */
static inline uint64_t sums_add(uint64_t a, uint64_t b)
{
	uint64_t sum = a + b;

	return sum < SUMS_MAX ? sum : SUMS_MAX;
}

#endif /* COMMON_SUMS_H */
