-- SPDX-License-Identifier: Apache-2.0
-- The accepted batches. All counters can be computed again from them.
CREATE TABLE log (
	id INTEGER PRIMARY KEY,
	received_us INTEGER NOT NULL,
	agent TEXT NOT NULL,
	epoch INTEGER NOT NULL,
	sequence INTEGER NOT NULL,
	requests INTEGER NOT NULL,
	batch BLOB NOT NULL
);
CREATE INDEX log_received ON log (received_us);
-- Last accepted sequence; totals is an array of varints, see store_ledger.c.
CREATE TABLE ledger (
	agent TEXT NOT NULL,
	epoch INTEGER NOT NULL,
	sequence INTEGER NOT NULL,
	seen_us INTEGER NOT NULL,
	skew_us INTEGER NOT NULL,
	totals BLOB NOT NULL,
	PRIMARY KEY (agent, epoch)
) WITHOUT ROWID;
CREATE TABLE agent (
	name TEXT PRIMARY KEY,
	version TEXT NOT NULL,
	kernel TEXT NOT NULL,
	capture TEXT NOT NULL,
	probes BLOB NOT NULL,
	retired_epoch INTEGER NOT NULL,
	retired BLOB NOT NULL
) WITHOUT ROWID;
-- Checkpoint of the series. A row counts the log up to its own log_id or its
-- view's, whichever is higher.
CREATE TABLE view (
	id INTEGER PRIMARY KEY,
	name TEXT NOT NULL UNIQUE,
	digest INTEGER NOT NULL,
	log_id INTEGER NOT NULL
);
CREATE TABLE series (
	view INTEGER NOT NULL,
	slot INTEGER NOT NULL,
	log_id INTEGER NOT NULL,
	labels BLOB NOT NULL,
	state BLOB NOT NULL,
	PRIMARY KEY (view, slot)
) WITHOUT ROWID;
CREATE TABLE target (
	job TEXT NOT NULL,
	instance TEXT NOT NULL,
	service TEXT,
	namespace TEXT,
	container TEXT,
	node TEXT,
	executable TEXT,
	PRIMARY KEY (job, instance)
) WITHOUT ROWID;
-- Rate, errors, duration per 10 s. A NULL label is absent; a key with only NULL
-- labels is the overflow series.
CREATE TABLE window_key (
	id INTEGER PRIMARY KEY,
	job TEXT,
	role TEXT,
	method TEXT,
	route TEXT,
	status TEXT,
	error TEXT
);
CREATE TABLE window (
	start_s INTEGER NOT NULL,
	key INTEGER NOT NULL,
	count INTEGER NOT NULL,
	errors INTEGER NOT NULL,
	duration_sum_us INTEGER NOT NULL,
	request_bytes_sum INTEGER NOT NULL,
	response_bytes_sum INTEGER NOT NULL,
	durations BLOB NOT NULL,
	PRIMARY KEY (start_s, key)
) WITHOUT ROWID;
-- Log positions of what is stored, and the engine's own counters.
CREATE TABLE state (
	name TEXT PRIMARY KEY,
	value BLOB NOT NULL
) WITHOUT ROWID;
