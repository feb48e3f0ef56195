/* SPDX-License-Identifier: Apache-2.0 */
#include "common/checksum.h"

#include <endian.h>
#include <string.h>

#define LANES 4u /* a step waits for the one before it in its lane only */

static uint64_t word_at(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, 8);
	return le64toh(v);
}

uint64_t checksum_bytes(uint64_t sum, const void *data, size_t len)
{
	uint64_t lane[LANES] = { 1, 2, 3, 4 };
	const uint8_t *p = data;
	size_t left = len;
	uint8_t last[8] = { 0 };

	for (; left >= 8 * LANES; left -= 8 * LANES)
		for (unsigned i = 0; i < LANES; i++, p += 8)
			lane[i] = checksum_u64(lane[i], word_at(p));
	for (unsigned i = 0; i < LANES; i++)
		sum = checksum_u64(sum, lane[i]);
	for (; left >= 8; left -= 8, p += 8)
		sum = checksum_u64(sum, word_at(p));
	if (left > 0)
		memcpy(last, p, left);
	sum = checksum_u64(sum, word_at(last));
	return checksum_u64(sum, len);
}
