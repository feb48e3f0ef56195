/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/files.h"

static char dir[64];

static int set_up(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/redtap-files-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static const char *in_dir(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static int tear_down(void **state)
{
	static const char *const names[] = { "lock", "other", "f" };

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		unlink(in_dir(names[i]));
		rmdir(in_dir(names[i]));
	}
	return rmdir(dir);
}

static int lock(struct files_lock *l)
{
	return files_lock(l, dir, "lock");
}

static void a_folder_is_locked_once(void **state)
{
	struct files_lock a = FILES_UNLOCKED, b = FILES_UNLOCKED;
	struct stat st;

	(void)state;
	assert_int_equal(lock(&a), 0);
	assert_int_equal(lock(&b), -EBUSY);
	assert_int_equal(b.dir, -1);
	assert_int_equal(stat(in_dir("lock"), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	files_unlock(&a);
	files_unlock(&a);
	assert_int_equal(lock(&b), 0);
	files_unlock(&b);
	assert_int_equal(files_lock(&b, "/nonexistent", "lock"), -ENOENT);
}

static void deleting_or_replacing_the_file_frees_nothing(void **state)
{
	struct files_lock a = FILES_UNLOCKED, b = FILES_UNLOCKED;

	(void)state;
	assert_int_equal(lock(&a), 0);
	assert_int_equal(unlink(in_dir("lock")), 0);
	assert_int_equal(lock(&b), -EBUSY);
	close(open(in_dir("lock"), O_CREAT | O_WRONLY, 0666));
	assert_int_equal(lock(&b), -EBUSY);
	files_unlock(&a);
	assert_int_equal(lock(&b), 0);
	files_unlock(&b);
}

/* An older version knows only the file, and is seen by that. */
static void a_lock_of_the_file_alone_counts(void **state)
{
	struct files_lock a = FILES_UNLOCKED;
	int fd = open(in_dir("lock"), O_RDWR | O_CREAT, 0600);

	(void)state;
	assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
	assert_int_equal(lock(&a), -EBUSY);
	close(fd);
	assert_int_equal(lock(&a), 0);
	files_unlock(&a);
}

static void links_are_refused(void **state)
{
	struct files_lock a = FILES_UNLOCKED;

	(void)state;
	assert_int_equal(symlink("other", in_dir("lock")), 0);
	assert_int_equal(lock(&a), -ELOOP);
	/* Nothing was made at its end. */
	assert_int_equal(access(in_dir("other"), F_OK), -1);
	unlink(in_dir("lock"));
	close(open(in_dir("other"), O_CREAT | O_WRONLY, 0600));
	{
		char other[128];

		snprintf(other, sizeof(other), "%s", in_dir("other"));
		assert_int_equal(link(other, in_dir("lock")), 0);
	}
	assert_int_equal(lock(&a), -ELOOP);
	unlink(in_dir("lock"));
	assert_int_equal(mkfifo(in_dir("lock"), 0600), 0);
	assert_int_equal(lock(&a), -ELOOP);
	unlink(in_dir("lock"));
	assert_int_equal(mkdir(in_dir("lock"), 0700), 0);
	assert_int_equal(lock(&a), -EISDIR);
}

static void others_lose_their_rights_and_no_more(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(files_close_to_others(in_dir("f")), 0);
	close(open(in_dir("f"), O_CREAT | O_WRONLY, 0600));
	for (unsigned mode = 0400; mode <= 0777; mode += 3) {
		chmod(in_dir("f"), mode);
		assert_int_equal(files_open_to_others(in_dir("f")),
				 (mode & 06) != 0);
		assert_int_equal(files_close_to_others(in_dir("f")), 0);
		assert_int_equal(stat(in_dir("f"), &st), 0);
		assert_int_equal(st.st_mode & 0777, mode & 0770);
	}
	assert_false(files_open_to_others(in_dir("nothing")));
	assert_false(files_open_to_others("/dev/null"));
}

static void a_new_file_is_closed_whatever_the_umask(void **state)
{
	mode_t before = umask(0);
	struct stat st;

	(void)state;
	assert_int_equal(files_make_closed(in_dir("f")), 0);
	umask(before);
	assert_int_equal(stat(in_dir("f"), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
	chmod(in_dir("f"), 0664);
	assert_int_equal(files_make_closed(in_dir("f")), 0);
	assert_int_equal(stat(in_dir("f"), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0660);
	assert_int_equal(files_make_closed("/nonexistent/f"), -ENOENT);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_folder_is_locked_once),
		TEST(deleting_or_replacing_the_file_frees_nothing),
		TEST(a_lock_of_the_file_alone_counts),
		TEST(links_are_refused),
		TEST(others_lose_their_rights_and_no_more),
		TEST(a_new_file_is_closed_whatever_the_umask),
	};

	return cmocka_run_group_tests_name("files", tests, NULL, NULL);
}
