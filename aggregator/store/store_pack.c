/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/store/store.h"

#include <errno.h>

#include "aggregator/store/pack.h"
#include "aggregator/store/store_sql.h"
#include "proto/limits.h"

/*
 * Flushed windows first lie beside the packs as deltas, a few rows a second.
 * Once a window is closed, its deltas are added up and join the packs of 10 s,
 * of the minute and of the hour in one transaction. So each delta is either
 * still beside all three or within all three, and every tier is exact.
 */

const uint32_t store_tiers[STORE_TIERS] = { WINDOW_SECONDS, 60, 3600 };

/* pack_rows(key, count, errors, sum, sum, sum, durations): rows to a pack. */
struct pack_rows {
	struct pack_writer w;
	struct buf out;
	bool begun;
};

static void step_pack_rows(sqlite3_context *ctx, int argc, sqlite3_value **v)
{
	struct pack_rows *p = sqlite3_aggregate_context(ctx, sizeof(*p));
	struct pack_row row = { 0 };

	(void)argc;
	if (!p) {
		sqlite3_result_error_nomem(ctx);
		return;
	}
	if (!p->begun)
		pack_begin(&p->w, &p->out);
	p->begun = true;
	row.key = (uint32_t)sqlite3_value_int64(v[0]);
	row.count = (uint64_t)sqlite3_value_int64(v[1]);
	row.errors = (uint64_t)sqlite3_value_int64(v[2]);
	for (unsigned i = 0; i < PACK_SUMS; i++)
		row.sum[i] = (uint64_t)sqlite3_value_int64(v[3 + i]);
	row.hist[0].data = sqlite3_value_blob(v[6]);
	row.hist[0].len = (size_t)sqlite3_value_bytes(v[6]);
	if (row.key > p->w.last)
		pack_put(&p->w, &row);
	else
		sqlite3_result_error(ctx, "keys do not ascend", -1);
}

static void end_pack_rows(sqlite3_context *ctx)
{
	struct pack_rows *p = sqlite3_aggregate_context(ctx, 0);

	if (!p)
		return;
	if (p->out.err)
		sqlite3_result_error_nomem(ctx);
	else
		sqlite3_result_blob64(ctx, p->out.data, p->out.len,
				      SQLITE_TRANSIENT);
	buf_fini(&p->out);
}

int store_sql_functions(struct store *st)
{
	int rc = sqlite3_create_function(st->db, "pack_rows", 7, SQLITE_UTF8,
					 NULL, NULL, step_pack_rows,
					 end_pack_rows);

	return rc == SQLITE_OK ? 0 : store_sql_fail(st, rc);
}

int store_put_delta(struct store *st, const struct store_delta *d)
{
	store_sql_bind_u64(st, SQL_PUT_DELTA, 1, (uint64_t)d->kind);
	store_sql_bind_u64(st, SQL_PUT_DELTA, 2, (uint64_t)d->start_s);
	store_sql_bind_u64(st, SQL_PUT_DELTA, 3, d->rows);
	store_sql_bind_blob(st, SQL_PUT_DELTA, 4, d->data, d->len);
	return store_sql_run(st, SQL_PUT_DELTA);
}

int store_put_window_key(struct store *st, enum window_kind kind, uint32_t id,
			 const char *const value[STORE_WINDOW_LABELS])
{
	store_sql_bind_u64(st, SQL_PUT_WINDOW_KEY, 1, (uint64_t)kind);
	store_sql_bind_u64(st, SQL_PUT_WINDOW_KEY, 2, id);
	for (int i = 0; i < STORE_WINDOW_LABELS; i++)
		store_sql_bind_text(st, SQL_PUT_WINDOW_KEY, i + 3, value[i]);
	return store_sql_run(st, SQL_PUT_WINDOW_KEY);
}

/* --- joining the packs --- */

/* Two buffers that take turns: one has the sum so far. */
struct sum {
	struct buf now, next;
	uint64_t rows;
};

static int add_pack(struct sum *s, const void *data, size_t len, uint64_t rows)
{
	struct buf swap;
	int64_t n;

	if (s->now.len == 0) {
		s->rows = rows;
		buf_append(&s->now, data, len);
		return s->now.err;
	}
	buf_reset(&s->next);
	n = pack_merge(&s->next, s->now.data, s->now.len, data, len);
	if (n < 0)
		return (int)n;
	s->rows = (uint64_t)n;
	swap = s->now;
	s->now = s->next;
	s->next = swap;
	return 0;
}

/* All deltas of a window. before: their rows, those of one key each by itself.
 */
static int sum_deltas(struct store *st, enum window_kind kind, int64_t start_s,
		      struct sum *out, uint64_t *before)
{
	sqlite3_stmt *s = st->stmt[SQL_WINDOW_DELTAS];
	int err;

	*before = 0;
	store_sql_bind_u64(st, SQL_WINDOW_DELTAS, 1, (uint64_t)kind);
	store_sql_bind_u64(st, SQL_WINDOW_DELTAS, 2, (uint64_t)start_s);
	while ((err = store_sql_next_row(st, SQL_WINDOW_DELTAS)) > 0) {
		uint64_t rows = (uint64_t)sqlite3_column_int64(s, 0);

		if (sqlite3_column_int(s, 2)) {
			store_note_damage(st, STORE_WINDOW, 1,
					  "a row is not as written");
			continue;
		}
		*before += rows;
		err = add_pack(out, sqlite3_column_blob(s, 1),
			       (size_t)sqlite3_column_bytes(s, 1), rows);
		if (err < 0)
			break;
	}
	sqlite3_reset(s);
	return err;
}

