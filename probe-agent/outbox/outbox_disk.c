/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/outbox/outbox_disk.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/files.h"
#include "common/log.h"

#define FORMAT 1 /* PRAGMA user_version */

struct outbox_disk {
	sqlite3 *db;
	sqlite3_stmt *begin, *commit, *rollback, *put, *get, *forget, *replace,
		*set, *each, *put_base, *delete_base, *forget_base, *each_base;
	uint64_t epoch;
	struct outbox_disk_marks marks;
	/* A transaction that others are part of; see outbox_disk_hold(). */
	bool held, broken;
	struct outbox_disk_marks held_marks;
};

static const char *const schema =
	"CREATE TABLE IF NOT EXISTS batch(sequence INTEGER PRIMARY KEY,"
	" first INTEGER NOT NULL, events INTEGER NOT NULL,"
	" rollup INTEGER NOT NULL, data BLOB NOT NULL);"
	"CREATE TABLE IF NOT EXISTS state(key TEXT PRIMARY KEY,"
	" value INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS base(key BLOB PRIMARY KEY,"
	" value BLOB NOT NULL) WITHOUT ROWID;"
	"PRAGMA user_version=1;";

static int failed(struct outbox_disk *d, const char *what)
{
	int code = sqlite3_errcode(d->db);

	log_error("outbox file failed op=%s error=\"%s\"", what,
		  sqlite3_errmsg(d->db));
	switch (code & 0xff) {
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return -EILSEQ;
	default:
		return -EIO;
	}
}

/* Runs a statement that returns no rows, and resets it for the next time. */
static int run_statement(struct outbox_disk *d, sqlite3_stmt *s,
			 const char *what)
{
	int err = sqlite3_step(s) == SQLITE_DONE ? 0 : failed(d, what);

	sqlite3_reset(s);
	sqlite3_clear_bindings(s);
	return err;
}

static int prepare_statement(struct outbox_disk *d, sqlite3_stmt **out,
			     const char *sql)
{
	int rc = sqlite3_prepare_v3(d->db, sql, -1, SQLITE_PREPARE_PERSISTENT,
				    out, NULL);
	int err = rc == SQLITE_OK ? 0 : failed(d, "prepare");

	/* A table or a column is missing: it is not what it says it is. */
	return rc == SQLITE_ERROR ? -EILSEQ : err;
}

static int prepare_bases(struct outbox_disk *d)
{
	int err = prepare_statement(d, &d->put_base,
				    "INSERT OR REPLACE INTO base"
				    " VALUES(?1, ?2)");

	err = err ? err
		  : prepare_statement(d, &d->delete_base,
				      "DELETE FROM base WHERE key = ?1");
	/* All that begin with ?1 and do not go on with ?2. */
	err = err ? err
		  : prepare_statement(
			    d, &d->forget_base,
			    "DELETE FROM base WHERE substr(key, 1,"
			    " length(?1)) = ?1 AND substr(key, length(?1) + 1,"
			    " length(?2)) <> ?2");
	return err ? err
		   : prepare_statement(d, &d->each_base,
				       "SELECT key, value FROM base");
}

static int prepare_all(struct outbox_disk *d)
{
	int err = prepare_statement(d, &d->begin, "BEGIN IMMEDIATE");

	err = err ? err : prepare_statement(d, &d->commit, "COMMIT");
	err = err ? err : prepare_statement(d, &d->rollback, "ROLLBACK");
	err = err ? err
		  : prepare_statement(
			    d, &d->put,
			    "INSERT INTO batch(sequence, first, events, rollup,"
			    " data) VALUES(?1, ?2, ?3, ?4, ?5)");
	err = err ? err
		  : prepare_statement(
			    d, &d->get,
			    "SELECT data FROM batch WHERE sequence = ?1");
	/* Deletes a range, except for the newest row. */
	err = err ? err
		  : prepare_statement(
			    d, &d->forget,
			    "DELETE FROM batch WHERE sequence >= ?1 AND"
			    " sequence <= ?2 AND sequence <"
			    " (SELECT max(sequence) FROM batch)");
	err = err ? err
		  : prepare_statement(
			    d, &d->replace,
			    "DELETE FROM batch WHERE sequence >= ?1 AND"
			    " sequence <= ?2");
	err = err ? err
		  : prepare_statement(
			    d, &d->set,
			    "INSERT OR REPLACE INTO state VALUES(?1, ?2)");
	err = err ? err
		  : prepare_statement(
			    d, &d->each,
			    "SELECT sequence, first, events, rollup,"
			    " length(data) FROM batch ORDER BY sequence");
	return err ? err : prepare_bases(d);
}

