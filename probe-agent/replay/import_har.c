/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/replay/import.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "probe-agent/replay/import_source.h"
#include "probe-agent/replay/import_text.h"
#include "probe-agent/replay/json_scan.h"
#include "proto/limits.h"

/*
 * HAR 1.2: requests of a browser, which is the client. A document is read as
 * it comes, one entry in memory.
 */

#define ENTRY "log.entries[]"

enum value {
	V_START,
	V_TIME, /* ms; -1: it did not end */
	V_METHOD,
	V_URL,
	V_REQUEST_BYTES,
	V_STATUS,
	V_VERSION,
	V_RESPONSE_BYTES,
	/* Each says in its browser's way that the network was not asked. */
	V_CHROME_CACHE,
	V_CHROME_DISK,
	V_FIREFOX_CACHE,
	V_SAFARI_FETCH,
	V_CHROME_WORKER,
	VALUES,
};

static const char *const names[VALUES] = {
	[V_START] = "startedDateTime",
	[V_TIME] = "time",
	[V_METHOD] = "request.method",
	[V_URL] = "request.url",
	[V_REQUEST_BYTES] = "request.bodySize",
	[V_STATUS] = "response.status",
	[V_VERSION] = "response.httpVersion",
	[V_RESPONSE_BYTES] = "response.bodySize",
	[V_CHROME_CACHE] = "_fromCache",
	[V_CHROME_DISK] = "_fromDiskCache",
	[V_FIREFOX_CACHE] = "fromCache",
	[V_SAFARI_FETCH] = "_fetchType",
	[V_CHROME_WORKER] = "response._serviceWorkerResponseSource",
};

struct entry {
	bool has[VALUES], is_true[VALUES], is_number[VALUES];
	char text[VALUES][JSON_SCAN_TEXT_MAX + 1];
};

struct har {
	struct import *im;
	struct import_stats *stats;
	struct json_scan scan;
	bool is_har; /* log.entries was there */
	bool in_entry;
	int err; /* of import_add() */
	struct entry entry;
};

/*
 * Splits scheme://[user@]host[:port]/…, the host into small letters. Returns 1.
 * 0: another scheme than those of HTTP. -EPROTO: no scheme, or no host.
 */
static int split_url(const char *url, const char **scheme, char host[256],
		     uint32_t *port)
{
	const char *at = strstr(url, "://"), *end, *user;
	bool secure;
	size_t n;

	if (!at)
		return strchr(url, ':') ? 0 : -EPROTO;
	n = (size_t)(at - url);
	secure = (n == 5 && strncasecmp(url, "https", 5) == 0) ||
		 (n == 3 && strncasecmp(url, "wss", 3) == 0);
	if (!secure && !(n == 4 && strncasecmp(url, "http", 4) == 0) &&
	    !(n == 2 && strncasecmp(url, "ws", 2) == 0))
		return 0;
	*scheme = secure ? "https" : "http";
	*port = secure ? 443 : 80;
	at += 3;
	end = at + strcspn(at, "/?#");
	user = memchr(at, '@', (size_t)(end - at));
	if (user)
		at = user + 1;
	n = *at == '[' ? strcspn(at, "]") + 1 : strcspn(at, ":/?#");
	if (n == 0 || n > (size_t)(end - at) || n >= 256)
		return -EPROTO;
	for (size_t i = 0; i < n; i++)
		host[i] = (char)tolower((unsigned char)at[i]);
	host[n] = '\0';
	if (at[n] == ':') {
		unsigned long p = strtoul(at + n + 1, NULL, 10);

		*port = p <= 65535 ? (uint32_t)p : 0;
	}
	return 1;
}

static uint64_t size_of(const struct entry *e, enum value v)
{
	const char *at = e->text[v];
	double n;

	return e->is_number[v] && import_number(&at, &n) &&
			       n < (double)LIMIT_BODY_BYTES
		       ? (uint64_t)n
		       : 0;
}

/* A browser's cache, or a worker of the page, answered. */
static bool from_cache(const struct entry *e)
{
	const char *fetch = e->text[V_SAFARI_FETCH];
	const char *worker = e->text[V_CHROME_WORKER];

	return e->is_true[V_CHROME_CACHE] || *e->text[V_CHROME_CACHE] ||
	       e->is_true[V_CHROME_DISK] || e->is_true[V_FIREFOX_CACHE] ||
	       strcmp(fetch, "Memory Cache") == 0 ||
	       strcmp(fetch, "Disk Cache") == 0 ||
	       (*worker && strcmp(worker, "network") != 0);
}

static const char *take_result(const struct entry *e, struct import_event *x)
{
	const char *at = e->text[V_STATUS];
	double status = 0;

	int got = 0;

	if (e->is_number[V_STATUS] &&
	    (!import_number(&at, &status) || status > LIMIT_STATUS))
		status = 0;
	x->e.status = status >= 100 ? (uint32_t)status : 0;
	if (e->has[V_TIME]) {
		at = e->text[V_TIME];
		got = e->is_number[V_TIME]
			      ? import_duration(at, strlen(at), 1e3,
						&x->e.duration_us)
			      : -EPROTO;
		if (got < 0)
			return "no valid time";
	}
	/* Without a time it never ended. */
	x->e.untimed = got == 0;
	if (x->e.untimed || x->e.status == 0)
		x->e.outcome = OUTCOME_ABORTED;
	return NULL;
}

