/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/store/store.h"

#include <stdio.h>

#include "aggregator/store/store_sql.h"

int store_expire_log(struct store *st, int64_t before_us, uint64_t keep_after,
		     unsigned max, struct store_expired *out)
{
	sqlite3_stmt *s = st->stmt[SQL_EXPIRE_LOG_SIZE];
	uint64_t last = 0;
	int n = 0, rc, err = 0;

	*out = (struct store_expired){ 0 };
	store_sql_bind_u64(st, SQL_EXPIRE_LOG_SIZE, 1, (uint64_t)before_us);
	store_sql_bind_u64(st, SQL_EXPIRE_LOG_SIZE, 2, keep_after);
	store_sql_bind_u64(st, SQL_EXPIRE_LOG_SIZE, 3, max);
	rc = sqlite3_step(s);
	if (rc == SQLITE_ROW) {
		last = (uint64_t)sqlite3_column_int64(s, 0);
		n = sqlite3_column_int(s, 1);
		out->bytes = (uint64_t)sqlite3_column_int64(s, 2);
		out->batches = (uint64_t)sqlite3_column_int64(s, 3);
	} else {
		err = store_sql_fail(st, rc);
	}
	sqlite3_reset(s);
	if (err < 0 || n == 0)
		return err;
	store_sql_bind_u64(st, SQL_EXPIRE_LOG, 1, last);
	store_sql_bind_u64(st, SQL_EXPIRE_LOG, 2, (uint64_t)before_us);
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

int store_vacuum(struct store *st, unsigned pages)
{
	char text[64];

	snprintf(text, sizeof(text), "PRAGMA incremental_vacuum(%u)", pages);
	return store_sql_exec(st, text);
}

/* Any kind's, as all begin with the same batch. */
static int ask_first(struct store *st, unsigned tier, int64_t *out)
{
	char text[128];
	uint64_t v = 0;
	int err;

	snprintf(text, sizeof(text),
		 "SELECT min(start_s) FROM window_pack WHERE kind = %d"
		 " AND step_s = %u",
		 WINDOW_REQUESTS, store_tiers[tier]);
	err = store_sql_ask_u64(st, text, &v);
	*out = (int64_t)v;
	return err;
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
	for (unsigned t = 0; t < STORE_TIERS && !err; t++)
		err = ask_first(st, t, &out->first_window_s[t]);
	out->file_bytes = page * pages;
	out->free_bytes = page * unused;
	if (err < 0 || !count_rows)
		return err;
	err = store_sql_ask_u64(st, "SELECT sum(max(batches, 1)) FROM log",
				&out->log_batches);
	if (!err)
		err = store_sql_ask_u64(st,
					"SELECT sum(length(batch)) FROM log",
					&out->log_bytes);
	if (!err)
		err = store_sql_ask_u64(
			st,
			"SELECT (SELECT coalesce(sum(rows), 0) FROM window_pack"
			" WHERE kind = 0 AND step_s = 10) + (SELECT"
			" coalesce(sum(rows), 0) FROM window_delta"
			" WHERE kind = 0)",
			&out->windows);
	return err;
}