static int exec(struct outbox_disk *d, const char *sql)
{
	if (sqlite3_exec(d->db, sql, NULL, NULL, NULL) != SQLITE_OK)
		return failed(d, "open");
	return 0;
}

static int one_row(void *arg, int n, char **values, char **names)
{
	char *out = arg;

	(void)names;
	snprintf(out, 64, "%s", n > 0 && values[0] ? values[0] : "");
	return 0;
}

static int check_database(struct outbox_disk *d)
{
	char answer[64] = "";

	if (sqlite3_exec(d->db, "PRAGMA quick_check(1)", one_row, answer,
			 NULL) != SQLITE_OK)
		return failed(d, "check");
	if (strcmp(answer, "ok") != 0)
		return -EILSEQ;
	if (sqlite3_exec(d->db, "PRAGMA user_version", one_row, answer, NULL) !=
	    SQLITE_OK)
		return failed(d, "check");
	if (atoi(answer) < 0) {
		log_error("outbox file has a version without sense version=%s",
			  answer);
		return -EILSEQ;
	}
	if (atoi(answer) > FORMAT) {
		log_error("outbox file was written by a newer version "
			  "version=%s supported=%d",
			  answer, FORMAT);
		return -EPROTONOSUPPORT;
	}
	return 0;
}

static int read_state(struct outbox_disk *d)
{
	sqlite3_stmt *s;
	int err = prepare_statement(d, &s, "SELECT key, value FROM state");
	int step;

	if (err)
		return err;
	while ((step = sqlite3_step(s)) == SQLITE_ROW) {
		const char *key = (const char *)sqlite3_column_text(s, 0);
		uint64_t value = (uint64_t)sqlite3_column_int64(s, 1);

		if (key && strcmp(key, "epoch") == 0)
			d->epoch = value;
		else if (key && strcmp(key, "acknowledged") == 0)
			d->marks.acknowledged = value;
		else if (key && strcmp(key, "sendable") == 0)
			d->marks.sendable = value;
	}
	if (step != SQLITE_DONE)
		err = failed(d, "read");
	sqlite3_finalize(s);
	return err;
}

static int try_open(struct outbox_disk **out, const char *path)
{
	struct outbox_disk *d = calloc(1, sizeof(*d));
	int err = 0;

	if (!d)
		return -ENOMEM;
	if (sqlite3_open_v2(path, &d->db,
			    SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
				    SQLITE_OPEN_NOMUTEX,
			    NULL) != SQLITE_OK)
		err = d->db ? failed(d, "open") : -ENOMEM;
	/* Exclusive: two agents with one outbox would count twice. */
	err = err ? err
		  : exec(d, "PRAGMA locking_mode=EXCLUSIVE;"
			    "PRAGMA auto_vacuum=INCREMENTAL;"
			    "PRAGMA journal_mode=WAL;"
			    "PRAGMA synchronous=FULL;"
			    "PRAGMA cache_size=-512;"
			    "BEGIN EXCLUSIVE; COMMIT;");
	err = err ? err : check_database(d);
	err = err ? err : exec(d, schema);
	err = err ? err : prepare_all(d);
	err = err ? err : read_state(d);
	if (err) {
		outbox_disk_close(d);
		return err;
	}
	*out = d;
	return 0;
}

/* PATH.damaged-TIME; never the name of a file that was set aside before. */
static int name_aside(const char *path, char out[4096])
{
	long long now = (long long)(clock_real_us() / 1000000);

	for (unsigned i = 0;; i++) {
		int n = i == 0 ? snprintf(out, 4096, "%s.damaged-%lld", path,
					  now)
			       : snprintf(out, 4096, "%s.damaged-%lld-%u", path,
					  now, i);

		if (n >= 4096)
			return -ENAMETOOLONG;
		if (access(out, F_OK) != 0)
			return 0;
	}
}

/* Renames the file and the two that SQLite keeps beside it. */
static int set_aside(const char *path)
{
	static const char *const suffixes[] = { "", "-wal", "-shm" };
	char aside[4096], from[4096 + 8], to[4096 + 8];
	int err = name_aside(path, aside);

	for (size_t i = 0; i < 3 && !err; i++) {
		snprintf(from, sizeof(from), "%s%s", path, suffixes[i]);
		snprintf(to, sizeof(to), "%s%s", aside, suffixes[i]);
		if (rename(from, to) != 0 && errno != ENOENT)
			err = -errno;
	}
	if (!err)
		log_error("outbox file damaged, set aside path=%s aside=%s",
			  path, aside);
	return err;
}

