/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/batch.h"

/* Bytes of the example: of all up to the losses, and of these. */
#define TABLES 149u
#define LOSSES 6u

/*
 * Reads the bytes in front of each line of the example. A line of the dump is
 * pairs of hex digits, then at least three blanks and words.
 */
static size_t read_example(uint8_t *out, size_t cap)
{
	FILE *f = fopen("docs/PROTOCOL.md", "r");
	bool inside = false, found = false;
	char line[256];
	size_t n = 0;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		const char *at = line + strspn(line, " ");

		found |= !strncmp(line, "### A small batch", 17);
		if (found && !strncmp(line, "```", 3)) {
			if (inside)
				break;
			inside = true;
			continue;
		}
		while (inside && isxdigit((unsigned char)at[0]) &&
		       isxdigit((unsigned char)at[1]) &&
		       (at[2] == ' ' || at[2] == '\n')) {
			assert_true(n < cap);
			out[n++] = (uint8_t)strtoul(at, NULL, 16);
			if (at[2] == '\n' || (at[3] == ' ' && at[4] == ' '))
				break;
			at += 3;
		}
	}
	fclose(f);
	return n;
}

static void the_example_of_the_page_is_a_batch(void **state)
{
	struct batch_arena *arena;
	const char *why = "";
	uint8_t example[512];
	size_t n = read_example(example, sizeof(example)), len;
	struct batch b;
	void *data;

	(void)state;
	assert_int_equal(n, TABLES + LOSSES);
	assert_int_equal(batch_arena_new(&arena), 0);
	if (batch_decode(arena, example, n, &b, &why))
		fail_msg("docs/PROTOCOL.md: %s", why);
	assert_string_equal(b.agent, "web1");
	assert_int_equal(b.sequence, 7);
	assert_int_equal(b.events.n, 2);
	assert_string_equal(b.strings[b.series.route[0]].data, "/cart/{id}");
	assert_int_equal(b.series.status[0], 200);
	assert_int_equal(b.events.duration_us[0] + b.events.duration_us[1],
			 1460);
	assert_int_equal(batch_encode(&b, &data, &len), 0);
	/* What follows are an agent's losses and counters, which grow. */
	assert_true(len > TABLES);
	assert_memory_equal(data, example, TABLES);
	free(data);
	batch_arena_free(arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_example_of_the_page_is_a_batch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
