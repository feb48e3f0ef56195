/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "aggregator/fold/window.h"
#include "aggregator/ledger/ledger.h"
#include "aggregator/store/durations.h"
#include "aggregator/store/migrations.h"
#include "aggregator/store/store.h"
#include "proto/buckets.h"
#include "tests/unit/aggregator/temp_dir.h"

struct fixture {
	char dir[TEMP_DIR_LEN], path[96];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	temp_dir_make(f->dir, "store");
	snprintf(f->path, sizeof(f->path), "%s/redtap.db", f->dir);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	temp_dir_remove(f->dir);
	free(f);
	return 0;
}

static unsigned count_files(const char *dir, const char *part)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	unsigned n = 0;

	assert_non_null(d);
	while ((e = readdir(d)))
		n += strstr(e->d_name, part) != NULL;
	closedir(d);
	return n;
}

static void put_batches(struct store *st, uint64_t from, uint64_t to)
{
	char blob[1000];

	memset(blob, 'x', sizeof(blob));
	assert_int_equal(store_begin(st), 0);
	for (uint64_t id = from; id <= to; id++) {
		struct store_log row = { .id = id,
					 .received_us = (int64_t)id * 1000000,
					 .requests = 1,
					 .data = blob,
					 .len = sizeof(blob) };

		assert_true(store_put_log(st, &row) >= 1000);
	}
	assert_int_equal(store_commit(st), 0);
}

static int sum_log(void *arg, const struct store_log *row)
{
	uint64_t *sum = arg;

	assert_int_equal(row->len, 1000);
	*sum += row->id;
	return 0;
}

static void gives_back_what_was_committed_only(void **state)
{
	struct fixture *f = *state;
	struct store *st;
	struct store_log row = { .id = 9, .data = "", .len = 0 };
	uint64_t sum = 0;

	assert_int_equal(store_open(&st, f->dir), 0);
	put_batches(st, 1, 5);
	assert_int_equal(store_begin(st), 0);
	assert_true(store_put_log(st, &row) > 0);
	store_rollback(st);
	store_close(st);
	assert_int_equal(store_open(&st, f->dir), 0);
	assert_false(store_was_set_aside(st));
	assert_int_equal(store_each_log(st, 2, sum_log, &sum), 0);
	assert_int_equal(sum, 3 + 4 + 5);
	store_close(st);
}

static void refuses_a_store_of_a_newer_version(void **state)
{
	struct fixture *f = *state;
	struct store *st = NULL;
	sqlite3 *db;
	char text[64];

	assert_int_equal(store_open(&st, f->dir), 0);
	put_batches(st, 1, 1);
	store_close(st);
	st = NULL;
	assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
	snprintf(text, sizeof(text), "PRAGMA user_version = %zu",
		 migrations_count + 1);
	assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
	assert_int_equal(store_open(&st, f->dir), -EPROTO);
	assert_null(st);
	assert_int_equal(count_files(f->dir, "damaged"), 0);
}

static void a_second_process_is_refused(void **state)
{
	struct fixture *f = *state;
	struct store *st, *other = NULL;

	assert_int_equal(store_open(&st, f->dir), 0);
	assert_int_equal(store_open(&other, f->dir), -EBUSY);
	assert_null(other);
	store_close(st);
}

/* The lock is not the file: deleting it gains nothing. */
static void a_deleted_or_linked_lock_opens_no_second_store(void **state)
{
	struct fixture *f = *state;
	struct store *st, *other = NULL;
	char lock[128], target[128];

	snprintf(lock, sizeof(lock), "%s/redtap.lock", f->dir);
	snprintf(target, sizeof(target), "%s/elsewhere", f->dir);
	assert_int_equal(store_open(&st, f->dir), 0);
	assert_int_equal(unlink(lock), 0);
	assert_int_equal(store_open(&other, f->dir), -EBUSY);
	store_close(st);
	unlink(lock);
	assert_int_equal(symlink(target, lock), 0);
	assert_int_equal(store_open(&st, f->dir), -ELOOP);
	assert_int_equal(access(target, F_OK), -1);
	unlink(lock);
	assert_int_equal(store_open(&st, f->dir), 0);
	store_close(st);
}

