/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "probe-agent/outbox/last_words.h"
#include "proto/batch.h"

struct world {
	char dir[32], path[64];
};

static int set_up(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	strcpy(w->dir, "/tmp/redtap-words-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	snprintf(w->path, sizeof(w->path), "%s/given-up", w->dir);
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;
	char command[64];

	snprintf(command, sizeof(command), "rm -r %s", w->dir);
	assert_int_equal(system(command), 0);
	free(w);
	return 0;
}

/* The words of start number i. */
static int add(struct world *w, unsigned i)
{
	struct batch b = { .agent = "node",
			   .epoch = 1000 + i,
			   .sequence = 10 * i + 1,
			   .losses = { .captured = 100 * i } };
	size_t len;
	void *data;
	int err;

	assert_int_equal(batch_encode(&b, &data, &len), 0);
	err = last_words_add(w->path, data, len);
	free(data);
	return err;
}

static void is_start(const struct last_words *w, unsigned i)
{
	struct outbox_item it;
	struct batch_arena *arena;
	struct batch b;

	assert_true(last_words_first(w, &it));
	assert_int_equal(it.epoch, 1000 + i);
	assert_int_equal(it.sequence, 10 * i + 1);
	assert_int_equal(batch_arena_new(&arena), 0);
	assert_int_equal(batch_decode(arena, it.data, it.len, &b, NULL), 0);
	assert_int_equal(b.losses.captured, 100 * i);
	batch_arena_free(arena);
}

static void without_a_file_there_are_none(void **state)
{
	struct world *world = *state;
	struct outbox_item it;
	struct last_words *w;

	assert_int_equal(last_words_open(&w, world->path), 0);
	assert_false(last_words_first(w, &it));
	last_words_close(w);
	assert_false(last_words_first(NULL, &it));
}

static void each_is_there_until_it_is_dropped(void **state)
{
	struct world *world = *state;
	struct outbox_item it;
	struct last_words *w;
	struct stat st;

	for (unsigned i = 1; i <= 5; i++)
		assert_int_equal(add(world, i), 0);
	for (unsigned i = 1; i <= 5; i++) {
		/* Twice: a start that is not answered drops nothing. */
		for (unsigned k = 0; k < 2; k++) {
			assert_int_equal(last_words_open(&w, world->path), 0);
			is_start(w, i);
			if (k == 0)
				last_words_close(w);
		}
		last_words_drop(w);
		if (i < 5)
			is_start(w, i + 1);
		else
			assert_false(last_words_first(w, &it));
		last_words_close(w);
	}
	assert_int_equal(stat(world->path, &st), -1);
}

static void keeps_so_many_and_no_more(void **state)
{
	struct world *world = *state;
	struct last_words *w;

	for (unsigned i = 1; i <= LAST_WORDS_MAX; i++)
		assert_int_equal(add(world, i), 0);
	assert_int_equal(add(world, 99), -ENOSPC);
	assert_int_equal(last_words_open(&w, world->path), 0);
	for (unsigned i = 1; i <= LAST_WORDS_MAX; i++) {
		is_start(w, i);
		last_words_drop(w);
	}
	last_words_close(w);
	assert_int_equal(add(world, 99), 0);
}

static void a_damaged_file_gives_what_is_whole(void **state)
{
	struct world *world = *state;
	uint8_t data[4096];
	struct outbox_item it;
	struct last_words *w;
	struct stat st;
	size_t len, one;
	FILE *f;

	assert_int_equal(add(world, 1), 0);
	assert_int_equal(stat(world->path, &st), 0);
	one = (size_t)st.st_size;
	assert_int_equal(add(world, 2), 0);
	f = fopen(world->path, "r");
	len = fread(data, 1, sizeof(data), f);
	fclose(f);
	for (size_t n = 0; n < len; n++) {
		f = fopen(world->path, "w");
		assert_int_equal(fwrite(data, 1, n, f), n);
		fclose(f);
		assert_int_equal(last_words_open(&w, world->path), 0);
		assert_int_equal(last_words_first(w, &it), n >= one);
		if (n >= one) {
			is_start(w, 1);
			last_words_drop(w);
			assert_false(last_words_first(w, &it));
		}
		last_words_close(w);
	}
	f = fopen(world->path, "w");
	memset(data, 0xff, sizeof(data));
	assert_int_equal(fwrite(data, 1, sizeof(data), f), sizeof(data));
	fclose(f);
	assert_int_equal(last_words_open(&w, world->path), 0);
	assert_false(last_words_first(w, &it));
	last_words_close(w);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(without_a_file_there_are_none),
		TEST(each_is_there_until_it_is_dropped),
		TEST(keeps_so_many_and_no_more),
		TEST(a_damaged_file_gives_what_is_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
