/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <string.h>

#include "aggregator/engine/engine_state.h"
#include "aggregator/engine/retire.h"
#include "common/clock.h"
#include "common/log.h"

/* Deletes what is too old or beyond its bytes, a slice at a time. */

#define RETENTION_ROWS 64u /* of the log per transaction: about 5 MB */
#define RETENTION_PACKS 32u /* of a tier and kind, per transaction */
/* A window is closed this long after its start, but for late events. */
#define PACK_AFTER_S 30
#define PACK_BYTES ((size_t)512 << 10) /* of deltas, per transaction */
#define EPOCH_LATE_S 86400u
#define VACUUM_PAGES 256u
#define SOON_MS 20u /* until the next turn, if more is left */
/* New batches soon reuse this much free space: not worth moving pages for. */
#define VACUUM_SLACK_BYTES ((uint64_t)4 << 20)

/* What a turn of retention did. */
struct expired {
	uint64_t packs;
	bool more; /* is left to do */
};

/*
 * Beyond their bytes, the finest windows go first: those of 10 s down to the
 * last hour, then minutes down to the last day, then whatever is oldest.
 */
static unsigned tier_to_shorten(const struct store_sizes *sizes, int64_t now_s)
{
	static const int64_t keep_s[STORE_TIERS] = { 3600, 86400, 0 };

	for (unsigned t = 0; t < STORE_TIERS; t++)
		if (sizes->first_window_s[t] &&
		    sizes->first_window_s[t] < now_s - keep_s[t])
			return t;
	return 0;
}

static int expire_windows(struct engine *e, const struct store_sizes *sizes,
			  int64_t now_s, struct expired *out)
{
	uint64_t used = sizes->file_bytes - sizes->free_bytes;
	bool over = used > e->pending.log_bytes &&
		    used - e->pending.log_bytes >
			    atomic_load(&e->window_retention_bytes);
	unsigned shorten = over ? tier_to_shorten(sizes, now_s) : STORE_TIERS;

	for (unsigned t = 0; t < STORE_TIERS; t++) {
		int64_t before_s =
			now_s - (int64_t)atomic_load(&e->window_retention_s);
		uint64_t rows;
		int n;

		if (t == shorten && before_s <= sizes->first_window_s[t])
			before_s = sizes->first_window_s[t] + 1;
		n = store_expire_windows(e->store, t, before_s, RETENTION_PACKS,
					 &rows);
		if (n < 0)
			return n;
		out->packs += (uint64_t)n;
		e->pending.windows -= rows;
		e->pending.retention_deleted_windows += rows;
	}
	out->more |= out->packs >= RETENTION_PACKS;
	return 0;
}

static int expire(struct engine *e, struct expired *out)
{
	int64_t now_us = clock_real_us();
	int64_t before_us =
		now_us - (int64_t)atomic_load(&e->log_retention_s) * 1000000;
	struct store_sizes sizes = { 0 };
	struct store_packed packed;
	struct store_expired log;
	int n, err = store_sizes(e->store, &sizes, false);

	if (err < 0)
		return err;
	e->pending.store_bytes = sizes.file_bytes;
	if (e->pending.log_bytes > atomic_load(&e->log_retention_bytes))
		before_us = INT64_MAX;
	n = store_expire_log(e->store, before_us,
			     checkpoint_watermark(e->checkpoint),
			     RETENTION_ROWS, &log);
	if (n < 0)
		return n;
	out->more = n == RETENTION_ROWS;
	e->pending.log_batches -= log.batches;
	e->pending.log_bytes -= log.bytes;
	e->pending.retention_deleted_batches += log.batches;
	err = store_pack(e->store, now_us / 1000000 - PACK_AFTER_S, PACK_BYTES,
			 &packed);
	if (err < 0)
		return err;
	e->pending.windows += (uint64_t)packed.rows;
	out->more |= packed.more;
	err = expire_windows(e, &sizes, now_us / 1000000, out);
	if (err < 0)
		return err;
	return sizes.free_bytes > VACUUM_SLACK_BYTES + sizes.file_bytes / 8
		       ? store_vacuum(e->store, VACUUM_PAGES)
		       : 0;
}

/* Batches sent before this time cannot arrive any more, except by replay. */
static int64_t late_before_us(struct engine *e)
{
	uint64_t late_s = atomic_load(&e->log_retention_s);

	if (late_s < EPOCH_LATE_S)
		late_s = EPOCH_LATE_S;
	return clock_real_us() - (int64_t)late_s * 1000000;
}

static void count_gate(struct engine *e)
{
	struct gate_stats stats;
	struct gate_tls_expiry expiry;

	gate_tls_expires(&expiry);
	e->pending.certificate_us = (uint64_t)expiry.own_s * 1000000;
	e->pending.ca_us = (uint64_t)expiry.ca_s * 1000000;
	gate_stats(e->gate, &stats);
	static_assert(sizeof(e->pending.refusals) == sizeof(stats.refused),
		      "a snapshot has every cause");
	memcpy(e->pending.refusals, stats.refused, sizeof(stats.refused));
	e->pending.gate_busy = stats.busy;
	e->pending.gate_turned_away = stats.refused[REFUSAL_CONNECTIONS];
	e->pending.gate_cut_off = stats.cut_off;
	e->pending.gate_waited = stats.waited;
	e->pending.gate_rounds = stats.rounds;
	e->pending.gate_connections = stats.connections;
	e->pending.gate_held_bytes = stats.held_bytes;
}

void engine_retention(struct engine *e, uint64_t now_ns)
{
	struct retirement retired = { .n = 0 };
	struct expired done = { .packs = 0 };
	int err = store_begin(e->store);

	retired.n = retired.epochs = 0;
	retired.more = false;
	count_gate(e);
	if (!err)
		err = expire(e, &done);
	if (!err)
		err = retire_put(e->store, e->ledger, late_before_us(e),
				 clock_real_us(), &retired);
	if (!err)
		err = engine_expire_agents(e, now_ns);
	if (!err)
		err = store_commit(e->store);
	if (err < 0) {
		log_warn("retention failed error=\"%s\"",
			 store_error(e->store));
		store_rollback(e->store);
		e->pending = e->source.counters;
	} else {
		snapshot_source_lock(&e->source);
		e->pending.retired_epochs += retire_done(e->ledger, &retired);
		e->pending.agents = ledger_agents(e->ledger);
		e->pending.agents_max = ledger_max(e->ledger);
		e->pending.epochs = ledger_epochs(e->ledger);
		e->pending.info_bytes =
			ledger_infos_bytes(ledger_infos_of(e->ledger));
		e->pending.info_cut =
			ledger_infos_cut(ledger_infos_of(e->ledger));
		e->source.counters = e->pending;
		snapshot_source_unlock(&e->source);
		engine_make_room(e);
	}
	/* If more is left, continue soon, with ingest in between. */
	e->next_retention_ns =
		now_ns +
		ms_ns(!err && (done.more || retired.more) ? SOON_MS : 1000);
}

void engine_retire_soon(struct engine *e)
{
	uint64_t soon_ns = clock_mono_ns() + ms_ns(SOON_MS);

	if (e->next_retention_ns > soon_ns)
		e->next_retention_ns = soon_ns;
}
