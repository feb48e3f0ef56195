-- SPDX-License-Identifier: Apache-2.0
-- When the last of the agent's retired epochs was heard, 0: unknown. runs: it
-- has sent batches of a running clock, so it is no replay.
ALTER TABLE agent ADD COLUMN retired_seen_us INTEGER NOT NULL DEFAULT 0;
ALTER TABLE agent ADD COLUMN runs INTEGER NOT NULL DEFAULT 1;
-- The row counts the log up to this id, or up to the ledger's watermark,
-- whichever is higher. 0: an older version wrote the row.
ALTER TABLE ledger ADD COLUMN log_id INTEGER NOT NULL DEFAULT 0;
-- Checksums of rows: see store_sql.h. NULL: an older version wrote the row.
ALTER TABLE log ADD COLUMN sum INTEGER;
ALTER TABLE ledger ADD COLUMN sum INTEGER;
ALTER TABLE agent ADD COLUMN sum INTEGER;
ALTER TABLE view ADD COLUMN sum INTEGER;
ALTER TABLE series ADD COLUMN sum INTEGER;
ALTER TABLE target ADD COLUMN sum INTEGER;
ALTER TABLE state ADD COLUMN sum INTEGER;
ALTER TABLE pack_key ADD COLUMN sum INTEGER;
ALTER TABLE window_delta ADD COLUMN sum INTEGER;
ALTER TABLE window_pack ADD COLUMN sum INTEGER;
