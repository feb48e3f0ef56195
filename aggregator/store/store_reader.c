/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/store/store.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <unistd.h>

#include "aggregator/store/durations.h"
#include "proto/buckets.h"

struct store_reader {
	sqlite3 *db;
	sqlite3_stmt *windows;
};

int store_reader_open(struct store_reader **out, const char *path)
{
	static const char text[] =
		"SELECT w.start_s, w.key, k.job, k.role, k.method, k.route,"
		" k.status, k.error, w.count, w.errors, w.duration_sum_us,"
		" w.request_bytes_sum, w.response_bytes_sum, w.durations"
		" FROM window w LEFT JOIN window_key k ON k.id = w.key"
		" WHERE w.start_s >= ?1 AND w.start_s < ?2"
		" ORDER BY w.start_s, w.key";
	struct store_reader *r;

	if (access(path, F_OK) < 0)
		return -ENOENT;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	if (sqlite3_open_v2(path, &r->db,
			    SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX,
			    NULL) != SQLITE_OK ||
	    sqlite3_busy_timeout(r->db, 2000) != SQLITE_OK ||
	    sqlite3_prepare_v3(r->db, text, -1, SQLITE_PREPARE_PERSISTENT,
			       &r->windows, NULL) != SQLITE_OK) {
		store_reader_close(r);
		return -EIO;
	}
	*out = r;
	return 0;
}

void store_reader_close(struct store_reader *r)
{
	if (!r)
		return;
	sqlite3_finalize(r->windows);
	sqlite3_close(r->db);
	free(r);
}

static size_t to_cells(const struct store_bucket *b, size_t n,
		       struct store_cell *out)
{
	for (size_t i = 0; i < n; i++) {
		out[i].count = b[i].count;
		out[i].lower_us = out[i].upper_us = 0;
		if (b[i].native == BUCKET_ZERO)
			continue;
		out[i].lower_us = bucket_native_seconds_upper(b[i].native - 1);
		out[i].upper_us = bucket_native_seconds_upper(b[i].native);
	}
	return n;
}

static void read_row(sqlite3_stmt *s, struct store_window *w)
{
	const char **label[] = { &w->job,   &w->role,	&w->method,
				 &w->route, &w->status, &w->error };

	w->start_s = sqlite3_column_int64(s, 0);
	w->key = (uint32_t)sqlite3_column_int64(s, 1);
	for (int i = 0; i < STORE_WINDOW_LABELS; i++)
		*label[i] = (const char *)sqlite3_column_text(s, 2 + i);
	w->overflow = w->key == 0;
	w->count = (uint64_t)sqlite3_column_int64(s, 8);
	w->errors = (uint64_t)sqlite3_column_int64(s, 9);
	w->duration_sum_us = (uint64_t)sqlite3_column_int64(s, 10);
	w->request_bytes_sum = (uint64_t)sqlite3_column_int64(s, 11);
	w->response_bytes_sum = (uint64_t)sqlite3_column_int64(s, 12);
}

int store_reader_windows(struct store_reader *r, int64_t from_s, int64_t to_s,
			 store_window_fn *fn, void *arg)
{
	struct store_bucket bucket[DURATIONS_MAX];
	struct store_cell cell[DURATIONS_MAX];
	int rc, err = 0;

	sqlite3_bind_int64(r->windows, 1, from_s);
	sqlite3_bind_int64(r->windows, 2, to_s);
	while ((rc = sqlite3_step(r->windows)) == SQLITE_ROW) {
		struct store_window w = { .cells = cell };
		const void *data = sqlite3_column_blob(r->windows, 13);
		size_t len = (size_t)sqlite3_column_bytes(r->windows, 13);

		read_row(r->windows, &w);
		w.n_cells = to_cells(
			bucket,
			durations_decode(data, len, bucket, DURATIONS_MAX),
			cell);
		err = fn(arg, &w);
		if (err)
			break;
	}
	if (rc != SQLITE_DONE && rc != SQLITE_ROW)
		err = -EIO;
	sqlite3_reset(r->windows);
	return err;
}

double store_cells_quantile_us(const struct store_cell *cells, size_t n,
			       double q)
{
	uint64_t total = 0;
	double rank, below = 0;

	for (size_t i = 0; i < n; i++)
		total += cells[i].count;
	if (total == 0)
		return 0;
	rank = q < 0 ? 0 : q > 1 ? (double)total : q * (double)total;
	for (size_t i = 0; i < n; i++) {
		double count = (double)cells[i].count;

		if (below + count >= rank && count > 0) {
			double lower = (double)cells[i].lower_us;
			double upper = (double)cells[i].upper_us;

			return lower + (upper - lower) * (rank - below) / count;
		}
		below += count;
	}
	return (double)cells[n - 1].upper_us;
}
