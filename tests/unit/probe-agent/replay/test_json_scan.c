/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/buf.h"
#include "probe-agent/replay/json_scan.h"

static struct json_scan scan;

static int tell(void *arg, const struct json_scan_item *it)
{
	static const char *const kind[] = {
		"s", "n", "true", "false", "null", "{", "[", "/",
	};
	struct buf *out = arg;

	buf_printf(out, "%s=%s", it->path ? it->path : "?", kind[it->kind]);
	if (it->text) {
		buf_puts(out, ":");
		buf_append(out, it->text, it->len);
	}
	buf_puts(out, it->cut ? "… " : " ");
	return 0;
}

/* Scans a text in parts of this many bytes. */
static int scan_parts(struct buf *out, const char *text, size_t len,
		      size_t part)
{
	int err = 0;

	buf_reset(out);
	json_scan_init(&scan, tell, out);
	for (size_t at = 0; at < len && !err; at += part)
		err = json_scan_feed(&scan, text + at,
				     len - at < part ? len - at : part);
	return err ? err : json_scan_end(&scan);
}

/* However the text is cut, the items are the same. */
static void items(const char *text, const char *want)
{
	struct buf out = { 0 };

	for (size_t part = 1; part <= strlen(text); part++) {
		assert_int_equal(scan_parts(&out, text, strlen(text), part), 0);
		assert_string_equal(buf_str(&out), want);
	}
	/* No prefix of an object or array is whole. */
	for (size_t n = 0; n < strlen(text) && strchr("{[", *text); n++)
		assert_int_equal(scan_parts(&out, text, n, n), -EPROTO);
	buf_fini(&out);
}

static void malformed(const char *text)
{
	struct buf out = { 0 };

	if (scan_parts(&out, text, strlen(text), 1) != -EPROTO)
		fail_msg("%s: taken", text);
	buf_fini(&out);
}

static void every_item_has_its_path(void **state)
{
	(void)state;
	items("{\"a\":1,\"b\":{\"c\":\"x\",\"d.e\":null},\"f\":[true,{\"g\":["
	      "-1.5e+3]},false]}",
	      "={ a=n:1 b={ b.c=s:x b.d.e=null b=/ f=[ f[]=true f[]={ "
	      "f[].g=[ f[].g[]=n:-1.5e+3 f[].g=/ f[]=/ f[]=false f=/ =/ ");
	items("[]", "=[ =/ ");
	items("{}", "={ =/ ");
	items("[[],[[]]]", "=[ []=[ []=/ []=[ [][]=[ [][]=/ []=/ =/ ");
	items("\"x\"", "=s:x ");
	items("12", "=n:12 ");
	items("{\"a\":{\"b\":1},\"c\":2}", "={ a={ a.b=n:1 a=/ c=n:2 =/ ");
	items("{\"\":{\"\":1}}", "={ ={ =n:1 =/ =/ ");
}

static void strings_are_resolved(void **state)
{
	(void)state;
	items("[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"]",
	      "=[ []=s:\"\\/\b\f\n\r\t =/ ");
	items("[\"\\u0041\\u00e9\\u20ac\\ud83d\\ude00\"]",
	      "=[ []=s:A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80 =/ ");
	/* Halves of pairs, NUL, and what loggers write. */
	items("[\"\\ud83d\",\"\\ud83dx\",\"\\ude00\",\"\\u0000\",\"\\ud83d\\n\"]",
	      "=[ []=s:\xef\xbf\xbd []=s:\xef\xbf\xbdx []=s:\xef\xbf\xbd "
	      "[]=s:\xef\xbf\xbd []=s:\xef\xbf\xbd\n =/ ");
	items("[\"\\x22\xff\t\"]", "=[ []=s:\"\xff\t =/ ");
}

