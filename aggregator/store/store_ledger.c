/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/store/store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/ledger/ledger.h"
#include "aggregator/store/store_sql.h"
#include "common/varint.h"
#include "proto/batch.h"

/* Writes and loads the ledger and the agents. */

static void put_totals(struct buf *b, const struct ledger_totals *t)
{
	uint64_t v[LEDGER_TOTALS_N];

	memcpy(v, t, sizeof(v));
	varint_put(b, LOSS_STAGES);
	varint_put(b, AGENT_COUNTERS);
	for (size_t i = 0; i < LEDGER_TOTALS_N; i++)
		varint_put(b, v[i]);
}

/* An older version may have stored fewer stages or counters: the rest is 0. */
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
	for (size_t i = 0; i < AGENT_GAUGES && r.at < r.end; i++)
		t->gauges[i] = varint_get(&r);
	if (r.at < r.end) {
		t->samples_read = varint_get(&r);
		for (size_t i = 0; i < SAMPLES_STAGES; i++)
			t->samples_dropped[i] = varint_get(&r);
		t->samples_counted = varint_get(&r);
	}
	for (size_t i = 0; i < GAP_REASONS && r.at < r.end; i++)
		t->gaps[i] = varint_get(&r);
	return r.bad ? -EUCLEAN : 0;
}

int store_put_ledger(struct store *st, const char *agent, uint64_t epoch,
		     const struct ledger_state *state)
{
	buf_reset(&st->blob);
	put_totals(&st->blob, &state->totals);
	if (st->blob.err)
		return st->blob.err;
	store_sql_bind_text(st, SQL_PUT_LEDGER, 1, agent);
	store_sql_bind_u64(st, SQL_PUT_LEDGER, 2, epoch);
	store_sql_bind_u64(st, SQL_PUT_LEDGER, 3, state->sequence);
	store_sql_bind_u64(st, SQL_PUT_LEDGER, 4, (uint64_t)state->seen_us);
	store_sql_bind_u64(st, SQL_PUT_LEDGER, 5, (uint64_t)state->skew_us);
	store_sql_bind_blob(st, SQL_PUT_LEDGER, 6, st->blob.data, st->blob.len);
	store_sql_bind_u64(st, SQL_PUT_LEDGER, 7, st->log_id);
	return store_sql_run(st, SQL_PUT_LEDGER);
}

int store_drop_ledger(struct store *st, const char *agent, uint64_t epoch)
{
	store_sql_bind_text(st, SQL_DROP_LEDGER, 1, agent);
	store_sql_bind_u64(st, SQL_DROP_LEDGER, 2, epoch);
	return store_sql_run(st, SQL_DROP_LEDGER);
}

static void put_probes(struct buf *b, const struct batch_info *info)
{
	varint_put(b, info->n_probes);
	for (size_t i = 0; i < info->n_probes; i++) {
		size_t len = strlen(info->probes[i]);

		varint_put(b, len);
		buf_append(b, info->probes[i], len);
		varint_put(b, info->probe_attached[i]);
	}
}

int store_put_agent(struct store *st, const struct ledger_agent *a)
{
	static const struct batch_info nothing = { .version = "",
						   .kernel = "",
						   .capture = "" };
	const struct batch_info *info = a->info ? &a->info->said : &nothing;
	size_t cut;

	buf_reset(&st->blob);
	put_probes(&st->blob, info);
	cut = st->blob.len;
	put_totals(&st->blob, &a->retired);
	if (st->blob.err)
		return st->blob.err;
	store_sql_bind_text(st, SQL_PUT_AGENT, 1, a->name);
	store_sql_bind_text(st, SQL_PUT_AGENT, 2, info->version);
	store_sql_bind_text(st, SQL_PUT_AGENT, 3, info->kernel);
	store_sql_bind_text(st, SQL_PUT_AGENT, 4, info->capture);
	store_sql_bind_blob(st, SQL_PUT_AGENT, 5, st->blob.data, cut);
	store_sql_bind_u64(st, SQL_PUT_AGENT, 6, a->retired_epoch);
	store_sql_bind_blob(st, SQL_PUT_AGENT, 7, st->blob.data + cut,
			    st->blob.len - cut);
	store_sql_bind_u64(st, SQL_PUT_AGENT, 8, (uint64_t)a->retired_seen_us);
	store_sql_bind_u64(st, SQL_PUT_AGENT, 9, a->runs);
	return store_sql_run(st, SQL_PUT_AGENT);
}

