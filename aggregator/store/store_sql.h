/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_STORE_STORE_SQL_H
#define AGGREGATOR_STORE_STORE_SQL_H

#include <sqlite3.h>

#include "aggregator/store/store.h"
#include "aggregator/store/store_bundle.h"
#include "common/buf.h"
#include "common/files.h"

/*
 * Internals of the store, for store*.c only: the writer's connection and its
 * prepared statements. Not locked: only the engine's thread uses them.
 */

enum store_statement {
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
	struct buf blob;
	struct store_bundle bundle; /* of this transaction, not written yet */
	char error[256];
};

/* Writes the batches that are kept. store_write.c */
int store_flush_log(struct store *st);

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
