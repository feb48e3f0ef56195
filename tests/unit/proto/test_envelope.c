/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/batch.h"
#include "proto/limits.h"

/* The last fields of a Reply: tag of field 7, true; of field 8, 1500. */
static const uint8_t last[] = { 7 << 3, 1, 8 << 3, 0xdc, 0x0b };

static void a_reply_survives_the_wire(void **state)
{
	const struct reply said = {
		.protocol = 1,
		.status = REPLY_ACCEPTED,
		.epoch = UINT64_C(1795251600000000001),
		.sequence = 300,
		.retry_ms = 200,
		.duplicate = true,
		.gather_ms = 1500,
		.reason = "so",
	};
	uint8_t data[REPLY_BYTES_MAX];
	struct reply r;
	size_t len;

	(void)state;
	len = reply_put(&said, data);
	assert_int_equal(reply_decode(data, len, &r), 0);
	assert_int_equal(r.protocol, 1);
	assert_int_equal(r.status, REPLY_ACCEPTED);
	assert_int_equal(r.epoch, said.epoch);
	assert_int_equal(r.sequence, 300);
	assert_int_equal(r.retry_ms, 200);
	assert_string_equal(r.reason, "so");
	assert_true(r.duplicate);
	assert_int_equal(r.gather_ms, 1500);
	assert_memory_equal(data + len - 5, last, 5);
	/* As aggregators say it that do not know the fields. */
	assert_int_equal(reply_decode(data, len - 3, &r), 0);
	assert_true(r.duplicate);
	assert_int_equal(r.gather_ms, 0);
	assert_int_equal(reply_decode(data, len - 5, &r), 0);
	assert_false(r.duplicate);
	assert_int_equal(r.sequence, 300);
}

static void fields_of_later_versions_are_ignored(void **state)
{
	uint8_t data[REPLY_BYTES_MAX + 2];
	struct reply said = { .status = REPLY_BUSY, .retry_ms = 7 }, r;
	size_t len;

	(void)state;
	len = reply_put(&said, data);
	data[len] = 15 << 3; /* field 15, a number */
	data[len + 1] = 42;
	assert_int_equal(reply_decode(data, len + 2, &r), 0);
	assert_int_equal(r.status, REPLY_BUSY);
	assert_int_equal(r.retry_ms, 7);
	assert_int_equal(r.gather_ms, 0); /* as old aggregators say it */
	assert_false(r.duplicate);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_reply_survives_the_wire),
		cmocka_unit_test(fields_of_later_versions_are_ignored),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
