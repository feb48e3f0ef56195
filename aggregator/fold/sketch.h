/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_FOLD_SKETCH_H
#define AGGREGATOR_FOLD_SKETCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * HyperLogLog (Flajolet et al. 2007): how many different hashes were added, in
 * 1 << bits bytes, to some 1.04 / sqrt(1 << bits): 3 % of 10 bits, 7 % of 8.
 * The caller's memory, zero at start. Pure.
 */
/* True: the estimate changes. */
bool sketch_add(uint8_t *sketch, unsigned bits, uint64_t hash);
uint64_t sketch_estimate(const uint8_t *sketch, unsigned bits);

#endif /* AGGREGATOR_FOLD_SKETCH_H */
