/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_ENGINE_ENGINE_H
#define AGGREGATOR_ENGINE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aggregator/views/views.h"

/*
 * The thread that owns the ledger, the series and the store's writer. For each
 * group of batches it receives, validates, commits, folds, makes visible and
 * acknowledges, in this order. A batch is neither visible nor acknowledged
 * before the transaction that contains it has committed.
 */
struct engine;

/* 0 or NULL selects the default in brackets. Strings are copied. */
struct engine_options {
	const char *store_dir; /* holds redtap.db; must exist */
	const char *const *ingest_urls; /* tcp://host:port, tls+tcp:// … */
	size_t n_ingest_urls;
	bool allow_plaintext; /* tcp:// beyond loopback */
	const char *cert_file, *key_file, *ca_file; /* tls+tcp */
	const char *shared_name; /* see gate.h */
	const struct views *views; /* borrowed; [views_default()] */
	bool fold_all; /* fold every view from the log, changed or not */

	size_t queue_bytes; /* messages not answered yet [64 MiB] */
	size_t group_bytes; /* messages per transaction [4 MiB] */
	uint32_t commit_interval_ms; /* longest pause between commits [20] */
	uint32_t checkpoint_interval_ms; /* series to the store [10 000] */
	uint32_t checkpoint_slice; /* series per transaction [2 000] */
	uint32_t window_interval_ms; /* least, windows to the store [1 000] */

	/* Retention: rows older than _s, and the oldest beyond _bytes, go. */
	uint64_t log_retention_s; /* raw batches [86 400] */
	uint64_t log_retention_bytes; /* [1 GiB] */
	uint64_t window_retention_s; /* [7 days] */
	uint64_t window_retention_bytes; /* [1 GiB] */
	/* Hide a series after this long without events; it returns with its
	 * value at the next event. [0: never] */
	uint64_t series_idle_s;

	/* The service graph; see graph_join.h. */
	uint64_t edge_wait_us, edge_skew_us; /* [15 s, 0.1 s] */
	size_t max_waiting; /* [262 144] */

	/* Samples of user programs; 0: see samples.h. */
	size_t max_families, max_family_series;
	/* See gather.h. */
	uint32_t batches_per_s; /* of all agents [10 000] */
	uint32_t gather_max_ms; /* [5 000] */

	size_t max_agents; /* ids in memory [65 536] */
	/* From then on a silent agent may leave the memory. [3 600 000] */
	uint32_t agent_silent_ms;
	/* Agents silent for this long are not shown. [0: all are] */
	uint64_t agent_idle_s;
	const char *token_file; /* agents must have this token; NULL: none */
	size_t max_window_series; /* label sets of windows [100 000] */
	/* An event whose end is further off counts as if it ended now. */
	uint32_t clock_future_s; /* [60] */
	uint32_t clock_past_s; /* [window_retention_s] */
};

/*
 * Opens the store, loads the last checkpoint and folds the log after it. Sets
 * *out, released by engine_free(). -EINVAL: options; -EPROTO: a newer version
 * wrote the store; -EBUSY: another process uses it; -EIO, -ENOMEM and other
 * errors of store_open(). They are logged. A damaged store is no error: it is
 * set aside and an empty one made.
 */
int engine_new(struct engine **out, const struct engine_options *opt);

/* Listens and starts the thread. Errors of gate_open(), or -EAGAIN. */
int engine_start(struct engine *e);

/*
 * Writes a complete checkpoint. Only before engine_start(); a started engine
 * writes checkpoints itself. -ENOSPC, -EIO …
 */
int engine_save(struct engine *e);

/*
 * Forgets an agent: its place in the ledger and what is shown of it, but not
 * the requests that were counted. Its next batch is that of a new agent. Waits
 * for the engine's thread. -ENOENT: no such agent; -ETIMEDOUT: the engine does
 * not answer; errors of the store. Any thread, once started.
 */
int engine_forget(struct engine *e, const char *agent);

/*
 * Reads the token file again, which is made if there is none. NULL: no token is
 * asked for. Errors of token_read(), logged; then the old one stays in force.
 * Any thread.
 */
int engine_set_token(struct engine *e, const char *file);

/*
 * Applies opt's retention, idle times, batches_per_s and gather_max_ms, nothing
 * else. Any thread.
 */
void engine_set_limits(struct engine *e, const struct engine_options *opt);

/* Reads renewed TLS files, as gate_renew_tls() does. Any thread. */
int engine_renew_tls(struct engine *e, const char *cert_file,
		     const char *key_file, const char *ca_file);

/*
 * Answers new messages BUSY, commits the queued ones, writes a last checkpoint,
 * waits for the thread to end and closes all connections. snapshot_take() still
 * works afterwards.
 */
void engine_stop(struct engine *e);

/* The caller must have released every snapshot. NULL is fine. */
void engine_free(struct engine *e);

/*
 * What snapshot_take() copies; lives as long as the engine. Its locks are taken
 * by any thread.
 */
struct snapshot_source *engine_snapshots(struct engine *e);

/* Path of the store's file, for store_reader_open(). Owned by the engine. */
const char *engine_store_path(const struct engine *e);

/* True if commits work; else why gets the reason. Any thread, never blocks. */
bool engine_ready(struct engine *e, char *why, size_t why_bytes);

#endif /* AGGREGATOR_ENGINE_ENGINE_H */
