/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_STORE_STORE_H
#define AGGREGATOR_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aggregator/fold/window.h"
#include "aggregator/store/pack.h"
#include "proto/batch.h"

/*
 * The SQLite file with log, ledger, checkpoint of the series, and windows. One
 * writer (the engine's thread) and any number of readers, each with a
 * connection of its own, in WAL mode, so that neither waits for the other.
 * Which files may include sqlite3: see tests/lint.sh.
 */

struct ledger_state;
struct ledger_agent;
struct batch_info;

/* --- writer: the engine's thread --- */

struct store;

/*
 * Opens or creates dir/redtap.db and brings its schema up to date. A damaged
 * file is renamed, with the time, and an empty one takes its place. Sets *out,
 * released by store_close(). -EBUSY: another process uses it; -EPROTO: a newer
 * version wrote it; -EIO, -ENOSPC, -EROFS, -EACCES, -ENOMEM. Errors are logged.
 */
int store_open(struct store **out, const char *dir);
void store_close(struct store *st); /* NULL is fine */
const char *store_path(const struct store *st);
/* A damaged file was set aside, by store_open() or store_set_aside(). */
bool store_was_set_aside(const struct store *st);
/*
 * For a caller that finds the content inconsistent: closes the file, renames it
 * as store_open() does and opens an empty one. *st is NULL after a failure.
 */
int store_set_aside(struct store **st, const char *why);

/* --- damage: rows that are not as they were written --- */

enum store_table {
	STORE_LOG,
	STORE_LEDGER,
	STORE_AGENT,
	STORE_VIEW,
	STORE_SERIES,
	STORE_TARGET,
	STORE_STATE,
	STORE_WINDOW, /* and its keys */
	STORE_TABLES,
};
/* How many rows were found and left out; for the log, batches. */
uint64_t store_damaged(const struct store *st, enum store_table table);
void store_note_damage(struct store *st, enum store_table table, uint64_t rows,
		       const char *what);
/* The log has every batch that was ever counted. Reads all of it. */
int store_log_is_whole(struct store *st, bool *whole);

/*
 * The mark outside the database: what was acknowledged. True if the store has
 * less than that, as after its write-ahead log was lost. Then the copy of that
 * file stays beside the store; otherwise it is deleted. To be called once, when
 * all is loaded.
 */
struct store_lack {
	uint64_t log_ids, requests;
};
bool store_lacks(struct store *st, uint64_t log_id, uint64_t requests,
		 struct store_lack *out);
/* After a commit, before what it acknowledges. */
void store_acknowledge(struct store *st, uint64_t log_id, uint64_t requests);
/* Waits until the mark is on disk. */
void store_sync_mark(struct store *st);

/*
 * The writes below must be between store_begin() and store_commit(). Errors:
 * -ENOSPC, -EROFS, -EIO, -EUCLEAN (damaged), -EBUSY, -EACCES, -ENOMEM. After
 * one call store_rollback(), which undoes the whole transaction.
 */
int store_begin(struct store *st);
int store_commit(struct store *st); /* 0: it is on disk */
void store_rollback(struct store *st);
/* The text of the last error. */
const char *store_error(const struct store *st);

/* A batch in the log. */
struct store_log {
	uint64_t id; /* ascending */
	int64_t received_us;
	uint64_t requests;
	/* Windows that its events ended in; -1: not known. */
	int64_t first_s, last_s;
	const void *data;
	size_t len;
	bool damaged; /* only with store_each_log(): data must not be used */
};
/*
 * Small batches are kept and written together, the last with store_commit().
 * Returns by how many bytes the log grows, or a negative errno.
 */
int store_put_log(struct store *st, const struct store_log *row);
/* The row has all of the log until now, and says so. */
int store_put_ledger(struct store *st, const char *agent, uint64_t epoch,
		     const struct ledger_state *state);
int store_put_agent(struct store *st, const struct ledger_agent *a);
int store_drop_ledger(struct store *st, const char *agent, uint64_t epoch);
/* Deletes all of an agent but its batches. Returns the number of rows. */
int store_drop_agent(struct store *st, const char *agent);

