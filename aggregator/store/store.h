/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_STORE_STORE_H
#define AGGREGATOR_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The SQLite file: log, ledger, checkpoint of the series, windows. The only
 * file that sees sqlite3. One writer (the engine's thread) and any number of
 * readers, each with a connection of its own, in WAL mode: nobody waits.
 */

struct ledger_state;
struct ledger_agent;
struct window_delta;

/* --- writer: the engine's thread --- */

struct store;

/*
 * Opens or makes dir/redtap.db and brings its schema up to date. A damaged
 * file is renamed, with the time, and an empty one takes its place. Sets *out,
 * released by store_close(). -EBUSY: another process has it; -EPROTO: a newer
 * version wrote it; -EIO, -ENOSPC, -EROFS, -EACCES, -ENOMEM. All are logged.
 */
int store_open(struct store **out, const char *dir);
void store_close(struct store *st); /* NULL is fine */
const char *store_path(const struct store *st);
bool store_was_set_aside(const struct store *st); /* by this store_open() */
/*
 * For who finds out later that what it holds makes no sense: closes, sets the
 * file aside and opens an empty one. *st is NULL after a failure.
 */
int store_set_aside(struct store **st, const char *why);

/*
 * Everything below happens in a transaction. Errors: -ENOSPC, -EROFS, -EIO,
 * -EUCLEAN (damaged), -ENOMEM; then store_rollback(), and nothing happened.
 */
int store_begin(struct store *st);
int store_commit(struct store *st); /* on disk when this returns 0 */
void store_rollback(struct store *st);
/* What the last error was, for people. */
const char *store_error(const struct store *st);

struct store_log {
	uint64_t id; /* ascending */
	int64_t received_us;
	const char *agent;
	uint64_t epoch, sequence, requests;
	const void *data;
	size_t len;
};
int store_put_log(struct store *st, const struct store_log *row);
int store_put_ledger(struct store *st, const char *agent, uint64_t epoch,
		     const struct ledger_state *state);
int store_put_agent(struct store *st, const struct ledger_agent *a);
int store_drop_ledger(struct store *st, const char *agent, uint64_t epoch);
int store_put_view(struct store *st, uint32_t id, const char *name,
		   uint64_t digest, uint64_t log_id);
int store_drop_view(struct store *st, uint32_t id); /* and its series */

struct store_series {
	uint32_t view, slot;
	uint64_t log_id;
	const void *labels, *state; /* checkpoint.c's encoding */
	size_t labels_len, state_len;
};
int store_put_series(struct store *st, const struct store_series *row);
#define STORE_TARGET_FIELDS 7
int store_put_target(struct store *st,
		     const char *const value[STORE_TARGET_FIELDS]);
#define STORE_WINDOW_LABELS 6
int store_put_window_key(struct store *st, uint32_t id,
			 const char *const value[STORE_WINDOW_LABELS]);
/*
 * Adds to what the window has. durations: pairs of native bucket (over seconds,
 * BUCKET_ZERO for 0) and count, ascending.
 */
struct store_bucket {
	int32_t native;
	uint64_t count;
};
int store_add_window(struct store *st, const struct window_delta *d,
		     const struct store_bucket *durations, size_t n);
/* How many of all that were added were there already, since the start. */
uint64_t store_merged_windows(const struct store *st);
int store_put_state(struct store *st, const char *name, const void *data,
		    size_t len);

/*
 * Deletes up to max of the oldest rows that are older than before, but of the
 * log none after keep_after. The number deleted, or a negative errno.
 */
int store_expire_log(struct store *st, int64_t before_us, uint64_t keep_after,
		     unsigned max, uint64_t *bytes);
int store_expire_windows(struct store *st, int64_t before_s, unsigned max);
/* Gives up to pages of free space back to the file system. */
int store_vacuum(struct store *st, unsigned pages);

struct store_sizes {
	uint64_t file_bytes, free_bytes;
	uint64_t log_batches, log_bytes; /* of batches */
	uint64_t first_log_id, last_log_id;
	uint64_t windows; /* rows */
	int64_t first_log_us, first_window_s; /* 0: none */
};
int store_sizes(struct store *st, struct store_sizes *out, bool count_rows);

/* Loading: calls fn for each row; 0, fn's answer if not 0, or an error. */
typedef int store_log_fn(void *arg, const struct store_log *row);
int store_each_log(struct store *st, uint64_t after_id, store_log_fn *fn,
		   void *arg);
typedef int store_ledger_fn(void *arg, const char *agent, uint64_t epoch,
			    const struct ledger_state *state);
int store_each_ledger(struct store *st, store_ledger_fn *fn, void *arg);
/* name, version, kernel, capture, retired_epoch; probes and retired filled. */
typedef int store_agent_fn(void *arg, const struct ledger_agent *a);
int store_each_agent(struct store *st, store_agent_fn *fn, void *arg);
typedef int store_view_fn(void *arg, uint32_t id, const char *name,
			  uint64_t digest, uint64_t log_id);
int store_each_view(struct store *st, store_view_fn *fn, void *arg);
typedef int store_series_fn(void *arg, const struct store_series *row);
int store_each_series(struct store *st, uint32_t view, store_series_fn *fn,
		      void *arg);
typedef int store_strings_fn(void *arg, uint32_t id, const char *const *value);
int store_each_target(struct store *st, store_strings_fn *fn, void *arg);
int store_each_window_key(struct store *st, store_strings_fn *fn, void *arg);
/* Bytes of the value, malloc'd into *data; -ENOENT. */
int store_get_state(struct store *st, const char *name, void **data,
		    size_t *len);

/* --- reader: for one thread at a time --- */

struct store_reader;

/* Read-only. Sets *out, released by store_reader_close(). -ENOENT, -EIO. */
int store_reader_open(struct store_reader **out, const char *path);
void store_reader_close(struct store_reader *r); /* NULL is fine */

/* So many values were in (lower_us, upper_us]; 0 has 0 for both. */
struct store_cell {
	uint64_t lower_us, upper_us;
	uint64_t count;
};

/* One label set in one window. Borrowed until the callback returns. */
struct store_window {
	int64_t start_s; /* unix time, multiple of WINDOW_SECONDS */
	uint32_t key; /* the same label set has the same key in every window */
	/* NULL: absent. All NULL and overflow set: beyond the budget. */
	const char *job, *role, *method, *route, *status, *error;
	bool overflow;
	uint64_t count, errors;
	uint64_t duration_sum_us, request_bytes_sum, response_bytes_sum;
	const struct store_cell *cells; /* durations; ascending, none empty */
	size_t n_cells;
};

/* Not 0 ends the query, which then returns it. */
typedef int store_window_fn(void *arg, const struct store_window *w);

/*
 * Calls fn for every window with from_s <= start_s < to_s, ascending by start.
 * An event belongs to the window in which it ended. 0, fn's answer, or -EIO.
 */
int store_reader_windows(struct store_reader *r, int64_t from_s, int64_t to_s,
			 store_window_fn *fn, void *arg);

/*
 * The q-quantile (0..1) in µs of cells (ascending by upper_us, as above), by
 * interpolation within the cell it falls in; 0 if they are empty.
 */
double store_cells_quantile_us(const struct store_cell *cells, size_t n,
			       double q);

/* --- reader of the log: for one thread --- */

struct store_log_reader;

/*
 * The batches that were received in [from_us, to_us), in the order in which
 * they were counted. Rows that retention removes meanwhile are left out. Sets
 * *out, released by store_log_close(). -ENOENT, -EIO, -ENOMEM.
 */
int store_log_open(struct store_log_reader **out, const char *path,
		   int64_t from_us, int64_t to_us);
void store_log_close(struct store_log_reader *r); /* NULL is fine */
/* 1, and a row borrowed until the next call; 0 at the end; -EIO. */
int store_log_next(struct store_log_reader *r, struct store_log *row);
/* The row with this id, for as long as store_log_next() has. -ENOENT, -EIO. */
int store_log_find(struct store_log_reader *r, uint64_t id,
		   struct store_log *row);

#endif /* AGGREGATOR_STORE_STORE_H */
