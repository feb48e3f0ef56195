/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/sketch.h"

#include <math.h>

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
	double sum = 0, estimate;
	unsigned zeros = 0;

	for (size_t i = 0; i < 1u << bits; i++) {
		sum += ldexp(1, -sketch[i]);
		zeros += sketch[i] == 0;
	}
	/* Small counts are better told by empty cells. */
	estimate = 0.7213 / (1 + 1.079 / m) * m * m / sum;
	if (estimate <= 2.5 * m && zeros)
		estimate = m * log(m / zeros);
	return (uint64_t)(estimate + 0.5);
}
