/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "aggregator/store/store_sql.h"
#include "common/log.h"

/*
 * SQLite notices damage to its own structures only. What it does not: a value
 * that changed (each row has a checksum), rows that are missing from the log
 * (ids have no gaps), a write-ahead log that is lost or cut, and a database
 * that was emptied (the mark outside of it knows more).
 */

#define STATE_ID "store_id"
#define SHOWN 10 /* damaged rows that the log names, per table */
static const char header[16] = "SQLite format 3";

/* --- the files --- */

static off_t size_of(const char *path)
{
	struct stat s;

	return stat(path, &s) == 0 ? s.st_size : -1;
}

static bool has_header(const char *path)
{
	char got[sizeof(header)] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, got, sizeof(got));

	if (fd >= 0)
		close(fd);
	return n == sizeof(got) && memcmp(got, header, sizeof(got)) == 0;
}

static int copy_file(const char *from, const char *to)
{
	int in = open(from, O_RDONLY | O_CLOEXEC), out, err = 0;
	ssize_t n = 1;

	if (in < 0)
		return -errno;
	out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
		   0600);
	if (out < 0)
		err = -errno;
	while (!err && n > 0) {
		n = sendfile(out, in, NULL, (size_t)1 << 20);
		err = n < 0 ? -errno : 0;
	}
	if (out >= 0)
		close(out);
	close(in);
	if (err)
		unlink(to);
	return err;
}

static void wal_paths(const struct store *st, char wal[4096 + 32],
		      char copy[4096 + 32])
{
	snprintf(wal, 4096 + 32, "%s-wal", st->path);
	snprintf(copy, 4096 + 32, "%s-wal.start", st->path);
}

int store_guard_begin(struct store *st)
{
	char wal[4096 + 32], copy[4096 + 32];
	off_t size = size_of(st->path);
	int err;

	wal_paths(st, wal, copy);
	if (size > 0 && !has_header(st->path)) {
		snprintf(st->error, sizeof(st->error),
			 "it does not begin as a database");
		return -EUCLEAN;
	}
	if (size_of(wal) <= 0)
		return 0;
	if (size <= 0) {
		snprintf(st->error, sizeof(st->error),
			 "it is empty, but its write-ahead log is not");
		return -EUCLEAN;
	}
	err = copy_file(wal, copy);
	if (err < 0)
		log_warn("cannot copy the write-ahead log path=%s error=\"%s\"",
			 copy, strerror(-err));
	st->wal_kept = !err;
	return 0;
}

int store_guard_set_aside(struct store *st)
{
	static const char *const suffix[] = { "", "-wal", "-shm" };
	char from[4096 + 8], to[4096 + 64], stamp[32];
	time_t now = time(NULL);
	struct tm tm;
	unsigned again = 0;

	gmtime_r(&now, &tm);
	strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%SZ", &tm);
	do /* never overwrite a file set aside before */
		snprintf(to, sizeof(to), "%s.damaged-%s-%u", st->path, stamp,
			 ++again);
	while (access(to, F_OK) == 0);
	for (size_t i = 0; i < sizeof(suffix) / sizeof(suffix[0]); i++) {
		snprintf(from, sizeof(from), "%s%s", st->path, suffix[i]);
		snprintf(to, sizeof(to), "%s.damaged-%s-%u%s", st->path, stamp,
			 again, suffix[i]);
		if (rename(from, to) < 0 && errno != ENOENT)
			return -errno;
		if (i == 0)
			log_error("store is damaged, starting an empty one "
				  "error=\"%s\" renamed_to=%s",
				  st->error, to);
	}
	st->set_aside = true;
	return 0;
}

/* --- rows --- */

uint64_t store_damaged(const struct store *st, enum store_table table)
{
	return st->damaged[table];
}

void store_note_damage(struct store *st, enum store_table table, uint64_t rows,
		       const char *what)
{
	static const char *const name[STORE_TABLES] = {
		"log",	  "ledger", "agent", "view",
		"series", "target", "state", "window",
	};

	if (st->damaged[table] < SHOWN)
		log_error("store is damaged table=%s rows=%llu error=\"%s\"",
			  name[table], (unsigned long long)rows, what);
	st->damaged[table] += rows;
}

#define SELECT_DAMAGED(table, key, columns)                                    \
	"SELECT " key " FROM " table " WHERE " STORE_SQL_IS_DAMAGED(columns)
#define DELETE_DAMAGED(table, columns)                                         \
	"DELETE FROM " table " WHERE " STORE_SQL_IS_DAMAGED(columns)

/*
 * Rows that are left out, and windows' label sets: their numbers are in
 * windows, so they must not mean others.
 */
