/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/store/store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "aggregator/store/migrations.h"
#include "aggregator/store/store_schema.h"
#include "aggregator/store/store_sql.h"
#include "aggregator/store/store_wal.h"
#include "common/files.h"
#include "common/log.h"

/*
 * Adds the columns of target that this version has more than the one that made
 * the store: a resource's column needs no migration of its own. A version that
 * does not know a column leaves it NULL.
 */
static int add_target_columns(struct store *st)
{
	static const struct {
		const char *count, *add;
	} columns[] = {
#define COLUMN(name, text)                                                       \
	{ "SELECT count(*) FROM pragma_table_info('target') WHERE name = '" text \
	  "'",                                                                   \
	  "ALTER TABLE target ADD COLUMN " text " TEXT" },
		RESOURCE_ATTRIBUTES(COLUMN)
#undef COLUMN
	};
	int err = 0;

	for (size_t i = 0; !err && i < sizeof(columns) / sizeof(*columns);
	     i++) {
		uint64_t n;

		err = store_sql_ask_u64(st, columns[i].count, &n);
		if (!err && n == 0)
			err = store_sql_exec(st, columns[i].add);
	}
	return err;
}

static int migrate(struct store *st)
{
	size_t version;
	char text[64];
	int err = store_schema_version(st, &version);

	if (err < 0)
		return err;
	if (version > migrations_count) {
		log_error("store was written by a newer version of redtap "
			  "path=%s schema=%zu supported=%zu",
			  st->path, version, migrations_count);
		return -EPROTO;
	}
	for (size_t i = version; i < migrations_count; i++) {
		snprintf(text, sizeof(text), "PRAGMA user_version = %d",
			 migrations[i].number);
		err = store_sql_exec(st, "BEGIN IMMEDIATE");
		if (!err)
			err = store_sql_exec(st, migrations[i].sql);
		if (!err)
			err = store_sql_exec(st, text);
		if (!err)
			err = store_sql_exec(st, "COMMIT");
		if (err < 0) {
			sqlite3_exec(st->db, "ROLLBACK", NULL, NULL, NULL);
			return err;
		}
	}
	return add_target_columns(st);
}

static int check_database(struct store *st)
{
	char answer[128];
	int err = store_sql_ask(st, "PRAGMA quick_check(1)", answer,
				sizeof(answer));

	if (err < 0)
		return err;
	if (strcmp(answer, "ok") != 0) {
		snprintf(st->error, sizeof(st->error), "%s", answer);
		return -EUCLEAN;
	}
	return 0;
}

/*
 * page_size and auto_vacuum take effect only before the first table is made.
 * Copying a page out of the WAL costs two system calls, so twice the default
 * size makes ingest faster; a larger one would gain little and make small
 * commits write more. store_wal.h relies on synchronous = FULL.
 */
static int setup(struct store *st)
{
	int err = store_sql_exec(st, "PRAGMA page_size = 8192;"
				     "PRAGMA auto_vacuum = INCREMENTAL");

	if (!err)
		err = store_sql_exec(st, "PRAGMA journal_mode = WAL");
	if (!err)
		err = store_sql_exec(st, "PRAGMA synchronous = FULL;"
					 "PRAGMA journal_size_limit = 67108864;"
					 "PRAGMA wal_autocheckpoint = 1000;"
					 "PRAGMA cache_size = -8192;"
					 "PRAGMA temp_store = MEMORY;");
	return err;
}

static int open_db(struct store *st)
{
	int rc = sqlite3_open_v2(st->path, &st->db,
				 SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
					 SQLITE_OPEN_NOMUTEX,
				 store_wal_vfs());
	int err;

	if (rc != SQLITE_OK)
		return store_sql_fail(st, rc);
	sqlite3_extended_result_codes(st->db, 1);
	sqlite3_busy_timeout(st->db, 5000);
	err = store_sql_functions(st);
	rc = store_sql_add_checksum(st->db);
	if (!err && rc != SQLITE_OK)
		err = store_sql_fail(st, rc);
	if (err < 0)
		return err;
	err = setup(st);
	if (!err)
		err = check_database(st);
	if (!err)
		err = migrate(st);
	if (!err)
		err = store_guard_repair(st);
	if (!err)
		err = store_sql_prepare(st);
	if (!err)
		err = store_guard_name(st);
	if (!err)
		err = store_sql_ask_u64(st,
					"SELECT coalesce(max(id), 0) FROM log",
					&st->committed_log_id);
	st->log_id = st->committed_log_id;
	return err;
}