static void other_users_cannot_read_it(void **state)
{
	static const char *const suffix[] = { "", "-wal", "-shm" };
	struct fixture *f = *state;
	struct store *st;
	char path[128];
	struct stat s;
	mode_t before = umask(0);

	/* One that is new, and one of an older version. */
	for (int round = 0; round < 2; round++) {
		assert_int_equal(store_open(&st, f->dir), 0);
		put_batches(st, 1 + (uint64_t)round, 1 + (uint64_t)round);
		for (size_t i = 0; i < 3; i++) {
			snprintf(path, sizeof(path), "%s%s", f->path,
				 suffix[i]);
			assert_int_equal(stat(path, &s), 0);
			assert_int_equal(s.st_mode & 0777, 0640);
		}
		store_close(st);
		chmod(f->path, 0644);
	}
	umask(before);
}

/* Opens the database beside the store and runs a statement. */
static void run_on(const char *path, const char *text)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

static void a_schema_number_without_sense_is_repaired(void **state)
{
	static const char *const numbers[] = { "0", "-1", "-2147483648" };
	struct fixture *f = *state;
	struct store *st;
	char text[64];
	uint64_t sum;

	assert_int_equal(store_open(&st, f->dir), 0);
	put_batches(st, 1, 7);
	store_close(st);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
		snprintf(text, sizeof(text), "PRAGMA user_version = %s",
			 numbers[i]);
		run_on(f->path, text);
		for (int again = 0; again < 2; again++) {
			assert_int_equal(store_open(&st, f->dir), 0);
			assert_false(store_was_set_aside(st));
			sum = 0;
			assert_int_equal(store_each_log(st, 0, sum_log, &sum),
					 0);
			assert_int_equal(sum, 28);
			store_close(st);
		}
	}
	assert_int_equal(count_files(f->dir, "damaged"), 0);
}

static void a_store_that_lacks_a_table_is_set_aside(void **state)
{
	static const char *const texts[] = {
		"DROP TABLE ledger",
		"ALTER TABLE log DROP COLUMN batches",
		"DROP TABLE series; PRAGMA user_version = 0",
		"DROP TABLE target; PRAGMA user_version = -7",
	};
	struct fixture *f = *state;
	struct store *st;
	uint64_t sum = 0;

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		assert_int_equal(store_open(&st, f->dir), 0);
		put_batches(st, 1, 7);
		store_close(st);
		run_on(f->path, texts[i]);
		assert_int_equal(store_open(&st, f->dir), 0);
		assert_true(store_was_set_aside(st));
		assert_int_equal(store_each_log(st, 0, sum_log, &sum), 0);
		assert_int_equal(sum, 0);
		store_close(st);
		unlink(f->path);
		assert_int_equal(count_files(f->dir, "damaged"), i + 1);
	}
}

static void damage(const char *path, off_t at, size_t len)
{
	int fd = open(path, O_WRONLY);

	assert_true(fd >= 0);
	for (size_t i = 0; i < len; i++)
		assert_int_equal(pwrite(fd, "\xa5", 1, at + (off_t)i), 1);
	close(fd);
}

static void sets_a_damaged_store_aside_and_starts_empty(void **state)
{
	struct fixture *f = *state;
	struct store *st;
	uint64_t sum = 0;

	/* The header, then pages in the middle: found by different checks. */
	for (int round = 0; round < 2; round++) {
		struct stat before;

		assert_int_equal(store_open(&st, f->dir), 0);
		put_batches(st, 1, 500);
		store_close(st);
		assert_int_equal(stat(f->path, &before), 0);
		damage(f->path, round == 0 ? 0 : before.st_size / 3, 20000);
		assert_int_equal(store_open(&st, f->dir), 0);
		assert_true(store_was_set_aside(st));
		assert_int_equal(store_each_log(st, 0, sum_log, &sum), 0);
		assert_int_equal(sum, 0);
		store_close(st);
		/* It is kept, not thrown away. */
		assert_int_equal(count_files(f->dir, "damaged"), round + 1);
		unlink(f->path);
	}
}

