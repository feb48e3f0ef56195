/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/store/store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/ledger/ledger.h"
#include "aggregator/store/store_sql.h"
#include "common/varint.h"

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
	return store_sql_run(st, SQL_PUT_LEDGER);
}

int store_drop_ledger(struct store *st, const char *agent, uint64_t epoch)
{
	store_sql_bind_text(st, SQL_DROP_LEDGER, 1, agent);
	store_sql_bind_u64(st, SQL_DROP_LEDGER, 2, epoch);
	return store_sql_run(st, SQL_DROP_LEDGER);
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
	store_sql_bind_text(st, SQL_PUT_AGENT, 1, a->name);
	store_sql_bind_text(st, SQL_PUT_AGENT, 2, a->version);
	store_sql_bind_text(st, SQL_PUT_AGENT, 3, a->kernel);
	store_sql_bind_text(st, SQL_PUT_AGENT, 4, a->capture);
	store_sql_bind_blob(st, SQL_PUT_AGENT, 5, st->blob.data, cut);
	store_sql_bind_u64(st, SQL_PUT_AGENT, 6, a->retired_epoch);
	store_sql_bind_blob(st, SQL_PUT_AGENT, 7, st->blob.data + cut,
			    st->blob.len - cut);
	return store_sql_run(st, SQL_PUT_AGENT);
}

int store_each_ledger(struct store *st, store_ledger_fn *fn, void *arg)
{
	sqlite3_stmt *s = st->stmt[SQL_EACH_LEDGER];
	int err;

	while ((err = store_sql_next_row(st, SQL_EACH_LEDGER)) > 0) {
		struct ledger_state state = {
			.sequence = (uint64_t)sqlite3_column_int64(s, 2),
			.seen_us = sqlite3_column_int64(s, 3),
			.skew_us = sqlite3_column_int64(s, 4),
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

static void free_strings(char **s, size_t n)
{
	for (size_t i = 0; s && i < n; i++)
		free(s[i]);
	free(s);
}

/* Decodes the agent's probes, which the caller frees, also after an error. */
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

	a.name = strdup(store_sql_text_or_empty(s, 0));
	a.version = strdup(store_sql_text_or_empty(s, 1));
	a.kernel = strdup(store_sql_text_or_empty(s, 2));
	a.capture = strdup(store_sql_text_or_empty(s, 3));
	a.retired_epoch = (uint64_t)sqlite3_column_int64(s, 5);
	if (a.name && a.version && a.kernel && a.capture)
		err = get_probes(&a, sqlite3_column_blob(s, 4),
				 (size_t)sqlite3_column_bytes(s, 4));
	if (!err)
		err = get_totals(&a.retired, sqlite3_column_blob(s, 6),
				 (size_t)sqlite3_column_bytes(s, 6));
	if (!err)
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

	while ((err = store_sql_next_row(st, SQL_EACH_AGENT)) > 0) {
		err = agent_row(s, fn, arg);
		if (err)
			break;
	}
	sqlite3_reset(s);
	return err;
}
