/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/web/web_page.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "aggregator/web/page.h"
#include "common/version.h"

#define GZIP_WORTH 1400u /* a packet */
#define GZIP_WINDOW (15 + 16) /* zlib: with a gzip header */

/* --- compressing --- */

static int deflate_body(struct buf *body)
{
	z_stream z = { 0 };
	struct buf out = { 0 };
	size_t most;
	int rc;

	if (deflateInit2(&z, Z_BEST_SPEED, Z_DEFLATED, GZIP_WINDOW, 8,
			 Z_DEFAULT_STRATEGY) != Z_OK)
		return -ENOMEM;
	most = deflateBound(&z, body->len);
	z.next_in = (Bytef *)body->data;
	z.avail_in = (uInt)body->len;
	z.next_out = buf_reserve(&out, most);
	z.avail_out = (uInt)most;
	rc = z.next_out ? deflate(&z, Z_FINISH) : Z_MEM_ERROR;
	out.len = z.total_out;
	deflateEnd(&z);
	if (rc != Z_STREAM_END) {
		buf_fini(&out);
		return -ENOMEM;
	}
	buf_fini(body);
	*body = out;
	return 0;
}

/* For the rare client that takes no gzip. */
static int inflate_asset(const struct page_asset *a, struct buf *out)
{
	z_stream z = { 0 };
	int rc;

	if (inflateInit2(&z, GZIP_WINDOW) != Z_OK)
		return -ENOMEM;
	z.next_in = (Bytef *)(uintptr_t)a->data;
	z.avail_in = (uInt)a->len;
	z.next_out = buf_reserve(out, a->raw_len + 1);
	z.avail_out = (uInt)a->raw_len + 1;
	rc = z.next_out ? inflate(&z, Z_FINISH) : Z_MEM_ERROR;
	out->len = z.total_out;
	inflateEnd(&z);
	return rc == Z_STREAM_END ? 0 : -EIO;
}

/* --- entity tags --- */

static uint64_t hash_bytes(uint64_t h, const void *data, size_t n)
{
	const uint8_t *p = data;

	for (; n >= 8; p += 8, n -= 8) {
		uint64_t v;

		memcpy(&v, p, 8);
		h = (h ^ v) * 0x9e3779b97f4a7c15;
		h ^= h >> 29;
	}
	for (; n; p++, n--)
		h = (h ^ *p) * 0x100000001b3;
	return h ^ h >> 32;
}

static void make_tag(struct web_request *q)
{
	uint64_t a = q->core->salt[0], b = q->core->salt[1];

	if (q->authorization) {
		a = hash_bytes(a, q->authorization, strlen(q->authorization));
		b = hash_bytes(b, q->authorization, strlen(q->authorization));
	}
	a = hash_bytes(a, q->body.data, q->body.len);
	b = hash_bytes(b, q->body.data, q->body.len);
	snprintf(q->tag, sizeof(q->tag), "\"%016llx%016llx\"",
		 (unsigned long long)a, (unsigned long long)b);
}

void web_page_finish(struct web_request *q)
{
	if (q->status != 200 || q->file >= 0)
		return;
	q->cache = "private, no-cache";
	make_tag(q);
	if (q->if_none_match && strstr(q->if_none_match, q->tag)) {
		buf_reset(&q->body);
		q->status = 304;
		return;
	}
	if (q->gzip && q->body.len >= GZIP_WORTH && !deflate_body(&q->body))
		q->compressed = true;
}

/* --- the page --- */

static bool has_page(const struct web_core *core)
{
	return page_assets_n > 0 && !core->opt.page_off;
}

static void put_links(struct web_request *q)
{
	buf_printf(&q->body,
		   "<h1>redtap aggregator</h1>\n"
		   "<p>Rates, errors and durations of the HTTP requests that "
		   "the agents see, each counted exactly once.</p>\n<ul>\n"
		   "<li><a href=\".%s\">Metrics</a> for Prometheus</li>\n"
		   "<li><a href=\"./api/v1/windows\">Windows</a>, "
		   "<a href=\"./api/v1/services\">services</a>, "
		   "<a href=\"./api/v1/agents\">agents</a> and "
		   "<a href=\"./api/v1/status\">status</a> as JSON</li>\n"
		   "<li><a href=\"./-/healthy\">Health</a>, "
		   "<a href=\"./-/ready\">readiness</a></li>\n</ul>\n"
		   "<p>Version %s, revision %s</p>\n",
		   q->core->opt.telemetry_path, version_string(),
		   version_revision());
}

/* Copies the template up to a mark; returns what follows it. */
static const char *put_until(struct web_request *q, const char *from,
			     const char *mark)
{
	const char *at = strstr(from, mark);

	if (!at)
		return from;
	buf_append(&q->body, from, (size_t)(at - from));
	return at + strlen(mark);
}

static void put_plain(struct web_request *q)
{
	buf_puts(&q->body, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n"
			   "<meta charset=\"utf-8\">\n<title>redtap</title>\n"
			   "</head>\n<body>\n<main>\n");
	put_links(q);
	if (!page_assets_n)
		buf_puts(&q->body, "<p>This build has no page: it was made "
				   "with PAGE=no. Build it with <code>make"
				   "</code> where node and npm are.</p>\n");
	buf_puts(&q->body, "</main>\n</body>\n</html>\n");
}

void web_page_landing(struct web_request *q)
{
	const char *at = page_index;

	if (has_page(q->core)) {
		at = put_until(q, at, "{{TAIL}}");
		buf_puts(&q->body, q->core->opt.tail_off ? "off" : "on");
		at = put_until(q, at, "{{LINKS}}");
		put_links(q);
		buf_puts(&q->body, at);
	} else {
		put_plain(q);
	}
	q->status = 200;
	q->type = "text/html; charset=utf-8";
	q->policy = true;
	web_page_finish(q);
}

void web_page_asset(struct web_request *q)
{
	const struct page_asset *a = NULL;

	for (size_t i = 0; i < page_assets_n && has_page(q->core); i++)
		if (!strcmp(page_assets[i].path + strlen("/assets/"), q->rest))
			a = &page_assets[i];
	if (!a) {
		web_say(q, 404, "not found");
		return;
	}
	q->status = 200;
	q->type = a->type;
	q->policy = true;
	q->cache = "private, max-age=31536000, immutable";
	if (q->accepts_gzip) {
		buf_append(&q->body, a->data, a->len);
		q->compressed = true;
	} else if (inflate_asset(a, &q->body) < 0) {
		web_say(q, 500, "cannot inflate the asset");
	}
}
