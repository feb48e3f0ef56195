/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/series/sketch.h"

#include <math.h>

#define RANKS 48 /* above this, 2^-rank is negligible */

bool sketch_add(uint8_t *sketch, unsigned bits, uint64_t hash)
{
	uint64_t rest = hash << bits | UINT64_C(1) << (bits - 1);
	uint8_t rank = (uint8_t)(__builtin_clzll(rest) + 1);
	uint8_t *reg = &sketch[hash >> (64 - bits)];

	if (*reg >= rank)
		return false;
	*reg = rank;
	return true;
}

uint64_t sketch_estimate(const uint8_t *sketch, unsigned bits)
{
	const double m = (double)(1u << bits);
	uint64_t sum = 0; /* of all 2^-rank, in units of 2^-RANKS */
	unsigned zeros = 0;
	double estimate;

	for (size_t i = 0; i < 1u << bits; i++) {
		if (sketch[i] <= RANKS)
			sum += UINT64_C(1) << (RANKS - sketch[i]);
		zeros += sketch[i] == 0;
	}
	/* For small counts the number of empty registers tells more. */
	estimate =
		0.7213 / (1 + 1.079 / m) * m * m / ldexp((double)sum, -RANKS);
	if (estimate <= 2.5 * m && zeros)
		estimate = m * log(m / zeros);
	return (uint64_t)(estimate + 0.5);
}
