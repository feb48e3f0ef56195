/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/buf.h"
#include "probe-agent/gaps/unseen.h"

#define BEGIN "### What it does not see\n"
#define END "\nIt only reads:"

static void read_file(const char *path, struct buf *b)
{
	char part[4096];
	size_t n;
	FILE *f = fopen(path, "r");

	assert_non_null(f);
	while ((n = fread(part, 1, sizeof(part), f)) > 0)
		buf_append(b, part, n);
	fclose(f);
	buf_str(b);
}

static void put_list(struct buf *b)
{
	buf_puts(
		b, BEGIN
		"\n| | with `--capture=` | told by | in `check` | what to do |\n"
		"|---|---|---|---|---|\n");
	for (size_t i = 0; i < UNSEEN_REASONS; i++) {
		const struct unseen *u = &unseen_table[i];

		buf_printf(b, "| %s | %s | ", u->what,
			   *u->fronts ? u->fronts : "any");
		buf_printf(b, *u->told ? "`%s` | " : "–%s | ", u->told);
		buf_printf(b, *u->key ? "`%s` | " : "–%s | ", u->key);
		buf_printf(b, "%s |\n", u->advice);
	}
}

/* REDTAP_GOLDEN=write makes README's list anew: make README.md */
static void readme_has_the_list(void **state)
{
	const char *golden = getenv("REDTAP_GOLDEN");
	struct buf readme = { 0 }, list = { 0 };
	char *begin, *end;
	FILE *f;

	(void)state;
	read_file("README.md", &readme);
	put_list(&list);
	begin = strstr(readme.data, BEGIN);
	assert_non_null(begin);
	end = strstr(begin, END);
	assert_non_null(end);
	if (golden && !strcmp(golden, "write")) {
		f = fopen("README.md", "w");
		assert_non_null(f);
		fwrite(readme.data, 1, (size_t)(begin - readme.data), f);
		fwrite(list.data, 1, list.len, f);
		fputs(end, f);
		fclose(f);
	} else {
		*end = '\0';
		assert_string_equal(begin, buf_str(&list));
	}
	buf_fini(&readme);
	buf_fini(&list);
}

static void each_is_true_of_ways_that_exist(void **state)
{
	static const struct unseen some = { .fronts = "socket syscall" };
	static const struct unseen any = { .fronts = "" };

	(void)state;
	assert_true(unseen_with(&any, "fentry"));
	assert_true(unseen_with(&some, "socket"));
	assert_true(unseen_with(&some, "syscall"));
	assert_false(unseen_with(&some, "sock"));
	assert_false(unseen_with(&some, "fentry"));
	for (size_t i = 0; i < UNSEEN_REASONS; i++)
		assert_true(unseen_with(&unseen_table[i], "socket") ||
			    unseen_with(&unseen_table[i], "fentry"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(readme_has_the_list),
		cmocka_unit_test(each_is_true_of_ways_that_exist),
	};

	return cmocka_run_group_tests_name("unseen", tests, NULL, NULL);
}
