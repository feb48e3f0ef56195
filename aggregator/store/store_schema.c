/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/store/store_schema.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/store/migrations.h"
#include "common/log.h"

/* "table.column" of each, a line each, in order. */
static int list_columns(struct store *st, struct buf *out)
{
	static const char sql[] =
		"SELECT m.name || '.' || c.name FROM sqlite_master AS m,"
		" pragma_table_info(m.name) AS c WHERE m.type = 'table'"
		" AND m.name NOT LIKE 'sqlite%' ORDER BY 1";
	sqlite3_stmt *s = NULL;
	int rc = sqlite3_prepare_v2(st->db, sql, -1, &s, NULL);

	buf_reset(out);
	while (rc == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW) {
		buf_puts(out, store_sql_text_or_empty(s, 0));
		buf_putc(out, '\n');
	}
	rc = sqlite3_finalize(s);
	if (rc != SQLITE_OK)
		return store_sql_fail(st, rc);
	return buf_str(out) ? 0 : -ENOMEM;
}

/* The columns of a new database after so many steps. */
static int list_expected(size_t steps, struct buf *out)
{
	struct store st = { 0 };
	int rc = sqlite3_open(":memory:", &st.db), err;

	err = rc == SQLITE_OK ? store_sql_functions(&st)
			      : store_sql_fail(&st, rc);
	for (size_t i = 0; !err && i < steps; i++)
		err = store_sql_exec(&st, migrations[i].sql);
	if (!err)
		err = list_columns(&st, out);
	sqlite3_close(st.db);
	return err;
}

/* The first line of want that is not among those of have; NULL: none. */
static const char *missing_line(const char *want, const char *have)
{
	while (*want) {
		size_t n = strcspn(want, "\n") + 1, m;
		int order = 1;

		while (*have && order > 0) {
			m = strcspn(have, "\n") + 1;
			order = strncmp(want, have, n < m ? n : m);
			if (order >= 0)
				have += m;
		}
		if (order != 0)
			return want;
		want += n;
	}
	return NULL;
}

/*
 * Returns 1 if the database has what it must have after so many steps, else 0
 * with st->error set.
 */
static int has_columns(struct store *st, const struct buf *have, size_t steps)
{
	struct buf want = { 0 };
	int err = list_expected(steps, &want);
	const char *missing;

	if (!err) {
		missing = missing_line(want.data, have->data);
		err = !missing;
		if (missing)
			snprintf(st->error, sizeof(st->error),
				 "a table or a column is missing: %.*s",
				 (int)strcspn(missing, "\n"), missing);
	}
	buf_fini(&want);
	return err;
}

static int repair_version(struct store *st, const struct buf *have,
			  long long claimed, size_t *out)
{
	char text[64];

	for (size_t n = migrations_count; n > 0; n--) {
		int fits = has_columns(st, have, n);

		if (fits < 0)
			return fits;
		if (!fits)
			continue;
		log_warn("the store's schema number made no sense, and was "
			 "repaired by its tables path=%s was=%lld is=%zu",
			 st->path, claimed, n);
		snprintf(text, sizeof(text), "PRAGMA user_version = %zu", n);
		*out = n;
		return store_sql_exec(st, text);
	}
	snprintf(st->error, sizeof(st->error),
		 "schema number %lld, and tables of no version", claimed);
	return -EUCLEAN;
}

int store_schema_version(struct store *st, size_t *out)
{
	struct buf have = { 0 };
	char answer[32];
	long long claimed;
	int err = store_sql_ask(st, "PRAGMA user_version", answer,
				sizeof(answer));

	claimed = strtoll(answer, NULL, 10);
	if (!err)
		err = list_columns(st, &have);
	if (err) {
		buf_fini(&have);
		return err;
	}
	*out = claimed > 0 ? (size_t)claimed : 0;
	if (claimed < 0 || (claimed == 0 && have.len > 0)) {
		err = repair_version(st, &have, claimed, out);
	} else if (claimed > 0 && *out <= migrations_count) {
		int fits = has_columns(st, &have, *out);

		err = fits < 0 ? fits : fits ? 0 : -EUCLEAN;
	}
	buf_fini(&have);
	return err;
}
