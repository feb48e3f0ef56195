/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_STORE_H
#define AGGREGATOR_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The SQLite file: log, ledger, checkpoint of the series, windows. The only
 * file that sees sqlite3. One writer (the engine's thread) and any number of
 * readers, each with a connection of its own, in WAL mode: nobody waits.
 */

/* ---- reader: for one thread at a time -------------------------------- */

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

#endif /* AGGREGATOR_STORE_H */
