/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/store/store.h"
#include "aggregator/store/store_bundle.h"
#include "tests/unit/aggregator/temp_dir.h"

/* The log with small and large batches in all orders, read in every way. */

#define BATCHES 300u
#define GAP_AFTER 200u /* the ids after it are 7 higher */
#define GAP 7u

struct fixture {
	char dir[TEMP_DIR_LEN];
	char path[128];
	struct store *st;
};

static uint64_t id_of(unsigned i)
{
	return i + (i > GAP_AFTER ? GAP : 0);
}

/* Sizes around every limit, and empty ones. */
static size_t len_of(unsigned i)
{
	static const size_t len[] = {
		0,  1,	  300, 4000, STORE_BUNDLE_SMALL, STORE_BUNDLE_SMALL + 1,
		90, 70000
	};

	return len[i * 7919u % (sizeof(len) / sizeof(len[0]))];
}

/*
 * A second apart; but one batch of nine was overtaken, and the clock was set
 * back by an hour halfway, and forward before the end.
 */
static int64_t received_of(unsigned i)
{
	int64_t s = i;

	s -= i % 9 == 0 ? 3 : 0;
	s -= i > BATCHES / 2 && i < BATCHES * 3 / 4 ? 3600 : 0;
	return (10000 + s) * 1000000;
}

static void put_all(struct store *st)
{
	static char data[70000];
	unsigned i = 1;

	for (unsigned group = 1; i <= BATCHES; group++) {
		assert_int_equal(store_begin(st), 0);
		for (unsigned k = 0; k < group && i <= BATCHES; k++, i++) {
			struct store_log row = { .id = id_of(i),
						 .received_us = received_of(i),
						 .requests = i,
						 .data = data,
						 .len = len_of(i) };

			memset(data, (int)i, sizeof(data));
			assert_true(store_put_log(st, &row) >= (int)row.len);
		}
		assert_int_equal(store_commit(st), 0);
	}
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	temp_dir_make(f->dir, "bundle");
	snprintf(f->path, sizeof(f->path), "%s/redtap.db", f->dir);
	assert_int_equal(store_open(&f->st, f->dir), 0);
	put_all(f->st);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	store_close(f->st);
	temp_dir_remove(f->dir);
	free(f);
	return 0;
}

static void is_batch(const struct store_log *row, unsigned i)
{
	const uint8_t *data = row->data;

	assert_int_equal(row->id, id_of(i));
	assert_int_equal(row->received_us, received_of(i));
	assert_int_equal(row->requests, i);
	assert_int_equal(row->len, len_of(i));
	for (size_t k = 0; k < row->len; k += 97)
		assert_int_equal(data[k], (uint8_t)i);
}

static int next_is(void *arg, const struct store_log *row)
{
	unsigned *i = arg;

	is_batch(row, (*i)++);
	return 0;
}

static void the_log_is_read_after_every_id(void **state)
{
	struct fixture *f = *state;

	for (unsigned after = 0; after <= BATCHES; after++) {
		unsigned i = after + 1;
		uint64_t id = after > 0 ? id_of(after) : 0;

		assert_int_equal(store_each_log(f->st, id, next_is, &i), 0);
		assert_int_equal(i, BATCHES + 1);
	}
}

static void every_batch_is_found_by_its_id(void **state)
{
	struct fixture *f = *state;
	struct store_log_reader *r;
	struct store_log row;

	assert_int_equal(store_log_open(&r, f->path, INT64_MIN, INT64_MAX), 0);
	for (unsigned n = 0; n < BATCHES; n++) {
		unsigned i = 1 + n * 101 % BATCHES; /* to and fro */

		assert_int_equal(store_log_find(r, id_of(i), &row), 0);
		is_batch(&row, i);
	}
	assert_int_equal(store_log_find(r, 0, &row), -ENOENT);
	assert_int_equal(store_log_find(r, GAP_AFTER + 1, &row), -ENOENT);
	assert_int_equal(store_log_find(r, id_of(BATCHES) + 1, &row), -ENOENT);
	store_log_close(r);
}

