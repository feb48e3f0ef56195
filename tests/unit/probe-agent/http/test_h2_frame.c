/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/buf.h"
#include "probe-agent/http/h2_frame.h"

/* Frames of every type, cut anywhere; what no peer takes for a frame. */

/* Input that ends where the readable memory ends. */
static uint8_t *page_end;
static size_t page_room;

static int set_up(void **state)
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

static struct buf lines;
static char *taken;

static const char *take_lines(void)
{
	free(taken);
	taken = strdup(buf_str(&lines));
	buf_reset(&lines);
	return taken;
}

static int tear_down(void **state)
{
	(void)state;
	buf_fini(&lines);
	free(taken);
	return 0;
}

/* Content is written down without the cuts in it. */
static void put_event(int event, const struct h2_frame *f, const uint8_t *data,
		      size_t len)
{
	switch (event) {
	case H2_FRAME_PREFACE:
		buf_puts(&lines, "preface\n");
		break;
	case H2_FRAME_BEGINS:
		buf_printf(&lines, "%u/%x of %u, %u", f->type, f->flags,
			   f->stream, f->content);
		if (f->type == H2_PUSH_PROMISE)
			buf_printf(&lines, " promises %u", f->promised);
		buf_puts(&lines, ": ");
		break;
	case H2_FRAME_CONTENT:
		buf_append(&lines, data, len);
		break;
	default:
		buf_printf(&lines, "; end of %u/%x of %u\n", f->type, f->flags,
			   f->stream);
	}
}

static int take_in(struct h2_frame *f, const void *bytes, size_t len,
		   size_t piece)
{
	int event = 0;

	for (size_t at = 0; at < len; at += piece) {
		size_t n = len - at < piece ? len - at : piece, got = 0;
		const uint8_t *data = NULL, *p = page_end - n;

		assert_true(n <= page_room);
		memcpy(page_end - n, (const uint8_t *)bytes + at, n);
		while ((event = h2_frame_next(f, &p, page_end, &data, &got)) >
		       0)
			put_event(event, f, data, got);
		if (event < 0)
			return event;
		assert_ptr_equal(p, page_end);
	}
	return 0;
}

#define BYTES(text) text, sizeof(text) - 1

static void assert_frames(const char *bytes, size_t len, const char *want)
{
	for (size_t piece = 1; piece <= len; piece++) {
		struct h2_frame f;

		h2_frame_init(&f, false);
		assert_int_equal(take_in(&f, bytes, len, piece), 0);
		assert_string_equal(take_lines(), want);
		assert_true(h2_frame_is_between(&f));
		assert_int_equal(h2_frame_left(&f), 0);
	}
}

static void takes_frames_of_every_type(void **state)
{
	static const char all[] = "\0\0\5\0\1\0\0\0\1hello"
				  "\0\0\2\1\5\0\0\0\3ab"
				  "\0\0\5\2\0\0\0\0\3prior"
				  "\0\0\4\3\0\0\0\0\3rst_"
				  "\0\0\6\4\0\0\0\0\0settin"
				  "\0\0\0\4\1\0\0\0\0"
				  "\0\0\6\5\4\0\0\0\3\0\0\0\4ab"
				  "\0\0\x8\6\0\0\0\0\0pingpong"
				  "\0\0\xa\7\0\0\0\0\0goawaygone"
				  "\0\0\4\x8\0\0\0\0\0wind"
				  "\0\0\4\x8\0\0\0\0\3wind"
				  "\0\0\3\x9\4\0\0\0\3abc"
				  "\0\0\2\x2a\xff\xff\xff\xff\xff??";

	(void)state;
	assert_frames(BYTES(all), "0/1 of 1, 5: hello; end of 0/1 of 1\n"
				  "1/5 of 3, 2: ab; end of 1/5 of 3\n"
				  "2/0 of 3, 5: prior; end of 2/0 of 3\n"
				  "3/0 of 3, 4: rst_; end of 3/0 of 3\n"
				  "4/0 of 0, 6: settin; end of 4/0 of 0\n"
				  "4/1 of 0, 0: ; end of 4/1 of 0\n"
				  "5/4 of 3, 2 promises 4: ab; end of 5/4 of 3"
				  "\n"
				  "6/0 of 0, 8: pingpong; end of 6/0 of 0\n"
				  "7/0 of 0, 10: goawaygone; end of 7/0 of 0\n"
				  "8/0 of 0, 4: wind; end of 8/0 of 0\n"
				  "8/0 of 3, 4: wind; end of 8/0 of 3\n"
				  "9/4 of 3, 3: abc; end of 9/4 of 3\n"
				  "42/ff of 2147483647, 2: ??; end of 42/ff of "
				  "2147483647\n");
}

