/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON in parts. What jansson takes is taken, with the same values; the first
 * byte says in what parts it comes, which changes nothing.
 */
#include <assert.h>
#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "probe-agent/replay/json_scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static int put_item(void *arg, const struct json_scan_item *it)
{
	struct buf *out = arg;

	assert(!it->path || strlen(it->path) <= JSON_SCAN_PATH_MAX);
	buf_printf(out, "%d ", it->kind);
	if (it->kind == JSON_SCAN_NUMBER) {
		assert(strlen(it->text) == it->len && !it->cut);
		buf_printf(out, "%.17g", strtod(it->text, NULL) + 0.0);
	} else if (it->kind == JSON_SCAN_STRING) {
		assert(it->len <= JSON_SCAN_TEXT_MAX &&
		       (!it->cut || it->len > JSON_SCAN_TEXT_MAX - 4));
		buf_append(out, it->text, it->len);
	}
	buf_puts(out, "\n");
	return 0;
}

static int scan(struct buf *out, const char *text, size_t len, size_t part)
{
	static struct json_scan s;
	int err = 0;

	buf_reset(out);
	json_scan_init(&s, put_item, out);
	for (size_t at = 0; at < len && !err; at += part)
		err = json_scan_feed(&s, text + at,
				     len - at < part ? len - at : part);
	return err ? err : json_scan_end(&s);
}

/* The same lines out of jansson's tree. False: it cannot be compared. */
static bool put_value(struct buf *out, const json_t *v)
{
	const char *key;
	json_t *x;
	size_t i;

	switch (json_typeof(v)) {
	case JSON_OBJECT:
		buf_printf(out, "%d \n", JSON_SCAN_OBJECT);
		json_object_foreach((json_t *)(uintptr_t)v, key,
				    x) if (!put_value(out, x)) return false;
		buf_printf(out, "%d \n", JSON_SCAN_END);
		return true;
	case JSON_ARRAY:
		buf_printf(out, "%d \n", JSON_SCAN_ARRAY);
		json_array_foreach(v, i,
				   x) if (!put_value(out, x)) return false;
		buf_printf(out, "%d \n", JSON_SCAN_END);
		return true;
	case JSON_STRING:
		buf_printf(out, "%d %s\n", JSON_SCAN_STRING,
			   json_string_value(v));
		return json_string_length(v) <= JSON_SCAN_TEXT_MAX;
	case JSON_INTEGER:
	case JSON_REAL:
		buf_printf(out, "%d %.17g\n", JSON_SCAN_NUMBER,
			   json_number_value(v) + 0.0);
		/* Larger ones are exact there, and doubles here. */
		return fabs(json_number_value(v)) < 9e15;
	default:
		buf_printf(out, "%d \n",
			   json_is_true(v)    ? JSON_SCAN_TRUE
			   : json_is_false(v) ? JSON_SCAN_FALSE
					      : JSON_SCAN_NULL);
		return true;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct buf whole = { 0 }, parts = { 0 }, theirs = { 0 };
	const char *text = (const char *)data + 1;
	json_error_t error;
	json_t *v;
	int err;

	if (len < 1)
		return 0;
	len--;
	err = scan(&whole, text, len, len ? len : 1);
	assert(scan(&parts, text, len, 1 + data[0] % 16) == err);
	assert(whole.len == parts.len &&
	       (!whole.len || !memcmp(whole.data, parts.data, whole.len)));
	/* A NUL ends jansson's text. */
	v = memchr(text, '\0', len)
		    ? NULL
		    : json_loadb(text, len,
				 JSON_DECODE_ANY | JSON_REJECT_DUPLICATES,
				 &error);
	if (v) {
		bool same = put_value(&theirs, v);

		assert(!err);
		/* jansson keeps the order of members; 2.14 does at least. */
		if (same)
			assert(theirs.len == whole.len &&
			       !memcmp(theirs.data, whole.data, whole.len));
	}
	json_decref(v);
	buf_fini(&whole);
	buf_fini(&parts);
	buf_fini(&theirs);
	return 0;
}
