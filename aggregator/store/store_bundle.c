/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/store/store_bundle.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

bool store_bundle_fits(const struct store_bundle *b,
		       const struct store_log *row)
{
	int64_t us = row->received_us;

	return b->batches == 0 || (row->id == b->last_id + 1 &&
				   b->last_us - us <= STORE_BUNDLE_SPAN_US &&
				   us - b->first_us <= STORE_BUNDLE_SPAN_US &&
				   b->blob.len + row->len + STORE_BUNDLE_HEAD <=
					   STORE_BUNDLE_BYTES);
}

void store_bundle_add(struct store_bundle *b, const struct store_log *row)
{
	uint32_t len = htole32((uint32_t)row->len);
	uint64_t received = htole64((uint64_t)row->received_us);
	uint64_t requests = htole64(row->requests);
	uint8_t head[STORE_BUNDLE_HEAD];

	memcpy(head, &len, 4);
	memcpy(head + 4, &received, 8);
	memcpy(head + 12, &requests, 8);
	buf_append(&b->blob, head, sizeof(head));
	buf_append(&b->blob, row->data, row->len);
	if (b->batches == 0)
		b->first_s = b->last_s = -1;
	if (b->batches == 0 || row->received_us < b->first_us)
		b->first_us = row->received_us;
	if (b->batches == 0 || row->received_us > b->last_us)
		b->last_us = row->received_us;
	if (row->first_s >= 0 && (b->first_s < 0 || row->first_s < b->first_s))
		b->first_s = row->first_s;
	if (row->last_s > b->last_s)
		b->last_s = row->last_s;
	b->last_id = row->id;
	b->requests += row->requests;
	b->batches++;
}

void store_bundle_reset(struct store_bundle *b)
{
	buf_reset(&b->blob);
	b->requests = b->batches = 0;
}

/* --- reading --- */

void store_bundle_read(struct store_bundle_reader *r,
		       const struct store_log *row, uint64_t batches)
{
	r->row = *row;
	r->single = batches == 0;
	r->left = r->single ? 1 : batches;
}

int store_bundle_next(struct store_bundle_reader *r, struct store_log *out)
{
	const uint8_t *p = r->row.data;
	uint64_t received, requests;
	uint32_t len;

	if (r->left == 0)
		return r->single || r->row.len == 0 ? 0 : -EUCLEAN;
	if (r->single) {
		r->left = 0;
		*out = r->row;
		return 1;
	}
	if (r->row.len < STORE_BUNDLE_HEAD || r->left > r->row.id)
		return -EUCLEAN;
	memcpy(&len, p, 4);
	memcpy(&received, p + 4, 8);
	memcpy(&requests, p + 12, 8);
	len = le32toh(len);
	p += STORE_BUNDLE_HEAD;
	r->row.len -= STORE_BUNDLE_HEAD;
	if (len > r->row.len)
		return -EUCLEAN;
	*out = (struct store_log){
		.id = r->row.id - --r->left,
		.received_us = (int64_t)le64toh(received),
		.requests = le64toh(requests),
		.data = p,
		.len = len,
	};
	r->row.data = p + len;
	r->row.len -= len;
	return 1;
}
