/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/store/store.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "aggregator/store/store_sql.h"

int store_expire_log(struct store *st, int64_t before_us, uint64_t keep_after,
		     unsigned max, uint64_t *bytes)
{
	sqlite3_stmt *s = st->stmt[SQL_EXPIRE_LOG_SIZE];
	uint64_t last = 0;
	int n = 0, rc, err = 0;

	*bytes = 0;
	store_sql_bind_u64(st, SQL_EXPIRE_LOG_SIZE, 1, (uint64_t)before_us);
	store_sql_bind_u64(st, SQL_EXPIRE_LOG_SIZE, 2, keep_after);
	store_sql_bind_u64(st, SQL_EXPIRE_LOG_SIZE, 3, max);
	rc = sqlite3_step(s);
	if (rc == SQLITE_ROW) {
		last = (uint64_t)sqlite3_column_int64(s, 0);
		n = sqlite3_column_int(s, 1);
		*bytes = (uint64_t)sqlite3_column_int64(s, 2);
	} else {
		err = store_sql_fail(st, rc);
	}
	sqlite3_reset(s);
	if (err < 0 || n == 0)
		return err;
	store_sql_bind_u64(st, SQL_EXPIRE_LOG, 1, last);
	err = store_sql_run(st, SQL_EXPIRE_LOG);
	return err < 0 ? err : n;
}

/* Raises x->before_us so that not too many rows are left. */
static int bound_rows(struct store *st, struct store_expiry *x)
{
	uint64_t rows, seen_us;
	int err = store_sql_ask_bound(st, SQL_COUNT_LEDGER, 0, &rows);

	if (err < 0 || rows <= x->most_rows)
		return err;
	err = store_sql_ask_bound(st, SQL_NTH_SEEN, rows - x->most_rows,
				  &seen_us);
	if (!err && (int64_t)seen_us > x->before_us)
		x->before_us = (int64_t)seen_us < x->silent_us
				       ? (int64_t)seen_us
				       : x->silent_us;
	return err;
}

int store_expire_agents(struct store *st, struct store_expiry *x)
{
	int err = bound_rows(st, x), n;

	if (err < 0)
		return err;
	store_sql_bind_u64(st, SQL_EXPIRE_LEDGER, 1, (uint64_t)x->before_us);
	store_sql_bind_u64(st, SQL_EXPIRE_LEDGER, 2, x->max);
	err = store_sql_run(st, SQL_EXPIRE_LEDGER);
	n = sqlite3_changes(st->db);
	if (!err && n > 0)
		err = store_sql_run(st, SQL_EXPIRE_AGENT);
	return err < 0 ? err : n;
}

/* Has the log this very batch? It may have a corrected time at its end. */
static int compare_batch(struct store *st, uint64_t id, struct store_trail *t)
{
	sqlite3_stmt *s = st->stmt[SQL_TRAIL_BATCH];
	int n;

	store_sql_bind_u64(st, SQL_TRAIL_BATCH, 1, id);
	n = store_sql_next_row(st, SQL_TRAIL_BATCH);
	t->same = n > 0 && (size_t)sqlite3_column_bytes(s, 0) >= t->len &&
		  memcmp(sqlite3_column_blob(s, 0), t->data, t->len) == 0;
	sqlite3_reset(s);
	return n < 0 ? n : 0;
}

int store_trail(struct store *st, struct store_trail *t)
{
	sqlite3_stmt *s = st->stmt[SQL_TRAIL];
	uint64_t oldest_us = 0, id = 0;
	int n, err;

	t->any = t->same = false;
	t->before = 0;
	/* SQLite's integers are signed. */
	if (t->last > INT64_MAX)
		return -ERANGE;
	store_sql_bind_text(st, SQL_TRAIL, 1, t->agent);
	store_sql_bind_u64(st, SQL_TRAIL, 2, t->epoch);
	store_sql_bind_u64(st, SQL_TRAIL, 3, t->first);
	store_sql_bind_u64(st, SQL_TRAIL, 4, t->last);
	n = store_sql_next_row(st, SQL_TRAIL);
	if (n > 0) {
		t->before = (uint64_t)sqlite3_column_int64(s, 0);
		t->any = sqlite3_column_int64(s, 1) > 0;
		id = (uint64_t)sqlite3_column_int64(s, 2);
	}
	sqlite3_reset(s);
	err = n < 0 ? n : 0;
	if (!err && id > 0)
		err = compare_batch(st, id, t);
	if (!err)
		err = store_sql_ask_bound(st, SQL_OLDEST_LOG, 0, &oldest_us);
	if (!err)
		err = store_sql_ask_bound(st, SQL_FIRST_LOG, 0, &id);
	t->oldest_us = (int64_t)oldest_us;
	t->whole = id <= 1; /* numbers begin with 1; 0: there are none */
	return err;
}

int store_expire_windows(struct store *st, int64_t before_s, unsigned max)
{
	int err;

	store_sql_bind_u64(st, SQL_EXPIRE_WINDOWS, 1, (uint64_t)before_s);
	store_sql_bind_u64(st, SQL_EXPIRE_WINDOWS, 2, max);
	err = store_sql_run(st, SQL_EXPIRE_WINDOWS);
	return err < 0 ? err : sqlite3_changes(st->db);
}

int store_vacuum(struct store *st, unsigned pages)
{
	char text[64];

	snprintf(text, sizeof(text), "PRAGMA incremental_vacuum(%u)", pages);
	return store_sql_exec(st, text);
}

int store_sizes(struct store *st, struct store_sizes *out, bool count_rows)
{
	uint64_t page = 0, pages = 0, unused = 0, v = 0;
	int err = store_sql_ask_u64(st, "PRAGMA page_size", &page);

	if (!err)
		err = store_sql_ask_u64(st, "PRAGMA page_count", &pages);
	if (!err)
		err = store_sql_ask_u64(st, "PRAGMA freelist_count", &unused);
	if (!err)
		err = store_sql_ask_u64(st, "SELECT min(id) FROM log",
					&out->first_log_id);
	if (!err)
		err = store_sql_ask_u64(st, "SELECT max(id) FROM log",
					&out->last_log_id);
	if (!err)
		err = store_sql_ask_u64(
			st, "SELECT received_us FROM log ORDER BY id LIMIT 1",
			&v);
	if (err < 0)
		return err;
	out->first_log_us = (int64_t)v;
	err = store_sql_ask_u64(st, "SELECT min(start_s) FROM window", &v);
	out->first_window_s = (int64_t)v;
	out->file_bytes = page * pages;
	out->free_bytes = page * unused;
	if (err < 0 || !count_rows)
		return err;
	err = store_sql_ask_u64(st, "SELECT count(*) FROM log",
				&out->log_batches);
	if (!err)
		err = store_sql_ask_u64(st,
					"SELECT sum(length(batch)) FROM log",
					&out->log_bytes);
	if (!err)
		err = store_sql_ask_u64(st, "SELECT count(*) FROM window",
					&out->windows);
	return err;
}