static void copy_file(const char *from, const char *to)
{
	int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT, 0600);
	char block[65536];
	ssize_t n;

	assert_true(in >= 0 && out >= 0);
	while ((n = read(in, block, sizeof(block))) > 0)
		assert_int_equal(write(out, block, (size_t)n), n);
	assert_int_equal(n, 0);
	close(in);
	close(out);
}

/* What the files would be after kill -9; through SQLite's own files. */
static int64_t rows_on_disk(struct fixture *f)
{
	char from[128], to[128];
	sqlite3_stmt *s;
	sqlite3 *db;
	int64_t n;

	snprintf(to, sizeof(to), "%s/copy", f->dir);
	copy_file(f->path, to);
	snprintf(from, sizeof(from), "%s-wal", f->path);
	snprintf(to, sizeof(to), "%s/copy-wal", f->dir);
	copy_file(from, to);
	snprintf(to, sizeof(to), "%s/copy", f->dir);
	assert_int_equal(sqlite3_open(to, &db), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db, "SELECT sum(batches) FROM log",
					    -1, &s, NULL),
			 SQLITE_OK);
	assert_int_equal(sqlite3_step(s), SQLITE_ROW);
	n = sqlite3_column_int64(s, 0);
	sqlite3_finalize(s);
	sqlite3_close(db);
	return n;
}

static void what_is_committed_is_in_the_files(void **state)
{
	struct fixture *f = *state;
	struct store *st;

	assert_int_equal(store_open(&st, f->dir), 0);
	for (uint64_t last = 0; last < 3000;) {
		uint64_t n = last % 7 == 0 ? 1 : last % 7 * 50;

		put_batches(st, last + 1, last + n);
		last += n;
		assert_int_equal(rows_on_disk(f), last);
	}
	store_close(st);
}

static void expires_the_log_but_not_what_is_still_needed(void **state)
{
	struct fixture *f = *state;
	struct store *st;
	struct store_sizes sizes;
	struct store_expired gone;
	uint64_t deleted = 0, sum = 0;
	int n;

	assert_int_equal(store_open(&st, f->dir), 0);
	for (uint64_t id = 1; id <= 200; id += 5) /* five in a row */
		put_batches(st, id, id + 4);
	do {
		assert_int_equal(store_begin(st), 0);
		n = store_expire_log(st, INT64_MAX, 152, 6, &gone);
		assert_true(n >= 0 && n <= 6);
		assert_int_equal(gone.batches, n * 5);
		assert_int_equal(gone.bytes, gone.batches * 1020);
		assert_int_equal(store_commit(st), 0);
		deleted += gone.batches;
	} while (n > 0);
	/* Batch 151 stays, since it shares a row with 153. */
	assert_int_equal(deleted, 150);
	assert_int_equal(store_begin(st), 0);
	/* By age: rows whose last batch came before second 171. */
	assert_int_equal(store_expire_log(st, 171000000, 190, 64, &gone), 4);
	assert_int_equal(gone.batches, 20);
	assert_int_equal(store_commit(st), 0);
	assert_int_equal(store_each_log(st, 0, sum_log, &sum), 0);
	assert_int_equal(sum, (171 + 200) * 30 / 2);
	assert_int_equal(store_sizes(st, &sizes, true), 0);
	assert_int_equal(sizes.log_batches, 30);
	assert_true(sizes.free_bytes > 0);
	for (int i = 0; i < 20; i++)
		assert_int_equal(store_vacuum(st, 64), 0);
	n = (int)sizes.file_bytes;
	assert_int_equal(store_sizes(st, &sizes, true), 0);
	assert_int_equal(sizes.free_bytes, 0);
	assert_true(sizes.file_bytes < (uint64_t)n);
	store_close(st);
}

