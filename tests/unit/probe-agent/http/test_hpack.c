/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include <nghttp2/nghttp2.h>

#include "common/buf.h"
#include "probe-agent/http/hpack.h"

/* The examples of RFC 7541, appendix C, what nghttp2 says, and the window. */

/* Input that ends where the readable memory ends. */
static uint8_t *page_end;
static size_t page_room;

static int set_up_guard(void **state)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	uint8_t *m = mmap(NULL, 3 * page, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)state;
	if (m == MAP_FAILED || mprotect(m + 2 * page, page, PROT_NONE))
		return -1;
	page_end = m + 2 * page;
	page_room = 2 * page;
	return 0;
}

static const uint8_t *guarded(const void *data, size_t len)
{
	assert_true(len <= page_room);
	memcpy(page_end - len, data, len);
	return page_end - len;
}

static struct hpack_budget budget;
static struct hpack_window window;
static struct buf lines;
static char *taken;

static int set_up(void **state)
{
	(void)state;
	budget = (struct hpack_budget){ .max_bytes = 1 << 20 };
	hpack_window_init(&window, &budget, true);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	hpack_window_fini(&window);
	assert_int_equal(budget.used_bytes, 0);
	buf_fini(&lines);
	free(taken);
	taken = NULL;
	return 0;
}

static void put_field(const struct hpack_field *f)
{
	buf_printf(&lines, "%d=", f->name);
	if (f->known)
		buf_append(&lines, f->value.data, f->value.len);
	else
		buf_puts(&lines, f->name == HPACK_OTHER ? "-" : "?");
	buf_puts(&lines, f->cut ? "...\n" : "\n");
}

/* Takes a block in pieces of this length. */
static int decode_in(const void *block, size_t len, size_t piece)
{
	static struct hpack_block b;
	const uint8_t *data = block;
	struct hpack_field f;
	int got = 0;

	hpack_begin(&b, HPACK_ALL);
	for (size_t at = 0; at < len && got >= 0; at += piece) {
		size_t n = len - at < piece ? len - at : piece;
		const uint8_t *p = guarded(data + at, n), *end = p + n;

		while ((got = hpack_next(&window, &b, &p, end, &f)) > 0)
			put_field(&f);
		assert_true(got < 0 || p == end);
	}
	return got < 0 ? got : hpack_end(&b);
}

static const char *take_lines(void)
{
	free(taken);
	taken = strdup(buf_str(&lines));
	buf_reset(&lines);
	return taken;
}

static size_t from_hex(const char *hex, uint8_t *out)
{
	size_t n = 0;
	unsigned byte;

	for (; *hex; hex += 2) {
		while (*hex == ' ')
			hex++;
		assert_int_equal(sscanf(hex, "%2x", &byte), 1);
		out[n++] = (uint8_t)byte;
	}
	return n;
}

static void assert_decodes(const char *hex, size_t piece, const char *want)
{
	uint8_t block[256];
	size_t n = from_hex(hex, block);

	assert_int_equal(decode_in(block, n, piece), 0);
	assert_string_equal(take_lines(), want);
}

/* C.3 and C.4: the same requests, without and with Huffman coding. */
static const char *const requests[2][3] = {
	{ "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
	  "8286 84be 5808 6e6f 2d63 6163 6865",
	  "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 "
	  "6c75 65" },
	{ "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
	  "8286 84be 5886 a8eb 1064 9cbf",
	  "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf" },
};

/* C.5 and C.6: answers, with a table of 256 bytes. */
static const char *const answers[2][3] = {
	{ "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 "
	  "7420 3230 3133 2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 "
	  "3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
	  "4803 3330 37c1 c0bf",
	  "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 "
	  "3a32 3220 474d 54c0 5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 "
	  "514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 "
	  "2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31" },
	{ "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 "
	  "0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae "
	  "43d3",
	  "4883 640e ffc1 c0bf",
	  "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff "
	  "c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af "
	  "2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 "
	  "07" },
};