static void close_db(struct store *st)
{
	store_sql_finalize(st);
	sqlite3_close(st->db);
	st->db = NULL;
}

static int open_or_set_aside(struct store *st)
{
	int err = store_guard_begin(st);

	if (!err)
		err = open_db(st);
	if (err != -EUCLEAN)
		return err;
	close_db(st);
	err = store_guard_set_aside(st);
	return err < 0 ? err : open_db(st);
}

/* SQLite locks only during transactions; this lock lasts while we run. */
static int lock_dir(struct store *st)
{
	int err = files_lock(&st->lock, st->dir, "redtap.lock");

	if (err == -EBUSY)
		log_error("another process uses the store dir=%s", st->dir);
	else if (err == -ELOOP)
		log_error("the store's lock is a link, or no plain file: "
			  "remove it file=%s/redtap.lock",
			  st->dir);
	else if (err)
		log_error("cannot open the store dir=%s error=\"%s\"", st->dir,
			  strerror(-err));
	return err;
}

/*
 * Requests and addresses are in them. SQLite gives what it makes beside the
 * database the same rights.
 */
static void close_files(const struct store *st)
{
	static const char *const suffix[] = { "", "-wal", "-shm" };
	char path[4096 + 8];

	for (size_t i = 0; i < sizeof(suffix) / sizeof(suffix[0]); i++) {
		int err;

		snprintf(path, sizeof(path), "%s%s", st->path, suffix[i]);
		err = i == 0 ? files_make_closed(path)
			     : files_close_to_others(path);
		if (err)
			log_warn("other users may read the store file=%s "
				 "error=\"%s\"",
				 path, strerror(-err));
	}
}

int store_open(struct store **out, const char *dir)
{
	struct store *st = calloc(1, sizeof(*st));
	int err = -ENOMEM;

	if (!st)
		return -ENOMEM;
	st->lock = (struct files_lock)FILES_UNLOCKED;
	st->dir = strdup(dir);
	if (!st->dir || asprintf(&st->path, "%s/redtap.db", dir) < 0) {
		st->path = NULL;
		goto fail;
	}
	err = lock_dir(st);
	if (!err)
		err = store_mark_open(&st->mark, dir, &st->acknowledged);
	if (err < 0)
		goto fail;
	close_files(st);
	err = open_or_set_aside(st);
	if (err < 0) {
		if (err != -EPROTO)
			log_error("cannot open the store path=%s error=\"%s\"",
				  st->path, st->error);
		goto fail;
	}
	*out = st;
	return 0;
fail:
	store_close(st);
	return err;
}

void store_close(struct store *st)
{
	if (!st)
		return;
	close_db(st);
	store_mark_close(st->mark);
	files_unlock(&st->lock);
	buf_fini(&st->blob);
	buf_fini(&st->bundle.blob);
	free(st->path);
	free(st->dir);
	free(st);
}

int store_set_aside(struct store **store, const char *why)
{
	struct store *st = *store;
	int err;

	snprintf(st->error, sizeof(st->error), "%s", why);
	close_db(st);
	err = store_guard_set_aside(st);
	if (!err)
		err = open_db(st);
	if (err < 0) {
		store_close(st);
		*store = NULL;
	}
	return err;
}

const char *store_path(const struct store *st)
{
	return st->path;
}

bool store_was_set_aside(const struct store *st)
{
	return st->set_aside;
}

/* --- transactions --- */

const char *store_error(const struct store *st)
{
	return st->error;
}

int store_begin(struct store *st)
{
	store_bundle_reset(&st->bundle);
	st->log_id = st->committed_log_id;
	return store_sql_run(st, SQL_BEGIN);
}

int store_commit(struct store *st)
{
	int err = store_flush_log(st);

	if (!err)
		err = store_sql_run(st, SQL_COMMIT);
	if (!err)
		st->committed_log_id = st->log_id;
	return err;
}

void store_rollback(struct store *st)
{
	char kept[sizeof(st->error)];

	if (sqlite3_get_autocommit(st->db))
		return; /* SQLite has rolled back itself */
	memcpy(kept, st->error, sizeof(kept));
	store_sql_run(st, SQL_ROLLBACK);
	memcpy(st->error, kept, sizeof(kept));
}
