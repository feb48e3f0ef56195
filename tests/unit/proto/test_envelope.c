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

static void a_push_survives_the_wire(void **state)
{
	char token[LIMIT_TOKEN_BYTES];
	const struct push said = {
		.protocol = 1,
		.sent_us = 1795251600000000,
		.clock_us = -7,
		.batch = "batch",
		.batch_len = 5,
		.health = { .told = true,
			    .outbox_bytes = UINT64_MAX,
			    .outbox_batches = 1 << 20,
			    .oldest_ms = UINT64_MAX,
			    .acknowledged = true,
			    .acknowledged_ms = 0 },
		.token = token,
		.token_len = sizeof(token),
		.ask = "web-1",
		.ask_len = 5,
	};
	struct push p;
	void *data;
	size_t len;

	(void)state;
	memset(token, 't', sizeof(token));
	assert_int_equal(push_encode(&said, &data, &len), 0);
	assert_int_equal(push_decode(data, len, &p), 0);
	assert_int_equal(p.sent_us, said.sent_us);
	assert_int_equal(p.clock_us, -7);
	assert_int_equal(p.batch_len, 5);
	assert_memory_equal(p.batch, "batch", 5);
	assert_int_equal(p.token_len, sizeof(token));
	assert_memory_equal(p.token, token, sizeof(token));
	assert_int_equal(p.ask_len, 5);
	assert_memory_equal(p.ask, "web-1", 5);
	assert_true(p.health.told);
	assert_int_equal(p.health.outbox_bytes, said.health.outbox_bytes);
	assert_int_equal(p.health.outbox_batches, said.health.outbox_batches);
	assert_int_equal(p.health.oldest_ms, said.health.oldest_ms);
	assert_true(p.health.acknowledged);
	assert_int_equal(p.health.acknowledged_ms, 0);
	for (size_t n = 0; n < len; n++)
		assert_int_equal(push_decode(data, n, &p), -EPROTO);
	free(data);
}

static void a_push_that_does_not_say_is_told_apart(void **state)
{
	struct push said = { .protocol = 1, .batch = "b", .batch_len = 1 }, p;
	void *data;
	size_t len;

	(void)state;
	assert_int_equal(push_encode(&said, &data, &len), 0);
	assert_int_equal(push_decode(data, len, &p), 0);
	assert_false(p.health.told);
	assert_null(p.token);
	assert_null(p.ask);
	free(data);
	/* An empty outbox that never had an answer. */
	said.health.told = true;
	assert_int_equal(push_encode(&said, &data, &len), 0);
	assert_int_equal(push_decode(data, len, &p), 0);
	assert_true(p.health.told);
	assert_false(p.health.acknowledged);
	assert_int_equal(p.health.outbox_bytes, 0);
	free(data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_reply_survives_the_wire),
		cmocka_unit_test(fields_of_later_versions_are_ignored),
		cmocka_unit_test(a_push_survives_the_wire),
		cmocka_unit_test(a_push_that_does_not_say_is_told_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