static void decodes_the_requests_of_the_standard(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++)
		for (size_t piece = 1; piece < 40; piece++) {
			hpack_window_fini(&window);
			hpack_window_init(&window, &budget, true);
			assert_decodes(requests[i][0], piece,
				       "2=GET\n3=http\n4=/\n"
				       "5=www.example.com\n");
			assert_decodes(requests[i][1], piece,
				       "2=GET\n3=http\n4=/\n"
				       "5=www.example.com\n0=-\n");
			assert_decodes(requests[i][2], piece,
				       "2=GET\n3=https\n4=/index.html\n"
				       "5=www.example.com\n0=-\n");
		}
}

static void decodes_the_answers_of_the_standard(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++)
		for (size_t piece = 1; piece < 120; piece++) {
			hpack_window_fini(&window);
			hpack_window_init(&window, &budget, true);
			assert_decodes(answers[i][0], piece,
				       "7=302\n0=-\n"
				       "13=Mon, 21 Oct 2013 20:13:21 GMT\n"
				       "0=-\n");
			assert_decodes(answers[i][1], piece,
				       "7=307\n0=-\n"
				       "13=Mon, 21 Oct 2013 20:13:21 GMT\n"
				       "0=-\n");
			assert_decodes(answers[i][2], piece,
				       "7=200\n0=-\n"
				       "13=Mon, 21 Oct 2013 20:13:22 GMT\n"
				       "0=-\n0=-\n0=-\n");
		}
}

/* A window that begins behind the first block has what came since. */
static void a_late_window_has_what_was_inserted_since(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		hpack_window_init(&window, &budget, false);
		assert_decodes(answers[i][1], 99, "7=307\n1=?\n1=?\n1=?\n");
		assert_decodes(answers[i][2], 99,
			       "7=200\n1=?\n"
			       "13=Mon, 21 Oct 2013 20:13:22 GMT\n"
			       "1=?\n0=-\n0=-\n");
		assert_decodes("bebfc0c1", 99,
			       "0=-\n0=-\n13=Mon, 21 Oct 2013 20:13:22 GMT\n"
			       "7=307\n");
		hpack_window_fini(&window);
	}
}

static void a_prefix_of_a_field_is_no_block(void **state)
{
	uint8_t block[256];
	size_t n = from_hex(answers[1][2], block);
	unsigned ends = 0;

	(void)state;
	for (size_t len = 0; len <= n; len++) {
		hpack_window_fini(&window);
		hpack_window_init(&window, &budget, false);
		ends += decode_in(block, len, 1000) == 0;
	}
	assert_int_equal(ends, 7); /* behind each of six fields, and before */
}

static void what_is_no_block_is_refused(void **state)
{
	static const char *const wrong[] = {
		"80", /* index 0 */
		"be", /* an entry that never was */
		"ff808080808001", /* a number over 31 bits */
		"7f8080808000", /* the same, though its value is small */
		"4400823f", /* a size of the table behind a field */
		"0482ffff", /* Huffman: padding of a byte or more */
		"048118", /* Huffman: padding with zeros */
		"0484ffffffff", /* Huffman: end of string */
		"7e0161", /* a name that never was */
	};
	uint8_t block[64];

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		size_t n = from_hex(wrong[i], block);

		assert_int_equal(decode_in(block, n, 1000), -EPROTO);
		hpack_window_fini(&window);
		hpack_window_init(&window, &budget, true);
	}
}