int store_drop_agent(struct store *st, const char *agent)
{
	int err, n;

	store_sql_bind_text(st, SQL_DROP_LEDGERS, 1, agent);
	err = store_sql_run(st, SQL_DROP_LEDGERS);
	n = sqlite3_changes(st->db);
	if (err < 0)
		return err;
	store_sql_bind_text(st, SQL_DROP_AGENT, 1, agent);
	err = store_sql_run(st, SQL_DROP_AGENT);
	return err < 0 ? err : n + sqlite3_changes(st->db);
}

static int each_ledger(struct store *st, enum store_statement which,
		       store_ledger_fn *fn, void *arg)
{
	sqlite3_stmt *s = st->stmt[which];
	int err;

	while ((err = store_sql_next_row(st, which)) > 0) {
		struct ledger_state state = {
			.sequence = (uint64_t)sqlite3_column_int64(s, 2),
			.seen_us = sqlite3_column_int64(s, 3),
			.skew_us = sqlite3_column_int64(s, 4),
			.log_id = (uint64_t)sqlite3_column_int64(s, 6),
		};

		err = get_totals(&state.totals, sqlite3_column_blob(s, 5),
				 (size_t)sqlite3_column_bytes(s, 5));
		if (!err)
			err = fn(arg, store_sql_text_or_empty(s, 0),
				 (uint64_t)sqlite3_column_int64(s, 1), &state);
		if (err)
			break;
	}
	sqlite3_reset(s);
	return err;
}

int store_each_ledger(struct store *st, store_ledger_fn *fn, void *arg)
{
	return each_ledger(st, SQL_EACH_LEDGER, fn, arg);
}

/* Decodes the probes into *info, which batch_info_free() frees in any case. */
static int get_probes(struct batch_info *info, const void *data, size_t len)
{
	struct varint_reader r = { .at = data, .end = NULL };
	const char **probes;
	uint32_t *attached;
	uint64_t n;

	if (!data)
		return -EUCLEAN;
	r.end = r.at + len;
	n = varint_get(&r);
	if (n > len)
		return -EUCLEAN;
	info->probes = probes = calloc(n + 1, sizeof(*probes));
	info->probe_attached = attached = calloc(n + 1, sizeof(*attached));
	if (!probes || !attached)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		uint64_t bytes = varint_get(&r);

		if (r.bad || bytes > (size_t)(r.end - r.at))
			return -EUCLEAN;
		probes[i] = strndup((const char *)r.at, bytes);
		if (!probes[i])
			return -ENOMEM;
		info->n_probes++;
		r.at += bytes;
		attached[i] = (uint32_t)varint_get(&r);
	}
	return r.bad ? -EUCLEAN : 0;
}

static int agent_row(sqlite3_stmt *s, store_agent_fn *fn, void *arg)
{
	struct ledger_agent a = {
		.retired_epoch = (uint64_t)sqlite3_column_int64(s, 5),
		.retired_seen_us = sqlite3_column_int64(s, 7),
		.runs = sqlite3_column_int(s, 8) != 0,
	};
	struct batch_info info = {
		.version = strdup(store_sql_text_or_empty(s, 1)),
		.kernel = strdup(store_sql_text_or_empty(s, 2)),
		.capture = strdup(store_sql_text_or_empty(s, 3)),
	};
	int err = -ENOMEM;

	a.name = strdup(store_sql_text_or_empty(s, 0));
	if (a.name && info.version && info.kernel && info.capture)
		err = get_probes(&info, sqlite3_column_blob(s, 4),
				 (size_t)sqlite3_column_bytes(s, 4));
	if (!err)
		err = get_totals(&a.retired, sqlite3_column_blob(s, 6),
				 (size_t)sqlite3_column_bytes(s, 6));
	if (!err)
		err = fn(arg, &a, &info);
	batch_info_free(&info);
	free(a.name);
	return err;
}

static int each_agent(struct store *st, enum store_statement which,
		      store_agent_fn *fn, void *arg)
{
	sqlite3_stmt *s = st->stmt[which];
	int err;

	while ((err = store_sql_next_row(st, which)) > 0) {
		err = agent_row(s, fn, arg);
		if (err)
			break;
	}
	sqlite3_reset(s);
	return err;
}

int store_each_agent(struct store *st, store_agent_fn *fn, void *arg)
{
	return each_agent(st, SQL_EACH_AGENT, fn, arg);
}

int store_get_agent(struct store *st, const char *name, store_agent_fn *fn,
		    store_ledger_fn *epoch, void *arg)
{
	int err;

	store_sql_bind_text(st, SQL_GET_AGENT, 1, name);
	err = each_agent(st, SQL_GET_AGENT, fn, arg);
	if (err)
		return err;
	store_sql_bind_text(st, SQL_GET_LEDGERS, 1, name);
	return each_ledger(st, SQL_GET_LEDGERS, epoch, arg);
}
