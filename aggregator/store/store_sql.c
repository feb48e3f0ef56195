/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/store/store_sql.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/checksum.h"

#define COMMA_VALUE(name, text) ", ? AS " text

#define SELECT_LEDGER                                                          \
	"SELECT agent, epoch, sequence, seen_us, skew_us, totals, log_id"      \
	" FROM ledger"
#define SELECT_AGENT                                                           \
	"SELECT name, version, kernel, capture, probes, retired_epoch,"        \
	" retired, retired_seen_us, runs FROM agent"

static const char *const sql[STATEMENTS] = {
	[SQL_BEGIN] = "BEGIN IMMEDIATE",
	[SQL_COMMIT] = "COMMIT",
	[SQL_ROLLBACK] = "ROLLBACK",
	[SQL_PUT_LOG] = "INSERT INTO log (id, received_us, agent, epoch,"
			" sequence, requests, batch, batches, first_s, last_s,"
			" sum) VALUES (?1, ?2, '', 0, 0, ?3, ?4, ?5, ?6, ?7,"
			" checksum(?1, ?2, ?3, ?4, ?5, ?6, ?7))",
	[SQL_PUT_LEDGER] = "INSERT INTO ledger (agent, epoch, sequence,"
			   " seen_us, skew_us, totals, log_id, sum)"
			   " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7,"
			   " checksum(?1, ?2, ?3, ?4, ?5, ?6, ?7))"
			   " ON CONFLICT DO UPDATE SET"
			   " sequence = ?3, seen_us = ?4, skew_us = ?5,"
			   " totals = ?6, log_id = ?7, sum = excluded.sum",
	[SQL_DROP_LEDGER] =
		"DELETE FROM ledger WHERE agent = ?1 AND epoch = ?2",
	[SQL_DROP_LEDGERS] = "DELETE FROM ledger WHERE agent = ?1",
	[SQL_PUT_AGENT] = "INSERT OR REPLACE INTO agent (name, version, kernel,"
			  " capture, probes, retired_epoch, retired,"
			  " retired_seen_us, runs, sum)"
			  " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9,"
			  " checksum(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9))",
	[SQL_DROP_AGENT] = "DELETE FROM agent WHERE name = ?1",
	[SQL_GET_AGENT] = SELECT_AGENT " WHERE name = ?1",
	[SQL_GET_LEDGERS] = SELECT_LEDGER " WHERE agent = ?1",
	[SQL_COUNT_LEDGER] = "SELECT count(*) FROM ledger",
	[SQL_NTH_SEEN] = "SELECT seen_us FROM ledger ORDER BY seen_us"
			 " LIMIT 1 OFFSET ?1",
	[SQL_EXPIRE_LEDGER] =
		"DELETE FROM ledger WHERE agent IN (SELECT agent FROM ledger"
		" GROUP BY agent HAVING max(seen_us) < ?1 LIMIT ?2)",
	[SQL_EXPIRE_AGENT] = "DELETE FROM agent WHERE NOT EXISTS"
			     " (SELECT 1 FROM ledger WHERE agent = name)",
	[SQL_PUT_VIEW] = "INSERT OR REPLACE INTO view (id, name, digest,"
			 " log_id, sum) VALUES (?1, ?2, ?3, ?4,"
			 " checksum(?1, ?2, ?3, ?4))",
	[SQL_DROP_VIEW] = "DELETE FROM view WHERE id = ?1",
	[SQL_DROP_SERIES] = "DELETE FROM series WHERE view = ?1",
	[SQL_PUT_SERIES] = "INSERT INTO series (view, slot, log_id, labels,"
			   " state, sum) VALUES (?1, ?2, ?3, ?4, ?5,"
			   " checksum(?1, ?2, ?3, ?4, ?5))"
			   " ON CONFLICT DO UPDATE SET log_id = ?3,"
			   " state = ?5, sum = excluded.sum",
	[SQL_PUT_TARGET] =
		"INSERT OR REPLACE INTO target (" STORE_SQL_TARGET ", sum)"
		" SELECT *, checksum(" STORE_SQL_TARGET ") FROM"
		" (SELECT ?1 AS job, ?2 AS instance, ?3 AS node" RESOURCE_ATTRIBUTES(
			COMMA_VALUE) ")",
	[SQL_PUT_WINDOW_KEY] =
		"INSERT OR REPLACE INTO pack_key (kind, id, a, b, c, d, e, f,"
		" g, h, sum) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10,"
		" checksum(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10))",
	[SQL_PUT_DELTA] =
		"INSERT INTO window_delta (kind, start_s, rows, data, sum)"
		" VALUES (?1, ?2, ?3, ?4, checksum(?1, ?2, ?3, ?4))",
	[SQL_NEXT_DELTA] = "SELECT start_s FROM window_delta WHERE kind = ?1"
			   " AND start_s < ?2 ORDER BY start_s LIMIT 1",
	[SQL_WINDOW_DELTAS] = "SELECT rows, data, " STORE_SQL_IS_DAMAGED(
		STORE_SQL_DELTA) " FROM window_delta WHERE kind = ?1 AND start_s = ?2",
	[SQL_DROP_DELTAS] =
		"DELETE FROM window_delta WHERE kind = ?1 AND start_s = ?2",
	[SQL_GET_PACK] = "SELECT rows, data, " STORE_SQL_IS_DAMAGED(
		STORE_SQL_PACK) " FROM window_pack WHERE kind = ?1 AND step_s = ?2"
				" AND start_s = ?3",
	[SQL_PUT_PACK] = "INSERT INTO window_pack (kind, step_s, start_s, rows,"
			 " data, sum) VALUES (?1, ?2, ?3, ?4, ?5,"
			 " checksum(?1, ?2, ?3, ?4, ?5))"
			 " ON CONFLICT DO UPDATE SET rows = ?4, data = ?5,"
			 " sum = excluded.sum",
	[SQL_EXPIRE_PACKS_SIZE] =
		"SELECT max(start_s), count(*), sum(rows) FROM"
		" (SELECT start_s, rows FROM window_pack WHERE kind = ?1"
		" AND step_s = ?2 AND start_s < ?3 ORDER BY start_s LIMIT ?4)",
	[SQL_EXPIRE_PACKS] = "DELETE FROM window_pack WHERE kind = ?1"
			     " AND step_s = ?2 AND start_s <= ?3",
	[SQL_PUT_STATE] = "INSERT OR REPLACE INTO state (name, value, sum)"
			  " VALUES (?1, ?2, checksum(?1, ?2))",
	[SQL_PUT_SAMPLE_FAMILY] =
		"INSERT OR REPLACE INTO sample_family (id, log_id, state)"
		" VALUES (?1, ?2, ?3)",
	[SQL_PUT_SAMPLE_SERIES] =
		"INSERT OR REPLACE INTO sample_series (family, slot, log_id,"
		" state) VALUES (?1, ?2, ?3, ?4)",
	[SQL_PUT_SAMPLE_NODE] =
		"INSERT OR REPLACE INTO sample_node (name, log_id, state)"
		" VALUES (?1, ?2, ?3)",
	[SQL_DROP_SAMPLE_FAMILY] = "DELETE FROM sample_family WHERE id = ?1",
	[SQL_DROP_SAMPLE_SERIES] =
		"DELETE FROM sample_series WHERE family = ?1",
	[SQL_EXPIRE_LOG_SIZE] =
		"SELECT max(id), count(*), sum(length(batch)),"
		" sum(max(batches, 1)) FROM"
		" (SELECT id, batch, batches FROM log WHERE id <= ?2"
		" AND received_us < ?1 ORDER BY id LIMIT ?3)",
	/* After a leap of the clock, times do not ascend as ids do. */
	[SQL_EXPIRE_LOG] = "DELETE FROM log WHERE id <= ?1"
			   " AND received_us < ?2",
	[SQL_EACH_LOG] = "SELECT id, received_us, requests, batch, batches,"
			 " " STORE_SQL_IS_DAMAGED(
				 STORE_SQL_LOG) " FROM log"
						" WHERE id > ?1 ORDER BY id",
	/* Those heard last come first, as there may be more than have room. */
	[SQL_EACH_LEDGER] = SELECT_LEDGER " ORDER BY seen_us DESC",
	[SQL_EACH_AGENT] = SELECT_AGENT,
	[SQL_EACH_VIEW] = "SELECT id, name, digest, log_id FROM view",
	[SQL_EACH_SERIES] =
		"SELECT slot, log_id, labels, state,"
		" " STORE_SQL_IS_DAMAGED(
			STORE_SQL_SERIES) " FROM series"
					  " WHERE view = ?1 ORDER BY slot",
	[SQL_EACH_TARGET] = "SELECT 0, " STORE_SQL_TARGET " FROM target",
	[SQL_EACH_WINDOW_KEY] =
		"SELECT id, a, b, c, d, e, f, g, h FROM pack_key"
		" WHERE kind = ?1 ORDER BY id",
	[SQL_EACH_SAMPLE_FAMILY] =
		"SELECT id, 0, log_id, state FROM sample_family ORDER BY id",
	[SQL_EACH_SAMPLE_SERIES] = "SELECT family, slot, log_id, state FROM"
				   " sample_series ORDER BY family, slot",
	[SQL_EACH_SAMPLE_NODE] =
		"SELECT name, 0, log_id, state FROM sample_node ORDER BY name",
	[SQL_GET_STATE] = "SELECT value FROM state WHERE name = ?1",
};