static void what_says_nothing_is_not_judged(void **state)
{
	/* PRIORITY, SETTINGS, PING and WINDOW_UPDATE of a wrong length. */
	static const char all[] = "\0\0\1\2\0\0\0\0\0a"
				  "\0\0\2\4\1\0\0\0\3ab"
				  "\0\0\0\6\0\0\0\0\3"
				  "\0\0\3\x8\0\0\0\0\0abc";

	(void)state;
	assert_frames(BYTES(all), "2/0 of 0, 1: a; end of 2/0 of 0\n"
				  "4/1 of 3, 2: ab; end of 4/1 of 3\n"
				  "6/0 of 3, 0: ; end of 6/0 of 3\n"
				  "8/0 of 0, 3: abc; end of 8/0 of 0\n");
}

static void padding_and_fields_are_no_content(void **state)
{
	static const char all[] = "\0\0\x8\0\x9\0\0\0\1\2hello.."
				  "\0\0\4\0\x8\0\0\0\1\3..."
				  "\0\0\1\0\x8\0\0\0\1\0"
				  "\0\0\xa\1\x2c\0\0\0\3\1prio5abc."
				  "\0\0\x7\1\x24\0\0\0\3prio5ab"
				  "\0\0\x9\5\xc\0\0\0\3\2\0\0\0\6ab..";

	(void)state;
	assert_frames(BYTES(all), "0/9 of 1, 5: hello; end of 0/9 of 1\n"
				  "0/8 of 1, 0: ; end of 0/8 of 1\n"
				  "0/8 of 1, 0: ; end of 0/8 of 1\n"
				  "1/2c of 3, 3: abc; end of 1/2c of 3\n"
				  "1/24 of 3, 2: ab; end of 1/24 of 3\n"
				  "5/c of 3, 2 promises 6: ab; end of 5/c of 3"
				  "\n");
}

static void what_is_no_frame_is_refused(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
	} wrong[] = {
		{ BYTES("\0\0\0\0\0\0\0\0\0") }, /* DATA of no stream */
		{ BYTES("\0\0\0\1\4\0\0\0\0") }, /* HEADERS */
		{ BYTES("\0\0\0\x9\4\0\0\0\0") }, /* CONTINUATION */
		{ BYTES("\0\0\5\3\0\0\0\0\1") }, /* RST_STREAM of 5 */
		{ BYTES("\0\0\4\3\0\0\0\0\0") }, /* … of no stream */
		{ BYTES("\0\0\3\5\4\0\0\0\1") }, /* PUSH_PROMISE of 3 */
		{ BYTES("\0\0\4\5\4\0\0\0\0") }, /* … of no stream */
		{ BYTES("\0\0\7\7\0\0\0\0\0") }, /* GOAWAY of 7 */
		{ BYTES("\0\0\x8\7\0\0\0\0\1") }, /* … of a stream */
		{ BYTES("\0\0\0\0\x8\0\0\0\1") }, /* no room for pad length */
		{ BYTES("\0\0\1\0\x8\0\0\0\1\1") }, /* … nor the padding */
		{ BYTES("\0\0\5\1\x28\0\0\0\1") }, /* … nor priority */
		{ BYTES("\0\0\4\5\xc\0\0\0\1") }, /* … nor what is promised */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
		for (size_t piece = 1; piece < 12; piece++) {
			struct h2_frame f;

			h2_frame_init(&f, false);
			assert_int_equal(take_in(&f, wrong[i].bytes,
						 wrong[i].len, piece),
					 -EPROTO);
			assert_string_equal(take_lines(), "");
		}
}

