/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/store.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "aggregator/durations.h"
#include "aggregator/ledger.h"
#include "aggregator/migrations.h"
#include "aggregator/varint.h"
#include "aggregator/window.h"
#include "common/log.h"

enum statement {
	SQL_BEGIN,
	SQL_COMMIT,
	SQL_ROLLBACK,
	SQL_PUT_LOG,
	SQL_PUT_LEDGER,
	SQL_DROP_LEDGER,
	SQL_PUT_AGENT,
	SQL_PUT_VIEW,
	SQL_DROP_VIEW,
	SQL_DROP_SERIES,
	SQL_PUT_SERIES,
	SQL_PUT_TARGET,
	SQL_PUT_WINDOW_KEY,
	SQL_ADD_WINDOW,
	SQL_PUT_STATE,
	SQL_EXPIRE_LOG_SIZE,
	SQL_EXPIRE_LOG,
	SQL_EXPIRE_WINDOWS,
	SQL_EACH_LOG,
	SQL_EACH_LEDGER,
	SQL_EACH_AGENT,
	SQL_EACH_VIEW,
	SQL_EACH_SERIES,
	SQL_EACH_TARGET,
	SQL_EACH_WINDOW_KEY,
	SQL_GET_STATE,
	STATEMENTS,
};

static const char *const sql[STATEMENTS] = {
	[SQL_BEGIN] = "BEGIN IMMEDIATE",
	[SQL_COMMIT] = "COMMIT",
	[SQL_ROLLBACK] = "ROLLBACK",
	[SQL_PUT_LOG] = "INSERT INTO log (id, received_us, agent, epoch,"
			" sequence, requests, batch)"
			" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
	[SQL_PUT_LEDGER] = "INSERT INTO ledger (agent, epoch, sequence,"
			   " seen_us, skew_us, totals)"
			   " VALUES (?1, ?2, ?3, ?4, ?5, ?6)"
			   " ON CONFLICT DO UPDATE SET"
			   " sequence = ?3, seen_us = ?4, skew_us = ?5,"
			   " totals = ?6",
	[SQL_DROP_LEDGER] =
		"DELETE FROM ledger WHERE agent = ?1 AND epoch = ?2",
	[SQL_PUT_AGENT] = "INSERT OR REPLACE INTO agent (name, version, kernel,"
			  " capture, probes, retired_epoch, retired)"
			  " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
	[SQL_PUT_VIEW] = "INSERT OR REPLACE INTO view (id, name, digest,"
			 " log_id) VALUES (?1, ?2, ?3, ?4)",
	[SQL_DROP_VIEW] = "DELETE FROM view WHERE id = ?1",
	[SQL_DROP_SERIES] = "DELETE FROM series WHERE view = ?1",
	[SQL_PUT_SERIES] = "INSERT INTO series (view, slot, log_id, labels,"
			   " state) VALUES (?1, ?2, ?3, ?4, ?5)"
			   " ON CONFLICT DO UPDATE SET log_id = ?3,"
			   " state = ?5",
	[SQL_PUT_TARGET] = "INSERT OR REPLACE INTO target (job, instance,"
			   " service, namespace, container, node, executable)"
			   " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
	[SQL_PUT_WINDOW_KEY] = "INSERT OR REPLACE INTO window_key (id, job,"
			       " role, method, route, status, error)"
			       " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
	[SQL_ADD_WINDOW] =
		"INSERT INTO window (start_s, key, count, errors,"
		" duration_sum_us, request_bytes_sum, response_bytes_sum,"
		" durations) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
		" ON CONFLICT DO UPDATE SET"
		" count = count + ?3, errors = errors + ?4,"
		" duration_sum_us = duration_sum_us + ?5,"
		" request_bytes_sum = request_bytes_sum + ?6,"
		" response_bytes_sum = response_bytes_sum + ?7,"
		" durations = durations_add(durations, ?8)",
	[SQL_PUT_STATE] = "INSERT OR REPLACE INTO state (name, value)"
			  " VALUES (?1, ?2)",
	[SQL_EXPIRE_LOG_SIZE] =
		"SELECT max(id), count(*), sum(length(batch)) FROM"
		" (SELECT id, batch FROM log WHERE id <= ?2"
		" AND received_us < ?1 ORDER BY id LIMIT ?3)",
	[SQL_EXPIRE_LOG] = "DELETE FROM log WHERE id <= ?1",
	[SQL_EXPIRE_WINDOWS] =
		"DELETE FROM window WHERE (start_s, key) IN (SELECT start_s,"
		" key FROM window WHERE start_s < ?1 LIMIT ?2)",
	[SQL_EACH_LOG] = "SELECT id, received_us, agent, epoch, sequence,"
			 " requests, batch FROM log WHERE id > ?1 ORDER BY id",
	[SQL_EACH_LEDGER] = "SELECT agent, epoch, sequence, seen_us, skew_us,"
			    " totals FROM ledger",
	[SQL_EACH_AGENT] = "SELECT name, version, kernel, capture, probes,"
			   " retired_epoch, retired FROM agent",
	[SQL_EACH_VIEW] = "SELECT id, name, digest, log_id FROM view",
	[SQL_EACH_SERIES] = "SELECT slot, log_id, labels, state FROM series"
			    " WHERE view = ?1 ORDER BY slot",
	[SQL_EACH_TARGET] = "SELECT 0, job, instance, service, namespace,"
			    " container, node, executable FROM target",
	[SQL_EACH_WINDOW_KEY] = "SELECT id, job, role, method, route, status,"
				" error FROM window_key ORDER BY id",
	[SQL_GET_STATE] = "SELECT value FROM state WHERE name = ?1",
};

