/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_WORKER_CGROUP_IDS_H
#define PROBE_AGENT_WORKER_CGROUP_IDS_H

#include "probe-agent/programs/decode.h"
#include "probe-agent/programs/spec.h"
#include "probe-agent/worker/object.h"

/*
 * Keeps a program's map of the cgroups whose paths match (cgroup_id_map of
 * ebpf_exporter): 1 for each, by id or in the cgroup's own storage. One thread.
 */
struct cgroup_ids;

/* -EINVAL: the map does not fit, *why says how (static); -ENOMEM. */
int cgroup_ids_new(struct cgroup_ids **out, const struct spec_cgroup_map *spec,
		   const struct object *o, struct decode *decode,
		   const char **why);
void cgroup_ids_free(struct cgroup_ids *c); /* NULL is fine */

/* Looks for cgroups that came or went. -ENOMEM. */
int cgroup_ids_renew(struct cgroup_ids *c);

#endif /* PROBE_AGENT_WORKER_CGROUP_IDS_H */
