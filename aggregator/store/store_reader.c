/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/store/store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "aggregator/store/durations.h"
#include "aggregator/store/store_reader_state.h"
#include "aggregator/store/store_sql.h"
#include "common/log.h"
#include "proto/buckets.h"

/* Packs are read in place, not by a system call for each 8 KiB. */
#define MAPPED_BYTES "1073741824"

static const char *const sql[READINGS] = {
	[READ_PACKS] = "SELECT start_s, data, " STORE_SQL_IS_DAMAGED(
		STORE_SQL_PACK) " FROM window_pack WHERE kind = ?1"
				" AND start_s >= ?2 AND start_s < ?3 AND step_s = ?4"
				" ORDER BY start_s",
	[READ_DELTAS] = "SELECT start_s, data, " STORE_SQL_IS_DAMAGED(
		STORE_SQL_DELTA) " FROM window_delta WHERE kind = ?1"
				 " AND start_s >= ?2 AND start_s < ?3 ORDER BY start_s",
	[READ_KEYS] = "SELECT id, a, b, c, d, e, f, g, h FROM pack_key"
		      " WHERE kind = ?1 AND id >= ?2 ORDER BY id",
	[READ_FIRST] = "SELECT min(start_s) FROM window_pack WHERE kind = ?1"
		       " AND step_s = ?2",
	/* A row holds the batches up to its id. */
	[READ_LOG_IDS] = "SELECT id FROM log INDEXED BY log_windows"
			 " WHERE first_s < ?2 AND last_s >= ?1 AND id <="
			 " (SELECT coalesce(min(id), ?3) FROM log"
			 " WHERE id >= ?3) ORDER BY id DESC",
	[READ_LOG_ROW] =
		"SELECT id, received_us, requests, batch, batches, " STORE_SQL_IS_DAMAGED(
			STORE_SQL_LOG) " FROM log WHERE id >= ?1 ORDER BY id LIMIT 1",
	[READ_LOG_BOUNDS] = "SELECT (SELECT id - max(batches, 1) + 1 FROM log"
			    " ORDER BY id LIMIT 1), (SELECT max(id) FROM log),"
			    " (SELECT received_us FROM log ORDER BY id"
			    " LIMIT 1)",
};

int store_reader_open(struct store_reader **out, const char *path)
{
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
	    store_sql_add_checksum(r->db) != SQLITE_OK ||
	    sqlite3_exec(r->db, "PRAGMA mmap_size = " MAPPED_BYTES, NULL, NULL,
			 NULL) != SQLITE_OK)
		goto fail;
	for (size_t i = 0; i < READINGS; i++)
		if (sqlite3_prepare_v3(r->db, sql[i], -1,
				       SQLITE_PREPARE_PERSISTENT, &r->stmt[i],
				       NULL) != SQLITE_OK)
			goto fail;
	*out = r;
	return 0;
fail:
	store_reader_close(r);
	return -EIO;
}

void store_reader_close(struct store_reader *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < READINGS; i++)
		sqlite3_finalize(r->stmt[i]);
	sqlite3_close(r->db);
	for (size_t k = 0; k < WINDOW_KINDS; k++) {
		for (uint32_t i = 0; i < r->keys[k].n; i++)
			free(r->keys[k].at[i]);
		free(r->keys[k].at);
	}
	free(r);
}

int store_reader_begin(struct store_reader *r)
{
	return sqlite3_exec(r->db, "BEGIN", NULL, NULL, NULL) == SQLITE_OK
		       ? 0
		       : -EIO;
}

void store_reader_end(struct store_reader *r)
{
	sqlite3_exec(r->db, "COMMIT", NULL, NULL, NULL);
}

/* --- label sets --- */

static int reserve_keys(struct store_keys *k, uint32_t id)
{
	uint32_t cap = k->cap ? k->cap : 1024;
	struct store_key **at;

	if (id < k->cap)
		return 0;
	while (cap <= id)
		cap *= 2;
	at = realloc(k->at, cap * sizeof(struct store_key *));
	if (!at)
		return -ENOMEM;
	k->at = at;
	k->cap = cap;
	return 0;
}

