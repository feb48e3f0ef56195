/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"

static void grows_and_keeps_what_it_has(void **state)
{
	struct buf b = { 0 };

	(void)state;
	for (unsigned i = 0; i < 100003; i++)
		assert_int_equal(buf_putc(&b, (char)(i % 251)), 0);
	assert_int_equal(b.len, 100003);
	for (unsigned i = 0; i < 100003; i++)
		assert_int_equal((unsigned char)b.data[i], i % 251);
	buf_fini(&b);
	assert_null(b.data);
}

static void writes_numbers_as_printf_does(void **state)
{
	static const uint64_t u[] = { 0, 9, 10, 99, 1234567890123, UINT64_MAX };
	static const int64_t s[] = { 0, -1, INT64_MIN, INT64_MAX, -10 };
	struct buf b = { 0 };
	char want[32];

	(void)state;
	for (unsigned i = 0; i < sizeof(u) / sizeof(*u); i++) {
		buf_reset(&b);
		buf_put_u64(&b, u[i]);
		snprintf(want, sizeof(want), "%" PRIu64, u[i]);
		assert_string_equal(buf_str(&b), want);
	}
	for (unsigned i = 0; i < sizeof(s) / sizeof(*s); i++) {
		buf_reset(&b);
		buf_put_i64(&b, s[i]);
		snprintf(want, sizeof(want), "%" PRId64, s[i]);
		assert_string_equal(buf_str(&b), want);
	}
	buf_fini(&b);
}

static void an_error_sticks_until_reset(void **state)
{
	struct buf b = { .max = 4 };

	(void)state;
	assert_int_equal(buf_puts(&b, "abcd"), 0);
	assert_int_equal(buf_putc(&b, 'e'), -EMSGSIZE);
	assert_int_equal(buf_append(&b, "", 0), -EMSGSIZE);
	assert_int_equal(buf_printf(&b, "%d", 1), -EMSGSIZE);
	assert_null(buf_str(&b));
	assert_int_equal(b.len, 4);
	buf_reset(&b);
	assert_int_equal(buf_puts(&b, "ab"), 0);
	assert_string_equal(buf_str(&b), "ab");
	buf_fini(&b);
}

static void printf_fills_up_to_the_limit_exactly(void **state)
{
	struct buf b = { .max = 300 };
	char want[301];

	(void)state;
	memset(want, 'x', 300);
	want[300] = '\0';
	assert_int_equal(buf_printf(&b, "%s", want), 0);
	assert_int_equal(b.len, 300);
	assert_string_equal(buf_str(&b), want);
	assert_int_equal(buf_printf(&b, "%s", "y"), -EMSGSIZE);
	buf_fini(&b);
}

static void gives_its_content_away(void **state)
{
	struct buf b = { 0 };
	size_t len = 99;
	void *data;

	(void)state;
	data = buf_take(&b, &len);
	assert_non_null(data);
	assert_int_equal(len, 0);
	free(data);
	buf_append(&b, "a\0b", 3);
	data = buf_take(&b, &len);
	assert_int_equal(len, 3);
	assert_memory_equal(data, "a\0b", 3);
	assert_null(b.data);
	assert_int_equal(b.len, 0);
	free(data);
}

static void refuses_a_size_that_overflows(void **state)
{
	struct buf b = { 0 };

	(void)state;
	buf_putc(&b, 'a');
	assert_null(buf_reserve(&b, SIZE_MAX));
	assert_int_equal(b.err, -ENOMEM);
	assert_int_equal(b.len, 1);
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(grows_and_keeps_what_it_has),
		cmocka_unit_test(writes_numbers_as_printf_does),
		cmocka_unit_test(an_error_sticks_until_reset),
		cmocka_unit_test(printf_fills_up_to_the_limit_exactly),
		cmocka_unit_test(gives_its_content_away),
		cmocka_unit_test(refuses_a_size_that_overflows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
