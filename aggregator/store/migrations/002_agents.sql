-- SPDX-License-Identifier: Apache-2.0
-- When the last of the agent's retired epochs was heard, 0: unknown. runs: it
-- has sent batches of a running clock, so it is no replay.
ALTER TABLE agent ADD COLUMN retired_seen_us INTEGER NOT NULL DEFAULT 0;
ALTER TABLE agent ADD COLUMN runs INTEGER NOT NULL DEFAULT 1;