static struct store_key *copy_key(sqlite3_stmt *s)
{
	size_t bytes = sizeof(struct store_key);
	struct store_key *key;
	char *text;

	for (int i = 0; i < STORE_WINDOW_LABELS; i++)
		bytes += (size_t)sqlite3_column_bytes(s, 1 + i) + 1;
	key = calloc(1, bytes);
	if (!key)
		return NULL;
	text = (char *)(key + 1);
	for (int i = 0; i < STORE_WINDOW_LABELS; i++) {
		const void *v = sqlite3_column_text(s, 1 + i);
		size_t len = (size_t)sqlite3_column_bytes(s, 1 + i);

		if (!v)
			continue;
		memcpy(text, v, len);
		key->value[i] = text;
		text += len + 1;
	}
	return key;
}

int store_reader_update_keys(struct store_reader *r, enum window_kind kind)
{
	struct store_keys *k = &r->keys[kind];
	sqlite3_stmt *s = r->stmt[READ_KEYS];
	int rc, err = 0;

	sqlite3_bind_int64(s, 1, kind);
	sqlite3_bind_int64(s, 2, k->n);
	while (!err && (rc = sqlite3_step(s)) == SQLITE_ROW) {
		uint32_t id = (uint32_t)sqlite3_column_int64(s, 0);

		err = reserve_keys(k, id);
		if (err)
			break;
		while (k->n < id)
			k->at[k->n++] = NULL;
		k->at[id] = copy_key(s);
		if (!k->at[id])
			err = -ENOMEM;
		else
			k->n = id + 1;
	}
	if (!err && rc != SQLITE_DONE)
		err = -EIO;
	sqlite3_reset(s);
	return err;
}

uint32_t store_reader_keys(const struct store_reader *r, enum window_kind kind)
{
	return r->keys[kind].n;
}

const char *const *store_reader_key(const struct store_reader *r,
				    enum window_kind kind, uint32_t id)
{
	const struct store_keys *k = &r->keys[kind];

	return id < k->n && k->at[id] ? k->at[id]->value : NULL;
}

/* --- rows --- */

int store_reader_first(struct store_reader *r, enum window_kind kind,
		       unsigned tier, int64_t *start_s)
{
	sqlite3_stmt *s = r->stmt[READ_FIRST];
	int rc;

	sqlite3_bind_int64(s, 1, kind);
	sqlite3_bind_int64(s, 2, store_tiers[tier]);
	rc = sqlite3_step(s);
	*start_s = INT64_MAX;
	if (rc == SQLITE_ROW && sqlite3_column_type(s, 0) != SQLITE_NULL)
		*start_s = sqlite3_column_int64(s, 0);
	sqlite3_reset(s);
	return rc == SQLITE_ROW ? 0 : -EIO;
}

/* Steps; 1 and where the row begins, 0 at the end. */
static int step_to(sqlite3_stmt *s, int64_t *start_s)
{
	int rc = sqlite3_step(s);

	*start_s = INT64_MAX;
	if (rc == SQLITE_ROW)
		*start_s = sqlite3_column_int64(s, 0);
	return rc == SQLITE_ROW ? 1 : rc == SQLITE_DONE ? 0 : -EIO;
}

static int each_row(sqlite3_stmt *s, int64_t start_s,
		    const struct store_rows *q)
{
	const void *data = sqlite3_column_blob(s, 1);
	struct pack_reader r;
	struct pack_row row;
	int err;

	if (sqlite3_column_int(s, 2)) {
		log_warn("a damaged window is left out start_s=%lld",
			 (long long)start_s);
		return 0;
	}
	err = pack_open(&r, data, (size_t)sqlite3_column_bytes(s, 1));

	r.wanted = q->wanted;
	while (!err && (err = pack_next(&r, &row)) > 0)
		err = q->fn(q->arg, start_s, &row);
	return err;
}