/*
 * Requests of others are in it. SQLite gives what it makes beside the file the
 * same rights.
 */
static int make_closed(const char *path)
{
	int err = files_make_closed(path);

	if (err)
		log_error("cannot make the outbox file path=%s error=\"%s\"",
			  path, strerror(-err));
	return err;
}

int outbox_disk_open(struct outbox_disk **out, const char *path)
{
	int err = make_closed(path);

	if (!err)
		err = try_open(out, path);
	if (err != -EILSEQ)
		return err;
	err = set_aside(path);
	if (!err)
		err = make_closed(path);
	return err ? err : try_open(out, path);
}

void outbox_disk_close(struct outbox_disk *d)
{
	if (!d)
		return;
	sqlite3_finalize(d->begin);
	sqlite3_finalize(d->commit);
	sqlite3_finalize(d->rollback);
	sqlite3_finalize(d->put);
	sqlite3_finalize(d->get);
	sqlite3_finalize(d->forget);
	sqlite3_finalize(d->replace);
	sqlite3_finalize(d->set);
	sqlite3_finalize(d->each);
	sqlite3_finalize(d->put_base);
	sqlite3_finalize(d->delete_base);
	sqlite3_finalize(d->forget_base);
	sqlite3_finalize(d->each_base);
	sqlite3_close(d->db);
	free(d);
}

uint64_t outbox_disk_epoch(const struct outbox_disk *d)
{
	return d->epoch;
}

void outbox_disk_marks(const struct outbox_disk *d,
		       struct outbox_disk_marks *out)
{
	*out = d->marks;
}

static int set(struct outbox_disk *d, const char *key, uint64_t value)
{
	sqlite3_bind_text(d->set, 1, key, -1, SQLITE_STATIC);
	sqlite3_bind_int64(d->set, 2, (sqlite3_int64)value);
	return run_statement(d, d->set, "set");
}

int outbox_disk_set_epoch(struct outbox_disk *d, uint64_t epoch)
{
	int err = set(d, "epoch", epoch);

	if (!err)
		d->epoch = epoch;
	return err;
}

static int delete_range(struct outbox_disk *d, sqlite3_stmt *s, uint64_t first,
			uint64_t last)
{
	sqlite3_bind_int64(s, 1, (sqlite3_int64)first);
	sqlite3_bind_int64(s, 2, (sqlite3_int64)last);
	return run_statement(d, s, "delete");
}

/* Writes the marks that have grown; inside a transaction. */
static int put_marks(struct outbox_disk *d,
		     const struct outbox_disk_marks *marks)
{
	int err = 0;

	if (marks->sendable > d->marks.sendable)
		err = set(d, "sendable", marks->sendable);
	if (err || marks->acknowledged <= d->marks.acknowledged)
		return err;
	err = delete_range(d, d->forget, 0, marks->acknowledged);
	return err ? err : set(d, "acknowledged", marks->acknowledged);
}

static int insert(struct outbox_disk *d, const struct outbox_disk_row *row,
		  const void *data)
{
	sqlite3_bind_int64(d->put, 1, (sqlite3_int64)row->sequence);
	sqlite3_bind_int64(d->put, 2, (sqlite3_int64)row->first);
	sqlite3_bind_int64(d->put, 3, (sqlite3_int64)row->events);
	sqlite3_bind_int(d->put, 4, row->rollup);
	sqlite3_bind_blob64(d->put, 5, data, row->len, SQLITE_STATIC);
	return run_statement(d, d->put, "put");
}

static int begin_transaction(struct outbox_disk *d)
{
	return d->held ? 0 : run_statement(d, d->begin, "begin");
}

static void raise_marks(struct outbox_disk_marks *to,
			const struct outbox_disk_marks *marks)
{
	if (marks->acknowledged > to->acknowledged)
		to->acknowledged = marks->acknowledged;
	if (marks->sendable > to->sendable)
		to->sendable = marks->sendable;
}

/* Commits the transaction, or rolls it back if err is set or grows. */
static int finish_transaction(struct outbox_disk *d, int err,
			      const struct outbox_disk_marks *marks)
{
	if (d->held) {
		d->broken |= err != 0;
		raise_marks(&d->held_marks, marks);
		return err;
	}
	if (!err)
		err = run_statement(d, d->commit, "commit");
	if (err) {
		/* After some errors SQLite has rolled back already. */
		if (!sqlite3_get_autocommit(d->db))
			run_statement(d, d->rollback, "rollback");
		return err;
	}
	raise_marks(&d->marks, marks);
	return 0;
}

