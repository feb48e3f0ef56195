/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_ENGINE_ENGINE_H
#define AGGREGATOR_ENGINE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aggregator/fold/views.h"
#include "aggregator/snapshot/snapshot.h"

/*
 * The one thread that owns ledger, series and the store: receive, validate,
 * commit, fold, show, acknowledge, in this order. Nothing is shown or
 * acknowledged before the transaction that holds it has committed.
 */
struct engine;

/* 0 or NULL takes the default in brackets. Strings are copied. */
struct engine_options {
	const char *store_dir; /* holds redtap.db; must exist */
	const char *const *ingest_urls; /* tcp://host:port, tls+tcp:// … */
	size_t n_ingest_urls;
	bool allow_plaintext; /* tcp:// beyond loopback */
	const char *cert_file, *key_file, *ca_file; /* tls+tcp */
	const struct views *views; /* borrowed; [views_default()] */
	bool fold_all; /* every view again from the log, changed or not */

	size_t queue_bytes; /* received, not answered [64 MiB] */
	size_t group_bytes; /* in one transaction [4 MiB] */
	uint32_t commit_interval_ms; /* at most, between commits [20] */
	uint32_t checkpoint_interval_ms; /* of the series [10 000] */
	uint32_t checkpoint_slice; /* series in one transaction [2 000] */
	uint32_t window_interval_ms; /* least between window flushes [1 000] */

	/* Retention: what is older, or beyond so many bytes, goes. */
	uint64_t log_retention_s; /* raw batches [86 400] */
	uint64_t log_retention_bytes; /* [1 GiB] */
	uint64_t window_retention_s; /* [7 days] */
	uint64_t window_retention_bytes; /* [1 GiB] */
	/* Series that nothing is counted in for so long are not shown until
	 * something is again; they keep their value. [0: always shown] */
	uint64_t series_idle_s;

	/* The service graph; see graph_join.h. */
	uint64_t edge_wait_us, edge_skew_us; /* [15 s, 0.1 s] */
	size_t max_waiting; /* [262 144] */

	size_t max_agents; /* ids that are remembered [65 536] */
	size_t max_window_series; /* label sets of windows [100 000] */
	/* Events that claim to have ended further off count as ending now. */
	uint32_t clock_future_s; /* [60] */
	uint32_t clock_past_s; /* [the retention of windows] */
};

/*
 * Opens the store, loads the last checkpoint and folds the log after it. Sets
 * *out, released by engine_free(). -EINVAL: options; -EPROTO: the store was
 * written by a newer version; -EBUSY: another process has it; -EIO, -ENOMEM.
 * The log says what and where. A damaged store is set aside, no error.
 */
int engine_new(struct engine **out, const struct engine_options *opt);

/* Listens and starts the thread. -EADDRINUSE, -EINVAL (a URL), -EPERM. */
int engine_start(struct engine *e);

/*
 * Writes a whole checkpoint. Only before engine_start(): a running engine does
 * so on its own. -ENOSPC, -EIO …
 */
int engine_save(struct engine *e);

/* Retention and idle time of opt, as in engine_options. Any thread. */
void engine_set_limits(struct engine *e, const struct engine_options *opt);

/*
 * Reads renewed TLS files for connections from now on; nothing if no URL is
 * tls+tcp. -EINVAL, said in the log: the old ones stay. Any thread.
 */
int engine_renew_tls(struct engine *e, const char *cert_file,
		     const char *key_file, const char *ca_file);

/*
 * Stops listening, commits what is held, writes a last checkpoint and waits
 * for the thread. snapshot_take() still works afterwards.
 */
void engine_stop(struct engine *e);

/* Every snapshot must have been released. NULL is fine. */
void engine_free(struct engine *e);

/* Path of the store's file, for store_reader_open(). Owned by the engine. */
const char *engine_store_path(const struct engine *e);

/* Commits work. If not, *why gets the reason. Any thread; does not block. */
bool engine_ready(struct engine *e, char *why, size_t why_bytes);

#endif /* AGGREGATOR_ENGINE_ENGINE_H */