int store_reader_rows(struct store_reader *r, const struct store_rows *q)
{
	sqlite3_stmt *s[2] = { r->stmt[READ_PACKS], r->stmt[READ_DELTAS] };
	int64_t start_s[2];
	int has[2], err = 0;

	for (unsigned i = 0; i < 2; i++) {
		sqlite3_bind_int64(s[i], 1, q->kind);
		sqlite3_bind_int64(s[i], 2, q->from_s);
		sqlite3_bind_int64(s[i], 3, q->to_s);
	}
	sqlite3_bind_int64(s[0], 4, store_tiers[q->tier]);
	for (unsigned i = 0; i < 2; i++)
		has[i] = step_to(s[i], &start_s[i]);
	while (!err && (has[0] > 0 || has[1] > 0)) {
		unsigned i = start_s[0] <= start_s[1] ? 0 : 1;

		if (has[0] < 0 || has[1] < 0)
			break;
		err = each_row(s[i], start_s[i], q);
		if (!err)
			has[i] = step_to(s[i], &start_s[i]);
	}
	if (!err && (has[0] < 0 || has[1] < 0))
		err = -EIO;
	sqlite3_reset(s[0]);
	sqlite3_reset(s[1]);
	return err;
}

size_t store_reader_cells(const struct pack_hist *h, struct store_cell *cell)
{
	struct store_bucket b[DURATIONS_MAX];
	size_t n = durations_decode(h->data, h->len, b, DURATIONS_MAX);

	for (size_t i = 0; i < n; i++) {
		cell[i].count = b[i].count;
		cell[i].lower_us = cell[i].upper_us = 0;
		if (b[i].native == BUCKET_ZERO)
			continue;
		cell[i].lower_us = bucket_native_seconds_upper(b[i].native - 1);
		cell[i].upper_us = bucket_native_seconds_upper(b[i].native);
	}
	return n;
}

/* --- windows with their labels --- */

struct window_walk {
	const struct store_reader *reader;
	store_window_fn *fn;
	void *arg;
	struct store_cell cell[DURATIONS_MAX];
};

static int on_window_row(void *arg, int64_t start_s, const struct pack_row *row)
{
	struct window_walk *walk = arg;
	const char *const *label =
		store_reader_key(walk->reader, WINDOW_REQUESTS, row->key);
	struct store_window w = {
		.start_s = start_s,
		.key = row->key,
		.overflow = row->key == 0,
		.count = row->count,
		.errors = row->errors,
		.duration_sum_us = row->sum[WINDOW_DURATION],
		.request_bytes_sum = row->sum[WINDOW_REQUEST_BYTES],
		.response_bytes_sum = row->sum[WINDOW_RESPONSE_BYTES],
		.cells = walk->cell,
	};

	if (label) {
		w.job = label[0];
		w.role = label[1];
		w.method = label[2];
		w.route = label[3];
		w.status = label[4];
		w.error = label[5];
		w.rpc = label[6];
		w.rpc_status = label[7];
	}
	w.n_cells = store_reader_cells(&row->hist[0], walk->cell);
	return walk->fn(walk->arg, &w);
}

int store_reader_windows(struct store_reader *r, int64_t from_s, int64_t to_s,
			 store_window_fn *fn, void *arg)
{
	struct window_walk walk = { .reader = r, .fn = fn, .arg = arg };
	const struct store_rows q = { .kind = WINDOW_REQUESTS,
				      .from_s = from_s,
				      .to_s = to_s,
				      .fn = on_window_row,
				      .arg = &walk };
	int err = store_reader_begin(r);

	if (err < 0)
		return err;
	err = store_reader_update_keys(r, WINDOW_REQUESTS);
	if (!err)
		err = store_reader_rows(r, &q);
	store_reader_end(r);
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