/* Which agents the store keeps although they have been silent for long. */
struct store_expiry {
	/* Deletes those not heard since; grows if there are too many rows. */
	int64_t before_us;
	int64_t silent_us; /* the most to which it grows */
	size_t most_rows; /* of the ledger */
	unsigned max; /* agents to delete at once */
};
/* Returns the number of rows deleted or a negative errno. */
int store_expire_agents(struct store *st, struct store_expiry *x);
int store_put_view(struct store *st, uint32_t id, const char *name,
		   uint64_t digest, uint64_t log_id);
int store_drop_view(struct store *st, uint32_t id); /* and its series */
int store_drop_series(struct store *st, uint32_t view);

struct store_series {
	uint32_t view, slot;
	uint64_t log_id;
	const void *labels, *state; /* encoded by checkpoint.c */
	size_t labels_len, state_len;
	bool damaged; /* only with store_each_series() */
};
int store_put_series(struct store *st, const struct store_series *row);
/* job, instance, node, then what RESOURCE_ATTRIBUTES has. */
#define STORE_COUNT(name, text) +1
#define STORE_TARGET_FIELDS (3 RESOURCE_ATTRIBUTES(STORE_COUNT))
int store_put_target(struct store *st,
		     const char *const value[STORE_TARGET_FIELDS]);
#define STORE_WINDOW_LABELS 8
/* The label values that a key of this kind stands for; the rest is NULL. */
int store_put_window_key(struct store *st, enum window_kind kind, uint32_t id,
			 const char *const value[STORE_WINDOW_LABELS]);

/* A bucket of a sparse histogram: native, over seconds, BUCKET_ZERO for 0. */
struct store_bucket {
	int32_t native;
	uint64_t count;
};
/* Rows of samples; see samples.h for what is in them. */
struct store_sample {
	uint32_t family, slot;
	const char *node;
	uint64_t log_id;
	const void *state;
	size_t state_len;
};
int store_put_sample_family(struct store *st, const struct store_sample *row);
int store_put_sample_series(struct store *st, const struct store_sample *row);
int store_put_sample_node(struct store *st, const struct store_sample *row);
/* Drops all rows of samples. */
int store_drop_samples(struct store *st);
/* Drops a family and its series. */
int store_drop_sample_family(struct store *st, uint32_t family);

/* What was counted in one window since the last flush, as a pack. */
struct store_delta {
	enum window_kind kind;
	int64_t start_s;
	uint64_t rows;
	const void *data;
	size_t len;
};
int store_put_delta(struct store *st, const struct store_delta *d);

/* Windows are kept per 10 s, per minute and per hour. */
#define STORE_TIERS 3
extern const uint32_t store_tiers[STORE_TIERS]; /* in seconds, ascending */

/*
 * Adds the deltas of windows before before_s to the packs of every tier, about
 * max_bytes of them; more tells whether some are left.
 */
struct store_packed {
	size_t bytes;
	int64_t rows; /* by which the rows of requests per 10 s grew */
	bool more;
};
int store_pack(struct store *st, int64_t before_s, size_t max_bytes,
	       struct store_packed *out);
int store_put_state(struct store *st, const char *name, const void *data,
		    size_t len);

/*
 * Deletes at most max rows older than before, the oldest first; of the log,
 * only batches with an id of at most keep_after, and tells what was in the
 * rows. Returns the number of rows deleted or a negative errno.
 */
struct store_expired {
	uint64_t batches, bytes;
};
int store_expire_log(struct store *st, int64_t before_us, uint64_t keep_after,
		     unsigned max, struct store_expired *out);
/*
 * Deletes at most max packs per kind of a tier (index of store_tiers), and sets
 * *rows to the rows of requests per 10 s that were in them. Returns how many.
 */
int store_expire_windows(struct store *st, unsigned tier, int64_t before_s,
			 unsigned max, uint64_t *rows);
/* Returns up to this many free pages to the file system. */
int store_vacuum(struct store *st, unsigned pages);

