-- SPDX-License-Identifier: Apache-2.0
-- Of remote procedure calls: rpc_system and rpc_status.
ALTER TABLE pack_key ADD COLUMN g TEXT;
ALTER TABLE pack_key ADD COLUMN h TEXT;