int outbox_disk_put(struct outbox_disk *d, const struct outbox_disk_row *row,
		    const void *data, const struct outbox_disk_marks *marks)
{
	int err = begin_transaction(d);

	if (err)
		return err;
	err = delete_range(d, d->replace, row->first, row->sequence);
	err = err ? err : insert(d, row, data);
	err = err ? err : put_marks(d, marks);
	return finish_transaction(d, err, marks);
}

int outbox_disk_mark(struct outbox_disk *d,
		     const struct outbox_disk_marks *marks, uint64_t dropped)
{
	int err = begin_transaction(d);

	if (err)
		return err;
	err = put_marks(d, marks);
	if (!err && dropped > 0)
		err = delete_range(d, d->forget, dropped, dropped);
	return finish_transaction(d, err, marks);
}

int outbox_disk_get(struct outbox_disk *d, uint64_t sequence, void **data,
		    size_t *len)
{
	sqlite3_stmt *s = d->get;
	int err, step;

	sqlite3_bind_int64(s, 1, (sqlite3_int64)sequence);
	step = sqlite3_step(s);
	if (step == SQLITE_ROW) {
		*len = (size_t)sqlite3_column_bytes(s, 0);
		*data = malloc(*len + 1);
		err = *data ? 0 : -ENOMEM;
		if (!err && *len > 0)
			memcpy(*data, sqlite3_column_blob(s, 0), *len);
	} else {
		err = step == SQLITE_DONE ? -ENOENT : failed(d, "get");
	}
	sqlite3_reset(s);
	return err;
}

int outbox_disk_each(struct outbox_disk *d, outbox_disk_row_fn fn, void *arg)
{
	int err = 0, step = SQLITE_DONE;

	while (!err && (step = sqlite3_step(d->each)) == SQLITE_ROW) {
		struct outbox_disk_row row = {
			.sequence = (uint64_t)sqlite3_column_int64(d->each, 0),
			.first = (uint64_t)sqlite3_column_int64(d->each, 1),
			.events = (uint64_t)sqlite3_column_int64(d->each, 2),
			.rollup = sqlite3_column_int(d->each, 3),
			.len = (size_t)sqlite3_column_int64(d->each, 4),
		};

		err = fn(arg, &row);
	}
	if (!err && step != SQLITE_DONE)
		err = failed(d, "list");
	sqlite3_reset(d->each);
	return err;
}

/* --- bases --- */

static int write_base(struct outbox_disk *d, const struct outbox_base *b)
{
	sqlite3_stmt *s = b->what == OUTBOX_BASE_PUT	  ? d->put_base
			  : b->what == OUTBOX_BASE_DELETE ? d->delete_base
							  : d->forget_base;

	sqlite3_bind_blob64(s, 1, b->key, b->key_len, SQLITE_STATIC);
	if (b->what != OUTBOX_BASE_DELETE)
		sqlite3_bind_blob64(s, 2, b->value, b->value_len,
				    SQLITE_STATIC);
	return run_statement(d, s, "base");
}

int outbox_disk_hold(struct outbox_disk *d)
{
	int err = run_statement(d, d->begin, "begin");

	d->held = !err;
	d->broken = false;
	d->held_marks = d->marks;
	return err;
}

int outbox_disk_release(struct outbox_disk *d, const struct outbox_base *base,
			size_t n)
{
	int err = d->broken ? -EIO : 0;

	for (size_t i = 0; i < n && !err; i++)
		err = write_base(d, &base[i]);
	d->held = false;
	return finish_transaction(d, err, &d->held_marks);
}

int outbox_disk_each_base(struct outbox_disk *d, outbox_base_fn fn, void *arg)
{
	sqlite3_stmt *s = d->each_base;
	int err = 0, step = SQLITE_DONE;

	while (!err && (step = sqlite3_step(s)) == SQLITE_ROW)
		err = fn(arg, sqlite3_column_blob(s, 0),
			 (size_t)sqlite3_column_bytes(s, 0),
			 sqlite3_column_blob(s, 1),
			 (size_t)sqlite3_column_bytes(s, 1));
	if (!err && step != SQLITE_DONE)
		err = failed(d, "bases");
	sqlite3_reset(s);
	return err;
}