/* Each byte as the value of a path, coded by nghttp2. */
static void knows_the_code_of_each_byte(void **state)
{
	nghttp2_hd_deflater *encoder;
	uint8_t value[512], block[2048];
	nghttp2_nv nv = { (uint8_t *)(uintptr_t) ":path", value, 5, 512, 0 };
	struct hpack_huffman h = { 0 };
	char out[512];
	ssize_t n;

	(void)state;
	/* Huffman coded only if that is shorter: many zeros before. */
	for (int c = 0; c < 256; c++) {
		memset(value, '0', sizeof(value));
		value[100] = (uint8_t)c;
		value[511] = (uint8_t)c;
		assert_int_equal(nghttp2_hd_deflate_new(&encoder, 0), 0);
		n = nghttp2_hd_deflate_hd(encoder, block, sizeof(block), &nv,
					  1);
		nghttp2_hd_deflate_del(encoder);
		assert_true(n > 0);
		buf_reset(&lines);
		hpack_window_fini(&window);
		hpack_window_init(&window, &budget, true);
		assert_int_equal(decode_in(block, (size_t)n, 3), 0);
		assert_int_equal(lines.len, 2 + 512 + 1);
		assert_memory_equal(lines.data + 2, value, 512);
	}
	/* What has no room is counted. */
	assert_int_equal(
		hpack_huffman_feed(&h, (const uint8_t *)"\x00\x00", 2, out, 2),
		3);
	assert_int_equal(hpack_huffman_end(&h), -EPROTO);
}

static void an_entry_of_any_size_takes_one_place(void **state)
{
	char want[3000];
	uint8_t block[8192];
	size_t n = 0;

	(void)state;
	/* 5,000 bytes are too many for the table, and empty it. */
	n += from_hex("4401 62", block); /* :path "b" */
	n += from_hex("44 7f 8926", block + n); /* :path, 127 + 4873 bytes */
	memset(block + n, '/', 5000);
	n += 5000;
	n += from_hex("4401 61", block + n); /* :path "a" */
	n += from_hex("be", block + n); /* the newest */
	assert_int_equal(decode_in(block, n, 500), 0);
	memset(want, '/', sizeof(want));
	memcpy(want, "4=b\n4=", 6);
	memcpy(want + 6 + 2048, "...\n4=a\n4=a\n", 13);
	assert_string_equal(take_lines(), want);
}

static void an_empty_table_has_no_entry(void **state)
{
	uint8_t block[8];
	size_t n;

	(void)state;
	assert_decodes("4401 61 be", 9, "4=a\n4=a\n");
	n = from_hex("20 be", block);
	assert_int_equal(decode_in(block, n, 9), -EPROTO);
}

static void a_window_grows_to_what_the_table_holds(void **state)
{
	uint8_t block[64];
	size_t n;

	(void)state;
	assert_int_equal(budget.used_bytes, 0);
	for (int i = 0; i < 1000; i++) {
		n = from_hex("4402 2f61", block); /* :path "/a" */
		assert_int_equal(decode_in(block, n, 99), 0);
	}
	/* 128 entries of 8 bytes, and their values. */
	assert_int_equal(budget.used_bytes, 128 * 8 + 256);
	buf_reset(&lines);
	assert_decodes("bd be ff3d ff3e", 99, "0=-\n4=/a\n4=/a\n4=/a\n");
	/* The 129th is older than that. */
	assert_decodes("ff3f", 99, "1=?\n");
}

static void what_was_pushed_out_does_not_come_back(void **state)
{
	(void)state;
	window.whole = false;
	for (int i = 0; i < 140; i++)
		assert_decodes("4402 2f61", 99, "4=/a\n"); /* :path "/a" */
	/* The table has room for more than 128 entries from now on. */
	assert_decodes("3fe13f 4402 2f62", 99, "4=/b\n");
	assert_decodes("be ff3e ff3f ff40", 99, "4=/b\n4=/a\n4=/a\n1=?\n");
	for (int i = 0; i < 20; i++)
		assert_decodes("4402 2f63", 99, "4=/c\n");
	assert_decodes("ff53 ff54", 99, "4=/a\n1=?\n");
}

