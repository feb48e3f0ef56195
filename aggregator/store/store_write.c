/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/store/store.h"

#include "aggregator/store/store_bundle.h"
#include "aggregator/store/store_sql.h"

/* batches: 0 for a blob that is one batch. */
static int insert_log(struct store *st, const struct store_log *row,
		      uint64_t batches)
{
	store_sql_bind_u64(st, SQL_PUT_LOG, 1, row->id);
	store_sql_bind_u64(st, SQL_PUT_LOG, 2, (uint64_t)row->received_us);
	store_sql_bind_u64(st, SQL_PUT_LOG, 3, row->requests);
	store_sql_bind_blob(st, SQL_PUT_LOG, 4, row->data, row->len);
	store_sql_bind_u64(st, SQL_PUT_LOG, 5, batches);
	store_sql_bind_u64(st, SQL_PUT_LOG, 6, (uint64_t)row->first_s);
	store_sql_bind_u64(st, SQL_PUT_LOG, 7, (uint64_t)row->last_s);
	return store_sql_run(st, SQL_PUT_LOG);
}

int store_flush_log(struct store *st)
{
	struct store_bundle *b = &st->bundle;
	struct store_log row = {
		.id = b->last_id,
		.received_us = b->last_us,
		.requests = b->requests,
		.first_s = b->first_s,
		.last_s = b->last_s,
		.data = b->blob.data,
		.len = b->blob.len,
	};
	int err = b->blob.err;

	if (b->batches == 0)
		return 0;
	if (!err)
		err = insert_log(st, &row, b->batches);
	store_bundle_reset(b);
	return err;
}

int store_put_log(struct store *st, const struct store_log *row)
{
	bool small = row->len <= STORE_BUNDLE_SMALL;
	int err = 0;

	if (!small || !store_bundle_fits(&st->bundle, row))
		err = store_flush_log(st);
	if (!err && !small)
		err = insert_log(st, row, 0);
	if (err)
		return err;
	st->log_id = row->id;
	if (!small)
		return (int)row->len;
	store_bundle_add(&st->bundle, row);
	return (int)(row->len + STORE_BUNDLE_HEAD);
}

int store_put_view(struct store *st, uint32_t id, const char *name,
		   uint64_t digest, uint64_t log_id)
{
	store_sql_bind_u64(st, SQL_PUT_VIEW, 1, id);
	store_sql_bind_text(st, SQL_PUT_VIEW, 2, name);
	store_sql_bind_u64(st, SQL_PUT_VIEW, 3, digest);
	store_sql_bind_u64(st, SQL_PUT_VIEW, 4, log_id);
	return store_sql_run(st, SQL_PUT_VIEW);
}

int store_drop_series(struct store *st, uint32_t view)
{
	store_sql_bind_u64(st, SQL_DROP_SERIES, 1, view);
	return store_sql_run(st, SQL_DROP_SERIES);
}

int store_drop_view(struct store *st, uint32_t id)
{
	int err = store_drop_series(st, id);

	store_sql_bind_u64(st, SQL_DROP_VIEW, 1, id);
	return err < 0 ? err : store_sql_run(st, SQL_DROP_VIEW);
}

int store_put_series(struct store *st, const struct store_series *row)
{
	store_sql_bind_u64(st, SQL_PUT_SERIES, 1, row->view);
	store_sql_bind_u64(st, SQL_PUT_SERIES, 2, row->slot);
	store_sql_bind_u64(st, SQL_PUT_SERIES, 3, row->log_id);
	store_sql_bind_blob(st, SQL_PUT_SERIES, 4, row->labels,
			    row->labels_len);
	store_sql_bind_blob(st, SQL_PUT_SERIES, 5, row->state, row->state_len);
	return store_sql_run(st, SQL_PUT_SERIES);
}

int store_put_target(struct store *st,
		     const char *const value[STORE_TARGET_FIELDS])
{
	for (int i = 0; i < STORE_TARGET_FIELDS; i++)
		store_sql_bind_text(st, SQL_PUT_TARGET, i + 1, value[i]);
	return store_sql_run(st, SQL_PUT_TARGET);
}

int store_put_state(struct store *st, const char *name, const void *data,
		    size_t len)
{
	store_sql_bind_text(st, SQL_PUT_STATE, 1, name);
	store_sql_bind_blob(st, SQL_PUT_STATE, 2, data, len);
	return store_sql_run(st, SQL_PUT_STATE);
}