struct store {
	sqlite3 *db;
	sqlite3_stmt *stmt[STATEMENTS];
	char *dir, *path;
	int lock_fd;
	bool set_aside;
	struct buf blob;
	uint64_t merged; /* windows that were there already */
	char error[256];
};

/* ---- errors ------------------------------------------------------------ */

static int to_errno(int rc)
{
	switch (rc & 0xff) {
	case SQLITE_OK:
	case SQLITE_DONE:
	case SQLITE_ROW:
		return 0;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_READONLY:
		return -EROFS;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return -EUCLEAN;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_PERM:
	case SQLITE_AUTH:
	case SQLITE_CANTOPEN:
		return -EACCES;
	default:
		return -EIO;
	}
}

static int fail(struct store *st, int rc)
{
	snprintf(st->error, sizeof(st->error), "%s",
		 st->db ? sqlite3_errmsg(st->db) : sqlite3_errstr(rc));
	return to_errno(rc);
}

const char *store_error(const struct store *st)
{
	return st->error;
}

/* Runs a statement that gives no rows, with what was bound to it. */
static int run(struct store *st, enum statement s)
{
	int rc = sqlite3_step(st->stmt[s]);
	int err = 0;

	if (rc != SQLITE_DONE && rc != SQLITE_ROW)
		err = fail(st, rc);
	sqlite3_reset(st->stmt[s]);
	return err;
}

static void bind_u64(struct store *st, enum statement s, int i, uint64_t v)
{
	sqlite3_bind_int64(st->stmt[s], i, (sqlite3_int64)v);
}

static void bind_text(struct store *st, enum statement s, int i, const char *v)
{
	sqlite3_bind_text(st->stmt[s], i, v, -1, SQLITE_STATIC);
}

static void bind_blob(struct store *st, enum statement s, int i, const void *v,
		      size_t len)
{
	/* A NULL pointer would bind NULL. */
	sqlite3_bind_blob64(st->stmt[s], i, v ? v : "", len, SQLITE_STATIC);
}

/* ---- opening ----------------------------------------------------------- */

/* durations_add(a, b): the sum of two sparse histograms. */
static void sql_durations_add(sqlite3_context *ctx, int argc,
			      sqlite3_value **argv)
{
	struct store *st = sqlite3_user_data(ctx);
	struct buf out = { 0 };
	size_t len;
	void *data;

	(void)argc;
	st->merged++;
	durations_add(&out, sqlite3_value_blob(argv[0]),
		      (size_t)sqlite3_value_bytes(argv[0]),
		      sqlite3_value_blob(argv[1]),
		      (size_t)sqlite3_value_bytes(argv[1]));
	if (out.err) {
		buf_fini(&out);
		sqlite3_result_error_nomem(ctx);
		return;
	}
	data = buf_take(&out, &len);
	if (!data) {
		sqlite3_result_error_nomem(ctx);
		return;
	}
	sqlite3_result_blob64(ctx, data, len, free);
}

static int exec(struct store *st, const char *text)
{
	int rc = sqlite3_exec(st->db, text, NULL, NULL, NULL);

	return rc == SQLITE_OK ? 0 : fail(st, rc);
}