static int see_window(void *arg, const struct store_window *w)
{
	unsigned *n = arg;

	(*n)++;
	assert_int_equal(w->start_s, 1000);
	assert_string_equal(w->job, "shop");
	assert_null(w->route);
	assert_int_equal(w->count, 6);
	assert_int_equal(w->errors, 2);
	assert_int_equal(w->n_cells, 3);
	assert_int_equal(w->cells[0].upper_us, 0);
	assert_int_equal(w->cells[0].count, 1);
	assert_int_equal(w->cells[1].count, 4);
	assert_int_equal(w->cells[2].count, 1);
	assert_int_equal(w->cells[1].upper_us, 1000000);
	assert_int_equal(w->cells[1].lower_us, bucket_native_seconds_upper(-1));
	return 0;
}

static void put_window(struct store *st, struct pack_row *row,
		       const struct store_bucket *b, size_t n)
{
	struct buf hist = { 0 }, pack = { 0 };
	struct store_delta d = { .start_s = 1000, .rows = 1 };
	struct pack_writer w;

	durations_encode(&hist, b, n);
	row->hist[0] = (struct pack_hist){ (void *)hist.data, hist.len };
	pack_begin(&w, &pack);
	pack_put(&w, row);
	d.data = pack.data;
	d.len = pack.len;
	assert_int_equal(store_put_delta(st, &d), 0);
	buf_fini(&hist);
	buf_fini(&pack);
}

static void adds_late_windows_to_what_is_there(void **state)
{
	struct fixture *f = *state;
	static const char *const label[STORE_WINDOW_LABELS] = {
		"shop", "server", "GET", NULL, "200", NULL
	};
	const struct store_bucket first[] = { { BUCKET_ZERO, 1 }, { 0, 2 } };
	const struct store_bucket late[] = { { 0, 2 }, { 40, 1 } };
	struct pack_row d = { .key = 4, .count = 3, .errors = 1 };
	struct store_packed packed;
	struct store_reader *r;
	struct store *st;
	unsigned n = 0;

	assert_int_equal(store_open(&st, f->dir), 0);
	assert_int_equal(store_begin(st), 0);
	assert_int_equal(store_put_window_key(st, WINDOW_REQUESTS, 4, label),
			 0);
	put_window(st, &d, first, 2);
	assert_int_equal(store_pack(st, 1000, SIZE_MAX, &packed), 0);
	assert_int_equal(packed.rows, 0); /* the window is not closed yet */
	assert_int_equal(store_pack(st, 1001, SIZE_MAX, &packed), 0);
	put_window(st, &d, late, 2);
	assert_int_equal(store_pack(st, 1001, SIZE_MAX, &packed), 0);
	assert_int_equal(packed.rows, -1); /* two rows became one */
	assert_int_equal(store_commit(st), 0);
	assert_int_equal(store_reader_open(&r, f->path), 0);
	assert_int_equal(store_reader_windows(r, 1000, 1001, see_window, &n),
			 0);
	assert_int_equal(n, 1);
	assert_int_equal(store_reader_windows(r, 0, 1000, see_window, &n), 0);
	assert_int_equal(n, 1);
	store_reader_close(r);
	store_close(st);
}

static void run_sql(sqlite3 *db, const char *text)
{
	char *why = NULL;

	if (sqlite3_exec(db, text, NULL, NULL, &why) != SQLITE_OK)
		fail_msg("%s: %s", text, why);
}

