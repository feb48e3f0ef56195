/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/store/store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/store/store_bundle.h"
#include "aggregator/store/store_sql.h"

static int each_batch(const struct store_log *row, uint64_t batches,
		      uint64_t after_id, store_log_fn *fn, void *arg)
{
	struct store_bundle_reader r;
	struct store_log batch;
	int err;

	if (row->damaged)
		return fn(arg, row);
	store_bundle_read(&r, row, batches);
	while ((err = store_bundle_next(&r, &batch)) > 0) {
		err = batch.id > after_id ? fn(arg, &batch) : 0;
		if (err)
			break;
	}
	return err;
}

/*
 * The row must be as it was written, and follow the one before it: ids of rows
 * that retention has not reached have no gaps.
 */
static void check_row(struct store *st, struct store_log *row, uint64_t batches,
		      uint64_t *next_id)
{
	uint64_t n = batches > 0 ? batches : 1;
	uint64_t first = row->id >= n ? row->id - n + 1 : row->id;

	if (row->damaged)
		store_note_damage(st, STORE_LOG, 1, "a row is not as written");
	else if (*next_id > 0 && first > *next_id)
		store_note_damage(st, STORE_LOG, first - *next_id,
				  "rows are missing");
	*next_id = row->id + 1;
}

int store_each_log(struct store *st, uint64_t after_id, store_log_fn *fn,
		   void *arg)
{
	sqlite3_stmt *s = st->stmt[SQL_EACH_LOG];
	uint64_t next_id = after_id > 0 ? after_id + 1 : 0;
	int err;

	store_sql_bind_u64(st, SQL_EACH_LOG, 1, after_id);
	while ((err = store_sql_next_row(st, SQL_EACH_LOG)) > 0) {
		struct store_log row = {
			.id = (uint64_t)sqlite3_column_int64(s, 0),
			.received_us = sqlite3_column_int64(s, 1),
			.requests = (uint64_t)sqlite3_column_int64(s, 2),
			.data = sqlite3_column_blob(s, 3),
			.len = (size_t)sqlite3_column_bytes(s, 3),
			.damaged = sqlite3_column_int(s, 5) != 0,
		};
		uint64_t batches = (uint64_t)sqlite3_column_int64(s, 4);

		check_row(st, &row, batches, &next_id);
		err = each_batch(&row, batches, after_id, fn, arg);
		if (err)
			break;
	}
	sqlite3_reset(s);
	return err;
}

int store_each_view(struct store *st, store_view_fn *fn, void *arg)
{
	sqlite3_stmt *s = st->stmt[SQL_EACH_VIEW];
	int err;

	while ((err = store_sql_next_row(st, SQL_EACH_VIEW)) > 0) {
		err = fn(arg, (uint32_t)sqlite3_column_int64(s, 0),
			 store_sql_text_or_empty(s, 1),
			 (uint64_t)sqlite3_column_int64(s, 2),
			 (uint64_t)sqlite3_column_int64(s, 3));
		if (err)
			break;
	}
	sqlite3_reset(s);
	return err;
}

int store_each_series(struct store *st, uint32_t view, store_series_fn *fn,
		      void *arg)
{
	sqlite3_stmt *s = st->stmt[SQL_EACH_SERIES];
	int err;

	store_sql_bind_u64(st, SQL_EACH_SERIES, 1, view);
	while ((err = store_sql_next_row(st, SQL_EACH_SERIES)) > 0) {
		struct store_series row = {
			.view = view,
			.slot = (uint32_t)sqlite3_column_int64(s, 0),
			.log_id = (uint64_t)sqlite3_column_int64(s, 1),
			.labels = sqlite3_column_blob(s, 2),
			.labels_len = (size_t)sqlite3_column_bytes(s, 2),
			.state = sqlite3_column_blob(s, 3),
			.state_len = (size_t)sqlite3_column_bytes(s, 3),
			.damaged = sqlite3_column_int(s, 4) != 0,
		};

		err = fn(arg, &row);
		if (err)
			break;
	}
	sqlite3_reset(s);
	return err;
}

static int each_strings(struct store *st, enum store_statement which, int n,
			store_strings_fn *fn, void *arg)
{
	sqlite3_stmt *s = st->stmt[which];
	const char *value[STORE_TARGET_FIELDS];
	int err;

	while ((err = store_sql_next_row(st, which)) > 0) {
		for (int i = 0; i < n; i++)
			value[i] = store_sql_text_at(s, i + 1);
		err = fn(arg, (uint32_t)sqlite3_column_int64(s, 0), value);
		if (err)
			break;
	}
	sqlite3_reset(s);
	return err;
}

int store_each_target(struct store *st, store_strings_fn *fn, void *arg)
{
	return each_strings(st, SQL_EACH_TARGET, STORE_TARGET_FIELDS, fn, arg);
}

int store_each_window_key(struct store *st, enum window_kind kind,
			  store_strings_fn *fn, void *arg)
{
	store_sql_bind_u64(st, SQL_EACH_WINDOW_KEY, 1, (uint64_t)kind);
	return each_strings(st, SQL_EACH_WINDOW_KEY, STORE_WINDOW_LABELS, fn,
			    arg);
}

int store_get_state(struct store *st, const char *name, void **data,
		    size_t *len)
{
	sqlite3_stmt *s = st->stmt[SQL_GET_STATE];
	int err;

	store_sql_bind_text(st, SQL_GET_STATE, 1, name);
	err = store_sql_next_row(st, SQL_GET_STATE);
	if (!err)
		err = -ENOENT;
	if (err > 0) {
		err = 0;
		*len = (size_t)sqlite3_column_bytes(s, 0);
		*data = malloc(*len + 1);
		if (!*data)
			err = -ENOMEM;
		else if (*len)
			memcpy(*data, sqlite3_column_blob(s, 0), *len);
	}
	sqlite3_reset(s);
	return err;
}