/* One integer or text answer, into out as text. */
static int ask(struct store *st, const char *text, char *out, size_t size)
{
	sqlite3_stmt *s = NULL;
	int rc = sqlite3_prepare_v2(st->db, text, -1, &s, NULL);

	out[0] = 0;
	if (rc == SQLITE_OK)
		rc = sqlite3_step(s);
	if (rc == SQLITE_ROW) {
		const unsigned char *t = sqlite3_column_text(s, 0);

		snprintf(out, size, "%s", t ? (const char *)t : "");
		rc = SQLITE_OK;
	}
	if (rc == SQLITE_DONE)
		rc = SQLITE_OK;
	sqlite3_finalize(s);
	return rc == SQLITE_OK ? 0 : fail(st, rc);
}

static int ask_u64(struct store *st, const char *text, uint64_t *out)
{
	char answer[32];
	int err = ask(st, text, answer, sizeof(answer));

	*out = strtoull(answer, NULL, 10);
	return err;
}

static int migrate(struct store *st)
{
	uint64_t version;
	char text[64];
	int err = ask_u64(st, "PRAGMA user_version", &version);

	if (err < 0)
		return err;
	if (version > migrations_count) {
		log_error("%s was written by a newer version of redtap: "
			  "schema %llu, this one knows %zu",
			  st->path, (unsigned long long)version,
			  migrations_count);
		return -EPROTO;
	}
	for (size_t i = version; i < migrations_count; i++) {
		snprintf(text, sizeof(text), "PRAGMA user_version = %d",
			 migrations[i].number);
		err = exec(st, "BEGIN IMMEDIATE");
		if (err == 0)
			err = exec(st, migrations[i].sql);
		if (err == 0)
			err = exec(st, text);
		if (err == 0)
			err = exec(st, "COMMIT");
		if (err < 0) {
			sqlite3_exec(st->db, "ROLLBACK", NULL, NULL, NULL);
			return err;
		}
	}
	return 0;
}

static int check(struct store *st)
{
	char answer[128];
	int err = ask(st, "PRAGMA quick_check(1)", answer, sizeof(answer));

	if (err < 0)
		return err;
	if (strcmp(answer, "ok") != 0) {
		snprintf(st->error, sizeof(st->error), "%s", answer);
		return -EUCLEAN;
	}
	return 0;
}

/*
 * The first two only take effect before the first table is made. A page costs
 * three system calls on its way, two into the WAL and one out of it, so twice
 * the usual size makes ingest a third faster; more would gain little and write
 * more of each small commit.
 */
static int setup(struct store *st)
{
	int err = exec(st, "PRAGMA page_size = 8192;"
			   "PRAGMA auto_vacuum = INCREMENTAL");

	if (err == 0)
		err = exec(st, "PRAGMA journal_mode = WAL");
	if (err == 0)
		err = exec(st, "PRAGMA synchronous = FULL;"
			       "PRAGMA journal_size_limit = 67108864;"
			       "PRAGMA wal_autocheckpoint = 1000;"
			       "PRAGMA cache_size = -8192;"
			       "PRAGMA temp_store = MEMORY;");
	return err;
}

static int open_db(struct store *st)
{
	int rc = sqlite3_open_v2(st->path, &st->db,
				 SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
					 SQLITE_OPEN_NOMUTEX,
				 NULL);
	int err;

	if (rc != SQLITE_OK)
		return fail(st, rc);
	sqlite3_extended_result_codes(st->db, 1);
	sqlite3_busy_timeout(st->db, 5000);
	rc = sqlite3_create_function(st->db, "durations_add", 2,
				     SQLITE_UTF8 | SQLITE_DETERMINISTIC, st,
				     sql_durations_add, NULL, NULL);
	if (rc != SQLITE_OK)
		return fail(st, rc);
	err = setup(st);
	if (err == 0)
		err = check(st);
	if (err == 0)
		err = migrate(st);
	for (size_t i = 0; i < STATEMENTS && err == 0; i++) {
		rc = sqlite3_prepare_v3(st->db, sql[i], -1,
					SQLITE_PREPARE_PERSISTENT, &st->stmt[i],
					NULL);
		if (rc != SQLITE_OK)
			err = fail(st, rc);
	}
	return err;
}

static void close_db(struct store *st)
{
	for (size_t i = 0; i < STATEMENTS; i++) {
		sqlite3_finalize(st->stmt[i]);
		st->stmt[i] = NULL;
	}
	sqlite3_close(st->db);
	st->db = NULL;
}

