/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "common/checksum.h"

#define BYTES 100u

static void every_single_flip_changes_it(void **state)
{
	uint8_t data[BYTES];

	(void)state;
	for (size_t i = 0; i < BYTES; i++)
		data[i] = (uint8_t)(i * 37);
	for (size_t len = 0; len <= BYTES; len++) {
		uint64_t sum = checksum_bytes(0, data, len);

		for (size_t bit = 0; bit < 8 * len; bit++) {
			data[bit / 8] ^= (uint8_t)(1 << bit % 8);
			assert_true(checksum_bytes(0, data, len) != sum);
			data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
		assert_true(checksum_bytes(0, data, len) == sum);
	}
}

static void zeros_at_the_end_count(void **state)
{
	static const uint8_t zeros[BYTES];
	uint64_t sum[BYTES];

	(void)state;
	for (size_t len = 0; len < BYTES; len++) {
		sum[len] = checksum_bytes(7, zeros, len);
		for (size_t i = 0; i < len; i++)
			assert_true(sum[i] != sum[len]);
	}
}

static void the_order_of_words_counts(void **state)
{
	uint64_t a[16], b[16];

	(void)state;
	for (size_t i = 0; i < 16; i++)
		a[i] = i * i + 1;
	for (size_t i = 0; i < 16; i++)
		for (size_t k = 0; k < i; k++) {
			memcpy(b, a, sizeof(a));
			b[i] = a[k];
			b[k] = a[i];
			assert_true(checksum_bytes(0, a, sizeof(a)) !=
				    checksum_bytes(0, b, sizeof(b)));
		}
}

/* It is in stores. By another implementation, in another language. */
static void it_is_the_same_for_ever(void **state)
{
	(void)state;
	assert_true(checksum_u64(0, 1) == UINT64_C(0xccb3fb26ccb3fb2));
	assert_true(checksum_bytes(0, "redtap", 6) ==
		    UINT64_C(0xbd97d440c98e80b0));
	assert_true(checksum_bytes(5,
				   "a text of more than four words of eight "
				   "bytes each",
				   50) == UINT64_C(0x9da653a46b5a0041));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_single_flip_changes_it),
		cmocka_unit_test(zeros_at_the_end_count),
		cmocka_unit_test(the_order_of_words_counts),
		cmocka_unit_test(it_is_the_same_for_ever),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
