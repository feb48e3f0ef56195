/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "aggregator/web/web_unescape.h"

static void becomes(const char *text, const char *want)
{
	char copy[64];

	snprintf(copy, sizeof(copy), "%s", text);
	assert_int_equal(web_unescape(copy), strlen(want));
	assert_string_equal(copy, want);
}

static void every_byte_but_nul_is_decoded(void **state)
{
	char text[8], want[2] = "";

	(void)state;
	for (int b = 1; b < 256; b++) {
		want[0] = (char)b;
		snprintf(text, sizeof(text), "%%%02x", b);
		becomes(text, want);
		snprintf(text, sizeof(text), "%%%02X", b);
		becomes(text, want);
	}
	becomes("/metrics%00x", "/metrics%00x");
	becomes("%00", "%00");
}

static void what_is_no_escape_stays(void **state)
{
	(void)state;
	becomes("", "");
	becomes("%", "%");
	becomes("%4", "%4");
	becomes("%4g%g4%%41", "%4g%g4%A");
	becomes("%2541", "%41");
}

static void nothing_is_read_behind_the_end(void **state)
{
	static const char text[] = "%41%4";
	char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)state;
	assert_ptr_not_equal(page, MAP_FAILED);
	assert_int_equal(mprotect(page + 4096, 4096, PROT_NONE), 0);
	for (size_t n = 0; n < sizeof(text); n++) {
		char *at = page + 4096 - n - 1;

		memcpy(at, text, n);
		at[n] = '\0';
		web_unescape(at);
	}
	munmap(page, 8192);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_byte_but_nul_is_decoded),
		cmocka_unit_test(what_is_no_escape_stays),
		cmocka_unit_test(nothing_is_read_behind_the_end),
	};

	return cmocka_run_group_tests_name("web_unescape", tests, NULL, NULL);
}
