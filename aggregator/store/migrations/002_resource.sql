-- SPDX-License-Identifier: Apache-2.0
-- What a container's card says: see proto/resource.def.
ALTER TABLE target ADD COLUMN pod_uid TEXT;
ALTER TABLE target ADD COLUMN pod TEXT;
ALTER TABLE target ADD COLUMN k8s_namespace TEXT;
ALTER TABLE target ADD COLUMN container_name TEXT;
ALTER TABLE target ADD COLUMN image TEXT;
ALTER TABLE target ADD COLUMN labels TEXT;