struct store_sizes {
	uint64_t file_bytes, free_bytes;
	uint64_t log_batches, log_bytes; /* only with count_rows */
	uint64_t first_log_id, last_log_id;
	uint64_t windows; /* rows of requests per 10 s; only with count_rows */
	int64_t first_log_us; /* 0: none */
	int64_t first_window_s[STORE_TIERS]; /* 0: none */
};
int store_sizes(struct store *st, struct store_sizes *out, bool count_rows);

/*
 * Loading: these call fn for each row. They return 0, what fn returned if that
 * was not 0, or a negative errno. Rows are borrowed until fn returns. Damaged
 * ones are counted and have that flag.
 */
typedef int store_log_fn(void *arg, const struct store_log *row);
int store_each_log(struct store *st, uint64_t after_id, store_log_fn *fn,
		   void *arg);
typedef int store_ledger_fn(void *arg, const char *agent, uint64_t epoch,
			    const struct ledger_state *state);
int store_each_ledger(struct store *st, store_ledger_fn *fn, void *arg);
/* Fills in a's name, retired and runs; info: what it says about itself. */
typedef int store_agent_fn(void *arg, const struct ledger_agent *a,
			   const struct batch_info *info);
int store_each_agent(struct store *st, store_agent_fn *fn, void *arg);
/* The same for one agent: its row, if it has one, and its epochs. */
int store_get_agent(struct store *st, const char *name, store_agent_fn *fn,
		    store_ledger_fn *epoch, void *arg);
typedef int store_view_fn(void *arg, uint32_t id, const char *name,
			  uint64_t digest, uint64_t log_id);
int store_each_view(struct store *st, store_view_fn *fn, void *arg);
typedef int store_series_fn(void *arg, const struct store_series *row);
int store_each_series(struct store *st, uint32_t view, store_series_fn *fn,
		      void *arg);
typedef int store_strings_fn(void *arg, uint32_t id, const char *const *value);
int store_each_target(struct store *st, store_strings_fn *fn, void *arg);
typedef int store_sample_fn(void *arg, const struct store_sample *row);
int store_each_sample_family(struct store *st, store_sample_fn *fn, void *arg);
int store_each_sample_series(struct store *st, store_sample_fn *fn, void *arg);
int store_each_sample_node(struct store *st, store_sample_fn *fn, void *arg);
int store_each_window_key(struct store *st, enum window_kind kind,
			  store_strings_fn *fn, void *arg);
/* Sets *data to the value, malloc'd and owned by the caller. -ENOENT: none. */
int store_get_state(struct store *st, const char *name, void **data,
		    size_t *len);

/* --- reader of windows: for one thread at a time --- */

struct store_reader;

/* Sets *out, released by store_reader_close(). -ENOENT, -EIO, -ENOMEM. */
int store_reader_open(struct store_reader **out, const char *path);
void store_reader_close(struct store_reader *r); /* NULL is fine */

/* count values were in (lower_us, upper_us]; for values of 0 both are 0. */
struct store_cell {
	uint64_t lower_us, upper_us;
	uint64_t count;
};

/* One label set in one window. Borrowed until fn returns. */
struct store_window {
	int64_t start_s; /* unix time, multiple of WINDOW_SECONDS */
	uint32_t key; /* of the label set, the same in every window */
	/* NULL: absent. All NULL, overflow set: sets beyond the budget. */
	const char *job, *role, *method, *route, *status, *error, *rpc,
		*rpc_status;
	bool overflow;
	uint64_t count, errors;
	uint64_t duration_sum_us, request_bytes_sum, response_bytes_sum;
	const struct store_cell *cells; /* durations, ascending, none empty */
	size_t n_cells;
};

/* Returning other than 0 ends the query, which returns the same. */
typedef int store_window_fn(void *arg, const struct store_window *w);

/*
 * Calls fn for every window with from_s <= start_s < to_s, ascending by start.
 * An event belongs to the window in which it ended. Returns 0, what fn
 * returned, or -EIO.
 */
int store_reader_windows(struct store_reader *r, int64_t from_s, int64_t to_s,
			 store_window_fn *fn, void *arg);

/*
 * All that is read between begin and end is of one commit, so deltas that join
 * their packs meanwhile are seen once. -EIO.
 */
