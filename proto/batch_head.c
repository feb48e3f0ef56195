/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/batch.h"
#include "proto/limits.h"

int batch_put_head(const struct batch *head, const void *data, size_t len,
		   void **out, size_t *out_len)
{
	struct batch only = {
		.agent = head->agent,
		.epoch = head->epoch,
		.sequence = head->sequence,
		.first_sequence = head->first_sequence,
		.base_us = head->base_us,
	};
	size_t tail_len;
	void *tail;
	char *p;
	int err = batch_encode(&only, &tail, &tail_len);

	if (err)
		return err;
	if (len + tail_len > LIMIT_MESSAGE_BYTES) {
		free(tail);
		return -EMSGSIZE;
	}
	p = malloc(len + tail_len);
	if (p) {
		memcpy(p, data, len);
		memcpy(p + len, tail, tail_len);
		*out = p;
		*out_len = len + tail_len;
	}
	free(tail);
	return p ? 0 : -ENOMEM;
}
