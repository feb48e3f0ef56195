-- SPDX-License-Identifier: Apache-2.0
-- Checkpoint of the samples of user programs: each row is exact up to its own
-- log_id, and all rows at least up to the state samples_log_id. Columns state
-- hold what aggregator/samples/samples_save.c writes.
CREATE TABLE sample_family (
	id INTEGER PRIMARY KEY,
	log_id INTEGER NOT NULL,
	state BLOB NOT NULL
);
CREATE TABLE sample_series (
	family INTEGER NOT NULL,
	slot INTEGER NOT NULL,
	log_id INTEGER NOT NULL,
	state BLOB NOT NULL,
	PRIMARY KEY (family, slot)
) WITHOUT ROWID;
CREATE TABLE sample_node (
	name TEXT PRIMARY KEY,
	log_id INTEGER NOT NULL,
	state BLOB NOT NULL
) WITHOUT ROWID;
