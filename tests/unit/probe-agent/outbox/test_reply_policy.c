/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "probe-agent/outbox/reply_policy.h"

#define EPOCH 7u
#define SEQUENCE 9u

static void every_reply_has_one_meaning(void **state)
{
	static const struct {
		struct reply reply;
		enum reply_policy want;
		uint32_t wait_ms;
	} cases[] = {
		/* The batch itself, or a later one: a merge, or sent again. */
		{ { .status = REPLY_ACCEPTED, .epoch = 7, .sequence = 9 },
		  REPLY_POLICY_COUNTED,
		  0 },
		{ { .status = REPLY_ACCEPTED, .epoch = 7, .sequence = 10 },
		  REPLY_POLICY_COUNTED,
		  0 },
		/* Another batch, another start. */
		{ { .status = REPLY_ACCEPTED, .epoch = 7, .sequence = 8 },
		  REPLY_POLICY_STRANGE,
		  200 },
		{ { .status = REPLY_ACCEPTED, .epoch = 8, .sequence = 9 },
		  REPLY_POLICY_STRANGE,
		  200 },
		{ { .status = REPLY_REFUSED }, REPLY_POLICY_REFUSED, 0 },
		{ { .status = REPLY_BUSY }, REPLY_POLICY_AGAIN, 200 },
		{ { .status = REPLY_BUSY, .retry_ms = 1 },
		  REPLY_POLICY_AGAIN,
		  1 },
		{ { .status = REPLY_BUSY, .retry_ms = UINT32_MAX },
		  REPLY_POLICY_AGAIN,
		  10000 },
		{ { .status = REPLY_CONFLICT }, REPLY_POLICY_AGAIN, 5000 },
		{ { .status = REPLY_VERSION }, REPLY_POLICY_AGAIN, 5000 },
		{ { .status = REPLY_UNKNOWN }, REPLY_POLICY_STRANGE, 200 },
		/* A status of a later version loses nothing. */
		{ { .status = (enum reply_status)99 },
		  REPLY_POLICY_STRANGE,
		  200 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		uint32_t wait_ms = 1;

		assert_int_equal(reply_policy(&cases[i].reply, EPOCH, SEQUENCE,
					      &wait_ms),
				 cases[i].want);
		assert_int_equal(wait_ms, cases[i].wait_ms);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_reply_has_one_meaning),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
