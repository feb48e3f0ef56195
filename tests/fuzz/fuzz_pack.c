/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two packs, as a damaged store may have them. What can be read must merge, and
 * the sum must have the sums of both.
 */
#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "./common/sums.h"
#include "aggregator/store/pack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* Sums over all rows; false if it cannot be read to its end. */
static bool sum_pack(const void *data, size_t len, uint64_t sum[3])
{
	struct pack_reader r;
	struct pack_row row;
	int64_t last = -1;
	int n;

	memset(sum, 0, 3 * sizeof(*sum));
	if (pack_open(&r, data, len) < 0)
		return false;
	while ((n = pack_next(&r, &row)) > 0) {
		assert((int64_t)row.key > last);
		last = row.key;
		sum[0] = sums_add(sum[0], row.count);
		sum[1] = sums_add(sum[1], row.errors);
		sum[2] = sums_add(sum[2], row.sum[PACK_SUMS - 1]);
	}
	return n == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	size_t cut = len ? data[0] * len / 256 : 0;
	uint64_t a[3], b[3], both[3];
	struct buf out = { 0 };
	bool good;

	if (len < 2)
		return 0;
	data++;
	len--;
	if (cut > len)
		cut = len;
	good = sum_pack(data, cut, a);
	good &= sum_pack(data + cut, len - cut, b);
	if (pack_merge(&out, data, cut, data + cut, len - cut) >= 0) {
		assert(good);
		assert(sum_pack(out.data, out.len, both));
		for (unsigned i = 0; i < 3; i++)
			assert(both[i] == sums_add(a[i], b[i]));
	}
	buf_fini(&out);
	return 0;
}