static int rename_aside(struct store *st)
{
	static const char *const suffix[] = { "", "-wal", "-shm" };
	char from[4096 + 8], to[4096 + 64], stamp[32];
	time_t now = time(NULL);
	struct tm tm;
	unsigned again = 0;

	gmtime_r(&now, &tm);
	strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%SZ", &tm);
	do /* never over one that was kept before */
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
			log_error("the store is damaged (%s): set aside as "
				  "%s, starting empty",
				  st->error, to);
	}
	st->set_aside = true;
	return 0;
}

static int open_or_set_aside(struct store *st)
{
	int err = open_db(st);

	if (err != -EUCLEAN)
		return err;
	close_db(st);
	err = rename_aside(st);
	return err < 0 ? err : open_db(st);
}

/* SQLite's own locks come and go; this one says that we are running. */
static int lock_dir(struct store *st)
{
	char path[4096 + 16];
	int err;

	snprintf(path, sizeof(path), "%s/redtap.lock", st->dir);
	st->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (st->lock_fd < 0) {
		err = -errno;
		log_error("cannot open the store %s: %s", path, strerror(-err));
		return err;
	}
	if (flock(st->lock_fd, LOCK_EX | LOCK_NB) < 0) {
		log_error("another process uses the store in %s", st->dir);
		return -EBUSY;
	}
	return 0;
}

int store_open(struct store **out, const char *dir)
{
	struct store *st = calloc(1, sizeof(*st));
	int err = -ENOMEM;

	if (!st)
		return -ENOMEM;
	st->lock_fd = -1;
	st->dir = strdup(dir);
	if (!st->dir || asprintf(&st->path, "%s/redtap.db", dir) < 0) {
		st->path = NULL;
		goto fail;
	}
	err = lock_dir(st);
	if (err < 0)
		goto fail;
	err = open_or_set_aside(st);
	if (err < 0) {
		if (err != -EPROTO)
			log_error("cannot open the store %s: %s", st->path,
				  st->error);
		goto fail;
	}
	*out = st;
	return 0;
fail:
	store_close(st);
	return err;
}

void store_close(struct store *st)
{
	if (!st)
		return;
	close_db(st);
	if (st->lock_fd >= 0)
		close(st->lock_fd);
	buf_fini(&st->blob);
	free(st->path);
	free(st->dir);
	free(st);
}

int store_set_aside(struct store **store, const char *why)
{
	struct store *st = *store;
	int err;

	snprintf(st->error, sizeof(st->error), "%s", why);
	close_db(st);
	err = rename_aside(st);
	if (err == 0)
		err = open_db(st);
	if (err < 0) {
		store_close(st);
		*store = NULL;
	}
	return err;
}

uint64_t store_merged_windows(const struct store *st)
{
	return st->merged;
}

const char *store_path(const struct store *st)
{
	return st->path;
}

bool store_was_set_aside(const struct store *st)
{
	return st->set_aside;
}

/* ---- writing ----------------------------------------------------------- */

int store_begin(struct store *st)
{
	return run(st, SQL_BEGIN);
}

int store_commit(struct store *st)
{
	return run(st, SQL_COMMIT);
}

void store_rollback(struct store *st)
{
	char kept[sizeof(st->error)];

	if (sqlite3_get_autocommit(st->db))
		return; /* SQLite has rolled back by itself */
	memcpy(kept, st->error, sizeof(kept));
	run(st, SQL_ROLLBACK);
	memcpy(st->error, kept, sizeof(kept));
}

int store_put_log(struct store *st, const struct store_log *row)
{
	bind_u64(st, SQL_PUT_LOG, 1, row->id);
	bind_u64(st, SQL_PUT_LOG, 2, (uint64_t)row->received_us);
	bind_text(st, SQL_PUT_LOG, 3, row->agent);
	bind_u64(st, SQL_PUT_LOG, 4, row->epoch);
	bind_u64(st, SQL_PUT_LOG, 5, row->sequence);
	bind_u64(st, SQL_PUT_LOG, 6, row->requests);
	bind_blob(st, SQL_PUT_LOG, 7, row->data, row->len);
	return run(st, SQL_PUT_LOG);
}

static void put_totals(struct buf *b, const struct ledger_totals *t)
{
	uint64_t v[LEDGER_TOTALS_N];

	memcpy(v, t, sizeof(v));
	varint_put(b, LOSS_STAGES);
	varint_put(b, AGENT_COUNTERS);
	for (size_t i = 0; i < LEDGER_TOTALS_N; i++)
		varint_put(b, v[i]);
}

