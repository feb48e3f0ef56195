/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>

#include "aggregator/store/store_reader_state.h"

/* Single rows of the log, for questions about single requests. */

int store_reader_log_ids(struct store_reader *r, int64_t from_s, int64_t to_s,
			 uint64_t up_to, uint64_t **ids, size_t *n)
{
	sqlite3_stmt *s = r->stmt[READ_LOG_IDS];
	uint64_t *list = NULL;
	size_t cap = 0;
	int rc, err = 0;

	*n = 0;
	sqlite3_bind_int64(s, 1, from_s);
	sqlite3_bind_int64(s, 2, to_s);
	sqlite3_bind_int64(s, 3, (sqlite3_int64)up_to);
	while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
		if (*n == cap) {
			uint64_t *more;

			cap = cap ? 2 * cap : 256;
			more = realloc(list, cap * sizeof(*list));
			if (!more) {
				err = -ENOMEM;
				break;
			}
			list = more;
		}
		list[(*n)++] = (uint64_t)sqlite3_column_int64(s, 0);
	}
	if (!err && rc != SQLITE_DONE)
		err = -EIO;
	sqlite3_reset(s);
	*ids = list;
	if (err < 0) {
		free(list);
		*ids = NULL;
	}
	return err;
}

int store_reader_log(struct store_reader *r, uint64_t id)
{
	sqlite3_stmt *s = r->stmt[READ_LOG_ROW];
	struct store_log row;
	int rc;

	sqlite3_bind_int64(s, 1, (sqlite3_int64)id);
	rc = sqlite3_step(s);
	if (rc != SQLITE_ROW || sqlite3_column_int(s, 5)) {
		sqlite3_reset(s);
		return rc == SQLITE_DONE || rc == SQLITE_ROW ? -ENOENT : -EIO;
	}
	row = (struct store_log){
		.id = (uint64_t)sqlite3_column_int64(s, 0),
		.received_us = sqlite3_column_int64(s, 1),
		.requests = (uint64_t)sqlite3_column_int64(s, 2),
		.data = sqlite3_column_blob(s, 3),
		.len = (size_t)sqlite3_column_bytes(s, 3),
	};
	store_bundle_read(&r->bundle, &row,
			  (uint64_t)sqlite3_column_int64(s, 4));
	return 0;
}

int store_reader_log_next(struct store_reader *r, struct store_log *batch)
{
	int n = store_bundle_next(&r->bundle, batch);

	return n < 0 ? -EIO : n;
}

void store_reader_log_done(struct store_reader *r)
{
	sqlite3_reset(r->stmt[READ_LOG_ROW]);
}

int store_reader_log_bounds(struct store_reader *r,
			    struct store_log_bounds *out)
{
	sqlite3_stmt *s = r->stmt[READ_LOG_BOUNDS];
	int rc = sqlite3_step(s);

	*out = (struct store_log_bounds){ .first = 0 };
	if (rc == SQLITE_ROW) {
		out->first = (uint64_t)sqlite3_column_int64(s, 0);
		out->last = (uint64_t)sqlite3_column_int64(s, 1);
		out->first_us = sqlite3_column_int64(s, 2);
	}
	sqlite3_reset(s);
	return rc == SQLITE_ROW ? 0 : -EIO;
}
