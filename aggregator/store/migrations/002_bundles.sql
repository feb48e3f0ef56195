-- SPDX-License-Identifier: Apache-2.0
-- A row of the log may hold several small batches: see store_bundle.h. 0: the
-- blob is one batch. The columns agent, epoch and sequence are not used any
-- more, since each batch has its own.
ALTER TABLE log ADD COLUMN batches INTEGER NOT NULL DEFAULT 0;