/* Written by a version that knew fewer stages or counters: the rest is 0. */
static int get_totals(struct ledger_totals *t, const void *data, size_t len)
{
	struct varint_reader r = { .at = data, .end = NULL };
	uint64_t stages, counters;

	memset(t, 0, sizeof(*t));
	if (!data)
		return -EUCLEAN;
	r.end = r.at + len;
	stages = varint_get(&r);
	counters = varint_get(&r);
	if (stages > LOSS_STAGES || counters > AGENT_COUNTERS)
		return -EUCLEAN;
	t->captured = varint_get(&r);
	t->packed = varint_get(&r);
	t->rolled_up = varint_get(&r);
	for (size_t i = 0; i < stages; i++)
		t->dropped[i] = varint_get(&r);
	for (size_t i = 0; i < counters; i++)
		t->counters[i] = varint_get(&r);
	t->counted = varint_get(&r);
	t->batches = varint_get(&r);
	t->duplicates = varint_get(&r);
	t->refused = varint_get(&r);
	t->conflicts = varint_get(&r);
	t->gap_batches = varint_get(&r);
	if (r.at < r.end) {
		t->gap_requests = varint_get(&r);
		t->told_late = varint_get(&r);
	}
	if (r.at < r.end) {
		t->expired_batches = varint_get(&r);
		t->expired_requests = varint_get(&r);
	}
	return r.bad ? -EUCLEAN : 0;
}

int store_put_ledger(struct store *st, const char *agent, uint64_t epoch,
		     const struct ledger_state *state)
{
	buf_reset(&st->blob);
	put_totals(&st->blob, &state->totals);
	if (st->blob.err)
		return st->blob.err;
	bind_text(st, SQL_PUT_LEDGER, 1, agent);
	bind_u64(st, SQL_PUT_LEDGER, 2, epoch);
	bind_u64(st, SQL_PUT_LEDGER, 3, state->sequence);
	bind_u64(st, SQL_PUT_LEDGER, 4, (uint64_t)state->seen_us);
	bind_u64(st, SQL_PUT_LEDGER, 5, (uint64_t)state->skew_us);
	bind_blob(st, SQL_PUT_LEDGER, 6, st->blob.data, st->blob.len);
	return run(st, SQL_PUT_LEDGER);
}

int store_drop_ledger(struct store *st, const char *agent, uint64_t epoch)
{
	bind_text(st, SQL_DROP_LEDGER, 1, agent);
	bind_u64(st, SQL_DROP_LEDGER, 2, epoch);
	return run(st, SQL_DROP_LEDGER);
}

int store_put_agent(struct store *st, const struct ledger_agent *a)
{
	size_t cut;

	buf_reset(&st->blob);
	varint_put(&st->blob, a->n_probes);
	for (size_t i = 0; i < a->n_probes; i++) {
		size_t len = strlen(a->probes[i]);

		varint_put(&st->blob, len);
		buf_append(&st->blob, a->probes[i], len);
		varint_put(&st->blob, a->attached[i]);
	}
	cut = st->blob.len;
	put_totals(&st->blob, &a->retired);
	if (st->blob.err)
		return st->blob.err;
	bind_text(st, SQL_PUT_AGENT, 1, a->name);
	bind_text(st, SQL_PUT_AGENT, 2, a->version);
	bind_text(st, SQL_PUT_AGENT, 3, a->kernel);
	bind_text(st, SQL_PUT_AGENT, 4, a->capture);
	bind_blob(st, SQL_PUT_AGENT, 5, st->blob.data, cut);
	bind_u64(st, SQL_PUT_AGENT, 6, a->retired_epoch);
	bind_blob(st, SQL_PUT_AGENT, 7, st->blob.data + cut,
		  st->blob.len - cut);
	return run(st, SQL_PUT_AGENT);
}

int store_put_view(struct store *st, uint32_t id, const char *name,
		   uint64_t digest, uint64_t log_id)
{
	bind_u64(st, SQL_PUT_VIEW, 1, id);
	bind_text(st, SQL_PUT_VIEW, 2, name);
	bind_u64(st, SQL_PUT_VIEW, 3, digest);
	bind_u64(st, SQL_PUT_VIEW, 4, log_id);
	return run(st, SQL_PUT_VIEW);
}

int store_drop_view(struct store *st, uint32_t id)
{
	int err;

	bind_u64(st, SQL_DROP_SERIES, 1, id);
	err = run(st, SQL_DROP_SERIES);
	bind_u64(st, SQL_DROP_VIEW, 1, id);
	return err < 0 ? err : run(st, SQL_DROP_VIEW);
}

