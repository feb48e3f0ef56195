/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_STORE_STORE_SQL_H
#define AGGREGATOR_STORE_STORE_SQL_H

#include <sqlite3.h>

#include "aggregator/store/store.h"
#include "aggregator/store/store_bundle.h"
#include "aggregator/store/store_mark.h"
#include "common/buf.h"
#include "common/files.h"

/*
 * Internals of the store, for store*.c only: the writer's connection and its
 * prepared statements. Not locked: only the engine's thread uses them.
 */

/*
 * Columns that a row's checksum is of. Rows of older versions have none. NULL
 * adds nothing, so that a version with more columns finds the same sum.
 */
#define STORE_SQL_LOG                                                          \
	"id, received_us, requests, batch, batches, first_s, last_s"
#define STORE_SQL_KEY "kind, id, a, b, c, d, e, f, g, h"
#define STORE_SQL_DELTA "kind, start_s, rows, data"
#define STORE_SQL_PACK "kind, step_s, start_s, rows, data"
#define STORE_SQL_LEDGER                                                       \
	"agent, epoch, sequence, seen_us, skew_us, totals, log_id"
#define STORE_SQL_AGENT                                                        \
	"name, version, kernel, capture, probes, retired_epoch, retired,"      \
	" retired_seen_us, runs"
#define STORE_SQL_VIEW "id, name, digest, log_id"
#define STORE_SQL_SERIES "view, slot, log_id, labels, state"
#define STORE_SQL_COMMA(name, text) ", " text
#define STORE_SQL_TARGET                                                       \
	"job, instance, node" RESOURCE_ATTRIBUTES(STORE_SQL_COMMA)
#define STORE_SQL_STATE "name, value"
/* An expression that is 1 or 0. */
#define STORE_SQL_IS_DAMAGED(columns)                                          \
	"(sum IS NOT NULL AND sum IS NOT checksum(" columns "))"

enum store_statement {
	SQL_BEGIN,
	SQL_COMMIT,
	SQL_ROLLBACK,
	SQL_PUT_LOG,
	SQL_PUT_LEDGER,
	SQL_DROP_LEDGER,
	SQL_DROP_LEDGERS,
	SQL_PUT_AGENT,
	SQL_DROP_AGENT,
	SQL_GET_AGENT,
	SQL_GET_LEDGERS,
	SQL_COUNT_LEDGER,
	SQL_NTH_SEEN,
	SQL_EXPIRE_LEDGER,
	SQL_EXPIRE_AGENT,
	SQL_PUT_VIEW,
	SQL_DROP_VIEW,
	SQL_DROP_SERIES,
	SQL_PUT_SERIES,
	SQL_PUT_TARGET,
	SQL_PUT_WINDOW_KEY,
	SQL_PUT_DELTA,
	SQL_NEXT_DELTA,
	SQL_WINDOW_DELTAS,
	SQL_DROP_DELTAS,
	SQL_GET_PACK,
	SQL_PUT_PACK,
	SQL_EXPIRE_PACKS_SIZE,
	SQL_EXPIRE_PACKS,
	SQL_PUT_STATE,
	SQL_PUT_SAMPLE_FAMILY,
	SQL_PUT_SAMPLE_SERIES,
	SQL_PUT_SAMPLE_NODE,
	SQL_DROP_SAMPLE_FAMILY,
	SQL_DROP_SAMPLE_SERIES,
	SQL_EXPIRE_LOG_SIZE,
	SQL_EXPIRE_LOG,
	SQL_EACH_LOG,
	SQL_EACH_LEDGER,
	SQL_EACH_AGENT,
	SQL_EACH_VIEW,
	SQL_EACH_SERIES,
	SQL_EACH_TARGET,
	SQL_EACH_WINDOW_KEY,
	SQL_EACH_SAMPLE_FAMILY,
	SQL_EACH_SAMPLE_SERIES,
	SQL_EACH_SAMPLE_NODE,
	SQL_GET_STATE,
	STATEMENTS,
};

struct store {
	sqlite3 *db;
	sqlite3_stmt *stmt[STATEMENTS];
	char *dir, *path;
	struct files_lock lock;
	bool set_aside;
	struct store_mark *mark;
	struct store_mark_row acknowledged; /* as the mark said at the start */
	uint64_t id; /* a random number */
	bool made; /* by this start: it had no id */
	bool mark_failed;
	bool wal_kept; /* a copy of the WAL from before the start is there */
	uint64_t damaged[STORE_TABLES];
	struct buf blob;
	struct store_bundle bundle; /* of this transaction, not written yet */
	/* Id of the last batch in the log: of this transaction, committed. */
	uint64_t log_id, committed_log_id;
	char error[256];
};

/* Writes the batches that are kept. store_write.c */
int store_flush_log(struct store *st);

/* --- store_guard.c: what damage is noticed by --- */

/*
 * Before the database is opened: keeps a copy of the WAL, and does not let
 * SQLite throw it away because the database is empty. -EUCLEAN: the files must
 * be set aside; st->error says why.
 */
int store_guard_begin(struct store *st);
/* Renames the files. The database must be closed. */
int store_guard_set_aside(struct store *st);
/* Mends or deletes damaged rows of small tables, and counts them. */
int store_guard_repair(struct store *st);
/* Reads the store's id, or gives it one. */
int store_guard_name(struct store *st);

/* The SQL function checksum(…), for any number of values. */
int store_sql_add_checksum(sqlite3 *db);
/* Prepares all statements. Errors of store_sql_fail(). */
int store_sql_prepare(struct store *st);
void store_sql_finalize(struct store *st);

/* Keeps SQLite's message in st->error; returns its code as negative errno. */
int store_sql_fail(struct store *st, int rc);
/* Runs a statement without result rows, with the values bound to it. */
int store_sql_run(struct store *st, enum store_statement s);
/* Steps to the next row. Returns 1, 0 at the end, or a negative errno. */
int store_sql_next_row(struct store *st, enum store_statement s);
/* Bound text and blobs are borrowed until the statement has run. */
void store_sql_bind_u64(struct store *st, enum store_statement s, int i,
			uint64_t v);
void store_sql_bind_text(struct store *st, enum store_statement s, int i,
			 const char *v);
void store_sql_bind_blob(struct store *st, enum store_statement s, int i,
			 const void *v, size_t len);
/* Steps once, with v bound if there is a place for it; 0 without a row. */
int store_sql_ask_bound(struct store *st, enum store_statement s, uint64_t v,
			uint64_t *out);
/* A column of the current row. For SQL's NULL, text_at() returns NULL. */
const char *store_sql_text_at(sqlite3_stmt *s, int i);
const char *store_sql_text_or_empty(sqlite3_stmt *s, int i);

/* What the schema's steps need; see store_pack.c. */
int store_sql_functions(struct store *st);
int store_sql_exec(struct store *st, const char *text);
/* Runs a query; its first column as text goes to out, "" without a row. */
int store_sql_ask(struct store *st, const char *text, char *out, size_t size);
int store_sql_ask_u64(struct store *st, const char *text, uint64_t *out);

#endif /* AGGREGATOR_STORE_STORE_SQL_H */
