/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_SERIES_SKETCH_H
#define AGGREGATOR_SERIES_SKETCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * HyperLogLog (Flajolet et al. 2007): estimates the number of distinct hashes
 * added. A sketch is 1 << bits bytes of the caller's memory, zero at the start.
 * Its standard error is about 1.04 / sqrt(1 << bits): 3 % for 10 bits, 7 % for
 * 8 bits. Pure.
 */
/* Returns true if this changed the sketch, and with it the estimate. */
bool sketch_add(uint8_t *sketch, unsigned bits, uint64_t hash);
uint64_t sketch_estimate(const uint8_t *sketch, unsigned bits);

#endif /* AGGREGATOR_SERIES_SKETCH_H */