/* Returns NULL, or why the entry is bad; *other: it is no request. */
static const char *take_entry(struct har *h, bool *other)
{
	struct entry *e = &h->entry;
	char host[256];
	struct import_event x = {
		.method = e->text[V_METHOD],
		.method_len = strlen(e->text[V_METHOD]),
		.e = { .role = ROLE_CLIENT, .address = host, .route = "" },
	};
	const char *url = e->text[V_URL], *why;
	int web;

	if (!x.method_len || !*url || !*e->text[V_START])
		return "no method, url or startedDateTime";
	web = split_url(url, &x.e.scheme, host, &x.e.port);
	if (web < 0)
		return "url without http or host";
	*other = web == 0 || from_cache(e);
	if (*other)
		return NULL;
	if (import_time(e->text[V_START], &x.e.start_us) != 0)
		return "malformed startedDateTime";
	why = take_result(e, &x);
	if (why)
		return why;
	x.e.version = import_http_version(e->text[V_VERSION]);
	x.e.request_bytes = size_of(e, V_REQUEST_BYTES);
	x.e.response_bytes = size_of(e, V_RESPONSE_BYTES);
	h->err = import_add(h->im, &x);
	return NULL;
}

static int end_entry(struct har *h)
{
	bool other = false;
	const char *why;

	h->stats->lines++;
	why = take_entry(h, &other);
	if (why)
		import_bad(h->im, "entry", h->stats->lines, why);
	else
		h->stats->other += other;
	return h->err;
}

static void begin_entry(struct entry *e)
{
	for (int i = 0; i < VALUES; i++) {
		e->has[i] = e->is_true[i] = e->is_number[i] = false;
		e->text[i][0] = '\0';
	}
}

/* An element of the entries begins or ends. */
static int take_bounds(struct har *h, enum json_scan_kind kind)
{
	bool ends = kind == JSON_SCAN_END && h->in_entry;

	if (kind == JSON_SCAN_OBJECT)
		begin_entry(&h->entry);
	else if (kind != JSON_SCAN_END)
		import_bad(h->im, "entry", ++h->stats->lines, "not an object");
	h->in_entry = kind == JSON_SCAN_OBJECT;
	return ends ? end_entry(h) : 0;
}

static int take_item(void *arg, const struct json_scan_item *it)
{
	struct har *h = arg;
	struct entry *e = &h->entry;
	size_t n = strlen(ENTRY);
	int i;

	if (!it->path || strncmp(it->path, ENTRY, n - 2) != 0)
		return 0;
	if (it->path[n - 2] == '\0')
		h->is_har |= it->kind == JSON_SCAN_ARRAY;
	if (strncmp(it->path, ENTRY, n) != 0)
		return 0;
	if (it->path[n] == '\0')
		return take_bounds(h, it->kind);
	if (it->path[n] != '.' || !h->in_entry)
		return 0;
	for (i = 0; i < VALUES && strcmp(it->path + n + 1, names[i]); i++)
		;
	if (i == VALUES)
		return 0;
	e->has[i] = it->kind != JSON_SCAN_NULL;
	e->is_true[i] = it->kind == JSON_SCAN_TRUE;
	e->is_number[i] = it->kind == JSON_SCAN_NUMBER;
	if (it->text)
		memcpy(e->text[i], it->text, it->len + 1);
	return 0;
}

int import_har(struct import *im, struct import_source *in,
	       struct import_stats *stats)
{
	struct har *h = calloc(1, sizeof(*h));
	const char *data;
	size_t len;
	int err;

	if (!h)
		return -ENOMEM;
	h->im = im;
	h->stats = stats;
	json_scan_init(&h->scan, take_item, h);
	while ((err = import_source_part(in, &data, &len)) == 1) {
		err = json_scan_feed(&h->scan, data, len);
		if (err)
			break;
	}
	if (!err)
		err = json_scan_end(&h->scan);
	if (h->err)
		err = h->err;
	if (!err && !h->is_har)
		err = -EPROTO;
	free(h);
	return err;
}

/* --- recognition --- */

static int see_item(void *arg, const struct json_scan_item *it)
{
	static const char *const own[] = { "log.entries", "log.creator",
					   "log.pages", "log.browser" };
	bool *found = arg;

	for (size_t i = 0; it->path && i < sizeof(own) / sizeof(*own); i++)
		*found |= (it->kind == JSON_SCAN_ARRAY ||
			   it->kind == JSON_SCAN_OBJECT) &&
			  strcmp(it->path, own[i]) == 0;
	return *found ? 1 : 0;
}

bool import_har_begins(const char *text, size_t len)
{
	struct json_scan *s = malloc(sizeof(*s));
	bool found = false;

	if (!s)
		return false;
	json_scan_init(s, see_item, &found);
	json_scan_feed(s, text, len);
	free(s);
	return found;
}
