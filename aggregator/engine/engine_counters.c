/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>

#include "aggregator/engine/engine_state.h"
#include "common/varint.h"

/* Stores the engine's own counters, so that they survive a restart. */

#define LASTING_MAX 32u
#define STATE_COUNTERS "engine_counters"

/* Collects the counters that survive a restart, in the stored order. */
static size_t lasting(struct snapshot_engine *c, uint64_t *out[LASTING_MAX])
{
	size_t n = 0;

	out[n++] = &c->batches;
	out[n++] = &c->duplicates;
	out[n++] = &c->events;
	out[n++] = &c->rollup_events;
	out[n++] = &c->refused;
	out[n++] = &c->bytes_received;
	out[n++] = &c->commits;
	out[n++] = &c->commit_errors;
	out[n++] = &c->commit_us_total;
	out[n++] = &c->checkpoints;
	out[n++] = &c->checkpoint_us_total;
	out[n++] = &c->retention_deleted_batches;
	out[n++] = &c->retention_deleted_windows;
	out[n++] = &c->stores_set_aside;
	out[n++] = &c->fold_ns_total;
	out[n++] = &c->retired_epochs;
	out[n++] = &c->corrected;
	out[n++] = &c->mended;
	out[n++] = &c->agents_evicted;
	out[n++] = &c->damaged_rows;
	out[n++] = &c->lost_requests;
	return n;
}

int engine_put_counters(struct engine *e)
{
	uint64_t *v[LASTING_MAX];
	size_t n = lasting(&e->pending, v);

	buf_reset(&e->blob);
	for (size_t i = 0; i < n; i++)
		varint_put(&e->blob, *v[i]);
	if (e->blob.err)
		return e->blob.err;
	return store_put_state(e->store, STATE_COUNTERS, e->blob.data,
			       e->blob.len);
}

/* Compares with what was acknowledged before. */
static void note_lack(struct engine *e, bool counters_lost)
{
	struct store_lack lack;

	if (!store_lacks(e->store, e->last_id, e->pending.events, &lack))
		;
	else if (counters_lost)
		e->pending.events += lack.requests;
	else
		e->pending.lost_requests =
			sums_add(e->pending.lost_requests, lack.requests);
	store_acknowledge(e->store, e->last_id, e->pending.events);
}

int engine_load_counters(struct engine *e)
{
	struct store_sizes sizes = { 0 };
	struct varint_reader r;
	uint64_t *v[LASTING_MAX];
	void *data = NULL;
	size_t len, n = lasting(&e->pending, v);
	int err = store_get_state(e->store, STATE_COUNTERS, &data, &len);
	bool counters_lost =
		err == -ENOENT && store_damaged(e->store, STORE_STATE) > 0;

	if (err < 0 && err != -ENOENT)
		return err;
	if (!err) {
		r.at = data;
		r.end = r.at + len;
		r.bad = false;
		for (size_t i = 0; i < n && r.at < r.end; i++)
			*v[i] = varint_get(&r);
		free(data);
	}
	err = store_sizes(e->store, &sizes, true);
	e->pending.log_batches = sizes.log_batches;
	e->pending.log_bytes = sizes.log_bytes;
	e->pending.store_bytes = sizes.file_bytes;
	e->pending.windows = sizes.windows;
	if (sizes.last_log_id > e->last_id)
		e->last_id = sizes.last_log_id;
	if (store_was_set_aside(e->store))
		e->pending.stores_set_aside++;
	for (unsigned i = 0; i < STORE_TABLES; i++)
		e->pending.damaged_rows +=
			store_damaged(e->store, (enum store_table)i);
	note_lack(e, counters_lost);
	snapshot_count_edges(&e->pending, e->fold);
	e->source.counters = e->pending;
	return err;
}
