/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/engine/skew.h"

#include <stdlib.h>

#include "proto/limits.h"

int64_t skew_shift_us(const struct push *p, const struct batch *b,
		      int64_t received_us)
{
	const int64_t window_us = WINDOW_SECONDS * INT64_C(1000000);
	int64_t shift;

	if (p->clock_us <= 0 || b->events.n + b->rollups.n == 0)
		return 0;
	shift = received_us - p->clock_us;
	if (shift >= -SKEW_SLACK_US && shift <= SKEW_SLACK_US)
		return 0;
	if (b->rollups.n == 0)
		return shift;
	return (shift + (shift < 0 ? -window_us : window_us) / 2) / window_us *
	       window_us;
}

int skew_move(struct batch_arena *a, struct batch *b, int64_t shift_us,
	      const void *data, size_t len, void **out, size_t *out_len)
{
	struct batch head = *b;
	int err;

	head.base_us += shift_us;
	err = batch_put_head(&head, data, len, out, out_len);
	if (!err) {
		err = batch_decode_more(a, a, *out, *out_len, b, NULL);
		if (err < 0)
			free(*out);
	}
	return err;
}
