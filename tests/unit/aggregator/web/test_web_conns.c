/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "aggregator/web/web_conns.h"

#define N 7

static bool shut_down(int fd, int timeout_ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char c;

	return poll(&p, 1, timeout_ms) == 1 && read(fd, &c, 1) == 0;
}

static void who_is_late_is_shut_down_and_nobody_else(void **state)
{
	struct web_conns *s;
	struct web_conn *late[N], *early[N];
	int a[N][2], b[N][2];

	(void)state;
	assert_int_equal(web_conns_start(&s), 0);
	for (int i = 0; i < N; i++) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, a[i]), 0);
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, b[i]), 0);
		late[i] = web_conns_add(s, a[i][0], 1);
		early[i] = web_conns_add(s, b[i][0], 1);
		/* It has got further: more time for what it does now. */
		web_conns_deadline(s, early[i], 600);
		/* A byte now and then does not extend the deadline. */
		assert_int_equal(write(a[i][0], "x", 1), 1);
		assert_int_equal(read(a[i][1], (char[1]){ 0 }, 1), 1);
	}
	assert_int_equal(web_conns_count(s), 2 * N);
	for (int i = 0; i < N; i++)
		assert_true(shut_down(a[i][1], 10000));
	assert_int_equal(web_conns_cut(s), N);
	for (int i = 0; i < N; i++) {
		assert_false(shut_down(b[i][1], 0));
		web_conns_remove(s, early[i]);
		web_conns_remove(s, late[i]);
		for (int k = 0; k < 2; k++) {
			close(a[i][k]);
			close(b[i][k]);
		}
	}
	assert_int_equal(web_conns_count(s), 0);
	web_conns_stop(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_is_late_is_shut_down_and_nobody_else),
	};

	return cmocka_run_group_tests_name("web_conns", tests, NULL, NULL);
}
