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
#include <sys/stat.h>
#include <unistd.h>

#include "common/token.h"

static char dir[64], path[128];

static int set_up(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/redtap-token-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/token", dir);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(dir);
}

static void write_file(const void *data, size_t len)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(path, 0600), 0);
}

static int read_text(const char *text, struct token *out)
{
	write_file(text, strlen(text));
	return token_read(out, path);
}

static void a_made_token_is_for_its_owner_only(void **state)
{
	struct token one, two;
	struct stat st;

	(void)state;
	unlink(path);
	assert_int_equal(token_read(&one, path), -ENOENT);
	assert_int_equal(token_make(path), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(token_read(&one, path), 0);
	assert_int_equal(one.len, 48);
	assert_int_equal(token_make(path), -EEXIST);
	unlink(path);
	assert_int_equal(token_make(path), 0);
	assert_int_equal(token_read(&two, path), 0);
	assert_string_not_equal(one.text, two.text);
}

static void a_link_is_not_followed(void **state)
{
	char target[160];

	(void)state;
	snprintf(target, sizeof(target), "%s.else", path);
	unlink(path);
	assert_int_equal(symlink(target, path), 0);
	assert_int_equal(token_make(path), -EEXIST);
	assert_int_equal(access(target, F_OK), -1);
	unlink(path);
}

static void the_first_line_counts_without_blanks(void **state)
{
	char longest[TOKEN_MAX + 3];
	struct token t;

	(void)state;
	assert_int_equal(read_text(" \tse cret \r\nmore\n", &t), 0);
	assert_string_equal(t.text, "se cret");
	assert_int_equal(read_text("x", &t), 0);
	assert_int_equal(t.len, 1);
	assert_int_equal(read_text("", &t), -EINVAL);
	assert_int_equal(read_text("  \nx\n", &t), -EINVAL);
	assert_int_equal(read_text("a\001b\n", &t), -EINVAL);
	write_file("a\0b\n", 4);
	assert_int_equal(token_read(&t, path), 0);
	assert_string_equal(t.text, "a");
	memset(longest, 'k', TOKEN_MAX);
	strcpy(longest + TOKEN_MAX, "\n");
	assert_int_equal(read_text(longest, &t), 0);
	assert_int_equal(t.len, TOKEN_MAX);
	strcpy(longest + TOKEN_MAX, "k\n");
	assert_int_equal(read_text(longest, &t), -EINVAL);
}

static void only_the_same_token_is_equal(void **state)
{
	struct token t;

	(void)state;
	assert_int_equal(read_text("secret\n", &t), 0);
	assert_true(token_equal(&t, "secret", 6));
	assert_false(token_equal(&t, "secret", 5));
	assert_false(token_equal(&t, "secret2", 7));
	assert_false(token_equal(&t, "Secret", 6));
	assert_false(token_equal(&t, NULL, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_made_token_is_for_its_owner_only),
		cmocka_unit_test(a_link_is_not_followed),
		cmocka_unit_test(the_first_line_counts_without_blanks),
		cmocka_unit_test(only_the_same_token_is_equal),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