static void sql_checksum(sqlite3_context *ctx, int n, sqlite3_value **v)
{
	uint64_t sum = 0;

	for (int i = 0; i < n; i++) {
		int type = sqlite3_value_type(v[i]);
		const void *data;

		if (type == SQLITE_NULL)
			continue;
		if (type == SQLITE_INTEGER) {
			sum = checksum_u64(sum,
					   (uint64_t)sqlite3_value_int64(v[i]));
			continue;
		}
		data = sqlite3_value_blob(v[i]);
		sum = checksum_bytes(sum, data ? data : "",
				     (size_t)sqlite3_value_bytes(v[i]));
	}
	sqlite3_result_int64(ctx, (sqlite3_int64)sum);
}

int store_sql_add_checksum(sqlite3 *db)
{
	return sqlite3_create_function(db, "checksum", -1,
				       SQLITE_UTF8 | SQLITE_DETERMINISTIC, NULL,
				       sql_checksum, NULL, NULL);
}

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

int store_sql_fail(struct store *st, int rc)
{
	snprintf(st->error, sizeof(st->error), "%s",
		 st->db ? sqlite3_errmsg(st->db) : sqlite3_errstr(rc));
	return to_errno(rc);
}

int store_sql_prepare(struct store *st)
{
	for (size_t i = 0; i < STATEMENTS; i++) {
		int rc = sqlite3_prepare_v3(st->db, sql[i], -1,
					    SQLITE_PREPARE_PERSISTENT,
					    &st->stmt[i], NULL);

		if (rc != SQLITE_OK)
			return store_sql_fail(st, rc);
	}
	return 0;
}

