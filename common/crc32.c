/* SPDX-License-Identifier: Apache-2.0 */
#include "common/crc32.h"

#include <pthread.h>

#define SLICES 8u

/* table[k][b]: what byte b becomes after k more bytes of 0. */
static uint32_t table[SLICES][256];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_table(void)
{
	for (uint32_t b = 0; b < 256; b++) {
		uint32_t c = b;

		for (int bit = 0; bit < 8; bit++)
			c = c >> 1 ^ (c & 1 ? 0xedb88320u : 0);
		table[0][b] = c;
	}
	for (unsigned k = 1; k < SLICES; k++)
		for (uint32_t b = 0; b < 256; b++)
			table[k][b] = table[k - 1][b] >> 8 ^
				      table[0][table[k - 1][b] & 255];
}

static uint32_t load_le32(const uint8_t *p)
{
	return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
	       (uint32_t)p[3] << 24;
}

uint32_t crc32_of(uint32_t before, const void *data, size_t len)
{
	const uint8_t *p = data;
	uint32_t c = ~before;

	pthread_once(&once, make_table);
	for (; len >= SLICES; len -= SLICES, p += SLICES) {
		uint32_t a = c ^ load_le32(p), b = load_le32(p + 4);

		c = table[7][a & 255] ^ table[6][a >> 8 & 255] ^
		    table[5][a >> 16 & 255] ^ table[4][a >> 24] ^
		    table[3][b & 255] ^ table[2][b >> 8 & 255] ^
		    table[1][b >> 16 & 255] ^ table[0][b >> 24];
	}
	while (len--)
		c = c >> 8 ^ table[0][(c ^ *p++) & 255];
	return ~c;
}
