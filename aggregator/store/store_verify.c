/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/store/store_verify.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "aggregator/store/migrations.h"
#include "aggregator/store/store_sql.h"
#include "proto/batch.h"

#define SHOWN 20u /* findings of one kind */

struct verifying {
	sqlite3 *db;
	FILE *f;
	struct store_verdict *out;
	unsigned shown;
};

static void find(struct verifying *v, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void find(struct verifying *v, const char *format, ...)
{
	va_list args;

	v->out->damage++;
	if (!v->f || v->shown++ >= SHOWN)
		return;
	va_start(args, format);
	vfprintf(v->f, format, args);
	va_end(args);
	fprintf(v->f, v->shown < SHOWN ? "\n" : " (further ones not shown)\n");
}

static int from_sqlite(struct verifying *v, int rc)
{
	if (v->f)
		fprintf(v->f, "error: %s\n",
			v->db ? sqlite3_errmsg(v->db) : sqlite3_errstr(rc));
	switch (rc & 0xff) {
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
	case SQLITE_ERROR: /* a table or column is missing */
		return -EUCLEAN;
	case SQLITE_CANTOPEN:
	case SQLITE_PERM:
	case SQLITE_AUTH:
	case SQLITE_READONLY:
		return -EACCES;
	default:
		return -EIO;
	}
}

/* Calls fn for each row. Returns what it returns if that is not 0. */
typedef int row_fn(struct verifying *v, sqlite3_stmt *s, void *arg);

static int each(struct verifying *v, const char *sql, row_fn *fn, void *arg)
{
	sqlite3_stmt *s = NULL;
	int rc = sqlite3_prepare_v2(v->db, sql, -1, &s, NULL), err = 0;

	if (rc != SQLITE_OK)
		return from_sqlite(v, rc);
	v->shown = 0;
	while (!err && (rc = sqlite3_step(s)) == SQLITE_ROW)
		err = fn(v, s, arg);
	if (!err && rc != SQLITE_DONE)
		err = from_sqlite(v, rc);
	sqlite3_finalize(s);
	return err;
}

static int take_u64(struct verifying *v, sqlite3_stmt *s, void *arg)
{
	uint64_t *out = arg;

	(void)v;
	*out = (uint64_t)sqlite3_column_int64(s, 0);
	return 0;
}

/* --- each table --- */

static int on_integrity(struct verifying *v, sqlite3_stmt *s, void *arg)
{
	const char *text = store_sql_text_or_empty(s, 0);

	(void)arg;
	if (strcmp(text, "ok") != 0)
		find(v, "database: %s", text);
	return 0;
}

struct table {
	const char *name, *rows;
};

static int on_row(struct verifying *v, sqlite3_stmt *s, void *arg)
{
	const char *table = ((const struct table *)arg)->name;

	v->out->rows++;
	if (sqlite3_column_int(s, 0))
		find(v, "%s: a row is not as written: %s", table,
		     store_sql_text_or_empty(s, 2));
	v->out->unchecked += sqlite3_column_int(s, 1) != 0;
	return 0;
}

#define SELECT_ROWS(table, key, columns)                                       \
	"SELECT " STORE_SQL_IS_DAMAGED(columns) ", sum IS NULL, " key          \
						" FROM " table

static int verify_tables(struct verifying *v)
{
	static const struct table tables[] = {
		{ "ledger", SELECT_ROWS("ledger", "agent || ' ' || epoch",
					STORE_SQL_LEDGER) },
		{ "agent", SELECT_ROWS("agent", "name", STORE_SQL_AGENT) },
		{ "view", SELECT_ROWS("view", "name", STORE_SQL_VIEW) },
		{ "series", SELECT_ROWS("series", "view || ' ' || slot",
					STORE_SQL_SERIES) },
		{ "target", SELECT_ROWS("target", "job || ' ' || instance",
					STORE_SQL_TARGET) },
		{ "state", SELECT_ROWS("state", "name", STORE_SQL_STATE) },
		{ "pack_key",
		  SELECT_ROWS("pack_key", "kind || ' ' || id", STORE_SQL_KEY) },
		{ "window_delta",
		  SELECT_ROWS("window_delta", "start_s", STORE_SQL_DELTA) },
		{ "window_pack",
		  SELECT_ROWS("window_pack", "start_s", STORE_SQL_PACK) },
	};
	int err = 0;

	for (size_t i = 0; i < sizeof(tables) / sizeof(*tables) && !err; i++) {
		struct table t = tables[i];

		err = each(v, t.rows, on_row, &t);
	}
	return err;
}

/* --- the log --- */

struct log_walk {
	struct batch_arena *arena;
	uint64_t next_id, must_have; /* ids from then on have no gaps */
};

static void verify_batch(struct verifying *v, struct log_walk *w,
			 const struct store_log *row)
{
	struct batch b;
	const char *reason = "";

	v->out->batches++;
	v->out->requests += row->requests;
	if (batch_decode(w->arena, row->data, row->len, &b, &reason) < 0)
		find(v, "log: batch %llu is none: %s",
		     (unsigned long long)row->id, reason);
}

static int on_log_row(struct verifying *v, sqlite3_stmt *s, void *arg)
{
	struct log_walk *w = arg;
	struct store_log batch, row = {
		.id = (uint64_t)sqlite3_column_int64(s, 0),
		.requests = (uint64_t)sqlite3_column_int64(s, 1),
		.data = sqlite3_column_blob(s, 2),
		.len = (size_t)sqlite3_column_bytes(s, 2),
	};
	uint64_t n = (uint64_t)sqlite3_column_int64(s, 3);
	uint64_t first = n > 0 && n <= row.id ? row.id - n + 1 : row.id;
	struct store_bundle_reader r;
	int more;

	v->out->rows++;
	v->out->unchecked += sqlite3_column_int(s, 5) != 0;
	if (w->next_id > 0 && first > w->next_id && first > w->must_have)
		find(v, "log: batches are missing before %llu: %llu",
		     (unsigned long long)first,
		     (unsigned long long)(first - w->next_id));
	w->next_id = row.id + 1;
	if (sqlite3_column_int(s, 4)) {
		find(v, "log: a row is not as written: %llu",
		     (unsigned long long)row.id);
		return 0;
	}
	store_bundle_read(&r, &row, n);
	while ((more = store_bundle_next(&r, &batch)) > 0)
		verify_batch(v, w, &batch);
	if (more < 0)
		find(v, "log: a row is no bundle: %llu",
		     (unsigned long long)row.id);
	return 0;
}

static int verify_log(struct verifying *v, uint64_t must_have)
{
	struct log_walk w = { .must_have = must_have };
	int err = batch_arena_new(&w.arena);

	if (!err)
		err = each(v,
			   "SELECT id, requests, batch, batches,"
			   " " STORE_SQL_IS_DAMAGED(
				   STORE_SQL_LOG) ", sum IS NULL FROM log"
						  " ORDER BY id",
			   on_log_row, &w);
	batch_arena_free(w.arena);
	/* Retention deletes from the front only. */
	if (!err && w.next_id > 0 && w.next_id < must_have)
		find(v, "log: batches are missing at the end: %llu",
		     (unsigned long long)(must_have - w.next_id));
	return err;
}

/* --- the whole --- */

static int verify_mark(struct verifying *v, const char *path,
		       const struct store_mark_row *mark)
{
	uint64_t last = 0, id = 0;
	int err = each(v,
		       "SELECT max(coalesce((SELECT max(id) FROM log), 0),"
		       " coalesce((SELECT max(log_id) FROM view), 0))",
		       take_u64, &last);

	if (!err)
		err = each(v,
			   "SELECT CASE WHEN count(*) = 1 THEN"
			   " store_id(max(value)) ELSE 0 END FROM state"
			   " WHERE name = 'store_id'",
			   take_u64, &id);
	v->shown = 0;
	if (!err && mark->store != 0 && (id == mark->store || id == 0) &&
	    mark->log_id > last)
		find(v, "%s: has batches up to %llu, acknowledged were %llu",
		     path, (unsigned long long)last,
		     (unsigned long long)mark->log_id);
	return err;
}

/* SQL function store_id(blob): eight bytes as a number. */
static void sql_store_id(sqlite3_context *ctx, int n, sqlite3_value **v)
{
	uint64_t id = 0;

	(void)n;
	if (sqlite3_value_bytes(v[0]) == sizeof(id))
		memcpy(&id, sqlite3_value_blob(v[0]), sizeof(id));
	sqlite3_result_int64(ctx, (sqlite3_int64)id);
}

static int open_reading(struct verifying *v, const char *path)
{
	int rc = sqlite3_open_v2(
		path, &v->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_busy_timeout(v->db, 5000);
	if (rc == SQLITE_OK)
		rc = store_sql_add_checksum(v->db);
	if (rc == SQLITE_OK)
		rc = sqlite3_create_function(v->db, "store_id", 1, SQLITE_UTF8,
					     NULL, sql_store_id, NULL, NULL);
	/* All that follows sees the store as it is now. */
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(v->db, "BEGIN", NULL, NULL, NULL);
	return rc == SQLITE_OK ? 0 : from_sqlite(v, rc);
}

static int verify_version(struct verifying *v)
{
	uint64_t version = 0;
	int err = each(v, "PRAGMA user_version", take_u64, &version);

	if (err < 0)
		return err;
	if (version == migrations_count)
		return 0;
	if (v->f)
		fprintf(v->f, "error: schema %llu, this version has %zu: %s\n",
			(unsigned long long)version, migrations_count,
			version > migrations_count
				? "use the version that wrote it"
				: "start the aggregator once, it takes the "
				  "store over");
	return -EPROTO;
}

int store_verify(const char *path, FILE *f, struct store_verdict *out)
{
	struct verifying v = { .f = f, .out = out };
	struct store_mark_row mark = { .store = 0 };
	uint64_t watermark = 0;
	int err;

	*out = (struct store_verdict){ 0 };
	if (access(path, F_OK) < 0)
		return -errno;
	/* Before the database: it may go on meanwhile, and then knows more. */
	store_mark_read(path, &mark);
	err = open_reading(&v, path);
	if (!err)
		err = verify_version(&v);
	if (!err)
		err = each(&v, "PRAGMA integrity_check(20)", on_integrity,
			   NULL);
	if (!err)
		err = verify_tables(&v);
	if (!err)
		err = each(&v, "SELECT coalesce(min(log_id), 0) FROM view",
			   take_u64, &watermark);
	if (!err)
		err = verify_log(&v, watermark + 1);
	if (!err)
		err = verify_mark(&v, path, &mark);
	sqlite3_close(v.db);
	return err;
}