/* Adds delta to the tier's pack. grown: by so many rows. */
static int join_tier(struct store *st, enum window_kind kind, uint32_t step_s,
		     int64_t start_s, const struct sum *delta, int64_t *grown)
{
	sqlite3_stmt *s = st->stmt[SQL_GET_PACK];
	struct sum sum = { .rows = 0 };
	uint64_t had = 0;
	int err;

	start_s -= start_s % step_s;
	store_sql_bind_u64(st, SQL_GET_PACK, 1, (uint64_t)kind);
	store_sql_bind_u64(st, SQL_GET_PACK, 2, step_s);
	store_sql_bind_u64(st, SQL_GET_PACK, 3, (uint64_t)start_s);
	err = store_sql_next_row(st, SQL_GET_PACK);
	if (err > 0 && sqlite3_column_int(s, 2)) {
		store_note_damage(st, STORE_WINDOW, 1,
				  "a row is not as written, it begins again");
		err = 0;
	} else if (err > 0) {
		had = (uint64_t)sqlite3_column_int64(s, 0);
		err = add_pack(&sum, sqlite3_column_blob(s, 1),
			       (size_t)sqlite3_column_bytes(s, 1), had);
	}
	sqlite3_reset(s);
	if (!err)
		err = add_pack(&sum, delta->now.data, delta->now.len,
			       delta->rows);
	if (!err) {
		store_sql_bind_u64(st, SQL_PUT_PACK, 1, (uint64_t)kind);
		store_sql_bind_u64(st, SQL_PUT_PACK, 2, step_s);
		store_sql_bind_u64(st, SQL_PUT_PACK, 3, (uint64_t)start_s);
		store_sql_bind_u64(st, SQL_PUT_PACK, 4, sum.rows);
		store_sql_bind_blob(st, SQL_PUT_PACK, 5, sum.now.data,
				    sum.now.len);
		err = store_sql_run(st, SQL_PUT_PACK);
	}
	*grown = (int64_t)(sum.rows - had);
	buf_fini(&sum.now);
	buf_fini(&sum.next);
	return err;
}

static int pack_window(struct store *st, enum window_kind kind, int64_t start_s,
		       struct store_packed *out)
{
	struct sum delta = { .rows = 0 };
	uint64_t before = 0;
	int64_t grown = 0;
	int err = sum_deltas(st, kind, start_s, &delta, &before);

	for (unsigned t = 0; t < STORE_TIERS && !err && delta.now.len; t++) {
		err = join_tier(st, kind, store_tiers[t], start_s, &delta,
				&grown);
		if (t == 0 && kind == WINDOW_REQUESTS)
			out->rows += grown - (int64_t)before;
	}
	out->bytes += delta.now.len;
	buf_fini(&delta.now);
	buf_fini(&delta.next);
	if (err < 0)
		return err;
	store_sql_bind_u64(st, SQL_DROP_DELTAS, 1, (uint64_t)kind);
	store_sql_bind_u64(st, SQL_DROP_DELTAS, 2, (uint64_t)start_s);
	return store_sql_run(st, SQL_DROP_DELTAS);
}

int store_pack(struct store *st, int64_t before_s, size_t max_bytes,
	       struct store_packed *out)
{
	sqlite3_stmt *s = st->stmt[SQL_NEXT_DELTA];
	int err = 0;

	*out = (struct store_packed){ .more = false };
	for (unsigned kind = 0; kind < WINDOW_KINDS && !err; kind++)
		while (!err) {
			int64_t start_s = 0;

			store_sql_bind_u64(st, SQL_NEXT_DELTA, 1, kind);
			store_sql_bind_u64(st, SQL_NEXT_DELTA, 2,
					   (uint64_t)before_s);
			err = store_sql_next_row(st, SQL_NEXT_DELTA);
			if (err > 0)
				start_s = sqlite3_column_int64(s, 0);
			sqlite3_reset(s);
			if (err <= 0)
				break;
			out->more = out->bytes >= max_bytes;
			if (out->more)
				return 0;
			err = pack_window(st, (enum window_kind)kind, start_s,
					  out);
		}
	return err;
}

/* --- their end --- */

int store_expire_windows(struct store *st, unsigned tier, int64_t before_s,
			 unsigned max, uint64_t *rows)
{
	sqlite3_stmt *s = st->stmt[SQL_EXPIRE_PACKS_SIZE];
	int err = 0, n = 0;

	*rows = 0;
	for (unsigned kind = 0; kind < WINDOW_KINDS && !err; kind++) {
		int64_t last = 0;
		int many = 0;

		store_sql_bind_u64(st, SQL_EXPIRE_PACKS_SIZE, 1, kind);
		store_sql_bind_u64(st, SQL_EXPIRE_PACKS_SIZE, 2,
				   store_tiers[tier]);
		store_sql_bind_u64(st, SQL_EXPIRE_PACKS_SIZE, 3,
				   (uint64_t)before_s);
		store_sql_bind_u64(st, SQL_EXPIRE_PACKS_SIZE, 4, max);
		err = store_sql_next_row(st, SQL_EXPIRE_PACKS_SIZE);
		if (err > 0) {
			last = sqlite3_column_int64(s, 0);
			many = sqlite3_column_int(s, 1);
			if (tier == 0 && kind == WINDOW_REQUESTS)
				*rows = (uint64_t)sqlite3_column_int64(s, 2);
			err = 0;
		}
		sqlite3_reset(s);
		if (err < 0 || many == 0)
			continue;
		store_sql_bind_u64(st, SQL_EXPIRE_PACKS, 1, kind);
		store_sql_bind_u64(st, SQL_EXPIRE_PACKS, 2, store_tiers[tier]);
		store_sql_bind_u64(st, SQL_EXPIRE_PACKS, 3, (uint64_t)last);
		err = store_sql_run(st, SQL_EXPIRE_PACKS);
		n += many;
	}
	return err < 0 ? err : n;
}