void store_sql_finalize(struct store *st)
{
	for (size_t i = 0; i < STATEMENTS; i++) {
		sqlite3_finalize(st->stmt[i]);
		st->stmt[i] = NULL;
	}
}

int store_sql_run(struct store *st, enum store_statement s)
{
	int rc = sqlite3_step(st->stmt[s]);
	int err = 0;

	if (rc != SQLITE_DONE && rc != SQLITE_ROW)
		err = store_sql_fail(st, rc);
	sqlite3_reset(st->stmt[s]);
	return err;
}

void store_sql_bind_u64(struct store *st, enum store_statement s, int i,
			uint64_t v)
{
	sqlite3_bind_int64(st->stmt[s], i, (sqlite3_int64)v);
}

void store_sql_bind_text(struct store *st, enum store_statement s, int i,
			 const char *v)
{
	sqlite3_bind_text(st->stmt[s], i, v, -1, SQLITE_STATIC);
}

void store_sql_bind_blob(struct store *st, enum store_statement s, int i,
			 const void *v, size_t len)
{
	/* SQLite would bind a NULL pointer as SQL's NULL. */
	sqlite3_bind_blob64(st->stmt[s], i, v ? v : "", len, SQLITE_STATIC);
}

const char *store_sql_text_at(sqlite3_stmt *s, int i)
{
	return (const char *)sqlite3_column_text(s, i);
}

const char *store_sql_text_or_empty(sqlite3_stmt *s, int i)
{
	const char *t = store_sql_text_at(s, i);

	return t ? t : "";
}

int store_sql_next_row(struct store *st, enum store_statement s)
{
	int rc = sqlite3_step(st->stmt[s]);

	if (rc == SQLITE_ROW)
		return 1;
	return rc == SQLITE_DONE ? 0 : store_sql_fail(st, rc);
}

int store_sql_ask_bound(struct store *st, enum store_statement s, uint64_t v,
			uint64_t *out)
{
	int n;

	*out = 0;
	if (sqlite3_bind_parameter_count(st->stmt[s]) > 0)
		store_sql_bind_u64(st, s, 1, v);
	n = store_sql_next_row(st, s);
	if (n > 0)
		*out = (uint64_t)sqlite3_column_int64(st->stmt[s], 0);
	sqlite3_reset(st->stmt[s]);
	return n < 0 ? n : 0;
}

int store_sql_exec(struct store *st, const char *text)
{
	int rc = sqlite3_exec(st->db, text, NULL, NULL, NULL);

	return rc == SQLITE_OK ? 0 : store_sql_fail(st, rc);
}

int store_sql_ask(struct store *st, const char *text, char *out, size_t size)
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
	return rc == SQLITE_OK ? 0 : store_sql_fail(st, rc);
}

int store_sql_ask_u64(struct store *st, const char *text, uint64_t *out)
{
	char answer[32];
	int err = store_sql_ask(st, text, answer, sizeof(answer));

	*out = strtoull(answer, NULL, 10);
	return err;
}
