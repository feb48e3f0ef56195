/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/http/head.h"

#include <errno.h>
#include <string.h>

#define FIRST_BYTES 512u

static struct head_buf *grow(struct conn_engine *e, struct head_buf *b,
			     const struct head_at *at, size_t cap)
{
	struct head_buf *grown = conn_alloc(e, sizeof(*b) + cap);

	if (!grown)
		return NULL;
	if (b) {
		memcpy(grown, b, sizeof(*b) + b->len);
		head_buf_free(e, b);
	} else {
		grown->at = *at;
		grown->len = 0;
	}
	grown->cap = (uint32_t)cap;
	return grown;
}

int head_buf_append(struct conn_engine *e, struct head_buf **buf,
		    const struct head_at *at, const char *data, size_t len)
{
	struct head_buf *b = *buf;
	size_t need = (b ? b->len : 0) + len;
	size_t cap = b ? b->cap : FIRST_BYTES;

	if (need > HEAD_MAX_BYTES)
		return -ENOBUFS;
	while (cap < need)
		cap *= 2;
	if (!b || cap > b->cap) {
		b = grow(e, b, at, cap);
		if (!b)
			return -ENOBUFS;
		*buf = b;
	}
	memcpy(b->data + b->len, data, len);
	b->len += (uint32_t)len;
	return 0;
}

void head_buf_free(struct conn_engine *e, struct head_buf *b)
{
	if (b)
		conn_release(e, b, sizeof(*b) + b->cap);
}

void head_buf_drop(struct conn_engine *e, struct head_buf **buf)
{
	head_buf_free(e, *buf);
	*buf = NULL;
}