int store_put_series(struct store *st, const struct store_series *row)
{
	bind_u64(st, SQL_PUT_SERIES, 1, row->view);
	bind_u64(st, SQL_PUT_SERIES, 2, row->slot);
	bind_u64(st, SQL_PUT_SERIES, 3, row->log_id);
	bind_blob(st, SQL_PUT_SERIES, 4, row->labels, row->labels_len);
	bind_blob(st, SQL_PUT_SERIES, 5, row->state, row->state_len);
	return run(st, SQL_PUT_SERIES);
}

int store_put_target(struct store *st,
		     const char *const value[STORE_TARGET_FIELDS])
{
	for (int i = 0; i < STORE_TARGET_FIELDS; i++)
		bind_text(st, SQL_PUT_TARGET, i + 1, value[i]);
	return run(st, SQL_PUT_TARGET);
}

int store_put_window_key(struct store *st, uint32_t id,
			 const char *const value[STORE_WINDOW_LABELS])
{
	bind_u64(st, SQL_PUT_WINDOW_KEY, 1, id);
	for (int i = 0; i < STORE_WINDOW_LABELS; i++)
		bind_text(st, SQL_PUT_WINDOW_KEY, i + 2, value[i]);
	return run(st, SQL_PUT_WINDOW_KEY);
}

int store_add_window(struct store *st, const struct window_delta *d,
		     const struct store_bucket *durations, size_t n)
{
	buf_reset(&st->blob);
	durations_encode(&st->blob, durations, n);
	if (st->blob.err)
		return st->blob.err;
	bind_u64(st, SQL_ADD_WINDOW, 1, (uint64_t)d->start_s);
	bind_u64(st, SQL_ADD_WINDOW, 2, d->key);
	bind_u64(st, SQL_ADD_WINDOW, 3, d->count);
	bind_u64(st, SQL_ADD_WINDOW, 4, d->errors);
	bind_u64(st, SQL_ADD_WINDOW, 5, d->duration_sum_us);
	bind_u64(st, SQL_ADD_WINDOW, 6, d->request_bytes_sum);
	bind_u64(st, SQL_ADD_WINDOW, 7, d->response_bytes_sum);
	bind_blob(st, SQL_ADD_WINDOW, 8, st->blob.data, st->blob.len);
	return run(st, SQL_ADD_WINDOW);
}

int store_put_state(struct store *st, const char *name, const void *data,
		    size_t len)
{
	bind_text(st, SQL_PUT_STATE, 1, name);
	bind_blob(st, SQL_PUT_STATE, 2, data, len);
	return run(st, SQL_PUT_STATE);
}

/* ---- retention --------------------------------------------------------- */

int store_expire_log(struct store *st, int64_t before_us, uint64_t keep_after,
		     unsigned max, uint64_t *bytes)
{
	sqlite3_stmt *s = st->stmt[SQL_EXPIRE_LOG_SIZE];
	uint64_t last = 0;
	int n = 0, rc, err = 0;

	*bytes = 0;
	bind_u64(st, SQL_EXPIRE_LOG_SIZE, 1, (uint64_t)before_us);
	bind_u64(st, SQL_EXPIRE_LOG_SIZE, 2, keep_after);
	bind_u64(st, SQL_EXPIRE_LOG_SIZE, 3, max);
	rc = sqlite3_step(s);
	if (rc == SQLITE_ROW) {
		last = (uint64_t)sqlite3_column_int64(s, 0);
		n = sqlite3_column_int(s, 1);
		*bytes = (uint64_t)sqlite3_column_int64(s, 2);
	} else {
		err = fail(st, rc);
	}
	sqlite3_reset(s);
	if (err < 0 || n == 0)
		return err;
	bind_u64(st, SQL_EXPIRE_LOG, 1, last);
	err = run(st, SQL_EXPIRE_LOG);
	return err < 0 ? err : n;
}

int store_expire_windows(struct store *st, int64_t before_s, unsigned max)
{
	int err;

	bind_u64(st, SQL_EXPIRE_WINDOWS, 1, (uint64_t)before_s);
	bind_u64(st, SQL_EXPIRE_WINDOWS, 2, max);
	err = run(st, SQL_EXPIRE_WINDOWS);
	return err < 0 ? err : sqlite3_changes(st->db);
}

int store_vacuum(struct store *st, unsigned pages)
{
	char text[64];

	snprintf(text, sizeof(text), "PRAGMA incremental_vacuum(%u)", pages);
	return exec(st, text);
}