static void a_range_of_time_has_its_batches(void **state)
{
	struct fixture *f = *state;

	for (unsigned a = 1; a <= BATCHES; a += 13)
		for (unsigned b = a; b <= BATCHES; b += 17) {
			int64_t from = received_of(a), to = received_of(b);
			struct store_log_reader *r;
			struct store_log row;
			unsigned i = 1;
			int n;

			assert_int_equal(store_log_open(&r, f->path, from, to),
					 0);
			while ((n = store_log_next(r, &row)) > 0) {
				while (received_of(i) < from ||
				       received_of(i) >= to)
					i++;
				is_batch(&row, i++);
			}
			assert_int_equal(n, 0);
			for (; i <= BATCHES; i++)
				assert_true(received_of(i) < from ||
					    received_of(i) >= to);
			store_log_close(r);
		}
}

static void sizes_add_up_and_end_with_nothing(void **state)
{
	struct fixture *f = *state;
	struct store_expired gone;
	struct store_sizes sizes;
	uint64_t batches = 0, bytes = 0;
	int n;

	assert_int_equal(store_sizes(f->st, &sizes, true), 0);
	assert_int_equal(sizes.log_batches, BATCHES);
	assert_int_equal(sizes.last_log_id, id_of(BATCHES));
	do {
		assert_int_equal(store_begin(f->st), 0);
		n = store_expire_log(f->st, INT64_MAX, UINT32_MAX, 5, &gone);
		assert_int_equal(store_commit(f->st), 0);
		batches += gone.batches;
		bytes += gone.bytes;
	} while (n > 0);
	assert_int_equal(n, 0);
	assert_int_equal(batches, BATCHES);
	assert_int_equal(bytes, sizes.log_bytes);
}

static void a_rolled_back_batch_is_not_written_later(void **state)
{
	struct fixture *f = *state;
	struct store_log row = { .id = 1000, .data = "x", .len = 1 };
	unsigned i = BATCHES + 1;

	assert_int_equal(store_begin(f->st), 0);
	assert_true(store_put_log(f->st, &row) > 0);
	store_rollback(f->st);
	assert_int_equal(store_begin(f->st), 0);
	assert_int_equal(store_commit(f->st), 0);
	assert_int_equal(store_each_log(f->st, id_of(BATCHES), next_is, &i), 0);
	assert_int_equal(i, BATCHES + 1);
}

/* Every byte of a small bundle, changed: no read beyond it, no batch too many.
 */
static void a_damaged_bundle_is_told_or_read_within_its_bounds(void **state)
{
	struct store_bundle b = { .batches = 0 };
	struct store_log row = { .data = "abcdefgh", .requests = 3 }, out;

	(void)state;
	for (unsigned i = 1; i <= 3; i++) {
		row.id = i;
		row.len = i * 2;
		store_bundle_add(&b, &row);
	}
	for (size_t at = 0; at < b.blob.len; at++)
		for (unsigned bit = 0; bit < 8; bit++)
			for (size_t len = 0; len <= b.blob.len; len++) {
				uint8_t *exact = malloc(len > 0 ? len : 1);
				struct store_bundle_reader r;
				unsigned n = 0;
				int more;

				memcpy(exact, b.blob.data, len);
				if (at < len)
					exact[at] ^= (uint8_t)(1u << bit);
				row = (struct store_log){ .id = 3,
							  .data = exact,
							  .len = len };
				store_bundle_read(&r, &row, 3);
				while ((more = store_bundle_next(&r, &out)) > 0)
					n++;
				assert_true(more == 0 ? n == 3 : n <= 3);
				assert_true(more == 0 || more == -EUCLEAN);
				if (len < b.blob.len)
					assert_true(more == -EUCLEAN ||
						    at < len);
				free(exact);
			}
	buf_fini(&b.blob);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(the_log_is_read_after_every_id),
		TEST(every_batch_is_found_by_its_id),
		TEST(a_range_of_time_has_its_batches),
		TEST(sizes_add_up_and_end_with_nothing),
		TEST(a_rolled_back_batch_is_not_written_later),
		cmocka_unit_test(
			a_damaged_bundle_is_told_or_read_within_its_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
