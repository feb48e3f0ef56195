/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/resource.h>

#include "common/fds.h"

static void shares_are_of_the_limit_and_bounded(void **state)
{
	static const struct {
		rlim_t limit;
		unsigned percent, most, want;
	} cases[] = {
		{ 1024, 70, 65536, 716 }, { 1024, 20, 512, 204 },
		{ 256, 70, 65536, 179 },  { 256, 20, 100, 51 },
		{ 2560, 20, 512, 512 },	  { 2561, 20, 512, 512 },
		{ 64, 1, 512, 1 },
	};
	struct rlimit before, now;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	now = before;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		now.rlim_cur = cases[i].limit;
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &now), 0);
		assert_int_equal(fds_share(cases[i].percent, cases[i].most),
				 cases[i].want);
	}
	setrlimit(RLIMIT_NOFILE, &before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shares_are_of_the_limit_and_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
