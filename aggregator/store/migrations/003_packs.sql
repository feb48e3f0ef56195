-- SPDX-License-Identifier: Apache-2.0
-- Windows as packs (pack.h) instead of a row for each label set: a flush is a
-- few rows, and a question reads a few. kind is enum window_kind.
-- What the keys of a kind stand for; how many values it has depends on it.
CREATE TABLE pack_key (
	kind INTEGER NOT NULL,
	id INTEGER NOT NULL,
	a TEXT,
	b TEXT,
	c TEXT,
	d TEXT,
	e TEXT,
	f TEXT,
	PRIMARY KEY (kind, id)
) WITHOUT ROWID;
INSERT INTO pack_key SELECT 0, id, job, role, method, route, status, error
	FROM window_key;
DROP TABLE window_key;
-- What was flushed and is not part of the packs yet.
CREATE TABLE window_delta (
	id INTEGER PRIMARY KEY,
	kind INTEGER NOT NULL,
	start_s INTEGER NOT NULL,
	rows INTEGER NOT NULL,
	data BLOB NOT NULL
);
CREATE INDEX window_delta_start ON window_delta (kind, start_s);
-- The sums of 10 s, a minute, an hour; each delta joins all three at once.
CREATE TABLE window_pack (
	id INTEGER PRIMARY KEY,
	kind INTEGER NOT NULL,
	step_s INTEGER NOT NULL,
	start_s INTEGER NOT NULL,
	rows INTEGER NOT NULL,
	data BLOB NOT NULL
);
CREATE UNIQUE INDEX window_pack_start ON window_pack (kind, step_s, start_s);
INSERT INTO window_delta (kind, start_s, rows, data)
	SELECT 0, start_s, count(*), pack_rows(key, count, errors,
		duration_sum_us, request_bytes_sum, response_bytes_sum, durations)
	FROM window GROUP BY start_s;
DROP TABLE window;
-- Windows that the batch's events are in; as if in all, if it was written before
-- this was kept. The index has all that a search by time needs.
ALTER TABLE log ADD COLUMN first_s INTEGER NOT NULL DEFAULT -1;
ALTER TABLE log ADD COLUMN last_s INTEGER NOT NULL DEFAULT 9223372036854775807;
CREATE INDEX log_windows ON log (first_s, last_s);
