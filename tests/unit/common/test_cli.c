/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/cli.h"
#include "common/notify.h"

static void reads_durations(void **state)
{
	uint64_t v;

	(void)state;
	assert_int_equal(cli_parse_duration_ms("90", &v), 0);
	assert_int_equal(v, 90000);
	assert_int_equal(cli_parse_duration_ms("250ms", &v), 0);
	assert_int_equal(v, 250);
	assert_int_equal(cli_parse_duration_ms("15d", &v), 0);
	assert_int_equal(v, 15ull * 86400 * 1000);
	assert_int_equal(cli_parse_duration_ms("0s", &v), 0);
	assert_int_equal(v, 0);
	assert_int_equal(cli_parse_duration_ms("", &v), -EINVAL);
	assert_int_equal(cli_parse_duration_ms("-1s", &v), -EINVAL);
	assert_int_equal(cli_parse_duration_ms(" 1s", &v), -EINVAL);
	assert_int_equal(cli_parse_duration_ms("1 s", &v), -EINVAL);
	assert_int_equal(cli_parse_duration_ms("1.5s", &v), -EINVAL);
	assert_int_equal(cli_parse_duration_ms("1S", &v), -EINVAL);
	assert_int_equal(cli_parse_duration_ms("18446744073709551615y", &v),
			 -EINVAL);
	assert_int_equal(cli_parse_duration_ms("99999999999999999999", &v),
			 -EINVAL);
}

static void reads_sizes(void **state)
{
	uint64_t v;

	(void)state;
	assert_int_equal(cli_parse_bytes("4096", &v), 0);
	assert_int_equal(v, 4096);
	assert_int_equal(cli_parse_bytes("64KiB", &v), 0);
	assert_int_equal(v, 65536);
	assert_int_equal(cli_parse_bytes("1KB", &v), 0);
	assert_int_equal(v, 1000);
	assert_int_equal(cli_parse_bytes("3TiB", &v), 0);
	assert_true(v == UINT64_C(3) << 40);
	assert_int_equal(cli_parse_bytes("1kb", &v), -EINVAL);
	assert_int_equal(cli_parse_bytes("0x10", &v), -EINVAL);
	assert_int_equal(cli_parse_bytes("17179869184TiB", &v), -EINVAL);
}

static void reads_numbers_within_bounds(void **state)
{
	uint64_t v;

	(void)state;
	assert_int_equal(cli_parse_u64("65535", 1, 65535, &v), 0);
	assert_int_equal(v, 65535);
	assert_int_equal(cli_parse_u64("65536", 1, 65535, &v), -EINVAL);
	assert_int_equal(cli_parse_u64("0", 1, 65535, &v), -EINVAL);
	assert_int_equal(cli_parse_u64("+1", 1, 65535, &v), -EINVAL);
	assert_int_equal(cli_parse_u64("1x", 1, 65535, &v), -EINVAL);
	assert_int_equal(
		cli_parse_u64("18446744073709551615", 0, UINT64_MAX, &v), 0);
	assert_true(v == UINT64_MAX);
}

static int got_argc;
static const char *got_name, *got_arg;

static int remember(int argc, char **argv)
{
	got_argc = argc;
	got_name = argv[0];
	got_arg = argc > 1 ? argv[1] : NULL;
	return 7;
}

static int other(int argc, char **argv)
{
	(void)argc, (void)argv;
	return 9;
}

static const struct cli_command table[] = {
	{ "run", remember, "Run" },
	{ "gone", NULL, "Not in this build" },
	{ "other", other, "Other" },
};

/* Standard output is not the test's business. */
static int call(const char *a, const char *b)
{
	char program[] = "/x/prog", one[32] = "", two[32] = "";
	char *argv[] = { program, one, two, NULL };
	int argc = 1 + (a != NULL) + (b != NULL);

	if (a)
		strcpy(one, a);
	if (b)
		strcpy(two, b);
	argv[argc] = NULL;
	got_argc = 0;
	return cli_main(table, 3, argc, argv);
}

static void runs_the_named_command_or_the_first(void **state)
{
	(void)state;
	assert_int_equal(call("run", "--x"), 7);
	assert_string_equal(got_name, "prog run");
	assert_int_equal(got_argc, 2);
	assert_int_equal(call(NULL, NULL), 7);
	assert_int_equal(got_argc, 1);
	assert_int_equal(call("--flag", NULL), 7);
	assert_int_equal(got_argc, 2);
	assert_int_equal(call("other", NULL), 9);
}

static void refuses_what_is_not_in_the_table(void **state)
{
	(void)state;
	assert_int_equal(call("gone", NULL), 2);
	assert_int_equal(call("nothing", NULL), 2);
	assert_int_equal(got_argc, 0);
}

static void tells_the_service_manager(void **state)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	char dir[] = "/tmp/redtap-notify.XXXXXX", text[64] = "";
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

	(void)state;
	assert_non_null(mkdtemp(dir));
	strcpy(at.sun_path, dir);
	strcat(at.sun_path, "/s");
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	unsetenv("NOTIFY_SOCKET");
	assert_int_equal(notify_send("READY=1"), 0);
	setenv("NOTIFY_SOCKET", at.sun_path, 1);
	assert_int_equal(notify_send("READY=1\nSTATUS=fine"), 0);
	assert_int_equal(recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT), 19);
	assert_string_equal(text, "READY=1\nSTATUS=fine");
	close(fd);
	assert_int_equal(notify_send("X=1"), -ECONNREFUSED);
	unlink(at.sun_path);
	assert_int_equal(notify_send("X=1"), -ENOENT);
	setenv("NOTIFY_SOCKET", "relative", 1);
	assert_int_equal(notify_send("X=1"), -EINVAL);
	unsetenv("NOTIFY_SOCKET");
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_durations),
		cmocka_unit_test(reads_sizes),
		cmocka_unit_test(reads_numbers_within_bounds),
		cmocka_unit_test(runs_the_named_command_or_the_first),
		cmocka_unit_test(refuses_what_is_not_in_the_table),
		cmocka_unit_test(tells_the_service_manager),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
