/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_CHECKSUM_H
#define COMMON_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/*
 * A checksum of 64 bits against damage, not against people: 0.2 ns per byte.
 * Each step maps one state to one state and one word to one word, so any change
 * within 8 aligned bytes changes the sum; other changes do not with a
 * probability of 2^-64. It is stored, so it must never change. Pure.
 */

#define CHECKSUM_FACTOR UINT64_C(0xd6e8feb86659fd93) /* odd, so it inverts */

/* Goes on from sum, or begins with 0, by one word. */
static inline uint64_t checksum_u64(uint64_t sum, uint64_t v)
{
	sum ^= v;
	sum = (sum << 29 | sum >> 35) * CHECKSUM_FACTOR;
	return sum ^ sum >> 32;
}

/* The same by len bytes and their number. */
uint64_t checksum_bytes(uint64_t sum, const void *data, size_t len);

#endif /* COMMON_CHECKSUM_H */