static const struct repair {
	enum store_table table;
	const char *list, *mend;
} repairs[] = {
	{ STORE_LEDGER,
	  SELECT_DAMAGED("ledger", "agent || ' ' || epoch", STORE_SQL_LEDGER),
	  DELETE_DAMAGED("ledger", STORE_SQL_LEDGER) },
	{ STORE_AGENT, SELECT_DAMAGED("agent", "name", STORE_SQL_AGENT),
	  DELETE_DAMAGED("agent", STORE_SQL_AGENT) },
	{ STORE_VIEW, SELECT_DAMAGED("view", "name", STORE_SQL_VIEW),
	  DELETE_DAMAGED("view", STORE_SQL_VIEW) },
	{ STORE_TARGET,
	  SELECT_DAMAGED("target", "job || ' ' || instance", STORE_SQL_TARGET),
	  DELETE_DAMAGED("target", STORE_SQL_TARGET) },
	{ STORE_STATE, SELECT_DAMAGED("state", "name", STORE_SQL_STATE),
	  DELETE_DAMAGED("state", STORE_SQL_STATE) },
	{ STORE_WINDOW,
	  SELECT_DAMAGED("pack_key", "kind || ' ' || id", STORE_SQL_KEY),
	  "UPDATE pack_key SET a = CASE id WHEN 0 THEN NULL ELSE 'damaged-' ||"
	  " id END, b = NULL, c = NULL, d = NULL, e = NULL, f = NULL,"
	  " sum = NULL WHERE " STORE_SQL_IS_DAMAGED(STORE_SQL_KEY) },
};

static int note_rows(struct store *st, const struct repair *r, bool *found)
{
	sqlite3_stmt *s;
	int rc = sqlite3_prepare_v2(st->db, r->list, -1, &s, NULL);

	if (rc != SQLITE_OK)
		return store_sql_fail(st, rc);
	while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
		char what[256];

		*found = true;
		snprintf(what, sizeof(what), "a row is not as written: %s",
			 store_sql_text_or_empty(s, 0));
		store_note_damage(st, r->table, 1, what);
	}
	sqlite3_finalize(s);
	return rc == SQLITE_DONE ? 0 : store_sql_fail(st, rc);
}

int store_guard_repair(struct store *st)
{
	int err = 0;

	for (size_t i = 0; i < sizeof(repairs) / sizeof(*repairs) && !err;
	     i++) {
		bool found = false;

		err = note_rows(st, &repairs[i], &found);
		if (!err && found)
			err = store_sql_exec(st, repairs[i].mend);
	}
	/* The next view may get the number of a deleted one. */
	if (!err && st->damaged[STORE_VIEW] > 0)
		err = store_sql_exec(st, "DELETE FROM series WHERE view NOT IN"
					 " (SELECT id FROM view)");
	return err;
}

int store_log_is_whole(struct store *st, bool *whole)
{
	uint64_t missing = 1, damaged = 1;
	int err = store_sql_ask_u64(
		st,
		"SELECT coalesce(max(id) - sum(max(batches, 1)), 0) FROM log",
		&missing);

	if (!err)
		err = store_sql_ask_u64(
			st,
			"SELECT count(*) FROM log"
			" WHERE " STORE_SQL_IS_DAMAGED(STORE_SQL_LOG),
			&damaged);
	*whole = missing == 0 && damaged == 0;
	return err;
}

/* --- the mark --- */

int store_guard_name(struct store *st)
{
	void *data = NULL;
	size_t len = 0;
	int err = store_get_state(st, STATE_ID, &data, &len);

	if (!err && len == sizeof(st->id))
		memcpy(&st->id, data, sizeof(st->id));
	free(data);
	if (err != -ENOENT)
		return err;
	st->made = true;
	if (getrandom(&st->id, sizeof(st->id), 0) != sizeof(st->id))
		return -EIO;
	st->id |= 1; /* 0 means none */
	err = store_begin(st);
	if (!err)
		err = store_put_state(st, STATE_ID, &st->id, sizeof(st->id));
	if (!err)
		err = store_commit(st);
	if (err < 0)
		store_rollback(st);
	return err;
}

/* A new database in the place of one that was acknowledged from, or that one.
 */
static bool is_marked(const struct store *st)
{
	return st->acknowledged.store == st->id ||
	       (st->made && st->acknowledged.store != 0);
}

bool store_lacks(struct store *st, uint64_t log_id, uint64_t requests,
		 struct store_lack *out)
{
	const struct store_mark_row *was = &st->acknowledged;
	char wal[4096 + 32], copy[4096 + 32];
	bool lacks;

	*out = (struct store_lack){ 0 };
	if (was->log_id > log_id)
		out->log_ids = was->log_id - log_id;
	if (was->requests > requests)
		out->requests = was->requests - requests;
	lacks = is_marked(st) && (out->log_ids > 0 || out->requests > 0);
	wal_paths(st, wal, copy);
	if (!lacks) {
		if (st->wal_kept)
			unlink(copy);
		return false;
	}
	/* Its evidence; a later start must not overwrite it. */
	snprintf(wal, sizeof(wal), "%s-wal.before-%llu", st->path,
		 (unsigned long long)was->log_id);
	if (!st->wal_kept || rename(copy, wal) < 0)
		snprintf(wal, sizeof(wal), "none");
	log_error("store has less than was acknowledged batches=%llu "
		  "requests=%llu wal=%s",
		  (unsigned long long)out->log_ids,
		  (unsigned long long)out->requests, wal);
	return true;
}

void store_acknowledge(struct store *st, uint64_t log_id, uint64_t requests)
{
	const struct store_mark_row row = { st->id, log_id, requests };
	int err = store_mark_put(st->mark, &row);

	if (err < 0 && !st->mark_failed)
		log_warn("cannot note what is acknowledged error=\"%s\"",
			 strerror(-err));
	st->mark_failed = err < 0;
}

void store_sync_mark(struct store *st)
{
	store_mark_sync(st->mark);
}
