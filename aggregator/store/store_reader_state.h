/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_STORE_STORE_READER_STATE_H
#define AGGREGATOR_STORE_STORE_READER_STATE_H

#include <sqlite3.h>

#include "aggregator/store/store.h"
#include "aggregator/store/store_bundle.h"

/* The inside of a reader, for store_reader*.c only. */

/* A label set: its texts lie behind the pointers, in one piece of memory. */
struct store_key {
	const char *value[STORE_WINDOW_LABELS];
};

struct store_keys {
	struct store_key **at; /* by id; NULL: none */
	uint32_t n, cap;
};

enum store_reading {
	READ_PACKS,
	READ_DELTAS,
	READ_KEYS,
	READ_FIRST,
	READ_LOG_IDS,
	READ_LOG_ROW,
	READ_LOG_BOUNDS,
	READINGS,
};

struct store_reader {
	sqlite3 *db;
	sqlite3_stmt *stmt[READINGS];
	struct store_keys keys[WINDOW_KINDS];
	struct store_bundle_reader bundle; /* the row of the log in hand */
};

#endif /* AGGREGATOR_STORE_STORE_READER_STATE_H */