int store_sizes(struct store *st, struct store_sizes *out, bool count_rows)
{
	uint64_t page = 0, pages = 0, unused = 0, v = 0;
	int err = ask_u64(st, "PRAGMA page_size", &page);

	if (err == 0)
		err = ask_u64(st, "PRAGMA page_count", &pages);
	if (err == 0)
		err = ask_u64(st, "PRAGMA freelist_count", &unused);
	if (err == 0)
		err = ask_u64(st, "SELECT min(id) FROM log",
			      &out->first_log_id);
	if (err == 0)
		err = ask_u64(st, "SELECT max(id) FROM log", &out->last_log_id);
	if (err == 0)
		err = ask_u64(st,
			      "SELECT received_us FROM log ORDER BY id LIMIT 1",
			      &v);
	if (err < 0)
		return err;
	out->first_log_us = (int64_t)v;
	err = ask_u64(st, "SELECT min(start_s) FROM window", &v);
	out->first_window_s = (int64_t)v;
	out->file_bytes = page * pages;
	out->free_bytes = page * unused;
	if (err < 0 || !count_rows)
		return err;
	err = ask_u64(st, "SELECT count(*) FROM log", &out->log_batches);
	if (err == 0)
		err = ask_u64(st, "SELECT sum(length(batch)) FROM log",
			      &out->log_bytes);
	if (err == 0)
		err = ask_u64(st, "SELECT count(*) FROM window", &out->windows);
	return err;
}

/* ---- loading ----------------------------------------------------------- */

static const char *text_at(sqlite3_stmt *s, int i)
{
	return (const char *)sqlite3_column_text(s, i);
}

static const char *text_or_empty(sqlite3_stmt *s, int i)
{
	const char *t = text_at(s, i);

	return t ? t : "";
}

/* Steps to the next row: 1, 0 at the end, negative errno. */
static int next_row(struct store *st, enum statement s)
{
	int rc = sqlite3_step(st->stmt[s]);

	if (rc == SQLITE_ROW)
		return 1;
	return rc == SQLITE_DONE ? 0 : fail(st, rc);
}

int store_each_log(struct store *st, uint64_t after_id, store_log_fn *fn,
		   void *arg)
{
	sqlite3_stmt *s = st->stmt[SQL_EACH_LOG];
	int err;

	bind_u64(st, SQL_EACH_LOG, 1, after_id);
	while ((err = next_row(st, SQL_EACH_LOG)) > 0) {
		struct store_log row = {
			.id = (uint64_t)sqlite3_column_int64(s, 0),
			.received_us = sqlite3_column_int64(s, 1),
			.agent = text_or_empty(s, 2),
			.epoch = (uint64_t)sqlite3_column_int64(s, 3),
			.sequence = (uint64_t)sqlite3_column_int64(s, 4),
			.requests = (uint64_t)sqlite3_column_int64(s, 5),
			.data = sqlite3_column_blob(s, 6),
			.len = (size_t)sqlite3_column_bytes(s, 6),
		};

		err = fn(arg, &row);
		if (err != 0)
			break;
	}
	sqlite3_reset(s);
	return err;
}

int store_each_ledger(struct store *st, store_ledger_fn *fn, void *arg)
{
	sqlite3_stmt *s = st->stmt[SQL_EACH_LEDGER];
	int err;

	while ((err = next_row(st, SQL_EACH_LEDGER)) > 0) {
		struct ledger_state state = {
			.sequence = (uint64_t)sqlite3_column_int64(s, 2),
			.seen_us = sqlite3_column_int64(s, 3),
			.skew_us = sqlite3_column_int64(s, 4),
		};

		err = get_totals(&state.totals, sqlite3_column_blob(s, 5),
				 (size_t)sqlite3_column_bytes(s, 5));
		if (err == 0)
			err = fn(arg, text_or_empty(s, 0),
				 (uint64_t)sqlite3_column_int64(s, 1), &state);
		if (err != 0)
			break;
	}
	sqlite3_reset(s);
	return err;
}

static void free_strings(char **s, size_t n)
{
	for (size_t i = 0; s && i < n; i++)
		free(s[i]);
	free(s);
}