static void the_preface_comes_first(void **state)
{
	static const char frames[] = H2_PREFACE "\0\0\0\4\0\0\0\0\0";
	char wrong[H2_PREFACE_BYTES];

	(void)state;
	for (size_t piece = 1; piece < sizeof(frames); piece++) {
		struct h2_frame f;

		h2_frame_init(&f, true);
		assert_int_equal(h2_frame_left(&f), H2_PREFACE_BYTES);
		assert_int_equal(take_in(&f, frames, sizeof(frames) - 1, piece),
				 0);
		assert_string_equal(take_lines(),
				    "preface\n4/0 of 0, 0: ; end of 4/0 of 0"
				    "\n");
	}
	for (size_t at = 0; at < H2_PREFACE_BYTES; at++) {
		struct h2_frame f;

		memcpy(wrong, H2_PREFACE, sizeof(wrong));
		wrong[at] ^= 0x20;
		h2_frame_init(&f, true);
		assert_int_equal(take_in(&f, wrong, sizeof(wrong), 99),
				 -EPROTO);
	}
}

static void says_where_it_is(void **state)
{
	static const char bytes[] = "\0\0\6\0\x8\0\0\0\1\2abc..";
	static const uint32_t left[] = { 0, 0, 0, 0, 0, 0, 0, 0,
					 0, 6, 5, 4, 3, 2, 1, 0 };
	static const uint8_t have[] = { 0, 1, 2, 3, 4, 5, 6, 7,
					8, 0, 0, 0, 0, 0, 0, 0 };
	struct h2_frame f;

	(void)state;
	h2_frame_init(&f, false);
	for (size_t i = 0; i < sizeof(bytes); i++) {
		assert_int_equal(h2_frame_left(&f), left[i]);
		assert_int_equal(h2_frame_head_bytes(&f), have[i]);
		assert_int_equal(h2_frame_is_between(&f), i == 0 || i == 15);
		if (i < sizeof(bytes) - 1)
			assert_int_equal(take_in(&f, bytes + i, 1, 1), 0);
	}
	take_lines();
}

static void passes_over_what_is_not_seen(void **state)
{
	struct h2_frame f;

	(void)state;
	/* 10 bytes: the pad length, 6 of content, 3 of padding. */
	h2_frame_init(&f, false);
	assert_int_equal(h2_frame_skip(&f, 1), -EPROTO);
	take_in(&f, BYTES("\0\0\xa\0\x9\0\0\0\1"), 99);
	assert_int_equal(h2_frame_skip(&f, 1), -EPROTO); /* the pad length */
	take_in(&f, BYTES("\3a"), 99);
	assert_int_equal(h2_frame_skip(&f, 9), -EPROTO);
	assert_int_equal(h2_frame_skip(&f, 2), 2);
	take_in(&f, BYTES("b"), 99);
	assert_int_equal(h2_frame_skip(&f, 4), 2);
	assert_int_equal(h2_frame_left(&f), 1);
	assert_int_equal(h2_frame_skip(&f, 1), 0);
	take_in(&f, BYTES("\0\0\0\4\0\0\0\0\0"), 99);
	assert_string_equal(take_lines(), "0/9 of 1, 6: ab; end of 0/9 of 1\n"
					  "4/0 of 0, 0: ; end of 4/0 of 0\n");
}

static void finds_its_place_again(void **state)
{
	struct h2_frame f;

	(void)state;
	h2_frame_init(&f, false);
	take_in(&f, BYTES("\0\0\xa\1"), 99);
	h2_frame_resync(&f, 3);
	assert_int_equal(h2_frame_left(&f), 3);
	take_in(&f, BYTES("abc\0\0\0\4\0\0\0\0\0"), 2);
	assert_string_equal(take_lines(), "; end of 255/0 of 0\n"
					  "4/0 of 0, 0: ; end of 4/0 of 0\n");
	h2_frame_resync(&f, 0);
	assert_true(h2_frame_is_between(&f));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_frames_of_every_type),
		cmocka_unit_test(what_says_nothing_is_not_judged),
		cmocka_unit_test(padding_and_fields_are_no_content),
		cmocka_unit_test(what_is_no_frame_is_refused),
		cmocka_unit_test(the_preface_comes_first),
		cmocka_unit_test(says_where_it_is),
		cmocka_unit_test(passes_over_what_is_not_seen),
		cmocka_unit_test(finds_its_place_again),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
