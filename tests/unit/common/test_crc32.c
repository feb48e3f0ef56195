/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "common/crc32.h"

/* By the definition: one bit after the other. */
static uint32_t slow(const uint8_t *p, size_t len)
{
	uint32_t c = ~0u;

	for (size_t i = 0; i < len; i++)
		for (int bit = 0; bit < 8; bit++)
			c = c >> 1 ^
			    (((c ^ p[i] >> bit) & 1) ? 0xedb88320u : 0);
	return ~c;
}

static void known_texts_have_their_checksum(void **state)
{
	(void)state;
	assert_int_equal(crc32_of(0, "", 0), 0);
	assert_int_equal(crc32_of(0, "123456789", 9), 0xcbf43926);
	assert_int_equal(crc32_of(0, "a", 1), 0xe8b7be43);
}

/* Every length and alignment, at the end of a page. */
static void all_lengths_agree_with_the_definition(void **state)
{
	uint8_t *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)state;
	assert_ptr_not_equal(page, MAP_FAILED);
	assert_int_equal(mprotect(page + 4096, 4096, PROT_NONE), 0);
	for (size_t i = 0; i < 4096; i++)
		page[i] = (uint8_t)(i * 131 + (i >> 3));
	for (size_t n = 0; n < 300; n++) {
		const uint8_t *p = page + 4096 - n;

		assert_int_equal(crc32_of(0, p, n), slow(p, n));
		assert_int_equal(
			crc32_of(crc32_of(0, p, n / 3), p + n / 3, n - n / 3),
			slow(p, n));
	}
	munmap(page, 8192);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_texts_have_their_checksum),
		cmocka_unit_test(all_lengths_agree_with_the_definition),
	};

	return cmocka_run_group_tests_name("crc32", tests, NULL, NULL);
}