/* The agent's probes; the caller frees them. */
static int get_probes(struct ledger_agent *a, const void *data, size_t len)
{
	struct varint_reader r = { .at = data, .end = NULL };
	uint64_t n;

	if (!data)
		return -EUCLEAN;
	r.end = r.at + len;
	n = varint_get(&r);
	if (n > len)
		return -EUCLEAN;
	a->probes = calloc(n + 1, sizeof(*a->probes));
	a->attached = calloc(n + 1, sizeof(*a->attached));
	if (!a->probes || !a->attached)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		uint64_t bytes = varint_get(&r);

		if (r.bad || bytes > (size_t)(r.end - r.at))
			return -EUCLEAN;
		a->probes[i] = strndup((const char *)r.at, bytes);
		if (!a->probes[i])
			return -ENOMEM;
		a->n_probes++;
		r.at += bytes;
		a->attached[i] = (uint32_t)varint_get(&r);
	}
	return r.bad ? -EUCLEAN : 0;
}

static int agent_row(sqlite3_stmt *s, store_agent_fn *fn, void *arg)
{
	struct ledger_agent a = { 0 };
	int err = -ENOMEM;

	a.name = strdup(text_or_empty(s, 0));
	a.version = strdup(text_or_empty(s, 1));
	a.kernel = strdup(text_or_empty(s, 2));
	a.capture = strdup(text_or_empty(s, 3));
	a.retired_epoch = (uint64_t)sqlite3_column_int64(s, 5);
	if (a.name && a.version && a.kernel && a.capture)
		err = get_probes(&a, sqlite3_column_blob(s, 4),
				 (size_t)sqlite3_column_bytes(s, 4));
	if (err == 0)
		err = get_totals(&a.retired, sqlite3_column_blob(s, 6),
				 (size_t)sqlite3_column_bytes(s, 6));
	if (err == 0)
		err = fn(arg, &a);
	free_strings(a.probes, a.n_probes);
	free(a.attached);
	free(a.name);
	free(a.version);
	free(a.kernel);
	free(a.capture);
	return err;
}

int store_each_agent(struct store *st, store_agent_fn *fn, void *arg)
{
	sqlite3_stmt *s = st->stmt[SQL_EACH_AGENT];
	int err;

	while ((err = next_row(st, SQL_EACH_AGENT)) > 0) {
		err = agent_row(s, fn, arg);
		if (err != 0)
			break;
	}
	sqlite3_reset(s);
	return err;
}

int store_each_view(struct store *st, store_view_fn *fn, void *arg)
{
	sqlite3_stmt *s = st->stmt[SQL_EACH_VIEW];
	int err;

	while ((err = next_row(st, SQL_EACH_VIEW)) > 0) {
		err = fn(arg, (uint32_t)sqlite3_column_int64(s, 0),
			 text_or_empty(s, 1),
			 (uint64_t)sqlite3_column_int64(s, 2),
			 (uint64_t)sqlite3_column_int64(s, 3));
		if (err != 0)
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

	bind_u64(st, SQL_EACH_SERIES, 1, view);
	while ((err = next_row(st, SQL_EACH_SERIES)) > 0) {
		struct store_series row = {
			.view = view,
			.slot = (uint32_t)sqlite3_column_int64(s, 0),
			.log_id = (uint64_t)sqlite3_column_int64(s, 1),
			.labels = sqlite3_column_blob(s, 2),
			.labels_len = (size_t)sqlite3_column_bytes(s, 2),
			.state = sqlite3_column_blob(s, 3),
			.state_len = (size_t)sqlite3_column_bytes(s, 3),
		};

		err = fn(arg, &row);
		if (err != 0)
			break;
	}
	sqlite3_reset(s);
	return err;
}

static int each_strings(struct store *st, enum statement which, int n,
			store_strings_fn *fn, void *arg)
{
	sqlite3_stmt *s = st->stmt[which];
	const char *value[STORE_TARGET_FIELDS];
	int err;

	while ((err = next_row(st, which)) > 0) {
		for (int i = 0; i < n; i++)
			value[i] = text_at(s, i + 1);
		err = fn(arg, (uint32_t)sqlite3_column_int64(s, 0), value);
		if (err != 0)
			break;
	}
	sqlite3_reset(s);
	return err;
}

int store_each_target(struct store *st, store_strings_fn *fn, void *arg)
{
	return each_strings(st, SQL_EACH_TARGET, STORE_TARGET_FIELDS, fn, arg);
}

int store_each_window_key(struct store *st, store_strings_fn *fn, void *arg)
{
	return each_strings(st, SQL_EACH_WINDOW_KEY, STORE_WINDOW_LABELS, fn,
			    arg);
}

int store_get_state(struct store *st, const char *name, void **data,
		    size_t *len)
{
	sqlite3_stmt *s = st->stmt[SQL_GET_STATE];
	int err;

	bind_text(st, SQL_GET_STATE, 1, name);
	err = next_row(st, SQL_GET_STATE);
	if (err == 0)
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