static void malformed_texts_are_refused(void **state)
{
	static const char *const texts[] = {
		"",
		"{",
		"[1,]",
		"[,1]",
		"{\"a\"}",
		"{\"a\":}",
		"{a:1}",
		"[1 2]",
		"[1]]",
		"[1] x",
		"{\"a\":1,}",
		"[01]",
		"[1.]",
		"[.5]",
		"[-]",
		"[1e]",
		"[+1]",
		"[--1]",
		"[1.2.3]",
		"[tru]",
		"[truex]",
		"nul",
		"[\"a]",
		"[\"\\q\"]",
		"[\"\\u12g4\"]",
		"[\"\\u\x10\x31\"]",
		"]",
		",",
		"[1}",
		"{\"a\":1]",
		"\"a\" 1",
		"1 1",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		malformed(texts[i]);
}

static void long_texts_are_cut_and_long_numbers_refused(void **state)
{
	size_t n = 3 * JSON_SCAN_TEXT_MAX;
	char *text = malloc(n + 8);
	struct buf out = { 0 };

	(void)state;
	memset(text, 'x', n + 2);
	text[0] = text[n + 1] = '"';
	assert_int_equal(scan_parts(&out, text, n + 2, 1000), 0);
	assert_int_equal(out.len, strlen("=s:… ") + JSON_SCAN_TEXT_MAX);
	assert_memory_equal(out.data + out.len - 5, "x… ", 5);
	memset(text, '1', n);
	assert_int_equal(scan_parts(&out, text, n, 1000), -EPROTO);
	buf_fini(&out);
	free(text);
}

/* n arrays around a one. */
static int nested(struct buf *out, size_t n)
{
	char *text = malloc(2 * n + 1);
	int err;

	memset(text, '[', n);
	text[n] = '1';
	memset(text + n + 1, ']', n);
	err = scan_parts(out, text, 2 * n + 1, 4096);
	free(text);
	return err;
}

static void depth_is_bounded_and_paths_end_before(void **state)
{
	struct buf out = { 0 };

	(void)state;
	assert_int_equal(nested(&out, JSON_SCAN_NAMED_MAX), 0);
	assert_null(memchr(out.data, '?', out.len));
	assert_int_equal(nested(&out, JSON_SCAN_NAMED_MAX + 1), 0);
	assert_non_null(memchr(out.data, '?', out.len));
	assert_int_equal(nested(&out, JSON_SCAN_DEPTH_MAX), 0);
	assert_int_equal(nested(&out, JSON_SCAN_DEPTH_MAX + 1), -EPROTO);
	assert_int_equal(nested(&out, 1000000), -EPROTO);
	buf_fini(&out);
}

/* A member without a path does not take one from its neighbours. */
static void a_long_key_has_no_path(void **state)
{
	struct buf text = { 0 }, out = { 0 };

	(void)state;
	buf_puts(&text, "{\"a\":{\"");
	for (unsigned i = 0; i < JSON_SCAN_PATH_MAX; i++)
		buf_puts(&text, "k");
	buf_puts(&text, "\":{\"b\":1},\"c\":2},\"d\\u0000\":3,\"e\":4}");
	assert_int_equal(scan_parts(&out, buf_str(&text), text.len, 7), 0);
	assert_string_equal(buf_str(&out), "={ a={ ?={ ?=n:1 ?=/ a.c=n:2 a=/ "
					   "d\xef\xbf\xbd=n:3 e=n:4 =/ ");
	buf_fini(&text);
	buf_fini(&out);
}

static int stop(void *arg, const struct json_scan_item *it)
{
	(void)arg;
	return it->kind == JSON_SCAN_NUMBER ? 7 : 0;
}

static void a_callback_can_end_it(void **state)
{
	(void)state;
	json_scan_init(&scan, stop, NULL);
	assert_int_equal(json_scan_feed(&scan, "[1,2]", 5), 7);
	assert_int_equal(json_scan_feed(&scan, "x", 1), 7);
	assert_int_equal(json_scan_end(&scan), 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_item_has_its_path),
		cmocka_unit_test(strings_are_resolved),
		cmocka_unit_test(malformed_texts_are_refused),
		cmocka_unit_test(long_texts_are_cut_and_long_numbers_refused),
		cmocka_unit_test(depth_is_bounded_and_paths_end_before),
		cmocka_unit_test(a_long_key_has_no_path),
		cmocka_unit_test(a_callback_can_end_it),
	};

	return cmocka_run_group_tests_name("json_scan", tests, NULL, NULL);
}
