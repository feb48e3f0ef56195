/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/store/store.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "aggregator/store/store_sql.h"

/*
 * Reads the log with one query per row. A single query, open while a slow
 * client reads, would keep SQLite from reusing its write-ahead log, which then
 * grows.
 */
struct store_log_reader {
	sqlite3 *db;
	sqlite3_stmt *next;
	struct store_bundle_reader bundle; /* of the current row */
	/* Ids: of the last batch read, of the last row to read. */
	uint64_t at, last;
	uint64_t damaged; /* rows left out */
	int64_t from_us, to_us;
};

static int ask_id(sqlite3 *db, const char *text, int64_t us, uint64_t *out)
{
	sqlite3_stmt *s;
	int rc;

	if (sqlite3_prepare_v2(db, text, -1, &s, NULL) != SQLITE_OK)
		return -EIO;
	sqlite3_bind_int64(s, 1, us);
	rc = sqlite3_step(s);
	if (rc == SQLITE_ROW)
		*out = (uint64_t)sqlite3_column_int64(s, 0);
	sqlite3_finalize(s);
	return rc == SQLITE_ROW ? 0 : -EIO;
}

static int prepare_reader(struct store_log_reader *r, const char *path)
{
	static const char next[] =
		"SELECT id, received_us, requests, batch, batches,"
		" " STORE_SQL_IS_DAMAGED(
			STORE_SQL_LOG) " FROM log"
				       " WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT 1";
	uint64_t first = 0;
	int err;

	if (sqlite3_open_v2(path, &r->db,
			    SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX,
			    NULL) != SQLITE_OK ||
	    sqlite3_busy_timeout(r->db, 2000) != SQLITE_OK ||
	    store_sql_add_checksum(r->db) != SQLITE_OK ||
	    sqlite3_prepare_v3(r->db, next, -1, SQLITE_PREPARE_PERSISTENT,
			       &r->next, NULL) != SQLITE_OK)
		return -EIO;
	/* Batches before the row's id are in the same row. */
	err = ask_id(r->db,
		     "SELECT coalesce(max(id - max(batches, 1) + 1), 1) FROM"
		     " log WHERE id ="
		     " (SELECT min(id) FROM log WHERE received_us >= ?1)",
		     r->from_us, &first);
	/* A row has the time of its latest batch. */
	if (!err)
		err = ask_id(r->db,
			     "SELECT coalesce(max(id), 0) FROM log"
			     " WHERE received_us < ?1",
			     r->to_us < INT64_MAX - STORE_BUNDLE_SPAN_US
				     ? r->to_us + STORE_BUNDLE_SPAN_US
				     : INT64_MAX,
			     &r->last);
	r->at = first > 0 ? first - 1 : 0;
	return err;
}

int store_log_open(struct store_log_reader **out, const char *path,
		   int64_t from_us, int64_t to_us)
{
	struct store_log_reader *r;
	int err;

	if (access(path, F_OK) < 0)
		return -ENOENT;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->bundle.single = true; /* begins with a row */
	r->from_us = from_us;
	r->to_us = to_us;
	err = prepare_reader(r, path);
	if (err < 0) {
		store_log_close(r);
		return err;
	}
	*out = r;
	return 0;
}

void store_log_close(struct store_log_reader *r)
{
	if (!r)
		return;
	sqlite3_finalize(r->next);
	sqlite3_close(r->db);
	free(r);
}

/*
 * Moves to the row that has the batch after the last one read, or after a
 * damaged one.
 */
static int next_row(struct store_log_reader *r)
{
	sqlite3_stmt *s = r->next;
	struct store_log row;
	int rc;

	sqlite3_reset(s);
	sqlite3_bind_int64(s, 1, (sqlite3_int64)r->at);
	sqlite3_bind_int64(s, 2, (sqlite3_int64)r->last);
	rc = sqlite3_step(s);
	if (rc != SQLITE_ROW) {
		sqlite3_reset(s);
		return rc == SQLITE_DONE ? 0 : -EIO;
	}
	row = (struct store_log){
		.id = (uint64_t)sqlite3_column_int64(s, 0),
		.received_us = sqlite3_column_int64(s, 1),
		.requests = (uint64_t)sqlite3_column_int64(s, 2),
		.data = sqlite3_column_blob(s, 3),
		.len = (size_t)sqlite3_column_bytes(s, 3),
	};
	if (sqlite3_column_int(s, 5)) {
		r->damaged++;
		r->at = row.id;
		return 1;
	}
	store_bundle_read(&r->bundle, &row,
			  (uint64_t)sqlite3_column_int64(s, 4));
	return 1;
}

uint64_t store_log_damaged(const struct store_log_reader *r)
{
	return r->damaged;
}

int store_log_next(struct store_log_reader *r, struct store_log *row)
{
	for (;;) {
		int n = store_bundle_next(&r->bundle, row);

		if (n < 0)
			return -EIO;
		if (n == 0) {
			n = next_row(r);
			if (n <= 0)
				return n;
			continue;
		}
		if (row->id <= r->at)
			continue; /* in the row, but before what is wanted */
		r->at = row->id;
		if (row->received_us >= r->from_us &&
		    row->received_us < r->to_us)
			return 1;
	}
}

int store_log_find(struct store_log_reader *r, uint64_t id,
		   struct store_log *row)
{
	int n;

	if (id == 0 || id > r->last)
		return -ENOENT;
	r->at = id - 1;
	r->bundle.left = 0;
	r->bundle.single = true; /* begins with a row */
	n = store_log_next(r, row);
	if (n < 0)
		return n;
	return n == 0 || row->id != id ? -ENOENT : 0;
}
