/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "probe-agent/http/http1.h"
#include "probe-agent/identity/route.h"
#include "proto/limits.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_slice(struct slice s, const char *buf, size_t len)
{
	assert(s.len == 0 || (s.data >= buf && s.data + s.len <= buf + len));
}

static void check_head(const struct http1_head *h, const char *buf, size_t len)
{
	check_slice(h->method, buf, len);
	check_slice(h->target, buf, len);
	check_slice(h->host, buf, len);
	check_slice(h->traceparent, buf, len);
	check_slice(http1_authority(h->method, h->target), buf, len);
}

/* A head found in a prefix is the head of the whole, and the other way. */
static void parse(ssize_t (*fn)(const char *, size_t, struct http1_head *),
		  const char *buf, size_t len)
{
	struct http1_head h, again;
	ssize_t n = fn(buf, len, &h);

	assert(n == -EAGAIN || n == -EPROTO || (n > 0 && (size_t)n <= len));
	if (n <= 0)
		return;
	check_head(&h, buf, (size_t)n);
	assert(fn(buf, (size_t)n, &again) == n);
	assert(fn(buf, (size_t)n - 1, &again) == -EAGAIN);
	assert(http1_head_end(buf, len, 0) == (size_t)n);
}

static void check_chunks(const char *buf, size_t len)
{
	struct http1_chunked whole = { 0 }, bytes = { 0 };
	bool done = false;
	ssize_t n = http1_chunked_feed(&whole, buf, len, &done), m = 0;
	bool bytes_done = false;
	size_t i;

	for (i = 0; i < len && m >= 0 && !bytes_done; i++)
		m = http1_chunked_feed(&bytes, buf + i, 1, &bytes_done);
	if (n < 0) {
		assert(m < 0);
		return;
	}
	assert(done == bytes_done && (size_t)n == i);
	assert(memcmp(&whole.left, &bytes.left, sizeof(whole.left)) == 0 &&
	       whole.state == bytes.state);
}

static void check_route(const char *buf, size_t len)
{
	static struct route_table *table;
	static const char *const patterns[] = { "/users/{name}", "/a/*" };
	struct route_options opt = { patterns, 2, 1000000 };
	const char *r;

	if (!table && route_new(&table, &opt) != 0)
		abort();
	r = route_template(table, "", buf, len);
	assert(strlen(r) <= LIMIT_STRING_BYTES);
	for (; *r; r++)
		assert(*r > ' ' && *r < 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct http1_head h;
	/* Exactly as long as it says, so that ASan sees a byte too many. */
	char *buf = malloc(size);

	if (!buf)
		return 0;
	memcpy(buf, data, size);
	parse(http1_parse_request, buf, size);
	parse(http1_parse_response, buf, size);
	if (http1_parse_request_cut(buf, size, &h) == 0)
		check_head(&h, buf, size);
	if (http1_parse_response_cut(buf, size, &h) == 0)
		check_head(&h, buf, size);
	http1_kind(buf, size);
	http1_is_http2_preface(buf, size);
	check_chunks(buf, size);
	check_route(buf, size);
	free(buf);
	return 0;
}