int store_reader_begin(struct store_reader *r);
void store_reader_end(struct store_reader *r);

/*
 * Calls fn for every wanted row of a kind with from_s <= start_s < to_s,
 * ascending by start_s: packs of the tier (index of store_tiers), whose starts
 * are multiples of its seconds, and deltas, whose starts are multiples of
 * WINDOW_SECONDS. Several rows may be of one key and start: add them up.
 * Returns 0, what fn returned, -EIO or -EUCLEAN. Only between begin and end.
 */
typedef int store_row_fn(void *arg, int64_t start_s,
			 const struct pack_row *row);
struct store_rows {
	enum window_kind kind;
	unsigned tier;
	int64_t from_s, to_s;
	const struct pack_wanted *wanted; /* NULL: all keys */
	store_row_fn *fn;
	void *arg;
};
int store_reader_rows(struct store_reader *r, const struct store_rows *q);

/* The oldest start of a tier; INT64_MAX: none. Only between begin and end. */
int store_reader_first(struct store_reader *r, enum window_kind kind,
		       unsigned tier, int64_t *start_s);

/*
 * Label sets by key, read once: update reads the new ones. key returns
 * STORE_WINDOW_LABELS values, NULL for absent ones; NULL: no such key. They
 * stay until the reader is closed. -ENOMEM, -EIO.
 */
int store_reader_update_keys(struct store_reader *r, enum window_kind kind);
uint32_t store_reader_keys(const struct store_reader *r, enum window_kind kind);
const char *const *store_reader_key(const struct store_reader *r,
				    enum window_kind kind, uint32_t id);

/*
 * Ids of the log's rows that have events in windows with from_s <= start_s <
 * to_s, newest first, from the row with the batch up_to on. *ids is malloc'd
 * and the caller's. -EIO, -ENOMEM.
 */
int store_reader_log_ids(struct store_reader *r, int64_t from_s, int64_t to_s,
			 uint64_t up_to, uint64_t **ids, size_t *n);
/*
 * Goes to the row with this batch, or to the first after it; next then returns
 * 1 and the row's batches in turn, 0 at its end. What it borrows stays until
 * store_reader_log_done(), which must follow. -ENOENT, -EIO.
 */
int store_reader_log(struct store_reader *r, uint64_t id);
int store_reader_log_next(struct store_reader *r, struct store_log *batch);
void store_reader_log_done(struct store_reader *r);
/* Ids of the oldest and the newest batch, and when the oldest came. 0: none. */
struct store_log_bounds {
	uint64_t first, last;
	int64_t first_us;
};
int store_reader_log_bounds(struct store_reader *r,
			    struct store_log_bounds *out);

/* A histogram of a row as cells; cell has room for DURATIONS_MAX. */
size_t store_reader_cells(const struct pack_hist *h, struct store_cell *cell);

/*
 * Returns the q-quantile (0..1) in µs of cells (ascending by upper_us),
 * linearly interpolated within its cell; 0 if all cells are empty.
 */
double store_cells_quantile_us(const struct store_cell *cells, size_t n,
			       double q);

/* --- reader of the log: for one thread --- */

struct store_log_reader;

/*
 * Reads the batches received in [from_us, to_us), in the order in which they
 * were counted. Skips rows that retention deletes meanwhile. Sets *out,
 * released by store_log_close(). -ENOENT, -EIO, -ENOMEM.
 */
int store_log_open(struct store_log_reader **out, const char *path,
		   int64_t from_us, int64_t to_us);
void store_log_close(struct store_log_reader *r); /* NULL is fine */
/*
 * Returns 1 and a batch, borrowed until the next call; 0 at the end; -EIO.
 * Leaves damaged rows out.
 */
int store_log_next(struct store_log_reader *r, struct store_log *row);
/* How many were left out so far. */
uint64_t store_log_damaged(const struct store_log_reader *r);
/* Finds the batch with this id; borrowed until the next call. -ENOENT, -EIO. */
int store_log_find(struct store_log_reader *r, uint64_t id,
		   struct store_log *row);

#endif /* AGGREGATOR_STORE_STORE_H */
