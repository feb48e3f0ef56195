/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of the samples of user programs. */
#include "aggregator/store/store.h"
#include "aggregator/store/store_sql.h"

int store_put_sample_family(struct store *st, const struct store_sample *row)
{
	store_sql_bind_u64(st, SQL_PUT_SAMPLE_FAMILY, 1, row->family);
	store_sql_bind_u64(st, SQL_PUT_SAMPLE_FAMILY, 2, row->log_id);
	store_sql_bind_blob(st, SQL_PUT_SAMPLE_FAMILY, 3, row->state,
			    row->state_len);
	return store_sql_run(st, SQL_PUT_SAMPLE_FAMILY);
}

int store_put_sample_series(struct store *st, const struct store_sample *row)
{
	store_sql_bind_u64(st, SQL_PUT_SAMPLE_SERIES, 1, row->family);
	store_sql_bind_u64(st, SQL_PUT_SAMPLE_SERIES, 2, row->slot);
	store_sql_bind_u64(st, SQL_PUT_SAMPLE_SERIES, 3, row->log_id);
	store_sql_bind_blob(st, SQL_PUT_SAMPLE_SERIES, 4, row->state,
			    row->state_len);
	return store_sql_run(st, SQL_PUT_SAMPLE_SERIES);
}

int store_put_sample_node(struct store *st, const struct store_sample *row)
{
	store_sql_bind_text(st, SQL_PUT_SAMPLE_NODE, 1, row->node);
	store_sql_bind_u64(st, SQL_PUT_SAMPLE_NODE, 2, row->log_id);
	store_sql_bind_blob(st, SQL_PUT_SAMPLE_NODE, 3, row->state,
			    row->state_len);
	return store_sql_run(st, SQL_PUT_SAMPLE_NODE);
}

int store_drop_sample_family(struct store *st, uint32_t family)
{
	int err;

	store_sql_bind_u64(st, SQL_DROP_SAMPLE_SERIES, 1, family);
	err = store_sql_run(st, SQL_DROP_SAMPLE_SERIES);
	store_sql_bind_u64(st, SQL_DROP_SAMPLE_FAMILY, 1, family);
	return err < 0 ? err : store_sql_run(st, SQL_DROP_SAMPLE_FAMILY);
}

int store_drop_samples(struct store *st)
{
	return store_sql_exec(st, "DELETE FROM sample_family;"
				  "DELETE FROM sample_series;"
				  "DELETE FROM sample_node;");
}

static int each_sample(struct store *st, enum store_statement which,
		       store_sample_fn *fn, void *arg)
{
	sqlite3_stmt *s = st->stmt[which];
	int err;

	while ((err = store_sql_next_row(st, which)) > 0) {
		struct store_sample row = {
			.slot = (uint32_t)sqlite3_column_int64(s, 1),
			.log_id = (uint64_t)sqlite3_column_int64(s, 2),
			.state = sqlite3_column_blob(s, 3),
			.state_len = (size_t)sqlite3_column_bytes(s, 3),
		};

		if (which == SQL_EACH_SAMPLE_NODE)
			row.node = store_sql_text_or_empty(s, 0);
		else
			row.family = (uint32_t)sqlite3_column_int64(s, 0);
		err = fn(arg, &row);
		if (err)
			break;
	}
	sqlite3_reset(s);
	return err;
}

int store_each_sample_family(struct store *st, store_sample_fn *fn, void *arg)
{
	return each_sample(st, SQL_EACH_SAMPLE_FAMILY, fn, arg);
}

int store_each_sample_series(struct store *st, store_sample_fn *fn, void *arg)
{
	return each_sample(st, SQL_EACH_SAMPLE_SERIES, fn, arg);
}

int store_each_sample_node(struct store *st, store_sample_fn *fn, void *arg)
{
	return each_sample(st, SQL_EACH_SAMPLE_NODE, fn, arg);
}
