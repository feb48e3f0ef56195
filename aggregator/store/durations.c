/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/store/durations.h"

#include "common/sums.h"
#include "common/varint.h"
#include "proto/buckets.h"

void durations_encode(struct buf *out, const struct store_bucket *b, size_t n)
{
	int64_t before = BUCKET_ZERO;

	for (size_t i = 0; i < n; i++) {
		varint_put_signed(out, b[i].native - before);
		varint_put(out, b[i].count);
		before = b[i].native;
	}
}

size_t durations_decode(const void *data, size_t len, struct store_bucket *out,
			size_t max)
{
	struct varint_reader r = { .at = data, .end = NULL };
	int64_t native = BUCKET_ZERO;
	size_t n = 0;

	if (!data)
		return 0;
	r.end = r.at + len;
	while (r.at < r.end && n < max) {
		/* A damaged step may be of any size: adding wraps, and is seen.
		 */
		native = (int64_t)((uint64_t)native +
				   (uint64_t)varint_get_signed(&r));
		out[n].count = varint_get(&r);
		if (r.bad || native < BUCKET_ZERO ||
		    native > BUCKET_NATIVE_SECONDS_MAX)
			break;
		out[n++].native = (int32_t)native;
	}
	return n;
}

void durations_add(struct buf *out, const void *a, size_t a_len, const void *b,
		   size_t b_len)
{
	struct store_bucket x[DURATIONS_MAX], y[DURATIONS_MAX];
	struct store_bucket sum[2 * DURATIONS_MAX];
	size_t n_x = durations_decode(a, a_len, x, DURATIONS_MAX);
	size_t n_y = durations_decode(b, b_len, y, DURATIONS_MAX);
	size_t i = 0, k = 0, n = 0;

	while (i < n_x || k < n_y) {
		if (k == n_y || (i < n_x && x[i].native < y[k].native)) {
			sum[n++] = x[i++];
		} else if (i == n_x || y[k].native < x[i].native) {
			sum[n++] = y[k++];
		} else {
			sum[n] = x[i++];
			sum[n].count = sums_add(sum[n].count, y[k++].count);
			n++;
		}
	}
	durations_encode(out, sum, n);
}