/* As the first version left it: a row of a table for each label set. */
static void make_old_store(const char *path)
{
	static const char insert[] =
		"INSERT INTO window VALUES (%d, %d, %d, %d, 10, 20, 30,"
		" x'd00f02')";
	char text[200];
	sqlite3 *db;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	run_sql(db, migrations[0].sql);
	run_sql(db, "PRAGMA user_version = 1");
	run_sql(db, "INSERT INTO window_key VALUES (3, 'shop', 'server', 'GET',"
		    " '/x', '200', NULL), (9, 'shop', 'server', 'GET', '/x',"
		    " '500', '500')");
	for (int w = 0; w < 50; w++)
		for (int key = 3; key <= 9; key += 6) {
			snprintf(text, sizeof(text), insert, 1000 + 10 * w, key,
				 w + key, key == 9 ? w + key : 0);
			run_sql(db, text);
		}
	run_sql(db, "INSERT INTO log VALUES (1, 5, 'a', 1, 1, 1, x'00')");
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

struct old_windows {
	uint64_t rows, count, errors, sum;
};

static int see_old_window(void *arg, const struct store_window *w)
{
	struct old_windows *o = arg;

	assert_string_equal(w->job, "shop");
	assert_true(w->key == 3 || w->key == 9);
	assert_int_equal(w->count, (uint64_t)(w->start_s - 1000) / 10 + w->key);
	assert_int_equal(w->n_cells, 1);
	assert_int_equal(w->cells[0].count, 2);
	o->rows++;
	o->count += w->count;
	o->errors += w->errors;
	o->sum += w->duration_sum_us;
	return 0;
}

static void an_old_store_keeps_its_windows(void **state)
{
	struct fixture *f = *state;
	struct old_windows o = { 0 };
	struct store_sizes sizes;
	struct store_packed packed;
	struct store_reader *r;
	struct store *st;
	uint64_t *ids;
	size_t n;

	make_old_store(f->path);
	assert_int_equal(store_open(&st, f->dir), 0);
	assert_int_equal(store_sizes(st, &sizes, true), 0);
	assert_int_equal(sizes.windows, 100);
	for (int round = 0; round < 2; round++) {
		o = (struct old_windows){ 0 };
		assert_int_equal(store_reader_open(&r, f->path), 0);
		assert_int_equal(store_reader_windows(r, 0, INT64_MAX,
						      see_old_window, &o),
				 0);
		/* Before that was noted, a batch may be of any time. */
		assert_int_equal(store_reader_log_ids(r, 0, 1, 9, &ids, &n), 0);
		assert_int_equal(n, 1);
		free(ids);
		store_reader_close(r);
		assert_int_equal(o.rows, 100);
		assert_int_equal(o.count, 50 * 49 + 50 * 12);
		assert_int_equal(o.errors, 50 * 49 / 2 + 50 * 9);
		assert_int_equal(o.sum, 1000);
		assert_int_equal(store_begin(st), 0);
		assert_int_equal(store_pack(st, INT64_MAX, SIZE_MAX, &packed),
				 0);
		assert_int_equal(store_commit(st), 0);
	}
	store_close(st);
}

static void quantiles_interpolate_within_the_cell(void **state)
{
	const struct store_cell cell[] = { { 0, 0, 10 },
					   { 100, 200, 80 },
					   { 300, 400, 10 } };

	(void)state;
	assert_true(store_cells_quantile_us(cell, 3, 0.05) == 0);
	assert_true(store_cells_quantile_us(cell, 3, 0.5) == 150);
	assert_true(store_cells_quantile_us(cell, 3, 0.9) == 200);
	assert_true(store_cells_quantile_us(cell, 3, 1) == 400);
	assert_true(store_cells_quantile_us(cell, 0, 0.5) == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(gives_back_what_was_committed_only),
		TEST(refuses_a_store_of_a_newer_version),
		TEST(a_second_process_is_refused),
		TEST(a_deleted_or_linked_lock_opens_no_second_store),
		TEST(other_users_cannot_read_it),
		TEST(a_schema_number_without_sense_is_repaired),
		TEST(a_store_that_lacks_a_table_is_set_aside),
		TEST(sets_a_damaged_store_aside_and_starts_empty),
		TEST(what_is_committed_is_in_the_files),
		TEST(expires_the_log_but_not_what_is_still_needed),
		TEST(adds_late_windows_to_what_is_there),
		TEST(an_old_store_keeps_its_windows),
		TEST(quantiles_interpolate_within_the_cell),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
