/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_BATCH_ROLLUP_TABLE_H
#define PROBE_AGENT_BATCH_ROLLUP_TABLE_H

#include "probe-agent/batch/intern.h"
#include "probe-agent/batch/rollup.h"
#include "probe-agent/batch/samples_table.h"

/*
 * The inside of a rollup: rollup.c adds batches to it, rollup_encode.c encodes
 * it. No other file includes this.
 */

enum rollup_hist {
	HIST_DURATION,
	HIST_REQUEST,
	HIST_RESPONSE,
	HISTS,
};

/* One series in one window. */
struct rollup_row {
	uint32_t series;
	int64_t window_s;
	uint64_t count, duration_us, request_bytes, response_bytes;
};

/*
 * A slot of an open-addressed table of counts by key; count 0: empty. The key
 * of a histogram's cell is row, histogram and bucket, so that the sorted keys
 * of one histogram are in the order of the wire.
 */
struct rollup_cell {
	uint64_t key, count;
};

#define KEY_HIST_SHIFT 12
#define KEY_ROW_SHIFT 14

struct rollup_map {
	struct rollup_cell *cell;
	size_t mask, n;
};

struct rollup {
	struct intern tables;
	struct rollup_row *row;
	size_t n_rows, cap_rows;
	struct rollup_map cells; /* key → count */
	struct rollup_map rows; /* series and window → row + 1 */
	uint64_t events;
	struct batch_losses losses;
	struct batch_info info;
	struct samples_table *samples;
	/* By series of the batch being added; UINT32_MAX: not mapped yet. */
	uint32_t *series, *last_row;
	int64_t *last_window_s;
	size_t cap_series;
};

#endif /* PROBE_AGENT_BATCH_ROLLUP_TABLE_H */