static void a_window_without_memory_forgets_and_is_never_wrong(void **state)
{
	(void)state;
	budget.max_bytes = 64 + 128; /* 8 entries, 128 bytes */
	for (int i = 0; i < 5; i++)
		assert_decodes("441e 2f61 6161 6161 6161 6161 6161 6161 6161 "
			       "6161 6161 6161 6161 6161 6161 6161",
			       99, "4=/aaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n");
	/* Of five paths of 30 bytes four are there. */
	assert_decodes("c2c1", 99, "4=?\n4=/aaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n");
	for (int i = 0; i < 8; i++)
		assert_decodes("4001 7801 79", 99, "0=-\n");
	assert_decodes("c5", 99, "0=-\n");
	assert_decodes("c6", 99, "1=?\n");
	assert_true(budget.refused > 0);
	assert_int_equal(budget.used_bytes, 64 + 128);
	hpack_window_fini(&window);
	budget.max_bytes = 0;
	hpack_window_init(&window, &budget, true);
	assert_decodes("4401 61", 99, "4=a\n");
	assert_decodes("be", 99, "1=?\n");
}

/* Random header lists, as nghttp2 encodes them for any size of the table. */
static uint32_t seed;

static uint32_t below(uint32_t n)
{
	seed = seed * 1664525u + 1013904223u;
	return (seed >> 8) % n;
}

static size_t make_fields(nghttp2_nv *nv, char values[][24])
{
	static const char *const fields[] = {
		":path", ":authority", "traceparent", "x-a",
		"x-b",	 "x-c",	       "grpc-status", "content-type",
	};
	size_t n = 1 + below(8);

	for (size_t i = 0; i < n; i++) {
		const char *name = fields[below(8)];
		int len = snprintf(values[i], 24, "v%u", below(40));

		nv[i] = (nghttp2_nv){ (uint8_t *)(uintptr_t)name,
				      (uint8_t *)values[i], strlen(name),
				      (size_t)len, 0 };
	}
	return n;
}

static void put_expected(struct buf *b, const nghttp2_nv *nv, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int name =
			hpack_name_of((const char *)nv[i].name, nv[i].namelen);

		buf_printf(b, "%d=%s\n", name,
			   name == HPACK_OTHER ? "-" : (char *)nv[i].value);
	}
}

static void agrees_with_nghttp2_for_tables_of_any_size(void **state)
{
	nghttp2_hd_deflater *encoder;
	struct buf want = { 0 };
	nghttp2_nv nv[8];
	char values[8][24];
	uint8_t block[4096];

	(void)state;
	for (seed = 1; seed < 40; seed++) {
		uint32_t s = seed;

		hpack_window_fini(&window);
		hpack_window_init(&window, &budget, true);
		assert_int_equal(nghttp2_hd_deflate_new(&encoder, 65536), 0);
		for (int i = 0; i < 300; i++) {
			size_t n = make_fields(nv, values);
			ssize_t len;

			if (below(20) == 0)
				nghttp2_hd_deflate_change_table_size(
					encoder, below(3000) * below(20));
			len = nghttp2_hd_deflate_hd(encoder, block,
						    sizeof(block), nv, n);
			assert_true(len > 0);
			put_expected(&want, nv, n);
			assert_int_equal(
				decode_in(block, (size_t)len, 1 + below(50)),
				0);
			assert_string_equal(take_lines(), buf_str(&want));
			buf_reset(&want);
		}
		nghttp2_hd_deflate_del(encoder);
		seed = s;
	}
	buf_fini(&want);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(decodes_the_requests_of_the_standard),
		T(decodes_the_answers_of_the_standard),
		T(a_late_window_has_what_was_inserted_since),
		T(a_prefix_of_a_field_is_no_block),
		T(what_is_no_block_is_refused),
		T(knows_the_code_of_each_byte),
		T(an_entry_of_any_size_takes_one_place),
		T(an_empty_table_has_no_entry),
		T(a_window_grows_to_what_the_table_holds),
		T(what_was_pushed_out_does_not_come_back),
		T(a_window_without_memory_forgets_and_is_never_wrong),
		T(agrees_with_nghttp2_for_tables_of_any_size),
	};

	return cmocka_run_group_tests(tests, set_up_guard, NULL);
}
