/* SPDX-License-Identifier: Apache-2.0 */
#include "common/file_stamp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/redtap-stamp-XXXXXX";
static char a[64], b[64], link_[64];

static void put(const char *path, const char *text, long time_ns)
{
	const struct timespec times[2] = { { 1, 0 }, { 1, time_ns } };
	FILE *f = fopen(path, "w");

	fputs(text, f);
	fclose(f);
	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void changes_with_any_file(void **state)
{
	const char *const files[] = { a, NULL, b };
	uint64_t first, second;

	(void)state;
	put(a, "1", 1);
	put(b, "2", 1);
	first = file_stamp(files, 3);
	assert_int_not_equal(first, 0);
	assert_int_equal(file_stamp(files, 3), first);
	put(b, "3", 2); /* the same size, another time */
	second = file_stamp(files, 3);
	assert_int_not_equal(second, first);
	put(a, "11", 1); /* the same time, another size */
	assert_int_not_equal(file_stamp(files, 3), second);
}

/* As the kubelet does: the link goes to another file of the same age. */
static void sees_a_link_that_is_moved(void **state)
{
	const char *const files[] = { link_ };
	uint64_t first;

	(void)state;
	put(a, "x", 1);
	put(b, "x", 1);
	assert_int_equal(symlink(a, link_), 0);
	first = file_stamp(files, 1);
	assert_int_equal(unlink(link_), 0);
	assert_int_equal(symlink(b, link_), 0);
	assert_int_not_equal(file_stamp(files, 1), first);
}

static void is_zero_without_files(void **state)
{
	const char *const none[] = { NULL }, *const gone[] = { a,
							       "/nonexistent" };

	(void)state;
	put(a, "x", 1);
	assert_int_equal(file_stamp(none, 1), 0);
	assert_int_equal(file_stamp(gone, 2), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(changes_with_any_file),
		cmocka_unit_test(sees_a_link_that_is_moved),
		cmocka_unit_test(is_zero_without_files),
	};
	int failed;

	if (!mkdtemp(dir))
		return 1;
	snprintf(a, sizeof(a), "%s/a", dir);
	snprintf(b, sizeof(b), "%s/b", dir);
	snprintf(link_, sizeof(link_), "%s/link", dir);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(a);
	unlink(b);
	unlink(link_);
	rmdir(dir);
	return failed;
}
